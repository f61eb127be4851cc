"""Held-out human documents -> the same checkpoint with a calibration: what its p-values are measured against.

    mvh calibrate --model runs/mini/model --dataset runs/data --out checkpoints/mvh-mini-en
    mvh calibrate --model CKPT --human MY_FOLDER_OR_FILE --out CKPT2
    mvh calibrate --model CKPT --human PAPERS --document-type academic --out CKPT2    for a detector that reads the type
    mvh calibrate --model CKPT --human TABLE --each-source --out CKPT2                where sources differ, see below

With `--dataset` the human documents of the roles calibration_segments and calibration_documents are used, and the
choosing role says from which length on the detector can tell; with `--human` (a folder of documents, or a table of texts) a
seeded half for each. A document serves one calibration only, and must have served neither training nor any choice:
texts that the checkpoint has learnt from are refused. Of an ensemble each member is calibrated on the same texts, and
where scores are combined the whole as well. The weights are copied untouched; scores, counts, normaliser
version and the weights' fingerprint go into the config.

The false-alarm rate holds for the mixture of these documents, and a part of them may lie above it. With `--each-source` it
holds for every source of at least 100 documents of one script on the document side, at the price of some power: a document's
p-value is then the largest of those among its kind and among each source of its script. A source is a table's column
`source`, up to a colon, of an address its host; of a folder the first folder below it; each is halved by itself. Smaller ones
are named and have no rate of their own.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from tqdm import tqdm
from transformers import pipeline

from mvh.abstention import cut_short, power_by_length, shortest_tellable
from mvh.audit.statistics import kinds_of_flags, suspicious
from mvh.calibration_mvh import decode_calibration, encode_calibration, source_name
from mvh.card import write_card
from mvh.dataset_builder.build import fingerprint
from mvh.dataset_builder.texts import read_own_rows
from mvh.dataset_builder.writing import LABELS
from mvh.export import provenance, refuse_foreign
from mvh.features_mvh import REGISTERS
from mvh.identity_mvh import identity, merges
from mvh.languages_mvh import LEAST_WORDS
from mvh.normalization_mvh import normalize
from mvh.opening import local_folder, open_folder
from mvh.pipeline_mvh import TASK
from mvh.placing import unfinished_folder
from mvh.readings_mvh import Reading, human_scale, mean_document
from mvh.references_mvh import MIN_GROUP_DOCUMENTS, Calibration, Document
from mvh.seen import refuse_seen, write_seen
from mvh.statistics_mvh import document_margin
from mvh.usage import documented
from mvh.voting_mvh import LEAST_OF_A_LANGUAGE, document_p_value, spoken_languages

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
    document_type: str | None = None,
    sources: Sequence[str] | None = None,
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
        document_type: The texts' type, where the detector has a feature that reads it; verdicts are then given on texts of
            that type alone.
        sources: Where each of `document_texts` comes from, "" where that is not known: the rate then holds for each source.

    Returns:
        `out`.

    Raises:
        ValueError: If a text serves both sides or was learnt from, there are too few documents for the checkpoint's alpha,
            a text cannot be scored, nothing reads the type, or `out` holds something else than a checkpoint.
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
    if sources is not None:
        refuse_few(Counter(source_name(source) for source in sources if source))
    for unknown in refuse_seen(checkpoint, [*segment_texts, *document_texts], "The calibration texts", ("training",)):
        logger.warning(unknown)
    sides = [
        _score(detect, segment_texts, "segment calibration", document_type),
        _score(detect, document_texts, "document calibration", document_type),
        _score(detect, cut_short(choosing), "short texts", document_type),
    ]
    config = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
    if config.get("combine") not in (None, "mean_margin"):  # of the segment side alone: documents are ranked afterwards
        members = zip(*sides[0], strict=True)
        config["scales"] = [human_scale(*_margins([reading.document for reading in own])) for own in members]
    said = {"population": population, "commit": provenance()["commit"]}
    for index, older in before.items():
        segments, documents, short = ([_document(r, index, config.get("scales")) for r in side] for side in sides)
        if sources is not None:
            documents = [replace(d, source=source) for d, source in zip(documents, sources, strict=True)]
        owner = config if index is None else config["members"][index]
        part = None if index is None else detect.members[index]
        at_work = detect.identity() if part is None else identity(part.fingerprint, "float32", part.reading)
        owner["calibration"] = pack(
            segments, documents, short, said | at_work, older, alpha, statistic, by_source=sources is not None
        )
        if not spoken_languages(decode_calibration(owner["calibration"])):
            logger.warning(
                f"Of fewer than {LEAST_OF_A_LANGUAGE} of these texts in any language the language could be told (that takes "
                f"{LEAST_WORDS} words): texts in another one will be judged as if they were of the same kind."
            )
    with unfinished_folder(out, refuse_foreign) as folder:
        shutil.copytree(checkpoint, folder, dirs_exist_ok=True)
        # the code that made the scores, whatever the checkpoint came with
        for file in Path(__file__).parent.glob("*_mvh.py"):
            shutil.copy(file, folder / file.name)
        (folder / "config.json").write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        write_seen(folder, [*segment_texts, *document_texts], use="calibration")
        write_card(folder)
    return out


def pack(
    segments: Sequence[Document],
    documents: Sequence[Document],
    short: Sequence[Document],
    about: dict[str, Any],
    before: Calibration | None,
    alpha: float,
    statistic: str | None,
    by_source: bool = False,
) -> dict[str, Any]:
    """The packed calibration of one detector or member.

    Args:
        segments: Human documents for segment p-values.
        documents: Others for document p-values.
        short: Machine texts cut short, by which the shortest length to tell is measured; may be empty.
        about: What the calibration belongs to.
        before: The calibration that is replaced.
        alpha: Level of the tests.
        statistic: A key of STATISTICS; that of `before` by default, else the mean margin.
        by_source: Whether the rate shall hold for each source of `documents`.

    Raises:
        ValueError: If it shall, and no source has enough documents.
    """
    about = dict(about)
    if doubt := _doubt(documents, before, alpha):
        logger.warning(doubt)
        about["doubt"] = doubt  # every result and the card will say it
    settings: dict[str, Any] = {
        "statistic": statistic or (before.statistic if before else "mean_margin"),
        "tellable_tokens": before.tellable_tokens if before else 0,
        "tellable_alpha": before.tellable_alpha if before else alpha,
        "by_source": by_source,
    }
    packed = encode_calibration(segments, documents, about, **settings)
    if by_source:
        counts = Counter(f"{d.source} ({d.script})" for d in documents if d.source)
        refuse_few(counts)
        if few := {name: count for name, count in sorted(counts.items()) if count < MIN_GROUP_DOCUMENTS}:
            logger.warning(
                f"Of these sources there are fewer than {MIN_GROUP_DOCUMENTS} documents, so no rate holds for each: {few}."
            )
    if not short:
        return packed
    about["power_by_tokens"] = rows = power_by_length(short, decode_calibration(packed), alpha)
    try:
        settings |= {"tellable_tokens": shortest_tellable(rows), "tellable_alpha": alpha}
    except ValueError as error:  # then none of the lengths that were tried can be told
        said = f"No length can be named from which on the detector can tell. {error}"
        logger.warning(said)
        about["doubt"] = f"{about['doubt']} {said}" if "doubt" in about else said
        settings |= {"tellable_tokens": max(document.tokens for document in short) + 1, "tellable_alpha": alpha}
    return encode_calibration(segments, documents, about, **settings)


def open_checkpoint(checkpoint: Path) -> tuple[Any, dict[int | None, Calibration | None]]:
    """A checkpoint under today's code, and the calibrations it carries.

    Returns:
        The pipeline; and for each part that is to be calibrated its calibration, None where there is none to read. Parts
        are the detector itself (None) and the members of an ensemble (their index); an ensemble that merges p-values has
        no calibration of its own.

    Raises:
        ValueError: If there is no such folder or it is no checkpoint.
    """
    model, tokenizer = open_folder(checkpoint)
    configs: dict[int | None, Any] = {} if merges(model.config) else {None: model.config}
    configs |= {index: member.config for index, member in enumerate(getattr(model, "members", []))}
    before: dict[int | None, Calibration | None] = {}
    for part, config in configs.items():
        before[part] = None
        try:
            before[part] = decode_calibration(config.calibration) if config.calibration else None
        except ValueError as error:
            logger.warning(f"The calibration of {config.name} is dropped unread. {error}")
        config.calibration = None
    return pipeline(TASK, model=model, tokenizer=tokenizer), before  # type: ignore[call-overload]  # our own task


def refuse_few(counts: Mapping[str, int]) -> None:
    """Raise a ValueError unless one of these sources has enough documents."""
    if max(counts.values(), default=0) < MIN_GROUP_DOCUMENTS:
        largest = dict(Counter(counts).most_common(5))
        raise ValueError(
            f"--each-source needs a source of at least {MIN_GROUP_DOCUMENTS} documents of one script among those for document "
            f"p-values, and the largest are {largest or 'none'}."
        )


def split_in_two(
    texts: list[str], seed: int, source_of: Mapping[str, str] | None = None
) -> tuple[list[str], list[str]]:
    """Two halves without a common text (as `fingerprint` compares texts), whatever the order of the input.

    Each source is halved by itself where it is said of which one each text is.
    """
    distinct = {_key(text): text for text in sorted(texts)}
    drawn = sorted(distinct, key=lambda key: hashlib.sha256(b"%d:" % seed + key).digest())
    ordered = sorted((distinct[key] for key in drawn), key=lambda text: (source_of or {}).get(text, ""))  # stable
    return ordered[::2], ordered[1::2]


def draw(texts: list[str], most: int, seed: int, source_of: Mapping[str, str] | None = None) -> list[str]:
    """At most `most` of the texts, drawn by a seeded hash.

    Where it is said of which source each text is, every source with enough texts for a rate of its own keeps enough of them;
    the smallest then weigh more in the mixture than they did.

    Raises:
        ValueError: If `most` is too few for all such sources.
    """
    drawn = sorted(texts, key=lambda text: hashlib.sha256(b"%d:" % seed + _key(text)).digest())
    if source_of is None or len(drawn) <= most:
        return drawn[:most]
    counts = Counter(source_of[text] for text in drawn if source_of[text])
    large = [source for source, count in counts.items() if count >= MIN_GROUP_DOCUMENTS]
    if len(large) * MIN_GROUP_DOCUMENTS > most:
        raise ValueError(
            f"{len(large)} sources have {MIN_GROUP_DOCUMENTS} documents or more and each is to keep as many, and --most "
            f"allows {most}."
        )
    first: list[str] = []
    for source in large:
        first += [text for text in drawn if source_of[text] == source][:MIN_GROUP_DOCUMENTS]
    taken = set(first)
    return (first + [text for text in drawn if text not in taken])[:most]


def main(argv: list[str] | None = None) -> None:
    """Command line: see the module's docstring."""
    parser = documented("mvh calibrate", __doc__)
    parser.add_argument("--model", required=True, help="checkpoint folder, Hub name, or name of a shipped detector")
    parser.add_argument("--revision", help="commit, tag or branch of a model on the Hub")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--dataset", type=Path, help="folder made by mvh.dataset_builder")
    source.add_argument(
        "--human",
        type=Path,
        help="human documents: a folder of txt, md, html, pdf, docx, odt; .jsonl, .csv, .tsv, .parquet",
    )
    parser.add_argument("--text-column", default="text", help="where a table has its texts (default: text)")
    parser.add_argument("--body-only", action="store_true", help="leave out headings, running heads, references, code")
    parser.add_argument(
        "--out", type=Path, required=True, help="folder to write; a checkpoint of that name is replaced"
    )
    parser.add_argument("--statistic", help="document statistic (default: the checkpoint's)")
    parser.add_argument("--least", type=int, default=LEAST, help=f"own documents needed (default: {LEAST})")
    parser.add_argument("--most", type=int, default=1200, help="documents per side at most (default: 1200)")
    parser.add_argument("--seed", type=int, default=0, help="of the halves and the draw (default: 0)")
    parser.add_argument("--population", help="what the documents are, for the card")
    parser.add_argument(
        "--each-source",
        action="store_true",
        help="let the false-alarm rate hold for each source (default: for the mixture)",
    )
    parser.add_argument("--document-type", choices=REGISTERS, help="of all of them, for a detector that reads it")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    choosing: list[str] = []
    if args.dataset:
        roles = [_role(args.dataset, role, 0) for role in ("calibration_segments", "calibration_documents")]
        sides = [list(role) for role in roles]
        source_of = roles[1]
        choosing = list(_role(args.dataset, "choose", 1))
        manifest = json.loads((args.dataset / "manifest.json").read_text(encoding="utf-8"))
        null = manifest.get("labels", LABELS)[0]
        files = " and ".join(made["file"] for name, made in manifest["inputs"].items() if name.startswith("train_file"))
        what = f"{null} documents of {files}, used neither for training nor for any choice"
    else:
        rows = read_own_rows(args.human, 0, args.body_only, args.text_column)
        source_of = {row["text"]: source_of_row(row, args.human.is_dir()) for row in rows}
        sides = list(split_in_two([row["text"] for row in rows], args.seed, source_of if args.each_source else None))
        if (distinct := sum(map(len, sides))) < args.least:
            raise ValueError(
                f"{args.human.name} holds {distinct} different texts, and a calibration needs {args.least}: with fewer "
                "its false-alarm rate is too uncertain."
            )
        what = f"human documents of {args.human.name}, as given by whoever calibrated"
    given = [len(side) for side in sides]
    sides = [draw(side, args.most, args.seed, source_of if args.each_source else None) for side in sides]
    if (drawn := [len(side) for side in sides]) != given:
        logger.info(f"Of {given} documents for segments and for documents {drawn} were drawn (--most {args.most}).")
    population = args.population or what
    folder = local_folder(args.model, args.revision)
    sources = [source_of[text] for text in sides[1]] if args.each_source else None
    out = calibrate(
        folder, sides[0], sides[1], args.out, population, args.statistic, choosing, args.document_type, sources
    )
    logger.info(
        f"{out}: calibrated on {len(sides[0])} documents for segments and {len(sides[1])} others for documents."
    )


