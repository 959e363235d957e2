"""The training trace: its numbers against a second computation, and that it changes no training."""

import errno
import json
import logging
import random
import shutil
import sys
from dataclasses import replace

import datasets
import numpy as np
import pytest
import torch
from models import VARIANTS, small_classifier, variant_name
from torch.utils.data import IterableDataset
from trained import TINY, assert_same_weights, keyword_data, keyword_texts
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DataCollatorWithPadding,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)
from typer.testing import CliRunner

from hf_attn import HfAttnConfig, HfAttnForSequenceClassification, InputError, train
from hf_attn.batching import TokenizedTexts, keep_batch
from hf_attn.cli import app
from hf_attn.loading import load_classifier
from hf_attn.training_attention import (
    MAX_TEXTS,
    MAX_TOKENS,
    even_attention,
    measure_attention,
    sample_texts,
)
from hf_attn.training_trace import EpochTrace, TrainingTrace, epochs_of, read_training_trace
from hf_attn.training_trace_callback import TrainingTraceCallback

NOISY = {**TINY, "token_dropout": 0.3, "attention_dropout": 0.1, "embedding_dropout": 0.1}


def texts_of(lengths, vocab_size=50):
    generator = np.random.default_rng(0)
    ids = [generator.integers(1, vocab_size, length) for length in lengths]
    return TokenizedTexts(np.concatenate(ids).astype(np.int32), np.array(lengths), None, 0)


def by_numpy(model, texts):
    """Entropy and largest share, text by text, from the attentions that the model gives."""
    entropies, shares = [], []
    for row in range(len(texts)):
        ids = torch.from_numpy(texts.batch([row])["input_ids"].numpy())
        with torch.no_grad():
            outputs = model.eval().model(ids.to(model.device), output_attentions=True)
        weights = outputs.attentions[0][0, 0].cpu().double().numpy()
        logs = np.log(np.where(weights > 0, weights, 1.0))
        entropies.append(-(weights * logs).sum(1).mean())
        pooled = outputs.pool_weights[0].cpu().double().numpy() @ weights
        shares.append(pooled.max())
    return np.mean(entropies), np.mean(shares)


def valid_json(path):
    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


# What is measured


@pytest.mark.parametrize("variant", VARIANTS, ids=variant_name)
def test_attention_equals_that_of_numpy(variant):
    model = small_classifier(**variant)
    texts = texts_of([30, 17, 9, 9, 2])
    np.testing.assert_allclose(measure_attention(model, texts), by_numpy(model, texts), rtol=1e-12)


def test_attention_is_measured_in_evaluation_mode_and_the_mode_is_kept():
    model = small_classifier(token_dropout=0.5, attention_dropout=0.5)
    texts = texts_of([30, 17])
    expected = measure_attention(model, texts)
    state = torch.get_rng_state()
    assert measure_attention(model.train(), texts) == expected
    assert all(module.training for module in model.modules())
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("window", [0, 2])
def test_even_attention_is_that_of_a_model_that_prefers_no_token(window):
    model = small_classifier(attention_window=window)
    with torch.no_grad():
        model.model.attention.q_proj.weight.zero_()
        model.model.attention.relative_bias.weight.zero_()
    texts = texts_of([30, 17, 4, 2])
    np.testing.assert_allclose(
        measure_attention(model, texts), even_attention(texts, window), rtol=1e-12
    )


def test_large_samples_are_measured_in_batches(monkeypatch):
    model, texts = small_classifier(), texts_of([30, 30, 20, 5, 5, 5, 2])
    whole = measure_attention(model, texts)
    monkeypatch.setattr("hf_attn.training_attention._WEIGHTS_AT_ONCE", 60)
    np.testing.assert_allclose(measure_attention(model, texts), whole, rtol=1e-12)


def test_sample_is_spread_over_the_texts_cut_and_without_single_tokens():
    texts = texts_of([1, 2, *range(100, 600)])
    sample = sample_texts(texts)
    assert len(sample) == MAX_TEXTS - 1
    assert sample.lengths.max() == MAX_TOKENS
    assert list(sample.lengths) == sorted(sample.lengths, reverse=True)
    assert sample.lengths.min() < 110
    cut = texts.batch([501])["input_ids"][0, :MAX_TOKENS].tolist()
    assert cut in [sample.batch([row])["input_ids"][0].tolist() for row in range(len(sample))]
    assert sample_texts(texts_of([1, 1, 1])) is None


