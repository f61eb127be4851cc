"""Train a detector from a recipe; what it leaves is a checkpoint folder that loads, detects and can be published.

    accelerate launch train.py recipes/article_en.yaml --train_file train.jsonl --output_dir runs/en
    accelerate launch train.py recipes/article_union.yaml --train_file en.jsonl all.jsonl --documents 1000
    python -m mvh.train recipes/article_minilm.yaml --dataset runs/data --learning_rate 1e-4

A recipe is a YAML of the fields of `ModelArguments`, `DataArguments` and `MvhTrainingArguments` in recipe.py (all
of `transformers.TrainingArguments` among them); every field can be overridden on the command line. Data come as SemEval
JSONL (`train_file`, one or several, cut into segments by mvh.dataset_builder first) or as a folder built before (`dataset`).

`output_dir` holds the Trainer's checkpoints; run the same command again and a killed run goes on from the last of them.
The finished detector is `output_dir/model`, the log `output_dir/training.json`: its commit and versions are of the code that
began, and where other code went on, `resumed_at` names that, too.
"""

from __future__ import annotations

import json
import logging
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from datasets.exceptions import DatasetGenerationError
from safetensors import SafetensorError
from transformers import (
    AutoTokenizer,
    EvalPrediction,
    PreTrainedModel,
    set_seed,
)

from mvh.auxiliary import AUXILIARY, AuxiliaryHeads, task_classes
from mvh.building import build_model, label_tokens
from mvh.dataset_builder.build import build_dataset
from mvh.dataset_builder.folder import tokenizer_sha256
from mvh.dataset_builder.writing import LABELS
from mvh.export import export_checkpoint, file_sha256
from mvh.fit_bag import add_bags
from mvh.fit_features import held_out, segment_features
from mvh.frozen import FreezeSchedule
from mvh.masked_training import learn_masked_tokens, masked_begun, masked_history, refuse_masked_epochs
from mvh.metrics import classification_metrics
from mvh.normalization_mvh import NORMALIZER_VERSION, STEPS
from mvh.recipe import DataArguments, ModelArguments, MvhTrainingArguments, parse_recipe
from mvh.resuming import RECIPE, keep_recipe, last_checkpoint, makers, sweep, write_json
from mvh.seen import dataset_texts, text_hashes
from mvh.sole_use import sole_use
from mvh.statistics_mvh import document_margin
from mvh.trainer import ROW, MvhTrainer

logger = logging.getLogger("mvh.train")

MASKED = "masked"  # folder in output_dir: the encoder after its masked epochs


def main(argv: list[str] | None = None) -> Path:
    """Parse -> data -> model -> train -> evaluate -> export. Returns the folder of the finished detector.

    Raises:
        ValueError: If the recipe, the data, the devices or `output_dir` are not what a training needs, or another training is
            in there.
        OSError: If something cannot be read or written.
    """
    model_args, data_args, args = parse_recipe(sys.argv[1:] if argv is None else argv)
    alone = args.process_index == 0  # of several processes of one training the first answers for all
    with sole_use(Path(args.output_dir), "training") if alone else nullcontext():
        return run(model_args, data_args, args)


