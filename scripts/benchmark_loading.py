"""Measures the time from starting Python to a first prediction, against a small BERT.

    python scripts/benchmark_loading.py --repeats 7

Both models lie in a warm Hub cache, each prediction has a process of its own, and the models take
turns. Markdown rows go to standard output.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from hf_attn import HfAttnConfig, HfAttnForSequenceClassification, HfAttnTokenizer

COMMIT = "0" * 40
LABELS = {row: str(row) for row in range(8)}
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PREDICT = """
import sys
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer
trust = {"trust_remote_code": True} if sys.modules.get("hf_attn", True) is None else {}
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1], **trust)
model = AutoModelForSequenceClassification.from_pretrained(sys.argv[1], **trust)
with torch.inference_mode():
    print(model(**tokenizer("w1 w2 w3 w4 w5", return_tensors="pt")).logits.argmax().item())
"""
# What is loaded, and what runs before.
BERT = "BERT, 2 layers of 128"
RIVALS = {
    BERT: ("user/bert", ""),
    "hf_attn": ("user/hf_attn", "import hf_attn"),
    "hf_attn, not installed": ("user/hf_attn", "import sys; sys.modules['hf_attn'] = None"),
}


def fill_cache(home: Path, vocab_size: int) -> None:
    """Saves both models with fresh weights and the same number of tokens."""
    words = [f"w{number}" for number in range(vocab_size)]
    ours = HfAttnTokenizer.train_from_iterator(words, vocab_size=vocab_size)
    config = HfAttnConfig(vocab_size=len(ours), id2label=LABELS)
    _save(home, "user/hf_attn", HfAttnForSequenceClassification(config), ours)
    vocabulary = {word: row for row, word in enumerate([*SPECIAL, *words][: len(ours)])}
    bert = BertConfig(
        vocab_size=len(ours),
        hidden_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=512,
        id2label=LABELS,
    )
    theirs = BertTokenizer(vocab=vocabulary)
    _save(home, "user/bert", BertForSequenceClassification(bert), theirs)


def _save(
    home: Path, repo_id: str, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    repository = home / "hub" / f"models--{repo_id.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    for part in (model, tokenizer):
        part.save_pretrained(repository / "snapshots" / COMMIT)


def seconds_to_predict(home: Path, repo_id: str, before: str) -> float:
    """Gives the wall time of a process that loads a model and predicts once."""
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", before + PREDICT, repo_id],
        env=os.environ | {"HF_HOME": str(home), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        check=True,
    )
    return time.perf_counter() - start


def measure(repeats: int, vocab_size: int) -> dict[str, list[float]]:
    """Gives the seconds of each rival, of runs that take turns after one that is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in RIVALS}
    with tempfile.TemporaryDirectory() as folder:
        fill_cache(Path(folder), vocab_size)
        for turn in range(repeats + 1):
            first = turn % len(RIVALS)  # what runs before a process leaves the caches as it likes
            for name in [*RIVALS][first:] + [*RIVALS][:first]:
                taken = seconds_to_predict(Path(folder), *RIVALS[name])
                if turn:
                    seconds[name].append(taken)
    return seconds


def to_markdown(seconds: dict[str, list[float]]) -> str:
    """Gives a table: median, range, and the median of the ratios to BERT's run of the turn."""
    rows = ["| time to first prediction | median | range | times BERT |", "|---|---|---|---|"]
    for name, taken in seconds.items():
        ratios = [ours / theirs for ours, theirs in zip(taken, seconds[BERT], strict=True)]
        rows.append(
            f"| {name} | {statistics.median(taken):.2f} s | {min(taken):.2f} to {max(taken):.2f} s "
            f"| {statistics.median(ratios):.2f} |"
        )
    return "\n".join(rows)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7, help="processes of each model")
    parser.add_argument("--vocab-size", type=int, default=20_000, help="tokens of both models")
    arguments = parser.parse_args()
    sys.stdout.write(to_markdown(measure(arguments.repeats, arguments.vocab_size)) + "\n")


if __name__ == "__main__":
    main()