def _doubt(documents: Sequence[Document], before: Calibration | None, alpha: float) -> str | None:
    """Whether documents given as human look like machine texts, to the checkpoint's calibration or to its bare scores."""
    if before is not None:
        p_values = [document_p_value(d, before) for d in documents]
        ranked = [before.kinds_of(document.script, document.tokens) for document in documents]
        sizes = [min(before.document[kind].documents for kind in kinds) for kinds in ranked]
        groups, sources = [str(kinds[0]) for kinds in ranked], [list(map(str, kinds[1:])) for kinds in ranked]
        return suspicious(p_values, alpha, *kinds_of_flags(groups, sizes, sources))
    positive = sum(document_margin(d.margins, d.core_tokens) > 0 for d in documents)
    if positive <= len(documents) / 2:
        return None
    return f"{positive} of {len(documents)} texts given as human score as machine: are the labels exchanged?"


def source_of_row(row: Mapping[str, Any], of_folder: bool = False) -> str:
    """Where a text comes from, "" where its row does not say: see the module's docstring."""
    if of_folder:
        return str(row["id"]).rpartition("/")[0].partition("/")[0]
    source = row["source"] or ""
    return urlsplit(source).netloc if "://" in source else source.partition(":")[0]


def _role(dataset: Path, role: str, label: int) -> dict[str, str]:
    """The texts of a role and label, each with its source."""
    from datasets import load_dataset

    rows = load_dataset(str(dataset), "documents", split=role)
    return {row["text"]: source_of_row(row) for row in rows if row["label"] == label}


