"""The toxic comments: read as published, split without leaks, and a folder that training and calibration take as it is."""

from __future__ import annotations

import csv
import hashlib
import json
import random
import shlex
from collections import Counter
from pathlib import Path

import pytest
from datasets import load_dataset
from transformers import pipeline

from mvh import calibrate, train
from mvh.dataset_builder.__main__ import main, parser
from mvh.dataset_builder.build import fingerprint
from mvh.dataset_builder.toxic import article_preprocess, read_toxic, split_toxic
from mvh.dataset_builder.toxic_folder import SPLITS, build_toxic
from mvh.tests.conftest import make_text

CORE, CONTEXT = 16, 4


def write_csv(path: Path, rows: list, header: tuple = ("comment", "toxic")) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def comments(number: int, seed: int = 0) -> list[tuple[str, str]]:
    """A third of them toxic, most with a newline at their end, as published."""
    lengths = random.Random(seed)
    return [
        (make_text(index % 3 == 0, lengths.randint(8, 40), seed * 10_000 + index) + "\n" * (index % 5 > 0), label)
        for index, label in enumerate(("1.0", "0.0", "0.0") * (number // 3))
    ]


def labels(rows: list) -> Counter:
    return Counter(row["label"] for row in rows)


# --- reading


def test_the_file_is_read_as_published(tmp_path):
    awkward = 'Он сказал: "нет", и ушёл,\nхлопнув дверью'
    rows = [("Собаке - собачья смерть\n", "1.0"), (awkward + "\n", "0.0"), ("ж" * 7_403 + "\n", "0"), ("да-да", "1")]
    read = read_toxic(write_csv(tmp_path / "labeled.csv", rows), strict=True)
    assert [row["text"] for row in read] == ["Собаке - собачья смерть", awkward, "ж" * 7_403, "да-да"]
    assert [row["label"] for row in read] == [1, 0, 0, 1]
    assert [row["id"] for row in read] == ["labeled:2", "labeled:4", "labeled:7", "labeled:9"]  # where each begins
    assert all(list(row) == ["id", "text", "label", "model", "source", "lang", "pair"] for row in read)
    assert {(row["model"], row["lang"]) for row in read} == {("human", "ru")}


def test_a_repeated_comment_is_left_out_and_counted_whatever_its_newline_and_label(tmp_path):
    rows = [("раз\n", "1.0"), ("два", "0.0"), ("раз", "0.0"), ("два\n", "0.0"), ("Раз!", "1.0")]
    counts: Counter[str] = Counter()
    read = read_toxic(write_csv(tmp_path / "a.csv", rows), strict=True, counts=counts)
    assert [(row["text"], row["label"]) for row in read] == [("раз", 1), ("два", 0), ("Раз!", 1)]
    assert counts == {"rows": 5, "toxic": 2, "duplicates": 2, "both_labels": 1, "rejected": 0}
    assert read[0]["pair"] == read[2]["pair"] != read[1]["pair"]


def test_comments_that_differ_in_nicknames_and_links_alone_are_a_pair(tmp_path):
    rows = [("@vasya ты дурак! http://a.ru/1", "1.0"), ("@petya ты дурак http://b.ru/2", "1.0"), ("ты дурак", "1.0")]
    pairs = [row["pair"] for row in read_toxic(write_csv(tmp_path / "a.csv", rows))]
    assert pairs[0] == pairs[1] != pairs[2]


BAD_ROWS = {
    **{f"label {label!r}": (("текст", label), "toxic") for label in ("2", "0.5", "-1", "yes", "", "nan", "inf")},
    "empty comment": (("", "1.0"), "comment"),
    "blank comment": ((" \n\u00a0\n", "0.0"), "comment"),
    "only invisible characters": (("\u200b\u200b", "0.0"), "comment"),
    "too few cells": (("текст",), "line"),
    "too many cells": (("текст", "1.0", "еще"), "line"),
}


@pytest.mark.parametrize("kind", BAD_ROWS)
def test_a_bad_row_is_set_aside_with_its_line(tmp_path, kind):
    bad, field = BAD_ROWS[kind]
    path = write_csv(tmp_path / "bad.csv", [("две\nстроки", "0.0"), bad, ("другой", "1.0")])
    rejected: list[dict] = []
    assert [row["label"] for row in read_toxic(path, rejected.append)] == [0, 1]
    assert [(record["file"], record["line"], record["field"]) for record in rejected] == [("bad.csv", 4, field)]
    with pytest.raises(ValueError, match=rf"bad\.csv, line 4, field '{field}': .+\.$"):
        read_toxic(path, strict=True)


def test_a_file_that_is_no_such_table_is_refused_with_what_it_holds(tmp_path):
    path = tmp_path / "a.csv"
    write_csv(path, [("x", "1.0")], header=("text", "toxic"))
    with pytest.raises(ValueError, match=r"a\.csv lacks the column comment; its header has text, toxic\."):
        read_toxic(path)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="lacks the column comment, toxic; its header has nothing"):
        read_toxic(path)
    path.write_bytes("comment,toxic\nпривет,1.0\n".encode("cp1251"))
    with pytest.raises(ValueError, match="is not UTF-8"):
        read_toxic(path)
    path.write_text('comment,toxic\n"never closed,1.0\n', encoding="utf-8")
    with pytest.raises(ValueError, match=r"a\.csv, line 2: is no CSV"):
        read_toxic(path)
    write_csv(path, [("", "1.0")])
    with pytest.raises(ValueError, match="holds no valid comment; 1 rows were rejected"):
        read_toxic(path)
    with pytest.raises(FileNotFoundError):
        read_toxic(tmp_path / "absent.csv")


def test_a_cell_beyond_the_csv_module_s_limit_is_read_and_the_limit_left_alone(tmp_path):
    before = csv.field_size_limit()
    (row,) = read_toxic(write_csv(tmp_path / "a.csv", [("слово " * 40_000, "0.0")]))
    assert len(row["text"]) == 239_999
    assert csv.field_size_limit() == before


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Верблюдов-то за что? Дебилы, бл...", "верблюдов то за что дебилы бл"),
        ("Смотри HTTPS://pikabu.ru/story?id=7 и www.2ch.hk/b/", "смотри url и url"),
        ("@Vasya_99: сам такой, @петя.иванов!", "user сам такой user"),
        ("почта a@b.ru осталась", "почта a b ru осталась"),
        ("Ёж_и 😀 №1 — «кавычки»\n", "ёж и 1 кавычки"),
        ("?! ...", ""),
    ],
)
def test_the_article_s_preprocessing(text, expected):
    assert article_preprocess(text) == expected


