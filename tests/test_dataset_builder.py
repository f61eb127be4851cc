"""Bad rows are named and set aside, roles never share a pair or a text, the folder opens offline."""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from datasets import get_dataset_config_names, load_dataset

from mvh.dataset_builder import build
from mvh.dataset_builder.__main__ import sentences
from mvh.dataset_builder.build import build_dataset, fingerprint
from mvh.dataset_builder.sampling import (
    ROLES,
    apportion,
    assign_roles,
    balanced_sample,
    merge_pairs,
    sample_training,
)
from mvh.dataset_builder.semeval import read_semeval
from mvh.normalization_mvh import STEPS
from mvh.segmentation_mvh import segment_text
from mvh.tests.conftest import SENTENCES, make_rows, make_text, write_jsonl

SPLITS = [*ROLES, "test"]
CORE, CONTEXT = 16, 4


def published_rows(documents: int) -> list[dict]:
    """Rows as SemEval publishes them: neither pair nor lang."""
    return [{key: row[key] for key in ("id", "label", "text", "model", "source")} for row in make_rows(documents)]


def pool(documents: int, seed: int = 0) -> list[dict]:
    rows = make_rows(documents, seed, words=(2, 3))
    roles = assign_roles((row["pair"] for row in rows), seed=0)
    return [
        row | {"id": str(row["id"]), "role": roles[row["pair"]], "fingerprint": fingerprint(row["text"])}
        for row in rows
    ]


def ids(rows: list) -> set[str]:
    return {row["id"] for row in rows}


# --- reading


def test_the_published_shape_gets_pair_and_language(tmp_path):
    rows = published_rows(4)
    rows[1]["source"], rows[2]["source"] = "arabic", "German"
    read = list(read_semeval(write_jsonl(tmp_path / "subtask.jsonl", rows), None, strict=True))
    assert [row["lang"] for row in read] == ["en", "ar", "de", "en"]
    assert [row["pair"] for row in read] == [f"subtask:{index}" for index in range(4)]
    assert all(list(row) == ["id", "text", "label", "model", "source", "lang", "pair"] for row in read)
    assert all(isinstance(row["id"], str) for row in read)


def test_own_pair_language_and_type_are_kept_and_other_fields_ignored(tmp_path):
    rows = [row | {"prompt": "ignored", "document_type": "fiction"} for row in make_rows(8)]
    read = list(read_semeval(write_jsonl(tmp_path / "a.jsonl", rows), None, strict=True))
    assert [(row["pair"], row["lang"]) for row in read] == [(row["pair"], row["lang"]) for row in rows]
    assert all("prompt" not in row and row["document_type"] == "fiction" for row in read)


GOOD = {"id": "x", "label": 1, "text": "Some text.", "model": "cohere", "source": "reddit"}
BAD_LINES: dict[str, tuple[bytes, str]] = {
    "not json": (b'{"id": 1, "label": 1,,}', "line"),
    "not an object": (b"[1, 2]", "line"),
    "not utf-8": (json.dumps(GOOD).encode().replace(b"Some", b"S\xff\xfe"), "line"),
    "deep nesting": (b"[" * 100_000, "line"),
    "label 2": (json.dumps(GOOD | {"label": 2}).encode(), "label"),
    "label true": (json.dumps(GOOD | {"label": True}).encode(), "label"),
    "label 1.0": (json.dumps(GOOD | {"label": 1.0}).encode(), "label"),
    "label string": (json.dumps(GOOD | {"label": "1"}).encode(), "label"),
    "label null": (json.dumps(GOOD | {"label": None}).encode(), "label"),
    "empty text": (json.dumps(GOOD | {"text": ""}).encode(), "text"),
    "blank text": (json.dumps(GOOD | {"text": " \t\n\u00a0"}).encode(), "text"),
    "number as text": (json.dumps(GOOD | {"text": 7}).encode(), "text"),
    "lone surrogate": (json.dumps(GOOD | {"text": "bad \ud800 text"}).encode(), "text"),
    "id null": (json.dumps(GOOD | {"id": None}).encode(), "id"),
    "id true": (json.dumps(GOOD | {"id": True}).encode(), "id"),
    "duplicate id": (json.dumps(GOOD | {"id": 0}).encode(), "id"),
    "duplicate id as string": (json.dumps(GOOD | {"id": "1"}).encode(), "id"),
    "unknown source": (json.dumps(GOOD | {"source": "my blog"}).encode(), "source"),
    "unknown document type": (json.dumps(GOOD | {"document_type": "poem"}).encode(), "document_type"),
    "lang null": (json.dumps(GOOD | {"lang": None}).encode(), "lang"),
    **{
        f"no {field}": (json.dumps({key: value for key, value in GOOD.items() if key != field}).encode(), field)
        for field in GOOD
    },
}


