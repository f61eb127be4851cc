"""The shipped detectors, the demo and the README: what a newcomer meets first is there and true."""

import hashlib
import json
import re
from pathlib import Path

import pytest
from transformers import pipeline

import mvh
from mvh.calibration_mvh import decode_calibration
from mvh.cli import demo

from .conftest import make_text
from .test_languages import TEXTS
from .test_travel import run

ROOT = Path(mvh.__file__).parent
LIMITS = {"mvh-mini-en": (48_000_000, 600), "mvh-mini-multi": (32_000_000, 300)}  # bytes, calibration documents
SHIPPED = ROOT / "checkpoints" / "mvh-mini-en"
TRAINED = "b72415d32cb5b608d2707f02f3dbc3c0e40e739d1503fc12640ac9408a82a1ea"  # as `make train-mini` wrote it at 2057f05


@pytest.fixture(scope="module")
def detect():
    return pipeline("mvh-detect", model=str(SHIPPED), trust_remote_code=True)


@pytest.mark.parametrize("name", LIMITS)
def test_it_is_small_complete_and_calibrated(name):
    folder, (most, least) = ROOT / "checkpoints" / name, LIMITS[name]
    assert sum(path.stat().st_size for path in folder.iterdir()) <= most
    config = json.loads((folder / "config.json").read_text())
    calibration = decode_calibration(config["calibration"])
    assert calibration.segment_documents > least and calibration.documents > least
    measured = json.loads((ROOT / "results" / f"{name}.json").read_text())["score"]["detector"]["calibration"]
    assert measured == config["calibration"]["id"], "the results were measured with another calibration"
    card = (folder / "README.md").read_text()
    assert not re.search(r"\{\{|\{%|None|More [Ii]nformation [Nn]eeded", card)
    assert {path.name for path in folder.glob("*_mvh.py")} == {path.name for path in ROOT.glob("*_mvh.py")}
    for path in folder.glob("*_mvh.py"):
        assert path.read_text() == (ROOT / path.name).read_text(), f"{path.name} is not the code of this commit"


def test_its_weights_are_those_that_the_logged_training_wrote():
    assert hashlib.sha256((SHIPPED / "model.safetensors").read_bytes()).hexdigest() == TRAINED
    log = json.loads((ROOT / "results" / "mvh-mini-en.training.json").read_text(encoding="utf-8"))
    assert log["commit"].startswith("2057f05")


def test_it_works_far_from_home(tmp_path):
    code = f"""
from transformers import pipeline
detect = pipeline("mvh-detect", model={str(SHIPPED)!r}, trust_remote_code=True)
print(detect("It was raining again and the bus was late, so we walked.")["label"])
"""
    assert run(code, tmp_path).split()[-1] in ("human", "machine", "uncertain")


def test_the_other_one_goes_by_its_bare_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where no folder of that name lies
    detect = mvh.load_detector("mvh-mini-multi")
    for text in (
        "Сегодня утром шёл дождь, автобус опоздал, и мы пошли пешком через весь город, мимо рынка и старой школы.",
        "今天早上下雨，公共汽车晚点了，我们就走路穿过城市，经过市场和老学校，一路上说着家里的事。",
    ):
        result = detect(text * 3)
        assert result["label"] in ("human", "machine", "uncertain") and result["segments"][-1]["end"] == 3 * len(text)
        assert not [warning for warning in result["warnings"] if "calibrate again" in warning]
    (tmp_path / "mvh-mini-multi").mkdir()  # a folder at hand is meant before a shipped one
    with pytest.raises(ValueError, match="no checkpoint folder"):
        mvh.load_detector("mvh-mini-multi")


def test_a_language_it_was_not_calibrated_on_is_no_verdict(detect):
    def doubts(one, language):
        return [said for said in one(TEXTS[language])["warnings"] if "the calibration saw only" in said]

    many = mvh.load_detector("mvh-mini-multi")
    assert doubts(detect, "de") and doubts(detect, "it") and doubts(many, "it")
    assert not doubts(detect, "en") and not doubts(many, "en") and not doubts(many, "de")
    assert detect(TEXTS["it"])["label"] == "uncertain"


