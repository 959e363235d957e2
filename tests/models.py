"""Small models whose attention is far from uniform, and batches with every kind of mask."""

import torch

from hf_attn import HfAttnConfig, HfAttnForSequenceClassification

LENGTH = 30

# Every way to make features, to score distances and to pool, and a window with either half.
VARIANTS = [
    {
        "classifier_pooling": pooling,
        "ngram_buckets": ngram_buckets,
        "relative_attention_num_buckets": buckets,
    }
    for pooling in ("mean", "static")
    for ngram_buckets in (0, 37)
    for buckets in (0, 32)
]
VARIANTS += [VARIANTS[row] | {"attention_window": 4} for row in (1, 6)]
# Pairs are hashed into rows in some, and have rows of their own in others.
for row in (3, 7, 9):
    VARIANTS[row]["ngram_slots"] = 64
MODES = ["train", "eval"]
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def variant_name(variant):
    return "-".join(str(value) for value in variant.values())


def small_config(**fields):
    defaults = {
        "vocab_size": 50,
        "hidden_size": 8,
        "head_dim": 6,
        "relative_attention_max_distance": 20,
        "num_labels": 3,
    }
    return HfAttnConfig(**(defaults | fields))


def small_classifier(*, dtype=torch.float64, model_class=HfAttnForSequenceClassification, **fields):
    """Weights of the usual 0.02 make attention uniform, and a wrong scale or mask goes unseen."""
    model = model_class(small_config(**fields)).to(dtype).eval()
    generator = torch.Generator().manual_seed(1)
    scales = {
        "q_proj": 0.8,
        "k_proj": 0.8,
        "embed_tokens": 0.35,
        "embed_ngrams": 0.2,
        "score_proj": 0.5,
    }
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name.endswith("ngram_rows.slots"):
                rows = model.config.ngram_buckets
                tensor.copy_(torch.randint(rows, tensor.shape, generator=generator))
                continue
            scale = next((scales[part] for part in name.split(".") if part in scales), 0.6)
            tensor.copy_(scale * torch.randn(tensor.shape, generator=generator))
    return model


def masked_batch(length=LENGTH, vocab_size=50):
    """Gives ids and masks of five texts: whole, padded left, padded right, with holes, empty."""
    generator = torch.Generator().manual_seed(2)
    ids = torch.randint(1, vocab_size, (5, length), generator=generator)
    mask = torch.ones_like(ids)
    mask[1, : length // 3] = 0
    mask[2, -length // 3 :] = 0
    mask[3] = torch.rand(length, generator=generator) < 0.6
    mask[4] = 0
    return {"input_ids": ids, "attention_mask": mask}


def gradients(model):
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


def assert_all_equal(actual, expected, atol=0.0):
    assert actual.keys() == expected.keys()
    for name in expected:
        torch.testing.assert_close(actual[name], expected[name], rtol=0, atol=atol, msg=name)
