"""Hostile texts from normalisation to the verdict: spans tile, scores are finite, p-values lie in (0, 1], order is nothing."""

import json
import math
import random
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import strategies as st
from transformers import pipeline

from mvh.corrections_mvh import CORRECTIONS
from mvh.features_mvh import FEATURES, GROUPS, compute_features
from mvh.handler import EndpointHandler
from mvh.normalization_mvh import ALL_STEPS, normalize
from mvh.pvalues_mvh import P_VALUES
from mvh.references_mvh import POOLED
from mvh.segmentation_mvh import segment_text
from mvh.voting_mvh import VOTES

from .conftest import make_text
from .fuzz import SLOW, fuzz, hostile, tries

NEEDY = ("unknown_word_share", "misspelled_share", *GROUPS["register"])
UNFITTED = [name for name in FEATURES if name not in NEEDY]  # features that need no data of a training


@pytest.fixture(scope="module")
def detect(detector):
    return pipeline("mvh-detect", model=str(detector), trust_remote_code=True)


@tries(40, 3000)
def test_every_text_finds_its_way_back_under_any_steps(examples):
    @fuzz(examples, hostile, st.lists(st.sampled_from(sorted(ALL_STEPS)), unique=True))
    def check(text, steps):
        result = normalize(text, steps)
        places = [result.to_original(place) for place in range(len(result.text) + 1)]
        assert places == sorted(places) and places[0] == 0
        assert places[-1] == (len(text) if result.text else 0)


@tries(40, 3000)
def test_normalising_again_never_adds_anything(examples):
    """Hostile texts may need many rounds (what was hidden comes to light), but each only takes away."""

    @fuzz(examples, hostile)
    def check(text):
        once = normalize(text).text
        twice = normalize(once).text
        assert len(normalize(twice).text) <= len(twice) <= len(once)
        assert normalize(text).text == once


@tries(40, 2000)
def test_segments_tile_any_text(examples, tokenizer):
    @fuzz(examples, hostile, st.integers(1, 40), st.floats(0, 1))
    def check(text, core, share):
        context = int(core * share)
        try:
            segments = segment_text(text, tokenizer, core, context)
        except ValueError as error:
            assert "none is left to read" in str(error)
            return
        cuts = [segments[0].start, *(segment.end for segment in segments)]
        assert cuts[0] == 0 and cuts[-1] == len(text) and cuts == sorted(cuts)
        assert [segment.start for segment in segments] == cuts[:-1]
        for segment in segments:
            assert 1 <= segment.core_tokens <= core and len(segment.input_ids) <= core + context + 2
            assert all(0 <= token < len(tokenizer) for token in segment.input_ids)
            blocks = [*segment.block_starts, segment.end]
            assert blocks == sorted(blocks) and blocks[0] == segment.start
            offsets = [0, *segment.block_offsets, len(segment.text)]
            assert offsets == sorted(offsets) and len(segment.block_offsets) == len(segment.block_starts)
        assert all(segment.core_tokens == core for segment in segments[:-1])


@tries(40, 2000)
def test_features_of_any_text_are_finite(examples):
    @fuzz(examples, hostile)
    def check(text):
        values = compute_features(text, UNFITTED)
        assert values.dtype == np.float32 and np.isfinite(values).all() and np.abs(values).max() <= 1000
        assert np.array_equal(values, compute_features(text, UNFITTED))


def assert_sound(result, text):
    """What holds of every result, whatever was asked."""
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    spans = [(segment["start"], segment["end"]) for segment in result["segments"]]
    assert [0, *(end for _, end in spans)] == [*(start for start, _ in spans), len(text)]
    ends = [0, *(edge for passage in result["passages"] for edge in (passage["start"], passage["end"])), len(text)]
    assert ends == sorted(ends)
    for segment in result["segments"]:
        assert 0 < segment["p_value"] <= 1 and 0 < segment["adjusted_p_value"] <= 1 and 0 <= segment["score"] <= 1
        assert math.isfinite(segment["margin"])
    assert 0 <= result["score"] <= 1 and (result["p_value"] is None or 0 < result["p_value"] <= 1)


