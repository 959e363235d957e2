"""The line that a terminal shows of each evaluation."""

from hf_attn.progress import evaluation_line


def test_evaluation_line_holds_scores_and_no_timings():
    logs = {
        "eval_loss": 0.25, "eval_accuracy": 0.5, "eval_runtime": 3.0,
        "eval_samples_per_second": 9.0, "epoch": 2.0,
    }  # fmt: skip
    assert evaluation_line(logs) == "epoch 2: loss 0.2500, accuracy 0.5000"


def test_logs_of_training_make_no_line():
    assert evaluation_line({"loss": 0.5, "grad_norm": 1.0, "epoch": 2.0}) == ""
