"""Two checkpoints on the same texts: where their verdicts, scores and p-values differ, and which texts moved most.

    mvh compare checkpoints/old checkpoints/new dev.jsonl
    mvh compare USER/NAME@v1 USER/NAME dev.jsonl                                      # two revisions of one on the Hub
    mvh compare CKPT1 CKPT2 my_texts/ --alpha 0.01 --top 20 --out runs/compared      # compared.md and compared.json

DATA is JSONL (or CSV) with a column "text", and "label" where the truth is known; a folder of text files; or a folder
made by mvh.dataset_builder, of which the documents of "test" are read. The two need not be measured on a common scale:
margins are compared by rank, p-values on the log scale, where 1 stands for a factor of ten.
"""

from __future__ import annotations

import gc
import json
import shlex
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from scipy.stats import binomtest, spearmanr
from tqdm import tqdm
from transformers.utils import logging

from mvh.compare_page import SIDES, markdown
from mvh.dataset_builder.semeval import read_semeval
from mvh.dataset_builder.texts import read_own_rows
from mvh.export import file_sha256, provenance
from mvh.metrics import DECISIONS, HUMAN, MACHINE, auroc, recall
from mvh.metrics import false_positive_rate as fpr
from mvh.opening import name_and_revision, refuse_unknown
from mvh.score import documents_of, open_checkpoint
from mvh.usage import documented

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
QUOTED = 80  # characters of a text that the page shows


def read_data(path: Path, limit: int | None = None) -> list[dict[str, Any]]:
    """The texts to compare on: dicts of "id", "text" and "label" (None where nobody knows).

    Raises:
        FileNotFoundError: If there is no such file or folder.
        ValueError: If it holds no texts of a known form.
    """
    if not path.exists():
        raise FileNotFoundError(f"There is no file or folder {path}.")
    if limit is not None and limit < 1:
        raise ValueError(f"Texts are compared on one text or more, and the limit is {limit}.")
    rows: Iterable[dict[str, Any]]
    if path.is_dir() and (path / "manifest.json").is_file():
        rows = documents_of(path)
    elif path.suffix == ".jsonl" and is_labelled(path):
        rows = read_semeval(path, strict=True)
    else:
        rows = read_own_rows(path)
    return [{"id": str(row["id"]), "text": row["text"], "label": row.get("label")} for row in islice(rows, limit)]


def is_labelled(path: Path) -> bool:
    """Whether the first row of a JSONL file has all fields of a SemEval row."""
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        try:
            first = json.loads(next((line for line in file if line.strip()), ""))
        except ValueError:
            return False
    return isinstance(first, dict) and {"id", "label", "text", "model", "source"} <= first.keys()


def judge(checkpoint: str, rows: Sequence[dict[str, Any]], options: dict[str, Any]) -> dict[str, Any]:
    """What one checkpoint says of all texts.

    Returns:
        What `score.open_checkpoint` knows of it, and "results": one dict per text.

    Raises:
        ValueError: If the code that came with it gives results of another shape.
    """
    scorer, about = open_checkpoint(checkpoint, options)
    results = tqdm(
        scorer(row["text"] for row in rows), total=len(rows), desc=about["name"], unit=" texts", disable=None
    )
    try:
        return {**about, "results": list(results)}
    except KeyError as missing:
        raise ValueError(
            f"The results of {checkpoint} have no {missing}: its code is of an older version. Write it again with today's "
            "code, `python -m mvh.export`."
        ) from None


