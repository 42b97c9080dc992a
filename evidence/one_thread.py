"""Linear algebra in one thread: what several threads add up in another order differs in the last digits."""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy import linalg
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

LIBRARIES = (np.linalg, linalg)
"""What brings a BLAS of its own; loaded before the limit is set, as it reaches only what is loaded."""


@cache
def settle_linear_algebra() -> None:
    """Let every BLAS of this process work in one thread from now on.

    For good, and not only while something is evaluated: the limit is the process's, and a server evaluates several
    projects at once.
    """
    threadpool_limits(limits=1, user_api="blas")