def test_sample_takes_padded_texts_of_a_data_set():
    padded = datasets.Dataset.from_dict(
        {"input_ids": [[5, 6, 7, 0, 0], [0, 8, 9, 0, 0]], "attention_mask": [[1] * 3 + [0] * 2,
                                                                            [0, 1, 1, 0, 0]]}
    )  # fmt: skip
    sample = sample_texts(padded)
    assert sample.token_ids.tolist() == [5, 6, 7, 8, 9]
    assert sample.lengths.tolist() == [3, 2]


def test_texts_that_cannot_be_picked_out_are_said(caplog):
    class Stream(IterableDataset):
        def __iter__(self):
            yield {"input_ids": [1, 2]}

    assert sample_texts(Stream()) is None
    assert "attention is not traced: texts cannot be picked out of a Stream" in caplog.text


# A training with a trace


@pytest.fixture(scope="module")
def traced(tmp_path_factory):
    """A run with dropout that keeps all checkpoints."""
    folder = tmp_path_factory.mktemp("traced") / "model"
    run = train(keyword_data(), folder, **NOISY, save_total_limit=None)
    return folder, run


def test_trace_equals_attention_recomputed_from_each_checkpoint(traced):
    folder, run = traced
    trace = read_training_trace(folder)
    assert trace == run.trace
    assert [one.epoch for one in trace.epochs] == [1.0, 2.0, 3.0]
    texts = TokenizedTexts.from_texts(keyword_data()["validation"]["text"][:], run.tokenizer)
    assert trace.sample.texts == len(texts) == 40
    for one in trace.epochs:
        model = HfAttnForSequenceClassification.from_pretrained(folder / f"checkpoint-{one.step}")
        measured = (one.attention_entropy, one.attention_share)
        np.testing.assert_allclose(measured, by_numpy(model, texts), rtol=1e-5)


def test_trace_holds_what_the_run_recorded(traced):
    _, run = traced
    for one, logged in zip(run.trace.epochs, run.record["epochs"], strict=True):
        assert (one.epoch, one.step) == (logged["epoch"], logged["step"])
        assert one.loss == logged["loss"]
        assert one.validation_loss == logged["eval_loss"]
        assert one.score == logged["eval_accuracy"]
    assert run.trace.best_epoch == run.record["best_epoch"]
    assert (run.trace.metric, run.trace.unit) == ("accuracy", "word")


class RandomStates(TrainerCallback):
    """Notes the state of all generators when the training ends."""

    def on_train_end(self, args, state, control, **kwargs):
        self.states = (
            torch.get_rng_state().tolist(),
            random.getstate(),
            str(np.random.get_state()),  # noqa: NPY002, it is what transformers seeds
        )


def test_nothing_else_changes_with_the_trace(traced, tmp_path):
    folder, run = traced
    random_states = [RandomStates(), RandomStates()]
    train(keyword_data(), tmp_path / "with", **NOISY, callbacks=random_states[:1])
    without = train(
        keyword_data(), tmp_path / "without", **NOISY, callbacks=random_states[1:],
        training_trace=False,
    )  # fmt: skip
    assert without.trace is None
    assert random_states[0].states == random_states[1].states
    assert_same_weights(folder, tmp_path / "without")
    records = [dict(one.record) for one in (run, without)]
    for record in records:
        for name in ("seconds", "settings"):
            del record[name]
        for epoch in record["epochs"]:
            for name in [name for name in epoch if name.endswith(("_runtime", "_per_second"))]:
                del epoch[name]
    assert records[0] == records[1]


class StopAt(TrainerCallback):
    """Breaks the run off as a lost machine would, at a step."""

    def __init__(self, step):
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            raise ConnectionAbortedError(errno.ECONNABORTED, "the machine is gone")


