r"""Build a dataset of segments and documents from published files; measure how far annotators agree.

    mvh dataset semeval --train subtaskA_train_monolingual.jsonl --test subtaskA_dev_monolingual.jsonl \
        --tokenizer microsoft/mdeberta-v3-base --out data/semeval-2000 --documents 2000
    mvh dataset semeval --train subtaskA_train_monolingual.jsonl subtaskA_train_multilingual.jsonl \
        --tokenizer microsoft/mdeberta-v3-base --out data/union-1000 --documents 1000
    mvh dataset toxic --csv labeled.csv --out data/toxic \
        --tokenizer DeepPavlov/rubert-base-cased --core-tokens 126 --context-tokens 0
    mvh dataset agreement --votes votes.csv --published labeled.csv --out agreement.json

The first three make a folder. It opens with `datasets.load_dataset(folder)`, or `load_dataset(folder, "documents")` for
the texts before segmentation; `--push-to-hub USER/NAME` uploads both. Rows that cannot be used are listed in
rejected.jsonl.
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

from mvh.dataset_builder.agreement import agreement_sentences, measure
from mvh.dataset_builder.augment import PARAPHRASES, make_plans
from mvh.dataset_builder.build import build_dataset
from mvh.dataset_builder.perturb import perturb_plans
from mvh.dataset_builder.push import how_to_use, push_dataset, refuse_push
from mvh.dataset_builder.rewriters import PARAPHRASERS, TRANSLATORS
from mvh.dataset_builder.toxic import LABELS as TOXIC_LABELS
from mvh.dataset_builder.toxic import PREPROCESS, PUBLISHED, SOURCE, read_toxic
from mvh.dataset_builder.toxic_folder import build_toxic
from mvh.dataset_builder.votes import read_votes
from mvh.dataset_builder.writing import LABELS
from mvh.normalization_mvh import OPTIONAL_STEPS, STEPS
from mvh.usage import documented


def parser() -> argparse.ArgumentParser:
    """The command line: one subcommand per kind of input."""
    top = documented("mvh dataset", __doc__)
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    semeval = commands.add_parser("semeval", help="SemEval-2024 Task 8 JSONL, or files of the same shape")
    semeval.add_argument(
        "--train",
        type=Path,
        required=True,
        nargs="+",
        help="JSONL file, split into training, choosing and calibration; several give equal parts of a sample",
    )
    semeval.add_argument("--test", type=Path, help="JSONL file for the split 'test', such as a published dev file")
    semeval.add_argument("--documents", type=int, help="balanced sample to train on (default: every document)")
    semeval.add_argument(
        "--test-documents", type=int, help="balanced sample of the test file (default: 1000 if it can)"
    )
    add_augment_options(semeval)
    semeval.set_defaults(run=run_semeval)
    toxic = commands.add_parser("toxic", help="the CSV of Russian toxic comments, or that of another task")
    toxic.add_argument("--csv", type=Path, required=True, help="columns 'comment' and 'toxic' (0 or 1)")
    toxic.add_argument("--preprocess", choices=PREPROCESS, default="none", help="of the comments (default: none)")
    toxic.add_argument(
        "--labels", nargs=2, default=TOXIC_LABELS, metavar=("NULL", "OTHER"), help="names of 0 and 1 (neutral, toxic)"
    )
    toxic.add_argument("--lang", default="ru", help="language of the comments (default: ru)")
    toxic.add_argument("--source", default=SOURCE, help=f"where they come from (default: {SOURCE})")
    toxic.set_defaults(run=run_toxic)
    for command in (semeval, toxic):
        add_folder_options(command)
    agreement = commands.add_parser("agreement", help="votes of annotators: Krippendorff, Dawid and Skene, Cohen")
    agreement.add_argument("--votes", type=Path, required=True, help="CSV or JSONL of comment, annotator, label")
    agreement.add_argument("--published", type=Path, help="CSV with published labels of the same comments")
    agreement.add_argument("--out", type=Path, required=True, help="JSON file to write")
    agreement.set_defaults(run=run_agreement)
    return top


def add_folder_options(command: argparse.ArgumentParser) -> None:
    """What every command that makes a dataset folder takes."""
    command.add_argument("--tokenizer", required=True, help="name or folder of a fast tokenizer")
    command.add_argument("--out", type=Path, required=True, help="folder to make")
    command.add_argument("--seed", type=int, default=0, help="of roles and samples (default: 0)")
    command.add_argument(
        "--core-tokens", "--core_tokens", type=int, default=256, help="tokens of a segment's own (default: 256)"
    )
    command.add_argument(
        "--context-tokens", "--context_tokens", type=int, default=50, help="tokens of left context (default: 50)"
    )
    command.add_argument(
        "--normalization",
        nargs="+",
        metavar="STEP",
        help=f"steps in order (default: {' '.join(STEPS)}); others are {' '.join(OPTIONAL_STEPS)}",
    )
    command.add_argument("--strict", action="store_true", help="stop at the first bad row instead of setting it aside")
    command.add_argument("--push-to-hub", metavar="USER/NAME", help="upload the finished dataset")
    command.add_argument("--private", action="store_true", help="make the uploaded dataset private")


def add_augment_options(command: argparse.ArgumentParser) -> None:
    """What is done to machine texts of the training role before they are cut."""
    group = command.add_argument_group("augmentation of the English machine texts to train on")
    group.add_argument("--translate", type=float, default=0.0, metavar="SHARE", help="put into Russian, such as 0.5")
    group.add_argument("--translator", choices=TRANSLATORS, default="marian", help="(default: marian)")
    group.add_argument("--translation-model", metavar="MODEL", help="Hub name or folder for marian")
    group.add_argument(
        "--paraphrase",
        choices=("none", *PARAPHRASES),
        default="none",
        help="every: 0 to 100 %% of the sentences of each text; half: 50 to 100 %% in half of them",
    )
    group.add_argument("--paraphraser", choices=PARAPHRASERS, default="t5", help="(default: t5)")
    group.add_argument("--paraphrase-model", metavar="MODEL", help="Hub name or folder for t5")
    group.add_argument(
        "--perturb", type=float, default=0.0, metavar="SHARE", help="disguise this share of both labels' texts slightly"
    )
    group.add_argument("--rewrites", type=Path, metavar="FILE", help="keeps what is finished (default: a cache folder)")


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
        augment=[
            *make_plans(
                options.translate,
                options.translator,
                options.translation_model,
                options.paraphrase,
                options.paraphraser,
                options.paraphrase_model,
            ),
            *perturb_plans(options.perturb),
        ],
        rewrites=options.rewrites,
        steps=options.normalization,
    )
    print_summary(folder)
    if options.push_to_hub:
        print_push(folder, options)


def run_toxic(options: argparse.Namespace) -> None:
    """Build, say what came out, and upload if asked."""
    folder = build_toxic(
        options.csv,
        options.tokenizer,
        options.out,
        preprocess=options.preprocess,
        seed=options.seed,
        core_tokens=options.core_tokens,
        context_tokens=options.context_tokens,
        strict=options.strict,
        labels=options.labels,
        lang=options.lang,
        source=options.source,
        steps=options.normalization,
    )
    print_summary(folder)
    if options.push_to_hub:
        print_push(folder, options)


def run_agreement(options: argparse.Namespace) -> None:
    """Measure, write the JSON file and print its sentences."""
    published = None
    if options.published:
        published = {row["text"]: row["label"] for row in read_toxic(options.published)}
    found = measure(read_votes(options.votes), published)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    console = Console(highlight=False, soft_wrap=True)
    for sentence in agreement_sentences(found):
        console.print(sentence, markup=False)


def print_push(folder: Path, options: argparse.Namespace) -> None:
    """Upload a dataset folder and say where it went."""
    done = push_dataset(folder, options.push_to_hub, options.private)
    Console(highlight=False, soft_wrap=True).print(how_to_use(options.push_to_hub, done), markup=False)


def print_summary(folder: Path) -> None:
    """Print a dataset folder's manifest as a small table and a few sentences."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    console = Console(highlight=False, soft_wrap=True)
    labels = manifest.get("labels", LABELS)
    table = Table(title=str(folder))
    for column in ("split", "documents", *labels, "segments", "languages"):
        table.add_column(
            column, no_wrap=column != "languages", justify="left" if column in ("split", "languages") else "right"
        )
    for split, documents in manifest["counts"]["documents"].items():
        by_label = [sum(documents[label].values()) for label in labels]
        segments = sum(sum(by_lang.values()) for by_lang in manifest["counts"]["segments"][split].values())
        languages = " ".join(sorted({lang for by_lang in documents.values() for lang in by_lang}))
        table.add_row(split, *(f"{number:,}" for number in (sum(by_label), *by_label, segments)), languages)
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
        if shared := source.get("texts_of_earlier_files"):
            said.append(
                f"{shared:,} of these rows repeat a text of a file named before it, and such a text is taken once."
            )
        if manifest.get("rows_with_pair", {}).get(source["file"]) == 0:
            said.append(
                "None of its rows names a pair, so a human text and machine texts made of it may be in different splits."
            )
        if "as_published" in source:
            said.append(f"The repetitions were left out. {source['rows_of_label_1']:,} of the valid rows have label 1.")
            same = "is" if source["as_published"] else "is not"
            numbers = f"{PUBLISHED['rows']:,} rows, {PUBLISHED['toxic']:,} of them toxic"
            said.append(f"This {same} the published set of Russian toxic comments ({numbers}).")
    dropped = manifest.get("train_rows_dropped_for_test", {})
    if any(dropped.values()):
        said.append(
            f"{dropped['same_text']:,} training rows were dropped because the test file holds their text, and "
            f"{dropped['same_pair']:,} because it holds their pair."
        )
    for made in manifest.get("augmentation", []):
        if made["plan"]["method"] == "perturbation":
            done = sum(count for name, count in made["texts"].items() if name.endswith(" done"))
            said.append(
                f"Perturbation: {done:,} of {sum(made['training_texts'].values()):,} texts to train on, both labels."
            )
            continue
        texts, backend = made["texts"], made["backend"]
        reasons = "; ".join(f"{count:,} because {reason}" for reason, count in made["failed"].items())
        said.append(
            f"{made['plan']['method'].capitalize()} by {backend['name']} ({backend['model']}): {texts['done']:,} of "
            f"{texts['asked']:,} texts chosen from {made['machine_texts']['en']:,} English machine texts; "
            f"{texts['left']:,} had no sentence to rewrite, {texts['failed']:,} stayed as they are"
            + (f" ({reasons})." if reasons else ".")
        )
    empty = [split for split, labels in manifest["counts"]["documents"].items() if not any(labels.values())]
    if empty:
        said.append(f"No document fell to {', '.join(empty)}: the file is too small for all roles.")
    return said


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; a fault in the input is one sentence on stderr and exit status 1."""
    options = parser().parse_args(arguments)
    try:
        if getattr(options, "push_to_hub", None):
            refuse_push(options.push_to_hub)  # before an hour of building
        options.run(options)
    except (ValueError, OSError) as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(f"error: {error}", markup=False)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
