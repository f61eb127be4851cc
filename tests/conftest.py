"""Tiny real things for every test: a trained WordPiece tokenizer, small random backbones, SemEval-shaped rows."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import pytest
import torch
import yaml
from safetensors.torch import load_file
from scipy.stats import betabinom
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from tokenizers.normalizers import BertNormalizer
from transformers import AutoConfig, AutoModelForTextEncoding, PreTrainedTokenizerFast

from mvh import train

from .forked import Server

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # started in the background: it would be inherited
    signal.signal(signal.SIGINT, signal.default_int_handler)
torch.set_num_threads(min(2, os.cpu_count() or 1))

HUMAN_WORDS = (
    "rain dog street laugh kitchen muddy grandma honestly bus weird coffee forgot shoes stairs neighbour yelled".split()
)
MACHINE_WORDS = (
    "furthermore delve tapestry crucial landscape leverage holistic robust moreover realm foster pivotal".split()
)
SHARED_WORDS = "the a of and to in was is it that on for with as at by this from".split()
SENTENCES = [
    "Тихий вечер опустился на старый город, и фонари зажглись.",
    "今天天气很好，我们去公园散步。",
    "ذهب الولد إلى المدرسة في الصباح الباكر.",
    "The quick brown fox 🦊 jumps over the lazy dog 👩‍👩‍👧‍👦!",
]


def make_text(label: int, words: int, seed: int) -> str:
    """A nonsense text whose vocabulary depends on the label, so that a tiny model can learn it."""
    rng = random.Random(f"{label}-{words}-{seed}")
    own = MACHINE_WORDS if label else HUMAN_WORDS
    chosen = [rng.choice(own if rng.random() < 0.5 else SHARED_WORDS) for _ in range(words)]
    for position in range(9, words, 12):
        chosen[position] += "."
    return " ".join(chosen).capitalize() + "."


def make_rows(documents: int, seed: int = 0, words: tuple[int, int] = (10, 120)) -> list[dict]:
    """Rows of the stand-in's shape: human and machine texts in pairs, two languages, two sources."""
    rng = random.Random(seed)
    rows = []
    for index in range(documents):
        label = index % 2
        rows.append(
            {
                "id": index,
                "label": label,
                "text": make_text(label, rng.randint(*words), seed * 100_000 + index),
                "model": "chatGPT" if label else "human",
                "source": ["reddit", "wikihow"][index // 2 % 2],
                "lang": ["en", "ru"][index // 4 % 2],
                "pair": f"pair-{index // 2}-{seed}",
            }
        )
    return rows


def write_jsonl(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def toy_training(folder: Path, backbone: Path) -> list[str]:
    """Options of a training of three epochs, the first two with a frozen encoder, on segments that were cut beforehand."""
    words = [
        "--backbone", backbone, "--head_widths", 16, 8, "--core_tokens", 32, "--context_tokens", 8, "--use_cpu",
        True, "--disable_tqdm", True, "--learning_rate", 0.002, "--per_device_train_batch_size", 16,
        "--num_train_epochs", 3, "--frozen_epochs", 1, 2, "--report_to", "none",
    ]  # fmt: skip
    file = write_jsonl(folder / "train.jsonl", make_rows(60))
    first = [*words, "--train_file", file, "--output_dir", folder, "--num_train_epochs", 1, "--save_strategy", "no"]
    train.main([str(word) for word in first])
    return [str(word) for word in [*words, "--dataset", folder / "data"]]


def trained(options: list[str], out: Path, *more: str) -> dict:
    """The weights of the detector that such a training leaves."""
    train.main([*options, "--output_dir", str(out), *more])
    return load_file(out / "model" / "model.safetensors")


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    """An uncased WordPiece tokenizer with [CLS] and [SEP]: the nonsense words whole, everything else by character.

    Its vocabulary is written down, not trained: the trainer breaks ties in an order that changes from run to run.
    """
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = {*HUMAN_WORDS, *MACHINE_WORDS, *SHARED_WORDS}
    text = BertNormalizer(lowercase=True).normalize_str("".join([*words, *SENTENCES, "abcdefghijklmnopqrstuvwxyz.,"]))
    characters = {character for character in text if not character.isspace()}
    pieces = special + sorted(words | characters | {f"##{character}" for character in characters})
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    raw = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    raw.normalizer = BertNormalizer(lowercase=True)
    raw.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    raw.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[(token, raw.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=512,
        model_input_names=["input_ids", "attention_mask"],
    )


TINY = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}


@pytest.fixture(scope="session")
def backbone_folder(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast) -> Path:
    """A random BERT of width 32 with its tokenizer, saved as a Hub folder."""
    folder = tmp_path_factory.mktemp("backbone") / "tiny-bert"
    torch.manual_seed(0)
    config = AutoConfig.for_model("bert", vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, **TINY)
    AutoModelForTextEncoding.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def recipe(tmp_path_factory: pytest.TempPathFactory, backbone_folder: Path) -> Path:
    """The article's recipe at toy size: its five epochs, its schedule, a backbone of width 32."""
    folder = tmp_path_factory.mktemp("recipe")
    fields = yaml.safe_load((Path(train.__file__).parent / "recipes" / "article_en_plain.yaml").read_text())
    fields |= {
        "backbone": str(backbone_folder),
        "head_widths": [16, 8],
        "core_tokens": 32,
        "context_tokens": 8,
        "train_file": str(write_jsonl(folder / "train.jsonl", make_rows(60))),
        "learning_rate": 0.002,
        "save_total_limit": None,
        "logging_strategy": "epoch",
        "use_cpu": True,
        "disable_tqdm": True,
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(fields))
    return path


@pytest.fixture(scope="session")
def finished(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that a training by the toy recipe leaves; not to be changed."""
    out = tmp_path_factory.mktemp("run")
    train.main([str(recipe), "--output_dir", str(out)])
    return out


@pytest.fixture(scope="session")
def detector_of_characters(tmp_path_factory: pytest.TempPathFactory, detector: Path) -> Path:
    """The toy detector with a bag of characters of random weights beside it: other scores, the old calibration."""
    from mvh.bag_mvh import NgramBag
    from mvh.opening import open_folder

    folder = tmp_path_factory.mktemp("detector-of-characters") / "toy"
    shutil.copytree(detector, folder)
    model, _ = open_folder(detector)
    torch.manual_seed(0)
    model.config.character_bag = {"orders": [1, 2, 3], "buckets": 1024}
    model.character_bag = NgramBag(**model.config.character_bag)
    model.character_bag.idf.data.uniform_(0, 2)
    model.character_bag.weight.data.normal_(0, 3)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The development data beside the project; whatever needs it skips where it is absent."""
    folder = Path(os.environ.get("MVH_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"the development data folder {folder} is absent (users do not have it)")
    return folder


@pytest.fixture(scope="session")
def detector(tmp_path_factory: pytest.TempPathFactory, backbone_folder: Path) -> Path:
    """A tiny trained and calibrated checkpoint folder: the toy texts, cores of 32 tokens, a few seconds."""
    from mvh import calibrate, train

    folder = tmp_path_factory.mktemp("detector")
    train.main(
        [
            "--backbone", str(backbone_folder), "--name", "toy", "--pooling", "mean", "--head_widths", "16", "8",
            "--core_tokens", "32", "--context_tokens", "8", "--use_cpu", "True", "--disable_tqdm", "True",
            "--train_file", str(write_jsonl(folder / "train.jsonl", make_rows(120))),
            "--output_dir", str(folder / "run"), "--learning_rate", "0.005", "--num_train_epochs", "3",
            "--per_device_train_batch_size", "16", "--save_strategy", "no",
        ]
    )  # fmt: skip
    human = [row["text"] for row in make_rows(200, seed=7) if row["label"] == 0]
    return calibrate.calibrate(folder / "run" / "model", human[:50], human[50:], folder / "toy", "toy human texts")


@pytest.fixture(scope="session")
def forks() -> Iterator[Server]:
    """A server that forks processes to be killed or failed; see forked.py."""
    server = Server()
    yield server
    server.close()


def beta_binomial_limit(calibration_documents: int, test_documents: int, alpha: float) -> float:
    """The share of flagged human texts that a valid conformal rule exceeds once in a hundred (Vovk 2012, arXiv 1209.2673)."""
    rank = int((calibration_documents + 1) * alpha + 1e-9)
    return float(betabinom.ppf(0.99, test_documents, rank, calibration_documents + 1 - rank) / test_documents)
