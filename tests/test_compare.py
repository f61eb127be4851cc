"""`mvh compare`: what differs between two checkpoints is counted right, and said."""

import hashlib
import json
import math
import shutil

import pytest

from mvh import compare as room
from mvh.compare import compare, main, movers, read_data
from mvh.compare_page import markdown
from mvh.hub import upload_folder
from mvh.opening import name_and_revision
from mvh.tests.conftest import make_rows, write_jsonl
from mvh.tests.hub_server import LocalHub


def result(decision, margin, p_value=0.5, error=None):
    return {"decision": decision, "margin": margin, "p_value": p_value, "alpha": 0.05, "error": error}


def row(number, label=None):
    return {"id": str(number), "text": f"text {number}", "label": label}


def side(name, results):
    return {"name": name, "labels": ["human", "machine"], "calibration": f"{name}-id", "results": results}


@pytest.fixture
def report():
    """Four texts: one verdict gained, one lost, p-values ten times smaller on one."""
    rows = [row(0, 0), row(1, 1), row(2, 1), row(3, 0)]
    old = [result("human", -2.0), result("machine", 2.0, 0.01), result("human", 0.5, 0.1), result("human", -1.0)]
    new = [
        result("machine", 3.0, 0.001),
        result("machine", 2.5, 0.01),
        result("machine", 2.0, 0.01),
        result("human", -1.0),
    ]
    return {"command": "mvh compare a b c", "commit": "abc", **compare(rows, side("old", old), side("new", new))}


def test_counts_figures_and_movers(report):
    assert report["verdicts"]["agreement"] == 0.5
    counts = {(pair["first"], pair["second"]): pair["texts"] for pair in report["verdicts"]["pairs"]}
    assert counts == {("human", "human"): 1, ("human", "machine"): 2, ("machine", "machine"): 1}
    figures = report["figures"]
    assert (figures["gained"], figures["lost"], figures["mcnemar_p_value"]) == (1, 1, 1.0)
    assert (figures["first"]["tpr"], figures["second"]["tpr"], figures["second"]["fpr"]) == (0.5, 1.0, 0.5)
    assert [moved["id"] for moved in report["moved"]] == ["0", "2"]
    assert report["moved"][0]["moved"] == pytest.approx(math.log10(0.001 / 0.5))
    assert report["p_values"]["smaller"] == 0.5 and report["p_values"]["larger"] == 0
    json.dumps(report)


def test_the_page_says_it(report):
    page = markdown(report)
    for said in (
        "# old and new", "agree on 50.0% of the texts", "| **human** | 1 | 2 | 0 |", "| calibration | old-id | new-id |",
        "smaller on 50.0% of the texts", "| 0 | 0 | human, margin -2.00, p 0.5000 | machine, margin +3.00, p 0.0010 | text 0 |",
    ):  # fmt: skip
        assert said in page


def test_two_of_one_name_are_told_apart_and_texts_cannot_break_the_page(report):
    report["detectors"][1]["name"] = "old"
    report["moved"][0]["text"] = room.quoted("a | b\n\x1b[31mred")
    page = markdown(report)
    assert "old (first)" in page and "old (second)" in page
    assert "a \\| b \ufffd[31mred" in page and "\x1b" not in page


def test_without_p_values_or_labels():
    rows = [row(0), row(1), row(2)]
    one = side("a", [result("human", m, None) for m in (1.0, 2.0, 3.0)])
    two = side("b", [result("human", m, None) for m in (10.0, 30.0, 20.0)])
    report = {"command": "c", "commit": None, "versions": {"mvh": "1.2"}, **compare(rows, one, two)}
    assert report["figures"] is None and report["p_values"] is None
    assert report["margins"]["rank_correlation"] == pytest.approx(0.5)
    assert {moved["id"] for moved in report["moved"]} == {"1", "2"}, "ranks moved, scales do not count"
    assert "There are no p-values" in markdown(report) and "`c`, mvh 1.2." in markdown(report)


def test_texts_that_one_cannot_read_are_told_and_left_out():
    error = {"type": "ValueError", "message": "blank"}
    one = side("a", [result("human", 1.0), result("uncertain", None, None, error)])
    report = {"command": "c", "commit": "abc", **compare([row(0), row(1)], one, side("b", [result("human", 1.0)] * 2))}
    assert report["texts"] == 1 and report["unread"] == [{"id": "1", **error}]
    assert report["margins"][
        "rank_correlation"
    ] is None and "1 others could not be read, the first is 1: blank" in markdown(report)
    with pytest.raises(ValueError, match="None of 1 texts could be read"):
        compare([row(1)], side("a", one["results"][1:]), side("b", [result("human", 1.0)]))


def test_equal_detectors_move_nothing():
    pairs = [(row(i), result("human", float(i)), result("human", float(i))) for i in range(5)]
    assert movers(pairs, None, 10) == []


