"""The decision about one document, the reasons to give none, and many documents at once."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import beta, false_discovery_control

from mvh.calibration_mvh import POOLED, Document, decode_calibration, encode_calibration
from mvh.corrections_mvh import adjust
from mvh.merged_voting_mvh import decide_merged
from mvh.parts_mvh import majority_p_value, parts_of
from mvh.pvalues_mvh import conformal_p_values, false_alarm_interval, sigmoid, with_confidence
from mvh.readings_mvh import Reading
from mvh.results_mvh import screen_results
from mvh.voting_mvh import VOTES, check_alpha, decide, highest_rate, screen


def human(count, seed, script="latin", segments=(1, 2, 3, 4), tokens=256):
    rng = np.random.default_rng(seed)
    sizes = rng.choice(segments, size=count)
    return [Document(rng.normal(size=m), np.full(m, tokens), script) for m in sizes]


def make(segment=None, whole=None, **options):
    segment = human(300, 0) if segment is None else segment
    if whole is None:
        whole = [*human(195, 1), *human(2, 2, segments=[7]), *human(3, 3, segments=[1], tokens=30)]
    return decode_calibration(encode_calibration(segment, whole, {"population": "noise"}, **options))


@pytest.fixture(scope="module")
def calibration():
    return make(tellable_tokens=100)


def verdict(calibration, margins, script="latin", tokens=256, beside=(), unread=0.0, **options):
    given = {"alpha": 0.05, "correction": "bh", "vote": "calibrated", "p_values": "conformal"} | options
    margins = np.array(margins, float)
    document = Document(margins, np.full(len(margins), tokens), script, beside=beside, unread=unread)
    return decide(document, calibration, **given)


def test_votes(calibration):
    assert verdict(calibration, [9.0, 9.0, -3.0])["label"] == 1
    assert verdict(calibration, [-3.0, -3.0])["label"] == 0
    mixed = [9.0, -3.0, -3.0]
    assert verdict(calibration, mixed, vote="majority")["label"] == 0
    assert verdict(calibration, mixed, vote="any")["label"] == 1
    assert verdict(calibration, [9.0, -3.0], vote="majority")["label"] == 0, "a tie is human"


def test_the_verdict_follows_the_p_value_and_the_flags_the_adjusted_ones(calibration):
    for margins in ([0.3], [2.2, 1.0], [9.0, 0.0, 0.0], [1.6, 1.6, 1.6, 1.6]):
        for correction in ("none", "bh", "calibrated"):
            result = verdict(calibration, margins, correction=correction)
            assert result["label"] == int(result["p_value"] <= 0.05)
            assert (result["rejected"] == (result["segment_adjusted"] <= 0.05)).all()
            assert result["margin"] == pytest.approx(np.mean(margins))


def test_calibrated_ranks_among_human_documents_of_the_same_group():
    short, long = [[*human(120, s, segments=[1]), *human(120, s + 1, segments=[6])] for s in (0, 2)]
    calibration = make(short, [Document(d.margins + (len(d.margins) > 1), d.core_tokens, d.script) for d in long])
    margins = np.array([3.0, 2.5, 0.0, -1.0, -1.0, -2.0])
    result = verdict(calibration, margins, correction="calibrated")
    group = calibration.group_of("latin", 6 * 256)
    ours, pooled = (adjust(result["segment_p_values"], "calibrated", calibration.simes[g]) for g in (group, POOLED))
    assert np.array_equal(result["segment_adjusted"], ours) and not np.array_equal(ours, pooled)


def test_a_human_document_may_hold_machine_passages(calibration):
    result = verdict(calibration, [9.0, -4.0, -4.0, -4.0])
    assert result["label"] == 0 and result["rejected"].tolist() == [True, False, False, False]


def test_shorter_than_anything_calibrated(calibration):
    result = verdict(calibration, [9.0], tokens=29)
    assert result["label"] is None and result["p_value"] is not None
    assert "29 tokens, too short" in result["warnings"][0] and "30" in result["warnings"][0]
    assert verdict(calibration, [9.0], tokens=30)["label"] == 1


def test_a_short_text_that_is_not_flagged_is_no_proof_of_a_human(calibration):
    result = verdict(calibration, [0.0], tokens=99)
    assert result["label"] is None
    assert any("99 tokens, too short" in w and "below 100" in w for w in result["warnings"])
    assert verdict(calibration, [9.0], tokens=99)["label"] == 1, "its p-value is as valid as any other"
    assert verdict(calibration, [0.0], tokens=100)["label"] == 0


def test_longer_than_anything_calibrated_is_judged_by_its_parts(calibration):
    whole = verdict(calibration, [9.0] * 7)
    assert whole["label"] == 1 and whole["calibration"]["parts"] == 1 and not whole["warnings"]
    result = verdict(calibration, [9.0] * 20)
    n = whole["calibration"]["documents"]
    assert result["label"] == 1 and result["rejected"].all() and result["doubts"] == []
    assert result["calibration"]["parts"] == 4 and result["calibration"]["group"] == whole["calibration"]["group"]
    assert result["p_value"] == result["calibration"]["smallest_p_value"] == pytest.approx(4 / 3 / (n + 1))
    assert any("5120 tokens" in w and "1792" in w and "4 parts" in w and "of which 3" in w for w in result["warnings"])
    low, high = result["calibration"]["false_alarm_rate_90"]
    assert low == 0 and high == pytest.approx(4 / 3 * false_alarm_interval(n, 0.05 * 3 / 4)[1])


def test_a_long_document_is_machine_where_most_of_its_parts_are(calibration):
    machine, other = [9.0] * 5, [-9.0] * 5
    assert verdict(calibration, machine * 3 + other)["label"] == 1
    half = verdict(calibration, machine * 2 + other * 2)
    assert half["label"] == 0 and half["p_value"] == 1 and half["rejected"].sum() == 10


@pytest.mark.parametrize("tokens", [90, 300])
def test_a_calibration_on_short_texts_says_nothing_of_long_ones(tokens):
    calibration = make(human(200, 0, segments=[1], tokens=tokens), human(200, 1, segments=[1], tokens=tokens))
    result = verdict(calibration, [9.0] * 8)
    assert result["label"] is None and result["rejected"].all() and "2048 tokens" in result["doubts"][0]
    assert str(tokens) in result["doubts"][0] and result["calibration"]["parts"] == 1


def test_parts_in_groups_of_different_size():
    """The smallest p-value and the rate come from all parts, not from the smallest group alone."""
    short, long = human(100, 5, segments=[1]), human(100, 6, segments=[4])
    calibration = make([*short, *long], [*human(10, 7, segments=[1]), *human(150, 8, segments=[4])])
    sizes = [calibration.document[group].documents for group in range(2)]
    assert sorted(sizes) == [10, 150]
    result = decide(
        Document(np.full(7, 9.0), np.array([256] * 6 + [200]), "latin"),
        calibration,
        0.05,
        "bh",
        "calibrated",
        "conformal",
    )
    about = result["calibration"]
    parts = parts_of(Document(np.full(7, 9.0), np.array([256] * 6 + [200]), "latin"), calibration)
    small = [1 / (calibration.document[calibration.group_of("latin", part.tokens)].documents + 1) for part in parts]
    assert about["smallest_p_value"] == pytest.approx(majority_p_value(small)) == pytest.approx(result["p_value"])
    assert 0 < about["false_alarm_rate_90"][1] < 1


def test_a_long_text_of_parts_too_short_to_tell_is_uncertain():
    calibration = make(tellable_tokens=2000)
    assert verdict(calibration, [-1.0] * 7)["label"] is None
    long = verdict(calibration, [-1.0] * 14)
    assert long["label"] is None and long["calibration"]["parts"] == 3
    assert any("too short to tell: below 2000" in warning for warning in long["warnings"])


def test_members_whose_p_values_are_merged_judge_by_parts_too(calibration):
    longer = make(whole=human(200, 9, segments=[1, 2, 20]))
    spans = np.column_stack([np.arange(8), np.arange(1, 9)]) * 1000
    reading = Reading(Document(np.full(8, 9.0), np.full(8, 256), "latin"), spans)
    result = decide_merged(
        reading.document,
        [reading, reading],
        [calibration, longer],
        ["a", "b"],
        "mean_p",
        0.05,
        "bh",
        "calibrated",
        "conformal",
    )
    alone = [decide(reading.document, one, 0.05, "bh", "calibrated", "conformal") for one in (calibration, longer)]
    assert [one["calibration"]["parts"] for one in alone] == [2, 1] and result["calibration"]["parts"] == 2
    assert result["p_value"] == pytest.approx(sum(one["p_value"] for one in alone)) and result["label"] == 1
    assert [w[:2] for w in result["warnings"] if "parts" in w] == ["a:"]
    each = [highest_rate(reading.document, one, 0.025, 0.95) for one in (calibration, longer)]
    assert result["calibration"]["false_alarm_rate_90"] == [0.0, pytest.approx(sum(each))]
    n = longer.document[longer.group_of("latin", 2048)].documents
    assert each[1] == pytest.approx(false_alarm_interval(n, 0.025, 0.95)[1]) and 0 < each[0] < 0.2


def test_calibrated_flags_by_many_parts_need_more_documents_and_say_so(calibration):
    long = verdict(calibration, [9.0] * 100, correction="calibrated")
    assert not long["rejected"].any() and long["label"] == 1
    assert any(
        "No segment can be flagged" in warning and "parts share alpha" in warning for warning in long["warnings"]
    )
    assert not any("No segment can be flagged" in w for w in verdict(calibration, [9.0] * 100)["warnings"])


def test_calibrated_flags_hold_for_a_long_document(calibration):
    """Each part's share of alpha: p-values of a part alone, times the number of parts."""
    margins = np.random.default_rng(7).normal(size=14) + 1.5
    result = verdict(calibration, margins, correction="calibrated")
    halves = [verdict(calibration, half, correction="calibrated")["segment_adjusted"] for half in np.split(margins, 2)]
    parts = result["calibration"]["parts"]
    assert parts == 3
    cut = [verdict(calibration, part, correction="calibrated") for part in (margins[:5], margins[5:9], margins[9:])]
    expected = np.minimum(np.concatenate([part["segment_adjusted"] for part in cut]) * parts, 1)
    assert np.allclose(result["segment_adjusted"], expected) and not np.allclose(expected, np.concatenate(halves))