@pytest.mark.parametrize("steps", [None, 3])
def test_trace_of_a_resumed_run_holds_the_epochs_before(tmp_path, steps):
    options = {**NOISY}
    if steps:
        options |= {"save_strategy": "steps", "save_steps": steps, "eval_strategy": "steps",
                    "eval_steps": steps}  # fmt: skip
    whole = train(keyword_data(), tmp_path / "whole", **options).trace
    with pytest.raises(ConnectionAbortedError):
        train(keyword_data(), tmp_path / "cut", **options, callbacks=[StopAt(11)])
    assert read_training_trace(tmp_path / "cut") is None
    resumed = train(keyword_data(), tmp_path / "cut", **options, resume_from_checkpoint="True")
    # Of the epoch that was broken off, `Trainer` logs the mean loss of the part after the break.
    cut = {3.0: None} if steps else {}
    traces = [
        replace(one, epochs=tuple(replace(e, loss=cut.get(e.epoch, e.loss)) for e in one.epochs))
        for one in (whole, resumed.trace)
    ]
    assert traces[0] == traces[1]
    assert len(whole.epochs) == 3
    assert all(one.attention_entropy for one in whole.epochs)


def test_trace_without_validation_measures_the_training_texts(tmp_path):
    run = train(keyword_data()["train"], tmp_path / "m", **TINY, validation_size=0.0)
    trace = run.trace
    assert (trace.metric, trace.best_epoch, trace.sample.split) == (None, None, "train")
    assert trace.sample.texts == 120
    content = valid_json(tmp_path / "m" / "training_trace.json")
    assert {one["validation_loss"] for one in content["epochs"]} == {None}
    texts = TokenizedTexts.from_texts(keyword_data()["train"]["text"][:], run.tokenizer)
    last = (trace.epochs[-1].attention_entropy, trace.epochs[-1].attention_share)
    np.testing.assert_allclose(last, by_numpy(run.model, texts), rtol=1e-5)
    assert "120 training texts" in str(trace)


def test_trace_under_lora_measures_the_adapted_attention(tmp_path, trained_folder):
    data = keyword_data()
    run = train(
        data, tmp_path / "m", model=str(trained_folder), lora_rank=2, num_train_epochs=3,
        learning_rate=3e-2, load_best_model_at_end=False,
    )  # fmt: skip
    texts = TokenizedTexts.from_texts(data["validation"]["text"][:], run.tokenizer)
    last = run.trace.epochs[-1]
    measured = (last.attention_entropy, last.attention_share)
    np.testing.assert_allclose(measured, by_numpy(run.model, texts), rtol=1e-4)
    before = by_numpy(load_classifier(str(trained_folder))[0], texts)
    assert abs(measured[0] - before[0]) > 1e-3


@pytest.mark.parametrize(
    ("make_label", "metric", "in_words"),
    [
        (lambda text: float(len(text)) / 10, "pearson", "Pearson correlation "),
        (lambda text: [name for name in ("oil", "corn", "said") if name in text], "micro_f1",
         "micro-F1 "),
    ],
    ids=["regression", "several"],
)  # fmt: skip
def test_other_tasks_are_traced_by_their_own_score(tmp_path, make_label, metric, in_words):
    data = keyword_data().map(lambda row: {"y": make_label(row["text"])}, remove_columns="label")
    run = train(data, tmp_path / "m", **TINY)
    assert run.trace.metric == metric
    assert [one.score for one in run.trace.epochs] == [
        one[f"eval_{metric}"] for one in run.record["epochs"]
    ]
    assert in_words in run.trace.observations[1]


class Poison(TrainerCallback):
    """Makes a weight NaN in the second epoch, as a training that diverged does."""

    def on_step_end(self, args, state, control, model, **kwargs):
        if state.global_step == 6:
            with torch.no_grad():
                model.model.attention.q_proj.weight.fill_(torch.nan)


def test_weights_that_are_nan_are_a_divergence_in_words_and_null_in_json(tmp_path):
    run = train(keyword_data(), tmp_path / "m", **TINY, callbacks=[Poison()])
    content = valid_json(tmp_path / "m" / "training_trace.json")
    first, second = content["epochs"][:2]
    assert first["not_finite"] == []
    assert second["loss"] is second["validation_loss"] is second["attention_entropy"] is None
    assert "loss" in second["not_finite"]
    said = "divergence: not a finite number: training loss, validation loss, attention"
    assert said in second["observation"]
    assert said in content["summary"][-1]
    assert said in (tmp_path / "m" / "README.md").read_text(encoding="utf-8")
    assert read_training_trace(tmp_path / "m") == run.trace
    for view in (run.trace.to_terminal(width=200), run.trace.to_markdown(), run.trace.to_html()):
        assert "NaN or ∞" in view
        assert said in view


