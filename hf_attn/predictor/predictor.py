"""Classifies texts, and says why, at the speed of table look-ups: from text to label."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from ..probabilities import check_abstention
from ..problem_types import SINGLE, problem_type_of
from .ahead import made_ahead
from .encoding import EncodedTexts, TextEncoder
from .forward import FoldedForward, Scored, join_scored
from .predictions import Predictions, TextBatch
from .tables import FOLDED_TYPE, FoldedTables, read_config

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from ..modeling_hf_attn import HfAttnClassifier


# With several threads, so many texts are scored while the next ones are tokenized.
_TEXTS_AT_ONCE = 8192


class Predictor:
    """Classifies texts on a CPU from the tables of a folded model, with NumPy alone.

    A folded folder is read without importing torch or transformers. Logits and contributions are
    those of the model within 1e-5.

    Args:
        tables: What the model decides of each token alone.
        encoder: Its tokenizer.
        num_threads: How many threads score texts. With two or more, [`stream`] reads and tokenizes
            the next texts in one more.

    Raises:
        InputError: If `num_threads` is below 1, if the tokenizer has more tokens than the model, or
            if the tables hold NaN.

    Example:
        >>> predictor = Predictor.from_pretrained("r8-folded")
        >>> predictions = predictor.predict(["oil prices rose"], explain=True)
        >>> predictions.labels, predictions.words(0)
    """

    def __init__(self, tables: FoldedTables, encoder: TextEncoder, *, num_threads: int = 1) -> None:
        if num_threads < 1:
            raise InputError(f"num_threads must be 1 or more, got {num_threads!r}.")
        vocab_size = len(tables.tokens.query)
        if encoder.vocab_size > vocab_size:
            raise InputError(
                f"expected a tokenizer of at most vocab_size={vocab_size} tokens, got one of "
                f"{encoder.vocab_size}. It belongs to another model."
            )
        self.class_names = tables.class_names
        self.problem_type = problem_type_of(tables)
        self.label_thresholds = tables.label_thresholds
        self.num_threads = num_threads
        self._encoder = encoder
        self._forward = FoldedForward(
            tables, num_threads, against_others=self.problem_type == SINGLE
        )

    @classmethod
    def from_pretrained(
        cls, name_or_path: str | Path, *, revision: str | None = None, num_threads: int = 1
    ) -> Predictor:
        """Loads a folded model, or a plain one, which is folded first and needs torch for it.

        Args:
            name_or_path: A folder, or the id of a Hub repository.
            revision: Branch, tag or commit of the repository.
            num_threads: How many threads score texts.

        Raises:
            InputError: If there is no such model, or it is broken.
        """
        folder = Path(name_or_path)
        if not folder.is_dir():
            from ..fetching import find_folder  # the Hub's client takes long to import

            folder = find_folder(name_or_path, revision=revision)
        if (folder / "config.json").is_file() and read_config(folder).get(
            "model_type"
        ) == FOLDED_TYPE:
            encoder = TextEncoder.from_folder(folder)
            return cls(FoldedTables.from_folder(folder), encoder, num_threads=num_threads)
        from ..loading import load_classifier

        model, tokenizer = load_classifier(str(folder))
        return cls.from_model(model, tokenizer, num_threads=num_threads)

    @classmethod
    def from_model(
        cls,
        model: HfAttnClassifier,
        tokenizer: PreTrainedTokenizerBase,
        *,
        num_threads: int = 1,
    ) -> Predictor:
        """Takes a classifier over as it is now; one that is not folded is folded.

        Args:
            model: The classifier, plain or folded; it stays as it is.
            tokenizer: The fast tokenizer that it was trained with.
            num_threads: How many threads score texts.

        Raises:
            InputError: If the weights hold NaN, or the tokenizer belongs to another model.
            TypeError: If the model is not a classifier of this package.
        """
        from ..folding import folded_form

        tables = FoldedTables.from_model(folded_form(model))
        return cls(tables, TextEncoder.from_tokenizer(tokenizer), num_threads=num_threads)

    def predict(
        self,
        texts: Sequence[str],
        *,
        pairs: Sequence[str] | None = None,
        explain: bool = False,
        abstain_below: float | None = None,
    ) -> Predictions:
        """Classifies texts.

        Args:
            texts: N texts; an empty one gets the scores of the bias alone. One that is longer than
                the tokenizer's maximum is cut.
            pairs: N second texts, for a model of pairs.
            explain: Whether to give what each word adds.
            abstain_below: A text whose likeliest class is less probable gets no label; its scores
                stay.

        Raises:
            InputError: If a text is no string of valid Unicode, if there are not N second texts, or
                if `abstain_below` is no probability or the model gives values.
        """
        check_abstention(abstain_below, self.problem_type)
        batch = TextBatch(texts, pairs)
        if self.num_threads == 1 or len(texts) <= _TEXTS_AT_ONCE:
            return self._score(batch, self._encode(batch), explain, abstain_below)
        parts = list(self.stream(_cut(batch), explain=explain))
        encoded = self._encoder.join([part.encoded for part in parts], texts, pairs)
        scored = join_scored([part.scored for part in parts])
        return self._predictions(batch, encoded, scored, abstain_below)

    def stream(
        self,
        batches: Iterable[TextBatch | Sequence[str]],
        *,
        explain: bool = False,
        abstain_below: float | None = None,
    ) -> Iterator[Predictions]:
        """Yields the predictions of each batch of texts, in order and one at a time.

        Some thousands of texts are a good batch: enough that texts of like length are scored
        together, and few enough for memory.

        Args:
            batches: Batches of texts, or of texts and their pairs; none is held after its turn.
            explain: Whether to give what each word adds.
            abstain_below: As of [`predict`].

        Raises:
            InputError: As [`predict`] does, when the batch's turn comes.
        """
        check_abstention(abstain_below, self.problem_type)
        of_texts = (one if isinstance(one, TextBatch) else TextBatch(one) for one in batches)
        if self.num_threads == 1:
            for batch in of_texts:
                yield self._score(batch, self._encode(batch), explain, abstain_below)
            return

        def encode_next() -> tuple[TextBatch, EncodedTexts] | None:
            batch = next(of_texts, None)
            return None if batch is None else (batch, self._encode(batch))

        # Batches are waited for in the thread that encodes, so that those that come slowly get
        # their predictions before the next one is there.
        for batch, encoded in made_ahead(encode_next, "encode"):
            yield self._score(batch, encoded, explain, abstain_below)

    def _encode(self, batch: TextBatch) -> EncodedTexts:
        return self._encoder.encode(batch.texts, batch.pairs)

    def _score(
        self, batch: TextBatch, encoded: EncodedTexts, explain: bool, abstain_below: float | None
    ) -> Predictions:
        scored = self._forward(encoded.token_ids, encoded.lengths, explain=explain)
        return self._predictions(batch, encoded, scored, abstain_below)

    def _predictions(
        self,
        batch: TextBatch,
        encoded: EncodedTexts,
        scored: Scored,
        abstain_below: float | None,
    ) -> Predictions:
        return Predictions(
            batch,
            self.class_names,
            self.problem_type,
            encoded,
            scored,
            self._encoder.token_name,
            label_thresholds=self.label_thresholds,
            abstain_below=abstain_below,
        )


def _cut(batch: TextBatch) -> Iterator[TextBatch]:
    """Yields parts of a large batch."""
    texts, pairs = batch
    if pairs is not None and len(pairs) != len(texts):
        raise InputError(
            f"expected a second text for each of the {len(texts)} texts, got {len(pairs)}."
        )
    for start in range(0, len(texts), _TEXTS_AT_ONCE):
        part = slice(start, start + _TEXTS_AT_ONCE)
        yield TextBatch(texts[part], None if pairs is None else pairs[part])
