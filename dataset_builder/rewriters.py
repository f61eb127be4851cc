"""Back-ends that rewrite pieces of text: into Russian, or in other words.

    TRANSLATORS   "marian" (a Marian model through `generate`), "google" (Google Translate; extra `augment`)
    PARAPHRASERS  "t5" (a T5 sentence paraphraser through `generate`)

A back-end is made by a factory from the name of a model, or None for the default:

- `Helsinki-NLP/opus-mt-en-ru`: English to Russian, Apache-2.0.
- `humarin/chatgpt_paraphraser_on_T5_base`: English paraphrases, OpenRAIL. The article's own paraphraser is
  `ramsrigouthamg/t5_sentence_paraphraser`, whose card names no licence; it takes the same prefix.

Both generate by beam search, without chance. An answer is cut where it is twice as long as the longest piece of its batch.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

PIECE_TOKENS = 200  # of one piece: these models learnt from sentences, and positions end at 512
GOOGLE_CHARACTERS = 1500  # of one request: it travels in a URL, and longer ones are refused
GOOGLE_TRIES, GOOGLE_WAIT, GOOGLE_TIMEOUT = 5, 2.0, 30.0  # requests; seconds before the second one; seconds for each


class RewriteError(RuntimeError):
    """A back-end did not rewrite what it was given; the message is a reason without the text, so that it can be counted."""


EMPTY = "the answer is empty"
ENDLESS = "the answer does not come to an end"
SAME = "every answer repeats the sentence"

Answer = str | RewriteError


@dataclass(frozen=True)
class Backend:
    """One way to rewrite text.

    Attributes:
        name: In its table.
        model: Name of the model, as the manifest shows it.
        settings: All that can change an answer besides name and model; JSON.
        rewrite: A batch of pieces -> as many answers; an error that concerns one piece stands in its place, one that
            concerns the batch is raised (RuntimeError or OSError).
        fits: Whether a piece is short enough to be taken whole.
        batch: Pieces per call.
        packs: Whether neighbouring sentences may go together.
    """

    name: str
    model: str
    settings: Mapping[str, Any]
    rewrite: Callable[[list[str]], list[Answer]]
    fits: Callable[[str], bool]
    batch: int = 32
    packs: bool = False


def marian(model: str | None = None) -> Backend:
    """A Marian translation model, English to Russian unless another is named."""
    return seq2seq("marian", model or "Helsinki-NLP/opus-mt-en-ru", prefix="", beams=4, candidates=1)


def t5(model: str | None = None) -> Backend:
    """A T5 sentence paraphraser: the best of five beams that is not the sentence itself."""
    return seq2seq(
        "t5", model or "humarin/chatgpt_paraphraser_on_T5_base", prefix="paraphrase: ", beams=5, candidates=5
    )


def seq2seq(name: str, model: str, prefix: str, beams: int, candidates: int) -> Backend:
    """An encoder-decoder from the Hub or a folder, on the GPU if there is one.

    Args:
        name: Of the back-end.
        model: Hub name or folder.
        prefix: Put before every piece; tells a T5 its task.
        beams: Of the search.
        candidates: Best beams looked at. With more than one, an answer that repeats the piece is passed over.

    Raises:
        ValueError: If the model cannot be loaded.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(model)
        network = AutoModelForSeq2SeqLM.from_pretrained(model, dtype=torch.float32)
    except (OSError, ValueError, ImportError) as error:
        raise ValueError(
            f"The back-end {name!r} cannot load the model {model!r} ({_first_line(error)}); name a Hub model that this "
            f"machine can reach, or a folder."
        ) from error
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network.to(device).eval()
    positions = min(int(getattr(network.config, "max_position_embeddings", 0) or 512), tokenizer.model_max_length, 512)
    limit = min(PIECE_TOKENS, positions)
    end = network.config.eos_token_id

    def fits(piece: str) -> bool:
        return len(tokenizer(prefix + piece, verbose=False)["input_ids"]) <= limit

    def rewrite(pieces: list[str]) -> list[Answer]:
        batch = tokenizer([prefix + piece for piece in pieces], return_tensors="pt", padding=True).to(device)
        width = batch["input_ids"].shape[1]  # (B, T)
        try:
            with torch.inference_mode():
                output = network.generate(  # (B * candidates, T')
                    input_ids=batch["input_ids"],
                    attention_mask=batch["attention_mask"],
                    num_beams=beams,
                    num_return_sequences=candidates,
                    do_sample=False,
                    max_length=None,
                    max_new_tokens=min(2 * width + 16, positions - 1),
                ).cpu()
        except torch.OutOfMemoryError:
            if len(pieces) == 1:
                raise
            torch.cuda.empty_cache()
            half = len(pieces) // 2
            return rewrite(pieces[:half]) + rewrite(pieces[half:])
        texts = tokenizer.batch_decode(output, skip_special_tokens=True)
        # the first id starts the decoder and may be the end mark itself
        found = [text.strip() if end in ids else None for text, ids in zip(texts, output[:, 1:].tolist(), strict=True)]
        return [
            choose(piece, found[row * candidates : (row + 1) * candidates], candidates > 1)
            for row, piece in enumerate(pieces)
        ]

    settings = {"prefix": prefix, "beams": beams, "candidates": candidates, "piece_tokens": limit}
    settings["weights"] = _weights(model, network.config)
    return Backend(name, "/".join(Path(model).parts[-2:]), settings, rewrite, fits)