def run(model_args: ModelArguments, data_args: DataArguments, args: MvhTrainingArguments) -> Path:
    """Train as described, or go on with what a killed run has left in `args.output_dir`; see `main`."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    checkpoint = last_checkpoint(args.output_dir)
    masked = Path(args.output_dir) / MASKED
    begun = (Path(args.output_dir) / RECIPE).exists()
    keep_recipe(model_args, data_args, args, resumed=checkpoint is not None or masked_begun(masked))
    made_by = {}
    if args.process_index == 0:
        sweep(args.output_dir, checkpoints=begun)
        made_by = makers(args.output_dir)  # of the code that trains, not of what is committed meanwhile
    set_seed(args.seed)
    tokenizer = load_tokenizer(model_args.backbone)
    tokens = label_tokens(model_args, tokenizer)
    refuse_masked_epochs(model_args, tokenizer, args)
    if model_args.auxiliary_tasks and args.n_gpu > 1:
        raise ValueError(
            f"auxiliary_tasks are trained by one process per device, and this one has {args.n_gpu} devices; start it with "
            "accelerate launch."
        )
    data = load_segments(data_args, model_args, args, tokenizer)
    classes, sizes = task_classes(data["train"], model_args.auxiliary_tasks)
    if model_args.bags() and len(labels := set(data["choose"]["label"])) < 2:
        raise ValueError(
            f"The shares of the bags are fitted on role 'choose', and its documents have only label {labels}."
        )

    def teach(encoder: PreTrainedModel) -> None:
        learn_masked_tokens(encoder, data["train"], tokenizer, args, masked)
        set_seed(args.seed)  # whether they were trained now or read: what is drawn next is the same

    model = build_model(model_args, data["train"], tokens, teach if args.masked_epochs else None)
    train_rows = prepare(data["train"], model.config, learnt=True)
    if sizes:
        train_rows = train_rows.add_column(AUXILIARY, classes)
        AuxiliaryHeads(model, sizes)
    trainer = MvhTrainer(
        model=model,
        args=args,
        auxiliary_weight=model_args.auxiliary_weight,
        train_dataset=train_rows,
        eval_dataset=prepare(data["choose"], model.config).sort("length"),
        data_collator=Collator(tokenizer.pad_token_id or 0),
        compute_metrics=segment_and_document_metrics(data["choose"].sort("length")),
        callbacks=[FreezeSchedule(args.frozen_epochs)],
    )
    trainer.train(resume_from_checkpoint=checkpoint)
    return finish(trainer, tokenizer, data, model_args, data_args, made_by)


# --- data ---


def load_tokenizer(name_or_path: str) -> Any:
    """The backbone's tokenizer without the truncation and padding that some tokenizer files carry."""
    tokenizer = AutoTokenizer.from_pretrained(name_or_path)
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    return tokenizer


def load_segments(
    data_args: DataArguments, model_args: ModelArguments, args: MvhTrainingArguments, tokenizer: Any
) -> datasets.DatasetDict:
    """The segments of a built folder; files are built into `output_dir/data` first, by the main process alone.

    Raises:
        ValueError: If the folder was built from another file, sample, tokenizer, normaliser or segmentation than the
            recipe says, for other labels, past faults that a `strict` recipe raises, or lacks the split "train" or "choose".
        OSError: If the cache of `datasets` cannot take the segments.
    """
    folder = dataset_folder(data_args, args)
    with args.main_process_first(desc="building the dataset"):
        if not data_args.dataset and not (folder / "manifest.json").exists():
            build_dataset(
                data_args.train_file,
                model_args.backbone,
                folder,
                test=data_args.test_file,
                documents=data_args.documents,
                test_documents=data_args.test_documents,
                seed=data_args.data_seed_roles,
                core_tokens=model_args.core_tokens,
                context_tokens=model_args.context_tokens,
                strict=data_args.strict,
                augment=data_args.augmentation_plans(),
                rewrites=data_args.rewrites,
                steps=model_args.normalization,
            )
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    wanted: dict[str, Any] = {
        "segmentation": {"core_tokens": model_args.core_tokens, "context_tokens": model_args.context_tokens},
        "tokenizer": tokenizer_sha256(tokenizer),
        "normalizer": NORMALIZER_VERSION,
        "normalization": list(STEPS if model_args.normalization is None else model_args.normalization),
        "labels": model_args.labels,
    }
    built = {
        "segmentation": manifest["segmentation"],
        "tokenizer": manifest["tokenizer"]["sha256"],
        "normalizer": manifest["normalizer"]["version"],
        "normalization": manifest["normalizer"]["steps"],
        "labels": list(manifest.get("labels", LABELS)),
    }
    plans = [plan.described() for plan in data_args.augmentation_plans()]
    if plans or not data_args.dataset:
        wanted["augmentation"] = plans
        built["augmentation"] = [made["plan"] for made in manifest.get("augmentation", [])]
    if not data_args.dataset:
        wanted |= {"documents": data_args.documents, "seed": data_args.data_seed_roles}
        built |= {"documents": manifest["documents_wanted"]["train_file"], "seed": manifest["seeds"]["roles"]}
        wanted["train_file"] = [file_sha256(Path(path)) for path in data_args.train_file]
        files = [source for name, source in manifest["inputs"].items() if name.startswith("train_file")]
        built["train_file"] = [source["sha256"] for source in files]
        wanted["test_file"] = file_sha256(Path(data_args.test_file)) if data_args.test_file else None
        built["test_file"] = manifest["inputs"].get("test_file", {}).get("sha256")
        wanted["test_documents"] = data_args.test_documents
        built["test_documents"] = manifest["documents_wanted"]["test_file"]
    remove = "" if data_args.dataset else f" Name another output_dir, or remove all of {args.output_dir}."
    if data_args.strict and not data_args.dataset and (faults := passed_over(manifest)):
        raise ValueError(
            f"The dataset {folder} was built past {faults} bad rows or rewrites, and the recipe is strict.{remove}"
        )
    for name, value in wanted.items():
        if built[name] != value:
            raise ValueError(
                f"The dataset {folder} was built with {name} {built[name]}, the recipe wants {value}.{remove}"
            )
    try:
        segments = datasets.load_dataset(str(folder), "segments")
    except DatasetGenerationError as error:
        why = error.__cause__ or error
        raise OSError(f"The segments of {folder} cannot be brought into the cache of `datasets`: {why}.") from error
    for split in ("train", "choose"):
        if split not in segments:
            raise ValueError(f"The dataset {folder} has no segment in the split {split!r}; it needs more documents.")
    return segments


