"""The load test itself: a small run on both servers, how answers are judged, what counts as a fault."""

import copy
import json

import pytest

pytest.importorskip("gradio", reason="gradio is not installed: pip install -e '.[space]'")
pytest.importorskip("uvicorn")

from mvh.benchmarks import asking, load
from mvh.benchmarks.asking import BROKEN, BUSY, LEAKED, LEFT, REFUSED, RIGHT, ROUNDED, WRONG, Answer

from .test_space import SHIPPED

ANSWER = {
    "label": "machine", "alpha": 0.05, "correction": "bh", "margin": 1.0, "passages": [{"start": 0, "end": 9}],
    "segments": [{"start": 0, "end": 9, "label": "machine", "margin": 1.0}], "model": {"dtype": "float32"},
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "end"),
    [
        (lambda told: None, RIGHT),
        (lambda told: told["segments"][0].update(margin=1.00005), ROUNDED),
        (lambda told: told["segments"][0].update(margin=1.001), WRONG),
        (lambda told: told["segments"][0].update(end=8), WRONG),
        (lambda told: told.update(alpha=0.01), WRONG),
        (lambda told: told["passages"].clear(), WRONG),
        (lambda told: told.pop("margin"), WRONG),
    ],
)
def test_an_answer_is_that_of_a_single_call_or_wrong(change, end):
    change(told := copy.deepcopy(ANSWER))
    assert asking.judged(told, ANSWER) == end


@pytest.mark.parametrize(("margin", "end"), [(1.001, ROUNDED), (1.03, WRONG)])
def test_margins_in_bfloat16_may_move_further(margin, end):
    expected = {**ANSWER, "model": {"dtype": "bfloat16"}}
    told = copy.deepcopy(expected)
    told["segments"][0]["margin"] = margin
    assert asking.judged(told, expected) == end


def test_a_refusal_says_what_it_should_and_nothing_of_the_server():
    assert asking.refusal(413, "The request is too large", "too large", [413]).end == REFUSED
    assert asking.refusal(500, "The request is too large", "too large", [413]).end == BROKEN
    assert asking.refusal(200, "answered", "too large", [200]).end == BROKEN
    for said in ("in /tmp/x", f"token {asking.SECRET}", 'File "site-packages/torch'):
        assert asking.refusal(413, f"too large {said}", "too large", [413]).end == LEAKED


def test_faults_are_told():
    ends = [Answer(RIGHT, 200), Answer(WRONG, 200), Answer(BUSY, 503, "Queue is full"), Answer(LEFT)]
    rows = load.summary([load.Ended("a text", answer, 1.0, 0.0) for answer in ends])
    assert rows[0]["ends"] == {RIGHT: 1, WRONG: 1, BUSY: 1, LEFT: 1} and rows[0]["p50_seconds"] == 1.0
    steady = load.growth([(second, 500.0) for second in range(300)], 300)
    rising = load.growth([(second, 500.0 + second) for second in range(300)], 300)
    assert not steady["grown"] and rising["grown"]
    report = {"quick": False, "servers": {"space": {"requests": rows, "memory_mib": rising}}}
    assert len(load.faults(report)) == 2 and len(load.faults({**report, "quick": True})) == 1


@pytest.mark.slow
def test_both_servers_stand_a_small_crowd(tmp_path):
    out = tmp_path / "load.json"
    status = load.main([str(SHIPPED), "--quick", "--out", str(out)])
    report = json.loads(out.read_text(encoding="utf-8"))
    assert not report["faults"] and status == 0
    for part in report["servers"].values():
        assert any(row["ends"].get(RIGHT) for row in part["requests"])
    assert "quick run" in out.with_suffix(".md").read_text(encoding="utf-8")
