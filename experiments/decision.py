"""How far a verdict can be trusted: false alarms, power and the choices behind them, measured on real text.

    python -m mvh.experiments.decision checkpoints/mvh-mini-en --dataset runs/mvh-mini-en/data \
        --report monolingual_dev.jsonl ood_report_en.jsonl long_human_en.jsonl --cache runs/decision --out results/decision.json

Segment margins of all texts are scored once into the cache (what these weights have scored of these texts is not scored
again); all that follows is arithmetic on them, through the functions that users' verdicts go through. Choices (document
statistic, groups, sources, default vote) are made on the choosing role against the calibration roles; the report files are
used for figures only. Writes OUT, the same as Markdown, and a figure.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mvh.audit.statistics import count_limits, flag_counts, share
from mvh.calibration_mvh import (
    MIN_GROUP_DOCUMENTS,
    Calibration,
    Document,
    decode_calibration,
    encode_calibration,
)
from mvh.corrections_mvh import CORRECTIONS
from mvh.dataset_builder.semeval import read_semeval
from mvh.experiments.decision_page import draw, page
from mvh.experiments.kept_runs import signature
from mvh.experiments.scored import Scored, human, machine, scored_rows
from mvh.export import file_sha256, provenance
from mvh.metrics import auroc
from mvh.normalization_mvh import NORMALIZER_VERSION
from mvh.placing import place_report
from mvh.statistics_mvh import STATISTICS
from mvh.voting_mvh import decide, document_p_value

ALPHAS = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2)
SPLITS = 100
OWN = 200  # documents a user calibrates with
LENGTHS = ((1, 1), (2, 3), (4, 8), (9, None))  # segments of a document
NO_GROUPS = 10**9
TOKEN_EDGES = (65, 129, 257, 513)
LEAST_OF_A_SOURCE = 50  # documents in the random splits: their calibrations are a third as large as the shipped one


def p_values(documents: Sequence[Document], calibration: Calibration, confidence: float | None = None) -> np.ndarray:
    """Document p-values, shape (n,)."""
    return np.array([document_p_value(d, calibration, confidence) for d in documents] or [np.nan])


def compare_statistics(choose: Sequence[Scored], segment: list[Scored], document: list[Scored]) -> list[dict[str, Any]]:
    """Every document statistic, with one calibration for all lengths and with one per length group."""
    rows = []
    for groups, minimum in (("script and length", MIN_GROUP_DOCUMENTS), ("none", NO_GROUPS)):
        for name in STATISTICS:
            calibration = decode_calibration(encode_calibration(segment, document, {}, name, minimum=minimum))
            p_human, p_machine = p_values(human(choose), calibration), p_values(machine(choose), calibration)
            at = {}
            for rate in (0.05, 0.01):  # the share of machine texts below the p-value that this share of humans reaches
                at[str(rate)] = float((p_machine < np.quantile(p_human, rate, method="higher")).mean())
            labels = [0] * len(p_human) + [1] * len(p_machine)
            rows.append(
                {
                    "groups": groups,
                    "statistic": name,
                    "auroc": auroc(labels, -np.concatenate([p_human, p_machine])),
                    "fpr": float((p_human <= 0.05).mean()),
                    "tpr": float((p_machine <= 0.05).mean()),
                    "tpr_at_equal_fpr": at,
                }
            )
    return rows


def false_alarms_by_length(
    choose: Sequence[Scored], segment: list[Scored], document: list[Scored]
) -> list[dict[str, Any]]:
    """FPR and TPR of the mean margin by length in tokens, with one calibration for all lengths and one per group."""
    rows = []
    for groups, minimum in (("script and length", MIN_GROUP_DOCUMENTS), ("none", NO_GROUPS)):
        calibration = decode_calibration(encode_calibration(segment, document, {}, minimum=minimum))
        for low, high in zip((1, *TOKEN_EDGES), (*(edge - 1 for edge in TOKEN_EDGES), 10**9), strict=True):
            part = [d for d in choose if low <= d.tokens <= high]
            rates = [float((p_values(side, calibration) <= 0.05).mean()) for side in (human(part), machine(part))]
            counts = {"human": len(human(part)), "machine": len(machine(part))}
            rows.append({"groups": groups, "tokens": low, **counts, "fpr": rates[0], "tpr": rates[1]})
    return rows


def mixture_or_each_source(
    choose: Sequence[Scored], segment: list[Scored], document: list[Scored]
) -> list[dict[str, Any]]:
    """FPR and TPR of the mean margin by source, ranked among documents of its kind and among those of each source, too."""
    rows = []
    for each in (False, True):
        calibration = decode_calibration(encode_calibration(segment, document, {}, by_source=each))
        for source in ("all", *sorted({d.source for d in choose})):
            part = [d for d in choose if source in ("all", d.source)]
            rates = [float((p_values(side, calibration) <= 0.05).mean()) for side in (human(part), machine(part))]
            counts = {"human": len(human(part)), "machine": len(machine(part))}
            rows.append({"each_source": each, "source": source, **counts, "fpr": rates[0], "tpr": rates[1]})
    return rows


def compare_votes(documents: Sequence[Scored], calibration: Calibration) -> list[dict[str, Any]]:
    """Every vote with the corrections it depends on, and the article's softmax p-values, at alpha 0.05."""
    rows = []
    settings = [("conformal", "calibrated", "none")]
    settings += [("conformal", vote, correction) for vote in ("majority", "any") for correction in CORRECTIONS]
    settings += [("softmax", "majority", correction) for correction in ("none", "holm", "bh")]
    for kind, vote, correction in settings:
        flagged = [decide(d, calibration, 0.05, correction, vote, kind)["label"] == 1 for d in documents]
        hits = {label: [f for f, d in zip(flagged, documents, strict=True) if d.label == label] for label in (0, 1)}
        name = vote if vote == "calibrated" else f"{vote} of segments, {correction}"
        rows.append(
            {
                "vote": name,
                "p_values": kind,
                "fpr": float(np.mean(hits[0])),
                "tpr": float(np.mean(hits[1])) if hits[1] else None,
            }
        )
    return rows