@pytest.mark.parametrize("kind", BAD_LINES)
def test_a_bad_row_is_set_aside_with_file_line_and_field(tmp_path, kind):
    line, field = BAD_LINES[kind]
    path = write_jsonl(tmp_path / "bad.jsonl", published_rows(4))
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([*lines[:2], line, *lines[2:]]) + b"\n")
    rejected: list[dict] = []
    assert [row["id"] for row in read_semeval(path, rejected.append, strict=False)] == ["0", "1", "2", "3"]
    (record,) = rejected
    assert (record["file"], record["line"], record["field"]) == ("bad.jsonl", 3, field)
    assert record["reason"]
    with pytest.raises(ValueError, match=rf"bad\.jsonl, line 3, field '{field}': .+\.$"):
        list(read_semeval(path, None, strict=True))


@pytest.mark.parametrize("cut", [1, 20, "inside a character"])
def test_a_file_cut_in_the_middle_loses_only_its_last_row(tmp_path, cut):
    rows = published_rows(5)
    rows[-1] = {"id": 4, "label": 1, "model": "x", "source": "russian", "text": "Дом"}
    content = write_jsonl(tmp_path / "whole.jsonl", rows).read_bytes()
    content = content[: content.rindex("м".encode()) + 1] if isinstance(cut, str) else content[: -cut - 1]
    path = tmp_path / "cut.jsonl"
    path.write_bytes(content)
    rejected: list[dict] = []
    assert len(list(read_semeval(path, rejected.append, strict=False))) == 4
    assert [(record["line"], record["field"]) for record in rejected] == [(5, "line")]
    assert "ends in the middle" in rejected[0]["reason"]


def test_byte_order_mark_crlf_blank_lines_and_missing_last_newline_are_fine(tmp_path):
    lines = write_jsonl(tmp_path / "a.jsonl", published_rows(3)).read_bytes().splitlines()
    (tmp_path / "b.jsonl").write_bytes(b"\xef\xbb\xbf" + b"\r\n\r\n".join(lines))
    assert len(list(read_semeval(tmp_path / "b.jsonl", None, strict=True))) == 3


# --- roles and samples


def test_roles_have_their_shares_and_depend_on_nothing_but_the_name():
    names = [f"pair-{index}" for index in range(20_000)]
    roles = assign_roles(names, seed=1)
    counts = Counter(roles.values())
    assert all(abs(counts[role] / len(names) - share) < 0.01 for role, share in ROLES.items())
    assert assign_roles(reversed(names[:50]), seed=1) == {name: roles[name] for name in names[:50]}
    assert assign_roles(names, seed=2) != roles


def test_pairs_that_share_a_text_are_one_group_even_through_a_third():
    groups = merge_pairs([("d", b"4"), ("c", b"1"), ("b", b"1"), ("b", b"2"), ("a", b"2"), ("c", b"3")])
    assert groups == {"a": "a", "b": "a", "c": "a", "d": "d"}


def test_fingerprints_see_through_case_spacing_and_punctuation_only():
    assert fingerprint("It 's  FINE .") == fingerprint("it's fine")
    assert fingerprint("It's fine") != fingerprint("It's fine 2")
    assert len({fingerprint(text) for text in [*SENTENCES, "!!!", "???"]}) == len(SENTENCES) + 2


def test_seats_are_shared_out_by_weight_within_capacity():
    weights, capacity = {"a": 80, "b": 19, "c": 1, "d": 5}, {"a": 100, "b": 5, "c": 9, "d": 0}
    assert apportion(40, weights, capacity) == {"a": 34, "b": 5, "c": 1, "d": 0}
    smaller = apportion(20, weights, capacity)
    assert smaller == {"a": 15, "b": 4, "c": 1, "d": 0}
    larger = apportion(21, weights, capacity)
    assert all(larger[key] >= smaller[key] for key in weights)
    with pytest.raises(ValueError, match="115 are wanted, but only 114 are available"):
        apportion(115, weights, capacity)
    with pytest.raises(ValueError, match="2 are wanted, but one for each of"):
        apportion(2, weights, capacity)


