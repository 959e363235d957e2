"""Tables of a model and of random numbers, and the scores they give, worked out text by text."""

import numpy as np
import torch
from reference import bigram_row, softmax

from hf_attn.predictor.tables import FoldedTables, TokenTables


@torch.no_grad()
def tables_of(model):
    """Folds a float32 classifier by its own modules."""
    embeddings, attention, head = model.model.embeddings, model.model.attention, model.score
    narrow = head.out_proj.weight.shape[0] <= head.out_proj.weight.shape[1]

    def values(features):
        centred = features - head.reference
        both = centred, attention.v_proj(centred)
        return [head.out_proj(part) if narrow else part for part in both]

    def fold(features, offsets):
        query, key = attention.project(features)
        scores = model.model.pooler.scores(features)
        parts = [part - offset for part, offset in zip(values(features), offsets, strict=True)]
        static = model.model.pooler.score_proj is not None
        arrays = [part.numpy() for part in (query, key, scores, *parts)]
        return TokenTables(arrays[0], arrays[1], arrays[2] if static else None, *arrays[3:])

    ids = torch.arange(model.config.vocab_size)
    ngrams = None
    if embeddings.ngram_buckets:
        pairs = embeddings.scale * embeddings.embed_ngrams.weight
        ngrams = fold(pairs, values(torch.zeros_like(pairs)))
    relative_bias, distance_scores = attention.relative_bias, None
    if relative_bias.num_buckets:
        distance_scores = relative_bias.weight[relative_bias.buckets].numpy()
    return FoldedTables(
        tokens=fold(embeddings.embed(ids, None), (0, 0)),
        ngrams=ngrams,
        ngram_slots=embeddings.ngram_rows.slots.numpy() if model.config.ngram_slots else None,
        distance_scores=distance_scores,
        attention_window=model.config.attention_window,
        out_proj=None if narrow else head.out_proj.weight.numpy(),
        bias=head.bias.numpy(),
        pad_token_id=embeddings.pad_token_id,
        class_names=tuple(model.config.class_names),
        problem_type=model.config.problem_type,
    )


def random_tables(
    *,
    vocab_size=60,
    head_dim=5,
    num_labels=3,
    width=None,
    static=False,
    num_ngrams=0,
    num_slots=0,
    farthest=20,
    window=0,
    scale=0.5,
):
    random = np.random.default_rng(0)

    def numbers(*shape):
        return (scale * random.standard_normal(shape)).astype(np.float32)

    def rows(count):
        return TokenTables(
            query=numbers(count, head_dim),
            key=numbers(count, head_dim),
            pool_scores=numbers(count) if static else None,
            direct_values=numbers(count, width or num_labels),
            context_values=numbers(count, width or num_labels),
        )

    return FoldedTables(
        tokens=rows(vocab_size),
        ngrams=rows(num_ngrams) if num_ngrams else None,
        ngram_slots=random.integers(0, num_ngrams, num_slots) if num_slots else None,
        distance_scores=numbers(2 * farthest + 1) if farthest else None,
        attention_window=window,
        out_proj=numbers(num_labels, width) if width else None,
        bias=numbers(num_labels),
        pad_token_id=0,
        class_names=tuple(map(str, range(num_labels))),
        problem_type=None,
    )


def random_texts(lengths, vocab_size=60):
    ids = np.random.default_rng(1).integers(1, vocab_size, sum(lengths))
    return ids.astype(np.int32), np.array(lengths, dtype=np.int64)


def expected_score(tables, ids):
    """Gives the logits (C,) of one text and the contributions (T, C) of its tokens, in float64."""
    length = len(ids)
    if not length:
        return tables.bias.astype(float), np.zeros((0, len(tables.bias)))
    before = [tables.pad_token_id, *ids[:-1]]

    def rows(name):
        found = getattr(tables.tokens, name)[ids].astype(float)
        if tables.ngrams is not None:
            table = getattr(tables.ngrams, name)
            found += table[
                [
                    bigram_row(*pair, len(table), tables.ngram_slots)
                    for pair in zip(before, ids, strict=True)
                ]
            ]
        return found

    distance = np.arange(length) - np.arange(length)[:, None]
    scores = rows("query") @ rows("key").T
    if tables.distance_scores is not None:
        farthest = len(tables.distance_scores) // 2
        scores += tables.distance_scores[distance.clip(-farthest, farthest) + farthest]
    if tables.attention_window:
        scores[np.abs(distance) > tables.attention_window] = -np.inf
    attention = np.array([softmax(row) for row in scores])
    pool = np.full(length, 1 / length)
    if tables.tokens.pool_scores is not None:
        pool = softmax(rows("pool_scores"))
    received = pool @ attention
    direct, context = rows("direct_values"), rows("context_values")
    contributions = pool[:, None] * direct + received[:, None] * context
    if tables.out_proj is not None:
        contributions = contributions @ tables.out_proj.astype(float).T
    return tables.bias + contributions.sum(0), contributions


def reading(logits, against_others=True):
    """Gives the weights (C,) of the logits in the reading of one text."""
    target, direction = logits.argmax(), np.zeros(len(logits))
    if against_others and len(logits) > 1:
        others = np.arange(len(logits)) != target
        direction[others] = -softmax(logits[others])
    direction[target] = 1
    return direction
