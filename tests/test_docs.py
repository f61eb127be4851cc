"""Every command of README and docs/ is run: by `mvh` in this process, by bash where a shell is needed, Python as it stands.

A page's ```sh and ```python blocks run in order in a scratch folder that holds what the pages speak of (thesis.pdf, posts.csv,
my_texts/, …) and the shipped detector. A block that cannot run here says why: ```sh no-test: needs a GPU. A command that
stands on several pages is run once.
"""

import csv
import gzip
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from contextlib import ExitStack, redirect_stdout
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import docx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

import mvh
from mvh import opening
from mvh.cli import __main__ as cli

from .conftest import make_text, write_jsonl
from .test_documents import column, write_pdf

ROOT = Path(mvh.__file__).parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(.*)\n((?:.*\n)*?)```$", re.MULTILINE)
INDENTED = re.compile(r"^(?:    |\t)((?:mvh|python|accelerate|make) .*)$", re.MULTILINE)
LONG = ("corpora", "data-engineer", "edited-text", "ensembles", "researcher")  # pages that take a minute: `make slow`
COMMAND = re.compile(r"^(mvh|python|accelerate|torchrun|make|pip) ", re.MULTILINE)


class Block(NamedTuple):
    language: str
    reason: str  # why it cannot run here; empty where it can
    code: str


def blocks(page: Path) -> list[Block]:
    found = []
    for info, code in FENCE.findall(page.read_text(encoding="utf-8")):
        language, _, rest = info.partition(" ")
        found.append(Block(language, rest.partition("no-test:")[2].strip() if rest else "", code))
    return found


def written(text: str, path: Path) -> None:
    """The text as a PDF of lines."""
    words = text.split()
    write_pdf(path, [column(60, [" ".join(words[at : at + 12]) for at in range(0, len(words), 12)][:50])])


@pytest.fixture(scope="module")
def desk(tmp_path_factory) -> Path:
    """A folder with everything the pages speak of."""
    desk = tmp_path_factory.mktemp("desk")
    for name in ("checkpoints", "examples", "recipes"):
        (desk / name).symlink_to(ROOT / name)
    human, machine, mixed = (
        (ROOT / "examples" / f"{name}.txt").read_text() for name in ("1-darwin", "2-machine", "3-mixed")
    )
    for name in ("thesis.pdf", "paper.pdf"):
        written(mixed, desk / name)
    document = docx.Document()
    document.add_paragraph(mixed)
    document.save(desk / "manuscript.docx")
    (desk / "submissions").mkdir()
    for name, text in (("one.txt", human), ("two.txt", machine), ("three.md", mixed)):
        (desk / "submissions" / name).write_text(text)
    rows = [{"id": str(number), "body": text} for number, text in enumerate((human, machine, mixed))]
    with (desk / "posts.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["id", "body"])
        writer.writeheader()
        writer.writerows(rows)
    write_jsonl(desk / "corpus.jsonl", rows)
    pq.write_table(pa.Table.from_pylist(rows), desk / "corpus.parquet")
    labelled = [
        {"text": text, "label": label, "source": "here", "lang": "en"}
        for text, label in ((human, 0), (machine, 1), (mixed, 1))
    ]
    write_jsonl(desk / "labelled.jsonl", [{"id": n, "model": "?", **row} for n, row in enumerate(labelled * 2)])
    for name in ("first", "second"):
        (desk / name).symlink_to(ROOT / "checkpoints" / "mvh-mini-en")
    write_jsonl(desk / "human.jsonl", [{"text": make_text(0, 14, 5_000 + number)} for number in range(200)])
    shutil.copy(desk / "labelled.jsonl", desk / "test.jsonl")
    (desk / "crawl").mkdir()
    shutil.copy(desk / "labelled.jsonl", desk / "crawl" / "one.jsonl")
    with gzip.open(desk / "posts.jsonl.gz", "wb") as packed:
        packed.write((desk / "labelled.jsonl").read_bytes())
    for folder, seed in (("my_texts", 1), ("other_texts", 2)):
        (desk / folder).mkdir()
        for number in range(200):
            (desk / folder / f"{number}.txt").write_text(make_text(0, 14, seed * 1_000 + number))
        own = [{"body": make_text(0, 14, 7_000 + seed * 1_000 + number)} for number in range(200)]
        with (desk / ("old_posts.csv" if seed == 1 else "other_posts.csv")).open("w", newline="") as file:
            writer = csv.DictWriter(file, ["body"])
            writer.writeheader()
            writer.writerows(own)
        pq.write_table(pa.Table.from_pylist(own), desk / ("human.parquet" if seed == 1 else "others.parquet"))
    write_jsonl(desk / "generated.jsonl", [{"text": make_text(1, 14, number)} for number in range(20)])
    return desk


DONE: set[str] = set()


def run_shell(code: str, desk: Path) -> None:
    """Each command of a block: those of this package in this process, others in bash."""
    for line in code.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if not words or shlex.join(words) in DONE:
            continue
        DONE.add(shlex.join(words))
        with ExitStack() as stack:  # `< FILE` and `> FILE` at the end are done here, so that no process must start
            while len(words) > 2 and words[-2] in ("<", ">"):
                *words, sign, name = words
                file = stack.enter_context(open(desk / name, "r" if sign == "<" else "w"))
                if sign == "<":
                    before, sys.stdin = sys.stdin, file
                    stack.callback(setattr, sys, "stdin", before)
                else:
                    stack.enter_context(redirect_stdout(file))
            if words[0] == "mvh":
                assert cli.main(words[1:]) == 0, line
            elif words[:2] == ["python", "-m"] and words[2].startswith("mvh."):
                result = import_module(words[2]).main(words[3:])
                assert not isinstance(result, int) or result == 0, line
            else:
                path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
                done = subprocess.run(
                    ["bash", "-e", "-o", "pipefail", "-c", line], cwd=desk, env={**os.environ, "PATH": path},
                    capture_output=True, text=True, timeout=300, check=False,
                )  # fmt: skip
                assert done.returncode == 0, f"{line}\n{done.stderr[-2000:]}"


@pytest.fixture(scope="module", autouse=True)
def loaded_once():
    """A detector that was loaded is kept: dozens of commands ask for the same one."""
    before = opening.pipeline
    opening.pipeline = cache(before)
    yield
    opening.pipeline = before


@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=[pytest.mark.slow] if page.stem in LONG else [], id=page.name) for page in PAGES],
)
def test_the_commands_of_a_page_run(page, desk, monkeypatch):
    monkeypatch.chdir(desk)
    scope: dict = {"__name__": "page"}
    for block in blocks(page):
        if block.reason:
            continue
        if block.language == "sh":
            run_shell(block.code, desk)
        elif block.language == "python":
            exec(compile(block.code, f"{page.name}", "exec"), scope)


def test_every_command_is_in_a_block_that_runs_or_says_why_not():
    counted = {"run": 0, "not run": 0}
    for page in PAGES:
        outside = re.sub(FENCE, "", page.read_text(encoding="utf-8"))
        assert not (found := INDENTED.findall(outside)), f"{page.name}: commands belong between ```sh and ```: {found}"
        for block in blocks(page):
            if block.language not in ("sh", "python"):
                assert not COMMAND.search(block.code), (
                    f"{page.name}: commands in a block that is never run:\n{block.code}"
                )
                continue
            counted["not run" if block.reason else "run"] += 1
            if block.reason:
                assert len(block.reason.split()) >= 2, f"{page.name}: {block.reason!r} is no reason"
    assert counted["run"] > 2 * counted["not run"], counted


def test_links_between_pages_lead_somewhere():
    for page in PAGES:
        text = re.sub(FENCE, "", page.read_text(encoding="utf-8"))
        for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([\w-]+))?\)", text):
            file = (page.parent / target).resolve() if target else page
            assert file.exists(), f"{page.name} points to {target}, which is not there"
            if anchor:
                titles = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
                anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
                assert anchor in anchors, f"{page.name} points to #{anchor} of {file.name}, which has {sorted(anchors)}"


def test_pages_for_people_are_short():
    for name in ("researcher", "editor", "moderator", "data-engineer", "developer", "edited-text"):
        assert len((ROOT / "docs" / f"{name}.md").read_text().splitlines()) <= 90, name
        assert f"docs/{name}.md" in (ROOT / "README.md").read_text().split("## ")[0], (
            f"{name} is not on the first screen"
        )


def test_false_flags_in_long_texts_are_the_formulas_and_the_results():
    """The table of docs/verdict.md that holds 1 - (1 - alpha)^m against what was simulated and measured."""
    said = (ROOT / "docs" / "verdict.md").read_text()
    simulated = {
        (row["world"], row["segments"]): row["any_false"]
        for row in json.loads((ROOT / "results" / "corrections.json").read_text())["rows"]
        if row["method"] == "none" and row["share"] == 0
    }
    lengths = (3, 10, 40)
    rows = {
        "the formula (independent segments)": [1 - 0.95**m for m in lengths],
        "simulated, all lengths alike": [simulated["alike", m] for m in lengths],
        "simulated, long texts score higher": [simulated["long documents score higher", m] for m in lengths],
    }
    for name, figures in rows.items():
        assert f"| {name} | " + " | ".join(f"{figure:.3f}" for figure in figures) + " |" in said
    (long,) = re.findall(
        r"^\| 9 or more \| (83) \| 0 \| ([\d.]+) / .*$", (ROOT / "results" / "decision.md").read_text(), re.M
    )
    assert f"{long[0]} medical articles of nine segments or more gave a false flag in {long[1]} of" in said
    assert f"formula expects {1 - 0.95**9:.3f} or more" in said


def test_the_citation_is_one():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert cited["cff-version"] == "1.2.0" and cited["version"] == mvh.__version__ and cited["license"] == "Apache-2.0"
    assert all(cited[key] for key in ("message", "title", "authors")) and cited["type"] == "software"
    for authors in (cited["authors"], *(one["authors"] for one in cited["references"])):
        assert all(set(author) <= {"name", "family-names", "given-names"} for author in authors)
    assert f"## {mvh.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_the_contribution_guide_names_targets_that_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"^make ([a-z-]+)", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE))
    assert {"demo", "test", "lint", "check", "fix"} <= named <= targets