def test_a_sample_is_balanced_and_keeps_every_language():
    rows = pool(400)
    rows[6]["lang"] = "zh"  # one human document of a third language and no machine document
    assert rows[6]["label"] == 0
    sample = balanced_sample(rows, 40, seed=0)
    assert Counter(row["label"] for row in sample) == {0: 20, 1: 20}
    assert {(row["lang"], row["label"]) for row in sample} == {(row["lang"], row["label"]) for row in rows}
    by_lang = Counter(row["lang"] for row in sample)
    assert abs(by_lang["en"] - by_lang["ru"]) <= 2


def test_a_training_sample_thins_the_training_role_only():
    rows = pool(1000)
    (sample,) = sample_training([rows], 200, seed=0)
    cells = Counter((row["role"], row["label"]) for row in sample)
    assert cells["train", 0] == cells["train", 1] == 100
    for role in ROLES:
        if role != "train":
            assert ids(row for row in sample if row["role"] == role) == ids(row for row in rows if row["role"] == role)


def test_files_give_equal_parts_and_a_text_they_share_counts_once():
    first, second = ([row | {"fingerprint": (seed, row["id"])} for row in pool(400, seed)] for seed in (0, 1))
    for index in range(0, 400, 2):  # half of the second file's texts, and their pairs, are those of the first
        second[index] = first[index] | {"id": f"copy-{index}"}
    parts = sample_training([first, second], 80, seed=0)
    trained = [[row for row in part if row["role"] == "train"] for part in parts]
    assert [Counter(row["label"] for row in part) for part in trained] == [{0: 20, 1: 20}] * 2
    assert all({row["lang"] for row in part} == {"en", "ru"} for part in trained)
    for chosen in (parts, sample_training([first, second], None, seed=0)):
        texts = [row["fingerprint"] for part in chosen for row in part]
        assert len(set(texts)) == len(texts)
    assert len(texts) == 600
    with pytest.raises(ValueError, match="a multiple of 4 documents, got 42"):
        sample_training([first, second], 42, seed=0)


def test_samples_ignore_the_order_of_rows_nest_and_follow_the_seed():
    rows = pool(1000)
    shuffled = random.Random(5).sample(rows, len(rows))
    assert ids(balanced_sample(rows, 100, seed=3)) == ids(balanced_sample(shuffled, 100, seed=3))
    assert ids(balanced_sample(rows, 100, seed=3)) < ids(balanced_sample(rows, 200, seed=3))
    assert ids(balanced_sample(rows, 100, seed=3)) != ids(balanced_sample(rows, 100, seed=4))
    assert ids(balanced_sample(rows, 1000, seed=3)) == ids(rows)


def test_a_sample_that_cannot_be_drawn_says_what_is_wanted_and_available():
    with pytest.raises(ValueError, match="60 are wanted, but only 50 are available"):
        balanced_sample(pool(100), 120, seed=0)
    with pytest.raises(ValueError, match="even number.*got 7"):
        balanced_sample(pool(100), 7, seed=0)


# --- the folder


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """A training file with every kind of trouble in it, and a test file that shares a text and a pair with it."""
    folder = tmp_path_factory.mktemp("sources")
    train, test = make_rows(400, seed=0), make_rows(60, seed=1)
    copied = make_text(0, 30, seed=999)
    train[0]["text"], train[8]["text"] = copied, copied.upper() + " !"  # one text in two pairs
    test[0]["text"] = "  " + train[20]["text"].replace(" ", "  ")  # the same text but for spaces
    test[3]["pair"] = train[30]["pair"]
    train[50]["text"] = "\u200b\u200b"  # nothing is left after normalisation
    train[60]["label"] = 3
    return write_jsonl(folder / "train.jsonl", train), write_jsonl(folder / "dev.jsonl", test)


@pytest.fixture(scope="module")
def built(sources, tokenizer, tmp_path_factory):
    out = tmp_path_factory.mktemp("built") / "data"
    sizes = {"core_tokens": CORE, "context_tokens": CONTEXT}
    return build_dataset(sources[0], tokenizer, out, test=sources[1], test_documents=40, progress=False, **sizes)