def compare(
    rows: Sequence[dict[str, Any]], first: dict[str, Any], second: dict[str, Any], top: int = 10
) -> dict[str, Any]:
    """Two checkpoints' results on the same texts -> what differs.

    Args:
        rows: The texts, n of them, as `read_data` gives them.
        first: What `judge` says of one checkpoint.
        second: And of the other.
        top: How many of the texts that moved most are listed.

    Returns:
        Plain JSON types: "texts", "unread" (by either), "detectors", "verdicts" (counts by pair, agreement), "margins",
        "p_values" (None unless both have them), "figures" (None without labels), "moved" (None where `top` is 0).
    """
    pairs = list(zip(rows, first["results"], second["results"], strict=True))
    unread = [{"id": row["id"], **(a["error"] or b["error"])} for row, a, b in pairs if a["error"] or b["error"]]
    pairs = [(row, a, b) for row, a, b in pairs if not a["error"] and not b["error"]]
    if not pairs:
        raise ValueError(f"None of {len(rows)} texts could be read, the first because: {unread[0]['message']}")
    ones, others = [a for _, a, _ in pairs], [b for _, _, b in pairs]
    labels = [row["label"] for row, _, _ in pairs]
    verdicts = Counter((a["decision"], b["decision"]) for a, b in zip(ones, others, strict=True))
    shifts = p_value_shifts(ones, others)
    return {
        "texts": len(pairs),
        "unread": unread,
        "detectors": [
            {key: value for key, value in {**side, "alpha": results[0]["alpha"]}.items() if key != "results"}
            for side, results in ((first, ones), (second, others))
        ],
        "verdicts": {
            "pairs": [
                {**dict(zip(SIDES, (a, b), strict=True)), "texts": count} for (a, b), count in sorted(verdicts.items())
            ],
            "agreement": sum(count for (a, b), count in verdicts.items() if a == b) / len(pairs),
        },
        "margins": margin_change(ones, others),
        "p_values": None if shifts is None else p_value_change(shifts),
        "figures": None if None in labels else label_change(labels, ones, others),
        "moved": movers(pairs, shifts, top) if top else None,
    }


