"""Figures that others published for the sets of the accuracy board.

Each was read in the source that it names, on 28 November 2026: a page or repository of its authors,
or where it says "printed by", a repository of others that repeats it under the paper's name. Splits
are the official ones; what differs stands beside the method.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from accuracy_sets import CORPORA
from benchmark_figures import Table


@dataclass(frozen=True)
class Source:
    """Where figures were read.

    Attributes:
        name: For the reader.
        address: Of the page or repository.
    """

    name: str
    address: str

    def __str__(self) -> str:
        """Gives a Markdown link."""
        return f"[{self.name}]({self.address})"


@dataclass(frozen=True)
class Published:
    """A figure of others.

    Attributes:
        corpus: Name of the set.
        method: As the source calls it.
        value: The score, of 1.
        source: Where it was read.
        metric: The score's name; accuracy without it.
    """

    corpus: str
    method: str
    value: float
    source: Source
    metric: str = "accuracy"


GITHUB = "https://github.com"
SGC = Source("authors of SGC", f"{GITHUB}/Tiiiger/SGC/tree/master/downstream/TextSGC")
BERT_GCN = Source("authors of BertGCN", f"{GITHUB}/ZeroRin/BertGCN")
TEXT_GCN = Source("printed by PyTorch_TextGCN", f"{GITHUB}/chengsen/PyTorch_TextGCN")
WIKIPEDIA2VEC = Source(
    "printed by wikipedia2vec",
    f"{GITHUB}/wikipedia2vec/wikipedia2vec/tree/master/examples/text_classification",
)
WIDE_MLP = Source(
    "printed by bitlinear",
    f"{GITHUB}/schneiderkamplab/bitlinear/tree/main/examples/text_classification",
)
CNN = Source("printed by baaesh", f"{GITHUB}/baaesh/CNN-sentence-classification-pytorch")
CNN_AGAIN = Source("run again by harvardnlp", f"{GITHUB}/harvardnlp/sent-conv-torch")
TUTORIAL = Source("authors of fastText", "https://fasttext.cc/docs/en/supervised-tutorial.html")
AUTOTUNE = Source("authors of fastText", "https://fasttext.cc/docs/en/autotune.html")
GO_TFIDF = Source("its authors' abstract", "https://arxiv.org/abs/2601.18162")
GO_ROBERTA = Source("its card", "https://huggingface.co/SamLowe/roberta-base-go_emotions")
VADER = Source("first page of the paper", "https://doi.org/10.1609/icwsm.v8i1.14550")

_GRAPH_SETS = ("20ng", "r8", "r52", "ohsumed")


def _of_graph_sets(method: str, source: Source, percents: Sequence[float]) -> list[Published]:
    pairs = zip(_GRAPH_SETS, percents, strict=True)
    return [Published(corpus, method, percent / 100, source) for corpus, percent in pairs]


PUBLISHED: Sequence[Published] = [
    Published("r8", "fastText", 0.961, WIKIPEDIA2VEC),
    Published("20ng", "fastText", 0.794, WIKIPEDIA2VEC),
    *_of_graph_sets("Wide MLP", WIDE_MLP, (83.31, 97.27, 93.89, 63.95)),
    *_of_graph_sets("Wide MLP on TF-IDF", WIDE_MLP, (84.20, 97.08, 93.67, 66.06)),
    *_of_graph_sets("TextGCN, which sees the test texts", TEXT_GCN, (86.34, 97.07, 93.56, 68.36)),
    *_of_graph_sets("SGC, which sees the test texts", SGC, (88.5, 97.2, 94.0, 68.5)),
    *_of_graph_sets("BERT, pretrained", BERT_GCN, (85.3, 97.8, 96.4, 70.5)),
    Published("trec", "CNN-rand", 0.912, CNN),
    Published("trec", "CNN-rand", 0.882, CNN_AGAIN),
    Published("sst2", "CNN-rand", 0.827, CNN),
    Published("sst2", "CNN-rand, perhaps with phrases", 0.835, CNN_AGAIN),
    Published(
        "cooking", "fastText, its settings chosen on these test texts", 0.599, TUTORIAL, "P@1"
    ),
    Published("cooking", "fastText, autotuned on these test texts", 0.666, AUTOTUNE, "P@1"),
    Published("goemotions", "TF-IDF + logistic regression", 0.51, GO_TFIDF, "micro-F1"),
    Published("goemotions", "RoBERTa, pretrained, threshold 0.5", 0.585, GO_ROBERTA, "micro-F1"),
    Published("vader_tweets", "VADER's rules, on all tweets", 0.881, VADER, "Pearson"),
]


def published_figures(names: Sequence[str]) -> Table:
    """Gives a table of those of some sets, set by set."""
    rows = {
        f"{CORPORA[name].title}, {one.metric}: {one.method} ({one.source})": [[one.value]]
        for name in names
        for one in PUBLISHED
        if one.corpus == name
    }
    return Table("Published by others", ["published"], rows, ["share"], first="set and method")
