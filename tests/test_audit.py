"""An audit says what a detector does on one's own texts, and says loudly where the texts themselves are wrong."""

import hashlib
import json
import logging
import sys

import numpy as np
import pytest
from scipy.stats import beta, betabinom, binom

from mvh.audit import __main__ as audit
from mvh.audit.page import draw, markdown
from mvh.audit.page import verdict as audit_verdict
from mvh.audit.statistics import (
    audit_report,
    count_limits,
    exchanged,
    flag_counts,
    innocent_range,
    innocent_share,
    kinds_of_flags,
    length_group,
    suspicious,
)
from mvh.pvalues_mvh import with_confidence
from mvh.seen import write_seen

from .conftest import beta_binomial_limit, make_rows, write_jsonl


def own_rows(label: int, documents: int = 40, seed: int = 500) -> list[dict]:
    rows = [row for row in make_rows(2 * documents, seed=seed) if row["label"] == label]
    return [{key: row[key] for key in ("id", "text", "label", "source")} for row in rows]


def scored_rows(texts: int, label: int, p_values: np.ndarray, alpha: float = 0.1, **fields: object) -> list[dict]:
    """What the detector would have said: margins that descend with the p-values."""
    return [
        {
            "id": f"{label}-{index}",
            "label": label,
            "source": None,
            "margin": float(-np.log(p)),
            "p_value": float(p),
            "decision": int(p <= alpha),
            "tokens": 100 + index,
            "script": "latin",
            "group": "all",
            "documents": 99,
            "holds": True,
            "error": None,
            **fields,
        }
        for index, p in zip(range(texts), p_values, strict=True)
    ]


def uniform(texts: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 101, texts) / 100


# --- the statistics


def test_the_distribution_of_flags_is_that_of_a_valid_rule():
    for n, texts, alpha in ((99, 200, 0.05), (50, 30, 0.1), (700, 300, 0.02)):
        chances = flag_counts(alpha, ["all"] * texts, [n] * texts)
        assert chances.sum() == pytest.approx(1)
        assert count_limits(chances, 0.01, 0.99)[1] == beta_binomial_limit(n, texts, alpha)
    known = count_limits(flag_counts(0.05, ["all"] * 974, [900] * 974), 0.01, 0.99)[1]
    assert known == pytest.approx(0.075, abs=0.0005)
    simulated = np.random.default_rng(0)
    counts = []
    for _ in range(2000):  # two groups of their own calibration: ranks of exchangeable scores
        flags = 0
        for n, texts in ((60, 40), (20, 25)):
            calibration = np.sort(simulated.normal(size=n))
            reached = n - np.searchsorted(calibration, simulated.normal(size=texts))
            flags += int(((1 + reached) / (n + 1) <= 0.1).sum())
        counts.append(flags)
    chances = flag_counts(0.1, ["a"] * 40 + ["b"] * 25, [60] * 40 + [20] * 25)
    assert np.dot(np.arange(66), chances) == pytest.approx(np.mean(counts), rel=0.06)
    assert np.mean(np.array(counts) > 65 * count_limits(chances, 0.05, 0.95)[1]) <= 0.06


def test_a_calibration_too_small_for_alpha_flags_nothing():
    assert flag_counts(0.01, ["all"] * 3, [50] * 3).tolist() == [1, 0, 0, 0]


def test_flags_beyond_chance_are_suspicious_and_chance_is_not():
    rng = np.random.default_rng(1)
    assert suspicious(rng.uniform(size=500), 0.05, ["all"] * 500, [800] * 500) is None
    said = suspicious(
        np.concatenate([rng.uniform(size=400), rng.uniform(0, 0.01, 100)]), 0.05, ["all"] * 500, [800] * 500
    )
    assert "of 500 texts given as human" in said and "another population" in said
    assert suspicious([], 0.05) is None and suspicious([np.nan] * 50, 0.05) is None
    # exactly at the border of the binomial test, and not of the wider one that knows of a small calibration
    border = int(binom.isf(1e-3, 300, 0.05)) + 1
    p_values = np.where(np.arange(300) < border, 0.01, 0.5)
    assert suspicious(p_values, 0.05) and suspicious(np.roll(p_values, 7)[1:], 0.05) is not None
    assert suspicious(np.where(np.arange(300) < border - 1, 0.01, 0.5), 0.05) is None
    assert betabinom.sf(border - 1, 300, 2, 38) > 1e-3 and suspicious(p_values, 0.05, ["all"] * 300, [39] * 300) is None


