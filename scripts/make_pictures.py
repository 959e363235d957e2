"""Draws the pictures that the README and the documentation show, from a model of R8.

    python scripts/make_pictures.py --model r8-model

Without `--model` it trains one with default settings first. The same model, fonts and versions give
the same bytes. Needs the extra `viz`, which brings Pillow, too.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch
from PIL import Image
from transformers import PreTrainedTokenizerBase

from hf_attn import explain, read_training_trace, train
from hf_attn.loading import load_classifier
from hf_attn.modeling_hf_attn import HfAttnClassifier

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "pictures"
COLORS = 256  # of a few thousand, most of them edges of letters
TEXT = "shipping of wheat stopped after the strike"


def main() -> None:
    """Draws all pictures into a folder."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--model", help="model of R8 to draw; trained anew without it")
    parser.add_argument("--output", type=Path, default=FOLDER, help="folder for the pictures")
    given = parser.parse_args()
    given.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        name = given.model or str(train("r8", folder).output_dir)
        model, tokenizer = load_classifier(name)
        torch.set_num_threads(1)  # the last digit of a sum depends on how it is shared out
        draw_decision(model, tokenizer, given.output / "decision.png")
        draw_decision(model, tokenizer, given.output / "attention.png", attentions=True)
        trace = read_training_trace(name)
        if trace is None:
            parser.error(f"{name}: expected a model with the trace of its training, found none")
        trace.to_png(given.output / "training.png")
        _use_few_colors(given.output / "training.png")


def draw_decision(
    model: HfAttnClassifier,
    tokenizer: PreTrainedTokenizerBase,
    path: Path,
    *,
    attentions: bool = False,
) -> None:
    """Draws why a text got its label, and if asked for which words read which."""
    explain(TEXT, model, tokenizer, attentions=attentions).to_png(path)
    _use_few_colors(path)


def _use_few_colors(path: Path) -> None:
    """Makes a picture's file small."""
    with Image.open(path) as picture:
        few_colors = picture.convert("RGB").quantize(COLORS)
    few_colors.save(path, optimize=True)


if __name__ == "__main__":
    main()
