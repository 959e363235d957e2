"""The model written out again in NumPy, one text and one token at a time, in float64."""

import numpy as np
import torch
from transformers.models.t5.modeling_t5 import T5Attention


def softmax(scores):
    weights = np.exp(scores - scores.max())
    return weights / weights.sum()


def hash_bigram(previous, token, num_slots):
    return (int(previous) * 1_000_003 + int(token) * 16_777_619) % (2**31 - 1) % num_slots


def bigram_row(previous, token, num_rows, slots=None):
    if slots is None:
        return hash_bigram(previous, token, num_rows)
    return int(slots[hash_bigram(previous, token, len(slots))])


def token_features(weight, config, ids, mask):
    ids = np.where(mask, ids, config.pad_token_id)
    features = weight["embeddings.embed_tokens.weight"][ids]
    if config.ngram_buckets:
        previous = config.pad_token_id
        for j in np.flatnonzero(mask):
            slots = weight["embeddings.ngram_rows.slots"] if config.ngram_slots else None
            row = bigram_row(previous, ids[j], config.ngram_buckets, slots)
            features[j] = features[j] + weight["embeddings.embed_ngrams.weight"][row]
            previous = ids[j]
    return np.sqrt(config.hidden_size) * features


def distance_scores(weight, config, length):
    if not config.relative_attention_num_buckets:
        return np.zeros((length, length))
    position = torch.arange(length)
    buckets = T5Attention._relative_position_bucket(
        position[None, :] - position[:, None],
        num_buckets=config.relative_attention_num_buckets,
        max_distance=config.relative_attention_max_distance,
    )
    return weight["attention.relative_bias.weight"][buckets.numpy()]


def classify(weight, head, config, ids, mask):
    """Gives what the model computes for one text; `ids` and `mask` are (T,)."""
    length, real = len(ids), np.flatnonzero(mask)
    x = token_features(weight, config, ids, mask)
    query = x @ weight["attention.q_proj.weight"].T
    key = x @ weight["attention.k_proj.weight"].T
    scores = query @ key.T / np.sqrt(config.head_dim) + distance_scores(weight, config, length)
    attention, pool = np.zeros((length, length)), np.zeros(length)
    for i in real:
        seen = real[abs(real - i) <= (config.attention_window or length)]
        attention[i, seen] = softmax(scores[i, seen])
    if len(real) and config.classifier_pooling == "static":
        pool[real] = softmax(x[real] @ weight["pooler.score_proj.weight"][0])
    elif len(real):
        pool[real] = 1 / len(real)
    received = pool @ attention
    centred = x - head["reference"]
    w_v, w_c = weight["attention.v_proj.weight"], head["out_proj.weight"]
    pooled = pool @ centred + w_v @ (received @ centred)
    return {
        "features": x,
        "last_hidden_state": x + attention @ x @ w_v.T,
        "attentions": attention[None],
        "pool_weights": pool,
        "attention_received": received,
        "pooled": pooled,
        "logits": w_c @ pooled + head["bias"],
        "direct_contributions": pool[:, None] * (centred @ w_c.T),
        "context_contributions": received[:, None] * (centred @ w_v.T @ w_c.T),
    }


def reference_outputs(model, input_ids, attention_mask):
    """Gives the same for a batch, as float64 tensors stacked over the texts."""
    arrays = {name: value.cpu().double().numpy() for name, value in model.state_dict().items()}
    weight = {name.removeprefix("model."): array for name, array in arrays.items()}
    head = {name.removeprefix("score."): array for name, array in arrays.items()}
    texts = [
        classify(weight, head, model.config, ids.numpy(), mask.numpy().astype(bool))
        for ids, mask in zip(input_ids.cpu(), attention_mask.cpu(), strict=True)
    ]
    return {name: torch.from_numpy(np.stack([text[name] for text in texts])) for name in texts[0]}
