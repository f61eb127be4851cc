"""The Endpoint's handler: answers, limits, bad requests, and nothing of the machine in an error."""

import ast
import json
import sys
import threading
from pathlib import Path

import pytest

from mvh import handler as room

TEXT = "Rain on the street. " * 20 + "Furthermore delve holistic tapestry. " * 20


@pytest.fixture(scope="module")
def handler(detector):
    return room.EndpointHandler(str(detector))


def test_a_text_gives_a_result_and_a_list_a_list(handler):
    one = handler({"inputs": TEXT})
    assert one["label"] in ("human", "machine", "uncertain") and one["segments"][-1]["end"] == len(TEXT)
    several = handler({"inputs": [TEXT, TEXT], "parameters": None})
    assert [result["label"] for result in several] == [one["label"]] * 2
    assert handler({"inputs": TEXT, "parameters": {"alpha": 0.01, "correction": "holm"}})["alpha"] == 0.01
    json.dumps(one)


def test_a_text_that_cannot_be_read_does_not_spoil_the_others(handler):
    good, bad = handler({"inputs": [TEXT, "  "]})
    assert good["label"] is not None and bad["label"] is None and "blank" in bad["error"]["message"]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (None, "A request is"),
        ([], "A request is"),
        ({"text": "x"}, "A request is"),
        ({"inputs": None}, "got nothing"),
        ({"inputs": []}, "got an empty list"),
        ({"inputs": {"a": 1}}, "got a dict"),
        ({"inputs": 5}, "got int"),
        ({"inputs": ["a", 5]}, "Text 2 of inputs must be a string, got int"),
        ({"inputs": ["a"] * 65}, "at most 64 texts, got 65"),
        ({"inputs": ["a" * 600_000, "b" * 600_000]}, "at most 1,000,000 characters, got 1,200,000"),
        ({"inputs": "a", "parameters": [1]}, "parameters must be an object, got a list"),
        ({"inputs": "a", "parameters": {"model": "x"}}, "no parameter 'model'; known are alpha"),
        ({"inputs": "a", "parameters": {"batch_size": 10**6}}, "no parameter 'batch_size'"),
        ({"inputs": "a", "parameters": {"alpha": 2}}, "alpha"),
        ({"inputs": "a", "parameters": {"alpha": "low"}}, "alpha"),
        ({"inputs": "a", "parameters": {"correction": "magic"}}, "correction"),
        ({"inputs": "a", "parameters": {"correction": ["bh"]}}, "correction"),
        ({"inputs": "a", "parameters": {"precision": "float16"}}, "precision"),
    ],
)
def test_bad_requests_are_answered_with_a_sentence(handler, data, said):
    answer = handler(data)
    assert answer["error"]["type"] == "BadRequest" and said in answer["error"]["message"]


def test_a_failure_inside_shows_nothing_of_the_machine(handler, monkeypatch):
    def fail(*texts, **options):
        raise RuntimeError("CUDA failed in /repository/secret.py with token hf_x")

    fail.check = handler.detect.check
    monkeypatch.setattr(handler, "detect", fail)
    answer = handler({"inputs": TEXT})
    assert answer == {"error": {"type": "InternalError", "message": "The detector failed on this request."}}
    monkeypatch.undo()
    assert "error" not in handler({"inputs": TEXT}), "a failure must give its place back"


def test_more_requests_than_places_are_sent_away(handler):
    answers = []
    computed = threading.Event()
    handler.worker.submit(computed.wait)  # a request is being computed
    try:
        threads = [
            threading.Thread(target=lambda: answers.append(handler({"inputs": "Rain."})))
            for _ in range(room.MAX_WAITING + 4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=0.3)
        busy = [answer for answer in answers if answer.get("error", {}).get("type") == "Busy"]
        assert len(busy) == 3 and len(answers) == 3
    finally:
        computed.set()
    for thread in threads:
        thread.join(timeout=60)
    assert len(answers) == len(threads)


def test_all_is_computed_by_one_thread(handler, monkeypatch):
    """Whoever calls: each computing thread would keep OpenMP threads and memory for good."""
    seen = set()

    def note(texts, **options):
        seen.add(threading.current_thread().name)
        return [{"label": "human"}]

    note.check = lambda options: None
    monkeypatch.setattr(handler, "detect", note)
    threads = [threading.Thread(target=handler, args=({"inputs": TEXT},)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert len(seen) == 1 and seen.pop().startswith("mvh")


def test_it_needs_nothing_that_does_not_travel():
    for node in ast.walk(ast.parse(Path(room.__file__).read_text())):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            assert {str(name).split(".")[0] for name in names} <= {"transformers"} | set(sys.stdlib_module_names)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"document_type": "news"}, "no feature of the groups"),
        ({"correction": "calibrated", "p_values": "softmax"}, "needs a document calibration and conformal p-values"),
    ],
)
def test_what_this_detector_cannot_decide_is_said_to_the_sender(handler, options, said):
    answer = handler({"inputs": TEXT, "parameters": options})
    assert answer["error"]["type"] == "BadRequest" and said in answer["error"]["message"]
