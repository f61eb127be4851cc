"""Numbers at their limits: p-values stay in (0, 1], counts stay whole, a changed calibration is refused or still sound."""

import copy
import json

import numpy as np
import pytest
from hypothesis import strategies as st

from mvh.calibration_mvh import (
    MAX_CALIBRATION_VALUES,
    _pack,
    _unpack,
    calibration_id,
    decode_calibration,
    encode_calibration,
)
from mvh.corrections_mvh import CORRECTIONS, adjust, documents_needed, simes
from mvh.pvalues_mvh import conformal_p_values, false_alarm_interval, softmax_p_values, with_confidence
from mvh.references_mvh import Document
from mvh.statistics_mvh import STATISTICS
from mvh.voting_mvh import document_p_value

from .fuzz import fuzz, tries

finite = st.floats(allow_nan=False, allow_infinity=False, width=32)
levels = st.floats(0, 1, exclude_min=True, exclude_max=True)  # what `check_alpha` lets through


@tries(100, 5000)
def test_p_values_lie_above_zero_and_reach_one(examples):
    @fuzz(examples, st.lists(finite, min_size=1, max_size=9), st.lists(finite, min_size=1, max_size=30), levels)
    def check(margins, scores, confidence):
        new = np.array(margins)
        conformal = conformal_p_values(new, np.sort(scores), np.ones(len(scores)))
        for p in (softmax_p_values(new), conformal, with_confidence(conformal, len(scores), confidence)):
            assert p.shape == new.shape and (p > 0).all() and (p <= 1).all()
            for name in CORRECTIONS:
                adjusted = adjust(p, name, np.sort(conformal))
                assert (adjusted > 0).all() and (adjusted <= 1).all()
                if name != "calibrated":
                    assert (adjusted >= p * (1 - 1e-12)).all(), "a correction never makes a p-value smaller"
            assert 0 < simes(p) <= 1


@tries(100, 5000)
def test_what_is_said_of_rates_is_a_number_at_every_level(examples):
    @fuzz(examples, st.integers(0, 10**7), levels, st.integers(1, 10**6), st.sampled_from(sorted(CORRECTIONS)))
    def check(documents, alpha, segments, correction):
        low, high = false_alarm_interval(documents, alpha)
        assert 0 <= low <= high <= 1
        human_simes = (1.0 + np.arange(min(documents, 50))) / 51
        needed = documents_needed(segments, alpha, correction, human_simes)
        assert isinstance(needed, int) and needed >= 0


def humans(count, seed, script="latin"):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 5, count)
    return [Document(rng.normal(size=size), np.full(size, 256), script) for size in sizes]


@pytest.fixture(scope="module")
def packed():
    segment, whole = humans(130, 1) + humans(8, 2, "greek"), humans(140, 3) + humans(6, 4, "greek")
    return json.loads(json.dumps(encode_calibration(segment, whole, {"population": "noise"}, minimum=40)))


def places(thing, path=()):
    """The paths of all entries of nested dicts and lists."""
    items = thing.items() if isinstance(thing, dict) else enumerate(thing) if isinstance(thing, list) else ()
    return [found for key, value in items for found in [(*path, key), *places(value, (*path, key))]]


def put(thing, path, value):
    for key in path[:-1]:
        thing = thing[key]
    thing[path[-1]] = value


def packed_numbers(old):
    """What may stand where packed numbers stood: the same ones changed, exchanged, or others."""
    if not isinstance(old, str) or len(old) < 100:
        return st.text(max_size=9)
    values = _unpack(old, "<u2")
    changed = st.tuples(st.integers(0, len(values) - 1), st.integers(0, 65535)).map(
        lambda pair: _pack(np.where(np.arange(len(values)) == pair[0], pair[1], values), "<u2")
    )
    return changed | st.randoms().map(lambda rng: _pack(rng.sample(list(values), len(values)), "<u2"))


ODD = [None, True, -1, 0, 1, 0.5, 1e400, float("nan"), 10**30, "", "x", [], [0], {}, {"latin": 1}]


