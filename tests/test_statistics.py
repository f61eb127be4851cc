"""Document statistics: what every one of them owes, and each against its definition."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mvh.corrections_mvh import simes
from mvh.statistics_mvh import STATISTICS, document_margin


@st.composite
def documents(draw):
    """Margins, tokens per core, p-values falling with the margin."""
    m = draw(st.integers(1, 12))
    margins = np.array(draw(st.lists(st.integers(-120, 120), min_size=m, max_size=m, unique=True))) / 4
    tokens = np.array([256] * (m - 1) + [draw(st.integers(1, 256))])
    return margins, tokens, p_of(margins)


def p_of(margins):
    """A p-value like the conformal ones: on a grid, falling in the margin."""
    return np.clip(np.ceil(500 * stats.norm.sf(margins / 2)), 1, 500) / 500


@pytest.mark.parametrize("name", list(STATISTICS))
@settings(max_examples=50, deadline=None)
@given(documents())
def test_a_statistic_is_one_finite_number_and_order_does_not_matter(name, document):
    value = STATISTICS[name](*document)
    assert isinstance(value, float) and np.isfinite(value)
    assert STATISTICS[name](*(part[::-1] for part in document)) == pytest.approx(value)


@pytest.mark.parametrize("name", list(STATISTICS))
@settings(max_examples=50, deadline=None)
@given(documents(), st.integers(0, 10))
def test_more_machine_like_segments_never_lower_a_statistic(name, document, shift):
    margins, tokens, _ = document
    higher = margins + shift
    assert STATISTICS[name](higher, tokens, p_of(higher)) >= STATISTICS[name](*document) - 1e-9


def test_each_statistic_is_what_it_says():
    margins, tokens, p = np.array([4.0, -2.0, 1.0]), np.array([256, 256, 128]), np.array([0.01, 0.9, 0.2])
    mean = (4 * 256 - 2 * 256 + 128) / 640
    tie = 1e-3 / (1 + np.exp(-mean))
    expected = {
        "mean_margin": mean,
        "truncated_mean": (4 * 256 + 128) / 384,
        "max_margin": 4.0,
        "stouffer": stats.norm.isf(p).sum() / np.sqrt(3),
        "simes": -np.log(simes(p)) + tie,
        "share_rejected": 0.4 + tie,
    }
    assert set(expected) == set(STATISTICS)
    for name, value in expected.items():
        assert STATISTICS[name](margins, tokens, p) == pytest.approx(value), name
    assert document_margin(margins, tokens) == pytest.approx(mean)


def test_stouffer_equals_scipy():
    p = np.random.default_rng(0).uniform(size=9)
    ours = STATISTICS["stouffer"](np.zeros(9), np.full(9, 256), p)
    assert ours == pytest.approx(stats.combine_pvalues(p, method="stouffer").statistic)


@pytest.mark.parametrize("name", ["simes", "share_rejected"])
def test_coarse_statistics_are_told_apart_by_the_margin_even_as_float32(name):
    tokens, p = np.full(4, 256), np.array([0.002, 0.3, 0.3, 0.3])
    low, high = (np.float32(STATISTICS[name](np.full(4, margin), tokens, p)) for margin in (-1.0, -0.9))
    assert low < high


@pytest.mark.parametrize("name", list(STATISTICS))
def test_p_values_of_zero_and_one_give_finite_numbers_or_are_not_looked_at(name):
    """Conformal p-values are at least 1 / (K + 1); those of 1 are everyday."""
    assert np.isfinite(STATISTICS[name](np.array([-9.0]), np.array([5]), np.array([1.0])))
