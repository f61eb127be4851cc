"""A detector on one's own texts: the false-alarm rate it really has there, with intervals, beside the one it promises.

    mvh audit --model checkpoints/mvh-mini-en --human my_texts/ --machine generated.jsonl --out runs/audit

Texts come as `dataset_builder.texts` reads them: a folder of documents (txt, md, html, pdf, docx, odt), a .jsonl or a .csv.
They must have served neither training nor calibration (`seen.py` knows), and at least 200 distinct human ones are needed.
"uncertain" stays in every denominator as not flagged; AUROC runs over all texts by margin. Writes audit.json, audit.md and,
where matplotlib is installed, audit.png.
"""

from __future__ import annotations

import json
import logging
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from mvh.audit.page import draw, markdown
from mvh.audit.statistics import audit_report, innocent_share
from mvh.dataset_builder.texts import read_own_rows
from mvh.export import provenance
from mvh.metrics import HUMAN, MACHINE, UNCERTAIN
from mvh.scripts_mvh import dominant_script
from mvh.seen import refuse_seen, text_hashes
from mvh.usage import documented

logger = logging.getLogger("mvh.audit")

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
    model: str, human: Path, machine: Path | None, least: int, body_only: bool = False
) -> tuple[list[dict[str, Any]], list[str]]:
    """Read the texts and refuse what would spoil an audit; labelled rows and sentences to be said.

    Raises:
        ValueError: If there are fewer than `least` distinct human texts, a text is given as both, or a text served the
            checkpoint's training or calibration.
    """
    rows, mine, said = distinct(read_own_rows(human, HUMAN, body_only), "human")
    warnings = [said]
    if len(rows) < least:
        raise ValueError(
            f"{human.name} holds {len(rows)} distinct human texts and an audit needs at least {least}: "
            f"{least - len(rows)} more."
        )
    labelled = [row | {"label": HUMAN} for row in rows]
    folder = checkpoint_folder(model)
    warnings += refuse_seen(folder, [row["text"] for row in rows], "The human texts")
    if machine is not None:
        others, theirs, said = distinct(read_own_rows(machine, MACHINE, body_only), "machine")
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


def checkpoint_folder(model: str) -> Path:
    """A checkpoint's folder; of one on the Hub, a folder with the files that say what it has seen."""
    if Path(model).is_dir():
        return Path(model)
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(model, allow_patterns=["*_texts.npz", "config.json"]))


def score_rows(
    detect: Any, rows: Sequence[dict[str, Any]], alpha: float | None, batch_size: int | None
) -> Iterator[tuple[dict[str, Any], list[str]]]:
    """Each row as `audit_report` wants it, and the warnings of its result, in order.

    Raises:
        ValueError: If the detector's scores are not finite.
    """
    names = {detect.model.config.id2label[label]: label for label in (HUMAN, MACHINE)}
    results = detect((row["text"] for row in rows), alpha=alpha, batch_size=batch_size)
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
                "script": None if error else dominant_script(row["text"]),
                "group": basis.get("group"),
                "documents": basis.get("documents"),
                "error": error,
            },
            result["warnings"],
        )


def audit(
    model: str,
    human: Path,
    machine: Path | None = None,
    alpha: float | None = None,
    least: int = LEAST,
    prevalence: float | None = None,
    batch_size: int | None = None,
    body_only: bool = False,
) -> dict[str, Any]:
    """Run a detector over own texts and report what it does there.

    Args:
        model: Checkpoint folder or Hub name.
        human: Folder or file of human texts, see `dataset_builder.texts`.
        machine: The same of machine texts.
        alpha: Level of the tests; the checkpoint's own by default.
        least: Human texts needed.
        prevalence: Share of machine texts the reader believes in.
        batch_size: Segments per batch.
        body_only: Leave out headings, running heads, references and code, as `mvh detect --body-only` does.

    Returns:
        The content of audit.json, less the command.

    Raises:
        ValueError: If texts or scores are such that no audit can stand on them.
    """
    if prevalence is not None:
        innocent_share(0.0, 1.0, prevalence)  # raises before the work, not after it
    rows, warnings = gather(model, human, machine, least, body_only)
    from mvh.detector import load_detector

    detect = load_detector(model).pipeline
    pairs = list(score_rows(detect, rows, alpha, batch_size))
    scored, said = [row for row, _ in pairs], [set(said) for row, said in pairs if row["error"] is None]
    warnings += sorted(set.intersection(*said)) if said else []  # what holds of every text is said once
    config = detect.model.config
    report = audit_report(scored, config.alpha if alpha is None else alpha, prevalence)
    report["warnings"] += warnings
    files = {"human": human.name, "machine": machine.name if machine else None}
    about = {"name": config.name, "calibration": (config.calibration or {}).get("id")}
    return {"model": about, "files": files, **report, **provenance()}


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Command line: see the module's docstring."""
    parser = documented("mvh audit", __doc__)
    parser.add_argument("--model", required=True, help="checkpoint folder or Hub name")
    parser.add_argument("--human", type=Path, required=True, help="folder of documents, .jsonl or .csv of human texts")
    parser.add_argument("--machine", type=Path, help="the same of machine texts")
    parser.add_argument("--out", type=Path, required=True, help="folder for audit.json, audit.md and audit.png")
    parser.add_argument("--alpha", type=float, help="level of the tests (default: the checkpoint's)")
    parser.add_argument("--least", type=int, default=LEAST, help=f"human texts needed (default: {LEAST})")
    parser.add_argument("--prevalence", type=float, help="share of machine texts you believe in")
    parser.add_argument("--batch-size", type=int, help="segments per batch")
    parser.add_argument("--body-only", action="store_true", help="leave out headings, running heads, references, code")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    if args.out.exists() and not args.out.is_dir():
        raise ValueError(f"{args.out} is a file; name a folder for the audit.")
    report = audit(
        args.model, args.human, args.machine, args.alpha, args.least, args.prevalence, args.batch_size, args.body_only
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
