"""Models and texts of the explanation benchmark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias, TypeVar, cast

from benchmark_training import say, train_quietly
from datasets import DatasetDict
from rival_attributions import Case
from transformers import PreTrainedTokenizerBase

from hf_attn import HfAttnForSequenceClassification, load_text_dataset
from hf_attn.loading import load_unfolded

SETS = {"sst2": "SST-2", "trec": "TREC", "r8": "R8"}
TWO_CLASSES = ("sst2",)

Model = tuple[HfAttnForSequenceClassification, PreTrainedTokenizerBase]
Source: TypeAlias = str | DatasetDict
Row = TypeVar("Row")


@dataclass(frozen=True)
class Setup:
    """What the parts share.

    Attributes:
        models: Folder that models are kept in, and taken from if they are there.
        data: Folder with the sets that no package has.
        seeds: Of the models.
        texts: How many texts of a set, at most.
        repeats: Timings of each kind.
        epochs: Fewer than by default, to try the script out.
        sources: Set to what `hf_attn.train` reads, where that is no folder in `data`.
    """

    models: Path
    data: Path
    seeds: Sequence[int]
    texts: int
    repeats: int
    epochs: int | None = None
    sources: Mapping[str, Source] = field(default_factory=lambda: {"r8": "r8"})

    def source(self, name: str) -> Source:
        """Gives what `hf_attn.train` reads the set from."""
        return self.sources.get(name, str(self.data / name))

    def load(self, name: str, seed: int, source: Source | None = None) -> Model:
        """Gives a model of words alone, trained unless an earlier run has done so."""
        folder = self.models / f"{name}-{seed}"
        if not (folder / "run.json").exists():
            say(f"training {folder.name}")
            options = {"num_train_epochs": self.epochs} if self.epochs else {}
            train_quietly(
                source or self.source(name), folder, seed=seed, words_alone=True, **options
            )
        model, tokenizer = load_unfolded(str(folder), "the methods of others")
        return model.requires_grad_(False), tokenizer

    def all_texts(self, name: str, split: str = "test") -> list[str]:
        """Gives all texts of a split."""
        return cast(list[str], load_text_dataset(self.source(name))[split]["text"][:])

    def cases(self, name: str, seed: int, split: str = "test") -> list[Case]:
        """Gives texts of a split, all or evenly spaced, less those of a single word."""
        model, tokenizer = self.load(name, seed)
        texts = evenly_spaced(self.all_texts(name, split), self.texts)
        cases = [Case.of(text, model, tokenizer) for text in texts]
        return [case for case in cases if case.num_words > 1]  # one word has no order


def evenly_spaced(rows: Sequence[Row], count: int) -> list[Row]:
    """Gives so many of the rows, from first to last, as files may be sorted by class."""
    count = min(count, len(rows))
    return [rows[index * len(rows) // count] for index in range(count)]