def test_logs_within_an_epoch_count_for_it():
    history = [
        {"eval_loss": 9.0, "epoch": 0, "step": 0},
        {"loss": 0.9, "epoch": 0.5, "step": 2},
        {"eval_loss": 0.7, "eval_accuracy": 0.5, "epoch": 0.75, "step": 3},
        {"loss": 0.5, "epoch": 1.0, "step": 4},
        {"attention_entropy": 2.0, "attention_share": 0.1, "epoch": 1.0, "step": 4},
        {"loss": 0.4, "epoch": 1.5, "step": 6},
        {"train_runtime": 1.0, "train_loss": 0.6, "epoch": 1.5, "step": 6},
    ]
    assert epochs_of(history, "accuracy") == (
        EpochTrace(1.0, 4, 0.7, 0.7, 0.5, 2.0, 0.1),
        EpochTrace(1.5, 6, 0.4),
    )


def test_a_run_of_some_steps_is_traced_as_a_part_of_an_epoch(tmp_path):
    trace = train(keyword_data(), tmp_path / "m", **TINY, max_steps=3).trace
    assert [(one.epoch, one.step) for one in trace.epochs] == [(0.75, 3)]
    assert trace.epochs[0].attention_entropy is not None


# What is told while it runs


def test_each_epoch_is_told_once_after_its_evaluation(tmp_path):
    told = []
    callback = TrainingTraceCallback(tell=told.append, writes=False)
    run = train(keyword_data(), tmp_path / "m", **TINY, callbacks=[callback], training_trace=False)
    assert [text.split(":")[0] for text in told[:3]] == ["epoch 1", "epoch 2", "epoch 3"]
    assert tuple(told[3:]) == callback.trace.summary
    for text, one, observation in zip(
        told, run.record["epochs"], callback.trace.observations, strict=False
    ):
        numbers, said = text.split("\n")
        assert f"training loss {one['loss']:.4f}" in numbers
        assert f"validation loss {one['eval_loss']:.4f}" in numbers
        assert f"accuracy {100 * one['eval_accuracy']:.1f} %" in numbers
        assert said.strip() == observation
    assert "█▄▁" in told[2] or "█▅▁" in told[2] or "█▆▁" in told[2]


def test_epochs_without_an_evaluation_are_told_too(tmp_path):
    told = []
    callback = TrainingTraceCallback(tell=told.append, writes=False)
    options = {"eval_strategy": "no", "training_trace": False, "callbacks": [callback]}
    train(keyword_data(), tmp_path / "m", **TINY, **options)
    assert [text.split(":")[0] for text in told[:3]] == ["epoch 1", "epoch 2", "epoch 3"]
    assert all("training loss" in text for text in told[:3])


def test_the_command_prints_epochs_and_the_library_logs_them(tmp_path, capsys, caplog):
    caplog.set_level(logging.INFO, "hf_attn.training_trace_callback")
    train(keyword_data(), tmp_path / "m", **TINY, disable_tqdm=True)
    assert "epoch 2: training loss" in caplog.text
    assert capsys.readouterr().out == ""
    rows = keyword_texts(60)
    datasets.Dataset.from_dict(rows).to_csv(tmp_path / "texts.csv", index=False)
    arguments = ["train", str(tmp_path / "texts.csv"), "--output-dir", str(tmp_path / "c")]
    flags = [word for name, value in TINY.items() for word in (f"--{name}", str(value))]
    output = CliRunner().invoke(app, [*arguments, *flags]).stdout
    trace = read_training_trace(tmp_path / "c")
    for number, observation in enumerate(trace.observations, start=1):
        assert output.count(f"epoch {number}: training loss") == 1
        assert observation in output
    for sentence in trace.summary:
        assert sentence in output


def test_no_sign_of_a_chart_ends_a_training_on_an_old_terminal(monkeypatch, tmp_path):
    from hf_attn.progress import write_line

    with (tmp_path / "out").open("w", encoding="ascii") as out:
        monkeypatch.setattr(sys, "stdout", out)
        write_line("loss −25 % █▁")
        assert (tmp_path / "out").read_text() == "loss ?25 % ??\n"  # at once


# Where it can be had


def test_trace_can_be_turned_off_and_an_old_one_goes(tmp_path):
    train(keyword_data(), tmp_path / "m", **TINY)
    names = {"training_trace.json", "training_trace.md"}
    assert names < {path.name for path in (tmp_path / "m").iterdir()}
    train(keyword_data(), tmp_path / "m", **TINY, overwrite=True, training_trace=False)
    assert not names & {path.name for path in (tmp_path / "m").iterdir()}
    assert read_training_trace(tmp_path / "m") is None
    assert "top word" not in (tmp_path / "m" / "README.md").read_text()


