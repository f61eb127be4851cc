"""Recipe file and command line -> the three groups of fields a training is described by.

A recipe is a YAML mapping of these fields; every field can be overridden as `--field value` (a list is emptied in YAML alone).
"""

from __future__ import annotations

import difflib
import logging
import math
from dataclasses import dataclass, field, fields
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import torch
import yaml
from transformers import HfArgumentParser, TrainingArguments

from mvh.auxiliary import check_tasks
from mvh.bag_mvh import check_bag
from mvh.configuration_mvh import HEADS
from mvh.dataset_builder.augment import Plan, make_plans
from mvh.dataset_builder.perturb import PerturbPlan, perturb_plans
from mvh.features_mvh import expand_features
from mvh.normalization_mvh import STEPS, normalize
from mvh.pooling_mvh import POOLINGS

logger = logging.getLogger("mvh.train")

STORE_DTYPES = ("float32", "float16", "bfloat16", "float8_e4m3fn")
PLAIN_SCHEDULES = ("linear", "SchedulerType.LINEAR")  # the default of TrainingArguments: nobody asked for another


def hardware_has_bf16(use_cpu: bool) -> bool:
    """Whether bfloat16 is native: on the GPU, or on a CPU with AVX-512 BF16 or AMX."""
    if torch.cuda.is_available() and not use_cpu:
        return torch.cuda.is_bf16_supported()
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


