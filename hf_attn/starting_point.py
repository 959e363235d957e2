"""The tokenizer and the model that a run starts from, fresh or pretrained."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any, cast

import datasets
import torch
from torch import nn
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from .arguments import ModelArguments, given_fields
from .configuration_hf_attn import HfAttnConfig
from .data import label_names, problem_type
from .errors import InputError
from .hub_errors import without_secrets
from .loading import load_unfolded
from .modeling_hf_attn import HfAttnForSequenceClassification
from .pretrained_embeddings import copy_embeddings
from .tokenization_hf_attn import HfAttnTokenizer

logger = logging.getLogger(__name__)


def build_starting_point(
    arguments: ModelArguments,
    train_split: datasets.Dataset,
    tokenizer: PreTrainedTokenizerBase | None = None,
) -> tuple[HfAttnForSequenceClassification, PreTrainedTokenizerBase]:
    """Gives the model and the tokenizer to train, with the labels of the data.

    Args:
        arguments: What to build.
        train_split: Its texts make the vocabulary, its labels the classes.
        tokenizer: One that was built before from the same texts and settings.

    Raises:
        InputError: If what to start from cannot be loaded or does not fit.
    """
    names = label_names(train_split) or ["value"]
    task: dict[str, Any] = {
        "id2label": dict(enumerate(names)),
        "label2id": {name: index for index, name in enumerate(names)},
        "problem_type": problem_type(train_split),
    }
    if arguments.model is not None:
        return _continue_model(arguments, task)
    arguments = arguments.completed_for(train_split)
    if tokenizer is None:
        tokenizer = _build_tokenizer(arguments, _texts_of(train_split))
    config = HfAttnConfig(
        vocab_size=len(tokenizer),
        pad_token_id=tokenizer.pad_token_id,
        **arguments.config_fields(),
        **task,
    )
    model = HfAttnForSequenceClassification(config)
    if arguments.embeddings is not None:
        copy_embeddings(arguments.embeddings, model.model.embeddings.embed_tokens, tokenizer)
    return model, tokenizer


def _continue_model(
    arguments: ModelArguments, task: dict[str, Any]
) -> tuple[HfAttnForSequenceClassification, PreTrainedTokenizerBase]:
    """Loads a model; with other labels than its own it gets a fresh head."""
    saved, tokenizer = load_unfolded(str(arguments.model), "training")
    fields = {name: getattr(saved.config, name) for name in HfAttnConfig.__annotations__}
    given = given_fields(arguments)
    fields["label_thresholds"] = None  # of the logits before this training
    rates = {name: value for name, value in given.items() if name.endswith("_dropout")}
    model = HfAttnForSequenceClassification(HfAttnConfig(**{**fields, **task, **rates}))
    if (saved.config.id2label, saved.config.problem_type) == (
        task["id2label"],
        task["problem_type"],
    ):
        model.load_state_dict(saved.state_dict())
        # Contributions are counted from 0 while training, and from the corpus mean afterwards.
        model.set_reference(torch.zeros_like(model.score.reference))
    else:
        logger.info("%s: other labels than the data, so the head starts afresh", arguments.model)
        model.model.load_state_dict(saved.model.state_dict())
    if "max_length" in given:
        tokenizer.model_max_length = arguments.max_length
    return model, tokenizer


def _texts_of(split: datasets.Dataset) -> Iterable[str]:
    for column in ("text", "text_pair"):
        if column in split.column_names:
            yield from split[column]


def _build_tokenizer(arguments: ModelArguments, texts: Iterable[str]) -> PreTrainedTokenizerBase:
    if arguments.tokenizer is None:
        try:
            return HfAttnTokenizer.train_from_iterator(
                texts,
                algorithm=arguments.algorithm,
                vocab_size=arguments.vocab_size,
                min_frequency=cast(int, arguments.min_frequency),
                lowercase=arguments.lowercase,
                strip_accents=arguments.strip_accents,
                model_max_length=arguments.max_length,
            )
        except (TypeError, ValueError) as error:
            raise InputError(str(error)) from error
    try:
        tokenizer = AutoTokenizer.from_pretrained(arguments.tokenizer)
    except Exception as error:  # of many kinds, in tokenizers a bare Exception
        raise InputError(
            f"{arguments.tokenizer}: the tokenizer cannot be loaded: "
            f"{without_secrets(str(error))} Check the name, the connection and the files."
        ) from error
    if tokenizer.pad_token_id is None:
        raise InputError(
            f"{arguments.tokenizer}: expected a tokenizer with a pad token, got none. Set "
            "tokenizer.pad_token and save it again."
        )
    tokenizer.model_max_length = min(tokenizer.model_max_length, arguments.max_length)
    return tokenizer


def add_lora(model: HfAttnForSequenceClassification, rank: int) -> nn.Module:
    """Gives the model with LoRA on its attention, and a head that is trained whole.

    Source: Hu et al. 2022, "LoRA: Low-Rank Adaptation of Large Language Models".

    Raises:
        InputError: If peft is not installed.
    """
    try:
        import peft
    except ImportError as error:
        raise InputError(
            "LoRA needs the package peft. Install it with: pip install 'hf-attn[lora]'"
        ) from error
    config = peft.LoraConfig(
        task_type="SEQ_CLS",
        r=rank,
        lora_alpha=2 * rank,
        target_modules=["q_proj", "k_proj", "v_proj"],
        modules_to_save=["score"],
    )
    adapted: nn.Module = peft.get_peft_model(model, config)
    return adapted