def test_suspicion_is_rarer_than_it_claims_over_calibration_draws():
    rng = np.random.default_rng(2)
    raised = 0
    for _ in range(1000):
        calibration = np.sort(rng.normal(size=99))
        p_values = (1 + 99 - np.searchsorted(calibration, rng.normal(size=200))) / 100
        raised += suspicious(p_values, 0.1, ["all"] * len(p_values), [99] * len(p_values)) is not None
    assert raised <= binom.ppf(0.999, 1000, 0.001)


def test_exchanged_files_are_noticed():
    assert exchanged(None) is None and exchanged(0.5) is None
    assert "probably exchanged" in exchanged(0.12)


def test_length_groups_tile_the_lengths():
    names = [length_group(tokens) for tokens in (1, 63, 64, 127, 128, 2047, 2048, 10**6)]
    assert names == ["1-63", "1-63", "64-127", "64-127", "128-255", "1024-2047", "2048+", "2048+"]


def test_report_counts_every_text_and_keeps_uncertain_ones_in_the_denominator():
    human = scored_rows(50, 0, uniform(50))
    human[0] |= {"decision": -1, "p_value": 0.01, "holds": False}
    human[1] |= {
        "error": "nothing to read",
        "margin": None,
        "p_value": None,
        "decision": -1,
        "tokens": 0,
        "script": None,
    }
    machine = scored_rows(20, 1, np.full(20, 0.005), source="chat")
    report = audit_report([*human, *machine], 0.1, prevalence=0.3)
    alarms = sum(row["decision"] == 1 for row in human)
    low, high = beta.ppf([0.025, 0.975], [alarms, alarms + 1], [51 - alarms, 50 - alarms])
    assert report["false_alarms"] == {
        "flagged": alarms, "rate": alarms / 50, "interval_95": pytest.approx([low, high])
    }  # fmt: skip
    assert report["power"]["rate"] == 1.0 and report["coverage"] == 68 / 70
    assert report["errors"] == [{"id": "0-1", "error": "nothing to read"}]
    assert report["auroc"] > 0.9 and 0 < report["tpr_at_fpr"]["0.05"] <= 1
    shares = [row["fpr"] for row in report["fpr_by_alpha"]]
    assert shares == sorted(shares) and [row["alpha"] for row in report["fpr_by_alpha"]][::19] == [0.01, 0.2]
    assert sum(report["p_value_histogram"]["texts"]) == report["held"]["human"] == 48
    for groups in report["groups"].values():
        assert sum(row["human"] for row in groups.values()) == 50
        assert sum(row["machine"] for row in groups.values()) == 20
    assert set(report["groups"]["source"]) == {"chat", "unnamed"}
    assert list(report["groups"]["tokens"]) == ["unreadable", "64-127", "128-255"]
    batch = report["batch"]
    assert batch["texts"] == 69 and batch["human"] == 49, "a text that could not be read was not judged"
    assert batch["human_held"] == 48, "nor is one whose p-value may not hold"
    assert batch["expected_false_alarms"] == pytest.approx(4.8)
    assert batch["flagged_alone"] == alarms + 20 and batch["human_flagged_alone"] == alarms
    assert 20 <= batch["flagged_together"] <= batch["flagged_alone"]
    fpr = alarms / 50
    assert report["innocent_share"] == pytest.approx(0.7 * fpr / (0.7 * fpr + 0.3))
    assert report["innocent_share_95"][0] < report["innocent_share"] < report["innocent_share_95"][1]
    assert json.loads(json.dumps(report, allow_nan=False)) == report


def test_the_share_of_innocents_follows_bayes():
    assert innocent_share(0.05, 1.0, 0.0) == 1.0 and innocent_share(0.05, 0.5, 1.0) == 0.0
    assert innocent_share(0.05, 0.9, 0.1) == pytest.approx(0.045 / 0.135)
    assert innocent_share(0.0, 0.0, 0.5) is None
    with pytest.raises(ValueError, match="prevalence must lie in"):
        innocent_share(0.05, 0.9, 1.5)


def audit_page(report: dict) -> dict:
    return {"model": {"name": "x"}, "files": {"human": "h", "machine": None}, "command": "c", **report}


