"""Held-out human documents -> the same checkpoint with a calibration: what its p-values are measured against.

    python -m mvh.calibrate --model runs/mini/model --dataset runs/data --out checkpoints/mvh-mini-en
    python -m mvh.calibrate --model CKPT --human MY_FOLDER_OR_FILE --out CKPT2

With `--dataset` the human documents of the roles calibration_segments and calibration_documents are used, and the
choosing role says from which length on the detector can tell; with `--human` (a folder of text files, JSON Lines, CSV) a
seeded half for each. A document serves one calibration only, and must have served neither training nor any choice:
texts that the checkpoint has learnt from are refused. The weights are copied untouched; scores, counts, normaliser
version and the weights' fingerprint go into the config.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm
from transformers import AutoTokenizer, pipeline

import mvh.pipeline_mvh  # noqa: F401  registers the task
from mvh.abstention import cut_short, power_by_length, shortest_tellable
from mvh.audit.statistics import suspicious
from mvh.calibration_mvh import Calibration, Document, decode_calibration, encode_calibration
from mvh.card import write_card
from mvh.dataset_builder.build import fingerprint
from mvh.dataset_builder.texts import read_texts
from mvh.dataset_builder.writing import LABELS
from mvh.export import provenance, put_in_place, refuse_foreign
from mvh.modeling_mvh import MvhForSequenceClassification
from mvh.normalization_mvh import normalize
from mvh.seen import refuse_seen, write_seen
from mvh.statistics_mvh import document_margin
from mvh.voting_mvh import document_p_value

logger = logging.getLogger("mvh.calibrate")

LEAST = 200  # own documents that are enough to start: half of them give a rate between 0.02 and 0.09 at alpha 0.05


def calibrate(
    checkpoint: Path,
    segment_texts: list[str],
    document_texts: list[str],
    out: Path,
    population: str,
    statistic: str | None = None,
    choosing: Sequence[str] = (),
) -> Path:
    """Write `out`, a copy of `checkpoint` whose config carries a calibration.

    Args:
        checkpoint: A detector's folder; a calibration it carries is replaced.
        segment_texts: Human documents for segment p-values.
        document_texts: Other human documents for document p-values.
        out: Folder to write; a checkpoint of that name is replaced, and never left half written.
        population: What the documents are and what they served before, in words for the card.
        statistic: A key of STATISTICS; the checkpoint's own by default, else the mean margin.
        choosing: Machine texts of the choosing role, by which the shortest length to tell is measured; without them the
            checkpoint's stays.

    Returns:
        `out`.

    Raises:
        ValueError: If a text serves both sides or was learnt from, there are too few documents for the checkpoint's alpha,
            a text cannot be scored, or `out` holds something else than a checkpoint.
    """
    refuse_foreign(out)
    detect, before = open_checkpoint(checkpoint)
    alpha = detect.model.config.alpha
    needed = int(np.ceil(1.0 / alpha)) - 1
    for side, texts in (("segment", segment_texts), ("document", document_texts)):
        if len(texts) < needed:
            raise ValueError(
                f"The {side} calibration has {len(texts)} documents; alpha {alpha} needs at least {needed}."
            )
    if shared := set(map(_key, segment_texts)) & set(map(_key, document_texts)):
        raise ValueError(f"{len(shared)} texts serve both calibrations; each document may serve one.")
    for unknown in refuse_seen(checkpoint, [*segment_texts, *document_texts], "The calibration texts", ("training",)):
        logger.warning(unknown)
    segment_documents = _score(detect, segment_texts, "segment calibration")
    document_documents = _score(detect, document_texts, "document calibration")
    about: dict[str, Any] = {"population": population, **detect.identity(), "commit": provenance()["commit"]}
    if doubt := _doubt(document_documents, before, alpha):
        logger.warning(doubt)
        about["doubt"] = doubt  # every result and the card will say it
    settings: dict[str, Any] = {
        "statistic": statistic or (before.statistic if before else "mean_margin"),
        "tellable_tokens": before.tellable_tokens if before else 0,
        "tellable_alpha": before.tellable_alpha if before else alpha,
    }
    packed = encode_calibration(segment_documents, document_documents, about, **settings)
    if choosing:
        rows = power_by_length(_score(detect, cut_short(choosing), "short texts"), decode_calibration(packed), alpha)
        try:
            settings |= {"tellable_tokens": shortest_tellable(rows), "tellable_alpha": alpha}
        except ValueError as error:
            logger.warning(f"No length can be named from which on the detector can tell. {error}")
        about["power_by_tokens"] = rows
        packed = encode_calibration(segment_documents, document_documents, about, **settings)
    config = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
    config["calibration"] = packed
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(checkpoint, part)
    for file in Path(__file__).parent.glob(
        "*_mvh.py"
    ):  # the code that made the scores, whatever the checkpoint came with
        shutil.copy(file, part / file.name)
    (part / "config.json").write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    write_seen(part, [*segment_texts, *document_texts], use="calibration")
    write_card(part)
    return put_in_place(part, out)


def open_checkpoint(checkpoint: Path) -> tuple[Any, Calibration | None]:
    """A checkpoint under today's code, without its calibration; and that calibration, where it can still be read.

    Raises:
        ValueError: If there is no such folder or it is no checkpoint.
    """
    if not (checkpoint / "config.json").is_file():
        raise ValueError(f"{checkpoint} is no checkpoint folder: it has no config.json.")
    model = MvhForSequenceClassification.from_pretrained(checkpoint)
    packed, model.config.calibration = model.config.calibration, None
    before = None
    if packed:
        try:
            before = decode_calibration(packed)
        except ValueError as error:
            logger.warning(f"The calibration it carries is dropped unread. {error}")
    tokenizer = AutoTokenizer.from_pretrained(checkpoint, trust_remote_code=True)
    return pipeline("mvh-detect", model=model, tokenizer=tokenizer), before  # type: ignore[call-overload]  # our own task


def split_in_two(texts: list[str], seed: int) -> tuple[list[str], list[str]]:
    """Two halves without a common text (as `fingerprint` compares texts), whatever the order of the input."""
    distinct = {_key(text): text for text in sorted(texts)}
    ordered = [distinct[key] for key in sorted(distinct, key=lambda key: hashlib.sha256(b"%d:" % seed + key).digest())]
    return ordered[::2], ordered[1::2]


def draw(texts: list[str], most: int, seed: int) -> list[str]:
    """At most `most` of the texts, drawn by a seeded hash."""
    return sorted(texts, key=lambda text: hashlib.sha256(b"%d:" % seed + _key(text)).digest())[:most]


def main(argv: list[str] | None = None) -> None:
    """Command line: see the module's docstring."""
    parser = argparse.ArgumentParser(prog="mvh calibrate", description=__doc__.split("\n")[0])
    parser.add_argument("--model", type=Path, required=True, help="folder of the checkpoint")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--dataset", type=Path, help="folder made by mvh.dataset_builder")
    source.add_argument("--human", type=Path, help="human documents: a folder of text files, JSON Lines or CSV")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--statistic", help="document statistic (default: the checkpoint's)")
    parser.add_argument("--least", type=int, default=LEAST, help=f"own documents needed (default: {LEAST})")
    parser.add_argument("--most", type=int, default=1200, help="documents per side at most (default: 1200)")
    parser.add_argument("--seed", type=int, default=0, help="of the halves and the draw (default: 0)")
    parser.add_argument("--population", help="what the documents are, for the card")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    choosing: list[str] = []
    if args.dataset:
        sides = [_role(args.dataset, role, 0) for role in ("calibration_segments", "calibration_documents")]
        choosing = _role(args.dataset, "choose", 1)
        manifest = json.loads((args.dataset / "manifest.json").read_text(encoding="utf-8"))
        null = manifest.get("labels", LABELS)[0]
        what = f"{null} documents of {manifest['inputs']['train_file']['file']}, used neither for training nor for any choice"
    else:
        texts = [text for _, text in read_texts(args.human, label=0)]
        sides = list(split_in_two(texts, args.seed))
        if (distinct := sum(map(len, sides))) < args.least:
            raise ValueError(
                f"{args.human.name} holds {distinct} different texts, and a calibration needs {args.least}: with fewer "
                "its false-alarm rate is too uncertain."
            )
        what = f"human documents of {args.human.name}, as given by whoever calibrated"
    sides = [draw(side, args.most, args.seed) for side in sides]
    population = args.population or what
    out = calibrate(args.model, sides[0], sides[1], args.out, population, args.statistic, choosing)
    logger.info(
        f"{out}: calibrated on {len(sides[0])} documents for segments and {len(sides[1])} others for documents."
    )


def _doubt(documents: list[Document], before: Calibration | None, alpha: float) -> str | None:
    """Whether documents given as human look like machine texts, to the checkpoint's calibration or to its bare scores."""
    if before is not None:
        p_values = [document_p_value(d, before, before.group_of(d.script, d.tokens)) for d in documents]
        groups = [before.group_of(document.script, document.tokens) for document in documents]
        return suspicious(p_values, alpha, list(map(str, groups)), [before.document[g].documents for g in groups])
    positive = sum(document_margin(d.margins, d.core_tokens) > 0 for d in documents)
    if positive <= len(documents) / 2:
        return None
    return f"{positive} of {len(documents)} texts given as human score as machine: are the labels exchanged?"


def _role(dataset: Path, role: str, label: int) -> list[str]:
    from datasets import load_dataset

    return [row["text"] for row in load_dataset(str(dataset), "documents", split=role) if row["label"] == label]


def _score(detect: Any, texts: Iterable[str], what: str) -> list[Document]:
    texts = list(texts)
    scored = list(tqdm(detect.margins(texts), total=len(texts), desc=what, unit=" documents"))
    failed = [str(item) for item in scored if isinstance(item, Exception)]
    if failed:
        raise ValueError(f"{len(failed)} of {len(texts)} texts cannot be scored, the first because: {failed[0]}")
    return [document for document, _ in scored]


def _key(text: str) -> bytes:
    return fingerprint(normalize(text).text)


if __name__ == "__main__":
    main()