@pytest.mark.parametrize(("script", "words"), [("cyrillic", "is in cyrillic script"), ("none", "has no letters")])
def test_a_script_the_calibration_never_saw(calibration, script, words):
    result = verdict(calibration, [9.0], script=script)
    assert result["label"] is None and words in result["warnings"][0] and "latin" in result["warnings"][0]
    assert (result["calibration"]["group"], result["calibration"]["documents"]) == ("other scripts", 0)
    assert result["p_value"] == 1 and not result["rejected"].any()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"beside": ("cyrillic",)}, "A good part of the text is in cyrillic script"),
        ({"unread": 0.3}, "30% of the text are runs"),
    ],
)
def test_a_text_that_is_partly_foreign_or_unreadable(calibration, options, words):
    result = verdict(calibration, [9.0], **options)
    assert result["label"] is None and words in result["doubts"][0] and result["p_value"] <= 0.05
    assert verdict(calibration, [9.0], beside=("latin",), unread=0.05)["label"] == 1


def test_a_rare_script_is_judged_among_its_like_and_says_so():
    calibration = make(whole=[*human(190, 1), *human(10, 3, script="greek")])
    result = verdict(calibration, [9.0], script="greek")
    assert result["label"] is None, "10 documents allow no p-value as small as 0.05"
    assert (result["calibration"]["group"], result["calibration"]["documents"]) == ("other scripts", 10)
    assert any("Only 10 calibration documents are in greek script" in w for w in result["warnings"])
    assert not any("Only" in w for w in verdict(calibration, [9.0])["warnings"])


