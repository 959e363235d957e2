"""The training loop of `Trainer` written out in plain PyTorch: what it is timed against."""

from __future__ import annotations

import tempfile
import time
from typing import Any, NamedTuple, cast

import datasets
import torch
import transformers
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim.lr_scheduler import LambdaLR

from hf_attn import HfAttnForSequenceClassification, load_text_dataset
from hf_attn.arguments import HfAttnTrainingArguments
from hf_attn.batching import LengthGroupedSampler, TokenizedTexts
from hf_attn.frequent_bigrams import give_rows_to_bigrams
from hf_attn.metrics import score_logits
from hf_attn.problem_types import ProblemType
from hf_attn.settings import settings_from_options
from hf_attn.starting_point import build_starting_point
from hf_attn.trainer import group_options


class Start(NamedTuple):
    """What a run begins with; `validation` is longest first, or None not to evaluate."""

    model: HfAttnForSequenceClassification
    train: TokenizedTexts
    validation: TokenizedTexts | None
    arguments: HfAttnTrainingArguments


def time_bare_loop(dataset: Any, epochs: int, **options: Any) -> float:
    """Gives the seconds of the bare loop from where `Trainer.train` begins."""
    start = make_start(dataset, **options)
    started = time.perf_counter()
    run_bare_loop(start, epochs)
    return time.perf_counter() - started


def make_start(dataset: Any, **options: Any) -> Start:
    """Gives what `hf_attn.train` starts from with these options."""
    datasets.disable_progress_bars()
    _, model_arguments, arguments = settings_from_options(
        {**options, "dataset": dataset, "output_dir": tempfile.gettempdir()}
    )
    data = load_text_dataset(dataset, seed=arguments.seed)
    transformers.set_seed(arguments.seed)
    model, tokenizer = build_starting_point(model_arguments, data["train"])
    words_alone = model_arguments.means_words_alone(model.config.ngram_buckets)
    arguments.complete_for(str(model.config.problem_type), words_alone=words_alone)
    train_texts = TokenizedTexts.from_dataset(data["train"], tokenizer)
    give_rows_to_bigrams(model, model_arguments, train_texts)
    validation = None
    if arguments.eval_strategy != "no":
        texts = TokenizedTexts.from_dataset(data["validation"], tokenizer)
        validation, _ = texts.sorted_by_length()
    return Start(model, train_texts, validation, arguments)


def run_bare_loop(start: Start, epochs: int) -> list[dict[str, float]]:
    """Trains as Trainer does with these settings, written out in plain PyTorch.

    Args:
        start: What to begin with; the model is trained in place.
        epochs: Passes to make; the learning rate goes down over those in the arguments.

    Returns:
        The mean loss of each epoch, with the scores on the validation texts.
    """
    model, texts, validation, arguments = start
    cast(nn.Module, model).to(arguments.device)
    sampler = LengthGroupedSampler(texts.lengths, arguments.train_batch_size, arguments.seed)
    steps = -(-len(texts) // arguments.train_batch_size)
    optimizer = make_optimizer(model, arguments)
    schedule = make_schedule(optimizer, arguments, steps)
    history = []
    for epoch in range(epochs):
        model.train()
        sampler.set_epoch(epoch)
        total = torch.zeros((), device=arguments.device)
        for rows in torch.tensor(list(sampler)).split(arguments.train_batch_size):
            loss = model(**batch_of(texts, rows, arguments.device)).loss
            loss.backward()
            clip_grad_norm_(model.parameters(), arguments.max_grad_norm)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            total += loss.detach()
        scores = {} if validation is None else evaluate_bare(model, validation, arguments)
        history.append({"loss": total.item() / steps, **scores})
    return history


def make_optimizer(
    model: HfAttnForSequenceClassification, arguments: HfAttnTrainingArguments
) -> torch.optim.AdamW:
    """Gives fused AdamW in Trainer's groups: biases do not decay, and some have other options."""
    rate = arguments.learning_rate
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        decay = 0.0 if "bias" in name else arguments.weight_decay
        options = {"weight_decay": decay, "lr": rate, **group_options(name, arguments, rate)}
        groups.setdefault((options["weight_decay"], options["lr"]), []).append(parameter)
    parameter_groups: list[dict[str, Any]] = [
        {"params": parameters, "weight_decay": decay, "lr": lr}
        for (decay, lr), parameters in groups.items()
    ]
    betas = (arguments.adam_beta1, arguments.adam_beta2)
    return torch.optim.AdamW(parameter_groups, betas=betas, eps=arguments.adam_epsilon, fused=True)


def make_schedule(
    optimizer: torch.optim.Optimizer, arguments: HfAttnTrainingArguments, steps_per_epoch: int
) -> LambdaLR:
    """Gives the learning rate's way up to its peak and down to 0, both linear."""
    steps = int(steps_per_epoch * arguments.num_train_epochs)
    warmup: int = arguments.get_warmup_steps(steps)

    def share_of_peak(step: int) -> float:
        return step / warmup if step < warmup else (steps - step) / max(steps - warmup, 1)

    return LambdaLR(optimizer, share_of_peak)


def batch_of(texts: TokenizedTexts, rows: Any, device: torch.device) -> dict[str, Tensor]:
    """Gives the texts of these rows as one batch on the device."""
    return {name: tensor.to(device) for name, tensor in texts.batch(rows).items()}


@torch.no_grad()
def evaluate_bare(
    model: HfAttnForSequenceClassification,
    texts: TokenizedTexts,
    arguments: HfAttnTrainingArguments,
) -> dict[str, float]:
    """Gives the mean loss and the scores on texts, as Trainer's evaluation does."""
    model.eval()
    logits, loss = [], 0.0
    for rows in torch.arange(len(texts)).split(arguments.eval_batch_size):
        outputs = model(**batch_of(texts, rows, arguments.device))
        logits.append(outputs.logits)
        loss += outputs.loss.item() * len(rows)
    task = cast(ProblemType, model.config.problem_type)
    scores = score_logits(task, torch.cat(logits).cpu().numpy(), cast(Any, texts.labels))
    return {f"eval_{name}": value for name, value in {"loss": loss / len(texts), **scores}.items()}
