"""The models that are timed, made once for each set: ours, and those of others beside them."""

from __future__ import annotations

import itertools
import json
import pickle
import random
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from benchmark_training import say, train_quietly
from datasets import DatasetDict
from fasttext_runs import Row, run_fasttext
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC
from speed_rivals import BERT_LENGTH, SIDES
from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors, trainers
from tokenizers.models import WordPiece
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    DistilBertConfig,
    PreTrainedConfig,
    set_seed,
)

from hf_attn import load_text_dataset
from hf_attn.arguments import WORDS_ALONE
from hf_attn.fold_folder import fold_folder
from hf_attn.loading import load_classifier
from hf_attn.onnx_folder import export_folder

GRID = {"lr": (0.1, 0.5, 1.0), "epoch": (5, 10, 25), "wordNgrams": (1, 2)}
# A tenth of fastText's default, which makes each model 800 MB large and slower.
BUCKETS = 200_000
BIGRAM_BUCKETS = 32_768
BERT_VOCABULARY = 30_522
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
Source: TypeAlias = str | DatasetDict


@dataclass(frozen=True)
class Models:
    """Makes models when they are asked for, unless an earlier run has done so.

    Attributes:
        folder: With a folder for each set.
        data: Folder with the sets that no package has.
        window: Of the model that attends to neighbours only.
        epochs: Fewer than by default, to try the script out.
        sources: Set to what `hf_attn.train` reads, where that is no folder in `data`.
        grid: Settings of fastText to try.
    """

    folder: Path
    data: Path
    window: int = 32
    epochs: int | None = None
    sources: Mapping[str, Source] = field(default_factory=lambda: {"r8": "r8"})
    grid: Mapping[str, Sequence[float]] = field(default_factory=lambda: GRID)

    def source(self, name: str) -> Source:
        """Gives what `hf_attn.train` reads the set from."""
        return self.sources.get(name, str(self.data / name))

    def make(self, name: str, model: str) -> Path:
        """Gives the path of a model of this set, made first if it is missing.

        Args:
            name: Of the set.
            model: Its path in the folder of the set, as the sides name it.
        """
        path = self.folder / name / model
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            say(f"making {model} of {name}")
            with tempfile.TemporaryDirectory(dir=path.parent) as unfinished:
                made = Path(unfinished, path.name)
                _MAKERS[model](self, name, made)
                made.rename(path)
        return path

    def make_for(self, name: str, sides: Sequence[str]) -> Path:
        """Gives the folder with the models of these sides."""
        for side in sides:
            self.make(name, SIDES[side].model)
        return self.folder / name

    def fasttext_rows(self, name: str) -> list[Row]:
        """Gives settings, scores and seconds of all fastText models of the grid."""
        path = self.folder / name / "fasttext" / "grid.json"
        if not path.exists():
            folder = self.write_for_fasttext(name)
            runs = [
                {**dict(zip(self.grid, values, strict=True)), **_for_fasttext(thread=1)}
                for values in itertools.product(*self.grid.values())
            ]
            say(f"training {len(runs)} fastText models of {name}")
            path.write_text(json.dumps(run_fasttext(folder, runs)), encoding="utf-8")
        rows: list[Row] = json.loads(path.read_text(encoding="utf-8"))
        return rows

    def write_for_fasttext(self, name: str) -> Path:
        """Gives a folder with the set in fastText's format, which has lower case as ours has.

        Lines are shuffled: fastText takes them in their order, and some files have one class after
        the other.
        """
        folder = self.folder / name / "fasttext"
        folder.mkdir(parents=True, exist_ok=True)
        for split, rows in load_text_dataset(self.source(name)).items():
            lines = [
                f"__label__{label} {' '.join(text.lower().split())}\n"
                for text, label in zip(rows["text"][:], rows["label"][:], strict=True)
            ]
            random.Random(0).shuffle(lines)
            (folder / f"{split}.txt").write_text("".join(lines), encoding="utf-8")
        return folder


def best_of(rows: Sequence[Row]) -> Row:
    """Gives the row with the highest validation accuracy; of equals that trained fastest."""
    return max(rows, key=lambda row: (row["validation"], -row["seconds"]))


def settings_of(row: Row) -> dict[str, Any]:
    """Gives the settings of a row without what came of them."""
    measured = {"validation", "test", "seconds", "start", "scores"}
    return {name: value for name, value in row.items() if name not in measured}