def plain_majority(documents: Sequence[Scored], false_alarms: float) -> float | None:
    """TPR of a majority vote of uncorrected segment labels (None without human documents to set its threshold on).

    The threshold is moved to that share of false alarms.

    A document's score is the largest threshold at which more than half of its segments lie above: the lower median of
    its margins. Human documents beyond the share are not flagged (ties count against the vote).
    """
    if not human(documents):
        return None
    score = lambda d: float(np.sort(d.margins)[(len(d.margins) - 1) // 2])  # noqa: E731
    humans = np.sort([score(d) for d in human(documents)])[::-1]
    allowed = int(np.floor(false_alarms * len(humans) + 1e-9))
    threshold = humans[allowed] if allowed < len(humans) else -np.inf
    return float(np.mean([score(d) > threshold for d in machine(documents)]))


def verdicts(documents: Sequence[Scored], calibration: Calibration, alpha: float = 0.05) -> dict[str, Any]:
    """False alarms with interval and limit, power, coverage of vote="calibrated"; uncertain stays in the denominators."""
    labels = [decide(d, calibration, alpha, "bh", "calibrated", "conformal")["label"] for d in documents]
    humans = [d for d in documents if d.label == 0]
    flags = [label == 1 for label, d in zip(labels, documents, strict=True) if d.label == 0]
    found = [label == 1 for label, d in zip(labels, documents, strict=True) if d.label == 1]
    chances = flag_counts(alpha, *kinds(humans, calibration))
    confident = p_values(humans, calibration, 0.9) <= alpha
    return {
        "human": len(flags),
        "machine": len(found),
        "fpr": share(sum(flags), len(flags)),
        "limit_99": count_limits(chances, 0.005, 0.99)[1],
        "tpr": share(sum(found), len(found)),
        "fpr_with_confidence_0.9": float(confident.mean()),
        "tpr_with_confidence_0.9": float((p_values(machine(documents), calibration, 0.9) <= alpha).mean())
        if found
        else None,
        "coverage": float(np.mean([label is not None for label in labels])),
        "tpr_of_plain_majority_at_that_fpr": plain_majority(documents, float(np.mean(flags))) if found else None,
    }


def kinds(humans: Sequence[Scored], calibration: Calibration) -> tuple[list[str], list[int]]:
    """A kind that each human document is of, and its calibration documents: its source where that is known, else its group."""
    places = {(source.script, source.name): len(calibration.groups) + i for i, source in enumerate(calibration.sources)}
    keys = [places.get((d.script, d.source), calibration.group_of(d.script, d.tokens)) for d in humans]
    return list(map(str, keys)), [calibration.document[key].documents for key in keys]


def by_source(documents: Sequence[Scored], calibration: Calibration) -> dict[str, Any]:
    """`verdicts` of all documents and of each source."""
    sources = sorted({d.source for d in documents})
    parts = {"all": list(documents), **{s: [d for d in documents if d.source == s] for s in sources}}
    return {name: verdicts(part, calibration) for name, part in parts.items()}


def random_splits(humans: Sequence[Scored], each_source: bool = False, seed: int = 0) -> dict[str, Any]:
    """Human documents of one file dealt at random into calibration (two quarters) and test (half), SPLITS times.

    With `each_source` a document is ranked among those of each source, too. Groups and sources need LEAST_OF_A_SOURCE.
    Returns the realised false-alarm rate against alpha: its mean over the splits, its 5 % and 95 % quantiles, and its mean
    by source; and how often the rate at alpha 0.05 is above alpha, with marginal p-values and "with confidence 0.9".
    """
    rng = np.random.default_rng(seed)
    rates: list[list[float]] = []
    sources: dict[str, list[list[float]]] = {source: [] for source in sorted({d.source for d in humans})}
    over: dict[str, list[float]] = {"marginal": [], "confident": []}
    for _ in range(SPLITS):
        order = rng.permutation(len(humans))
        quarter = len(humans) // 4
        a, b, rest = order[:quarter], order[quarter : 2 * quarter], order[2 * quarter :]
        sides = [humans[i] for i in a], [humans[i] for i in b]
        packed = encode_calibration(*sides, {}, minimum=LEAST_OF_A_SOURCE, by_source=each_source)
        calibration = decode_calibration(packed)
        test = [humans[i] for i in rest]
        p = p_values(test, calibration)
        rates.append([float((p <= alpha).mean()) for alpha in ALPHAS])
        over["marginal"].append(float((p <= 0.05).mean()))
        over["confident"].append(float((p_values(test, calibration, 0.9) <= 0.05).mean()))
        for source, values in sources.items():
            mine = p[[d.source == source for d in test]]
            values.append([float((mine <= alpha).mean()) for alpha in ALPHAS])
    table = np.array(rates)
    return {
        "documents": len(humans),
        "alphas": list(ALPHAS),
        "mean": table.mean(0).tolist(),
        "quantile_05": np.quantile(table, 0.05, axis=0).tolist(),
        "quantile_95": np.quantile(table, 0.95, axis=0).tolist(),
        "mean_by_source": {source: np.mean(values, axis=0).tolist() for source, values in sources.items()},
        "share_of_splits_above_alpha_0.05": {key: float(np.mean(np.array(v) > 0.05)) for key, v in over.items()},
        "mean_fpr_with_confidence_0.9": float(np.mean(over["confident"])),
    }


def under_shift(humans: Sequence[Scored]) -> dict[str, dict[str, float]]:
    """False-alarm rate at alpha 0.05 when calibrated on one source (rows) and tested on another (columns)."""
    sources = sorted({d.source for d in humans if sum(e.source == d.source for e in humans) >= OWN})
    table: dict[str, dict[str, float]] = {}
    for source in sources:
        mine = [d for d in humans if d.source == source]
        calibration = decode_calibration(encode_calibration(mine[::2], mine[1::2], {}))
        others = {s: [d for d in humans if d.source == s] for s in sources if s != source}
        table[source] = {name: float((p_values(part, calibration) <= 0.05).mean()) for name, part in others.items()}
    return table


def own_calibration(documents: Sequence[Scored], about: str, seed: int = 0) -> dict[str, Any]:
    """What calibrating on OWN own human documents changes: SPLITS random draws, tested on the other documents.

    The limit is the 99 % beta-binomial one for each draw's sizes; a valid method exceeds it in one draw of a hundred.
    """
    humans, machines = human(documents), machine(documents)
    if len(humans) < 2 * OWN:
        return {
            "human": len(humans),
            "not_run": f"{about} has {len(humans)} human documents; {OWN} to calibrate and as many to test are needed.",
        }
    rng = np.random.default_rng(seed)
    false_alarms, power, inside = [], [], []
    for _ in range(SPLITS):
        order = rng.permutation(len(humans))
        a, b, rest = order[: OWN // 2], order[OWN // 2 : OWN], order[OWN:]
        calibration = decode_calibration(encode_calibration([humans[i] for i in a], [humans[i] for i in b], {}))
        test = [humans[i] for i in rest]
        rate = float((p_values(test, calibration) <= 0.05).mean())
        inside.append(rate <= count_limits(flag_counts(0.05, *kinds(test, calibration)), 0.005, 0.99)[1])
        false_alarms.append(rate)
        power.append(float((p_values(machines, calibration) <= 0.05).mean()) if machines else np.nan)
    return {
        "human": len(humans),
        "fpr_mean": float(np.mean(false_alarms)),
        "fpr_quantiles_05_95": np.quantile(false_alarms, [0.05, 0.95]).tolist(),
        "tpr_mean": None if not machines else float(np.mean(power)),
        "share_of_draws_within_limit_99": float(np.mean(inside)),
    }


def corrections_by_length(documents: Sequence[Scored], calibration: Calibration) -> list[dict[str, Any]]:
    """Any-flag rate on human documents and flagged share of the segments of machine ones, by number of segments."""
    rows = []
    for low, high in LENGTHS:
        part = [d for d in documents if len(d.margins) >= low and (high is None or len(d.margins) <= high)]
        row: dict[str, Any] = {
            "segments": f"{low}" if low == high else f"{low} to {high}" if high else f"{low} or more"
        }
        row |= {"human": len(human(part)), "machine": len(machine(part))}
        for correction in CORRECTIONS:
            share_flagged: dict[int, list[np.ndarray]] = {0: [], 1: []}
            for d in part:
                share_flagged[d.label].append(decide(d, calibration, 0.05, correction, "any", "conformal")["rejected"])
            row[correction] = {
                "any_flag_human": float(np.mean([f.any() for f in share_flagged[0]])) if share_flagged[0] else None,
                "power": float(np.mean([f.mean() for f in share_flagged[1]])) if share_flagged[1] else None,
            }
        rows.append(row)
    return rows


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Command line: see the module's docstring."""
    parser = argparse.ArgumentParser(prog="mvh.experiments.decision", description=__doc__.split("\n")[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--dataset", type=Path, required=True, help="folder made by mvh.dataset_builder")
    parser.add_argument(
        "--report", type=Path, nargs="+", required=True, help="JSONL files for reporting; the first is split"
    )
    parser.add_argument("--cache", type=Path, required=True, help="folder of scored texts")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    command = "python -m mvh.experiments.decision " + shlex.join(sys.argv[1:] if argv is None else argv)

    weights = file_sha256(args.checkpoint / "model.safetensors")

    def scored(name: str, made_of: Path, rows: Callable[[], Iterable[dict[str, Any]]]) -> list[Scored]:
        """Texts' scores under a name that other weights, another normaliser or other texts do not have."""
        signed = signature([weights, NORMALIZER_VERSION, file_sha256(made_of)])
        return scored_rows(str(args.checkpoint), args.cache, f"{name}-{signed}", rows)

    def role(name: str) -> list[Scored]:
        def rows() -> Iterable[dict[str, Any]]:
            from datasets import load_dataset

            documents = load_dataset(str(args.dataset), "documents", split=name)
            return [row for row in documents if name == "choose" or row["label"] == 0]

        return scored(name, args.dataset / "manifest.json", rows)

    choose, segment, document = role("choose"), role("calibration_segments"), role("calibration_documents")
    files = {}
    for path in args.report:
        reader = partial(read_semeval, path, _refuse)
        files[path.name] = scored(path.stem, path, reader)
    config = json.loads((args.checkpoint / "config.json").read_text(encoding="utf-8"))
    shipped = decode_calibration(config["calibration"])
    first = args.report[0].name
    report: dict[str, Any] = {
        "command": command,
        "splits": SPLITS,
        "own": OWN,
        **provenance(),
        "data": {path.name: file_sha256(path) for path in args.report},
        "shipped": {
            "name": config["name"],
            "calibration": config["calibration"]["id"],
            "statistic": shipped.statistic,
            "vote": config["vote"] or "calibrated",
            "sources": [source.name for source in shipped.sources],
            "power_by_tokens": config["calibration"]["about"].get("power_by_tokens"),
        },
        "statistics": compare_statistics(choose, human(segment), human(document)),
        "lengths": false_alarms_by_length(choose, human(segment), human(document)),
        "mixture_or_each_source": mixture_or_each_source(choose, human(segment), human(document)),
        "votes": compare_votes(choose, shipped),
        "files": {name: by_source(part, shipped) for name, part in files.items()},
        "own_calibration": {name: own_calibration(part, name) for name, part in files.items()},
        "split_file": first,
        "random_splits": random_splits(human(files[first])),
        "random_splits_each_source": random_splits(human(files[first]), each_source=True),
        "least_of_a_source": LEAST_OF_A_SOURCE,
        "shift": under_shift([d for part in files.values() for d in human(part)]),
        "corrections": {name: corrections_by_length(part, shipped) for name, part in files.items()},
        "figure": args.out.with_suffix(".png").name,
    }
    draw(report["random_splits"], args.out.with_suffix(".png"))
    place_report(args.out, report, page(report))
    return report


def _refuse(bad: dict[str, Any]) -> None:
    raise ValueError(bad["message"])


if __name__ == "__main__":
    main()