@pytest.mark.parametrize("machine", [0, 40])
def test_no_false_alarm_seen_is_no_promise_that_none_of_the_flagged_is_innocent(machine):
    human = scored_rows(200, 0, np.linspace(0.02, 1, 200), alpha=0.01)
    found = scored_rows(machine, 1, np.full(machine, 0.005), alpha=0.01)
    report = audit_report([*human, *found], 0.01, prevalence=0.1)
    assert report["false_alarms"]["flagged"] == 0
    highest = 0.9 * beta.ppf(0.975, 1, 200)
    low, high = report["innocent_share_95"]
    assert low == 0 and high == pytest.approx(highest / (highest + 0.1)) and 0.13 < high < 0.15
    said = audit_verdict(audit_page(report))
    assert f"between 0.0% and {high:.1%} of the flagged ones are innocent" in said and "about 0.0%" not in said
    assert ("if all of these are found, and more if not" in said) == (not machine)


def test_the_range_of_innocents_holds_the_share_at_every_rate_of_the_interval():
    for prevalence in (0.0, 0.1, 0.5, 1.0):
        for power in (0.0, 0.3, 1.0):
            for low, high in ((0.0, 0.02), (0.01, 0.09), (0.9, 1.0)):
                shares = [innocent_share(rate, power, prevalence) for rate in np.linspace(low, high, 20)]
                known = [share for share in shares if share is not None]
                found = innocent_range([low, high], power, prevalence)
                assert (found is None) == (not known)
                assert found is None or found == pytest.approx([min(known), max(known)])


def test_a_rate_beyond_the_limit_is_a_warning():
    report = audit_report(scored_rows(200, 0, uniform(200) ** 3), 0.1)
    assert report["within_limit"] is False
    assert any("calibrate on your own" in warning for warning in report["warnings"])
    assert any("given as human" in warning for warning in report["warnings"])
    fine = audit_report(scored_rows(200, 0, uniform(200)), 0.1)
    assert fine["within_limit"] is True and fine["warnings"] == []


def test_scores_that_say_nothing_are_refused():
    constant = scored_rows(5, 0, np.full(5, 0.5))
    with pytest.raises(ValueError, match="All 5 texts have the margin"):
        audit_report(constant, 0.1)
    broken = scored_rows(5, 0, uniform(5))
    broken[2]["margin"] = float("nan")
    with pytest.raises(ValueError, match="finite"):
        audit_report(broken, 0.1)
    with pytest.raises(ValueError, match="None of 2 texts could be scored, the first because: blank"):
        audit_report([{"id": i, "label": 0, "error": "blank", "decision": -1} for i in range(2)], 0.1)


def test_without_calibration_there_are_rates_and_no_p_values(tmp_path):
    rows = scored_rows(30, 0, uniform(30)) + scored_rows(10, 1, np.full(10, 0.02))
    rows = [row | {"p_value": None, "group": None, "documents": None} for row in rows]
    report = audit_report(rows, 0.1)
    assert report["fpr_by_alpha"] is None and report["false_alarms"]["rate"] is not None
    assert "carries no calibration" in report["warnings"][0]
    page = audit_page(report)
    assert "AUROC" in markdown(page, drawn=False) and draw(page, tmp_path / "audit.png")


# --- the command


def test_an_audit_of_the_toy_detector(detector, tmp_path, caplog, monkeypatch):
    human = write_jsonl(
        tmp_path / "human.jsonl", [*own_rows(0), own_rows(0)[0] | {"id": "again"}, {"id": "dark", "text": "\u200b"}]
    )
    machine = tmp_path / "machine"
    machine.mkdir()
    for row in own_rows(1, 30):
        (machine / f"{row['id']}.txt").write_text(row["text"], encoding="utf-8")
    out = tmp_path / "out"
    call = ["--model", str(detector), "--human", str(human), "--machine", str(machine), "--out", str(out)]
    with caplog.at_level(logging.WARNING):
        report = audit.main([*call, "--least", "40", "--alpha", "0.1", "--prevalence", "0.2"])
    assert json.loads((out / "audit.json").read_text(encoding="utf-8")) == report
    assert report["human"] == 41 and report["machine"] == 30 and report["alpha"] == 0.1
    assert [error["id"] for error in report["errors"]] == ["dark"] and report["coverage"] <= 70 / 71
    assert report["auroc"] > 0.9 and report["power"]["rate"] > 0.5
    assert report["false_alarms"]["rate"] <= 0.4
    assert set(report["groups"]) == {"script", "tokens", "source"}
    assert set(report["groups"]["source"]) == {"reddit", "wikihow", "unnamed"}
    assert any("1 of 42 human texts repeat an earlier one" in warning for warning in report["warnings"])
    assert all(f"WARNING: {warning}" in caplog.text for warning in report["warnings"])
    page = (out / "audit.md").read_text(encoding="utf-8")
    assert all(warning in page for warning in report["warnings"])
    assert report["model"]["dtypes"] == ["float32"] and "Computed in float32." in page
    assert report["options"] == {"alpha": 0.1}
    texts = [row["text"] for row in own_rows(0)] + ["\u200b"]
    digests = sorted(hashlib.sha256(text.encode()).digest() for text in texts)
    assert report["read"]["sha256"]["human"] == hashlib.sha256(b"".join(digests)).hexdigest()
    assert report["read"]["sha256"]["machine"] in page and "By their p-values, one by one" in page
    assert "![Audit](audit.png)" in page and (out / "audit.png").read_bytes().startswith(b"\x89PNG")

    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert not draw(report, tmp_path / "none.png") and not (tmp_path / "none.png").exists()
    assert "matplotlib is not installed" in markdown(report, drawn=False)


