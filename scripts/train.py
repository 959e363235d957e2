"""Trains a classifier, for `accelerate launch scripts/train.py DATA --output_dir MODEL ...`.

The same run as `hf-attn train`, in as many processes as accelerate starts.
"""

import sys

from hf_attn.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "train")
    main()
