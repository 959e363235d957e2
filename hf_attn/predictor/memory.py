"""Keeps memory that numpy gives back, for what it asks for next."""

from __future__ import annotations

import numpy as np

_MEGABYTES = 31


def keep_freed_memory() -> None:
    """Makes the C library keep up to twice as many megabytes that were freed.

    Arrays of a few megabytes come and go with each batch. Each time, glibc returns their memory
    to the system, and to get it again page by page takes a third of the time of the encoding.
    It does so no more for arrays smaller than any that it has seen freed, up to 32 MB. What has
    never been written to takes no memory; other C libraries lose nothing.
    """
    np.empty(_MEGABYTES << 20, np.uint8)
