"""One detector, many threads: every answer is the one that a lone call gets. Fast tokenizers keep state between calls."""

import threading
from collections.abc import Callable

import pytest
from transformers import pipeline

from mvh.handler import EndpointHandler

from .conftest import make_text

TEXTS = [make_text(index % 2, 20 + 90 * index, seed=index) for index in range(8)]
OPTIONS = [{}, {"alpha": 0.2, "correction": "none"}, {"p_values": "softmax", "vote": "any"}, {"edges": "grid"}]


def at_once(threads: int, work: Callable[[int], None]) -> None:
    """Run `work(0)` to `work(threads - 1)` in threads that start together; what one of them raises is raised here."""
    start, faults = threading.Barrier(threads), []

    def run(number: int) -> None:
        start.wait()
        try:
            work(number)
        except BaseException as error:
            faults.append(error)

    running = [threading.Thread(target=run, args=(number,)) for number in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    if faults:
        raise faults[0]


def same(one: dict, other: dict) -> bool:
    margins = [[segment.pop("margin") for segment in result["segments"]] for result in (one, other)]
    close = margins[0] == pytest.approx(margins[1], abs=1e-4)
    return close and [s["label"] for s in one["segments"]] == [s["label"] for s in other["segments"]] and all(
        one[name] == other[name] for name in ("label", "p_value", "warnings")
    )  # fmt: skip


@pytest.mark.parametrize("rounds", [3, pytest.param(60, marks=pytest.mark.slow)])
def test_a_detector_answers_eight_threads_as_it_answers_one(detector, rounds):
    detect = pipeline("mvh-detect", model=str(detector), trust_remote_code=True)
    alone = [[detect(text, **options) for options in OPTIONS] for text in TEXTS]

    def work(number):
        for turn in range(rounds):
            chosen = (number + turn) % len(TEXTS)
            option = (number * 3 + turn) % len(OPTIONS)
            answer = detect(TEXTS[chosen], batch_size=1 + turn % 5, **OPTIONS[option])
            expected = {**alone[chosen][option], "segments": [dict(s) for s in alone[chosen][option]["segments"]]}
            assert same(answer, expected), f"thread {number}, round {turn}"

    at_once(8, work)


@pytest.mark.parametrize("rounds", [20, pytest.param(1000, marks=pytest.mark.slow)])
def test_a_tokenizer_gives_eight_threads_the_same_segments(detector, rounds):
    detect = pipeline("mvh-detect", model=str(detector), trust_remote_code=True)
    alone = [detect.segments(text) for text in TEXTS]

    def work(number):
        for turn in range(rounds):
            chosen = (number + turn) % len(TEXTS)
            assert detect.segments(TEXTS[chosen]) == alone[chosen], f"thread {number}, round {turn}"

    at_once(8, work)


def test_a_tokenizer_that_was_bent_gives_the_same_segments(detector):
    """Calls of others leave truncation and padding in it."""
    detect = pipeline("mvh-detect", model=str(detector), trust_remote_code=True)
    alone = [detect.segments(text) for text in TEXTS]
    detect.tokenizer(TEXTS[:3], truncation=True, max_length=7, padding="max_length")
    assert [detect.segments(text) for text in TEXTS] == alone
    detect.tokenizer.backend_tokenizer.enable_truncation(5, stride=2)
    detect.tokenizer.backend_tokenizer.enable_padding(length=99)
    assert [detect.segments(text) for text in TEXTS] == alone


def test_a_handler_answers_concurrent_requests_or_says_that_it_is_busy(detector):
    handler = EndpointHandler(str(detector))
    alone = [handler({"inputs": text}) for text in TEXTS]
    answers = [None] * 16

    def work(number):
        answers[number] = handler({"inputs": TEXTS[number % 8]})

    at_once(16, work)
    busy = sum(answer.get("error", {}).get("type") == "Busy" for answer in answers)
    assert busy <= 16 - 9
    for number, answer in enumerate(answers):
        expected = {**alone[number % 8], "segments": [dict(s) for s in alone[number % 8]["segments"]]}
        assert "error" in answer or same(answer, expected)
