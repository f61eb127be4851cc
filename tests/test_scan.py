"""Scanning a corpus: every row comes back, in order, once; what is bad costs itself; what is kept is what BH over all keeps."""

import bz2
import errno
import gzip
import json
import lzma
import os
import pickle
import re
from collections import Counter
from copy import deepcopy
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytest.importorskip("datatrove", reason="a scan needs datatrove: pip install 'mvh[scan]'")

from mvh.scan import Scorer
from mvh.scan.__main__ import main
from mvh.scan.decide import Counts, is_flagged, read_counts, together
from mvh.scan.page import render
from mvh.scan.plan import MOST_OF_COMPRESSED, Source, make_plan, read_plan
from mvh.scan.rows import is_damage, read_json_lines, read_parquet
from mvh.scan.scorer import COLUMNS, _detector
from mvh.scan.shards import read_shard, shard_file
from mvh.scan.steps import is_kept, statistics
from mvh.voting_mvh import screen

from .conftest import SENTENCES, make_rows, write_jsonl

BAD = ["not json", "[1, 2]", '{"other": 1}', '{"text": null}', '{"text": "  "}', '{"text": "\\ud800"}']


def corpus(path, documents=30, bad=True):
    """Rows of nonsense, one in Russian, and six bad ones in the middle."""
    rows = [{"id": row["id"], "label": row["label"], "text": row["text"]} for row in make_rows(documents, seed=5)]
    rows.append({"id": "ru", "label": 0, "text": SENTENCES[0] * 20})
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    lines[7:7] = [*BAD, ""] if bad else []
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def scan(*words):
    return main([str(word) for word in words])


def scored(folder):
    """All rows of a scan in order, with the number of its shards."""
    shards = len(read_plan(folder).shards)
    return [row for index in range(shards) for row in read_shard(folder / "scored", index)[1]], shards


def report(folder):
    return json.loads((folder / "statistics.json").read_text())


@pytest.fixture(scope="module")
def scanned(tmp_path_factory, detector):
    """A finished scan of the corpus with bad rows in shards of ten, keeping human text."""
    folder = tmp_path_factory.mktemp("scan")
    words = (corpus(folder / "posts.jsonl"), folder / "out", "--model", detector, "--shard-rows", 10)
    assert scan(*words, "--keep", "human", "--fdr", "0.2") == 0
    return folder / "out"


# --- the Scorer ---


def test_a_scorer_travels_as_a_path_and_loads_once(detector):
    scorer = Scorer(str(detector), {"alpha": 0.1})
    assert len(pickle.dumps(scorer)) < 1000
    _detector.cache_clear()
    texts = [row["text"] for row in make_rows(4)]
    copies = [scorer, deepcopy(scorer), pickle.loads(pickle.dumps(scorer))]
    found = [copy([*texts, "  "]) for copy in copies]
    assert found[0] == found[1] == found[2]
    assert _detector.cache_info().misses == 1
    assert [set(row) for row in found[0]] == [set(COLUMNS)] * 5
    assert "blank" in found[0][-1]["error"] and found[0][-1]["label"] is None
    from mvh.detector import load_detector

    direct = load_detector(detector)(texts, alpha=0.1)
    assert [row["p_value"] for row in found[0][:4]] == [result["p_value"] for result in direct]
    assert json.loads(json.dumps(found[0])) == found[0]


def test_datasets_map(detector):
    """The README's example."""
    from datasets import Dataset

    scorer = Scorer(str(detector))
    rows = Dataset.from_list([{"text": row["text"]} for row in make_rows(6)])
    mapped = rows.map(lambda batch: scorer.columns(batch["text"]), batched=True, batch_size=4)
    assert mapped["mvh_label"][:] == [row["label"] for row in scorer(rows["text"][:])]
    assert "mvh_passages" in mapped.column_names


# --- the decision over all documents ---