# --- splitting


def test_the_held_out_fifth_is_stratified_seeded_and_shares_no_pair(tmp_path):
    rows = read_toxic(write_csv(tmp_path / "a.csv", [*comments(300), ("Раз, два", "0.0"), ("раз два!", "0.0")]))
    training, test = split_toxic(rows, seed=0)
    assert len(training) + len(test) == len(rows) == 302
    assert labels(test)[1] == 20 and labels(test)[0] in (40, 41)  # of 100 toxic and 201 neutral pairs
    assert not {row["pair"] for row in training} & {row["pair"] for row in test}
    shuffled = split_toxic(random.Random(1).sample(rows, len(rows)), seed=0)[1]
    assert sorted(row["id"] for row in shuffled) == sorted(row["id"] for row in test)
    assert {row["id"] for row in split_toxic(rows, seed=1)[1]} != {row["id"] for row in test}


def test_a_label_too_rare_for_both_parts_is_said(tmp_path):
    rows = read_toxic(write_csv(tmp_path / "a.csv", [row for row in comments(30) if row[1] == "0.0"]))
    with pytest.raises(ValueError, match="0.2 of 0 different toxic comments leaves training or test empty"):
        split_toxic(rows)


# --- the folder


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    rows = [*comments(600), ("???!", "0.0"), ("текст", "5")]
    rows += [(rows[1][0].strip(), "1.0"), (rows[2][0].upper(), "0.0")]
    return write_csv(tmp_path_factory.mktemp("source") / "labeled.csv", rows)


