"""How a calibration is packed, grouped, checked and read back."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mvh.calibration_mvh import (
    MAX_CALIBRATION_VALUES,
    POOLED,
    Document,
    _pack,
    _unpack,
    calibration_id,
    decode_calibration,
    encode_calibration,
    find_group,
    length_groups,
)
from mvh.corrections_mvh import simes
from mvh.pvalues_mvh import conformal_p_values
from mvh.references_mvh import Source
from mvh.statistics_mvh import STATISTICS
from mvh.voting_mvh import document_p_value


def document(rng, script="latin", segments=None, centre=0.0, last=256):
    """A human document of random scores; its cores have 256 tokens, the last one `last`."""
    segments = segments or int(rng.choice([1, 2, 3, 7]))
    tokens = np.array([256] * (segments - 1) + [last])
    return Document(centre + rng.normal() + rng.normal(size=segments), tokens, script)


def documents(count, seed=0, **options):
    rng = np.random.default_rng(seed)
    return [document(rng, **options) for _ in range(count)]


MIXED = documents(60, seed=1) + documents(40, seed=2, script="cyrillic", centre=3.0) + documents(5, 3, script="greek")
OTHERS = documents(70, seed=4) + documents(30, seed=5, script="cyrillic", centre=3.0) + documents(4, 6, script="arabic")


@pytest.fixture
def packed():
    return encode_calibration(MIXED, OTHERS, {"population": "noise"}, tellable_tokens=40, minimum=20)


def test_a_round_trip_through_json_keeps_everything(packed):
    again = decode_calibration(json.loads(json.dumps(packed, sort_keys=True)))
    assert again.statistic == "mean_margin" and again.tellable_tokens == 40
    assert again.longest_tokens == max(d.tokens for d in OTHERS)
    assert again.shortest_tokens == min(d.tokens for d in [*MIXED, *OTHERS])
    assert again.scripts == {"arabic": 4, "cyrillic": 70, "greek": 5, "latin": 130}
    assert (again.segment_documents, again.documents) == (len(MIXED), len(OTHERS))
    rest = [d for d in MIXED if d.script not in ("latin", "cyrillic")]  # too few for references of their own
    for name, part in {"": rest, "latin": [d for d in MIXED if d.script == "latin"]}.items():
        reference, everything = again.segment[name], np.concatenate([d.margins for d in part])
        assert np.allclose(reference.scores, np.sort(everything), rtol=1e-6) and reference.documents == len(part)
        weights = np.concatenate([np.full(len(d.margins), 1 / len(d.margins)) for d in part])[np.argsort(everything)]
        assert np.allclose(reference.weights, weights) and weights.sum() == pytest.approx(len(part))
    means = np.sort([np.average(d.margins, weights=d.core_tokens) for d in OTHERS])
    stored = np.concatenate([reference.scores for reference in again.document.values()])
    assert np.allclose(np.sort(stored), means, rtol=1e-6), "the groups are a partition of the documents"
    assert packed["about"] == {"population": "noise"} and packed["id"] == calibration_id(packed)


@pytest.mark.parametrize("statistic", list(STATISTICS))
def test_statistics_and_simes_are_those_of_the_segments_p_values(statistic):
    packed = encode_calibration(MIXED, OTHERS, {}, statistic, minimum=20)
    calibration = decode_calibration(packed)
    p_values = [calibration.segment_p_values(d) for d in OTHERS]
    expected = [STATISTICS[statistic](d.margins, d.core_tokens, p) for d, p in zip(OTHERS, p_values, strict=True)]
    stored = np.concatenate([reference.scores for reference in calibration.document.values()])
    assert np.allclose(np.sort(stored), np.sort(expected), rtol=1e-6)
    stored = np.concatenate(list(calibration.simes.values()))
    assert np.allclose(np.sort(stored), np.sort([simes(p) for p in p_values]), rtol=1e-6)


@pytest.mark.parametrize("statistic", list(STATISTICS))
def test_a_calibration_document_ties_with_itself(statistic):
    """Rounding to float32 must not make a document look more machine-like than its own record."""
    calibration = decode_calibration(encode_calibration(MIXED, OTHERS, {}, statistic, minimum=20))
    for group in (POOLED, *range(len(calibration.groups))):
        mine = [d for d in OTHERS if calibration.group_of(d.script, d.tokens) == group]
        ranks, n = sorted(document_p_value(d, calibration) for d in mine), len(mine)
        assert n and (np.array(ranks) >= np.arange(2, n + 2) / (n + 1) - 1e-12).all()


def test_rare_scripts_form_a_kind_of_their_own(packed):
    calibration = decode_calibration(packed)
    assert {g.script for g in calibration.groups} == {"latin", "cyrillic"}
    for rare in ("greek", "arabic", "hangul"):
        assert calibration.group_of(rare, 300) == POOLED
        assert calibration.segment_reference(rare) is calibration.segment[""]
    assert calibration.document[POOLED].documents == 4 and calibration.documents == len(OTHERS)
    assert calibration.segment_reference("cyrillic").documents == 40
    own = np.sort(np.concatenate([d.margins for d in MIXED if d.script == "cyrillic"]))
    assert np.allclose(calibration.segment_reference("cyrillic").scores, own, rtol=1e-6)
    assert sum(calibration.document[g].documents for g in range(len(calibration.groups))) == len(OTHERS) - 4


lengths_of_documents = st.lists(st.integers(1, 100_000), min_size=1, max_size=80)


@settings(max_examples=200, deadline=None)
@given(lengths_of_documents, st.integers(1, 12), st.data())
def test_groups_tile_the_lengths_and_hold_enough_documents(lengths, minimum, data):
    scripts = data.draw(st.lists(st.sampled_from(["latin", "greek"]), min_size=len(lengths), max_size=len(lengths)))
    made = [Document(np.zeros(1), np.array([n]), s) for n, s in zip(lengths, scripts, strict=True)]
    groups = length_groups(made, minimum)
    for script in ("latin", "greek"):
        own, mine = [g for g in groups if g.script == script], [d for d in made if d.script == script]
        if len(mine) < minimum:
            assert not own
            continue
        assert own[0].low == 1 and own[-1].high is None
        assert all(after.low == before.high + 1 for before, after in zip(own, own[1:], strict=False))
        assert all(sum(g.holds(d.script, d.tokens) for d in made) >= minimum for g in own)
    for tokens in (1, 64, 65, 128, 129, 10**7):
        index = find_group(groups, "latin", tokens)
        assert sum(g.holds("latin", tokens) for g in groups) == (index != POOLED)
        assert index == POOLED or groups[index].holds("latin", tokens)
    assert find_group(groups, "hangul", 100) == POOLED


def test_group_bounds_come_from_the_segment_side_alone(packed):
    """Bounds chosen by looking at the documents they will judge could favour them."""
    few, other = OTHERS[:90], documents(70, 8, segments=1, last=30) + OTHERS[70:] + documents(9, 9, segments=12)
    for side in (few, other, [*OTHERS, *documents(100, 7, script="greek")]):
        assert encode_calibration(MIXED, side, {}, minimum=20)["groups"] == packed["groups"]
    assert len({g["high"] for g in packed["groups"]}) > 1, "the fixture must have length groups"


def test_mondrian_p_values_equal_crepes_with_bins(packed):
    crepes = pytest.importorskip("crepes")
    calibration = decode_calibration(packed)
    known = [d for d in OTHERS if calibration.group_of(d.script, d.tokens) != POOLED]
    new = [d for d in documents(40, 10) + documents(20, 11, script="cyrillic")]

    def means(some):
        return np.float32([np.average(d.margins, weights=d.core_tokens) for d in some]).astype(float)

    def bins(some):
        return np.array([calibration.group_of(d.script, d.tokens) for d in some])

    fitted = crepes.ConformalClassifier().fit(means(known), bins=bins(known))
    theirs = fitted.predict_p(means(new)[:, None], bins=bins(new), smoothing=False)[:, 0]
    ours = [document_p_value(d, calibration) for d in new]
    assert len(set(bins(new))) >= 3 and np.allclose(ours, theirs)


def test_segments_are_ranked_among_their_own_script(packed):
    calibration = decode_calibration(packed)
    own = [d for d in MIXED if d.script == "cyrillic"]
    new = document(np.random.default_rng(9), script="cyrillic", centre=3.0)
    expected = [(1 + sum(np.mean(np.float32(d.margins) >= s) for d in own)) / 41 for s in new.margins]
    assert np.allclose(calibration.segment_p_values(new), expected)
    among_all = conformal_p_values(new.margins, calibration.segment[""].scores, calibration.segment[""].weights)
    assert among_all.mean() < np.mean(expected), "Cyrillic documents score higher here: among all they would stand out"


def change(part, key, value):
    """A change of one entry; `value` may be a function of the old one."""

    def apply(packed):
        place = packed if part is None else packed[part]
        place[key] = value(place[key]) if callable(value) else value

    return apply


def floats(edit, dtype="<f4"):
    """A change inside a packed array."""
    return lambda text: _pack(edit(_unpack(text, dtype).copy()), dtype)


def put(values, index, value):
    values[index] = value
    return values


def drop(part, key):
    return lambda packed: (packed if part is None else packed[part]).pop(key)


STRUCTURAL = {
    "other version": change(None, "version", 1),
    "about is no mapping": change(None, "about", "noise"),
    "not base64": change("segment", "scores", "!!!"),
    "not a string": change("document", "scores", None),
    "half a value": change("document", "simes", lambda text: _pack(np.frombuffer(b"x" * 6, "<u1"), "<u1")),
    "fewer scores than owners": change("segment", "scores", floats(lambda v: v[:-1])),
    "an owner without scores": change("segment", "document", floats(lambda v: put(v, v == 3, 4), "<u2")),
    "more documents than owners": change("segment", "script", floats(lambda v: np.append(v, 0), "<u2")),
    "a script that has no name": change("segment", "script", floats(lambda v: put(v, 0, 99), "<u2")),
    "a segment score is NaN": change("segment", "scores", floats(lambda v: put(v, 5, np.nan))),
    "a document score is infinite": change("document", "scores", floats(lambda v: put(v, 5, np.inf))),
    "constant segment scores": change("segment", "scores", floats(np.zeros_like)),
    "constant document scores": change("document", "scores", floats(np.ones_like)),
    "no document": change("document", "scores", ""),
    "too many scores": change("document", "scores", floats(lambda v: np.arange(MAX_CALIBRATION_VALUES + 1))),
    "fewer Simes p-values": change("document", "simes", floats(lambda v: v[1:])),
    "a Simes p-value of 0": change("document", "simes", floats(lambda v: put(v, 0, 0.0))),
    "a Simes p-value of 1.5": change("document", "simes", floats(lambda v: put(v, 0, 1.5))),
    "a Simes p-value is NaN": change("document", "simes", floats(lambda v: put(v, 0, np.nan))),
    "fewer groups than documents": change("document", "group", floats(lambda v: v[1:], "<i2")),
    "a group that is not there": change("document", "group", floats(lambda v: put(v, 0, 99), "<i2")),
    "a group below POOLED": change("document", "group", floats(lambda v: put(v, 0, -2), "<i2")),
    "a group without documents": change("document", "group", floats(lambda v: put(v, v == 0, 1), "<i2")),
    "an unknown statistic": change("document", "statistic", "magic"),
    "a group without bounds": lambda packed: packed["groups"][0].pop("low"),
}
STRUCTURAL |= {f"no {key}": drop(None, key) for key in ("version", "about", "segment", "document", "groups", "scripts")}
STRUCTURAL |= {f"no segment {key}": drop("segment", key) for key in ("scores", "document", "script", "minimum")}
STRUCTURAL |= {
    f"no document {key}": drop("document", key)
    for key in ("statistic", "scores", "simes", "group", "tellable_tokens", "shortest_tokens", "longest_tokens")
}


@pytest.mark.parametrize("damage", list(STRUCTURAL))
def test_damage_is_noticed_even_under_a_fitting_id(packed, damage):
    copy = json.loads(json.dumps(packed))
    STRUCTURAL[damage](copy)
    copy["id"] = calibration_id(copy)
    with pytest.raises(ValueError):
        decode_calibration(copy)


QUIET = {
    "another population": change("about", "population", "saints"),
    "one other score": change("segment", "scores", floats(lambda v: put(v, 0, 0.5))),
    "other bounds": lambda packed: packed["groups"][0].update(low=2),
    "another statistic": change("document", "statistic", "stouffer"),
    "shorter texts allowed": change("document", "shortest_tokens", 1),
    "short texts told": change("document", "tellable_tokens", 0),
    "longer texts allowed": change("document", "longest_tokens", 10**6),
    "a lower minimum": change("segment", "minimum", 1),
    "another id": change(None, "id", "0" * 16),
    "no id": drop(None, "id"),
}


@pytest.mark.parametrize("damage", list(QUIET))
def test_plausible_changes_are_noticed_by_the_id(packed, damage):
    copy = json.loads(json.dumps(packed))
    QUIET[damage](copy)
    with pytest.raises(ValueError, match="calls itself"):
        decode_calibration(copy)


@pytest.mark.parametrize("thing", [None, [], "text", {}, 3])
def test_what_is_no_calibration_at_all_is_refused(thing):
    with pytest.raises(ValueError, match="calibration"):
        decode_calibration(thing)


def flat(values):
    return [Document(np.array([float(v)]), np.array([256]), "latin") for v in values]


EMPTY = Document(np.empty(0), np.empty(0, int), "latin")


@pytest.mark.parametrize(
    ("segment", "whole", "message"),
    [
        (flat([np.nan, *range(19)]), flat(range(20)), "not finite"),
        (flat(range(20)), flat([np.inf, *range(19)]), "not finite"),
        (flat([1.0] * 20), flat(range(20)), "All 20 segment calibration scores equal"),
        (flat(range(20)), flat([1.0] * 20), "All 20 document calibration scores equal"),
        ([], flat(range(20)), "segment calibration has 0 scores"),
        (flat(range(20)), [], "document calibration has 0 scores"),
        ([*flat(range(20)), EMPTY], flat(range(20)), "1 documents of the segment calibration have no segment"),
        (flat(range(20)), [EMPTY, EMPTY], "2 documents of the document calibration have no segment"),
        (flat(range(4000)), flat(range(501)), "at most 5000 values, and 4000 documents"),
    ],
)
def test_impossible_calibrations_are_refused(segment, whole, message):
    with pytest.raises(ValueError, match=message):
        encode_calibration(segment, whole, {})


@pytest.mark.parametrize("statistic", list(STATISTICS))
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_no_number_is_refused_whatever_the_statistic(statistic, bad):
    """Ranks and maxima can hide it: a NaN among p-values looks like the smallest."""
    broken = Document(np.array([1.0, bad, 2.0, -1.0]), np.full(4, 256), "latin")
    with pytest.raises(ValueError, match="not finite"):
        encode_calibration(MIXED, [*OTHERS, broken], {}, statistic)


def test_an_unknown_statistic_is_named():
    with pytest.raises(ValueError, match="'magic'"):
        encode_calibration(MIXED, OTHERS, {}, "magic")


def sourced(count, seed, source, **options):
    return [replace(d, source=source) for d in documents(count, seed, **options)]


SOURCED = [
    *sourced(30, 20, "essays"),
    *sourced(25, 21, "posts", centre=1.0),
    *sourced(19, 22, "few"),
    *sourced(21, 23, "essays", script="cyrillic"),
    *documents(9, 24),
]


def test_sources_of_enough_documents_are_kinds_of_their_own_for_every_length():
    calibration = decode_calibration(
        json.loads(json.dumps(encode_calibration(MIXED, SOURCED, {}, minimum=20, by_source=True)))
    )
    assert calibration.sources == [Source("cyrillic", "essays"), Source("latin", "essays"), Source("latin", "posts")]
    for script, names in (("latin", ["essays", "posts"]), ("cyrillic", ["essays"]), ("greek", []), ("hangul", [])):
        for tokens in (30, 256, 5000):
            group, *sources = calibration.kinds_of(script, tokens)
            assert group == calibration.group_of(script, tokens)
            assert [calibration.sources[key - len(calibration.groups)] for key in sources] == [
                Source(script, n) for n in names
            ]
            for key, name in zip(sources, names, strict=True):
                own = [d for d in SOURCED if (d.script, d.source) == (script, name)]
                means = np.sort([np.average(d.margins, weights=d.core_tokens) for d in own])
                assert np.allclose(calibration.document[key].scores, means, rtol=1e-6)
                p_simes = [simes(calibration.segment_p_values(d)) for d in own]
                assert np.allclose(calibration.simes[key], np.sort(p_simes), rtol=1e-6)


def test_sources_change_nothing_unless_they_are_asked_for():
    bare = [replace(d, source="") for d in SOURCED]
    assert encode_calibration(MIXED, SOURCED, {}, minimum=20) == encode_calibration(MIXED, bare, {}, minimum=20)
    asked = decode_calibration(encode_calibration(MIXED, bare, {}, minimum=20, by_source=True))
    assert not asked.sources and asked.kinds_of("latin", 300) == [asked.group_of("latin", 300)]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: d["sources"].append({"script": "latin", "name": "more"}), "Source 3 of 4 has no document"),
        (
            lambda d: d["sources"].pop(),
            "Source 2 of 2 has no document in the document calibration, or is not among them",
        ),
        (lambda d: d["sources"].__setitem__(0, d["sources"][1]), "2 different sources in a list of 3"),
        (lambda d: d.update(source=_pack(np.zeros(3), "<i2")), "names the sources of 3"),
        (lambda d: d["sources"][0].update(name="a\nb"), "name or script must be printable"),
        (lambda d: d["sources"][0].update(name="a" * 61), "of 1 to 60 characters"),
        (lambda d: d["sources"][0].update(name=None), "got None"),
        (
            lambda d: d.update(sources=[{"script": "latin", "name": str(i)} for i in range(51)]),
            "51 sources; at most 50",
        ),
        (lambda d: d.pop("sources"), "damaged"),
        (lambda d: d.pop("source"), "damaged"),
    ],
)
def test_damaged_sources_are_refused_with_a_sentence(damage, message):
    packed = json.loads(json.dumps(encode_calibration(MIXED, SOURCED, {}, minimum=20, by_source=True)))
    damage(packed["document"])
    with pytest.raises(ValueError, match=message):
        decode_calibration(packed | {"id": calibration_id(packed)})


def test_older_code_cannot_read_a_calibration_with_sources_as_one_without():
    packed = encode_calibration(MIXED, SOURCED, {}, minimum=20, by_source=True)
    assert packed["version"] == 3 and encode_calibration(MIXED, SOURCED, {}, minimum=20)["version"] == 2
    older = packed | {"version": 2}
    with pytest.raises(ValueError, match="names sources, and its version is 2, which has none"):
        decode_calibration(older | {"id": calibration_id(older)})