@tries(150, 8000)
def test_any_change_of_a_calibration_is_refused_or_leaves_it_sound(examples, packed):
    """Under a fitting id: what a stranger can write."""
    known = places(packed)

    @fuzz(examples, st.data())
    def check(data):
        changed = copy.deepcopy(packed)
        for _ in range(data.draw(st.integers(1, 2))):
            path = data.draw(st.sampled_from(known))
            try:
                old = changed
                for key in path:
                    old = old[key]
                put(changed, path, data.draw(st.sampled_from(ODD) | packed_numbers(old)))
            except (KeyError, TypeError, IndexError):
                continue  # the first change took away what the second was to change
        changed["id"] = calibration_id(changed)
        try:
            calibration = decode_calibration(changed)
        except ValueError as error:
            assert len(str(error)) > 20
            return
        for document in (*humans(4, 5), *humans(2, 6, "greek"), *humans(1, 7, "han")):
            p = calibration.segment_p_values(document)
            group = calibration.group_of(document.script, document.tokens)
            whole = document_p_value(document, calibration)
            adjusted = adjust(p, "calibrated", calibration.simes[group])
            assert all((q > 0).all() and (q <= 1).all() for q in (p, adjusted, np.array([whole])))
        json.dumps([calibration.scripts, calibration.tellable_tokens, calibration.longest_tokens], allow_nan=False)
        assert calibration.statistic in STATISTICS


MANY = 10_000_000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p["document"].update(scores=_pack(np.arange(MANY), "<f4")), "characters; its 5000 values"),
        (lambda p: p["segment"].update(document="A" * MANY), "characters; its 5000 values"),
        (lambda p: p["segment"].update(scores=_pack(np.zeros(MANY), "<f4")), "characters; its 5000 values"),
        (lambda p: p.update(scripts=dict.fromkeys(map(str, range(200_000)), 1)), "200000 scripts; at most 5000"),
        (lambda p: p.update(groups=[p["groups"][0]] * 200_000), "200000 groups; at most 5000"),
        (lambda p: p["segment"].update(minimum=0), "minimum must be a whole number from 1, got 0"),
        (lambda p: p["groups"].insert(0, p["groups"][0]), "groups overlap or are out of order"),
        (lambda p: p["groups"].reverse(), "groups overlap or are out of order"),
        (lambda p: p["groups"][-1].update(low=0), "low of a group must be a whole number from 1, got 0"),
        (lambda p: p["document"].update(tellable_alpha=float("nan")), "tellable_alpha must lie between 0 and 1, got nan"),
        (lambda p: p["document"].update(tellable_tokens=1e400), "tellable_tokens must be a whole number from 0, got inf"),
        (lambda p: p["document"].update(longest_tokens=1), "longest_tokens must be a whole number from 256, got 1"),
        (
            lambda p: p["document"].update(simes=_pack(np.full(146, 1e-30), "<f4")),
            "holds a Simes p-value of 1e-30, and 130 documents give none below 0.00763",
        ),
    ],
)  # fmt: skip
def test_calibrations_that_would_fill_the_memory_or_silence_the_detector_are_refused(packed, change, message):
    changed = copy.deepcopy(packed)
    change(changed)
    changed["id"] = calibration_id(changed)
    with pytest.raises(ValueError, match=message):
        decode_calibration(changed)


def test_the_order_of_scores_is_nothing(packed):
    """Unsorted scores are sorted when they are read, so exchanging them cannot bend a p-value."""
    changed = copy.deepcopy(packed)
    rng = np.random.default_rng(0)
    order = rng.permutation(146)
    for name, dtype in (("scores", "<f4"), ("simes", "<f4"), ("group", "<i2")):
        changed["document"][name] = _pack(_unpack(packed["document"][name], dtype)[order], dtype)
    scores = _unpack(packed["segment"]["scores"], "<f4")
    order = rng.permutation(len(scores))
    changed["segment"]["scores"] = _pack(scores[order], "<f4")
    changed["segment"]["document"] = _pack(_unpack(packed["segment"]["document"], "<u2")[order], "<u2")
    changed["id"] = calibration_id(changed)
    one, other = decode_calibration(packed), decode_calibration(changed)
    for document in humans(20, 9):
        assert np.allclose(one.segment_p_values(document), other.segment_p_values(document), rtol=1e-12)
        group = one.group_of(document.script, document.tokens)
        assert document_p_value(document, one) == document_p_value(document, other)
        assert np.array_equal(one.simes[group], other.simes[group])


def test_a_full_calibration_fits(packed):
    """The limits of what is read are those of what is written."""
    most = [Document(np.array([float(n)]), np.array([256]), "latin") for n in range(MAX_CALIBRATION_VALUES - 40)]
    assert decode_calibration(encode_calibration(most, humans(20, 1), {})).segment_documents == len(most)