@dataclass
class ModelArguments:
    """The detector: backbone, pooling, head, segments, features, LoRA."""

    backbone: str = field(default="microsoft/mdeberta-v3-base", metadata={"help": "Hub name or folder of the encoder."})
    name: str = field(default="mvh", metadata={"help": "Name that results and the card give the detector."})
    labels: list[str] = field(
        default_factory=lambda: ["human", "machine"],
        metadata={"help": "Names of label 0, the null class, and label 1."},
    )
    head: str = field(
        default="layers",
        metadata={
            "help": "'layers', or 'label_token': a whole T5 generates the label as a token (the rest is unused)."
        },
    )
    label_words: list[str] = field(
        default_factory=list,
        metadata={"help": "Of 'label_token': a word of one token for each label; the labels' names when empty."},
    )
    pooling: str = field(default="cls", metadata={"help": "'cls', 'mean' or 'statistics'."})
    head_widths: list[int] = field(
        default_factory=lambda: [512, 256],
        metadata={"help": "Widths of the head's hidden layers; in a recipe [] is one linear layer."},
    )
    head_dropout: float = field(default=0.1, metadata={"help": "Dropout before each layer of the head."})
    encoder_dropout: float | None = field(
        default=None, metadata={"help": "Hidden and attention dropout of the encoder."}
    )
    train_embeddings: bool = field(
        default=True,
        metadata={"help": "Train the word embeddings too: of mDeBERTa they are two thirds of all weights."},
    )
    core_tokens: int = field(default=256, metadata={"help": "Tokens of a segment's core."})
    context_tokens: int = field(default=50, metadata={"help": "Tokens of left context."})
    feature_names: list[str] = field(
        default_factory=list, metadata={"help": "Handcrafted features or groups of them, in order."}
    )
    normalization: list[str] | None = field(
        default=None,
        metadata={
            "help": "Normalisation steps in order, among them 'stop_words' and 'symbols'; the default ones if not given."
        },
    )
    bag_orders: list[int] = field(
        default_factory=list,
        metadata={
            "help": "Lengths of the token n-grams that are counted beside the encoder, such as 1 2; [] for none."
        },
    )
    bag_buckets: int = field(default=1 << 20, metadata={"help": "Size of their hash table, a power of two."})
    character_bag_orders: list[int] = field(
        default_factory=list,
        metadata={
            "help": "Lengths of the character n-grams that are counted beside the encoder, such as 2 3 4; [] for none."
        },
    )
    character_bag_buckets: int = field(default=1 << 18, metadata={"help": "Size of their hash table, a power of two."})
    auxiliary_tasks: list[str] = field(
        default_factory=list,
        metadata={"help": "What the head also learns to tell while it trains: 'source', 'generator', 'language'."},
    )
    auxiliary_weight: float = field(
        default=0.3,
        metadata={"help": "Weight of each auxiliary task's loss in the training's loss; evaluations are without."},
    )
    lora_r: int = field(default=0, metadata={"help": "Rank of LoRA in the encoder; 0 trains all weights."})
    lora_alpha: int = field(default=16, metadata={"help": "Scale of LoRA."})
    lora_dropout: float = field(default=0.0, metadata={"help": "Dropout of LoRA."})
    lora_targets: list[str] = field(default_factory=list, metadata={"help": "Module names; guessed when empty."})
    store_dtype: str = field(default="float32", metadata={"help": "Number type of the saved weights (mvh.storing)."})

    def __post_init__(self) -> None:
        """Check what would otherwise fail after the training.

        Raises:
            ValueError: If `store_dtype`, `head` or a step of `normalization` is unknown, `head_widths` are no positive
                widths, `labels` or `label_words` not two, `lora_r` is negative, a dropout no share below 1, features are
                named for a head that takes none, or auxiliary tasks are unknown or meet LoRA or a label token.
        """
        if self.lora_r < 0:
            raise ValueError(f"lora_r must be a rank, or 0 for no LoRA, got {self.lora_r}.")
        for name in ("head_dropout", "encoder_dropout", "lora_dropout"):
            dropout = getattr(self, name)
            if dropout is not None and not 0 <= dropout < 1:
                raise ValueError(f"{name} must be at least 0 and less than 1, got {dropout}.")
        normalize("", STEPS if self.normalization is None else self.normalization)
        if self.store_dtype not in STORE_DTYPES:
            raise ValueError(f"store_dtype must be one of {STORE_DTYPES}, got {self.store_dtype!r}.")
        if self.head not in HEADS:
            raise ValueError(f"head must be one of {HEADS}, got {self.head!r}.")
        if self.head == "label_token" and self.feature_names:
            raise ValueError(f"head 'label_token' takes no handcrafted features, got {self.feature_names}.")
        expand_features(self.feature_names)
        for name, bag in self.bags().items():
            check_bag(name, bag)
        if isinstance(self.auxiliary_tasks, str):
            self.auxiliary_tasks = [self.auxiliary_tasks]
        check_tasks(self.auxiliary_tasks, self.auxiliary_weight)
        if self.auxiliary_tasks and (self.lora_r or self.head == "label_token"):
            other = f"lora_r {self.lora_r}" if self.lora_r else "head 'label_token'"
            raise ValueError(
                f"auxiliary_tasks {self.auxiliary_tasks} are learnt by a whole head of layers, not with {other}."
            )
        if self.pooling not in POOLINGS:
            raise ValueError(f"pooling must be one of {POOLINGS}, got {self.pooling!r}.")
        widths = self.head_widths
        if not isinstance(widths, list) or any(not isinstance(width, int) or width < 1 for width in widths):
            raise ValueError(f"head_widths must be a list of positive widths, got {widths!r}.")
        names = self.labels if isinstance(self.labels, list) else []
        if len(self.label_words) not in (0, 2):
            raise ValueError(f"label_words must be two words, the null class first, got {self.label_words!r}.")
        if len(names) != 2 or len(set(names)) != 2 or not all(isinstance(name, str) and name for name in names):
            raise ValueError(f"labels must be two different names, the null class first, got {self.labels!r}.")

    def bags(self) -> dict[str, dict[str, Any]]:
        """The bags of n-grams that are wanted, by the fields of a config that they become."""
        fields = {
            "bag": {"orders": self.bag_orders, "buckets": self.bag_buckets},
            "character_bag": {"orders": self.character_bag_orders, "buckets": self.character_bag_buckets},
        }
        return {name: bag for name, bag in fields.items() if bag["orders"]}