def passed_over(manifest: dict[str, Any]) -> int:
    """How many rows were set aside, and pieces of texts not rewritten, as a dataset was built: `strict` raises at the first."""
    rows = sum(sum(reasons.values()) for reasons in manifest["rejected"].values())
    return rows + sum(made.get("pieces", {}).get("failed", 0) for made in manifest.get("augmentation", []))


def prepare(segments: datasets.Dataset, config: Any, learnt: bool = False) -> datasets.Dataset:
    """The columns the Trainer needs: input_ids, labels, length, and features where the model's config names some.

    Args:
        segments: Of one role.
        config: The model's.
        learnt: Whether they are those that the config's `feature_data` was made of.
    """
    if names := config.feature_names:
        texts, documents = (segments["text"], segments["document_id"]) if learnt else ((), ())
        data_for = held_out(config.feature_data, texts, documents)
        segments = segments.map(lambda row: {"features": segment_features(row, names, data_for(row["document_id"]))})
    segments = segments.rename_column("label", "labels")
    keep = {"input_ids", "labels", "length", "features"}
    return segments.remove_columns([name for name in segments.column_names if name not in keep])


class Collator:
    """Pad the segments of a batch to the longest.

    input_ids and attention_mask (B, T), labels (B,), features (B, F), auxiliary (B, K) and row (B,) where the rows have some.
    """

    def __init__(self, pad_token_id: int) -> None:
        self.pad_token_id = pad_token_id

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Build one batch."""
        ids = [torch.as_tensor(row["input_ids"], dtype=torch.long) for row in rows]
        masks = [torch.ones_like(part) for part in ids]
        pad = torch.nn.utils.rnn.pad_sequence
        batch = {
            "input_ids": pad(ids, batch_first=True, padding_value=self.pad_token_id),  # (B, T)
            "attention_mask": pad(masks, batch_first=True),  # (B, T)
            "labels": torch.tensor([row["labels"] for row in rows]),  # (B,)
        }
        if "features" in rows[0]:
            batch["features"] = torch.tensor(np.array([row["features"] for row in rows], dtype=np.float32))  # (B, F)
        for name in (ROW, AUXILIARY):
            if name in rows[0]:
                batch[name] = torch.tensor([row[name] for row in rows])  # (B,) and (B, K)
        return batch


# --- evaluation and the end ---


def segment_and_document_metrics(segments: datasets.Dataset) -> Any:
    """compute_metrics for the Trainer: each metric by segment and, over mean margins, by document."""
    document_ids = np.array(segments["document_id"])
    lengths = np.array(segments["core_tokens"])

    def compute(prediction: EvalPrediction) -> dict[str, float]:
        logits = prediction.predictions
        margins, labels = logits[:, 1] - logits[:, 0], np.asarray(prediction.label_ids)  # (segments,)
        _, first, inverse = np.unique(document_ids, return_index=True, return_inverse=True)
        by_document = [document_margin(margins[rows], lengths[rows]) for rows in _groups(inverse)]
        return {
            **{f"segment_{k}": v for k, v in classification_metrics(labels, margins).items() if v is not None},
            **{
                f"document_{k}": v
                for k, v in classification_metrics(labels[first], np.array(by_document)).items()
                if v is not None
            },
        }

    return compute


def dataset_folder(data_args: DataArguments, args: MvhTrainingArguments) -> Path:
    """The dataset that is learnt from: the one named, or what is built in the output folder."""
    return Path(data_args.dataset or Path(args.output_dir) / "data")


def _groups(inverse: np.ndarray) -> list[np.ndarray]:
    """Row indices of each group 0..G-1."""
    order = np.argsort(inverse, kind="stable")
    return np.split(order, np.cumsum(np.bincount(inverse))[:-1])


def finish(
    trainer: MvhTrainer,
    tokenizer: Any,
    data: datasets.DatasetDict,
    model_args: ModelArguments,
    data_args: DataArguments,
    made_by: dict[str, Any],
) -> Path:
    """Evaluate, merge LoRA, leave auxiliary tasks, join the bags of n-grams; the main process exports detector and log."""
    evaluated = trainer.predict(trainer.eval_dataset, metric_key_prefix="eval")
    metrics = evaluated.metrics
    trainer.log(metrics)
    model = trainer.accelerator.unwrap_model(trainer.model)
    if model_args.lora_r:
        model = model.merge_and_unload()
    if model_args.auxiliary_tasks:
        model.auxiliary.leave(model)
    if bags := model_args.bags():
        choose = data["choose"].sort("length")
        joined = add_bags(model, data["train"], choose, evaluated.predictions, bags)
        with_bag = segment_and_document_metrics(choose)(EvalPrediction(joined, evaluated.label_ids))
        metrics = {**metrics, **{f"with_bag_{name}": value for name, value in with_bag.items()}}
    folder = Path(trainer.args.output_dir) / "model"
    if not trainer.is_world_process_zero():
        return folder
    log = {
        "model": vars(model_args),
        "data": vars(data_args),
        "dataset": json.loads((dataset_folder(data_args, trainer.args) / "manifest.json").read_text(encoding="utf-8")),
        "training": json.loads(trainer.args.to_json_string()),
        "metrics": metrics,
        "masked_history": masked_history(Path(trainer.args.output_dir) / MASKED),
        "history": trainer.state.log_history,
        "world_size": trainer.args.world_size,
        **made_by,
    }
    write_json(Path(trainer.args.output_dir) / "training.json", log)
    model.freeze_encoder(False)
    data_folder = Path(data_args.dataset or Path(trainer.args.output_dir) / "data")
    export_checkpoint(
        model,
        tokenizer,
        folder,
        store_dtype=model_args.store_dtype,
        base_model=model_args.backbone,
        seen={"training": text_hashes(dataset_texts(data_folder))},
    )
    logger.info(f"The detector is {folder}.")
    return folder


def command() -> int:
    """The command line: `main`, with one sentence for a fault. Returns the exit status."""
    try:
        main()
    except (ValueError, OSError, SafetensorError) as error:
        logger.error("error: %s", error)
        return 1
    except KeyboardInterrupt:
        logger.error("Interrupted: the same command goes on from the last checkpoint.")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(command())