def test_benjamini_hochberg_from_counts_is_the_one_over_the_list():
    rng = np.random.default_rng(0)
    for trial in range(200):
        n = int(rng.integers(1, 60))
        values = np.ceil(rng.random(n) ** rng.choice([1, 3, 8]) * 21) / 21  # ranks among 20 documents, many ties
        fdr = float(rng.choice([0.01, 0.05, 0.1, 0.3]))
        undecided = int(rng.integers(0, 5))
        batch = together(Counter(values.tolist()), n + undecided, fdr)
        expected = screen([*values, *[1.0] * undecided], fdr)["flagged_together"]
        rows = [{"label": "machine", "p_value": p, "doubts": [], "error": None} for p in values.tolist()]
        assert [i for i, row in enumerate(rows) if is_flagged(row, batch["threshold"])] == expected, trial
        assert batch["flagged"] == len(expected)
    assert together({}, 10, 0.05) == {"threshold": None, "flagged": 0, "needed": None}


def test_counts_survive_json_and_add_up():
    counts = Counts(model={"name": "a"})
    found = {"label": "human", "score": 1.0, "p_value": 1 / 3, "group": "latin", "doubts": [], "error": None}
    for label, error in (("human", None), ("uncertain", None), (None, "why")):
        doubts = ["too long"] if label == "uncertain" else []
        counts.add({**found, "label": label, "doubts": doubts, "error": error}, 10, "x:1")
    again = Counts.from_json(json.loads(json.dumps(counts.to_json())))
    assert again == counts and again.p_values == {1 / 3: 1}
    total = counts + again
    assert (total.documents, total.scored, total.failed, sum(total.histogram)) == (6, 4, 2, 4)
    with pytest.raises(ValueError, match="scored by"):
        _ = counts + Counts(model={"name": "b"})


# --- the journey ---


def test_every_row_comes_back_in_order_and_counts_add_up(scanned):
    rows, shards = scored(scanned)
    found = report(scanned)
    assert shards == 4 and len(rows) == 37 == found["documents"]
    assert found["scored"] + found["failed"] == found["documents"] and found["failed"] == len(BAD)
    assert sum(found["labels"].values()) == found["scored"]
    assert [row["id"] for row in rows if "id" in row] == [*range(30), "ru"]
    failed = [row["mvh_error"] for row in rows if row["mvh_error"]]
    said = ("no JSON (", "no JSON object but list", "no 'text'", "but NoneType", "blank", "lone surrogate")
    assert all(words in why for words, why in zip(said, failed, strict=True))
    assert failed[0].startswith("posts.jsonl: Row 8 ")
    assert all(row["mvh_label"] is None for row in rows if row["mvh_error"])
    assert {row["mvh_label"] for row in rows if row["mvh_error"] is None} <= {"human", "machine", "uncertain"}
    assert any(row["mvh_passages"] for row in rows)
    assert not list(scanned.glob("**/*.part")) and not list(scanned.glob("**/*.unfinished-*"))


def test_what_is_kept_is_what_the_detector_keeps_together(scanned):
    """The uncertain stay: a text in a script without calibration is not removed."""
    rows, shards = scored(scanned)
    judged = [1.0 if row["mvh_label"] in (None, "uncertain") else row["mvh_p_value"] for row in rows]
    flagged = set(screen(judged, 0.2)["flagged_together"])
    assert flagged and len(flagged) < 30
    expected = [row for index, row in enumerate(rows) if index not in flagged and row["mvh_error"] is None]
    out = scanned / "kept_human_fdr_0.2"
    kept = [row for index in range(shards) if list(out.glob(f"{index:05d}.*")) for row in read_shard(out, index)[1]]
    assert kept == expected and kept[-1]["id"] == "ru" and kept[-1]["mvh_label"] == "uncertain"
    assert "cyrillic" in kept[-1]["mvh_warnings"][0]
    assert report(scanned)["kept"] == len(kept)
    assert report(scanned)["together"]["flagged"] == len(flagged)