options = st.fixed_dictionaries(
    {},
    optional={
        "alpha": st.floats(0, 1, exclude_min=True, exclude_max=True),
        "confidence": st.floats(0, 1, exclude_min=True, exclude_max=True),
        "correction": st.sampled_from(sorted(CORRECTIONS)),
        "vote": st.sampled_from(sorted(VOTES)),
        "p_values": st.sampled_from(P_VALUES),
        "edges": st.sampled_from(["refined", "grid"]),
    },
)


@tries(25, 1500)
def test_every_text_has_a_sound_verdict_or_a_documented_error(examples, detect):
    @fuzz(examples, hostile, options)
    def check(text, chosen):
        if chosen.get("correction") == "calibrated" and chosen.get("p_values") == "softmax":
            with pytest.raises(ValueError, match="conformal p-values"):  # for the whole call: no text could be decided
                detect([text], **chosen)
            return
        (result,) = detect([text], **chosen)
        if "error" in result:
            assert result["error"]["type"] in ("ValueError", "TypeError") and result["label"] is None
            with pytest.raises(ValueError):
                detect(text, **chosen)
            return
        assert_sound(result, text)
        assert result["label"] in ("human", "machine", "uncertain")


NOISE = 1e-4  # of a margin in float32: other companions, other sums


def differs(one, other, calibration):
    """Where two results of a text are not the same verdict.

    Scores that lie within the noise of each other may change places in the ranking, and a p-value by as many ranks.
    """
    if "error" in one or "error" in other:
        return None if one["error"] == other["error"] else "error"
    reference = calibration.document[POOLED]  # the toy detector has no groups
    near = int((abs(reference.scores - one["margin"]) < 2 * NOISE).sum())
    if abs(one["p_value"] - other["p_value"]) > near / (reference.documents + 1) + 1e-12:
        return "p-value"
    if one["p_value"] == other["p_value"] and one["label"] != other["label"]:
        return "verdict"
    pairs = list(zip(one["segments"], other["segments"], strict=True))
    if any((a["start"], a["end"]) != (b["start"], b["end"]) for a, b in pairs):
        return "spans"
    if any(abs(a["margin"] - b["margin"]) > NOISE for a, b in pairs):
        return "margins"
    same = all(a["p_value"] == b["p_value"] for a, b in pairs)
    return "segments" if same and any(a["label"] != b["label"] for a, b in pairs) else None


@tries(10, 400)
def test_company_and_order_change_no_verdict(examples, detect):
    ordinary = st.builds(make_text, st.integers(0, 1), st.integers(3, 250), st.integers(0, 99))

    @fuzz(examples, st.lists(ordinary | hostile, min_size=1, max_size=8), st.randoms(), st.integers(1, 33))
    def check(texts, rng, batch_size):
        alone = [detect([text])[0] for text in texts]
        order = rng.sample(range(len(texts)), len(texts))
        together = detect([texts[index] for index in order], batch_size=batch_size)
        assert [
            differs(alone[index], result, detect.calibration) for index, result in zip(order, together, strict=True)
        ] == [None] * len(texts)


UNENDING = {
    "one letter": "a", "one ideograph": "中", "spaces": " ", "brackets": "[(", "nested": "[a](", "marks": "\u0301\u0323",
    "zero width": "\u200b\u200d\ufeff", "directions": "\u202eא\u202da\u2066ب\u2069", "quotes": '" ', "words": "rain dog ",
    "unknown words": "zxqv ", "emphasis": "*_", "escapes": "&amp;\\n", "emoji": "\U0001f469\u200d", "surrogates": "\ud83d",
    "long lines": "a" * 999 + "\n", "look-alikes": "сор ", "special": "[SEP]",
}  # fmt: skip


