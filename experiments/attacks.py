"""What disguise costs a detector: TPR at a fixed FPR before and after every attack of `mvh.attacks.suite`.

    python -m mvh.experiments.attacks checkpoints/mvh-mini-en --data monolingual_dev.jsonl ood_report_en.jsonl \
        --humans monolingual_train.jsonl --out results/attacks.json [--quick]

Two decisions stand beside each other: the detector's own verdicts, and a threshold at 5 % FPR on unattacked human texts
of the training side (`--humans`: texts of the calibration roles, which were not learnt from). Without `--humans` it comes
from the unattacked human texts of the data themselves, and the page says so. Human texts are attacked too: an attack that
raises false alarms harms people who write unusually. Changes are paired, text by text; their 95 % intervals are over
resampled pairs. Every finished attack is a file in `--work`: the same command again goes on from there.

Attacks of kind "model" need weights from the Hub and run only where `--attacks` names them.
"""

from __future__ import annotations

import argparse
import inspect
import json
import logging
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mvh import homoglyphs_mvh, normalization_mvh
from mvh.attacks import characters, layout, words
from mvh.attacks.suite import ATTACKS, KINDS
from mvh.audit.statistics import share
from mvh.baselines.reference import read_rows
from mvh.dataset_builder.sentences import split_sentences
from mvh.experiments.decision_page import table
from mvh.experiments.held_out import THRESHOLD, by_use, first_of_each_label, humans
from mvh.experiments.intervals import paired_interval
from mvh.experiments.kept_runs import identity, keep_run, kept_run, signature
from mvh.export import file_sha256, provenance
from mvh.metrics import threshold_at_fpr
from mvh.normalization_mvh import NORMALIZER_VERSION, normalize
from mvh.opening import local_folder
from mvh.placing import place_report
from mvh.score import DETECTORS, Scorer, predictions
from mvh.seen import refuse_seen

logger = logging.getLogger(__name__)

FPR = 0.05
LIMIT, QUICK_LIMIT = 300, 8  # texts of each label and file
NONE, HUMANS = "none", "humans"  # no attacks: the texts as they are, and those the threshold comes from
Row = dict[str, Any]


def attacked(rows: Sequence[Row], name: str, seed: int) -> list[Row]:
    """The rows with attacked texts; `NONE` leaves them."""
    return [row if name == NONE else row | {"text": ATTACKS[name](row["text"], seed)} for row in rows]


def run(rows: Sequence[Row], name: str, scorer: Scorer, seed: int) -> dict[str, Any]:
    """Margin and verdict of every attacked text, and how many texts the attack and the normaliser leave the same."""
    changed = attacked(rows, name, seed)
    scored = [
        {key: row[key] for key in ("margin", "decision")} | {"error": row["error"] and row["error"]["message"]}
        for row in predictions(iter(changed), scorer)
    ]
    pairs = list(zip(rows, changed, strict=True))
    return {
        "texts": scored,
        "untouched": sum(new["text"] == old["text"] for old, new in pairs),
        "undone": sum(normalize(new["text"]).text == old["normalised"] for old, new in pairs),
    }


def figures(
    rows: Sequence[Row], before: Sequence[Row], after: Sequence[Row], threshold: float, resamples: int
) -> dict[str, Any]:
    """Rates after an attack and their change, for machine and for human texts.

    Args:
        rows: The texts' labels and pairs.
        before: Margin and decision of each text unattacked.
        after: The same under attack. A text that could not be read is not flagged.
        threshold: Flag above it.
        resamples: Of every interval.
    """
    report: dict[str, Any] = {}
    for label, name in ((1, "machine"), (0, "human")):
        places = [place for place, row in enumerate(rows) if row["label"] == label]
        pairs = [rows[place]["pair"] for place in places]
        old, new = ([scores[place] for place in places] for scores in (before, after))
        kinds = {"at_threshold": lambda text: text["margin"] is not None and text["margin"] > threshold,
                 "verdict": lambda text: text["decision"] == "machine"}  # fmt: skip
        part: dict[str, Any] = {"texts": len(places)}
        for kind, flagged in kinds.items():
            flags = np.array([[flagged(text) for text in texts] for texts in (old, new)], dtype=float)  # (2, texts)
            part[kind] = share(int(flags[1].sum()), len(places)) | _change(flags[1] - flags[0], pairs, resamples)
        known = [i for i in range(len(places)) if old[i]["margin"] is not None and new[i]["margin"] is not None]
        moved = np.array([new[i]["margin"] - old[i]["margin"] for i in known])
        part["margin"] = _change(moved, [pairs[i] for i in known], resamples)
        part["uncertain"] = sum(text["decision"] == "uncertain" for text in new)
        part["unreadable"] = sum(text["error"] is not None for text in new)
        report[name] = part
    return report


