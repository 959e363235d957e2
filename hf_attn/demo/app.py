"""Starts the page as a Hugging Face Space does: this folder with a model's name or files in it."""

from __future__ import annotations

import os
from pathlib import Path

# Absolute, as a Space runs this file as a script, outside the package.
from hf_attn.demo.server import start_page

MODEL_VARIABLE = "HF_ATTN_MODEL"


def main() -> None:
    """Serves the model that the variable names, or the folder `model` beside this file."""
    # A Space sets the variables from which Gradio takes its host and port.
    start_page(
        os.environ.get(MODEL_VARIABLE) or str(Path(__file__).parent / "model")
    ).block_thread()


if __name__ == "__main__":
    main()
