"""The tables of the first article: what they decide, what they keep, what their pages say."""

import importlib
import json
import shlex
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from transformers import AutoConfig

from mvh.experiments import article, article_page, article_table
from mvh.experiments.article import Row, Training
from mvh.experiments.article_decisions import DECISIONS, judged
from mvh.experiments.article_page import failed_texts, markdown
from mvh.experiments.article_table import Experiment
from mvh.experiments.kept_runs import identity, keep_run, kept_run
from mvh.experiments.scored import Scored
from mvh.experiments.small_backbone import small_backbone
from mvh.export import provenance
from mvh.recipe import parse_recipe
from tests.conftest import make_rows, write_jsonl

TABLES = ["table1", "table2", "table3", "table4", "table5", "augmentation", "backbones", "finetuning", "freeze", "segments",
          "few_texts", "ensembles", "removal"]  # fmt: skip


def scored(margins: list[float], label: int) -> Scored:
    return Scored(np.array(margins), np.full(len(margins), 256), "latin", label=label, source="test")


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, list[str]]:
    """Both tracks, large enough that calibration gets its documents."""
    folder = tmp_path_factory.mktemp("files")
    made = {}
    for number, track in enumerate(("english", "multilingual")):
        train = write_jsonl(folder / f"{track}_train.jsonl", make_rows(1000, 2 * number, (10, 30)))
        test = write_jsonl(folder / f"{track}_test.jsonl", make_rows(60, 2 * number + 1, (10, 30)))
        made[track] = [str(train), str(test)]
    return made


def test_the_decisions_of_the_article_on_margins_by_hand():
    """P(machine) = 0.9 in both segments: argmax flags, p = 0.1 does not; 0.99 passes every correction over two segments."""
    likely, sure, human = np.log(9), np.log(99), -1.0
    decided = {name: DECISIONS[name] for name in ("argmax", "softmax none", "softmax holm", "softmax BH")}
    assert [decide(scored([likely, likely], 1), None) for decide in decided.values()] == [True, False, False, False]
    assert all(decide(scored([sure, sure], 1), None) for decide in decided.values())
    assert not any(decide(scored([sure, human], 1), None) for decide in decided.values()), "one of two is no majority"
    p = {"softmax none": [0.04, 0.04], "softmax BH": [0.04, 0.04], "softmax holm": [0.02, 0.04]}
    for name, values in p.items():
        margins = [float(np.log((1 - value) / value)) for value in values]
        assert decided[name](scored(margins, 1), None), (name, values)
    assert not decided["softmax holm"](scored([float(np.log(0.96 / 0.04))] * 2, 1), None), "0.04 > 0.05 / 2"


def test_figures_count_what_was_flagged():
    documents = [scored([4.0], 1), scored([4.0], 0), scored([-1.0], 1), scored([-1.0], 0)]
    found = judged(documents, None, ("argmax",))
    assert found["decisions"]["argmax"] == pytest.approx(
        {"f1": 0.5, "f1_macro": 0.5, "recall": 0.5, "precision": 0.5, "fpr": 0.5, "flagged": 2}
    )
    assert found["softmax_at_most_alpha"] == 0.5 and found["segments"] == 4


def test_older_folders_are_told_apart_by_what_they_have(tmp_path):
    """Weights in a pickle and a vocabulary in a text file count where there is nothing newer beside them."""
    for name in ("config.json", "pytorch_model.bin", "vocab.txt"):
        (tmp_path / name).write_text("{}")
    before = identity(str(tmp_path))
    for name in ("pytorch_model.bin", "vocab.txt"):
        (tmp_path / name).write_text(f"another {name}")
        assert identity(str(tmp_path)) != before
        before = identity(str(tmp_path))
    for name in ("model.safetensors", "tokenizer.json"):
        (tmp_path / name).write_text("{}")
    before = identity(str(tmp_path))
    (tmp_path / "vocab.txt").write_text("not read")
    assert identity(str(tmp_path)) == before != identity("a/name")


def test_a_kept_run_comes_back_under_its_signature_only(tmp_path):
    path = tmp_path / "deep" / "run.json"
    keep_run(path, "a", {"f1": 0.5})
    assert kept_run(path, "a") == {"signature": "a", "f1": 0.5}
    assert kept_run(path, "b") is None and kept_run(tmp_path / "none.json", "a") is None


def test_every_row_is_a_training_that_train_py_accepts(files, tmp_path):
    """Recipes exist, options are known fields, and no two trainings of all tables share a folder."""
    tracks = {track: tuple(pair) for track, pair in files.items()}
    folders: dict[str, Training] = {}
    for name in TABLES:
        table = importlib.import_module(f"mvh.experiments.{name}").TABLE
        job = article.Job(tracks, tmp_path, 0, "scratch", None, (), table.decisions, False)
        for row in table.rows:
            parse_recipe(article.recipe_options(row.training, job, "backbone"))
            assert folders.setdefault(row.training.name(), row.training) == row.training
            assert row.kind.partition(":")[0] in article.RUNS and row.test in files
        assert set(table.decisions) <= set(DECISIONS)


