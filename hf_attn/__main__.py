"""`python -m hf_attn` is the command `hf-attn`."""

from .cli import main

if __name__ == "__main__":
    main()