@dataclass
class DataArguments:
    """Where the texts come from."""

    train_file: list[str] = field(
        default_factory=list,
        metadata={"help": "SemEval JSONL to train on; several files give equal parts of a sample."},
    )
    test_file: str | None = field(default=None, metadata={"help": "SemEval JSONL to report on."})
    documents: int | None = field(default=None, metadata={"help": "Draw a balanced sample of so many documents."})
    test_documents: int | None = field(default=None, metadata={"help": "The same for the test file."})
    data_seed_roles: int = field(default=0, metadata={"help": "Seed of the roles and of the sample."})
    dataset: str | None = field(
        default=None, metadata={"help": "Folder made by mvh.dataset_builder, instead of files."}
    )
    strict: bool = field(default=False, metadata={"help": "Raise on a bad data row instead of setting it aside."})
    translate: float = field(
        default=0.0, metadata={"help": "Share of the English machine texts to train on that are put into Russian."}
    )
    translator: str = field(default="marian", metadata={"help": "'marian' or 'google'."})
    translation_model: str | None = field(default=None, metadata={"help": "Hub name or folder for 'marian'."})
    paraphrase: str = field(
        default="none",
        metadata={"help": "'every' (0 to 100 % of the sentences of each machine text), 'half' (50 to 100 % in half)."},
    )
    paraphraser: str = field(default="t5", metadata={"help": "Back-end of the paraphrase."})
    paraphrase_model: str | None = field(default=None, metadata={"help": "Hub name or folder for 't5'."})
    perturb: float = field(
        default=0.0,
        metadata={"help": "Share of the human and of the machine texts to train on that are disguised slightly."},
    )
    rewrites: str | None = field(
        default=None, metadata={"help": "File that keeps finished translations and paraphrases."}
    )

    def __post_init__(self) -> None:
        """Check the samples, and shares and names of the augmentations; one file need not be a list.

        Raises:
            ValueError: If a sample is of less than one document; as `augmentation_plans` does.
        """
        if isinstance(self.train_file, str):
            self.train_file = [self.train_file]
        for name in ("documents", "test_documents"):
            size = getattr(self, name)
            if size is not None and size < 1:
                raise ValueError(f"{name} must be at least 1, or left out for all that there are, got {size}.")
        self.augmentation_plans()
        files: dict[str, Any] = {"train_file": [], "test_file": None, "documents": None, "test_documents": None}
        if self.dataset and (idle := [name for name, nothing in files.items() if getattr(self, name) != nothing]):
            logger.warning(f"The dataset {self.dataset} is built already; not read: {', '.join(idle)}.")
            for name in idle:  # a log must not name them as used
                setattr(self, name, files[name])

    def augmentation_plans(self) -> list[Plan | PerturbPlan]:
        """What to do to the texts before they are cut: rewrites of machine texts, then perturbations of both labels.

        Raises:
            ValueError: If `translate` or `perturb` is no share, or a method or back-end is unknown.
        """
        rewrites = make_plans(
            self.translate,
            self.translator,
            self.translation_model,
            self.paraphrase,
            self.paraphraser,
            self.paraphrase_model,
        )
        return [*rewrites, *perturb_plans(self.perturb)]