def test_a_table_runs_goes_on_where_it_was_and_says_what_did_not_run(files, tmp_path, monkeypatch):
    small = Training(("english",), 1000)
    rows = (
        Row("base", small, published=(("F1", 0.5338),)),
        Row("n-grams", small, kind="char_ngram"),
        Row(
            "translated", Training(("english",), 1000, change="t", options=("--translate", "0.5")), needs="translation"
        ),
        Row("other", small, backbone="t5"),
        *(
            Row(kind, small, kind=f"ensemble:{kind}", backbone="scratch", members=("scratch", "scratch"))
            for kind in ("mean_score", "mean_p")
        ),
    )
    table = Experiment("toy", "A toy table", "About it.", rows, ("argmax", "softmax BH", "conformal BH", "calibrated"))
    options = ["--english", *files["english"], "--backbone", "scratch", "--quick", "--work", str(tmp_path / "work")]
    options += ["--out", str(tmp_path / "toy.json")]
    result = article_table.main(table, options)
    base = result["rows"][0]["runs"]["scratch"][0]
    assert base["test_documents"] == 60 and set(base["decisions"]) == set(table.decisions)
    assert [bool(row["runs"]) for row in result["rows"]] == [True, True, False, False, True, True]
    page = (tmp_path / "toy.md").read_text(encoding="utf-8")
    assert "F1 0.5338" in page and "not run here" in page and "--needs translation" in page and "--backbone t5" in page
    assert "mdeberta: not run here" in page and "--backbone mdeberta --rows base --out runs/tables/toy.json" in page
    assert "60 texts, 53% of them English" in page
    assert "are of other texts" not in page, "said of the files of which it is true alone"
    assert f"judged at {provenance()['commit'][:12]};" in page
    assert str(tmp_path) not in page and str(tmp_path) not in (tmp_path / "toy.json").read_text(encoding="utf-8")

    monkeypatch.setattr(article_table, "run", lambda *args: pytest.fail("a finished run was run again"))
    again = article_table.main(table, options)
    assert again["rows"] == result["rows"]
    shutil.rmtree(tmp_path / "work")  # a fresh clone has the page alone
    assert article_table.main(table, options)["rows"] == result["rows"]


@pytest.mark.parametrize("name", ["table3", "finetuning", "few_texts"])
def test_a_table_runs_quickly_from_end_to_end(name, files, tmp_path_factory):
    """These read both files, join features, count n-grams; the rows for T5 and for a translator have no weights here."""
    work = tmp_path_factory.getbasetemp() / "quick"  # tables share what they train
    options = [
        "--english",
        *files["english"],
        "--multilingual",
        *files["multilingual"],
        "--backbone",
        "scratch",
        "--quick",
    ]
    out = work / name / "table.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    table = importlib.import_module(f"mvh.experiments.{name}").TABLE
    result = article_table.main(table, [*options, "--work", str(work), "--out", str(out)])
    ran = [row["title"] for row in result["rows"] if row["runs"]]
    open_rows = [row.title for row in table.rows if row.backbone is None and not row.needs]
    assert ran == open_rows and len(ran) >= 3


def test_a_run_that_fails_costs_itself_alone(files, tmp_path, monkeypatch):
    rows = (
        Row("no such weights", Training(("english",), 1000, change="t", options=("--translate", "0.5"))),
        Row("base", Training(("english",), 1000)),
    )
    table = Experiment("toy", "A toy table", "About it.", rows, ("argmax",))

    def run(row, job):
        if row.title == "base":
            found = {"backbone": job.backbone, "seed": job.seed, "auroc": 0.5, "decisions": {}, "signature": "s"}
            return found | {"made_by": provenance()}
        raise ValueError("The back-end 'marian' cannot load its model.")

    monkeypatch.setattr(article_table, "run", run)
    options = ["--english", *files["english"], "--backbone", "scratch", "--work", str(tmp_path), "--seeds", "0"]
    with pytest.raises(SystemExit, match="1 runs failed.*marian"):
        article_table.main(table, [*options, "--out", str(tmp_path / "t.json")])
    shown = json.loads((tmp_path / "t.json").read_text(encoding="utf-8"))["rows"]
    assert [bool(row["runs"]) for row in shown] == [False, True]


def test_a_page_shows_a_run_for_the_file_it_was_judged_on(files, tmp_path, monkeypatch):
    """A training on both tracks is judged on each: a table that shows one of the runs has not made the other."""
    both = Training(("english", "multilingual"), 1000)
    rows = tuple(Row(f"both -> {test}", both, test) for test in ("english", "multilingual"))
    table = Experiment("toy", "A toy table", "About it.", rows, ("argmax",))
    made = []

    def run(row, job):
        made.append(row.test)
        signed = article_table.signed(row, job)
        found = {"backbone": job.backbone, "seed": 0, "auroc": 0.5, "decisions": {}, "signature": signed}
        return found | {"made_by": provenance()}

    monkeypatch.setattr(article_table, "run", run)
    options = ["--english", *files["english"], "--multilingual", *files["multilingual"], "--backbone", "scratch"]
    options += ["--work", str(tmp_path / "work"), "--seeds", "0", "--out", str(tmp_path / "t.json")]
    article_table.main(table, [*options, "--rows", "english"])
    article_table.main(table, options)
    assert made == ["english", "multilingual"]


