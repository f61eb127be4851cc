"""The metrics agree with scikit-learn, with brute force and with known values, and say None instead of NaN."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference

import mvh.metrics as ours
from mvh.mvh_metrics.mvh_metrics import MvhMetrics


@pytest.fixture
def sample() -> tuple[np.ndarray, np.ndarray]:
    """400 labels and margins with many ties."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 400)
    return labels, np.round(rng.normal(labels * 1.5 - 0.8, 1.0), 1)


def test_figures_equal_scikit_learn(sample):
    labels, scores = sample
    flagged = scores >= 0
    assert ours.classification_metrics(labels, scores) == pytest.approx(
        {
            "accuracy": reference.accuracy_score(labels, flagged),
            "f1": reference.f1_score(labels, flagged),
            "f1_macro": reference.f1_score(labels, flagged, average="macro"),
            "precision": reference.precision_score(labels, flagged),
            "recall": reference.recall_score(labels, flagged),
            "auroc": reference.roc_auc_score(labels, scores),
        }
    )


def test_auroc_is_the_share_of_ordered_pairs(sample):
    labels, scores = sample
    pairs = [(m > h) + (m == h) / 2 for m in scores[labels == 1] for h in scores[labels == 0]]
    assert ours.auroc(labels, scores) == pytest.approx(np.mean(pairs))


def test_uncertain_counts_as_not_flagged_in_every_denominator():
    labels = [0, 0, 0, 0, 1, 1, 1, 1]
    decisions = [1, -1, 0, 0, 1, 1, -1, 0]
    assert ours.accuracy(labels, decisions) == 5 / 8
    assert ours.recall(labels, decisions) == 2 / 4
    assert ours.precision(labels, decisions) == pytest.approx(2 / 3)
    assert ours.false_positive_rate(labels, decisions) == 1 / 4
    assert ours.coverage(decisions) == 6 / 8
    as_human = [0 if decision == -1 else decision for decision in decisions]
    assert ours.f1_macro(labels, decisions) == ours.f1_macro(labels, as_human)


@pytest.mark.parametrize("label", [0, 1])
def test_an_absent_class_gives_none_and_never_nan(label):
    report = ours.detection_report([label] * 5, [0.5, -1, 2, 3, -4], groups=["a", "a", "b", "b", "b"])
    overall = report["overall"]
    assert overall["auroc"] is None
    assert overall["f1_macro"] is None
    assert overall["tpr_at_fpr"] == {"0.05": None, "0.01": None}
    assert (overall["fpr"] is None) == (overall["fpr_interval_95"] is None) == (label == 1)
    assert (overall["recall"] is None) == (overall["f1"] is None) == (label == 0)
    json.dumps(report, allow_nan=False)


def test_nothing_flagged_gives_zero_precision():
    assert ours.precision([0, 1], [0, -1]) == 0.0
    assert ours.f1([0, 1], [0, 0]) == 0.0


@given(
    st.lists(
        st.sampled_from([-2.0, -0.5, 0.0, 0.1, 0.1000001, 3.0, 1e300]) | st.floats(-10, 10), min_size=1, max_size=60
    ),
    st.floats(0, 1) | st.sampled_from([0.01, 0.05, 0.29, 0.1]),
)
def test_threshold_is_the_lowest_that_keeps_the_rate(human_scores, fpr):
    scores = np.array(human_scores)
    threshold = ours.threshold_at_fpr(scores, fpr)
    assert np.mean(scores > threshold) <= fpr
    lower = scores[scores < threshold]
    if len(lower):  # the next candidate below lets too many through
        assert np.mean(scores > lower.max()) > fpr


def test_threshold_on_known_scores():
    assert ours.threshold_at_fpr(np.arange(100), 0.05) == 94
    assert np.mean(np.arange(100) > ours.threshold_at_fpr(np.arange(100), 0.29)) == 0.29
    assert ours.threshold_at_fpr([1, 1, 1, 1], 0.5) == 1  # ties: none flagged rather than all
    assert ours.threshold_at_fpr([1, 2], 1.0) == float("-inf")


def test_tpr_at_fpr_equals_the_roc_curve(sample):
    labels, scores = sample
    fprs, tprs, _ = reference.roc_curve(labels, scores, drop_intermediate=False)
    for fpr in (0.01, 0.05, 0.3, 1.0):
        assert ours.tpr_at_fpr(labels, scores, fpr) == pytest.approx(tprs[fprs <= fpr].max())


def test_clopper_pearson_known_values():
    labels = [0] * 10
    assert ours.false_positive_interval(labels, [0] * 10) == pytest.approx([0.0, 0.30849710781876083])
    assert ours.false_positive_interval(labels, [1] * 10) == pytest.approx([0.6915028921812392, 1.0])
    low, high = ours.false_positive_interval(labels, [1] * 5 + [-1] * 5)
    assert (low, high) == pytest.approx((0.18708603, 0.81291397))