def test_another_rate_needs_no_second_scoring(scanned, detector):
    before = {path: path.stat().st_mtime_ns for path in (scanned / "scored").iterdir()}
    words = (scanned.parent / "posts.jsonl", scanned, "--model", detector, "--shard-rows", 10)
    assert scan(*words, "--keep", "machine", "--fdr", "0.4") == 0
    assert {path: path.stat().st_mtime_ns for path in (scanned / "scored").iterdir()} == before
    assert report(scanned)["keep"] == "machine" and report(scanned)["kept"] == report(scanned)["together"]["flagged"]
    assert scan(*words, "--keep", "human", "--fdr", "0.2") == 0  # as the other tests expect it


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz", ".zst"])
def test_compressed_input_gives_the_same_rows(tmp_path, detector, scanned, suffix):
    plain = corpus(tmp_path / "posts.jsonl")
    packed = tmp_path / f"posts.jsonl{suffix}"
    if suffix == ".zst":
        half = len(plain.read_bytes()) // 2
        frames = (plain.read_bytes()[:half], plain.read_bytes()[half:])
        packed.write_bytes(b"".join(pa.compress(frame, "zstd", asbytes=True) for frame in frames))
    else:
        packed.write_bytes({".gz": gzip, ".bz2": bz2, ".xz": lzma}[suffix].compress(plain.read_bytes()))
    assert scan(packed, tmp_path / "out", "--model", detector, "--shard-rows", 10) == 0
    rows, expected = scored(tmp_path / "out")[0], scored(scanned)[0]
    without = [{**row, "mvh_error": (row["mvh_error"] or "").replace(suffix, "") or None} for row in rows]
    assert without == expected