def test_a_detector_is_audited_as_it_is_used(detector, tmp_path):
    rows = [{"body": row["text"]} for row in own_rows(0)]
    human = write_jsonl(tmp_path / "h.jsonl", rows)
    call = ["--model", str(detector), "--human", str(human), "--text-column", "body", "--least", "40"]
    report = audit.main([*call, "--out", str(tmp_path / "any"), "--vote", "any", "--correction", "none"])
    assert report["options"] == {"vote": "any", "correction": "none"}
    assert any("for 'any' no false-alarm rate is promised" in warning for warning in report["warnings"])
    usual = audit.main([*call, "--out", str(tmp_path / "usual")])
    assert usual["false_alarms"]["flagged"] <= report["false_alarms"]["flagged"] > 0 and usual["options"] == {}
    assert usual["read"] == report["read"] and usual["read"]["text_column"] == "body" and not usual["read"]["body_only"]
    assert usual["read"]["sha256"]["machine"] is None
    body = audit.main([*call, "--out", str(tmp_path / "body"), "--body-only"])
    assert body["read"] == usual["read"] | {"body_only": True}, "these texts are body throughout"
    said = [(tmp_path / name / "audit.md").read_text(encoding="utf-8") for name in ("usual", "body")]
    assert "Texts were read whole; of tables the column `body`." in said[0]
    assert "Texts were read without headings, running heads, references and code" in said[1]
    write_jsonl(human, [*rows[:-1], {"body": rows[-1]["body"] + " once more"}])
    changed = audit.main([*call, "--out", str(tmp_path / "changed")])["read"]["sha256"]["human"]
    write_jsonl(human, rows[::-1])
    again = audit.main([*call, "--out", str(tmp_path / "again")])["read"]["sha256"]["human"]
    assert changed != usual["read"]["sha256"]["human"] == again
    with pytest.raises(ValueError, match="The revision 'main' is of a Hub repository, and .*toy.* is a folder"):
        audit.main([*call, "--out", str(tmp_path / "no"), "--revision", "main"])


def test_machine_texts_given_as_human_are_noticed(detector, tmp_path):
    human = write_jsonl(tmp_path / "h.jsonl", [{"text": row["text"]} for row in own_rows(1)])
    machine = write_jsonl(tmp_path / "m.jsonl", [{"text": row["text"]} for row in own_rows(0)])
    report = audit.audit(str(detector), human, machine, alpha=0.1, least=40)
    assert any("either machine texts are among them" in warning for warning in report["warnings"])
    assert any("probably exchanged" in warning for warning in report["warnings"])


def test_texts_no_audit_can_stand_on_are_refused_before_the_detector_is_loaded(tmp_path):
    human = write_jsonl(tmp_path / "h.jsonl", own_rows(0))
    folder = tmp_path / "checkpoint"  # empty: whoever loads it fails otherwise
    folder.mkdir()
    with pytest.raises(
        ValueError, match="h.jsonl holds 40 distinct human texts and an audit needs at least 200: 160 more"
    ):
        audit.audit(str(folder), human)
    with pytest.raises(ValueError, match="prevalence must lie in"):
        audit.audit(str(folder), human, least=40, prevalence=5)
    with pytest.raises(ValueError, match="h.jsonl is a file"):
        audit.main(["--model", str(folder), "--human", str(human), "--out", str(human)])
    both = write_jsonl(tmp_path / "m.jsonl", [*own_rows(1), {"id": 9, "text": own_rows(0)[4]["text"].upper()}])
    with pytest.raises(ValueError, match="1 texts stand in h.jsonl as human and in m.jsonl as machine"):
        audit.audit(str(folder), human, both, least=40)
    with pytest.raises(ValueError, match="only human texts are taken here"):
        audit.audit(str(folder), write_jsonl(tmp_path / "x.jsonl", own_rows(1)), least=40)
    for use, file, who in (("training", human, "human"), ("calibration", None, "machine")):
        machine = write_jsonl(tmp_path / "fresh.jsonl", own_rows(1))
        known = own_rows(0) if file else own_rows(1)
        write_seen(folder, [known[2]["text"]], use)
        with pytest.raises(ValueError, match=f"The {who} texts: 1 of 40 served the {use} of this checkpoint"):
            audit.audit(str(folder), human, machine, least=40)
        write_seen(folder, ["nothing of theirs"], use)


