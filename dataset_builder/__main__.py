"""Build a dataset of segments and documents from published files.

    python -m mvh.dataset_builder semeval --train subtaskA_train_monolingual.jsonl --test
    subtaskA_dev_monolingual.jsonl \
        --tokenizer microsoft/mdeberta-v3-base --out data/semeval-2000 --documents 2000

The folder opens with `datasets.load_dataset(folder)`, or `load_dataset(folder, "documents")` for the texts before
segmentation; `--push-to-hub USER/NAME` uploads both. Rows that cannot be used are listed in rejected.jsonl.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from mvh.dataset_builder.build import build_dataset, push_dataset


def parser() -> argparse.ArgumentParser:
    """The command line: one subcommand per kind of input."""
    top = argparse.ArgumentParser(
        prog="python -m mvh.dataset_builder", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = top.add_subparsers(dest="command", required=True)
    semeval = commands.add_parser("semeval", help="SemEval-2024 Task 8 JSONL, or files of the same shape")
    semeval.add_argument(
        "--train", type=Path, required=True, help="JSONL file, split into training, choosing and calibration"
    )
    semeval.add_argument("--test", type=Path, help="JSONL file for the split 'test', such as a published dev file")
    semeval.add_argument("--tokenizer", required=True, help="name or folder of a fast tokenizer")
    semeval.add_argument("--out", type=Path, required=True, help="folder to make")
    semeval.add_argument("--documents", type=int, help="balanced sample to train on (default: every document)")
    semeval.add_argument(
        "--test-documents", type=int, help="balanced sample of the test file (default: 1000 if it can)"
    )
    semeval.add_argument("--seed", type=int, default=0, help="of roles and samples (default: 0)")
    semeval.add_argument("--core-tokens", type=int, default=256, help="tokens of a segment's own (default: 256)")
    semeval.add_argument("--context-tokens", type=int, default=50, help="tokens of left context (default: 50)")
    semeval.add_argument("--strict", action="store_true", help="stop at the first bad row instead of setting it aside")
    semeval.add_argument("--push-to-hub", metavar="USER/NAME", help="upload the finished dataset")
    semeval.add_argument("--private", action="store_true", help="make the uploaded dataset private")
    semeval.set_defaults(run=run_semeval)
    return top


def run_semeval(options: argparse.Namespace) -> None:
    """Build, say what came out, and upload if asked."""
    folder = build_dataset(
        options.train,
        options.tokenizer,
        options.out,
        test=options.test,
        documents=options.documents,
        test_documents=options.test_documents,
        seed=options.seed,
        core_tokens=options.core_tokens,
        context_tokens=options.context_tokens,
        strict=options.strict,
    )
    print_summary(folder)
    if options.push_to_hub:
        push_dataset(folder, options.push_to_hub, options.private)


def print_summary(folder: Path) -> None:
    """Print a dataset folder's manifest as a small table and a few sentences."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    console = Console(highlight=False, soft_wrap=True)
    table = Table(title=str(folder))
    for column in ("split", "documents", "human", "machine", "segments", "languages"):
        table.add_column(
            column, no_wrap=column != "languages", justify="left" if column in ("split", "languages") else "right"
        )
    for split, documents in manifest["counts"]["documents"].items():
        human, machine = (sum(documents[label].values()) for label in ("human", "machine"))
        segments = sum(sum(by_lang.values()) for by_lang in manifest["counts"]["segments"][split].values())
        languages = " ".join(sorted({lang for by_lang in documents.values() for lang in by_lang}))
        table.add_row(split, *(f"{number:,}" for number in (human + machine, human, machine, segments)), languages)
    console.print(table)
    for sentence in sentences(manifest):
        console.print(sentence)


def sentences(manifest: dict[str, Any]) -> list[str]:
    """What happened to rows that are in no split, and what is odd about the texts."""
    said = []
    for source in manifest["inputs"].values():
        rejected = manifest["rejected"].get(source["file"], {})
        reasons = "; ".join(f"{count:,} because {reason}" for reason, count in rejected.items())
        said.append(
            f"{source['file']}: {source['valid_rows']:,} valid rows, {source['duplicate_texts']:,} of them repeat an "
            f"earlier text, {source['texts_with_both_labels']:,} of the texts bear both labels; "
            f"{sum(rejected.values()):,} rows rejected" + (f" ({reasons}; see rejected.jsonl)." if reasons else ".")
        )
    dropped = manifest["train_rows_dropped_for_test"]
    if any(dropped.values()):
        said.append(
            f"{dropped['same_text']:,} training rows were dropped because the test file holds their text, and "
            f"{dropped['same_pair']:,} because it holds their pair."
        )
    empty = [split for split, labels in manifest["counts"]["documents"].items() if not any(labels.values())]
    if empty:
        said.append(f"No document fell to {', '.join(empty)}: the file is too small for all roles.")
    return said


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; a fault in the input is one sentence on stderr and exit status 1."""
    options = parser().parse_args(arguments)
    try:
        options.run(options)
    except (ValueError, OSError) as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(f"error: {error}", markup=False)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
