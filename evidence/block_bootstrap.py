"""Moving-block bootstrap of residuals: weighted sums of series that are put together from blocks of whole weeks."""

from __future__ import annotations

import math

import numpy as np

from evidence.table import FloatArray
from evidence.uncertainty import BLOCK_DAYS, REPLICATES


def resampled_sums(
    residuals: FloatArray, weights: FloatArray, generator: np.random.PCG64, rows_a_day: int = 1
) -> FloatArray:
    """Weighted sums of `REPLICATES` series of residuals, each as long as ``weights`` and made of blocks (Kuensch 1989).

    Both have ``rows_a_day`` rows for every day. A block is `BLOCK_DAYS` whole days and may begin with any day.
    """
    length = BLOCK_DAYS * rows_a_day
    blocks = -(-len(weights) // length)
    padded = np.zeros(blocks * length)
    padded[: len(weights)] = weights
    # The sum of a block depends on which is drawn and where it is put: all of them at once, a row a drawn block.
    windows = np.lib.stride_tricks.sliding_window_view(residuals, length)[::rows_a_day]
    sums = windows @ padded.reshape(blocks, length).T
    # The raw stream of a bit generator is stable across numpy versions; the methods of Generator are not.
    raw = np.asarray(generator.random_raw(REPLICATES * blocks), dtype=np.uint64)
    picked = (((raw >> np.uint64(32)) * np.uint64(len(windows))) >> np.uint64(32)).astype(np.int64)
    return np.asarray(sums[picked.reshape(REPLICATES, blocks), np.arange(blocks)].sum(axis=1))


def quantile_of_sizes(errors: FloatArray, confidence: float) -> float:
    """What the absolute value of ``confidence`` of the resampled errors does not exceed."""
    return float(np.sort(np.abs(errors))[math.ceil(confidence * REPLICATES) - 1])
