"""Folds a classifier: all that depends on a token alone is computed once and kept in tables.

Before the attention nothing mixes tokens (but a pair of neighbours, which has tables of its
own), so a text needs no embeddings and no projections: look-ups and one small softmax.

Shapes: V tokens or pairs, D `hidden_size`, K `head_dim`, C classes, W = min(C, D).
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from .configuration_hf_attn import HfAttnFoldedConfig
from .errors import InputError
from .explainability import check_classifier
from .modeling_hf_attn import (
    HfAttnClassifier,
    HfAttnFoldedForSequenceClassification,
    HfAttnFoldedTable,
    HfAttnForSequenceClassification,
)
from .prediction import evaluating

TABLE_DTYPES = ("float32", "float16", "int8")
_LARGEST_INT8 = 127
# Fields of the model that its folded form reads.
_FIELDS = (
    "vocab_size",
    "hidden_size",
    "head_dim",
    "relative_attention_num_buckets",
    "relative_attention_max_distance",
    "attention_window",
    "classifier_pooling",
    "ngram_buckets",
    "ngram_slots",
    "pad_token_id",
    "id2label",
    "label2id",
    "problem_type",
    "label_thresholds",
)


def fold(
    model: HfAttnForSequenceClassification,
    *,
    table_dtype: str = "float32",
    attention_window: int | None = None,
) -> HfAttnFoldedForSequenceClassification:
    """Gives the folded form of a classifier: the same logits and explanations, from tables.

    In float32 logits and contributions differ by rounding alone, less than 1e-5. The other types
    make the tables a half or a quarter as large; [`measure_loss`] says what that costs.

    Args:
        model: The classifier; it stays as it is.
        table_dtype: What the tables hold: "float32", "float16" or "int8".
        attention_window: How far a token sees to either side; None for the model's own. Another one
            changes the logits of texts that are longer.

    Raises:
        InputError: If there is no such `table_dtype`, if a number does not fit into it, or if the
            model's weights hold NaN.
        TypeError: If the model is not a plain classifier of this package.

    Example:
        >>> folded = fold(model, table_dtype="int8")
        >>> folded.save_pretrained("r8-folded")
    """
    if table_dtype not in TABLE_DTYPES:
        raise InputError(
            f"table_dtype must be one of {', '.join(TABLE_DTYPES)}, got {table_dtype!r}."
        )
    check_classifier(model)
    if isinstance(model, HfAttnFoldedForSequenceClassification):
        raise TypeError(
            "expected the classifier that training wrote, got one that is folded already. For "
            "another table_dtype fold the model that it was folded from."
        )
    fields = {name: getattr(model.config, name) for name in _FIELDS}
    if attention_window is not None:
        fields["attention_window"] = attention_window
    config = HfAttnFoldedConfig(table_dtype=cast(Any, table_dtype), **fields)
    folded = HfAttnFoldedForSequenceClassification(config)
    folded.to(model.device)  # type: ignore[arg-type]
    with evaluating(model), torch.no_grad():
        _fill(folded, model)
    return folded


def folded_form(model: HfAttnClassifier) -> HfAttnFoldedForSequenceClassification:
    """Gives the folded form of a classifier, which one that is folded has already.

    Raises:
        InputError: As [`fold`] does.
        TypeError: If the model is not a classifier of this package.
    """
    if isinstance(model, HfAttnFoldedForSequenceClassification):
        return model
    return fold(cast(HfAttnForSequenceClassification, model))


def _fill(
    folded: HfAttnFoldedForSequenceClassification, model: HfAttnForSequenceClassification
) -> None:
    embeddings = model.model.embeddings
    tables = folded.tables
    of_nothing = torch.zeros_like(model.score.reference)
    _fill_table(tables.tokens, model, embeddings.embed_tokens, model.score.reference)
    if folded.config.ngram_buckets:  # the reference's share is in the rows of the tokens
        _fill_table(tables.ngrams, model, embeddings.embed_ngrams, of_nothing)
        tables.ngram_rows.load_state_dict(embeddings.ngram_rows.state_dict())
    distance_scores = folded.attention.relative_bias.scores
    if distance_scores is not None:
        relative_bias = model.model.attention.relative_bias
        distance_scores.copy_(relative_bias.weight[relative_bias.buckets])
    head = folded.score
    head.bias.copy_(model.score(of_nothing))
    head.reference.copy_(model.score.reference)
    if head.out_proj is not None:
        size = len(of_nothing)
        head.out_proj.weight.copy_(model.score.out_proj(torch.eye(size).to(of_nothing)).mT)


def _fill_table(
    table: HfAttnFoldedTable,
    model: HfAttnForSequenceClassification,
    embedding: nn.Embedding,
    reference: Tensor,
) -> None:
    """Computes the rows of one table, of tokens or of bigrams.

    Module calls only: the weights may be int8 or carry LoRA.
    """
    ids = torch.arange(embedding.num_embeddings, device=model.device)
    features = model.model.embeddings.scale * embedding(ids)
    query, key = model.model.attention.project(features)
    values = features - reference
    direct, context = values, model.model.attention.v_proj(values)
    if model.num_labels <= values.shape[1]:
        direct, context = (model.score.out_proj(value) for value in (direct, context))
    if table.pool_scores is not None:
        table.pool_scores.copy_(model.model.pooler.scores(features))
    for name, rows in (
        ("query", query),
        ("key", key),
        ("direct_values", direct),
        ("context_values", context),
    ):
        _store(table, name, rows.to(torch.float32))


def _store(table: HfAttnFoldedTable, name: str, rows: Tensor) -> None:
    """Writes rows (V, N) in float32 into a table of any type.

    Raises:
        InputError: If a number is none, or too large for the type.
    """
    stored = cast(Tensor, getattr(table, name))
    if stored.dtype == torch.int8:
        scale = rows.abs().amax(1) / _LARGEST_INT8
        getattr(table, f"{name}_scale").copy_(scale)
        # A row of zeros has a factor of 0, by which nothing can be divided.
        rows = (rows / scale.where(scale > 0, 1).unsqueeze(1)).round()
    largest = torch.finfo(torch.float16).max if stored.dtype == torch.float16 else torch.inf
    if not (rows.abs() < largest).all():
        raise InputError(
            f"expected numbers that fit into {stored.dtype} in the table {name!r}, got NaN or one "
            "that is too large. If the model's logits are numbers, fold with "
            "table_dtype='float32'; else train it again with a lower --learning-rate."
        )
    stored.copy_(rows)
