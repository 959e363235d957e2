"""The page on what "exact" means: its example is right, by hand and by the model."""

import re
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[1] / "docs" / "what-exact-means.md"
FEATURES = {"slow": -1, "but": 0, "great": 2}
REFERENCE, BIAS = Fraction(-1, 4), Fraction(1, 10)


def weights(words):
    """Attention and what each word receives of it, in fractions: 2^(x_i x_j), normalised."""
    raw = {i: {j: Fraction(2) ** (FEATURES[i] * FEATURES[j]) for j in words} for i in words}
    attention = {i: {j: raw[i][j] / sum(raw[i].values()) for j in words} for i in words}
    received = {j: sum(attention[i][j] for i in words) / len(words) for j in words}
    return attention, received


def logit(words):
    _, received = weights(words)
    share = Fraction(1, len(words))
    return BIAS + sum((share + received[j]) * (FEATURES[j] - REFERENCE) for j in words)


def rows(first_cell):
    """The number that ends each cell of the row of a table."""
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith(f"| {first_cell} ")]
    return [
        [float(cell.split()[-1].replace("−", "-")) for cell in line.strip("|").split("|")[1:]]
        for line in lines
    ]


@pytest.mark.parametrize("word", FEATURES)
def test_attention_of_the_example_is_right(word):
    attention, _ = weights(FEATURES)
    expected = [float(value) for value in attention[word].values()]
    assert rows(word)[0] == pytest.approx(expected, abs=5e-5)


def test_attention_received_of_the_example_is_right():
    _, received = weights(FEATURES)
    (given,) = rows("received, a (mean of the column)")
    assert given == pytest.approx([float(value) for value in received.values()], abs=5e-5)


@pytest.mark.parametrize("word", FEATURES)
def test_terms_of_the_example_are_right(word):
    _, received = weights(FEATURES)
    offset = FEATURES[word] - REFERENCE
    direct, context = offset / 3, received[word] * offset
    without = logit([other for other in FEATURES if other != word])
    expected = [offset, direct, context, direct + context, without, logit(FEATURES) - without]
    assert rows(word)[1] == pytest.approx([float(value) for value in expected], abs=6e-5)


def test_sums_in_the_text_are_right():
    text = PAGE.read_text().replace("\n", " ").replace("−", "-")
    assert f"= {float(logit(FEATURES)):.4f}, the logit" in text
    _, received = weights(["slow", "great"])
    assert f"receives (0.8889 + 0.0154)/2 = {float(received['slow']):.4f}" in text
    assert f"*great* {float(received['great']):.4f}" in text
    without = float(logit(["slow", "great"]))
    assert f"(0.5 + 0.5479)(2.25) = {without:.4f}" in text


def test_model_of_the_page_prints_what_the_page_says():
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.M | re.S)
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert printed.splitlines() == re.findall(r"^# (.+)$", code, re.M)