def test_broken_trace_is_refused(trained_folder, tmp_path):
    shutil.copytree(trained_folder, tmp_path / "m")
    for text in ('{"epochs":', "{}", "[]", '{"epochs": [{"epoch": 1}]}'):
        (tmp_path / "m" / "training_trace.json").write_text(text)
        with pytest.raises(InputError, match=r"training_trace\.json: expected the trace of a trai"):
            read_training_trace(tmp_path / "m")


def test_trace_survives_its_json(traced):
    _, run = traced
    assert TrainingTrace.from_dict(json.loads(run.trace.to_json())) == run.trace


def new_classifier(vocab_size):
    return HfAttnForSequenceClassification(
        HfAttnConfig(vocab_size=vocab_size, hidden_size=8, head_dim=4, num_labels=2)
    )


def arguments(folder, **more):
    return TrainingArguments(
        output_dir=str(folder), num_train_epochs=2, report_to=[], disable_tqdm=True, use_cpu=True,
        logging_strategy="epoch", save_strategy="no", **more,
    )  # fmt: skip


def test_trainer_of_transformers_takes_the_callback(trained_folder, tmp_path):
    _, tokenizer = load_classifier(str(trained_folder))
    rows = keyword_texts(40)
    labels = [name == "oil" for name in rows["label"]]
    data = datasets.Dataset.from_dict({**tokenizer(rows["text"]), "labels": list(map(int, labels))})
    trainer = Trainer(
        model=new_classifier(len(tokenizer)),
        args=arguments(tmp_path / "m", eval_strategy="epoch"),
        train_dataset=data,
        eval_dataset=data.select(range(10)),
        data_collator=DataCollatorWithPadding(tokenizer),
        processing_class=tokenizer,
        compute_metrics=lambda seen: {
            "accuracy": float((seen.predictions.argmax(-1) == seen.label_ids).mean())
        },
        callbacks=[TrainingTraceCallback(data.select(range(10)))],
    )
    trainer.train()
    trace = read_training_trace(tmp_path / "m")
    assert (trace.sample.split, trace.sample.texts) == ("given", 10)
    assert [one.epoch for one in trace.epochs] == [1.0, 2.0]
    assert trace.metric == "accuracy"
    assert None not in vars(trace.epochs[-1]).values()
    texts = TokenizedTexts.from_texts(rows["text"][:10], tokenizer)
    measured = (trace.epochs[-1].attention_entropy, trace.epochs[-1].attention_share)
    np.testing.assert_allclose(measured, by_numpy(trainer.model, texts), rtol=1e-5)
    assert (tmp_path / "m" / "training_trace.md").read_text().startswith("# How the training went")


def test_trainer_of_transformers_needs_no_texts_tokenizer_or_evaluation(tmp_path):
    texts = texts_of([5, 4, 3, 2])
    texts.labels = np.array([0, 1, 0, 1])
    trainer = Trainer(
        model=new_classifier(50), args=arguments(tmp_path / "m", remove_unused_columns=False),
        train_dataset=texts, data_collator=keep_batch, callbacks=[TrainingTraceCallback()],
    )  # fmt: skip
    trainer.train()
    trace = read_training_trace(tmp_path / "m")
    assert (trace.sample.split, trace.sample.texts, trace.unit) == ("train", 4, "token")
    assert "top token" in str(trace)
    assert trace.epochs[-1].validation_loss is None


def test_model_of_another_kind_is_refused(tmp_path):
    bert = BertForSequenceClassification(
        BertConfig(vocab_size=9, hidden_size=4, num_hidden_layers=1, num_attention_heads=1,
                   intermediate_size=4)
    )  # fmt: skip
    texts = texts_of([3, 2], vocab_size=9)
    texts.labels = np.array([0, 1])
    trainer = Trainer(
        model=bert, args=arguments(tmp_path / "m", remove_unused_columns=False),
        train_dataset=texts, data_collator=keep_batch, callbacks=[TrainingTraceCallback()],
    )  # fmt: skip
    with pytest.raises(InputError, match="expected a classifier of hf_attn, got BertForSeq"):
        trainer.train()