def _change(differences: np.ndarray, pairs: Sequence[str], resamples: int) -> dict[str, Any]:
    """Mean of paired differences with its interval; None where there are none."""
    if not len(differences):
        return {"change": None, "change_interval_95": None}
    interval = paired_interval(lambda rows: float(differences[rows].mean()), pairs, resamples)
    return {"change": float(differences.mean()), "change_interval_95": interval}


def losses(attacks: dict[str, Any]) -> dict[str, Any]:
    """Mean loss of TPR by kind of attack, over RAID's and over all that ran; positive = lost."""
    kinds = {kind: [name for name in attacks if name != NONE and ATTACKS[name].kind == kind] for kind in KINDS}
    kinds |= {"RAID": [name for name in attacks if name != NONE and ATTACKS[name].raid],
              "all": [name for name in attacks if name != NONE]}  # fmt: skip
    return {
        kind: {"attacks": len(names)}
        | {
            decision: 0.0 - float(np.mean([attacks[name]["all"]["machine"][decision]["change"] for name in names]))
            for decision in ("at_threshold", "verdict")
        }
        for kind, names in kinds.items()
        if names and all(attacks[name]["all"]["machine"]["texts"] for name in names)
    }


def page(report: dict[str, Any]) -> str:
    """The report as Markdown."""
    lines = ["# What disguise costs", "", f"`{report['command']}`, commit {(report['commit'] or 'unknown')[:12]}.", ""]
    lines += [
        f"{report['detector']['name']}. TPR and FPR at the threshold {report['threshold']['value']:.3f} ({FPR:.0%} FPR on "
        f"{report['threshold']['texts']} {report['threshold']['from']}), and by the detector's verdicts. Changes in points, "
        "with 95 % intervals over resampled pairs; margin: mean change of the machine texts' logit margin; undone: share of "
        "the texts whose normal form the attack leaves the same.",
        "",
        "A detector whose recipe has `perturb`, as that of the shipped English one, has learnt from texts of the training "
        "files that were changed by these very functions and tables, up to these strengths, paraphrase aside: its losses are "
        "those under attacks it knows. `synonym` changes fewer words than its strength says, as few are in its table.",
        "",
    ]
    heads = ["attack", "strength", "TPR", "change", "TPR, verdict", "change", "margin", "FPR", "FPR, verdict", "undone"]
    for file in ("all", *report["files"]):
        texts = report["attacks"][NONE][file]
        lines += [f"## {file} ({texts['human']['texts']} human, {texts['machine']['texts']} machine)", ""]
        body = []
        for name, entry in report["attacks"].items():
            machine, human = entry[file]["machine"], entry[file]["human"]
            strength = "" if name == NONE else f"{ATTACKS[name].strength:g}"
            undone = entry["undone"] / entry["texts"] if file == "all" and name != NONE else ""
            body.append(
                [name, strength, machine["at_threshold"]["rate"], _points(machine["at_threshold"])]
                + [machine["verdict"]["rate"], _points(machine["verdict"]), machine["margin"]["change"]]
                + [human["at_threshold"]["rate"], human["verdict"]["rate"], undone]
            )
        lines += table(heads, body)
    lines += ["## Mean loss of TPR, all files", ""]
    body = [[kind, loss["attacks"], loss["at_threshold"], loss["verdict"]] for kind, loss in report["losses"].items()]
    lines += table(["attacks", "number", "at the threshold", "by verdict"], body)
    if report["not_run"]:
        lines += [f"Not run here: {', '.join(report['not_run'])} (needs a model from the Hub).", ""]
    return "\n".join(lines)


