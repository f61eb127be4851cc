"""p-values, corrections and votes against brute force, other libraries and their definitions."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from mvh.calibration_mvh import decode_calibration, encode_calibration
from mvh.voting_mvh import (
    CORRECTIONS,
    adjust,
    calibration_documents_needed,
    conformal_p_values,
    decide,
    sigmoid,
    softmax_p_values,
)

p_lists = st.lists(st.floats(0, 1), min_size=1, max_size=40).map(np.array)


def brute_force_bh(p, alpha):
    """Reject the k smallest for the largest k with p_(k) <= k alpha / m (Benjamini and Hochberg 1995)."""
    m, order = len(p), np.argsort(p, kind="stable")
    passing = [k for k in range(1, m + 1) if p[order[k - 1]] <= k * alpha / m + 1e-12]
    rejected = np.zeros(m, bool)
    rejected[order[: max(passing, default=0)]] = True
    return rejected


def brute_force_holm(p, alpha):
    """Step down: stop at the first p_(i) > alpha / (m - i + 1) (Holm 1979)."""
    rejected = np.zeros(len(p), bool)
    for i, index in enumerate(np.argsort(p, kind="stable")):
        if p[index] > alpha / (len(p) - i) + 1e-12:
            break
        rejected[index] = True
    return rejected


@settings(max_examples=200, deadline=None)
@given(p_lists, st.sampled_from([0.01, 0.05, 0.2]))
def test_corrections_equal_brute_force(p, alpha):
    slack = 1e-9  # adjusted p-values and thresholds may round apart in the last bit
    for name, brute in (("bh", brute_force_bh), ("holm", brute_force_holm)):
        adjusted = adjust(p, name)
        clear = np.abs(adjusted - alpha) > slack
        assert ((adjusted <= alpha) == brute(p, alpha))[clear].all()


@settings(max_examples=100, deadline=None)
@given(p_lists)
def test_corrections_equal_statsmodels_and_are_ordered(p):
    for name, theirs in (("bh", "fdr_bh"), ("by", "fdr_by"), ("holm", "holm")):
        assert np.allclose(adjust(p, name), multipletests(p, method=theirs)[1])
    assert (adjust(p, "none") <= adjust(p, "bh") + 1e-12).all()
    assert (adjust(p, "bh") <= adjust(p, "holm") + 1e-12).all()
    assert (adjust(p, "bh") <= adjust(p, "by") + 1e-12).all()


@pytest.mark.parametrize("bad", [[], [[0.1]], [0.1, np.nan], [-0.1], [1.1]])
@pytest.mark.parametrize("correction", list(CORRECTIONS))
def test_corrections_refuse_what_is_no_p_value(bad, correction):
    with pytest.raises(ValueError):
        adjust(np.array(bad), correction)


def test_conformal_equals_the_textbook_and_crepes():
    rng = np.random.default_rng(0)
    calibration, test = np.sort(rng.normal(size=99)), rng.normal(size=50)
    p = conformal_p_values(test, calibration, np.ones(99))
    assert np.allclose(p, [(1 + (calibration >= s).sum()) / 100 for s in test])
    crepes = pytest.importorskip("crepes")
    assert np.allclose(p, crepes.ConformalClassifier().fit(calibration).predict_p(test[:, None], smoothing=False)[:, 0])


def test_ties_count_against_rejection():
    assert conformal_p_values(np.array([1.0]), np.array([1.0, 1.0, 2.0]), np.ones(3)) == pytest.approx([1.0])


def test_every_calibration_document_counts_once():
    scores, weights = np.array([0.0, 1.0, 2.0, 3.0]), np.array([1.0, 1 / 3, 1 / 3, 1 / 3])
    assert conformal_p_values(np.array([2.5]), scores, weights) == pytest.approx([(1 + 1 / 3) / 3])


def test_document_weighting_is_valid_where_pooling_is_not():
    """Short documents score higher: pooled ranks reject a random segment too often, weighted ranks do not."""
    rng = np.random.default_rng(1)

    def document():
        segments = 2 if rng.random() < 0.5 else 40
        return rng.normal(1.0 if segments == 2 else -1.0, 1.0, size=segments)

    pooled, weighted = [], []
    for _ in range(20):
        calibration = [document() for _ in range(300)]
        scores = np.concatenate(calibration)
        weights = np.concatenate([np.full(len(d), 1 / len(d)) for d in calibration])
        order = np.argsort(scores)
        new = np.array([rng.choice(document()) for _ in range(200)])
        weighted.append((conformal_p_values(new, scores[order], weights[order]) <= 0.05).mean())
        pooled.append((conformal_p_values(new, scores[order], np.ones(len(scores))) <= 0.05).mean())
    assert np.mean(weighted) < 0.06 < np.mean(pooled)


def test_softmax_p_is_one_minus_the_probability_of_machine():
    assert softmax_p_values(np.array([0.0, 2.0])) == pytest.approx([0.5, 1 - sigmoid(2.0)])
    assert 0 < softmax_p_values(np.array([500.0]))[0] and np.isfinite(softmax_p_values(np.array([-800.0]))).all()


@pytest.mark.parametrize(
    ("correction", "m", "needed"), [("bh", 10, 199), ("bh", 40, 799), ("by", 20, 1439), ("none", 9, 19)]
)
def test_calibration_documents_needed_for_one_rejection(correction, m, needed):
    assert calibration_documents_needed(m, 0.05, correction, needed - 1) == needed
    assert calibration_documents_needed(m, 0.05, correction, needed) is None
    lone = np.ones(m)
    lone[0] = 1 / (needed + 1)
    assert (adjust(lone, correction) <= 0.05).any()


@pytest.fixture
def calibration():
    rng = np.random.default_rng(2)
    return encode_calibration(
        [rng.normal(size=rng.integers(1, 5)) for _ in range(300)], rng.normal(size=200), 2000, {"population": "noise"}
    )


def verdict(calibration, margins, **options):
    given = {"alpha": 0.05, "correction": "bh", "vote": "calibrated", "p_values": "conformal"} | options
    tokens = np.full(len(margins), 256)
    return decide(np.array(margins, float), tokens, calibration and decode_calibration(calibration), **given)


def test_votes(calibration):
    assert verdict(calibration, [9.0, 9.0, -3.0])["label"] == 1
    assert verdict(calibration, [-3.0, -3.0])["label"] == 0
    mixed = [9.0, -3.0, -3.0]
    assert verdict(calibration, mixed, vote="majority")["label"] == 0
    assert verdict(calibration, mixed, vote="any")["label"] == 1
    assert verdict(calibration, [9.0, -3.0], vote="majority")["label"] == 0, "a tie is human"


def test_long_documents_are_uncertain_and_keep_their_segments(calibration):
    result = verdict(calibration, [9.0] * 8)
    assert result["label"] is None and result["rejected"].all()
    assert any("2048 tokens" in w and "2000" in w for w in result["warnings"])


def test_no_silent_zero_power(calibration):
    assert not verdict(calibration, [9.0] * 5)["warnings"]
    warnings = verdict(calibration, [0.0] * 7, correction="by")["warnings"]
    assert any("362 calibration documents" in w and "300" in w for w in warnings), warnings
    result = verdict(calibration, [9.0], alpha=0.001)
    assert result["label"] is None and any("smallest p-value" in w for w in result["warnings"])


def test_without_calibration():
    result = verdict(None, [3.0, 3.0], vote="majority", p_values="softmax")
    assert result["p_value"] is None and any("no calibration" in w for w in result["warnings"])
    with pytest.raises(ValueError, match="needs a calibration"):
        verdict(None, [3.0], vote="majority")
    with pytest.raises(ValueError, match="needs a document calibration"):
        verdict(None, [3.0], p_values="softmax")


@pytest.mark.parametrize(
    "options", [{"alpha": 0.0}, {"alpha": 1.5}, {"correction": "bhh"}, {"vote": "mean"}, {"p_values": "magic"}]
)
def test_unknown_choices_are_named(calibration, options):
    with pytest.raises(ValueError, match=str(next(iter(options.values())))):
        verdict(calibration, [1.0], **options)


def test_scores_that_are_no_numbers_are_refused(calibration):
    with pytest.raises(ValueError, match="1 of 2 segment scores are not finite"):
        verdict(calibration, [np.nan, 1.0])


def test_calibration_survives_json(calibration):
    again = json.loads(json.dumps(calibration))
    decoded = decode_calibration(again)
    assert decoded["segment"]["documents"] == 300 and decoded["document"]["longest_tokens"] == 2000
    assert decoded["segment"]["weights"].sum() == pytest.approx(300, rel=1e-4)


def test_damaged_calibrations_are_noticed(calibration):
    def broken(change):
        copy = json.loads(json.dumps(calibration))
        change(copy)
        return copy

    group = lambda c: c["document"]["groups"]["all"]  # noqa: E731
    changes = [
        lambda c: group(c).update(scores="!!!"),
        lambda c: group(c).update(scores=group(c)["scores"][:-8]),
        lambda c: group(c).update(documents=3),
        lambda c: c.pop("segment"),
        lambda c: c["about"].update(population="saints"),
    ]
    for change in changes:
        with pytest.raises(ValueError, match="calibration"):
            decode_calibration(broken(change))


@pytest.mark.parametrize(
    ("segments", "documents", "message"),
    [
        ([np.array([np.nan])] * 20, np.arange(20.0), "not finite"),
        ([np.array([1.0])] * 20, np.arange(20.0), "All 20 segment calibration scores equal"),
        ([], np.arange(20.0), "0 scores"),
        ([np.arange(6000.0)], np.arange(20.0), "at most 5000"),
    ],
)
def test_impossible_calibrations_are_refused(segments, documents, message):
    with pytest.raises(ValueError, match=message):
        encode_calibration(segments, documents, 100, {})


def test_document_false_alarm_rate_is_at_most_alpha_whatever_the_dependence():
    """Segments of one document share an effect; over many calibration draws the calibrated vote keeps its level."""
    rng = np.random.default_rng(3)

    def margins():
        return rng.normal() + 0.3 * rng.normal(size=rng.integers(1, 9))

    flagged = []
    for _ in range(30):
        packed = encode_calibration(
            [margins() for _ in range(60)], np.array([margins().mean() for _ in range(99)]), 9999, {}
        )
        decoded = decode_calibration(packed)
        for _ in range(40):
            m = margins()
            flagged.append(decide(m, np.full(len(m), 256), decoded, 0.1, "bh", "calibrated", "conformal")["label"])
    assert 0.06 < np.mean(flagged) < 0.13
