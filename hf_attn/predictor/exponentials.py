"""Which exponential attention takes on this processor."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.lib import introspect


@cache
def use_powers_of_two() -> bool:
    """Tells whether NumPy has vector kernels for powers of 2 on this processor.

    With them, as with AVX-512, they take half as long as those of e, without twice as long. One
    machine always takes the same, so its logits are the same to the last bit.
    """
    kernels = introspect.opt_func_info(func_name="^exp2$").get("exp2", {})
    return "ff" in kernels and not kernels["ff"]["current"].startswith("baseline")


def base() -> tuple[np.ufunc, float]:
    """Gives the exponential that attention uses, and what scores are multiplied with for it."""
    return (np.exp2, math.log2(math.e)) if use_powers_of_two() else (np.exp, 1.0)
