"""False alarms by way of writing: groups of equal values stay whole, and every text is in one of them."""

import json

import numpy as np
import pytest

from mvh.experiments import writers
from mvh.lexicon_mvh import MIN_LANGUAGE_TEXTS

from .conftest import make_text


def test_quarters_are_of_the_human_texts_and_keep_equal_values_together():
    human = np.array([True] * 8 + [False] * 4)
    values = np.array([0.0, 0, 0, 0, 0, 1, 2, 3, 0, 9, 9, 9])
    groups, borders = writers.quarters(values, human)
    assert borders == [0.0, 1.25]
    assert groups.tolist() == [0] * 5 + [1] + [2] * 2 + [0] + [2] * 3
    assert set(writers.quarters(np.zeros(12), human)[0]) == {0}


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("writers")
    train, test = folder / "train.jsonl", folder / "test.jsonl"
    for file, number, first in ((train, MIN_LANGUAGE_TEXTS * 2, 0), (test, 60, 1000)):
        rows = [
            {
                "id": n,
                "label": n % 2,
                "model": "m",
                "source": "reddit",
                "text": make_text(n % 2, 80, seed=n + first),
            }
            for n in range(number)
        ]
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    kept = [
        {
            "file": test.name,
            "id": str(n),
            "label": n % 2,
            "alpha": 0.05,
            "decision": "machine" if n < 20 else "human",
            "error": None,
        }
        for n in range(59)
    ] + [{"file": test.name, "id": "59", "label": 1, "alpha": 0.05, "decision": None, "error": {"message": "blank"}}]
    (folder / "predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
    (folder / "metrics.json").write_text(json.dumps({"detector": {"name": "d"}, "command": "c", "commit": "0" * 40}))
    command = [
        "--score",
        str(folder),
        "--data",
        str(test),
        "--train",
        str(train),
        "--out",
        str(folder / "writers.json"),
    ]
    return folder, command, writers.main(command)


def test_every_readable_text_is_in_one_group_of_each_statistic(report):
    folder, _, found = report
    for groups in found["files"]["test.jsonl"].values():
        assert sum(group["human"] for group in groups) == 30 and sum(group["machine"] for group in groups) == 29
        assert sum(group["false_alarms"]["flagged"] for group in groups) == 10
        assert [group["above"] for group in groups][1:] == [group["to"] for group in groups][:-1]
    assert len(found["files"]["test.jsonl"]) == len(writers.STATISTICS)
    assert (folder / "writers.md").read_text(encoding="utf-8").strip() == writers.page(found).strip()


def test_texts_that_were_not_scored_are_said(report):
    folder, command, _ = report
    (folder / "test.jsonl").write_text(
        json.dumps({"id": "new", "label": 0, "model": "m", "source": "reddit", "text": "Words."}) + "\n"
    )
    with pytest.raises(ValueError, match="has the text new, and the predictions hold none"):
        writers.main(command)
