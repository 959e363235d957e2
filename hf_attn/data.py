"""A file, a Hub data set or a named corpus to labelled examples."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from typing import Any, cast

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from .columns import check_column, choose_columns
from .errors import InputError
from .labels import EncodedLabels, UnseenLabels, encode_labels
from .problem_types import MULTI, REGRESSION, SINGLE, ProblemType
from .raw_labels import RawLabels, collect_labels
from .raw_split import RawSplit
from .sources import Source, read_one_split, read_source
from .texts import is_encodable, text_problem

logger = logging.getLogger(__name__)


def load_text_dataset(
    source: Source,
    *,
    validation: Source | None = None,
    test: Source | None = None,
    text_column: str | None = None,
    text_pair_column: str | None = None,
    label_column: str | None = None,
    label_separator: str | None = None,
    problem_type: ProblemType | None = None,
    labels: Sequence[str] | None = None,
    unseen_labels: UnseenLabels = "error",
    validation_size: float = 0.1,
    seed: int = 0,
    subset: str | None = None,
    revision: str | None = None,
) -> datasets.DatasetDict:
    """Gives labelled texts in one form, whatever form they came in.

    ```python
    data = load_text_dataset("r8")
    data = load_text_dataset("train.csv", test="test.csv", label_column="topic")
    ```

    Classes are those of the training split, in the order of their `ClassLabel` where the source
    has one, else sorted by number or by name. Numbers in CSV and TSV are classes unless one of
    them has a decimal point or an exponent: then the task is regression. No value is read as
    missing because of what it says: "NA" stays a text.

    Args:
        source: named corpus (`r8`, `r52`, `20ng`); CSV, TSV, JSON lines, JSON, Parquet or fastText
            `.txt` file, also gzipped; folder with files named train, validation and test; id of a
            Hub data set; or a loaded data set.
        validation: file or data set of the validation split; replaces that of `source`.
        test: file or data set of the test split; replaces that of `source`.
        text_column: column of the text; None takes the obvious one.
        text_pair_column: column of a second text; None takes one only beside an obvious first,
            such as "sentence1" and "sentence2".
        label_column: column of the label; None takes the obvious one.
        label_separator: mark between labels in one string, such as ","; makes it multi-label.
        problem_type: the task; None infers it from the labels.
        labels: class names in the order of a saved model, used instead of those of the training
            split, which may then be absent.
        unseen_labels: "error", or "drop" to leave out labels of the other splits that do not
            occur in training (in single-label tasks with their row).
        validation_size: fraction of train, in [0, 1), made the validation split when there is
            none; 0 makes none. Single-label classes keep their shares.
        seed: choice of that validation split, which does not depend on the order of the rows.
        subset: configuration of a Hub data set.
        revision: branch, tag or commit of a Hub data set.

    Returns:
        Splits "train", "validation" and "test" as far as there are any, with the columns `text`,
        `text_pair` if there is one, and `label` (`ClassLabel`, or float32 for regression) or
        `labels` (list of `ClassLabel`) for multi-label.

    Raises:
        InputError: something in the input cannot be used; the message names file, row, column.
    """
    if not 0 <= validation_size < 1:
        raise InputError(f"Expected validation_size in [0, 1), got {validation_size!r}.")
    splits = read_source(source, subset=subset, revision=revision)
    for name, given in (("validation", validation), ("test", test)):
        if given is not None:
            splits[name] = read_one_split(given, name)
    if "train" not in splits and labels is None:
        raise InputError(
            f"{source}: expected a split 'train', got {list(splits)!r}. Add a file named train.*, "
            "or pass the training file itself."
        )
    splits = _without_unlabelled(splits, label_column)
    first = next(iter(splits.values()))
    columns = choose_columns(
        first, text=text_column, text_pair=text_pair_column, label=label_column
    )
    texts = {name: {"text": _texts(split, columns.text, "text")} for name, split in splits.items()}
    if columns.text_pair is not None:
        for name, split in splits.items():
            texts[name]["text_pair"] = _texts(split, columns.text_pair, "text-pair")
    raw = {
        name: _labels(split, cast(str, columns.label), label_separator)
        for name, split in splits.items()
    }
    encoded = encode_labels(raw, problem_type=problem_type, names=labels, unseen=unseen_labels)
    data = datasets.DatasetDict({name: _build(texts[name], name, encoded) for name in splits})
    if "train" in data and "validation" not in data and validation_size > 0:
        _add_validation(data, validation_size, seed)
    return data


def load_labelled_split(
    source: Source, split: str | None = None, *, labels: Sequence[str] | None, **options: Any
) -> datasets.Dataset:
    """Gives one split of labelled texts to score a trained model on.

    Args:
        source: what `load_text_dataset` takes.
        split: its name; None takes "test", or the only one there is.
        labels: class names in the order of the model; None for regression.
        **options: passed on to `load_text_dataset`.

    Returns:
        The split, as `load_text_dataset` gives it.

    Raises:
        InputError: the data cannot be used, or there is no such split.
    """
    data = load_text_dataset(source, labels=labels, validation_size=0, **options)
    wanted = split or ("test" if "test" in data or len(data) > 1 else next(iter(data)))
    if wanted not in data:
        raise InputError(
            f"{source}: expected a split {wanted!r}, got {list(data)!r}. Choose one of them with "
            "--split."
        )
    return data[wanted]


def take_fraction(split: datasets.Dataset, fraction: float, seed: int = 0) -> datasets.Dataset:
    """Gives a share of a split in which classes keep their shares, whatever the rows' order.

    Args:
        split: a split that `load_text_dataset` gave.
        fraction: share of its texts, in (0, 1].
        seed: choice of the texts.
    """
    if fraction >= 1:
        return split
    return split.select(np.flatnonzero(_choose_rows(split, fraction, seed)))


def label_names(dataset: datasets.Dataset | datasets.DatasetDict) -> list[str] | None:
    """Gives the class names in the order of the class numbers.

    Args:
        dataset: what `load_text_dataset` gave, or one split of it.

    Returns:
        The names; None for regression.
    """
    feature = _label_feature(dataset)
    inner = getattr(feature, "feature", feature)
    return list(inner.names) if isinstance(inner, datasets.ClassLabel) else None


def mean_characters(split: datasets.Dataset) -> float:
    """Gives how many characters a text has in the mean, both texts of a pair counted; 0 of none.

    Args:
        split: One split of what `load_text_dataset` gave.
    """
    columns = [name for name in ("text", "text_pair") if name in split.column_names]
    by_column = split.with_format("arrow")
    total = sum(pc.sum(pc.utf8_length(by_column[name][:])).as_py() or 0 for name in columns)
    return total / max(1, len(split))


def problem_type(dataset: datasets.Dataset | datasets.DatasetDict) -> ProblemType:
    """Gives the task in transformers' words.

    Args:
        dataset: what `load_text_dataset` gave, or one split of it.

    Returns:
        "single_label_classification", "multi_label_classification" or "regression".
    """
    feature = _label_feature(dataset)
    if isinstance(feature, datasets.ClassLabel):
        return SINGLE
    return MULTI if hasattr(feature, "feature") else REGRESSION


def _label_feature(dataset: datasets.Dataset | datasets.DatasetDict) -> object:
    split = next(iter(dataset.values())) if isinstance(dataset, dict) else dataset
    return split.features["labels" if "labels" in split.features else "label"]


def _without_unlabelled(splits: dict[str, RawSplit], column: str | None) -> dict[str, RawSplit]:
    """Leave out test splits whose labels are kept secret: all of them the number -1."""
    kept = {}
    for name, split in splits.items():
        numbered = [column] if column is not None else list(split.class_names)
        hidden = [c for c in numbered if c in split.class_names and _all_hidden(split.columns[c])]
        if name != "train" and hidden:
            logger.warning("%s: left out, it has no labels in %r", split.source, hidden[0])
        else:
            kept[name] = split
    return kept


def _all_hidden(values: list[Any]) -> bool:
    return all(value in (-1, None) for value in values)


def _texts(split: RawSplit, column: str, argument: str) -> list[str]:
    """Gives the texts of a column, none of them missing; empty ones are texts too."""
    check_column(split, column, argument)
    values = split.columns[column]
    if set(map(type, values)) <= {str} and is_encodable("".join(values)):
        return values
    for row, value in enumerate(values):
        if problem := text_problem(value):
            raise InputError(f"{split.where(row, column)}: {problem}")
    return values


def _labels(split: RawSplit, column: str, separator: str | None) -> RawLabels:
    check_column(split, column, "label")
    return collect_labels(split, column, separator)


def _build(texts: dict[str, list[str]], name: str, encoded: EncodedLabels) -> datasets.Dataset:
    features: dict[str, Any] = {column: datasets.Value("string") for column in texts}
    label = "labels" if encoded.problem_type == MULTI else "label"
    if encoded.names is None:
        features[label] = datasets.Value("float32")
    else:
        classes = datasets.ClassLabel(names=encoded.names)
        features[label] = datasets.List(classes) if label == "labels" else classes
    schema = datasets.Features(features)
    rows = encoded.rows[name]
    columns: dict[str, list[Any]] = {
        column: values if rows is None else [values[row] for row in rows]
        for column, values in texts.items()
    }
    columns[label] = encoded.values[name]
    # Arrow arrays spare datasets its check of every value, which took a third of the loading.
    arrays = {
        column: pa.array(values, schema.arrow_schema.field(column).type)
        for column, values in columns.items()
    }
    return datasets.Dataset.from_dict(arrays, features=schema)


def _add_validation(data: datasets.DatasetDict, size: float, seed: int) -> None:
    """Move part of train to a new validation split, and say so."""
    train = data["train"]
    chosen = _choose_rows(train, size, seed)
    if problem_type(train) == MULTI:
        _keep_each_label(train["labels"][:], chosen)
    if not chosen.any():
        logger.warning("No validation split: %d training texts are too few", len(train))
        return
    data["train"] = train.select(np.flatnonzero(~chosen))
    data["validation"] = train.select(np.flatnonzero(chosen))
    logger.info(
        "Validation split made from train: %d of %d texts (validation_size=%g, seed=%d)",
        chosen.sum(), len(train), size, seed,
    )  # fmt: skip


def _choose_rows(train: datasets.Dataset, size: float, seed: int) -> NDArray[np.bool_]:
    """Gives which rows belong to a share of a split, whatever the order of the rows.

    Within a class, texts are ranked by a hash and spread over [0, 1); the rows below about `size`
    are taken. Equal texts of a class stay together, and its last text stays in train.
    """
    task = problem_type(train)
    classes = np.asarray(train["label"][:] if task == SINGLE else np.zeros(len(train)), dtype=int)
    pairs = train["text_pair"][:] if "text_pair" in train.column_names else [""] * len(train)
    both = zip(train["text"][:], pairs, strict=True)
    hashes = np.array([_hash(f"{seed}\0{text}\0{pair}") for text, pair in both], dtype=np.uint64)
    position = np.ones(len(train))
    for number in np.unique(classes):
        rows = np.flatnonzero(classes == number)
        ranked = np.sort(hashes[rows])
        rank = np.searchsorted(ranked, hashes[rows])
        # The offset differs by class, so that small classes get their share on average.
        spread = (rank + _hash(f"{seed}\0{number}") / 2**64) / len(rows)
        position[rows] = np.where(hashes[rows] == ranked[-1], 1.0, spread)
    cut = np.sort(position)[min(round(size * len(train)), len(train) - 1)]
    return np.asarray(position < cut)


def _keep_each_label(labels: list[list[int]], chosen: NDArray[np.bool_]) -> None:
    """Give back to train the rows with a label that no row of train holds."""
    in_train = {number for row in np.flatnonzero(~chosen) for number in labels[row]}
    for row in np.flatnonzero(chosen):
        if not in_train.issuperset(labels[row]):
            chosen[row] = False


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