def test_invisible_characters_between_letters_change_nothing(detect):
    """What a zero-width-space attack does: the same scores, verdict and reasons."""
    text = (ROOT / "examples" / "2-machine.txt").read_text().strip()
    plain, disguised = detect(text), detect("\u200b".join(text))
    assert plain["label"] == "machine"
    for name in ("label", "margin", "p_value", "warnings"):
        assert disguised[name] == plain[name]


def test_its_calibration_is_its_own(detect):
    for path in sorted((ROOT / "examples").glob("*.txt")):
        assert not [warning for warning in detect(path.read_text())["warnings"] if "calibrate again" in warning]


def test_demo_prints_every_example(capsys):
    demo.main([])
    printed = capsys.readouterr().out
    for path in (ROOT / "examples").glob("*.txt"):
        assert path.name in printed
    assert len(re.findall(r"HUMAN|MACHINE|UNCERTAIN", printed)) == 3 and "never a proof" in printed


def test_demo_reads_own_files_and_says_what_it_cannot_read(capsys, tmp_path):
    (tmp_path / "own.txt").write_text("[bold]My own words[/bold], written on a Sunday while the soup was on the stove.")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    (tmp_path / "blank.txt").write_text(" \n")
    demo.main([str(tmp_path / name) for name in ("own.txt", "latin.txt", "blank.txt", "absent.txt")])
    out, err = capsys.readouterr()
    assert "own.txt" in out and "blank.txt" in out and "The text is blank" in out
    assert "latin.txt cannot be read" in err and "absent.txt cannot be read" in err


def test_readme_prints_what_it_says(detect):
    """The Python lines of the README give the dict the README shows (in float32, figures to three digits)."""
    readme = (ROOT / "README.md").read_text()
    code = re.findall(r"```python\n(.*?)```", readme, flags=re.DOTALL)[0]
    assert len([line for line in code.splitlines() if line.strip()]) == 3
    (shown,) = re.findall(r"```json\n(.*?)```", readme, flags=re.DOTALL)
    scope: dict = {}
    lines = (
        code.replace('"checkpoints/', f'"{ROOT}/checkpoints/').replace('"examples/', f'"{ROOT}/examples/').splitlines()
    )
    last = lines[-1].removesuffix(")") + ', precision="float32")'  # what a processor without bfloat16 computes in
    exec("\n".join(lines[:-1]) + "\nresult = " + last, scope)
    assert agree(scope["result"], json.loads(shown))


def test_readme_figures_are_the_results():
    """Every row of figures in the README stands, figure for figure, in one of the results pages it names."""
    pages = [
        (ROOT / "results" / f"{name}.md").read_text()
        for name in ("mvh-mini-en", "mvh-mini-multi", "generalisation", "generalisation_languages", "attacks")
    ]
    results = "\n".join(pages).splitlines()
    rows = [line for line in (ROOT / "README.md").read_text().splitlines() if re.match(r"\|.*\d\.\d{3}", line)]
    assert len(rows) > 10
    assert not [row for row in rows if row not in results]


def test_every_result_that_is_cited_exists():
    """No page, plan or docstring names a file of results that is not there."""
    pages = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", *(ROOT / "docs").glob("*.md"), *ROOT.glob("*.py")]
    cited = {name for page in pages for name in re.findall(r"results/[\w.-]+\.(?:md|json|png)", page.read_text())}
    assert cited and not [name for name in cited if not (ROOT / name).exists()]


def agree(a, b):
    """Equal, but for the fourth digit of numbers: other machines add in another order."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(agree(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(agree, a, b))
    return a == pytest.approx(b, rel=2e-3, abs=2e-3) if isinstance(a, float) else a == b


def test_a_megabyte_is_read_whole(detect):
    text = " ".join(make_text(index % 2, 400, seed=index) for index in range(460))
    segments = detect.segments(text)
    assert len(text) > 1_000_000 and segments[-1].end == len(text)
    assert detect("x" * 10_000_000)["segments"][-1]["end"] == 10_000_000


@pytest.mark.slow
def test_ten_megabytes_get_a_verdict(detect):
    text = " ".join((ROOT / "examples" / "1-darwin.txt").read_text() for _ in range(4600))
    result = detect(text, precision="bfloat16")
    assert len(text) > 10_000_000 and result["segments"][-1]["end"] == len(text)
    assert result["label"] == "human" and not result["doubts"] and len(result["segments"]) > 8000
    assert result["calibration"]["parts"] > 1000, "so long a text is judged by parts"
