"""Training: the article's five epochs by the stock Trainer in float32 and by mvh, with the AUROC that each ends with.

    python -m mvh.benchmarks.train --backbone FOLDER --train train.jsonl --dev dev.jsonl --work runs/speed_train --minutes 15
    python -m mvh.benchmarks.train --shape mdeberta-base --out results/speed_train_steps.json        # see steps.py

Both run recipes/article_en_plain.yaml with one backbone, one learning rate and the same segments. The stock Trainer computes
in float32, draws its batches at random, keeps the backbone's own dropout, and runs the whole model in train mode in frozen
epochs. mvh computes in bfloat16 where the machine does, groups batches by length, has no dropout in the encoder, and in
frozen epochs trains the head on vectors that the encoder made once. What is timed is `Trainer.train()` without evaluation.

Variants take turns, seed by seed. Each run leaves a small file in --work; with --minutes no run is begun after so many, and
the same command goes on.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from torch.optim.lr_scheduler import MultiStepLR
from transformers import EvalPrediction, PrinterCallback, Trainer, TrainerCallback, TrainingArguments, set_seed

from mvh.benchmarks import steps
from mvh.benchmarks.measuring import heading, machine, spread, write
from mvh.building import build_model
from mvh.dataset_builder.build import build_dataset
from mvh.experiments.decision_page import table
from mvh.experiments.kept_runs import identity, signature
from mvh.export import file_sha256, provenance
from mvh.frozen import FreezeSchedule, similar_batches
from mvh.recipe import ModelArguments, MvhTrainingArguments, parse_recipe
from mvh.train import Collator, load_tokenizer, prepare, segment_and_document_metrics
from mvh.trainer import MvhTrainer

RECIPE = Path(__file__).parents[1] / "recipes" / "article_en_plain.yaml"
STOCK, OURS = "stock Trainer, float32", "mvh"
FAST = ["--encoder_dropout", "0", "--train_sampling_strategy", "group_by_length", "--optim", "adamw_torch_fused"]
WORDS: dict[str, list[str]] = {  # what each variant adds to the recipe
    STOCK: ["--bf16_if_available", "False"],
    OURS: FAST,
    "mvh, word embeddings frozen": [*FAST, "--train_embeddings", "False"],
    "mvh, encoder run in frozen epochs": [*FAST, "--keep_frozen_features", "False"],
}
SAME_AUROC, FASTER, SEEDS = 0.01, 3.0, 3  # what is asked for


class FreezePlainly(TrainerCallback):
    """What a user of the stock Trainer writes: no gradients for the encoder in the frozen epochs, and nothing else."""

    def __init__(self, frozen_epochs: list[int]) -> None:
        self.frozen_epochs = frozen_epochs

    def on_epoch_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Freeze or thaw the encoder for the epoch that begins."""
        model.encoder.requires_grad_(int((state.epoch or 0.0) + 1e-6) + 1 not in self.frozen_epochs)