def test_a_detector_with_scores_that_are_no_numbers_is_refused():
    class Broken:
        class model:  # noqa: N801
            class config:  # noqa: N801
                id2label = {0: "human", 1: "machine"}

        def __call__(self, texts, **options):
            error = {"type": "ValueError", "message": "3 of 3 segment scores are not finite numbers."}
            for _ in texts:
                yield {"label": None, "margin": None, "p_value": None, "warnings": [], "error": error}

    rows = [{"id": "a", "label": 0, "source": None, "text": "x"}]
    with pytest.raises(ValueError, match="a: 3 of 3 segment scores are not finite numbers. The detector is damaged"):
        list(audit.score_rows(Broken(), rows, {}))


def test_texts_outside_the_calibration_do_not_dilute_the_rate_that_is_held_against_the_limit():
    inside = scored_rows(100, 0, np.where(np.arange(100) < 25, 0.01, 0.5))
    outside = scored_rows(300, 0, np.linspace(0.001, 0.05, 300), holds=False, decision=-1)
    alone, both = (audit_report(rows, 0.1) for rows in (inside, [*inside, *outside]))
    assert not alone["within_limit"] and not both["within_limit"]
    assert both["held"] == alone["held"] == {"human": 100, "rate": 0.25}
    assert both["false_alarms"]["rate"] == 25 / 400 and both["batch"]["flagged_alone"] == 25
    page = {"model": {"name": "x"}, "files": {"human": "h", "machine": None}, "command": "c", **both}
    said = "Among the 100 whose p-values are promised to hold a share of 0.250 has one of at most 0.1; that exceeds"
    assert said in markdown(page, drawn=False)
    assert "No human text is of the kinds" in audit_report(outside, 0.1)["warnings"][0]


def test_confident_p_values_are_held_against_their_own_limit():
    n, texts = 100, 400
    marginal, confident = (
        count_limits(flag_counts(0.05, ["all"] * texts, [n] * texts, c), 0.01, 0.99)[1] for c in (None, 0.9)
    )
    assert confident < marginal
    rng, over = np.random.default_rng(0), 0
    for _ in range(300):
        calibration = np.sort(rng.normal(size=n))
        ranks = 1 + n - np.searchsorted(calibration, rng.normal(size=texts))
        over += (with_confidence(ranks / (n + 1), n, 0.9) <= 0.05).mean() > confident
    assert over / 300 <= 0.03


def test_texts_ranked_in_the_same_sources_are_one_kind_of_the_smallest_size():
    groups, sizes = ["short", "long", "short", "greek"], [150, 130, 150, 90]
    assert kinds_of_flags(groups, sizes, [[]] * 4) == (groups, sizes)
    kinds, fewest = kinds_of_flags(groups, sizes, [["a", "b"], ["a", "b"], ["a", "b"], []])
    assert kinds == ["each of: a, b"] * 3 + ["greek"] and fewest == [130, 130, 130, 90]
    assert kinds_of_flags(groups, None, [["a"], [], ["a"], []]) == (["each of: a", "long", "each of: a", "greek"], None)


def test_the_limit_holds_for_texts_of_one_source_whatever_their_lengths():
    """The reference of their source is one draw for all of them: were length groups independent, the limit would be too low."""
    rng = np.random.default_rng(0)
    groups, n, draws = ["short", "medium", "long"] * 120, 120, 2000
    kinds = kinds_of_flags(groups, [n] * len(groups), [["posts"]] * len(groups))
    limit, apart = (
        count_limits(flag_counts(0.1, *given), 0.05, 0.95)[1] for given in (kinds, (groups, [n] * len(groups)))
    )
    rates = []
    for _ in range(draws):
        human, new = rng.normal(size=n), rng.normal(size=len(groups))
        p_values = (1 + (human[:, None] >= new).sum(axis=0)) / (n + 1)
        rates.append((p_values <= 0.1).mean())
    most = 0.05 + 4 * np.sqrt(0.05 * 0.95 / draws)
    assert np.mean(np.array(rates) > limit) <= most < np.mean(np.array(rates) > apart)
