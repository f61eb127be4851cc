"""A pretrained encoder -> the same encoder for other texts: fewer layers, and word pieces that were made of those texts.

    python -m mvh.vocabulary_transfer sentence-transformers/all-MiniLM-L6-v2 --texts subtaskA_train_multilingual.jsonl \
        --vocabulary 18000 --layers 4 --out runs/small-backbone
    python -m mvh.vocabulary_transfer sentence-transformers/all-mpnet-base-v2 --layers 6 --out runs/half-of-mpnet
    python -m mvh.vocabulary_transfer sentence-transformers/all-mpnet-base-v2 --texts subtaskA_train_monolingual.jsonl \
        --keep 18000 --layers 4 --out runs/third-of-mpnet

The embeddings of a multilingual encoder are most of its weights, and those of an English one cut other scripts into letters. A
piece that the encoder knows keeps its vector; a new one begins as the mean of the vectors of the pieces the encoder cuts it
into (fast vocabulary transfer: Gee, Zugarini, Rigutini and Torroni 2022, EMNLP industry track, section 3). With `--keep` there
are no new pieces: of the encoder's own those go that the texts use least, and what they spelt is cut into shorter ones. Only
texts of role "train" are read, and no label. The folder is a backbone for train.py, which has to train it before it is worth
anything.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoConfig, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerFast

from mvh.baselines.reference import read_rows, training_rows
from mvh.export import DONOR, public_name
from mvh.modeling_mvh import backbone_class
from mvh.placing import refuse_existing, unfinished_folder

logger = logging.getLogger(__name__)

SPECIAL = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
VOCABULARY = 18_000
CONTINUED = "##"  # before a piece that does not begin a word


def word_pieces(texts: Sequence[str], vocabulary: int, positions: int) -> PreTrainedTokenizerFast:
    """A WordPiece tokenizer of lower-case texts, accents kept: й is no accented и. The same for the same texts.

    Args:
        texts: Normalised as a detector sees them.
        vocabulary: Most word pieces.
        positions: Longest input in tokens, [CLS] and [SEP] included.
    """
    raw = Tokenizer(models.WordPiece(unk_token=SPECIAL["unk_token"]))
    raw.normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=False)
    raw.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = list(SPECIAL.values())
    # The trainer numbers letters inside words by chance, in the order of a hash table, and joins lower numbers first where
    # pairs are equally frequent. Named beforehand the letters have the same numbers in every run.
    inside = [CONTINUED + letter for letter in letters_inside_words(raw, texts)]
    trainer = trainers.WordPieceTrainer(vocab_size=vocabulary, special_tokens=special + inside, show_progress=False)
    raw.train_from_iterator(texts, trainer)
    tokenizer = Tokenizer(
        models.WordPiece(vocab=raw.get_vocab(), unk_token=SPECIAL["unk_token"])
    )  # letters are plain again
    tokenizer.normalizer, tokenizer.pre_tokenizer = raw.normalizer, raw.pre_tokenizer
    ends = [(token, raw.token_to_id(token)) for token in (SPECIAL["cls_token"], SPECIAL["sep_token"])]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    inputs = ["input_ids", "attention_mask"]
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_input_names=inputs, model_max_length=positions, **SPECIAL
    )


def letters_inside_words(tokenizer: Tokenizer, texts: Iterable[str]) -> list[str]:
    """Every character that stands somewhere behind the first of a word, sorted."""
    assert tokenizer.normalizer is not None and tokenizer.pre_tokenizer is not None
    found: set[str] = set()
    for text in texts:
        for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(tokenizer.normalizer.normalize_str(text)):
            found.update(word[1:])
    return sorted(found)


def transferred(tokenizer: Any, donor: Any, vectors: torch.Tensor, seed: int) -> tuple[torch.Tensor, int]:
    """Embeddings for a new vocabulary out of those of another.

    Args:
        tokenizer: The new one, made by `word_pieces`.
        donor: The tokenizer the vectors belong to.
        vectors: Its embeddings (V, H).
        seed: Of what the donor knows nothing of: drawn with the mean and spread of its vectors.

    Returns:
        Embeddings (new V, H), and how many of them are the donor's own.
    """
    mean, spread = vectors.mean(0), vectors.std(0)  # (H,), (H,)
    drawn = torch.randn(len(tokenizer), vectors.shape[1], generator=torch.Generator().manual_seed(seed))
    found = mean + spread * drawn  # (new V, H)
    known, own = donor.get_vocab(), 0
    special = {text: getattr(donor, f"{name}_id") for name, text in SPECIAL.items()}
    for piece, row in tokenizer.get_vocab().items():
        same = special.get(piece, known.get(piece))
        if same is not None:
            found[row], own = vectors[same], own + 1
        if same is not None or piece in special:  # a donor without [MASK] knows nothing of it
            continue
        parts = donor(piece.removeprefix(CONTINUED), add_special_tokens=False)["input_ids"]
        if parts := [part for part in parts if part != donor.unk_token_id]:
            found[row] = vectors[parts].mean(0)
    return found, own


def most_used(donor: Any, texts: Sequence[str], keep: int) -> tuple[PreTrainedTokenizerFast, list[int]]:
    """A WordPiece tokenizer with the most used of its pieces alone, in their order.

    Special tokens and single characters always stay, so that whatever could be spelt still can.

    Args:
        donor: The tokenizer.
        texts: Where its pieces are counted.
        keep: How many pieces to keep.

    Returns:
        The new tokenizer, and the donor's number of each of its pieces.

    Raises:
        ValueError: If more pieces must stay than `keep`, or the donor has no more.
    """
    state = json.loads(donor.backend_tokenizer.to_str())
    pieces: dict[str, int] = state["model"]["vocab"]
    counts: Counter[int] = Counter()
    for first in range(0, len(texts), 512):
        for ids in donor(list(texts[first : first + 512]), add_special_tokens=False)["input_ids"]:
            counts.update(ids)
    always = {token["id"] for token in state["added_tokens"]} | set(donor.all_special_ids)
    always |= {number for piece, number in pieces.items() if len(piece.removeprefix(CONTINUED)) == 1}
    if not len(always) <= keep < len(pieces):
        raise ValueError(f"Of {len(pieces)} word pieces {keep} cannot be kept: {len(always)} of them must stay.")
    others = sorted(set(pieces.values()) - always, key=lambda number: (-counts[number], number))
    kept = sorted(always | set(others[: keep - len(always)]))
    new = {old: number for number, old in enumerate(kept)}
    state["model"]["vocab"] = {piece: new[number] for piece, number in pieces.items() if number in new}
    for token in state["added_tokens"]:
        token["id"] = new[token["id"]]
    ends = [(token, new[donor.convert_tokens_to_ids(token)]) for token in (donor.cls_token, donor.sep_token)]
    raw = Tokenizer.from_str(json.dumps(state | {"post_processor": None, "truncation": None, "padding": None}))
    raw.post_processor = processors.TemplateProcessing(
        single=f"{donor.cls_token} $A {donor.sep_token}", special_tokens=ends
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw,
        model_input_names=["input_ids", "attention_mask"],
        model_max_length=donor.model_max_length,
        **donor.special_tokens_map,
    )
    return tokenizer, kept


def transfer(
    donor: str,
    texts: Sequence[str],
    out: Path,
    vocabulary: int | None,
    layers: int | None,
    seed: int,
    keep: int | None = None,
) -> Path:
    """Save such an encoder as a backbone folder.

    Args:
        donor: Folder or Hub name of an encoder.
        texts: What the word pieces are made of.
        out: Where to save it; must not exist.
        vocabulary: Most word pieces; None keeps the donor's.
        layers: How many of the donor's first layers to keep; None keeps all.
        seed: Of the vectors of pieces that the donor knows nothing of.
        keep: How many of the donor's own pieces to keep, those that the texts use most; None keeps them all.

    Raises:
        ValueError: If the donor has fewer layers, is to get new word pieces and does not number its own as BERT does, or is to
            lose some and has no WordPiece tokenizer or not so many.
        FileExistsError: If `out` is there.
    """
    config = AutoConfig.from_pretrained(donor)
    if layers is not None and not 1 <= layers <= config.num_hidden_layers:
        raise ValueError(f"{layers} layers were asked for, and {Path(donor).name} has 1 to {config.num_hidden_layers}.")
    with unfinished_folder(out, refuse_existing) as folder:
        model: PreTrainedModel = backbone_class(config, "layers").from_pretrained(
            donor, num_hidden_layers=layers or config.num_hidden_layers
        )
        tokenizer = AutoTokenizer.from_pretrained(donor)
        pieces = getattr(tokenizer.backend_tokenizer, "model", None)
        if vocabulary is not None and (not isinstance(pieces, models.WordPiece) or tokenizer.pad_token_id != 0):
            raise ValueError(
                f"New word pieces are made as BERT's are, padding number 0, and {Path(donor).name} has "
                f"{type(pieces).__name__} pieces with padding {tokenizer.pad_token_id}."
            )
        if keep is not None and not isinstance(pieces, models.WordPiece):
            raise ValueError(
                f"Pieces are dropped from a WordPiece tokenizer, and {Path(donor).name} has {type(pieces).__name__}."
            )
        own = len(tokenizer)
        if keep is not None:
            tokenizer, rows = most_used(tokenizer, texts, keep)
            own = len(rows)
            vectors = model.get_input_embeddings().weight.detach()[rows]  # (V, H)
            table = torch.nn.Embedding.from_pretrained(vectors, freeze=False, padding_idx=tokenizer.pad_token_id)
            model.set_input_embeddings(table)
            model.config.vocab_size = len(rows)
            new = {row: number for number, row in enumerate(rows)}
            for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
                if (number := getattr(model.config, name, None)) is not None:
                    setattr(model.config, name, new[number])
        if vocabulary is not None:
            known, tokenizer = tokenizer, word_pieces(texts, vocabulary, config.max_position_embeddings)
            old = model.get_input_embeddings().weight.detach()  # (V, H)
            vectors, own = transferred(tokenizer, known, old, seed)
            table = torch.nn.Embedding.from_pretrained(vectors, freeze=False, padding_idx=tokenizer.pad_token_id)
            model.set_input_embeddings(table)
            model.config.vocab_size, model.config.pad_token_id = len(tokenizer), tokenizer.pad_token_id
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        (folder / DONOR).write_text(json.dumps({"donor": public_name(donor)}) + "\n", encoding="utf-8")
    logger.info(
        "%s: %d word pieces, %d of them the donor's own; %d layers",
        out, len(tokenizer), own, model.config.num_hidden_layers,
    )  # fmt: skip
    return out


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m mvh.vocabulary_transfer", description=__doc__.split("\n")[0])
    parser.add_argument("donor", help="folder or Hub name of the encoder")
    parser.add_argument(
        "--texts",
        type=Path,
        nargs="+",
        help="SemEval JSONL the detector will learn from; without it no new word pieces",
    )
    parser.add_argument("--vocabulary", type=int, help=f"most word pieces (default: {VOCABULARY:,})")
    parser.add_argument("--keep", type=int, help="word pieces of the donor's own to keep, those that --texts use most")
    parser.add_argument("--layers", type=int, help="of the encoder to keep, from the first (default: all)")
    parser.add_argument(
        "--seed", type=int, default=0, help="of the roles, as train.py's --data_seed_roles; and of new pieces"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to make")
    return parser


def main(arguments: Sequence[str] | None = None) -> Path:
    """Command line: see the module's docstring. Returns the folder."""
    options = parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    if options.vocabulary is not None and not options.texts:
        raise ValueError(f"--vocabulary {options.vocabulary} word pieces are made of --texts, and none are given.")
    if options.keep is not None and (not options.texts or options.vocabulary is not None):
        raise ValueError(
            f"--keep {options.keep} drops the donor's word pieces that --texts use least; --texts are "
            f"{'given' if options.texts else 'missing'}, and --vocabulary is {options.vocabulary}."
        )
    rows = [row for path in options.texts or [] for row in read_rows(path)]  # roles are dealt to all files together
    texts = [row["normalised"] for row in training_rows(rows, [], options.seed)]
    vocabulary = (options.vocabulary or VOCABULARY) if options.texts and options.keep is None else None
    return transfer(options.donor, texts, options.out, vocabulary, options.layers, options.seed, options.keep)


if __name__ == "__main__":
    try:
        main()
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