@pytest.mark.parametrize("options", [{"alpha": 0.004}, {"alpha": 0.01, "confidence": 0.95}])
def test_p_values_too_coarse(calibration, options):
    result = verdict(calibration, [9.0], **options)
    assert result["label"] is None
    assert any("No document can be flagged" in w and "smallest p-value" in w for w in result["warnings"])
    assert verdict(calibration, [9.0], **(options | {"alpha": 0.05}))["label"] == 1


@pytest.mark.parametrize("vote", ["majority", "any"])
def test_only_the_calibrated_vote_abstains_the_others_warn(calibration, vote):
    for options in ({"script": "cyrillic"}, {"tokens": 20}, {"alpha": 0.004}):
        result = verdict(calibration, [9.0], vote=vote, **options)
        assert result["label"] in (0, 1) and result["warnings"]


def test_no_silent_zero_power(calibration):
    assert not verdict(calibration, [9.0] * 5)["warnings"]
    result = verdict(calibration, [0.0] * 7, correction="by")
    assert any("362 calibration documents" in w and "300" in w for w in result["warnings"])
    assert result["calibration"]["segment_documents"] == 300
    assert result["calibration"]["segment_documents_needed"] == 362


def test_calibrated_correction_warns_where_a_lone_segment_cannot_be_found():
    """50 documents for segments of 7: the smallest BH-adjusted p-value, 7/51, is everyday among human documents."""
    calibration = make(human(50, 0, segments=[7]), human(99, 1, segments=[7]), minimum=20)
    found = verdict(calibration, [9.0] + [-3.0] * 6, correction="calibrated")
    assert not found["rejected"].any()
    assert any("lone flagged segment" in w for w in found["warnings"]), found["warnings"]
    assert found["calibration"]["segment_documents_needed"] > 50