def test_a_title_asks_for_its_row_alone_and_a_word_for_all_that_hold_it():
    rows = [Row(title, Training(("english",), 1000)) for title in ("base", "base, longer", "other")]

    def asked(*words):
        args = SimpleNamespace(rows=words, titles={row.title for row in rows}, page_only=False, needs=[])
        return [row.title for row in rows if article_table.wanted(row, args)]

    assert (
        asked("base") == ["base"] and asked("longer") == ["base, longer"] and asked("base", "oth") == ["base", "other"]
    )
    assert asked() == [row.title for row in rows]


def test_a_command_of_a_page_is_one_that_a_shell_takes():
    title, result = "the article's settings", {"experiment": "toy", "files": {}}
    command = article_page.command_of(result, {"title": title, "needs": ""}, "mdeberta")
    assert shlex.split(command)[shlex.split(command).index("--rows") + 1] == title


def test_where_a_run_was_computed_is_no_setting_of_it(files):
    tracks = {track: tuple(map(Path, pair)) for track, pair in files.items()}
    row, job = (
        Row("base", Training(("english",), 1000)),
        article.Job(tracks, Path(), 0, "t5", None, (), ("argmax",), False),
    )
    signed = {
        article_table.signed(row, replace(job, options=words))
        for words in (("--a", "1"), ("--use_cpu", "True", "--a", "1"), ("--a", "1", "--use_cpu", "False"))
    }
    assert len(signed) == 1 and article_table.signed(row, replace(job, options=("--a", "2"))) not in signed
    assert article_table.placeless(("--use_cpu", "True", "--a", "1")) == ("--a", "1")
    assert article_table.placeless(("--use_cpu", "--a", "1")) == ("--a", "1"), "it may stand without a value"


def test_a_page_says_which_texts_were_not_rewritten():
    made = {"texts": {"asked": 500, "failed": 3}}
    row = {"title": "half", "runs": {"mdeberta": [{"seed": 1, "augmentation": [made]}, {"seed": 2}]}}
    (said,) = failed_texts([row])
    assert "half, mdeberta, seed 1: 3 of 500 texts were not rewritten" in said


def test_a_backbone_of_own_word_pieces_may_stand_on_layers_of_another(files, tmp_path):
    donor = small_backbone(["Words of the donor."] * 3, tmp_path / "donor", 0, 60, hidden_size=16)
    job = article.Job({"english": tuple(files["english"])}, tmp_path, 0, "minilm_l6_30k", str(donor), (), (), True)
    made = article.backbone_of(Training(("english",), 1000), job)
    config = AutoConfig.from_pretrained(made)
    assert (config.num_hidden_layers, config.hidden_size) == (1, 16)
    assert config.vocab_size > AutoConfig.from_pretrained(donor).vocab_size
    assert article.backbone_of(Training(("english",), 1000), job) == made
    small_backbone(["Other words of it."] * 3, tmp_path / "donor", 1, 60, hidden_size=16)
    with pytest.raises(ValueError, match="made from other weights"):
        article.backbone_of(Training(("english",), 1000), job)


def test_a_mean_over_seeds_has_its_spread_and_an_unrun_row_its_command():
    made_by = {"commit": "a" * 40, "uncommitted_changes": True}
    run = {"seed": 0, "auroc": 0.9, "decisions": {"argmax": {"f1": 0.5}}, "made_by": made_by}
    other = {"seed": 1, "auroc": 0.8, "decisions": {"argmax": {"f1": 0.7}}, "made_by": made_by}
    row = {"title": "base", "test": "english", "published": {}, "kind": "encoder", "backbone": None, "needs": "",
           "runs": {"minilm_l6": [run, other]}}  # fmt: skip
    result = {"experiment": "toy", "title": "Toy", "about": "", "command": "c", "commit": "0" * 40, "quick": False,
              "uncommitted_changes": False, "options": ["--encoder_dropout", "0.0"], "files": {},
              "decisions": ["argmax"], "figures": ["f1"], "notes": [],
              "rows": [row, {**row, "title": "big", "runs": {}, "backbone": "xlmr"}]}  # fmt: skip
    page = markdown(json.loads(json.dumps(result)))
    assert "0.600 ± 0.141" in page and "0.850 ± 0.071" in page
    assert "--backbone xlmr --rows big" in page
    assert "judged at aaaaaaaaaaaa;" in page and "of 2 of them that the code had changes beyond its commit" in page
    assert "the encoder's dropout is 0.0 (the article names none" in page
    assert "on the seeds" not in page, "one row alone is compared with nothing"
    result["rows"].append({**row, "title": "once", "runs": {"minilm_l6": [other]}})
    assert "seeds that all rows of minilm_l6 have (1): base (english) 0.700; once (english) 0.700." in markdown(result)
