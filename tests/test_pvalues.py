"""p-values against their definitions, other libraries and the distributions that are known of them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mvh.pvalues_mvh import conformal_p_values, false_alarm_interval, sigmoid, softmax_p_values, with_confidence

scores_of_documents = st.lists(
    st.lists(st.integers(-5, 5).map(float), min_size=1, max_size=6), min_size=1, max_size=15
)  # whole numbers, so that ties are frequent


def ranked(documents):
    """Ascending scores and their weights, every document with total weight 1."""
    scores = np.concatenate([np.asarray(d, float) for d in documents])
    weights = np.concatenate([np.full(len(d), 1 / len(d)) for d in documents])
    order = np.argsort(scores, kind="stable")
    return scores[order], weights[order]


def test_conformal_equals_the_textbook_and_crepes():
    rng = np.random.default_rng(0)
    calibration, test = np.sort(rng.normal(size=99)), rng.normal(size=50)
    p = conformal_p_values(test, calibration, np.ones(99))
    assert np.allclose(p, [(1 + (calibration >= s).sum()) / 100 for s in test])
    crepes = pytest.importorskip("crepes")
    assert np.allclose(p, crepes.ConformalClassifier().fit(calibration).predict_p(test[:, None], smoothing=False)[:, 0])


@settings(max_examples=100, deadline=None)
@given(scores_of_documents, st.lists(st.integers(-6, 6).map(float), min_size=1, max_size=8))
def test_document_weighting_equals_its_definition(documents, margins):
    expected = [(1 + sum(np.mean(np.array(d) >= s) for d in documents)) / (len(documents) + 1) for s in margins]
    assert np.allclose(conformal_p_values(np.array(margins), *ranked(documents)), expected)


def test_ties_count_against_rejection():
    assert conformal_p_values(np.array([1.0]), np.array([1.0, 1.0, 2.0]), np.ones(3)) == pytest.approx([1.0])


def test_every_calibration_document_counts_once():
    scores, weights = np.array([0.0, 1.0, 2.0, 3.0]), np.array([1.0, 1 / 3, 1 / 3, 1 / 3])
    assert conformal_p_values(np.array([2.5]), scores, weights) == pytest.approx([(1 + 1 / 3) / 3])


@pytest.mark.parametrize("documents", [19, 99, 199])
@pytest.mark.parametrize("segments", [1, 3, 7, 11])
def test_the_smallest_p_value_is_one_over_documents_plus_one_to_the_last_bit(documents, segments):
    """Weights such as 1/7 do not sum to a whole number in floating point; 19 documents must still allow p <= 0.05."""
    scores, weights = ranked([np.arange(segments)] * documents)
    assert conformal_p_values(np.array([99.0]), scores, weights)[0] <= 1 / (documents + 1)
    assert conformal_p_values(np.array([-99.0]), scores, weights)[0] <= 1.0


def test_softmax_p_is_one_minus_the_probability_of_machine():
    assert softmax_p_values(np.array([0.0, 2.0])) == pytest.approx([0.5, 1 - sigmoid(2.0)])
    assert 0 < softmax_p_values(np.array([500.0]))[0] and np.isfinite(softmax_p_values(np.array([-800.0]))).all()


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 400), st.floats(0.5, 0.99), st.data())
def test_confidence_equals_clopper_pearson_and_costs_power(documents, confidence, data):
    reached = data.draw(st.integers(0, documents))
    p_value = (reached + 1) / (documents + 1)
    bound = with_confidence(np.array([p_value]), documents, confidence)[0]
    upper = stats.binomtest(reached, documents, alternative="less").proportion_ci(confidence, method="exact").high
    assert bound == pytest.approx(max(upper, p_value), rel=1e-6), "a low confidence must not make it smaller"
    assert 0 < bound <= 1


def test_confidence_keeps_the_order_and_grows_with_it():
    p_values = np.arange(1, 101) / 100  # all that 99 documents can give
    at_80, at_95 = (with_confidence(p_values, 99, confidence) for confidence in (0.8, 0.95))
    assert (np.diff(at_80[:-1]) > 0).all() and at_80[-1] == 1
    assert (at_80 <= at_95).all() and (at_95[:60] > p_values[:60]).all()


@pytest.mark.parametrize("confidence", [0.0, 1.0, -1.0, 95, np.nan])
def test_confidence_outside_its_range_is_refused(confidence):
    with pytest.raises(ValueError, match="confidence must lie between 0 and 1"):
        with_confidence(np.array([0.5]), 10, confidence)


@pytest.mark.parametrize(
    ("documents", "alpha", "quantile"), [(1000, 0.05, 0.0618), (1000, 0.01, 0.0157), (200, 0.05, 0.0772)]
)
def test_interval_of_the_realised_rate_equals_the_published_quantiles(documents, alpha, quantile):
    """The upper end of the central 90 % interval is the 95 % quantile."""
    low, high = false_alarm_interval(documents, alpha, 0.9)
    assert round(high, 4) == quantile
    rank = int((documents + 1) * alpha)
    assert (low, high) == pytest.approx(stats.beta.interval(0.9, rank, documents + 1 - rank))


def test_interval_where_nothing_can_be_flagged():
    assert false_alarm_interval(18, 0.05) == (0.0, 0.0)
    low, high = false_alarm_interval(19, 0.05)
    assert 0 < low < 0.05 < high


def test_interval_narrows_with_more_documents():
    widths = [high - low for low, high in (false_alarm_interval(n, 0.1) for n in (99, 399, 1599))]
    assert widths[0] > 1.8 * widths[1] > 3.2 * widths[2]
