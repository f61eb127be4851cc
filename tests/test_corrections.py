"""Corrections against brute force, other libraries and their promises."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import false_discovery_control
from statsmodels.stats.multitest import fdrcorrection, multipletests

from mvh.corrections_mvh import CORRECTIONS, adjust, documents_needed, simes

p_lists = st.lists(st.floats(0, 1), min_size=1, max_size=40).map(np.array)
HUMAN = np.linspace(0.001, 1, 999)  # Simes p-values of human documents


def brute_force_bh(p, alpha):
    """Reject the k smallest for the largest k with p_(k) <= k alpha / m (Benjamini and Hochberg 1995)."""
    m, order = len(p), np.argsort(p, kind="stable")
    passing = [k for k in range(1, m + 1) if p[order[k - 1]] <= k * alpha / m + 1e-12]
    rejected = np.zeros(m, bool)
    rejected[order[: max(passing, default=0)]] = True
    return rejected


def brute_force_by(p, alpha):
    """BH at alpha / (1 + 1/2 + ... + 1/m) (Benjamini and Yekutieli 2001)."""
    return brute_force_bh(p, alpha / sum(1 / k for k in range(1, len(p) + 1)))


def brute_force_holm(p, alpha):
    """Step down: stop at the first p_(i) > alpha / (m - i + 1) (Holm 1979)."""
    rejected = np.zeros(len(p), bool)
    for i, index in enumerate(np.argsort(p, kind="stable")):
        if p[index] > alpha / (len(p) - i) + 1e-12:
            break
        rejected[index] = True
    return rejected


def brute_force_bonferroni(p, alpha):
    return p <= alpha / len(p)


@settings(max_examples=200, deadline=None)
@given(p_lists, st.sampled_from([0.01, 0.05, 0.2]))
def test_corrections_equal_brute_force(p, alpha):
    slack = 1e-9  # adjusted p-values and thresholds may round apart in the last bit
    rules = {
        "bh": brute_force_bh,
        "by": brute_force_by,
        "holm": brute_force_holm,
        "bonferroni": brute_force_bonferroni,
    }
    for name, brute in rules.items():
        adjusted = adjust(p, name)
        clear = np.abs(adjusted - alpha) > slack
        assert ((adjusted <= alpha) == brute(p, alpha))[clear].all(), name


@settings(max_examples=100, deadline=None)
@given(p_lists)
def test_corrections_equal_scipy_and_are_ordered(p):
    for name in ("bh", "by"):
        assert np.allclose(adjust(p, name), false_discovery_control(p, method=name))
    for fewer, more in (("bh", "none"), ("holm", "bh"), ("by", "bh"), ("bonferroni", "holm")):
        assert (adjust(p, more) <= adjust(p, fewer) + 1e-12).all(), f"{more} must reject whatever {fewer} does"


@pytest.mark.parametrize("m", [1, 2, 7, 40])
def test_corrections_equal_statsmodels(m):
    """Few examples: `multipletests` collects garbage on every call, which takes longer than all tests here."""
    p = np.random.default_rng(m).uniform(size=m) ** 3
    p[: m // 3] = p[0]  # ties
    for name, theirs in (("bh", "fdr_bh"), ("by", "fdr_by"), ("holm", "holm"), ("bonferroni", "bonferroni")):
        assert np.allclose(adjust(p, name), multipletests(p, method=theirs)[1]), name
    for name, theirs in (("bh", "indep"), ("by", "negcorr")):
        assert (adjust(p, name) == fdrcorrection(p, method=theirs)[1]).all(), (
            "to the last bit: verdicts stay what they were"
        )


@settings(max_examples=50, deadline=None)
@given(p_lists, st.randoms())
def test_the_order_of_segments_does_not_matter(p, random):
    shuffled = list(range(len(p)))
    random.shuffle(shuffled)
    for name in CORRECTIONS:
        assert np.allclose(adjust(p[shuffled], name, HUMAN), adjust(p, name, HUMAN)[shuffled])


@settings(max_examples=100, deadline=None)
@given(p_lists)
def test_simes_is_the_smallest_bh_adjusted_p_value(p):
    assert simes(p) == pytest.approx(adjust(p, "bh").min())
    assert simes(p) <= len(p) * p.min() + 1e-12


@settings(max_examples=100, deadline=None)
@given(p_lists, st.lists(st.floats(1e-4, 1), min_size=1, max_size=60))
def test_calibrated_ranks_bh_among_human_documents(p, human):
    human = np.sort(human)
    bh, adjusted = adjust(p, "bh"), adjust(p, "calibrated", human)
    for ours, b in zip(adjusted, bh, strict=True):  # equal but for rounding: a tie, which counts
        low, high = ((1 + (human <= b * slack).sum()) / (len(human) + 1) for slack in (1 - 1e-5, 1 + 1e-5))
        assert low - 1e-12 <= ours <= high + 1e-12
    assert ((adjusted >= 1 / (len(human) + 1) - 1e-12) & (adjusted <= 1)).all()
    assert (np.diff(adjusted[np.argsort(bh, kind="stable")]) >= 0).all()


@settings(max_examples=200, deadline=None)
@given(st.integers(2, 1000), st.lists(st.integers(1, 20), min_size=1, max_size=12))
def test_a_document_among_the_calibration_is_a_tie_though_it_travelled_as_float32(documents, ranks):
    """Conformal p-values are coarse, so equal Simes p-values are frequent; a lost tie would be a false alarm more."""
    p = np.minimum(np.array(ranks) / (documents + 1), 1.0)
    travelled = np.float32(simes(p)).astype(np.float64)
    assert adjust(p, "calibrated", np.array([travelled])).min() == 1.0


@pytest.mark.parametrize("bad", [[], [[0.1]], [0.1, np.nan], [-0.1], [1.1], [np.inf]])
@pytest.mark.parametrize("correction", list(CORRECTIONS))
def test_corrections_refuse_what_is_no_p_value(bad, correction):
    with pytest.raises(ValueError, match="p-values"):
        adjust(np.array(bad), correction, HUMAN)


def test_unknown_corrections_and_missing_calibrations_are_named():
    with pytest.raises(ValueError, match="'bhh'"):
        adjust(np.array([0.1]), "bhh")
    with pytest.raises(ValueError, match="needs a document calibration"):
        adjust(np.array([0.1]), "calibrated")


@pytest.mark.parametrize("correction", list(CORRECTIONS))
def test_the_given_p_values_are_left_alone(correction):
    p = np.array([0.04, 0.01, 0.3])
    adjust(p, correction, HUMAN)[:] = 9
    assert p.tolist() == [0.04, 0.01, 0.3]


@pytest.mark.parametrize("m", [2, 7, 40])
def test_documents_needed_by_calibrated_for_one_rejection(m):
    """It depends on how small the Simes p-values of human documents are."""
    human = np.sort(np.random.default_rng(m).uniform(size=499)) ** 1.2
    needed = documents_needed(m, 0.05, "calibrated", human)
    for documents, enough in ((needed + 1, True), (needed - 1, False)):
        lone = np.ones(m)
        lone[0] = 1 / (documents + 1)
        assert (adjust(lone, "calibrated", human) <= 0.05).any() == enough


@pytest.mark.parametrize(
    ("correction", "m", "needed"),
    [("bh", 10, 199), ("bh", 20, 399), ("bh", 40, 799), ("by", 10, 585), ("by", 20, 1439), ("by", 40, 3422)]
    + [("holm", 10, 199), ("bonferroni", 10, 199), ("none", 9, 19)],
)
def test_documents_needed_for_one_rejection(correction, m, needed):
    assert documents_needed(m, 0.05, correction) == needed
    for documents, enough in ((needed, True), (needed - 1, False)):
        lone = np.ones(m)
        lone[0] = 1 / (documents + 1)
        assert (adjust(lone, correction) <= 0.05).any() == enough
