"""Passages: joined, refined inside their neighbourhood, and true to a planted switch."""

import json
import math

import numpy as np
import pytest

from mvh.experiments import spans, splices
from mvh.normalization_mvh import normalize
from mvh.passages_mvh import block_margins, edge_segments, merge_passages, refine_passages, runs
from mvh.segmentation_mvh import BLOCK_TOKENS, segment_text

from .conftest import make_text

BLOCKS, WIDTH = 8, 160  # blocks per segment, characters per block


def make_segments(flags):
    return [
        {
            "start": index * BLOCKS * WIDTH,
            "end": (index + 1) * BLOCKS * WIDTH,
            "label": "machine" if flag else "human",
            "score": 0.9 if flag else 0.1,
            "adjusted_p_value": 0.01 * (index + 1) if flag else 0.5,
        }
        for index, flag in enumerate(flags)
    ]


def refine(flags, margins, **options):
    """Passages of a document of equal segments and blocks, as (start, end) in blocks; only what is needed is known."""
    margins = np.array(margins, dtype=float)
    near = edge_segments(flags)
    known = np.isin(np.arange(len(margins)) // BLOCKS, near)
    starts, tokens = np.arange(len(margins)) * WIDTH, np.full(len(margins), BLOCK_TOKENS)
    found = refine_passages(
        make_segments(flags), "machine", starts, tokens, np.where(known, margins, np.nan), **options
    )
    assert all(passage["start"] % WIDTH == passage["end"] % WIDTH == 0 for passage in found)
    return [(passage["start"] // WIDTH, passage["end"] // WIDTH) for passage in found]


def planted(n_segments, *passages):
    margins = np.full(n_segments * BLOCKS, -3.0)
    for start, end in passages:
        margins[start:end] = 3.0
    return margins


def test_runs_and_the_segments_a_second_look_reads():
    assert runs([0, 1, 1, 0, 1]) == [(1, 2), (4, 4)]
    assert runs([]) == [] and runs([False]) == [] and edge_segments([False] * 5) == []
    assert edge_segments([0, 0, 1, 1, 1, 1, 0, 0]) == [1, 2, 5, 6]
    assert edge_segments([1, 1, 1, 1]) == [0, 3]


def test_merged_passages_say_what_their_segments_say():
    segments = make_segments([1, 1, 0, 1])
    segments[1] |= {"score": 0.6, "end": segments[1]["start"]}  # a segment may have no characters of its own
    segments[2]["start"] = segments[1]["start"]
    first, second = merge_passages(segments, "machine")
    assert first == {
        "start": 0,
        "end": BLOCKS * WIDTH,
        "score": pytest.approx(0.9),
        "adjusted_p_value": pytest.approx(0.02),
    }
    assert second["start"] == segments[3]["start"]


@pytest.mark.parametrize("switch", range(8, 24))
def test_a_planted_switch_is_recovered_exactly(switch):
    """Human, then machine from block `switch` on, which lies in the first flagged segment or the one before it."""
    assert refine([0, 0, 1, 1], planted(4, (switch, 32))) == [(switch, 32)]
    mirrored = planted(4, (switch, 32))[::-1]
    assert refine([1, 1, 0, 0], mirrored) == [(0, 32 - switch)]


@pytest.mark.parametrize("switch", range(8, 24))
def test_a_second_look_at_a_planted_switch_finds_the_window_it_lies_in(switch):
    """A window half of the machine speaks for the passage, as THRESHOLD lies below zero."""
    truth = planted(4, (switch, 32))
    margins = block_margins(
        32, range(8, 32), lambda windows: np.array([truth[begin:end].mean() for begin, end in windows])
    )
    assert refine([0, 0, 1, 1], margins) == [(switch - switch % 2, 32)]


@pytest.mark.parametrize(("start", "end"), [(9, 18), (18, 21), (10, 30), (16, 24), (23, 25)])
def test_a_planted_passage_inside_human_text_is_recovered_exactly(start, end):
    assert refine([0, 0, 1, 0, 0], planted(5, (start, end))) == [(start, end)]


def test_a_document_flagged_throughout_stays_whole_unless_its_ends_speak_strongly():
    noisy = planted(3, (0, 24))
    noisy[0] = -2.0
    assert refine([1, 1, 1], noisy) == [(0, 24)]
    assert refine([1, 1, 1], planted(3, (5, 24))) == [(5, 24)]
    assert refine([1, 1, 1], planted(3, (5, 20)), end_cost=np.inf) == [(0, 24)]


def test_any_flags_and_any_margins_give_disjoint_passages_near_their_segments():
    rng = np.random.default_rng(0)
    for _ in range(300):
        flags = rng.random(rng.integers(1, 9)) < 0.5
        found = refine(flags, rng.normal(0, 3, len(flags) * BLOCKS), end_cost=rng.choice([0.0, 4.0]))
        grid = runs(flags)
        assert len(found) == len(grid)
        assert all(a_end < b_start for (_, a_end), (b_start, _) in zip(found, found[1:], strict=False))
        for (start, end), (first, last) in zip(found, grid, strict=True):
            assert max(first - 1, 0) * BLOCKS <= start < (first + 1) * BLOCKS  # a part of each flagged segment stays
            assert last * BLOCKS < end <= min(last + 2, len(flags)) * BLOCKS
            assert start < end


def test_score_and_p_value_are_those_of_the_flagged_segments():
    segments = make_segments([0, 1, 1])
    starts = np.arange(24) * WIDTH
    refined = refine_passages(segments, "machine", starts, np.full(24, BLOCK_TOKENS), planted(3, (10, 24)))
    merged = merge_passages(segments, "machine")
    keys = ("score", "adjusted_p_value")
    assert [[p[key] for key in keys] for p in refined] == [[p[key] for key in keys] for p in merged]
    assert refined[0]["start"] == 10 * WIDTH and merged[0]["start"] == 8 * WIDTH
    with pytest.raises(ValueError, match="24"):
        refine_passages(segments, "machine", starts, np.full(24, BLOCK_TOKENS), np.zeros(3))


def test_every_block_is_scored_beside_a_neighbour_whichever_others_are_wanted():
    asked = []

    def score(windows):
        asked.append(windows)
        return np.array([10.0 * begin for begin, _ in windows])

    assert block_margins(4, [0, 1, 2, 3], score).tolist() == [0, 0, 20, 20]
    assert asked == [[(0, 2), (2, 4)]]
    assert block_margins(5, [3, 4], score)[3:].tolist() == [20, 30], (
        "the last of an odd number beside the one before it"
    )
    for count in (1, 2, 3, 8, 9):
        whole = block_margins(count, range(count), score)
        windows = asked[-1]
        assert len(windows) == math.ceil(count / 2) and {end - begin for begin, end in windows} == {min(count, 2)}
        for block in range(count):
            alone = block_margins(count, [block], score)
            assert alone[block] == whole[block] and np.isnan(np.delete(alone, block)).all()
            assert asked[-1][0][0] <= block < asked[-1][0][1]
    calls = len(asked)
    assert np.isnan(block_margins(3, [], score)).all() and len(asked) == calls


def test_blocks_tile_the_core_and_know_their_place(tokenizer):
    text = "  " + make_text(1, 150, 3) + "\u200b" + make_text(0, 90, 4)
    segments = segment_text(text, tokenizer, core_tokens=80, context_tokens=8)
    assert len(segments) > 2
    for segment in segments:
        core = segment.input_ids[segment.core_start : segment.core_start + segment.core_tokens]
        blocks = [core[begin : begin + BLOCK_TOKENS] for begin in range(0, len(core), BLOCK_TOKENS)]
        assert len(core) == segment.core_tokens and len(blocks) == len(segment.block_starts)
        assert segment.block_starts[0] == segment.start and segment.block_starts == sorted(segment.block_starts)
        assert segment.block_starts[-1] < segment.end
        for start, block in zip(segment.block_starts[1:], blocks[1:], strict=True):
            assert tokenizer(text[start:], add_special_tokens=False)["input_ids"][0] == block[0]
        for offset, block in zip(segment.block_offsets, blocks, strict=True):
            assert tokenizer(segment.text[offset:], add_special_tokens=False)["input_ids"][: len(block)] == block
    cores = [segment.text[segment.block_offsets[0] :] for segment in segments]
    assert "".join(cores) == normalize(text).text.lstrip(), "the blocks of one core end where those of the next begin"


@pytest.mark.parametrize("kind", ["detector", "detector_of_characters"])
def test_a_window_over_a_whole_segment_scores_as_the_segment(kind, request):
    """The second look is the same model on the same ids: a window that is a whole text has the text's margin."""
    from transformers import pipeline

    detect = pipeline("mvh-detect", model=str(request.getfixturevalue(kind)), trust_remote_code=True)
    text = make_text(1, 25, 5)
    outputs = list(detect.preprocess(text))  # cores of 32 tokens: one block each
    assert len(outputs) == 1
    _, tokens, margins = detect.block_margins(outputs, [0])
    assert tokens.tolist() == [outputs[0]["core_tokens"]]
    assert margins[0] == pytest.approx(detect(text)["margin"], abs=1e-4)


def test_passages_of_the_pipeline_keep_to_the_text_and_the_grid_is_a_choice(detector):
    from transformers import pipeline

    detect = pipeline("mvh-detect", model=str(detector), trust_remote_code=True)
    text = make_text(0, 90, 6) + " " + make_text(1, 150, 7) + " " + make_text(0, 80, 8)
    refined, grid = (detect(text, correction="none", alpha=0.2, edges=edges) for edges in ("refined", "grid"))
    assert refined["segments"] == grid["segments"] and len(refined["passages"]) == len(grid["passages"]) > 0
    assert all(0 <= p["start"] < p["end"] <= len(text) for p in refined["passages"])
    assert grid["passages"] == merge_passages(grid["segments"], "machine")
    with pytest.raises(ValueError, match="edges"):
        detect(text, edges="fine")


def test_nothing_is_scored_twice_where_nothing_is_flagged(detector, monkeypatch):
    from transformers import pipeline

    detect = pipeline("mvh-detect", model=str(detector), trust_remote_code=True)
    monkeypatch.setattr(detect, "block_margins", lambda *_: pytest.fail("a second look at a human text"))
    assert detect(make_text(0, 200, 9), alpha=1e-6)["passages"] == []


# --- the experiment ---


def row(text, spans_):
    return {"id": "x", "text": text, "spans": spans_}


def test_the_boundary_is_counted_in_words():
    text = "one two  three four five"
    mixed = row(text, [[0, 9, 0], [9, len(text), 1]])
    assert spans.boundary_error(mixed, [{"start": 9, "end": 20}]) == (2, 2)
    assert spans.boundary_error(mixed, [{"start": 0, "end": 20}]) == (2, 0)
    assert spans.boundary_error(mixed, []) == (2, 5)
    assert spans.boundary_error(row(text, [[0, len(text), 1]]), []) is None


def test_character_and_segment_figures_of_a_known_case():
    rows = [row("a" * 100, [[0, 50, 0], [50, 100, 1]]), row("b" * 100, [[0, 100, 0]])]
    report = spans.edges_report(rows, [[{"start": 60, "end": 100}], [{"start": 0, "end": 10}]])
    assert report["precision"] == pytest.approx(0.8) and report["recall"] == pytest.approx(0.8)
    assert report["f1"] == pytest.approx(0.8) and report["boundary_documents"] == 1
    figures = spans.segments_report(
        [np.array([False, True]), np.array([False])], [np.array([True, True]), np.array([True])]
    )
    assert figures["fdr"] == pytest.approx(0.75) and figures["power"] == 1.0


def test_spans_that_do_not_tile_the_text_are_refused(tmp_path):
    path = tmp_path / "spans.jsonl"
    path.write_text(json.dumps(row("abcdef", [[0, 3, 0], [4, 6, 1]])) + "\n")
    with pytest.raises(ValueError, match="do not tile"):
        spans.read_spans(path, None)
    path.write_text(json.dumps(row("abcdef", [[0, 6, 2]])) + "\n")
    with pytest.raises(ValueError, match="0 or 1"):
        spans.read_spans(path, None)


def test_the_whole_table_on_a_tiny_detector(detector, tmp_path):
    rows = []
    for index in range(4):
        human, machine = make_text(0, 90, 20 + index) + " ", make_text(1, 150, 40 + index)
        text = human + machine
        rows.append(row(text, [[0, len(human), 0], [len(human), len(text), 1]]) | {"id": str(index)})
    path, out = tmp_path / "mixed.jsonl", tmp_path / "results" / "spans.json"
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    spans.main([str(detector), "--data", str(path), "--out", str(out), "--alpha", "0.2"])
    file = json.loads(out.read_text())["files"]["mixed.jsonl"]
    assert set(file["corrections"]) == set(spans.CORRECTIONS) and file["documents"] == 4
    for figures in file["corrections"].values():
        assert figures["grid"]["boundary_documents"] == 4 and 0 <= figures["fdr"] <= 1
        assert sum(figures["verdicts"].values()) == 4
    assert "| calibrated |" in out.with_suffix(".md").read_text()


def test_splices_tile_and_come_out_the_same_again():
    rows = [{"text": make_text(i % 2, 60, i), "label": i % 2, "source": "s"} for i in range(20)]
    documents = splices.make_splices(rows, mixed=8, whole=2)
    assert documents == splices.make_splices(rows, mixed=8, whole=2)
    for document in documents:
        bounds = [0, *(end for _, end, _ in document["spans"])]
        assert [start for start, _, _ in document["spans"]] == bounds[:-1] and bounds[-1] == len(document["text"])
    assert [label for _, _, label in documents[2]["spans"]] == [0, 1, 0]
    assert all(document["spans"] == [[0, len(document["text"]), 1]] for document in documents[8:])