@pytest.fixture(scope="module")
def built(source, tokenizer, tmp_path_factory):
    out = tmp_path_factory.mktemp("built") / "toxic"
    return build_toxic(source, tokenizer, out, core_tokens=CORE, context_tokens=CONTEXT, progress=False)


def test_the_folder_opens_with_every_role_and_no_leak(built, source, tmp_path):
    segments = load_dataset(str(built), cache_dir=str(tmp_path))
    documents = load_dataset(str(built), "documents", cache_dir=str(tmp_path))
    assert list(segments) == list(documents) == list(SPLITS)
    assert (
        documents["test"].features["label"].names == segments["train"].features["label"].names == ["neutral", "toxic"]
    )
    places: dict = {}
    for split in SPLITS:
        cut = segments[split].to_pandas().groupby("document_id")
        assert set(cut.groups) == set(documents[split]["id"])
        for row in documents[split]:
            places.setdefault(fingerprint(row["text"]), set()).add(split)
            parts = cut.get_group(row["id"])
            assert [*parts["start"], len(row["text"])] == [0, *parts["end"]]
            assert set(parts["label"]) == {row["label"]}
    assert all(len(found) == 1 for found in places.values())
    _, test = split_toxic(read_toxic(source))
    assert sorted(documents["test"]["id"]) == sorted(row["id"] for row in test)  # what the baselines are tested on


def test_the_manifest_counts_seeds_and_hashes(built, source, tmp_path):
    manifest = json.loads((built / "manifest.json").read_text())
    documents = load_dataset(str(built), "documents", cache_dir=str(tmp_path))
    counted = {split: Counter(documents[split]["label"]) for split in SPLITS}
    assert manifest["counts"]["documents"] == {
        split: {"neutral": {"ru": by_label[0]}, "toxic": {"ru": by_label[1]}} for split, by_label in counted.items()
    }
    assert manifest["inputs"]["train_file"] == {
        "file": "labeled.csv",
        "sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
        "valid_rows": 603,
        "rows_of_label_1": 201,
        "duplicate_texts": 1,
        "texts_with_both_labels": 1,
        "as_published": False,
    }
    (record,) = map(json.loads, (built / "rejected.jsonl").read_text().splitlines())
    assert record["field"] == "toxic" and manifest["rejected"] == {"labeled.csv": {record["reason"]: 1}}


def test_preprocessing_changes_texts_but_not_the_split(built, source, tokenizer, tmp_path):
    out = build_toxic(source, tokenizer, tmp_path / "out", preprocess="article", progress=False)
    plain, cleaned = (load_dataset(str(folder), "documents", cache_dir=str(tmp_path / "c")) for folder in (built, out))
    for split in SPLITS:
        texts = {row["id"]: article_preprocess(row["text"]) for row in plain[split]}
        assert {row["id"]: row["text"] for row in cleaned[split]} == {
            name: text for name, text in texts.items() if text
        }
    assert json.loads((out / "manifest.json").read_text())["preprocess"] == "article"
    reasons = [json.loads(line)["reason"] for line in (out / "rejected.jsonl").read_text().splitlines()]
    assert reasons[1:] == ["no token is left of the comment"]  # "???!"