def _points(rate: dict[str, Any]) -> str:
    if rate["change"] is None or rate["change_interval_95"] is None:
        return "–"
    low, high = rate["change_interval_95"]
    return f"{100 * rate['change']:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m mvh.experiments.attacks", description=__doc__.split("\n")[0])
    parser.add_argument("detector", help="checkpoint folder or Hub name, or what --kind says")
    parser.add_argument("--kind", choices=DETECTORS, default="checkpoint", help="what the detector is, see mvh.score")
    parser.add_argument("--positive-label", help="of a hub classifier: the label that means machine")
    parser.add_argument("--data", type=Path, required=True, nargs="+", help="JSONL files with both labels")
    parser.add_argument("--humans", type=Path, help="training file; the threshold comes from its calibration roles")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write; a .md file is written beside it")
    parser.add_argument("--attacks", nargs="+", choices=ATTACKS, help="default: all that need no model from the Hub")
    parser.add_argument("--limit", type=int, default=LIMIT, help="texts of each label and file (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the sample and of what the attacks draw")
    parser.add_argument("--role-seed", type=int, default=0, help="seed of the detector's own roles, for --humans")
    parser.add_argument("--work", type=Path, default=Path("runs/attacks"), help="folder of the finished attacks")
    parser.add_argument("--quick", action="store_true", help="a few texts: whether it runs, not what it finds")
    return parser


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Command line: see the module's docstring. Returns what the JSON file holds."""
    options = parser().parse_args(arguments)
    if options.out.suffix != ".json":
        raise ValueError(f"--out must name a .json file, got {options.out.name}.")
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    limit = min(options.limit, QUICK_LIMIT) if options.quick else options.limit
    whole = {path.name: read_rows(path) for path in options.data}
    files = {name: first_of_each_label(rows, limit, options.seed, "attacks") for name, rows in whole.items()}
    rows = [row | {"file": name} for name, members in files.items() for row in members]
    if not humans(rows):
        raise ValueError(f"The threshold needs human texts, and {', '.join(files)} hold none; name --humans too.")
    named = {} if options.positive_label is None else {"positive_label": options.positive_label}
    scorer, detector = DETECTORS[options.kind](options.detector, named)
    if options.kind == "checkpoint":
        refuse_seen(local_folder(options.detector), [row["text"] for row in rows], "The texts", ("training",))
    names = [NONE, *(options.attacks or [name for name, attack in ATTACKS.items() if attack.kind != "model"])]
    fixed = [
        identity(options.detector),
        options.kind,
        str(named),
        str(options.seed),
        str(limit),
        *map(file_sha256, options.data),
    ]
    fixed += [inspect.getsource(room) for room in (normalization_mvh, homoglyphs_mvh, split_sentences)]
    rooms = [inspect.getsource(room) for room in (characters, words, layout)]
    rooms += [json.dumps(words.word_table(name)) for name in ("synonyms", "spellings")]

    def finished(name: str, texts: Sequence[Row], attack: str) -> dict[str, Any]:
        """Kept figures of a run, or new ones."""
        made_by = [] if attack == NONE else [*rooms, str(ATTACKS[attack].strength)]
        made_by += [file_sha256(options.humans), str(options.role_seed)] if name == HUMANS else []
        signed = signature([*fixed, name, *made_by])
        path = options.work / ("quick" if options.quick else "") / f"{Path(detector['name']).name}-{name}.json"
        known = kept_run(path, signed)
        if known is None:
            logger.info("%s: %d texts", name, len(texts))
            known = keep_run(path, signed, {**run(texts, attack, scorer, options.seed), "made_by": provenance()})
        return known

    results = {name: finished(name, rows, name) for name in names}
    if options.humans:
        uses = by_use(read_rows(options.humans), [row for part in whole.values() for row in part], options.role_seed)
        people = first_of_each_label(humans(uses[THRESHOLD]), limit if options.quick else None, options.seed, "attacks")
        if options.kind == "checkpoint":
            texts = [row["text"] for row in people]
            refuse_seen(local_folder(options.detector), texts, "The texts for the threshold", ("training",))
        origin = f"human texts of the calibration roles of {options.humans.name}"
        scored = finished(HUMANS, people, NONE)["texts"]
    else:
        origin = "unattacked human texts of the data themselves"
        told = zip(rows, results[NONE]["texts"], strict=True)
        scored = [text for row, text in told if row["label"] == 0]
    margins = [text["margin"] for text in scored if text["margin"] is not None]
    threshold = threshold_at_fpr(margins, FPR)
    resamples = 50 if options.quick else 500
    attacks: dict[str, Any] = {}
    for name, result in results.items():
        entry: dict[str, Any] = {key: result[key] for key in ("untouched", "undone")} | {"texts": len(rows)}
        for file in ("all", *files):
            places = [place for place, row in enumerate(rows) if file in ("all", row["file"])]
            before, after = ([part["texts"][place] for place in places] for part in (results[NONE], result))
            entry[file] = figures([rows[place] for place in places], before, after, threshold, resamples)
        attacks[name] = entry
    arguments = sys.argv[1:] if arguments is None else arguments
    report = {
        "command": "python -m mvh.experiments.attacks " + shlex.join(shown(arguments)),
        **provenance(),
        "normalizer": NORMALIZER_VERSION,
        "detector": detector,
        "quick": options.quick,
        "seed": options.seed,
        "files": {path.name: file_sha256(path) for path in options.data},
        "threshold": {"fpr": FPR, "value": threshold, "texts": len(margins), "from": origin},
        "strengths": {name: ATTACKS[name].strength for name in names if name != NONE},
        "attacks": attacks,
        "losses": losses(attacks),
        "not_run": [name for name in ATTACKS if name not in names],
    }
    place_report(options.out, report, page(report))
    for kind, loss in report["losses"].items():
        logger.info(
            "%s: mean loss of TPR %.3f at the threshold, %.3f by verdict", kind, loss["at_threshold"], loss["verdict"]
        )
    return report


def shown(arguments: Sequence[str]) -> list[str]:
    """The arguments with absolute paths by their last part: no path of this machine in a result."""
    return [Path(word).name if Path(word).is_absolute() else word for word in arguments]


if __name__ == "__main__":
    main()
