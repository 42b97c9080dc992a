"""Ordinary least squares with what a reader needs to judge it.

Definitions are those of ASHRAE Guideline 14 with p = the number of parameters, intercept included; p is printed because
tools differ in it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from evidence.table import FloatArray


@dataclass(frozen=True)
class LeastSquares:
    """A least-squares fit of n values on p columns.

    ``inverse`` is (X'WX)^-1. The model is taken to contain a constant: R2 and F compare it with the mean of y.
    ``weights`` (mean 1) are W where rows count differently; sums of squares and means are then weighted, and
    ``variance`` is that of a row of weight 1.
    """

    design: FloatArray
    observed: FloatArray
    coefficients: FloatArray
    inverse: FloatArray
    residuals: FloatArray
    weights: FloatArray | None = None

    @property
    def n(self) -> int:
        """Number of observations."""
        return int(self.design.shape[0])

    @property
    def p(self) -> int:
        """Number of parameters, intercept included."""
        return int(self.design.shape[1])

    @property
    def sse(self) -> float:
        """Sum of squared residuals."""
        return self._sum_of_squares(self.residuals)

    @property
    def variance(self) -> float:
        """s^2 = SSE / (n - p)."""
        return self.sse / (self.n - self.p)

    @property
    def mean(self) -> float:
        """Mean of the observed values."""
        if self.weights is None:
            return float(self.observed.mean())
        return float(self.weights @ self.observed) / self.n

    def _sum_of_squares(self, values: FloatArray) -> float:
        return float(values @ values if self.weights is None else self.weights @ values**2)

    @property
    def r2(self) -> float | None:
        """1 - SSE/SST; None when y does not vary."""
        sst = self._sum_of_squares(self.observed - self.mean)
        return 1.0 - self.sse / sst if sst > 0 else None

    @property
    def adjusted_r2(self) -> float | None:
        """1 - (1 - R2)(n - 1)/(n - p)."""
        return None if self.r2 is None else 1.0 - (1.0 - self.r2) * (self.n - 1) / (self.n - self.p)

    @property
    def cv_rmse(self) -> float | None:
        """sqrt(SSE/(n - p)) / mean(y); None unless mean(y) > 0."""
        return math.sqrt(self.variance) / self.mean if self.mean > 0 else None

    @property
    def nmbe(self) -> float | None:
        """sum(y - fit) / ((n - p) mean(y)), zero but for rounding when there is an intercept; None unless mean(y) >
        0."""
        total = float(self.residuals.sum() if self.weights is None else self.weights @ self.residuals)
        return total / ((self.n - self.p) * self.mean) if self.mean > 0 else None

    @property
    def standard_errors(self) -> FloatArray:
        """Standard error of each coefficient for independent residuals."""
        return np.sqrt(self.variance * np.diag(self.inverse))

    @property
    def p_values(self) -> FloatArray:
        """Two-sided p of each coefficient: t = b/se with n - p degrees of freedom."""
        errors = self.standard_errors
        t = np.divide(self.coefficients, errors, out=np.full(self.p, np.inf), where=errors > 0)
        return np.asarray(2.0 * stats.t.sf(np.abs(t), self.n - self.p), dtype=np.float64)

    @property
    def f_test(self) -> tuple[float | None, float | None]:
        """F of the whole model against the mean alone, and its p; (None, None) without variables or variation.

        F is None with p = 0 when the fit is perfect.
        """
        if self.p < 2 or self.r2 is None:
            return None, None
        if self.r2 >= 1.0:
            return None, 0.0
        f = (self.r2 / (self.p - 1)) / ((1.0 - self.r2) / (self.n - self.p))
        return f, float(stats.f.sf(f, self.p - 1, self.n - self.p))


def fit_least_squares(
    design: FloatArray, observed: FloatArray, weights: FloatArray | None = None
) -> LeastSquares | None:
    """Fit ``observed`` (n) on the columns of ``design`` (n x p), each row with its weight (mean 1; None = all 1).

    Columns are scaled to unit length before a QR decomposition, so that units do not cost digits. Returns None when n
    <= p or the columns are linearly dependent (condition above 1e10): then the coefficients are not determined.
    """
    n, p = design.shape
    if n <= p:
        return None
    rows, values = design, observed
    if weights is not None:
        root = np.sqrt(weights)
        rows, values = design * root[:, np.newaxis], observed * root
    lengths = np.sqrt(np.einsum("ij,ij->j", rows, rows))
    if not np.all(lengths > 0):
        return None
    q, r = np.linalg.qr(rows / lengths)
    singular = np.linalg.svd(r, compute_uv=False)
    if singular[-1] < 1e-10 * singular[0]:
        return None
    r_inverse = np.linalg.inv(r)
    coefficients = (r_inverse @ (q.T @ values)) / lengths
    inverse = (r_inverse @ r_inverse.T) / np.outer(lengths, lengths)
    return LeastSquares(design, observed, coefficients, inverse, observed - design @ coefficients, weights)