def test_strict_and_wrong_options_leave_nothing_behind(built, source, tokenizer, tmp_path):
    with pytest.raises(ValueError, match=r"labeled\.csv, line \d+, field 'toxic'"):
        build_toxic(source, tokenizer, tmp_path / "out", strict=True, progress=False)
    with pytest.raises(ValueError, match="preprocess must be one of none, article, got 'stem'"):
        build_toxic(source, tokenizer, tmp_path / "out", preprocess="stem")
    with pytest.raises(FileNotFoundError, match=r"no file .*absent\.csv"):
        build_toxic(tmp_path / "absent.csv", tokenizer, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(FileExistsError, match="exists already"):
        build_toxic(source, tokenizer, built)


def test_the_command_builds_and_says_what_is_in_it(source, backbone_folder, tmp_path, capsys):
    options = ["--csv", source, "--tokenizer", backbone_folder, "--out", tmp_path / "out", "--core_tokens", "64"]
    command = [str(part) for part in ("toxic", *options)]
    assert main(command) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "neutral" in said and "calibration_documents" in said
    assert "603 valid rows, 1 of them repeat an earlier text, 1 of the texts bear both labels; 1 rows rejected" in said
    assert "201 of the valid rows have label 1. This is not the published set of Russian toxic comments" in said
    assert main(command) == 1
    assert "exists already" in capsys.readouterr().err


def test_the_commands_of_the_page_on_other_tasks_are_understood():
    page = (Path(__file__).parents[1] / "docs" / "another_task.md").read_text(encoding="utf-8")
    commands = [line for line in page.replace("\\\n", " ").splitlines() if "-m mvh.dataset_builder" in line]
    options = [parser().parse_args(shlex.split(command)[3:]) for command in commands]
    assert [option.command for option in options] == ["agreement", "toxic", "toxic"]
    assert options[2].labels == ["ham", "spam"]


def test_another_task_has_its_own_names(source, tokenizer, tmp_path):
    named = {"labels": ("ham", "spam"), "lang": "en", "source": "sms"}
    out = build_toxic(source, tokenizer, tmp_path / "out", progress=False, **named)
    documents = load_dataset(str(out), "documents", split="test", cache_dir=str(tmp_path / "cache"))
    assert documents.features["label"].names == ["ham", "spam"]
    assert set(documents["lang"]) == {"en"} and set(documents["source"]) == {"sms"}
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["labels"] == ["ham", "spam"] and list(manifest["counts"]["documents"]["test"]) == ["ham", "spam"]
    assert "# Comments, ham and spam," in (out / "README.md").read_text()
    with pytest.raises(ValueError, match="two different names, the null class first, got spam, spam"):
        build_toxic(source, tokenizer, tmp_path / "other", labels=("spam", "spam"))


def test_a_detector_is_trained_and_calibrated_on_the_folder_unchanged(built, backbone_folder, tmp_path):
    train.main(
        [
            "--backbone", str(backbone_folder), "--name", "toy-toxic", "--pooling", "mean", "--head_widths", "16", "8",
            "--core_tokens", str(CORE), "--context_tokens", str(CONTEXT), "--dataset", str(built),
            "--labels", "neutral", "toxic", "--output_dir", str(tmp_path / "run"), "--max_steps", "16",
            "--per_device_train_batch_size", "48", "--learning_rate", "0.01",
            "--use_cpu", "True", "--disable_tqdm", "True", "--save_strategy", "no",
        ]
    )  # fmt: skip
    model, out = tmp_path / "run" / "model", tmp_path / "calibrated"
    calibrate.main(["--model", str(model), "--dataset", str(built), "--out", str(out)])
    detect = pipeline("mvh-detect", model=str(out), trust_remote_code=True)
    found = detect([make_text(1, 30, 1), make_text(0, 30, 2)], vote="any")
    assert {result["label"] for result in found} <= {"neutral", "toxic"}
    documents = json.loads((built / "manifest.json").read_text())["counts"]["documents"]
    groups = {result["calibration"]["documents"] for result in found}
    assert sum(groups) <= documents["calibration_documents"]["neutral"]["ru"]  # only neutral comments calibrate


def test_the_published_file(shared_data):
    path = shared_data / "toxic_ru" / "labeled.csv"
    if not path.is_file():
        pytest.skip("the published comments are absent")
    counts: Counter[str] = Counter()
    rows = read_toxic(path, strict=True, counts=counts)
    assert counts == {"rows": 14_412, "toxic": 4_826, "duplicates": 257, "both_labels": 43, "rejected": 0}
    assert len(rows) == 14_155 and labels(rows) == {0: 9_429, 1: 4_726}
    assert (min(len(row["text"]) for row in rows), max(len(row["text"]) for row in rows)) == (
        21,
        7_403,
    )  # the article's
    training, test = split_toxic(rows)
    assert abs(len(test) / len(rows) - 0.2) < 0.001
    assert abs(labels(test)[1] / len(test) - labels(training)[1] / len(training)) < 0.001