def test_softmax_is_labelled_as_not_valid(calibration):
    result = verdict(calibration, [3.0, -3.0], p_values="softmax")
    assert result["segment_p_values"] == pytest.approx(sigmoid(np.array([-3.0, 3.0])))
    assert any("no valid p-values" in w for w in result["warnings"])
    assert not any("no valid" in w for w in verdict(calibration, [3.0])["warnings"])
    assert result["p_value"] == verdict(calibration, [3.0, -3.0])["p_value"], "the document's stays conformal"
    with pytest.raises(ValueError, match="conformal"):
        verdict(calibration, [3.0], p_values="softmax", correction="calibrated")


def test_without_calibration():
    result = verdict(None, [3.0, 3.0], vote="majority", p_values="softmax")
    assert result["p_value"] is None and result["calibration"] is None
    assert any("no calibration" in w for w in result["warnings"])
    with pytest.raises(ValueError, match="needs a calibration"):
        verdict(None, [3.0], vote="majority")
    with pytest.raises(ValueError, match="needs a document calibration"):
        verdict(None, [3.0], p_values="softmax")


def test_the_result_says_what_it_rests_on(calibration):
    found = verdict(calibration, [0.0, 0.0])["calibration"]
    group = calibration.group_of("latin", 512)
    assert found["group"] == calibration.groups[group].name and "latin" in found["group"]
    assert found["documents"] == calibration.document[group].documents < 200
    assert found["false_alarm_rate_90"] == list(false_alarm_interval(found["documents"], 0.05))
    assert found["segment_documents"] == 300 and found["segment_documents_needed"] == 39


def test_confidence_is_stricter_and_equals_the_bound(calibration):
    n = calibration.document[calibration.group_of("latin", 256)].documents
    for margin in (0.0, 1.5, 2.0, 9.0):
        marginal = verdict(calibration, [margin])["p_value"]
        sure = verdict(calibration, [margin], confidence=0.9)["p_value"]
        assert sure == pytest.approx(with_confidence(np.array([marginal]), n, 0.9)[0]) and sure > marginal


def test_the_interval_of_the_realised_rate_follows_the_confidence(calibration):
    """With confidence 0.9 the rate is at most alpha in nine calibration draws of ten: its 90 % quantile is at most alpha.

    The interval of the marginal rule would reach beyond alpha in half of them.
    """
    low, high = verdict(calibration, [0.0], confidence=0.9)["calibration"]["false_alarm_rate_90"]
    n = calibration.document[calibration.group_of("latin", 256)].documents
    ranks = np.arange(1, n + 1) / (n + 1)
    rank = (with_confidence(ranks, n, 0.9) <= 0.05).sum()
    assert (low, high) == pytest.approx(beta.interval(0.9, rank, n + 1 - rank))
    assert high < false_alarm_interval(n, 0.05)[1]


