import pytest
from processes import run_python

# Prints by how many MiB the peak grows over that of short texts, first for a prediction, then for
# a training step. ru_maxrss is in KiB; what is loaded at first use has been counted by then.
PEAKS = """
    import resource, sys, torch
    from hf_attn import HfAttnConfig, HfAttnForSequenceClassification

    torch.manual_seed(0)
    config = HfAttnConfig(vocab_size=50, hidden_size=8, head_dim=4)
    model = HfAttnForSequenceClassification(config)

    def peak():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    def predict(length):
        with torch.no_grad():
            assert model.eval()(torch.randint(1, 50, (1, length))).logits.isfinite().all()

    def train(length):
        ids = torch.randint(1, 50, (1, length))
        model.train()(ids, labels=torch.tensor([1])).loss.backward()
        assert all(parameter.grad.isfinite().all() for parameter in model.parameters())

    predict(64), train(64)
    before = peak()
    for step in predict, train:
        step(int(sys.argv[1]))
        print(peak() - before)
"""


@pytest.mark.skipif("sys.platform != 'linux'", reason="ru_maxrss has another unit elsewhere")
def test_long_text_holds_less_than_one_score_matrix():
    length = 12_000
    predicting, training = map(float, run_python(PEAKS, length).split())
    # One T x T float32 matrix takes 549 MiB; a prediction in one piece needs two or more, and
    # training five. In blocks of 32 MiB they need about five and ten blocks, whatever the length.
    matrix = length**2 * 4 / 2**20
    assert predicting < matrix / 2
    assert training < matrix