def _score(detect: Any, texts: Iterable[str], what: str, document_type: str | None = None) -> list[list[Reading]]:
    """What each member makes of each text."""
    texts = list(texts)
    readings = detect.readings(texts, document_type=document_type)
    scored = list(tqdm(readings, total=len(texts), desc=what, unit=" documents", disable=not texts))
    failed = [str(item) for item in scored if isinstance(item, Exception)]
    if failed:
        raise ValueError(f"{len(failed)} of {len(texts)} texts cannot be scored, the first because: {failed[0]}")
    return scored


def _document(readings: Sequence[Reading], part: int | None, scales: list[list[float]] | None) -> Document:
    """The scores of a document as one part of the detector gives them: a member, or (None) the whole."""
    return mean_document(readings, scales) if part is None else readings[part].document


def _margins(documents: Sequence[Document]) -> tuple[np.ndarray, np.ndarray]:
    """Margins of all segments, shape (n,), and weights (n,) of which each document has one in all."""
    weights = [np.full(len(document.margins), 1.0 / len(document.margins)) for document in documents]
    return np.concatenate([document.margins for document in documents]), np.concatenate(weights)


def _key(text: str) -> bytes:
    return fingerprint(normalize(text).text)


if __name__ == "__main__":
    try:
        main()
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