def stock_trainer(model: Any, args: MvhTrainingArguments, rows: datasets.Dataset, collator: Collator) -> Trainer:
    """Transformers' own Trainer with the recipe's schedule."""
    plain = TrainingArguments(
        output_dir=args.output_dir,
        num_train_epochs=args.num_train_epochs,
        learning_rate=args.learning_rate,
        per_device_train_batch_size=args.per_device_train_batch_size,
        label_smoothing_factor=args.label_smoothing_factor,
        seed=args.seed,
        use_cpu=args.use_cpu,
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.learning_rate, weight_decay=args.weight_decay)
    per_epoch = -(-len(rows) // args.per_device_train_batch_size)
    milestones = [round(epoch * per_epoch) for epoch in args.lr_milestones]
    return Trainer(
        model=model,
        args=plain,
        train_dataset=rows,
        data_collator=collator,
        callbacks=[FreezePlainly(args.frozen_epochs)],
        optimizers=(optimizer, MultiStepLR(optimizer, milestones, gamma=args.lr_gamma)),
    )


def our_trainer(model: Any, args: MvhTrainingArguments, rows: datasets.Dataset, collator: Collator) -> Trainer:
    """The Trainer of `python -m mvh.train`."""
    schedule = FreezeSchedule(args.frozen_epochs)
    return MvhTrainer(model=model, args=args, train_dataset=rows, data_collator=collator, callbacks=[schedule])


def described(args: argparse.Namespace, variant: str, seed: int) -> tuple[ModelArguments, MvhTrainingArguments]:
    """The recipe of a variant."""
    words = [str(RECIPE), "--dataset", "-", "--backbone", str(args.backbone), "--pooling", "mean", *WORDS[variant]]
    words += ["--output_dir", str(args.work / "run"), "--learning_rate", str(args.learning_rate), "--seed", str(seed)]
    words += ["--save_strategy", "no", "--eval_strategy", "no", "--logging_strategy", "no", "--disable_tqdm", "True"]
    model_args, _, training = parse_recipe([*words, "--use_cpu", str(not torch.cuda.is_available())])
    return model_args, training


def segments(args: argparse.Namespace) -> tuple[datasets.Dataset, datasets.Dataset]:
    """The training segments, drawn at random, and those of the dev documents; cut once for the same files, kept in --work.

    Raises:
        ValueError: If the files give fewer training segments than --segments.
    """
    parts = [file_sha256(args.train), file_sha256(args.dev), identity(str(args.backbone))]
    folder = args.work / f"data-{signature([*parts, str(args.segments), str(args.dev_documents)])}"
    if not (folder / "manifest.json").exists():
        tokenizer = load_tokenizer(str(args.backbone))
        build_dataset(args.train, tokenizer, folder, args.dev, args.segments, args.dev_documents, progress=False)
    found = datasets.load_dataset(str(folder), "segments")
    if len(found["train"]) < args.segments:
        raise ValueError(f"{args.train} gives {len(found['train'])} training segments, and {args.segments} are wanted.")
    return found["train"].shuffle(seed=0).select(range(args.segments)), found["test"].sort("length")


def evaluate(model: Any, rows: datasets.Dataset, dev: datasets.Dataset, collator: Collator) -> dict[str, float]:
    """AUROC by segment and by document, in float32; `rows` are the prepared `dev`."""
    model.eval().float()
    logits = np.zeros((len(rows), 2), dtype=np.float32)
    with torch.no_grad():
        for chosen in similar_batches(rows["length"], 16):
            batch = collator([rows[index] for index in chosen])
            output = model(**{name: value.to(model.device) for name, value in batch.items()})
            logits[chosen] = output.logits.float().cpu().numpy()
    found = segment_and_document_metrics(dev)(EvalPrediction(logits, np.asarray(rows["labels"])))
    return {level: found[f"{level}_auroc"] for level in ("segment", "document")}


def run(args: argparse.Namespace, variant: str, seed: int, data: tuple[datasets.Dataset, datasets.Dataset]) -> Any:
    """One training: seconds, steps and AUROC."""
    train, dev = data
    model_args, training = described(args, variant, seed)
    set_seed(seed)
    model = build_model(model_args, train, None)
    collator = Collator(load_tokenizer(model_args.backbone).pad_token_id or 0)
    make = stock_trainer if variant == STOCK else our_trainer
    trainer = make(model, training, prepare(train, model.config, learnt=True), collator)
    trainer.remove_callback(PrinterCallback)  # standard output is for the page
    begin = time.perf_counter()
    trainer.train()
    took = time.perf_counter() - begin
    auroc = evaluate(trainer.accelerator.unwrap_model(trainer.model), prepare(dev, model.config), dev, collator)
    commit = provenance()["commit"]
    return {
        "seconds": took,
        "steps": trainer.state.global_step,
        "auroc": auroc,
        "bf16": training.bf16,
        "commit": commit,
    }


def run_settings(args: argparse.Namespace) -> dict[str, str]:
    """What every run of one comparison has to share: sizes, files with their hashes, processor, threads and PyTorch."""
    settings = {name: str(getattr(args, name)) for name in ("segments", "dev_documents", "learning_rate")}
    settings |= {
        name: f"{getattr(args, name).name} {file_sha256(getattr(args, name))[:12]}" for name in ("train", "dev")
    }
    settings["backbone"] = f"{args.backbone.name} {signature([identity(str(args.backbone))])}"
    return settings | {
        "processor": machine()["processor"], "threads": str(torch.get_num_threads()), "torch": torch.__version__
    }  # fmt: skip


def all_runs(args: argparse.Namespace) -> dict[str, list[dict[str, Any]]] | None:
    """The runs of each variant by seed, kept ones first; None where --minutes were up before all were there.

    Raises:
        ValueError: If --work holds runs of other settings.
    """
    begin, kept, settings = time.monotonic(), {}, run_settings(args)
    data: tuple[datasets.Dataset, datasets.Dataset] | None = None
    for turn, seed in enumerate(args.seeds):
        shift = turn % len(args.variants)
        for variant in args.variants[shift:] + args.variants[:shift]:
            file = args.work / f"{variant.replace(', ', '-').replace(' ', '_')}.{seed}.json"
            if not file.exists():
                if args.minutes is not None and time.monotonic() - begin > 60 * args.minutes:
                    return None
                data = data or segments(args)
                found = run(args, variant, seed, data) | {"settings": settings}
                file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
                sys.stderr.write(f"{variant}, seed {seed}: {found['seconds']:.0f} s, AUROC {found['auroc']}\n")
            found = json.loads(file.read_text(encoding="utf-8"))
            other = {
                name: found["settings"].get(name) for name in settings if found["settings"].get(name) != settings[name]
            }
            if other:
                wanted = {name: settings[name] for name in other}
                raise ValueError(f"{file} is a run of {other}, now wanted is {wanted}: name another --work.")
            kept[variant, seed] = found
    return {variant: [kept[variant, seed] for seed in args.seeds] for variant in args.variants}


def compared(runs: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """A row for each variant: seconds, times as fast as the first one, AUROC and how far it is from the first one's."""
    rows = []
    first = next(iter(runs.values()))
    for variant, found in runs.items():
        took = spread([one["seconds"] for one in found])
        row: dict[str, Any] = {
            "variant": variant,
            "seconds": took,
            "steps": found[0]["steps"],
            "bf16": found[0]["bf16"],
        }
        row["times_as_fast"] = spread([one["seconds"] for one in first])["median"] / took["median"]
        for level in ("segment", "document"):
            values = np.array([one["auroc"][level] for one in found])
            others = np.array([one["auroc"][level] for one in first])
            row[level] = {"mean": float(values.mean()), "difference": float((values - others).mean())}
        rows.append(row)
    return rows


def page(report: dict[str, Any]) -> list[str]:
    """The report as lines of Markdown."""
    lines = heading("Training", report)
    lines += [f"Backbone {report['backbone']}, {report['segments']:,} training segments, dev set of "
              f"{report['dev_documents']:,} documents, learning rate {report['learning_rate']:g}, seeds {report['seeds']}; "
              "the difference is the mean over seeds to the first variant.", ""]  # fmt: skip
    commits = sorted({str(one["commit"])[:12] for found in report["runs"].values() for one in found})
    lines += [f"Runs made at {', '.join(commits)}.", ""]
    cells = []
    for row in report["rows"]:
        took = row["seconds"]
        cells.append([row["variant"], f"{took['median']:.0f} ({took['least']:.0f} to {took['most']:.0f})",
                      f"{row['times_as_fast']:.2f}", *(row[level][what] for level in ("segment", "document")
                                                       for what in ("mean", "difference"))])  # fmt: skip
    heads = ["variant", "s, median (least to most)", "times as fast", "AUROC by segment", "difference"]
    lines += table([*heads, "AUROC by document", "difference"], cells)
    ours = next((row for row in report["rows"] if row["variant"] == OURS), None)
    if ours:
        met = ours["times_as_fast"] >= FASTER and abs(ours["document"]["difference"]) <= SAME_AUROC
        seeds = len(report["seeds"])
        said = "met" if met and seeds >= SEEDS else f"met with {seeds} so far" if met else "not met"
        lines += [f"Wanted: at least {FASTER:g} times as fast, AUROC by document within {SAME_AUROC} over {SEEDS} seeds: "
                  f"{said}.", ""]  # fmt: skip
    return lines


def main(argv: Sequence[str] | None = None) -> dict[str, Any] | None:
    """Measure, print the page and write it where --out says; None where runs are left for another call."""
    parser = argparse.ArgumentParser(
        prog="python -m mvh.benchmarks.train", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("--backbone", type=Path, help="folder of the pretrained encoder")
    parser.add_argument("--train", type=Path, help="SemEval JSONL to train on")
    parser.add_argument("--dev", type=Path, help="SemEval JSONL to measure AUROC on")
    parser.add_argument("--work", type=Path, default=Path("runs/speed_train"), help="where finished runs are kept")
    parser.add_argument("--segments", type=int, default=1500)
    parser.add_argument("--dev-documents", type=int, default=500)
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--variants", nargs="+", choices=tuple(WORDS), default=[STOCK, OURS])
    parser.add_argument("--minutes", type=float, help="begin no run after so many; the same command goes on")
    parser.add_argument(
        "--shape", choices=tuple(steps.SHAPES), help="time single steps of a random model of this shape"
    )
    parser.add_argument("--rounds", type=int, default=3, help="of --shape")
    parser.add_argument("--segments-per-text", type=float, help="of --shape: to say what an epoch of SemEval costs")
    parser.add_argument("--quick", action="store_true", help="few short things, one round or seed")
    parser.add_argument("--out", type=Path, help="JSON file; the page lies beside it")
    args = parser.parse_args(argv)
    command = " ".join(["python -m mvh.benchmarks.train", *(sys.argv[1:] if argv is None else argv)])
    about = {"command": command, "quick": args.quick, "machine": machine()}
    make: Callable[[argparse.Namespace], dict[str, Any] | None] = steps.measure if args.shape else measure
    found = make(args)
    if found is None:
        sys.stderr.write("Time is up, and runs are left: give the same command again.\n")
        return None
    report = about | found
    write(report, steps.page(report) if args.shape else page(report), args.out)
    return report


def measure(args: argparse.Namespace) -> dict[str, Any] | None:
    """The comparison on real texts; None where runs are left for another call.

    Raises:
        ValueError: If a file is missing among the options.
    """
    if missing := [name for name in ("backbone", "train", "dev") if getattr(args, name) is None]:
        raise ValueError(f"The comparison needs --{', --'.join(missing)}; --shape alone needs none of them.")
    if args.quick:
        args.segments, args.dev_documents, args.seeds = 48, 20, args.seeds[:1]
    runs = all_runs(args)
    if runs is None:
        return None
    return {
        "backbone": args.backbone.name,
        **{name: getattr(args, name) for name in ("segments", "dev_documents", "learning_rate", "seeds")},
        "runs": runs,
        "rows": compared(runs),
    }


if __name__ == "__main__":
    main()