def unending(kind, characters):
    return "e" + UNENDING[kind] * (characters // len(UNENDING[kind])) + "x"


def seconds(work, kind, characters):
    text = unending(kind, characters)
    begin = time.process_time()
    work(text)
    return time.process_time() - begin


@pytest.mark.parametrize("size", [100_000, pytest.param(1_000_000, marks=SLOW)])
@pytest.mark.parametrize("kind", list(UNENDING))
def test_segmentation_takes_linear_time(kind, size, tokenizer):
    def work(text):
        assert segment_text(text, tokenizer)[-1].end == len(text)

    short = min(seconds(work, kind, size // 8) for _ in range(3))
    assert seconds(work, kind, size) < 0.1 + 24 * short, "eight times the text; a square law would give 64"


@pytest.mark.parametrize("size", [20_000, pytest.param(1_000_000, marks=SLOW)])
@pytest.mark.parametrize("kind", list(UNENDING))
def test_features_take_linear_time(kind, size):
    def work(text):
        assert np.isfinite(compute_features(text, UNFITTED)).all()

    short = min(seconds(work, kind, size // 8) for _ in range(3))
    assert seconds(work, kind, size) < 0.1 + 24 * short


@pytest.mark.parametrize("kind", ["words", pytest.param("nested", marks=SLOW), pytest.param("zero width", marks=SLOW)])
def test_a_verdict_takes_linear_time_and_memory(kind, detect):
    """Memory beyond the text and its result: what Python holds at most, measured by tracemalloc."""

    def most_memory(characters):
        text = unending(kind, characters)
        tracemalloc.start()
        detect([text], edges="grid")
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    size = 80_000
    short = min(seconds(lambda text: detect([text], edges="grid"), kind, size // 8) for _ in range(2))
    assert seconds(lambda text: detect([text], edges="grid"), kind, size) < 0.5 + 24 * short
    assert most_memory(size) < 2_000_000 + 24 * most_memory(size // 8)


@SLOW
@pytest.mark.parametrize("kind", list(UNENDING))
def test_a_megabyte_of_anything_is_judged_or_is_a_sentence(kind, detect):
    text = unending(kind, 1_000_000)
    (result,) = detect([text], edges="grid")
    if "error" in result:
        assert result["label"] is None and result["error"]["type"] == "ValueError", result["error"]
        return
    starts, ends = zip(*((segment["start"], segment["end"]) for segment in result["segments"]), strict=True)
    assert starts == (0, *ends[:-1]) and ends[-1] == len(text), "segments tile the text"
    assert all(0 < segment["p_value"] <= 1 and np.isfinite(segment["margin"]) for segment in result["segments"])


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | hostile | st.just("A text. ")
JUNK = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(["alpha", "vote", "correction", "p_values", "confidence", "edges", "precision"]) | st.text(
    max_size=8
)


@tries(40, 2000)
def test_the_handler_answers_every_request(examples, detector):
    handler = EndpointHandler(str(detector))
    requests = st.fixed_dictionaries(
        {}, optional={"inputs": JUNK, "parameters": JUNK | st.dictionaries(NAMES, JUNK, max_size=2)}
    )

    @fuzz(examples, requests | JUNK)
    def check(request):
        answer = handler(request)
        json.dumps(answer, allow_nan=False)
        if isinstance(answer, dict) and "label" not in answer:
            assert answer["error"]["type"] == "BadRequest", answer
            assert str(detector) not in answer["error"]["message"]


def test_the_same_text_in_every_place_has_one_verdict(detect):
    text, rng = make_text(1, 180, seed=5), random.Random(0)
    crowd = [make_text(rng.randint(0, 1), rng.randint(3, 300), seed=index) for index in range(24)]
    for place in (0, 7, 24):
        results = detect([*crowd[:place], text, *crowd[place:]], batch_size=7)
        assert differs(detect(text), results[place], detect.calibration) is None