def _for_fasttext(**options: Any) -> dict[str, Any]:
    return {"bucket": BUCKETS, **options}


def _train(models: Models, name: str, path: Path, **options: Any) -> None:
    if models.epochs:
        options["num_train_epochs"] = models.epochs
    train_quietly(models.source(name), path, **{**WORDS_ALONE, **options})


def _train_with_window(models: Models, name: str, path: Path) -> None:
    _train(models, name, path, attention_window=models.window)


def _fold(start: str, models: Models, name: str, path: Path, table_dtype: str = "float32") -> None:
    fold_folder(str(models.make(name, start)), path, table_dtype=table_dtype)


def _export(start: str, models: Models, name: str, path: Path) -> None:
    export_folder(*load_classifier(str(models.make(name, start))), path)


def _train_fasttext(models: Models, name: str, path: Path, **options: Any) -> None:
    folder = models.write_for_fasttext(name)
    settings = {"lr": 0.5, "epoch": 5, **_for_fasttext(thread=1), **options}
    run_fasttext(folder, [{**settings, "save": str(path)}])


def _train_best_fasttext(models: Models, name: str, path: Path) -> None:
    _train_fasttext(models, name, path, **settings_of(best_of(models.fasttext_rows(name))))


def _quantize_fasttext(models: Models, name: str, path: Path) -> None:
    import fasttext

    model = fasttext.load_model(str(models.make(name, "fasttext/best.bin")))
    model.quantize(str(models.write_for_fasttext(name) / "train.txt"))
    model.save_model(str(path))


def _train_svm(models: Models, name: str, path: Path) -> None:
    rows = load_text_dataset(models.source(name))["train"]
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    pipeline = make_pipeline(vectorizer, LinearSVC(random_state=0))
    path.write_bytes(pickle.dumps(pipeline.fit(rows["text"][:], rows["label"][:])))


def _make_bert(
    config: Callable[..., PreTrainedConfig], models: Models, name: str, path: Path
) -> None:
    """Makes a model with random weights, and a tokenizer that is its own."""
    rows = load_text_dataset(models.source(name))["train"]
    tokenizer = _word_pieces(rows["text"][:])
    labels = dict(enumerate(rows.features["label"].names))
    set_seed(0)
    given = config(vocab_size=BERT_VOCABULARY, id2label=labels)
    AutoModelForSequenceClassification.from_config(given).save_pretrained(path)
    tokenizer.save(str(path / "tokenizer.json"))


def _word_pieces(texts: Sequence[str]) -> Tokenizer:
    """Gives a tokenizer that works as BERT's does, learned from the texts."""
    tokenizer = Tokenizer(WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=BERT_VOCABULARY, special_tokens=list(SPECIAL))
    tokenizer.train_from_iterator(texts, trainer)
    around = [(mark, SPECIAL.index(mark)) for mark in ("[SEP]", "[CLS]")]
    tokenizer.post_processor = processors.BertProcessing(*around)
    return tokenizer


# As Turc et al. 2019 call it.
_TINY_BERT = partial(
    BertConfig,
    hidden_size=128,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=512,
    max_position_embeddings=BERT_LENGTH,
)
_MAKERS: dict[str, Callable[[Models, str, Path], None]] = {
    "plain": _train,
    "window": _train_with_window,
    "bigrams": partial(_train, ngram_buckets=BIGRAM_BUCKETS, ngram_min_frequency=0),
    "folded": partial(_fold, "plain"),
    "folded-float16": partial(_fold, "plain", table_dtype="float16"),
    "folded-int8": partial(_fold, "plain", table_dtype="int8"),
    "window-folded": partial(_fold, "window"),
    "bigrams-folded": partial(_fold, "bigrams"),
    "plain-onnx": partial(_export, "plain"),
    "folded-onnx": partial(_export, "folded"),
    "fasttext/unigrams.bin": _train_fasttext,
    "fasttext/bigrams.bin": partial(_train_fasttext, wordNgrams=2),
    "fasttext/best.bin": _train_best_fasttext,
    "fasttext/best.ftz": _quantize_fasttext,
    "svm.pickle": _train_svm,
    "bert-tiny": partial(_make_bert, _TINY_BERT),
    "distilbert": partial(_make_bert, DistilBertConfig),
}
