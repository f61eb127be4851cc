"""What disguise costs: changes are paired, the threshold is fixed before, finished attacks are not scored again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mvh.experiments import attacks
from mvh.experiments.attacks import NONE, figures, losses
from mvh.tests.conftest import make_rows, write_jsonl


def scored(margins: list[float | None], threshold: float = 0.0) -> list[dict]:
    return [
        {"margin": margin, "decision": "uncertain" if margin is None else "machine" if margin > threshold + 1 else "human",
         "error": "blank" if margin is None else None}
        for margin in margins
    ]  # fmt: skip


def test_changes_are_paired_and_what_cannot_be_read_is_not_flagged() -> None:
    rows = [{"label": label, "pair": f"p{n}"} for n in range(4) for label in (1, 0)]
    before = scored([3.0, -3.0, 3.0, -3.0, 0.5, -3.0, 3.0, -3.0])
    after = scored([3.0, 0.5, -1.0, -3.0, 0.5, -3.0, None, -3.0])
    report = figures(rows, before, after, threshold=0.0, resamples=50)
    machine, human = report["machine"], report["human"]
    assert machine["at_threshold"]["rate"] == 0.5 and machine["at_threshold"]["change"] == -0.5
    assert machine["verdict"]["change"] == -0.5 and machine["unreadable"] == machine["uncertain"] == 1
    assert machine["margin"]["change"] == pytest.approx(-4 / 3)  # of the three that have one
    assert human["at_threshold"]["change"] == 0.25 and human["verdict"]["change"] == 0.0
    low, high = machine["at_threshold"]["change_interval_95"]
    assert low <= -0.5 <= high <= 0.0


def test_losses_are_means_by_kind() -> None:
    def entry(change: float) -> dict:
        rate = {"rate": 0.5, "change": change}
        return {"all": {"machine": {"texts": 2, "at_threshold": rate, "verdict": rate}}}

    found = losses({NONE: entry(0.0), "homoglyph": entry(0.0), "whitespace_half": entry(-0.02), "synonym": entry(-0.1)})
    assert found["character"] == {"attacks": 2, "at_threshold": 0.01, "verdict": 0.01}
    assert found["RAID"]["verdict"] == pytest.approx(0.05) and found["all"]["attacks"] == 3 and "model" not in found


def test_journey(detector: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [row | {"id": f"d{row['id']}", "pair": f"d{row['pair']}"} for row in make_rows(24, seed=3, words=(30, 60))]
    data, train = write_jsonl(tmp_path / "dev.jsonl", rows), write_jsonl(tmp_path / "train.jsonl", make_rows(120))
    command = [str(detector), "--data", str(data), "--humans", str(train), "--out", str(tmp_path / "attacks.json")]
    command += ["--attacks", "homoglyph", "truncate_50", "--work", str(tmp_path / "work"), "--quick"]
    report = attacks.main(command)
    assert list(report["attacks"]) == [NONE, "homoglyph", "truncate_50"]
    homoglyph = report["attacks"]["homoglyph"]
    assert homoglyph["untouched"] == 0 and homoglyph["undone"] == homoglyph["texts"] == 16
    assert homoglyph["dev.jsonl"]["machine"]["margin"]["change"] == 0.0
    assert report["losses"]["character"]["verdict"] == 0.0
    assert "calibration roles of train.jsonl" in report["threshold"]["from"] and "paraphrase" in report["not_run"]
    page = (tmp_path / "attacks.md").read_text()
    assert "homoglyph" in page and str(tmp_path) not in page
    json.loads((tmp_path / "attacks.json").read_text())

    def never(*_: object) -> None:
        raise AssertionError("scored again")

    monkeypatch.setattr(attacks, "run", never)
    assert attacks.main(command)["attacks"] == report["attacks"]
    own = [word for word in command if word not in ("--humans", str(train))]
    assert "data themselves" in attacks.main(own)["threshold"]["from"]
    with pytest.raises(AssertionError, match="scored again"):
        attacks.main([*command, "--seed", "1"])


def test_files_without_human_texts_are_refused(tmp_path: Path) -> None:
    data = write_jsonl(tmp_path / "m.jsonl", [row for row in make_rows(8) if row["label"]])
    with pytest.raises(ValueError, match="needs human texts, and m.jsonl hold none"):
        attacks.main(["nowhere", "--data", str(data), "--out", str(tmp_path / "o.json")])