def typed_table(documents=8):
    rows = make_rows(documents, seed=2)
    return pa.table(
        {
            "body": [row["text"] for row in rows],
            "when": pa.array([datetime(2020, 1, 1 + index) for index in range(documents)], pa.timestamp("ms")),
            "tags": pa.array([["a"], []] * (documents // 2), pa.list_(pa.string())),
            "mvh_label": [1] * documents,  # of an earlier scan, and of another type
        }
    )


def test_parquet_keeps_its_types(tmp_path, detector):
    table = typed_table()
    pq.write_table(table, tmp_path / "posts.parquet", row_group_size=3)
    words = ("--model", detector, "--text-column", "body", "--shard-rows", 5, "--keep", "human")
    assert scan(tmp_path / "posts.parquet", tmp_path / "out", *words) == 0
    out = pa.concat_tables([pq.read_table(path) for path in sorted((tmp_path / "out" / "scored").glob("*.parquet"))])
    assert out.num_rows == 8 and out.select(["body", "when", "tags"]) == table.select(["body", "when", "tags"])
    assert out.schema.field("mvh_label").type == pa.string()
    assert None not in out["mvh_p_value"].to_pylist()


def test_a_dataset_and_a_folder(tmp_path, detector):
    """A dataset opens by load_dataset as one of the Hub does; a folder is read in the order of its names."""
    data = tmp_path / "data"
    data.mkdir()
    pq.write_table(typed_table(4), data / "train-00000-of-00001.parquet")
    words = ("--model", detector, "--text-column", "body")
    from mvh.scan.plan import Plan
    from mvh.scan.rows import open_dataset

    dataset = open_dataset(str(data), None, "train")
    plan = make_plan({"text_column": "body"}, [Source(str(data), "dataset", len(dataset), None, "train")], 3, None)
    assert isinstance(plan, Plan) and plan.documents == 4
    rows = [row for index in range(len(plan.shards)) for row in plan.read(index)]
    assert [row.text for row in rows] == typed_table(4)["body"].to_pylist()
    assert plan.schema(0).field("when").type == pa.timestamp("ms")

    write_jsonl(data / "b.jsonl", [{"body": row["text"]} for row in make_rows(2)])
    (data / "broken.parquet").write_bytes(b"PAR1 and no more")
    (data / "notes.txt").write_text("not read")
    (data / ".hidden.jsonl").write_text("not read")
    assert scan(data, tmp_path / "out", *words) == 0
    rows, shards = scored(tmp_path / "out")
    assert shards == 3 and len(rows) == 7 and report(tmp_path / "out")["failed"] == 1
    assert "broken.parquet: broken.parquet is damaged" in rows[2]["mvh_error"]
    assert (tmp_path / "out" / "scored" / "00002.parquet").exists()


def test_a_truncated_file_costs_only_what_is_missing(tmp_path, detector):
    packed = gzip.compress(corpus(tmp_path / "posts.jsonl", bad=False).read_bytes())
    (tmp_path / "cut.jsonl.gz").write_bytes(packed[: len(packed) * 2 // 3])
    assert scan(tmp_path / "cut.jsonl.gz", tmp_path / "out", "--model", detector, "--shard-rows", 7) == 0
    rows, _ = scored(tmp_path / "out")
    assert 3 < len(rows) < 31 and report(tmp_path / "out")["failed"] >= 1
    assert "is damaged from here on" in rows[-1]["mvh_error"]
    assert [row["id"] for row in rows[:-1] if "id" in row] == list(range(len(rows) - 1))


def test_zstd_is_read_across_frames_and_a_cut_is_noticed(tmp_path):
    """fsspec's own reader ends with the first frame, and where a file was cut off it says nothing."""
    rng = np.random.default_rng(0)
    frames = [b"".join(b'{"text": "%s"}\n' % rng.bytes(200).hex().encode() for _ in range(500)) for _ in range(4)]
    packed = b"".join(pa.compress(frame, "zstd", asbytes=True) for frame in frames)
    (tmp_path / "whole.jsonl.zst").write_bytes(packed)
    (tmp_path / "cut.jsonl.zst").write_bytes(packed[: len(packed) * 2 // 3])
    rows = list(read_json_lines(str(tmp_path / "whole.jsonl.zst"), "text", 0, None, None))
    assert len(rows) == 2000 and not any(row.problem for row in rows)
    rows = list(read_json_lines(str(tmp_path / "cut.jsonl.zst"), "text", 0, None, None))
    assert 500 < len(rows) < 1400 and "damaged from here on" in rows[-1].problem
    assert not any(row.problem for row in rows[:-1])


def test_a_network_that_fails_is_no_damage():
    """It would be written down as rows that cannot be read, when trying again may help."""
    assert is_damage(EOFError()) and is_damage(gzip.BadGzipFile()) and is_damage(OSError("Invalid data stream"))
    assert not is_damage(OSError(errno.EIO, "I/O error")) and not is_damage(ConnectionResetError("reset"))
    assert not is_damage(FileNotFoundError("gone")) and not is_damage(MemoryError())


def test_shards_grow_with_the_corpus_and_compressed_files_are_cut_into_few(tmp_path, monkeypatch):
    plain = write_jsonl(tmp_path / "a.jsonl", [{"text": "x"}] * 700)
    packed = tmp_path / "b.jsonl.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    monkeypatch.setattr("mvh.scan.plan.SHARD_ROWS", 5)
    for path in (plain, packed):
        plan = make_plan({"text_column": "text"}, [Source(str(path), "jsonl", path.stat().st_size)], None, None)
        assert plan.documents == 700
        assert len(plan.shards) == 140 if path == plain else len(plan.shards) <= MOST_OF_COMPRESSED
        numbers = [row.number for index in range(len(plan.shards)) for row in plan.read(index)]
        assert numbers == list(range(1, 701))
    limited = make_plan({"text_column": "text"}, plan.sources * 2, 300, 800)
    assert limited.documents == 800
    uncounted = make_plan({"text_column": "text"}, plan.sources, 0, None)
    assert uncounted.documents is None and len(list(uncounted.read(0))) == 700


# --- going on, and refusing to ---


def test_a_full_disk_loses_and_repeats_nothing(tmp_path, detector, scanned, monkeypatch, capsys):
    """The write that fails is one sentence; what was finished stays; the same command ends with the same bytes."""
    words = (corpus(tmp_path / "posts.jsonl"), tmp_path / "out", "--model", detector, "--shard-rows", 10)
    synced, really = [], os.fsync

    def fsync(number):
        synced.append(number)
        if len(synced) == 6:  # the plan, the rows and counts of two shards, the rows of the third
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        really(number)

    monkeypatch.setattr(os, "fsync", fsync)
    assert scan(*words) == 1
    assert re.fullmatch(r"error: \S+00002.jsonl.gz: No space left on device.\n", capsys.readouterr().err)
    monkeypatch.undo()
    finished = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "scored").iterdir()}
    assert sorted(path.name for path in finished) == ["00000.jsonl.gz", "00001.jsonl.gz"]
    (tmp_path / "out" / "scored" / "00002.jsonl.gz.unfinished-00000099").write_text("of a worker that was killed")
    assert scan(*words) == 0
    for path in sorted((tmp_path / "out" / "scored").iterdir()):
        assert path.read_bytes() == (scanned / "scored" / path.name).read_bytes()
        assert finished.get(path, path.stat().st_mtime_ns) == path.stat().st_mtime_ns
    assert report(tmp_path / "out")["documents"] == 37
    assert sorted(path.name for path in (tmp_path / "out" / "scored").iterdir())[-1] == "00003.jsonl.gz"


def test_a_missing_shard_is_noticed(tmp_path):
    with pytest.raises(ValueError, match="Shard 00000 has not been scored"):
        read_counts([tmp_path / "counts" / "00000.json"])


def test_refusals_are_sentences(tmp_path, detector, scanned, capsys):
    posts = scanned.parent / "posts.jsonl"
    other = corpus(tmp_path / "posts.jsonl", documents=10)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    (tmp_path / "empty.jsonl").write_text("\n\n")
    cases = [
        ((posts, scanned, "--alpha", "0.01"), "holds a scan with alpha None and this one has 0.01"),
        ((posts, scanned, "--model", "else/where"), "holds a scan with model"),
        ((posts, tmp_path / "full"), "is not empty and holds no scan"),
        ((other, tmp_path / "o1", "--text-column", "body"), "has no column 'body' and has ['id', 'label', 'text'"),
        ((tmp_path / "full", tmp_path / "o2"), "holds nothing to scan: 1 files"),
        ((tmp_path / "empty.jsonl", tmp_path / "o3"), "holds no rows: 1 files"),
        ((tmp_path / "nowhere.jsonl", tmp_path / "o4"), "There is no file"),
        ((posts, tmp_path / "o5", "--model", str(tmp_path / "none")), "There is no checkpoint folder"),
    ]
    for words, said in cases:
        model = () if "--model" in words else ("--model", detector)
        assert scan(*words, *model) == 1, said
        assert said in (found := capsys.readouterr().err) and found.startswith("error: "), found
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty.jsonl", "full", "o5", "posts.jsonl"]
    with posts.open("a") as file:
        file.write('{"text": "more"}\n')
    assert scan(posts, scanned, "--model", detector) == 1
    assert "and INPUT now has 1 of" in capsys.readouterr().err
    posts.write_bytes(posts.read_bytes()[:-17])
    for words in (["a", "b", "--alpha", "2"], ["a", "b", "--executor", "slurm"], ["a", "b", "--fdr", "0.1"], ["a"]):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == 2


def test_nothing_is_kept_without_p_values_even_of_what_was_scored_before(tmp_path, detector, capsys):
    uncalibrated = detector.parent / "run" / "model"
    words = (corpus(tmp_path / "posts.jsonl"), tmp_path / "out", "--model", uncalibrated)
    assert scan(*words) == 0
    capsys.readouterr()
    assert scan(*words, "--keep", "human") == 1
    assert "carries no calibration, so no document can be kept at a stated rate" in capsys.readouterr().err
    assert not list((tmp_path / "out").glob("kept_*/*"))


def test_two_scans_in_one_folder(tmp_path, detector, capsys):
    from mvh.sole_use import sole_use

    with sole_use(tmp_path / "out", "scan"):
        assert scan(corpus(tmp_path / "posts.jsonl"), tmp_path / "out", "--model", detector) == 1
    assert "Another scan (process" in capsys.readouterr().err


def test_no_document_could_be_scored(tmp_path, detector, capsys):
    path = write_jsonl(tmp_path / "blank.jsonl", [{"text": " "}] * 3)
    assert scan(path, tmp_path / "out", "--model", detector) == 1
    assert "3 documents: 0 scored, 3 failed." in capsys.readouterr().out


# --- the page, and the parts in other people's pipelines ---


def test_the_page_is_escaped_and_loads_nothing(scanned):
    evil = "<script>alert(1)</script>\"'><img src=x>"
    counts = Counts(model={"name": evil, "calibration": None, "alpha": 0.05, "labels": [evil, "machine"]})
    counts.add({"label": evil, "score": 0.5, "p_value": 0.5, "group": evil, "doubts": [], "error": None}, 3, "x")
    counts.add({"label": None, "score": None, "p_value": None, "group": None, "doubts": [], "error": evil}, 0, evil)
    for page in (
        render({**statistics(counts, 0.05, "human"), "input": evil, "shards": 1}),
        (scanned / "index.html").read_text(encoding="utf-8"),
    ):
        assert "<script" not in page and "<img" not in page and "http" not in page.replace("http-equiv", "")
        assert page.count("<svg") == 2 and page.count("<rect") == 40


def test_score_is_a_step_of_any_datatrove_pipeline(tmp_path, detector):
    pytest.importorskip("orjson", reason="datatrove's JSON reader needs orjson")
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers import JsonlWriter

    from mvh.scan.steps import Score

    (tmp_path / "in").mkdir()
    write_jsonl(tmp_path / "in" / "a.jsonl", make_rows(6))
    steps = [JsonlReader(str(tmp_path / "in")), Score(Scorer(str(detector))), JsonlWriter(str(tmp_path / "out"))]
    LocalPipelineExecutor(steps, logging_dir=str(tmp_path / "logs")).run()
    rows = list(read_shard(tmp_path / "out", 0)[1])
    assert len(rows) == 6 and {row["metadata"]["mvh_label"] for row in rows} <= {"human", "machine", "uncertain"}


def test_rows_make_the_same_bytes(tmp_path):
    for folder in ("a", "b"):
        with shard_file(tmp_path / folder, 0, None) as write:
            write({"text": "é", "other": "\ud800"})
    assert (tmp_path / "a" / "00000.jsonl.gz").read_bytes() == (tmp_path / "b" / "00000.jsonl.gz").read_bytes()
    assert list(read_shard(tmp_path / "a", 0)[1]) == [{"text": "é", "other": "\ud800"}]


def test_a_damaged_row_group_loses_its_own_rows_only(tmp_path):
    path = tmp_path / "x.parquet"
    texts = [f"text {number} " + "é" * 50 for number in range(30)]
    pq.write_table(pa.table({"text": texts}), path, row_group_size=10, compression="none", use_dictionary=False)
    start = pq.ParquetFile(path).metadata.row_group(1).column(0).data_page_offset
    content = bytearray(path.read_bytes())
    content[start : start + 40] = b"\xff" * 40
    path.write_bytes(bytes(content))
    rows = list(read_parquet(str(path), "text", 5, 20, None))
    assert [row.number for row in rows] == list(range(6, 26)), "every row that was counted beforehand"
    assert [row.text for row in rows[:5]] == texts[5:10] and [row.text for row in rows[15:]] == texts[20:25]
    assert all("row group 1 that holds this row is damaged" in row.problem for row in rows[5:15])


def test_rows_of_an_older_scan_without_doubts_go_by_their_label():
    row = {"mvh_label": "uncertain", "mvh_p_value": 0.001, "mvh_error": None}
    assert is_kept(row, 0.01, "human") and not is_kept(row, 0.01, "machine")
    assert is_kept(row | {"mvh_label": "machine"}, 0.01, "machine")