@pytest.fixture(scope="module")
def opened(built, tmp_path_factory):
    cache = str(tmp_path_factory.mktemp("cache"))
    assert set(get_dataset_config_names(str(built))) == {"segments", "documents"}
    return load_dataset(str(built), cache_dir=cache), load_dataset(str(built), "documents", cache_dir=cache)


def test_the_folder_opens_as_a_dataset_of_segments_and_of_documents(opened):
    segments, documents = opened
    assert list(segments) == list(documents) == SPLITS
    assert segments["train"].features["label"].names == ["human", "machine"]
    assert {"document_id", "segment", "label", "input_ids", "length", "start", "end", "text"} < set(
        segments["train"].features
    )
    assert Counter(documents["test"]["label"]) == {0: 20, 1: 20}


def test_no_pair_and_no_text_sits_in_two_splits(opened):
    _, documents = opened
    for key in (lambda row: row["pair"], lambda row: fingerprint(row["text"])):
        places: dict = {}
        for split in SPLITS:
            for row in documents[split]:
                places.setdefault(key(row), set()).add(split)
        assert all(len(found) == 1 for found in places.values())


def test_segments_tile_their_document_inherit_its_label_and_are_the_detector_s_own(opened, tokenizer):
    segments, documents = opened
    for split in SPLITS:
        by_document: dict = {}
        for row in segments[split]:
            by_document.setdefault(row["document_id"], []).append(row)
        assert set(by_document) == set(documents[split]["id"])
        for document in documents[split]:
            rows = by_document[document["id"]]
            assert [row["segment"] for row in rows] == list(range(len(rows)))
            assert [row["start"] for row in rows] == [0, *(row["end"] for row in rows[:-1])]
            assert rows[-1]["end"] == len(document["text"])
            assert all(row["label"] == document["label"] and row["pair"] == document["pair"] for row in rows)
            cut = segment_text(document["text"], tokenizer, CORE, CONTEXT)
            assert [(row["input_ids"], row["core_tokens"], row["text"]) for row in rows] == [
                (part.input_ids, part.core_tokens, part.text) for part in cut
            ]
            assert all(row["length"] == len(row["input_ids"]) <= CORE + CONTEXT + 2 for row in rows)


def test_the_manifest_counts_what_the_folder_holds(built, opened, sources):
    manifest = json.loads((built / "manifest.json").read_text())
    for config, dataset in zip(("segments", "documents"), opened, strict=True):
        for split in SPLITS:
            counted = Counter((("human", "machine")[row["label"]], row["lang"]) for row in dataset[split])
            cells = manifest["counts"][config][split]
            assert counted == {(label, lang): n for label, by_lang in cells.items() for lang, n in by_lang.items()}
    for source, path in zip(("train_file", "test_file"), sources, strict=True):
        assert manifest["inputs"][source]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert manifest["inputs"]["train_file"]["duplicate_texts"] == 1
    assert manifest["train_rows_dropped_for_test"] == {"same_text": 1, "same_pair": 3}
    kept = sum(len(opened[1][split]) for split in ROLES)
    assert kept == manifest["inputs"]["train_file"]["valid_rows"] - 4 == 400 - 2 - 4


def test_rejected_rows_are_listed_and_counted(built):
    records = [json.loads(line) for line in (built / "rejected.jsonl").read_text().splitlines()]
    assert [(record["file"], record["line"], record["field"]) for record in records] == [
        ("train.jsonl", 51, "text"),
        ("train.jsonl", 61, "label"),
    ]
    counts = json.loads((built / "manifest.json").read_text())["rejected"]["train.jsonl"]
    assert counts == {record["reason"]: 1 for record in records}


def test_shuffled_rows_give_the_same_sample(sources, tokenizer, tmp_path):
    lines = sources[0].read_bytes().splitlines(keepends=True)
    (tmp_path / "other").mkdir()
    shuffled = tmp_path / "other" / "train.jsonl"
    shuffled.write_bytes(b"".join(random.Random(0).sample(lines, len(lines))))
    found = []
    for index, path in enumerate((sources[0], shuffled)):
        out = build_dataset(path, tokenizer, tmp_path / str(index), documents=120, progress=False)
        dataset = load_dataset(str(out), "documents", cache_dir=str(tmp_path / "cache"))
        found.append({split: set(dataset[split]["id"]) for split in ROLES})
    assert found[0] == found[1]
    assert len(found[0]["train"]) == 120