@pytest.mark.parametrize(
    "options",
    [
        {"alpha": 0.0},
        {"alpha": 1.5},
        {"correction": "bhh"},
        {"vote": "mean"},
        {"p_values": "magic"},
        {"confidence": 95},
    ],
)
def test_unknown_choices_are_named(calibration, options):
    with pytest.raises(ValueError, match=str(next(iter(options.values())))):
        verdict(calibration, [1.0], **options)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_scores_that_are_no_numbers_are_refused(calibration, bad):
    with pytest.raises(ValueError, match="1 of 2 segment scores are not finite"):
        verdict(calibration, [bad, 1.0])


def test_every_vote_is_a_function_of_the_table():
    assert set(VOTES) == {"calibrated", "majority", "any"}
    assert VOTES["majority"](np.array([True, True, False]), None, 0.05)
    assert VOTES["calibrated"](np.array([False]), 0.05, 0.05) and not VOTES["calibrated"](np.array([True]), 0.06, 0.05)


@pytest.mark.parametrize("alpha", [0, 1, -0.1, 2, True, "0.05", None, float("nan")])
def test_alpha_is_checked(alpha):
    with pytest.raises(ValueError, match="alpha must be a number between 0 and 1"):
        check_alpha(alpha)


def test_screen_equals_scipy_and_its_formulas():
    p_values = np.concatenate([np.random.default_rng(0).uniform(size=190), np.full(10, 0.0005)])
    report = screen(p_values, 0.05, prevalence=0.1)
    assert np.allclose(report["adjusted_p_values"], false_discovery_control(p_values))
    assert report["flagged_together"] == np.flatnonzero(false_discovery_control(p_values) <= 0.05).tolist()
    assert report["flagged_alone"] == np.flatnonzero(p_values <= 0.05).tolist()
    assert set(report["flagged_together"]) < set(report["flagged_alone"])
    assert report["documents"] == 200 and report["expected_false_alarms"] == pytest.approx(10.0)
    assert report["innocent_share"] == pytest.approx(0.9 * 200 * 0.05 / len(report["flagged_alone"]))


def test_screen_of_nothing_and_of_honest_authors():
    empty = screen([], 0.05, prevalence=0.5)
    assert empty["documents"] == 0 and empty["flagged_alone"] == [] and empty["innocent_share"] is None
    honest = screen(np.arange(1, 201) / 200, 0.05, prevalence=0.0)  # p-values of 200 honest theses, evenly spread
    assert len(honest["flagged_alone"]) == 10 and honest["innocent_share"] == 1.0
    assert honest["flagged_together"] == []
    assert "innocent_share" not in screen([0.5])


@pytest.mark.parametrize(
    ("p_values", "options", "message"),
    [
        ([1.2], {}, "numbers in"),
        ([-0.1], {}, "numbers in"),
        ([np.nan], {}, "numbers in"),
        ([None], {}, "numbers in"),
        ([[0.1]], {}, "numbers in"),
        ([0.1], {"alpha": 1.0}, "alpha"),
        ([0.1], {"prevalence": -0.1}, "prevalence"),
        ([0.1], {"prevalence": 1.1}, "prevalence"),
        ([0.1], {"prevalence": np.nan}, "prevalence"),
    ],
)
def test_screen_refuses_what_is_no_p_value(p_values, options, message):
    with pytest.raises(ValueError, match=message):
        screen(p_values, **options)


@pytest.mark.parametrize("vote", ["calibrated", "majority", "any"])
def test_whatever_the_vote_a_doubtful_p_value_flags_nobody_in_a_pile(calibration, vote):
    texts = [("latin", 256), ("hangul", 256), ("latin", 10**6)]
    results = []
    for script, tokens in texts:
        decision = verdict(calibration, [9.0, 9.0], script, tokens, vote=vote)
        assert bool(decision["doubts"]) == (script != "latin" or tokens > 256)
        assert set(decision["doubts"]) <= set(decision["warnings"])
        label = {1: "machine", 0: "human", None: "uncertain"}[decision["label"]]
        results.append(
            {"label": label, "alpha": 0.05, **{k: decision[k] for k in ("p_value", "doubts", "calibration")}}
        )
    unread = {"label": None, "alpha": None, "p_value": None, "doubts": [], "calibration": None, "error": {}}
    found = screen_results([unread, *results], None, 0.05, None)
    assert found["flagged_alone"] == found["flagged_together"] == [1] and found["documents"] == 3
    assert found["adjusted_p_values"][0] is None and found["adjusted_p_values"][2:] == [1.0, 1.0]