def test_calibration_error_by_hand_and_by_brute_force(sample):
    assert ours.expected_calibration_error([0, 1], [0.0, 1.0]) == 0.0
    assert ours.expected_calibration_error([0, 0], [1.0, 1.0]) == 1.0
    assert ours.expected_calibration_error([0, 1, 1, 1], [0.75] * 4) == pytest.approx(0.0)
    labels, scores = sample
    chances = 1 / (1 + np.exp(-scores))
    total = 0.0
    for k in range(15):
        inside = (chances >= k / 15) & ((chances < (k + 1) / 15) | (k == 14))
        if inside.any():
            total += inside.sum() * abs(chances[inside].mean() - labels[inside].mean())
    assert ours.expected_calibration_error(labels, chances) == pytest.approx(total / len(labels))


def test_segment_fdr_and_power_by_hand():
    documents = ["a", "a", "a", "b", "b", "c"]
    labels = [1, 1, 0, 0, 0, 0]
    decisions = [1, 0, 1, 1, -1, 0]
    # a: one of two flags is false, one of two machine segments found; b: its flag is false; c: no flags
    assert ours.segment_fdr_and_power(labels, decisions, documents) == {"fdr": 0.5, "power": 0.5, "documents": 3}
    assert ours.segment_fdr_and_power([0], [0], ["a"])["power"] is None


def test_report_by_source_adds_up(sample):
    labels, scores = sample
    groups = ["x" if index % 3 else "y" for index in range(len(labels))]
    report = ours.detection_report(labels, scores, np.where(np.abs(scores) < 0.3, -1, scores >= 0), groups)
    assert sorted(report["by_source"]) == ["x", "y"]
    for count in ("human", "machine"):
        assert sum(figures[count] for figures in report["by_source"].values()) == report["overall"][count]
    chosen = np.array(groups) == "y"
    assert report["by_source"]["y"]["auroc"] == ours.auroc(labels[chosen], scores[chosen])
    assert report["overall"]["coverage"] == np.mean(np.abs(scores) >= 0.3)
    assert json.loads(json.dumps(report, allow_nan=False)) == report


@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        ([0, 1], [0.1, float("nan")], "scores must be finite, but score 1 is nan"),
        ([0, 1], [0.1, float("inf")], "scores must be finite"),
        ([0, 1], [0.1], "There are 2 labels, but 1 scores"),
        ([0, 2], [0.1, 0.2], r"labels must be among \(0, 1\), but number 1 is"),
        ([], [], "non-empty"),
        ([[0, 1]], [[0.1, 0.2]], r"shape is \(1, 2\)"),
    ],
)
def test_bad_input_is_named(labels, scores, message):
    with pytest.raises(ValueError, match=message):
        ours.auroc(labels, scores)


def test_bad_decisions_groups_and_shares_are_named():
    with pytest.raises(ValueError, match="decisions must be among"):
        ours.accuracy([0, 1], [0, 2])
    with pytest.raises(ValueError, match="There are 2 labels, but 1 groups"):
        ours.detection_report([0, 1], [0, 1], groups=["a"])
    with pytest.raises(ValueError, match="fpr must lie in"):
        ours.threshold_at_fpr([0.0], 5)
    with pytest.raises(ValueError, match=r"Probabilities must lie in \[0, 1\]"):
        ours.expected_calibration_error([0, 1], [0.5, 1.5])


def test_evaluate_module_loads_offline_and_gives_the_same_figures(sample, tmp_path, monkeypatch):
    evaluate = pytest.importorskip("evaluate")
    labels, scores = sample
    folder = Path(ours.__file__).parent / "mvh_metrics"
    loaded = evaluate.load(str(folder), cache_dir=str(tmp_path), experiment_id="test")
    direct = MvhMetrics(cache_dir=str(tmp_path))
    expected = ours.classification_metrics(labels, scores)
    for metric in (loaded, direct):
        figures = metric.compute(predictions=scores, references=labels)
        assert {name: figures[name] for name in expected} == pytest.approx(expected)
        assert figures["tpr_at_fpr_0.05"] == pytest.approx(ours.tpr_at_fpr(labels, scores, 0.05))
        flags = (np.asarray(scores) >= 0).astype(int)
        assert figures["fpr"] == pytest.approx(ours.false_positive_rate(labels, flags))
        chances = 1 / (1 + np.exp(-np.asarray(scores)))
        assert figures["calibration_error"] == pytest.approx(ours.expected_calibration_error(labels, chances))
        assert "segment_fdr" not in figures
        documents = [index // 3 for index in range(len(labels))]
        by_segment = metric.compute(predictions=scores, references=labels, documents=documents)
        asked = ours.segment_fdr_and_power(labels, flags, documents)
        assert (by_segment["segment_fdr"], by_segment["segment_power"]) == pytest.approx((asked["fdr"], asked["power"]))
    shifted = direct.compute(predictions=scores + 2, references=labels, threshold=2.0)
    assert shifted["f1"] == pytest.approx(expected["f1"])
    assert shifted["fpr"] == pytest.approx(ours.false_positive_rate(labels, flags))


def test_many_sources_are_reported_by_family():
    assert ours.source_groups(["l2r:a", "l2r:b", "reddit"]) == ["l2r:a", "l2r:b", "reddit"]
    assert ours.source_groups([f"l2r:{index}" for index in range(13)]) == ["l2r"] * 13