def test_several_files_are_one_dataset(tokenizer, tmp_path):
    """Ids may clash and texts be shared; no text is taken twice and no pair is in two roles, whatever its file."""
    first, second, dev = make_rows(300), make_rows(300, seed=1), make_rows(40, seed=2)
    for index in range(0, 100, 2):
        second[index] = first[index] | {
            "id": 1000 + index,
            "pair": f"other-{index}",
            "text": first[index]["text"].upper(),
        }
    second[151]["pair"] = first[150]["pair"]
    dev[0]["text"] = second[201]["text"]
    files = [write_jsonl(tmp_path / f"{name}.jsonl", rows) for name, rows in (("en", first), ("all", second))]
    test = write_jsonl(tmp_path / "dev.jsonl", dev)
    out = build_dataset(files, tokenizer, tmp_path / "out", test=test, documents=80, progress=False)
    dataset = load_dataset(str(out), "documents", cache_dir=str(tmp_path / "cache"))
    assert Counter(name.partition(":")[0] for name in dataset["train"]["id"]) == {"en": 40, "all": 40}
    rows = [(split, row) for split in ROLES for row in dataset[split]]
    assert len({row["id"] for _, row in rows}) == len(rows)
    assert len({fingerprint(row["text"]) for _, row in rows}) == len(rows)
    groups = merge_pairs((row["pair"], fingerprint(row["text"])) for row in [*first, *second, *dev])
    roles: dict = {}
    for split, row in rows:
        roles.setdefault(groups[row["pair"]], set()).add(split)
    assert all(len(found) == 1 for found in roles.values())
    manifest = json.loads((out / "manifest.json").read_text())
    assert list(manifest["inputs"]) == ["train_file", "train_file_2", "test_file"]
    assert [manifest["inputs"][name]["file"] for name in manifest["inputs"]] == ["en.jsonl", "all.jsonl", "dev.jsonl"]
    assert manifest["inputs"]["train_file_2"]["texts_of_earlier_files"] == 50
    assert manifest["train_rows_dropped_for_test"]["same_text"] == 1
    with pytest.raises(ValueError, match=r"called en\.jsonl and en\.jsonl"):
        build_dataset([files[0], files[0]], tokenizer, tmp_path / "twice")


def test_optional_steps_cut_as_detection_will(sources, tokenizer, tmp_path):
    steps = [*STEPS, "stop_words", "symbols"]
    path = write_jsonl(
        tmp_path / "train.jsonl", [*make_rows(80), make_rows(1)[0] | {"id": 99, "text": "It is what it is"}]
    )
    out = build_dataset(path, tokenizer, tmp_path / "out", core_tokens=CORE, context_tokens=CONTEXT, steps=steps)
    segments = load_dataset(str(out), split="train", cache_dir=str(tmp_path / "cache"))
    documents = load_dataset(str(out), "documents", split="train", cache_dir=str(tmp_path / "cache"))
    ids = {
        row["id"]: [part.input_ids for part in segment_text(row["text"], tokenizer, CORE, CONTEXT, steps)]
        for row in documents
    }
    found: dict = {}
    for row in segments:
        found.setdefault(row["document_id"], []).append(row["input_ids"])
    assert found == ids
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["normalizer"]["steps"] == steps
    assert manifest["rejected"]["train.jsonl"] == {"no token is left of the text": 1}
    with pytest.raises(ValueError, match="step 'stopwords' is unknown"):
        build_dataset(path, tokenizer, tmp_path / "other", steps=["stopwords"])


