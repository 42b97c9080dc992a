"""Least squares and the linear day model: identities, published coefficients, and what they refuse."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from evidence.baseline_model import Conditions
from evidence.models import MODELS
from evidence.regression import LeastSquares, fit_least_squares


def sample(seed: int, n: int = 40, columns: int = 2) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    design = np.column_stack([np.ones(n), random.normal(1000, 300, (n, columns))])
    return design, design @ random.normal(0, 1, columns + 1) + random.normal(0, 50, n)


def conditions(variables: dict[str, np.ndarray]) -> Conditions:
    return Conditions(np.arange(len(next(iter(variables.values())))), variables)


def fitted(design: np.ndarray, observed: np.ndarray) -> LeastSquares:
    fit = fit_least_squares(design, observed)
    assert fit is not None
    return fit


@given(seed=st.integers(0, 2**32 - 1))
def test_residuals_are_orthogonal_to_every_column(seed: int) -> None:
    design, observed = sample(seed)
    fit = fitted(design, observed)
    scale = np.linalg.norm(design, axis=0) * np.linalg.norm(observed)
    np.testing.assert_allclose(design.T @ fit.residuals / scale, 0, atol=1e-10)
    assert fit.nmbe is None or abs(fit.nmbe) < 1e-10


@given(seed=st.integers(0, 2**32 - 1), factor=st.floats(1e-6, 1e6))
def test_units_of_a_variable_change_its_coefficient_only(seed: int, factor: float) -> None:
    design, observed = sample(seed)
    scaled = design * np.array([1.0, factor, 1.0])
    first, second = fitted(design, observed), fitted(scaled, observed)
    assert second.coefficients[1] * factor == pytest.approx(first.coefficients[1], rel=1e-7, abs=1e-9)
    assert second.r2 == pytest.approx(first.r2, rel=1e-9, abs=1e-12)
    np.testing.assert_allclose(second.p_values, first.p_values, rtol=1e-5, atol=1e-12)


def test_one_variable_agrees_with_an_independent_implementation() -> None:
    design, observed = sample(7, columns=1)
    fit = fitted(design, observed)
    reference = stats.linregress(design[:, 1], observed)
    assert fit.coefficients.tolist() == pytest.approx([reference.intercept, reference.slope], rel=1e-10)
    assert fit.standard_errors[1] == pytest.approx(reference.stderr, rel=1e-10)
    assert fit.p_values[1] == pytest.approx(reference.pvalue, rel=1e-8)
    assert fit.r2 == pytest.approx(reference.rvalue**2, rel=1e-10)
    f, p_value = fit.f_test
    assert f == pytest.approx((reference.slope / reference.stderr) ** 2, rel=1e-9)
    assert p_value == pytest.approx(reference.pvalue, rel=1e-8)


def test_goodness_by_hand() -> None:
    # y = 1, 2, 4 on x = 0, 1, 2: slope 3/2, intercept 5/6, residuals 1/6, -1/3, 1/6, SSE 1/6.
    fit = fitted(np.column_stack([np.ones(3), [0.0, 1.0, 2.0]]), np.array([1.0, 2.0, 4.0]))
    assert fit.coefficients.tolist() == pytest.approx([5 / 6, 3 / 2])
    assert fit.sse == pytest.approx(1 / 6)
    assert fit.cv_rmse == pytest.approx((1 / 6) ** 0.5 / (7 / 3))
    assert fit.r2 == pytest.approx(1 - (1 / 6) / (14 / 3))
    assert fit.adjusted_r2 == pytest.approx(1 - (1 / 28) * 2)


@pytest.mark.parametrize(
    "design",
    [
        np.column_stack([np.ones(5), np.arange(5.0), 2 * np.arange(5.0) + 3]),
        np.column_stack([np.ones(5), np.full(5, 7.0)]),
        np.column_stack([np.ones(5), np.zeros(5)]),
        np.column_stack([np.ones(2), np.arange(2.0)]),
        np.empty((0, 1)),
    ],
    ids=["dependent", "constant", "zero", "as many coefficients as days", "no days"],
)
def test_undetermined_coefficients_are_refused(design: np.ndarray) -> None:
    assert fit_least_squares(design, np.arange(float(len(design)))) is None


def test_the_model_is_driven_in_the_order_it_was_learnt() -> None:
    variables = {"output": np.array([1.0, 2.0, 3.0, 5.0]), "temperature": np.array([4.0, 1.0, 0.0, 2.0])}
    energy = 10 + 2 * variables["output"] + 3 * variables["temperature"]
    learnt = MODELS["linear"].learn(conditions(variables), energy)
    assert learnt is not None
    assert [term.name for term in learnt.terms] == ["intercept", "output", "temperature"]
    design = learnt.design(conditions({"temperature": np.array([1.0]), "output": np.array([100.0])}))
    assert (design @ learnt.fit.coefficients).tolist() == pytest.approx([213.0])


def test_verifi_coefficients(shared_data: Path) -> None:
    """Monthly plant models that ORNL's VERIFI stores: the same coefficients and R2 to 1e-9."""
    with (shared_data / "verifi" / "monthly_groups.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    models = json.loads((shared_data / "verifi" / "expected_models.json").read_text(encoding="utf-8"))
    assert models
    for expected in models:
        months = [row for row in rows if row["group"] == expected["group"]]
        assert len(months) == 12
        variables = {
            name: np.array([float(month[column]) for month in months])
            for name, column in zip(expected["predictors"], ("x1", "x2"), strict=True)
        }
        learnt = MODELS["linear"].learn(
            conditions(variables), np.array([float(month["energy_mmbtu"]) for month in months])
        )
        assert learnt is not None
        np.testing.assert_allclose(learnt.fit.coefficients, expected["coef"], rtol=1e-9)
        assert learnt.fit.r2 == pytest.approx(expected["R2"], abs=1e-9)