@dataclass
class MvhTrainingArguments(TrainingArguments):
    """TrainingArguments plus the article's freeze schedule and learning-rate milestones, and masked epochs before them."""

    output_dir: str = field(default="runs/mvh", metadata={"help": "Folder of checkpoints, log and result."})
    frozen_epochs: list[int] = field(
        default_factory=list,
        metadata={"help": "Epochs, from 1, in which only the head is trained; 0 alone, or [] in a recipe, is none."},
    )
    keep_frozen_features: bool = field(
        default=True,
        metadata={"help": "In frozen epochs run the encoder once over each segment and keep its vectors."},
    )
    lr_milestones: list[float] = field(
        default_factory=list,
        metadata={"help": "Epochs after which the learning rate is multiplied by lr_gamma; empty: lr_scheduler_type."},
    )
    lr_gamma: float = field(default=0.5, metadata={"help": "Factor at each milestone."})
    masked_epochs: int = field(
        default=0,
        metadata={
            "help": "Epochs, before all others, in which the encoder fills in masked tokens of the training texts."
        },
    )
    masked_share: float = field(default=0.2, metadata={"help": "Share of the tokens masked in them."})
    masked_learning_rate: float = field(default=1e-4, metadata={"help": "Peak learning rate in them."})
    bf16_if_available: bool = field(default=False, metadata={"help": "bf16 autocast where the hardware has it."})

    def __post_init__(self) -> None:
        """Check what would otherwise fail after hours, and choose the precision.

        Raises:
            ValueError: If a list is none, an epoch, rate, factor or number of batches is out of its range, the milestones
                meet another schedule or `max_steps`, or what masked epochs are given is out of its range.
        """
        for name in ("frozen_epochs", "lr_milestones"):
            if not isinstance(getattr(self, name), list):
                raise ValueError(f"{name} must be a list of epochs, got {getattr(self, name)!r}.")
        if self.frozen_epochs != [0] and any(epoch < 1 for epoch in self.frozen_epochs):
            raise ValueError(f"frozen_epochs count from 1, or are 0 alone for none, got {self.frozen_epochs}.")
        if not all(0 < epoch < math.inf for epoch in self.lr_milestones):
            raise ValueError(f"lr_milestones must be epochs after the start, got {self.lr_milestones}.")
        if not 0 < self.lr_gamma < math.inf:
            raise ValueError(f"lr_gamma must be a positive factor, got {self.lr_gamma}.")
        for name in ("learning_rate", "weight_decay"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be a number that is not negative, got {getattr(self, name)}.")
        if self.gradient_accumulation_steps < 1:
            raise ValueError(f"gradient_accumulation_steps must be at least 1, got {self.gradient_accumulation_steps}.")
        self._warn_of_epochs_beyond_the_end()
        if self.lr_milestones and (self.max_steps > 0 or str(self.lr_scheduler_type) not in PLAIN_SCHEDULES):
            raise ValueError(
                f"lr_milestones {self.lr_milestones} count whole epochs and are the schedule; they exclude max_steps "
                f"({self.max_steps}) and lr_scheduler_type ({self.lr_scheduler_type})."
            )
        if self.lr_milestones and self.warmup_steps:
            raise ValueError(
                f"lr_milestones {self.lr_milestones} are the whole schedule; they exclude warmup_steps ({self.warmup_steps})."
            )
        if self.save_only_model or self.resume_from_checkpoint is not None:
            raise ValueError(
                "A killed training goes on by itself, by the same command, from the last checkpoint in output_dir; that needs "
                f"whole checkpoints: save_only_model is {self.save_only_model} and resume_from_checkpoint "
                f"{self.resume_from_checkpoint!r}, and neither may be given."
            )
        if self.masked_epochs < 0 or not 0 <= self.masked_learning_rate < math.inf or not 0 < self.masked_share < 1:
            raise ValueError(
                f"masked_epochs and masked_learning_rate must not be negative and masked_share lie between 0 and 1, got "
                f"{self.masked_epochs}, {self.masked_learning_rate} and {self.masked_share}."
            )
        if self.bf16_if_available and hardware_has_bf16(bool(getattr(self, "use_cpu", False))):
            self.bf16 = True
            self.__dict__["use_cpu"] = bool(getattr(self, "use_cpu", False)) or not torch.cuda.is_available()
        super().__post_init__()

    def _warn_of_epochs_beyond_the_end(self) -> None:
        """Say which frozen epochs and milestones never come: a recipe may be meant for more epochs than are trained now."""
        if self.max_steps > 0:
            return
        beyond = {
            "frozen_epochs": [epoch for epoch in self.frozen_epochs if epoch - 1 >= self.num_train_epochs],
            "lr_milestones": [epoch for epoch in self.lr_milestones if epoch >= self.num_train_epochs],
        }
        for name, epochs in beyond.items():
            if epochs:
                logger.warning(
                    f"{name} are {getattr(self, name)} and num_train_epochs is {self.num_train_epochs}: {epochs} never come."
                )


def takes_no(hint: Any) -> bool:
    """Whether the word "no" is a value of a field of this type, such as save_strategy: YAML reads it as false."""
    kinds = [kind for kind in get_args(hint) if isinstance(kind, type) and issubclass(kind, Enum)]
    return any(value.value == "no" for kind in kinds for value in kind)


def refuse_other_type(path: str, key: str, value: Any, hint: Any) -> None:
    """Check a value of a recipe against its field's type; texts that spell a number, as YAML reads 1e-4, are taken.

    Raises:
        ValueError: If a field of one value, or of a list of one kind of values, is given something else.
    """
    kinds = [part for part in (get_args(hint) if isinstance(hint, UnionType) or get_origin(hint) is Union else (hint,))]
    if get_origin(kinds[0]) is list and isinstance(value, list):
        for one in value:
            refuse_other_type(path, key, one, get_args(kinds[0])[0])
        return
    plain = [get_origin(kind) or kind for kind in kinds]
    if not set(plain) <= {bool, int, float, str, list, NoneType}:
        return
    one_of_list = type(value) is str and plain[0] is list and str in get_args(kinds[0])  # train_file: a.jsonl
    fits = type(value) in plain or (type(value) is int and float in plain) or one_of_list
    if isinstance(value, str) and plain[0] in (int, float):
        try:
            plain[0](value)
            fits = True
        except ValueError:
            fits = False
    if not fits:
        wanted = " or ".join("nothing" if kind is NoneType else kind.__name__ for kind in plain)
        raise ValueError(f"The recipe {path} gives {key} the value {value!r}, and it must be {wanted}.")


def parse_recipe(argv: list[str]) -> tuple[ModelArguments, DataArguments, MvhTrainingArguments]:
    """Recipe file first, then `--field value` overrides; without a file all fields come from the command line.

    Raises:
        ValueError: If the recipe is no mapping or names an unknown field (the nearest known one is said), or if neither
            a data file nor a dataset folder is given.
    """
    parser = HfArgumentParser((ModelArguments, DataArguments, MvhTrainingArguments))
    kinds = (ModelArguments, DataArguments, MvhTrainingArguments)
    known = {f.name for kind in kinds for f in fields(kind) if f.init}
    types = {name: hint for kind in kinds for name, hint in get_type_hints(kind).items()}
    if argv and not argv[0].startswith("-"):
        try:
            recipe = yaml.safe_load(Path(argv[0]).read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ValueError(f"The recipe {argv[0]} is no YAML: {' '.join(str(error).split())}.") from error
        if not isinstance(recipe, dict):
            raise ValueError(f"The recipe {argv[0]} must be a mapping of fields, not {type(recipe).__name__}.")
        for key, value in recipe.items():
            if key not in known:
                near = difflib.get_close_matches(str(key), known, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else "."
                raise ValueError(f"The recipe {argv[0]} names the field {key!r}, which does not exist{hint}")
            if value is False and takes_no(types[key]):
                value = "no"
            refuse_other_type(argv[0], key, value, types[key])
            if isinstance(value, list) and (kind := next(iter(get_args(types[key])), None)) in (int, float):
                value = [kind(one) for one in value]  # YAML reads 1e-4 as text, and argparse converts no list
            parser.set_defaults(**{key: value})
        argv = argv[1:]
    model_args, data_args, args = parser.parse_args_into_dataclasses(argv)
    if not data_args.dataset and not data_args.train_file:
        raise ValueError(
            "A training needs train_file (SemEval JSONL) or dataset (a built folder), and neither was given."
        )
    return model_args, data_args, args