def test_a_text_longer_than_those_of_its_script_is_judged_by_parts():
    long_latin = human(100, 5, segments=[20])
    short_greek = human(100, 6, "greek", segments=[2])
    calibration = make(
        [*long_latin, *short_greek, *human(1, 9, tokens=30)],
        [*human(100, 7, segments=[20]), *human(100, 8, "greek", segments=[2])],
    )
    assert calibration.longest_by_script == {"greek": 512, "latin": 20 * 256}
    assert verdict(calibration, [9.0] * 4, "latin")["label"] == 1
    longer = verdict(calibration, [9.0] * 4, "greek")
    assert longer["calibration"]["parts"] == 4 and "in greek script 512" in " ".join(longer["warnings"])
    assert verdict(calibration, [9.0] * 4, "latin")["calibration"]["parts"] == 1
    too_long = verdict(calibration, [9.0] * 4, "greek", tokens=257)
    assert too_long["label"] is None and "in greek script 512" in " ".join(too_long["doubts"])


def test_an_alpha_that_few_documents_cannot_reach_is_no_doubt_about_the_p_value(calibration):
    decision = verdict(calibration, [9.0], alpha=0.004)
    assert (
        decision["label"] is None
        and decision["doubts"] == []
        and "No document can be flagged" in decision["warnings"][0]
    )


def with_sources():
    """A calibration of two sources, of which one scores 2 higher."""
    posts = [replace(d, margins=d.margins + 2, source="posts") for d in human(60, 31)]
    return make(whole=[*(replace(d, source="essays") for d in human(240, 30)), *posts], minimum=50, by_source=True)


def test_of_several_kinds_the_largest_p_value_counts():
    calibration = with_sources()
    for confidence in (None, 0.9):
        for margins in ([1.9], [2.6, 2.2], [0.5, 0.4, 0.0], [9.0]):
            result = verdict(calibration, margins, confidence=confidence)
            statistic = np.array([np.float32(np.mean(margins))], float)
            each = []
            for kind in calibration.kinds_of("latin", 256 * len(margins)):
                reference = calibration.document[kind]
                p = conformal_p_values(statistic, reference.scores, reference.weights)
                each.append(p if confidence is None else with_confidence(p, reference.documents, confidence))
            assert len(each) == 3 and result["p_value"] == pytest.approx(np.max(each))
    mixture = make(whole=human(300, 30), minimum=50)
    assert verdict(mixture, [2.2])["label"] == 1 and verdict(calibration, [2.2])["label"] == 0, (
        "no post stands out by that"
    )


def test_the_result_says_which_sources_it_rests_on():
    calibration = with_sources()
    found = verdict(calibration, [0.0, 0.0])["calibration"]
    assert found["group"] == calibration.groups[calibration.group_of("latin", 512)].name
    assert found["sources"] == ["essays", "posts"]
    assert found["documents"] == 60 and found["smallest_p_value"] == pytest.approx(1 / 61)
    highest = [
        false_alarm_interval(calibration.document[k].documents, 0.05)[1] for k in calibration.kinds_of("latin", 512)
    ]
    assert found["false_alarm_rate_90"] == [0.0, max(highest)]
    assert highest_rate(human(1, 0, segments=[2])[0], calibration, 0.05, 0.9) == max(highest)
    few = verdict(calibration, [9.0], alpha=0.01)
    assert few["label"] is None and any("60 calibration documents allow" in warning for warning in few["warnings"])
    other = verdict(calibration, [0.0, 0.0], script="greek")["calibration"]
    assert other["group"] == "other scripts" and other["sources"] == []


def test_the_calibrated_correction_holds_for_every_source_too():
    calibration, margins = with_sources(), [3.0, 2.5, 0.0]
    result = verdict(calibration, margins, correction="calibrated")
    kinds = calibration.kinds_of("latin", 3 * 256)
    each = [adjust(result["segment_p_values"], "calibrated", calibration.simes[kind]) for kind in kinds]
    assert np.array_equal(result["segment_adjusted"], np.max(each, axis=0)) and len({tuple(one) for one in each}) > 1
