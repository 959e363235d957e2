"""The model that a page serves, and what it says of the texts that visitors type."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from transformers import PreTrainedTokenizerBase

from ..errors import InputError
from ..explainer import explain
from ..explanation import Explanation
from ..fetching import find_folder
from ..loading import load_unfolded
from ..modeling_hf_attn import HfAttnForSequenceClassification
from ..problem_types import ProblemType, problem_type_of
from ..run_record import read_record
from ..trace import DEFAULT_TEXT

# Deletion effects take time with the square of the length; so many characters are a tenth of a
# second on two cores.
MOST_CHARACTERS = 4_000
# Explanations in memory; one of the longest text is half a megabyte.
_MOST_KEPT = 32


class Sentence(NamedTuple):
    """What a visitor wants read.

    Attributes:
        text: The text.
        pair: The second text, for a model of pairs.
    """

    text: str
    pair: str | None = None


@dataclass(frozen=True)
class ServedModel:
    """A classifier with its tokenizer, for several visitors at once.

    Attributes:
        model: The classifier, in evaluation mode.
        tokenizer: The one it was trained with.
        folder: Where its files are.
        name: What the visitor is told it is called.
        record: What `run.json` says of its training; None for a model saved without.
    """

    model: HfAttnForSequenceClassification
    tokenizer: PreTrainedTokenizerBase
    folder: Path
    name: str
    record: dict[str, Any] | None = None
    # A fast tokenizer cannot be used by two threads at the same time.
    lock: threading.RLock = field(default_factory=threading.RLock, repr=False)
    _explained: dict[Sentence, Explanation] = field(default_factory=dict, repr=False)

    @classmethod
    def load(cls, name_or_path: str) -> ServedModel:
        """Loads a model from a folder that training wrote, or from the Hub.

        Raises:
            InputError: If there is no such model, or if it is folded, of another type or broken.
        """
        model, tokenizer = load_unfolded(name_or_path, "the page, which shows them")
        folder = find_folder(name_or_path)
        name = folder.resolve().name if Path(name_or_path).is_dir() else name_or_path
        return cls(model, tokenizer, folder, name, read_record(folder))

    @property
    def class_names(self) -> list[str]:
        """The classes, in the model's order."""
        return self.model.config.class_names

    @property
    def problem_type(self) -> ProblemType:
        """The task of the model."""
        return problem_type_of(self.model.config)

    @property
    def reads_pairs(self) -> bool:
        """Whether it was trained on two texts at a time."""
        return bool(self.record and self.record["data"]["pairs"])

    @property
    def example(self) -> Sentence:
        """The text that the page opens with: one the model was not trained on, if there is any."""
        example = (self.record or {}).get("example")
        if example:
            return Sentence(example["text"], example["pair"])
        return Sentence(DEFAULT_TEXT, "" if self.reads_pairs else None)

    def explain(self, sentence: Sentence) -> Explanation:
        """Gives the explanation of a visitor's sentence, with deletion effects.

        All that the page shows of a sentence comes from it, so that the last ones are kept.

        Raises:
            InputError: If it is longer than the page reads.
        """
        check_length(sentence)
        with self.lock:
            if sentence not in self._explained:
                while len(self._explained) >= _MOST_KEPT:
                    del self._explained[next(iter(self._explained))]
                self._explained[sentence] = explain(
                    sentence.text, self.model, self.tokenizer, pairs=sentence.pair
                )
            return self._explained[sentence]


def check_length(sentence: Sentence) -> None:
    """Refuses a text that would keep other visitors waiting.

    Raises:
        InputError: If one of its texts is longer than `MOST_CHARACTERS`.
    """
    longest = max(len(sentence.text), len(sentence.pair or ""))
    if longest > MOST_CHARACTERS:
        raise InputError(
            f"This page reads texts of up to {MOST_CHARACTERS:,} characters, and this one has "
            f"{longest:,}. Shorten it; `hf-attn explain` in a terminal reads longer ones."
        )