def margin_change(ones: Sequence[dict[str, Any]], others: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Rank correlation of the margins and quantiles of their difference (second - first)."""
    a, b = (np.array([result["margin"] for result in side]) for side in (ones, others))  # (n,)
    varied = len(a) > 1 and len(set(a)) > 1 and len(set(b)) > 1  # else there is no correlation
    return {
        "rank_correlation": float(spearmanr(a, b).statistic) if varied else None,
        "difference": dict(zip(map(str, QUANTILES), np.quantile(b - a, QUANTILES).tolist(), strict=True)),
        "median": [float(np.median(a)), float(np.median(b))],
    }


def p_value_shifts(ones: Sequence[dict[str, Any]], others: Sequence[dict[str, Any]]) -> np.ndarray | None:
    """log10(second / first) of each document p-value, shape (n,): -1 is ten times smaller; None unless all have one."""
    a, b = ([result["p_value"] for result in side] for side in (ones, others))
    if None in a or None in b:
        return None
    return np.log10(np.array(b)) - np.log10(np.array(a))


def p_value_change(shifts: np.ndarray) -> dict[str, Any]:
    """Quantiles of the shifts, and the shares of texts that look more and less like the other class than before."""
    return {
        "log10_ratio": dict(zip(map(str, QUANTILES), np.quantile(shifts, QUANTILES).tolist(), strict=True)),
        "smaller": float(np.mean(shifts < 0)),
        "larger": float(np.mean(shifts > 0)),
    }


def label_change(
    labels: Sequence[int], ones: Sequence[dict[str, Any]], others: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """Figures of both, and whether the difference in right verdicts could be chance (exact McNemar test).

    McNemar: of the texts that one alone judges right, each is as likely to fall to either if both are equally good.
    "uncertain" is right for no text.
    """
    decided = [[DECISIONS[result["decision"]] for result in side] for side in (ones, others)]
    right = [np.array(side) == np.array(labels) for side in decided]
    gained, lost = int((~right[0] & right[1]).sum()), int((right[0] & ~right[1]).sum())
    sides = [
        {
            "auroc": auroc(labels, [result["margin"] for result in results]),
            "tpr": recall(labels, side),
            "fpr": fpr(labels, side),
            "right": float(hits.mean()),
        }
        for results, side, hits in zip((ones, others), decided, right, strict=True)
    ]
    return {
        "human": sum(label == HUMAN for label in labels),
        "machine": sum(label == MACHINE for label in labels),
        **dict(zip(SIDES, sides, strict=True)),
        "gained": gained,
        "lost": lost,
        "mcnemar_p_value": float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0,
    }


def movers(
    pairs: Sequence[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]], shifts: np.ndarray | None, top: int
) -> list[dict[str, Any]]:
    """The texts with another verdict, then those that moved most: by p-value where both have one, else by rank."""
    margins = np.array([[a["margin"], b["margin"]] for _, a, b in pairs])  # (n, 2)
    ranks = margins.argsort(axis=0).argsort(axis=0)  # (n, 2)
    moved = (ranks[:, 1] - ranks[:, 0]) / max(len(pairs) - 1, 1) if shifts is None else shifts  # (n,)
    other = [a["decision"] != b["decision"] for _, a, b in pairs]
    order = sorted(range(len(pairs)), key=lambda index: (not other[index], -abs(moved[index]), index))
    chosen = [index for index in order if other[index] or moved[index]][:top]
    return [
        {
            "id": pairs[index][0]["id"],
            "label": pairs[index][0]["label"],
            "text": quoted(pairs[index][0]["text"]),
            "moved": float(moved[index]),
            **{
                side: {key: result[key] for key in ("decision", "margin", "p_value")}
                for side, result in zip(SIDES, pairs[index][1:], strict=True)
            },
        }
        for index in chosen
    ]


def quoted(text: str) -> str:
    """The beginning of a text as a page and a terminal may show it: one line, no control characters."""
    line = " ".join(text[: 4 * QUOTED].split())[:QUOTED]
    return "".join(character if character.isprintable() else "\ufffd" for character in line)


def main(argv: Sequence[str] | None = None) -> int:
    """Command line: see the module's docstring. A fault is a ValueError or OSError whose sentence says it."""
    parser = documented("mvh compare", __doc__)
    parser.add_argument("first", metavar="CKPT1", help="checkpoint folder or Hub name, or NAME@REVISION of the Hub")
    parser.add_argument("second", metavar="CKPT2", help="the same, such as an older revision of it")
    parser.add_argument("data", type=Path, metavar="DATA", help="JSONL, CSV, folder of texts, or dataset folder")
    parser.add_argument("--alpha", type=float, help="level of the tests (default: each checkpoint's own)")
    parser.add_argument("--top", type=int, default=10, help="texts that moved most to list (default: 10; 0: none)")
    parser.add_argument("--limit", type=int, help="texts to read, the first ones (default: all)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the page")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="write compared.md and compared.json as well")
    args = parser.parse_args(argv)
    logging.disable_progress_bar()  # of loading weights: seconds at most
    named = [name_and_revision(given) for given in (args.first, args.second)]
    for name, _ in named:
        refuse_unknown(name)
    rows = read_data(args.data, args.limit)
    sides = []
    for name, revision in named:
        sides.append(judge(name, rows, {"alpha": args.alpha, "revision": revision}))
        gc.collect()  # one model in memory at a time
    command = "mvh compare " + shlex.join(sys.argv[1:] if argv is None else argv)
    data_file = args.data / "manifest.json" if args.data.is_dir() else args.data
    report = {
        "command": command,
        **provenance(),
        "data": {"name": args.data.name, "sha256": file_sha256(data_file) if data_file.is_file() else None},
        **compare(rows, sides[0], sides[1], args.top),
    }
    page, data = markdown(report), json.dumps(report, indent=1, ensure_ascii=False)
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "compared.md").write_text(page, encoding="utf-8")
        (args.out / "compared.json").write_text(data + "\n", encoding="utf-8")
    Console(highlight=False, soft_wrap=True).print(data if args.json else page, markup=False)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