def test_a_test_file_that_cannot_be_balanced_is_taken_whole(sources, tokenizer, tmp_path):
    rows = [
        row | {"lang": ("de", "en", "fr", "ru")[n // 2 % 4]}
        for n, row in enumerate(make_rows(30, seed=9))
        if row["label"]
    ]
    rows = [*(row | {"id": f"human {row['id']}"} for row in make_rows(4, seed=8) if not row["label"]), *rows]
    test = write_jsonl(tmp_path / "test.jsonl", rows)
    out = build_dataset(sources[0], tokenizer, tmp_path / "out", test=test, progress=False)
    counts = json.loads((out / "manifest.json").read_text())["counts"]["documents"]["test"]
    assert sum(sum(languages.values()) for languages in counts.values()) == len(rows)


def test_rows_that_name_no_pair_are_counted_and_said(tokenizer, tmp_path):
    rows = published_rows(40)
    paired = [row | {"pair": f"prompt {row['id']}"} for row in rows]
    for name, given, count in (("bare", rows, 0), ("paired", paired, 40)):
        out = build_dataset(write_jsonl(tmp_path / f"{name}.jsonl", given), tokenizer, tmp_path / name, progress=False)
        manifest = json.loads((out / "manifest.json").read_text())
        assert manifest["rows_with_pair"] == {f"{name}.jsonl": count}
        assert any("None of its rows names a pair" in said for said in sentences(manifest)) == (count == 0)


def test_a_file_too_small_for_all_roles_still_opens(tokenizer, tmp_path):
    path = write_jsonl(tmp_path / "few.jsonl", make_rows(2))
    out = build_dataset(path, tokenizer, tmp_path / "out", progress=False)
    (dataset,) = load_dataset(str(out), cache_dir=str(tmp_path / "cache")).values()  # no files for the empty splits
    assert dataset["document_id"] == ["0", "1"]


def test_a_test_file_of_one_label_is_taken_whole(sources, tokenizer, tmp_path):
    humans = write_jsonl(tmp_path / "humans.jsonl", [row for row in make_rows(20, seed=7) if row["label"] == 0])
    out = build_dataset(sources[0], tokenizer, tmp_path / "out", test=humans, documents=120, progress=False)
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["counts"]["documents"]["test"] == {"human": {"en": 6, "ru": 4}, "machine": {}}


def test_strict_raises_and_leaves_nothing_behind(sources, tokenizer, tmp_path):
    with pytest.raises(ValueError, match=r"train\.jsonl, line 51, field 'text'"):
        build_dataset(sources[0], tokenizer, tmp_path / "out", strict=True, progress=False)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_use_a_missing_file_and_wrong_sizes_are_refused_at_once(sources, tokenizer, tmp_path, built):
    with pytest.raises(FileExistsError, match="exists already"):
        build_dataset(sources[0], tokenizer, built)
    with pytest.raises(FileNotFoundError, match=r"no file .*absent\.jsonl"):
        build_dataset(tmp_path / "absent.jsonl", tokenizer, tmp_path / "out")
    with pytest.raises(ValueError, match="context_tokens"):
        build_dataset(sources[0], tokenizer, tmp_path / "out", core_tokens=8, context_tokens=9)
    with pytest.raises(ValueError, match=r"both called train\.jsonl"):
        build_dataset(sources[0], tokenizer, tmp_path / "out", test=sources[0])


def test_a_file_that_changes_between_the_passes_is_noticed(sources, tokenizer, tmp_path, monkeypatch):
    path = tmp_path / "train.jsonl"
    path.write_bytes(sources[0].read_bytes())

    def roles_while_somebody_writes(*arguments: object) -> dict[str, int]:
        path.write_bytes(path.read_bytes() + b"\n")
        return cast_roles(*arguments)

    cast_roles = build.cast_roles
    monkeypatch.setattr(build, "cast_roles", roles_while_somebody_writes)
    with pytest.raises(ValueError, match=r"train\.jsonl changed while it was read"):
        build_dataset(path, tokenizer, tmp_path / "out", progress=False)
    assert [entry.name for entry in tmp_path.iterdir()] == ["train.jsonl"]


def test_the_command_builds_a_folder_and_says_what_is_in_it(sources, backbone_folder, tmp_path):
    files = ["--train", sources[0], "--test", sources[1], "--out", tmp_path / "out"]
    sizes = ["--tokenizer", backbone_folder, "--documents", 120, "--test-documents", 20]
    command = [str(part) for part in (sys.executable, "-m", "mvh.dataset_builder", "semeval", *files, *sizes)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "calibration_documents" in done.stdout
    assert "1 training rows were dropped because the test file holds their text" in done.stdout
    assert "2 rows rejected" in done.stdout
    assert "reading train.jsonl" in done.stderr
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    documents = manifest["counts"]["documents"]
    assert sum(sum(by_lang.values()) for by_lang in documents["train"].values()) == 120
    again = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert again.returncode == 1
    assert again.stderr.startswith("error: ") and "exists already" in again.stderr


def test_real_files_pass_without_a_bad_row(shared_data: Path):
    files = sorted((shared_data / "m4_like").glob("*_dev.jsonl"))
    assert files
    for path in files:
        assert {row["label"] for row in read_semeval(path, None, strict=True)} == {0, 1}
