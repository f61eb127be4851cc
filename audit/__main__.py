"""A detector on one's own texts: the false-alarm rate it really has there, with intervals, beside the one it promises.

    mvh audit --model checkpoints/mvh-mini-en --human my_texts/ --machine generated.jsonl --out runs/audit

Texts come as `dataset_builder.texts` reads them: a folder of documents (txt, md, html, pdf, docx, odt), or a table (.jsonl,
.csv, .tsv, .parquet). What is audited is the detector as it is used: with the options of its call.
They must have served neither training nor calibration (`seen.py` knows), and at least 200 distinct human ones are needed.
"uncertain" stays in every denominator as not flagged; AUROC runs over all texts by margin. Writes audit.json, audit.md and,
where matplotlib is installed, audit.png: with how the texts were read, and a SHA-256 of those that were judged.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from mvh.audit.page import draw, markdown
from mvh.audit.statistics import audit_report, innocent_share
from mvh.dataset_builder.texts import read_own_rows
from mvh.detector import load_detector
from mvh.export import provenance
from mvh.languages_mvh import script_and_language
from mvh.metrics import HUMAN, MACHINE, UNCERTAIN
from mvh.opening import local_folder
from mvh.results_mvh import judged, settings_of
from mvh.seen import refuse_seen, text_hashes
from mvh.usage import documented

logger = logging.getLogger("mvh.audit")

CALL_OPTIONS = ("alpha", "correction", "vote", "confidence", "document_type", "precision", "batch_size")
LEAST = 200  # human texts; at alpha 0.05 ten false alarms are expected, and the 95 % interval is 0.02 to 0.09


def distinct(rows: list[dict[str, Any]], kind: str) -> tuple[list[dict[str, Any]], NDArray[np.uint64], str | None]:
    """Rows without repeats of an earlier text, their hashes, and a sentence where some were left out."""
    hashes = text_hashes(row["text"] for row in rows)
    _, first = np.unique(hashes, return_index=True)
    kept = np.sort(first)
    left = len(rows) - len(kept)
    said = f"{left} of {len(rows)} {kind} texts repeat an earlier one and are left out." if left else None
    return [rows[index] for index in kept], hashes[kept], said


def gather(
    folder: Path, human: Path, machine: Path | None, least: int, body_only: bool = False, text_column: str = "text"
) -> tuple[list[dict[str, Any]], list[str]]:
    """Read the texts and refuse what would spoil an audit; labelled rows and sentences to be said.

    Args:
        folder: The checkpoint's, or one that holds the files that say what it has seen.
        human: See `audit`, as the others.
        machine: See `audit`.
        least: See `audit`.
        body_only: See `audit`.
        text_column: See `audit`.

    Raises:
        ValueError: If there are fewer than `least` distinct human texts, a text is given as both, or a text served the
            checkpoint's training or calibration.
    """
    rows, mine, said = distinct(read_own_rows(human, HUMAN, body_only, text_column), "human")
    warnings = [said]
    if len(rows) < least:
        raise ValueError(
            f"{human.name} holds {len(rows)} distinct human texts and an audit needs at least {least}: "
            f"{least - len(rows)} more."
        )
    labelled = [row | {"label": HUMAN} for row in rows]
    warnings += refuse_seen(folder, [row["text"] for row in rows], "The human texts")
    if machine is not None:
        others, theirs, said = distinct(read_own_rows(machine, MACHINE, body_only, text_column), "machine")
        warnings.append(said)
        shared = np.flatnonzero(np.isin(mine, theirs))
        if len(shared):
            raise ValueError(
                f"{len(shared)} texts stand in {human.name} as human and in {machine.name} as machine, the first is "
                f"{rows[shared[0]]['id']} of {human.name}."
            )
        refuse_seen(folder, [row["text"] for row in others], "The machine texts")  # what is unknown was said above
        labelled += [row | {"label": MACHINE} for row in others]
    return labelled, [warning for warning in warnings if warning]


def texts_sha256(rows: Sequence[dict[str, Any]], label: int) -> str | None:
    """What tells the texts of a label from others: SHA-256 of the sorted SHA-256 of each in UTF-8; None without texts."""
    digests = sorted(hashlib.sha256(row["text"].encode("utf-8")).digest() for row in rows if row["label"] == label)
    return hashlib.sha256(b"".join(digests)).hexdigest() if digests else None


def score_rows(
    detect: Any, rows: Sequence[dict[str, Any]], options: Mapping[str, Any]
) -> Iterator[tuple[dict[str, Any], list[str]]]:
    """Each row as `audit_report` wants it, and the warnings of its result, in order.

    Raises:
        ValueError: If the detector's scores are not finite.
    """
    names = {detect.model.config.id2label[label]: label for label in (HUMAN, MACHINE)}
    results = detect((row["text"] for row in rows), **options)
    for row, result in zip(rows, tqdm(results, total=len(rows), unit="text", disable=None), strict=True):
        error = result["error"]["message"] if "error" in result else None
        if error is not None and "not finite" in error:
            raise ValueError(f"{row['id']}: {error} The detector is damaged.")
        basis = result.get("calibration") or {}
        yield (
            {
                **{key: row[key] for key in ("id", "label", "source")},
                **{key: result[key] for key in ("margin", "p_value")},
                "decision": names.get(result["label"], UNCERTAIN),
                "tokens": 0 if error else sum(segment.core_tokens for segment in detect.segments(row["text"])),
                "script": None if error else script_and_language(row["text"])[0],
                "group": basis.get("group"),
                "documents": basis.get("documents"),
                "sources": basis.get("sources"),
                "holds": judged(result),
                "dtype": None if error else result["model"]["dtype"],
                "error": error,
            },
            result["warnings"],
        )


def audit(
    model: str,
    human: Path,
    machine: Path | None = None,
    least: int = LEAST,
    prevalence: float | None = None,
    body_only: bool = False,
    text_column: str = "text",
    revision: str | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Run a detector over own texts and report what it does there.

    Args:
        model: Checkpoint folder, Hub name, or name of a shipped detector.
        human: Folder or file of human texts, see `dataset_builder.texts`.
        machine: The same of machine texts.
        least: Human texts needed.
        prevalence: Share of machine texts the reader believes in.
        body_only: Leave out headings, running heads, references and code, as `mvh detect --body-only` does.
        text_column: Where a table has its texts.
        revision: Commit, tag or branch of a model on the Hub.
        **options: Of the detector's call, such as `alpha` or `vote`; those that are None are the checkpoint's own.

    Returns:
        The content of audit.json, less the command.

    Raises:
        ValueError: If texts or scores are such that no audit can stand on them.
    """
    if prevalence is not None:
        innocent_share(0.0, 1.0, prevalence)  # raises before the work, not after it
    options = {name: value for name, value in options.items() if value is not None}
    folder = local_folder(model, revision, allow_patterns=["*_texts.npz", "config.json"])
    rows, warnings = gather(folder, human, machine, least, body_only, text_column)
    detect = load_detector(model, **({} if revision is None else {"revision": revision})).pipeline
    pairs = list(score_rows(detect, rows, options))
    scored, said = [row for row, _ in pairs], [set(said) for row, said in pairs if row["error"] is None]
    warnings += sorted(set.intersection(*said)) if said else []  # what holds of every text is said once
    config = detect.model.config
    report = audit_report(scored, options.get("alpha", config.alpha), prevalence, options.get("confidence"))
    vote = settings_of(config, detect.calibration_id is not None, options)["vote"]
    if report["false_alarm_limit_99"] is not None and vote != "calibrated":
        warnings.append(
            f"Limits and bands are those of the vote 'calibrated'; for {vote!r} no false-alarm rate is promised."
        )
    report["warnings"] += warnings
    files = {"human": human.name, "machine": machine.name if machine else None}
    digests = {name: texts_sha256(rows, label) for name, label in (("human", HUMAN), ("machine", MACHINE))}
    read = {"body_only": body_only, "text_column": text_column, "sha256": digests}
    about: dict[str, Any] = {"name": config.name, "calibration": detect.calibration_id, "revision": detect.revision}
    about["dtypes"] = sorted({row["dtype"] for row in scored if row["dtype"]})
    return {"model": about, "options": options, "files": files, "read": read, **report, **provenance()}


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Command line: see the module's docstring."""
    parser = documented("mvh audit", __doc__)
    parser.add_argument("--model", required=True, help="checkpoint folder, Hub name, or name of a shipped detector")
    parser.add_argument("--revision", help="commit, tag or branch of a model on the Hub")
    parser.add_argument("--human", type=Path, required=True, help="folder of documents, or a table, of human texts")
    parser.add_argument("--machine", type=Path, help="the same of machine texts")
    parser.add_argument("--out", type=Path, required=True, help="folder for audit.json, audit.md and audit.png")
    parser.add_argument("--alpha", type=float, help="level of the tests (default: the checkpoint's)")
    parser.add_argument("--least", type=int, default=LEAST, help=f"human texts needed (default: {LEAST})")
    parser.add_argument("--prevalence", type=float, help="share of machine texts you believe in")
    parser.add_argument("--correction", help="none, bonferroni, holm, bh, by or calibrated")
    parser.add_argument("--vote", help="calibrated, majority or any")
    parser.add_argument("--confidence", type=float, help="that the realised false-alarm rate is at most alpha")
    parser.add_argument("--document-type", help="of all texts, for a detector that reads it")
    parser.add_argument("--precision", help="auto, float32 or bfloat16")
    parser.add_argument("--batch-size", type=int, help="segments per batch")
    parser.add_argument("--body-only", action="store_true", help="leave out headings, running heads, references, code")
    parser.add_argument("--text-column", default="text", help="where a table has its texts (default: text)")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    if args.out.exists() and not args.out.is_dir():
        raise ValueError(f"{args.out} is a file; name a folder for the audit.")
    report = audit(
        args.model,
        args.human,
        args.machine,
        args.least,
        args.prevalence,
        args.body_only,
        args.text_column,
        args.revision,
        **{name: getattr(args, name) for name in CALL_OPTIONS},
    )
    command = shlex.join(["python", "-m", "mvh.audit", *(sys.argv[1:] if argv is None else argv)])
    report = {"command": command, **report}
    args.out.mkdir(parents=True, exist_ok=True)
    drawn = draw(report, args.out / "audit.png")
    (args.out / "audit.json").write_text(json.dumps(report, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    (args.out / "audit.md").write_text(markdown(report, drawn), encoding="utf-8")
    for warning in report["warnings"]:
        logger.warning("WARNING: %s", warning)
    alarms = report["false_alarms"]
    low, high = alarms["interval_95"]
    logger.info(
        "%s: %d of %d human texts flagged at alpha %s: false-alarm rate %.3f (95 %% interval %.3f to %.3f); see %s.",
        report["model"]["name"],
        alarms["flagged"],
        report["human"],
        report["alpha"],
        alarms["rate"],
        low,
        high,
        args.out / "audit.md",
    )
    return report


if __name__ == "__main__":
    main()