def test_data_of_every_form(tmp_path):
    labelled = write_jsonl(tmp_path / "a.jsonl", make_rows(6))
    assert [entry["label"] for entry in read_data(labelled)] == [0, 1, 0, 1, 0, 1]
    assert len(read_data(labelled, limit=2)) == 2
    bare = write_jsonl(tmp_path / "b.jsonl", [{"text": "One."}, {"text": "Two."}])
    assert [entry["label"] for entry in read_data(bare)] == [None, None]
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "one.txt").write_text("One.")
    assert read_data(tmp_path / "texts")[0]["id"] == "one.txt"
    with pytest.raises(FileNotFoundError, match="There is no file or folder"):
        read_data(tmp_path / "absent")


def test_the_command_on_two_checkpoints(detector, tmp_path, capsys):
    other = tmp_path / "stricter"
    shutil.copytree(detector, other)
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"name": "stricter", "alpha": 0.05 / 50}))
    data = write_jsonl(tmp_path / "data.jsonl", make_rows(20, seed=3, words=(60, 120)))
    assert main([str(detector), str(other), str(data), "--out", str(tmp_path / "out"), "--top", "3"]) == 0
    printed = capsys.readouterr().out
    page = (tmp_path / "out" / "compared.md").read_text()
    assert printed.strip() == page.strip() and "# toy and stricter" in page
    report = json.loads((tmp_path / "out" / "compared.json").read_text())
    assert report["command"].startswith("mvh compare ") and report["command"].endswith(" --top 3"), "as it was given"
    assert report["margins"]["rank_correlation"] == pytest.approx(1.0) and report["verdicts"]["agreement"] < 1
    assert report["detectors"][1]["alpha"] == 0.05 / 50 and len(report["moved"]) == 3
    assert report["data"] == {"name": "data.jsonl", "sha256": hashlib.sha256(data.read_bytes()).hexdigest()}
    assert main([str(detector), str(other), str(data), "--out", str(tmp_path / "out"), "--top", "0"]) == 0
    page = (tmp_path / "out" / "compared.md").read_text()
    assert "Moved most" not in page and not any(row["text"][:20] in page for row in read_data(data)), "no text leaves"


def test_two_revisions_of_one_name_on_the_hub(detector, tmp_path, monkeypatch):
    changed = tmp_path / "changed"
    shutil.copytree(detector, changed)
    config = json.loads((changed / "config.json").read_text())
    (changed / "config.json").write_text(json.dumps(config | {"name": "newer"}))
    data = write_jsonl(tmp_path / "data.jsonl", make_rows(4, seed=3, words=(60, 120)))
    with LocalHub() as hub:
        hub.connect(monkeypatch)
        old, new = (upload_folder(folder, "me/toy", "an upload").commit for folder in (detector, changed))
        assert main([f"me/toy@{old}", "me/toy", str(data), "--out", str(tmp_path / "out")]) == 0
    first, second = json.loads((tmp_path / "out" / "compared.json").read_text())["detectors"]
    assert (first["name"], first["revision"]) == ("toy", old) and (second["name"], second["revision"]) == ("newer", new)


def test_no_text_at_all_is_a_sentence(tmp_path):
    data = write_jsonl(tmp_path / "data.jsonl", make_rows(2))
    with pytest.raises(ValueError, match="the limit is 0"):
        read_data(data, 0)


def test_a_folder_with_an_at_sign_is_a_folder(detector, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(detector, tmp_path / "my" / "toy@home")
    assert name_and_revision("my/toy@home") == ("my/toy@home", None)
    assert name_and_revision("me/toy@v1") == ("me/toy", "v1") and name_and_revision("me/toy@") == ("me/toy@", None)


def test_a_name_that_is_none_is_a_sentence(tmp_path):
    with pytest.raises(ValueError, match="There is no checkpoint folder nowhere"):
        main(["nowhere", "nowhere", str(tmp_path)])


def test_results_of_another_shape_are_a_sentence(monkeypatch):
    def older(name, options):
        return (lambda texts: ({}[key] for key in ("calibration",))), {"name": name}

    monkeypatch.setattr(room, "open_checkpoint", older)
    with pytest.raises(ValueError, match="The results of old have no 'calibration': its code is of an older version"):
        room.judge("old", [row(1)], {})


def test_labels_of_a_table_are_used(tmp_path):
    write_jsonl(
        tmp_path / "x.jsonl", [{"text": "one", "label": "human"}, {"text": "two", "label": 1}, {"text": "three"}]
    )
    assert [row["label"] for row in read_data(tmp_path / "x.jsonl")] == [0, 1, None]
    write_jsonl(tmp_path / "y.jsonl", [{"text": "one", "label": "perhaps"}])
    with pytest.raises(
        ValueError, match="line 1: a label is 0 or human, 1 or machine, or is left out, and this is 'perhaps'"
    ):
        read_data(tmp_path / "y.jsonl")
    labelled = write_jsonl(tmp_path / "z.jsonl", [{"id": 1, "text": "a", "label": 1, "model": "m", "source": "s"}])
    labelled.write_bytes(b"\xef\xbb\xbf\n" + labelled.read_bytes())
    assert room.is_labelled(labelled)