def choose(piece: str, candidates: list[str | None], other_words: bool) -> Answer:
    """The first candidate that came to an end (None did not), is not empty and, if `other_words`, not the piece."""
    ended = [candidate for candidate in candidates if candidate is not None]
    said = [candidate for candidate in ended if candidate]
    new = [candidate for candidate in said if not other_words or _letters(candidate) != _letters(piece)]
    return new[0] if new else RewriteError(SAME if said else EMPTY if ended else ENDLESS)


def google(model: str | None = None) -> Backend:
    """Google Translate through deep-translator, English to Russian: one request a piece, patient, within time.

    Raises:
        ValueError: If deep-translator is not installed, or a model is named: there is none to choose.
    """
    if model is not None:
        raise ValueError(f"The back-end 'google' has no models to choose from, and {model!r} was named.")
    try:
        from deep_translator import GoogleTranslator
    except ImportError as error:
        raise ValueError("The back-end 'google' needs deep-translator: pip install 'mvh[augment]'.") from error

    def ask(piece: str) -> Answer:
        translator = GoogleTranslator(source="en", target="ru")
        answer = patiently(lambda: within(GOOGLE_TIMEOUT, translator.translate, piece))
        return answer.strip() if answer and answer.strip() else RewriteError(EMPTY)

    settings = {"source": "en", "target": "ru", "characters": GOOGLE_CHARACTERS}
    return Backend(
        "google",
        "Google Translate",
        settings,
        rewrite=lambda pieces: [ask(piece) for piece in pieces],
        fits=lambda piece: len(piece) <= GOOGLE_CHARACTERS,
        batch=1,
        packs=True,
    )


def within(seconds: float, function: Callable[[str], str | None], text: str) -> str | None:
    """Call `function(text)`, but wait no longer than `seconds`: deep-translator itself would wait for ever.

    Raises:
        TimeoutError: If there is no answer by then; the call goes on in a thread that does not keep Python alive.
    """
    outcome: list[str | None] = []
    fault: list[Exception] = []

    def call() -> None:
        try:
            outcome.append(function(text))
        except Exception as error:
            fault.append(error)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(seconds)
    if fault:
        raise fault[0]
    if not outcome:
        raise TimeoutError(f"there was no answer within {seconds:g} seconds")
    return outcome[0]


def patiently(
    call: Callable[[], str | None],
    tries: int = GOOGLE_TRIES,
    wait: float = GOOGLE_WAIT,
    sleep: Callable[[float], None] = time.sleep,
) -> str | None:
    """Call until it answers, at most `tries` times, with a pause that begins at `wait` seconds and doubles.

    Raises:
        RewriteError: If the last try failed too.
    """
    for attempt in range(1, tries + 1):
        try:
            return call()
        except Exception as error:  # the library raises many kinds without a common base
            if attempt == tries:
                raise RewriteError(f"{tries} tries failed, the last with {type(error).__name__}") from error
            sleep(wait * 2 ** (attempt - 1))
    raise ValueError(f"tries must be at least 1, got {tries}.")


TRANSLATORS: dict[str, Callable[[str | None], Backend]] = {"marian": marian, "google": google}
PARAPHRASERS: dict[str, Callable[[str | None], Backend]] = {"t5": t5}


def _letters(text: str) -> str:
    return "".join(character for character in text.casefold() if character.isalnum())


def _weights(model: str, config: Any) -> str | None:
    """Which weights they are: the commit of a Hub model, a hash of a folder's files."""
    files = sorted(file for file in Path(model).glob("*") if file.suffix in (".safetensors", ".bin", ".json", ".spm"))
    if not files:
        return getattr(config, "_commit_hash", None)
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as opened:
            digest.update(hashlib.file_digest(opened, "sha256").digest())
    return digest.hexdigest()[:16]


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
