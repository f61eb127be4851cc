"""Other people's detectors: any text classifier of the Hub as a scorer of `mvh.score`.

    python -m mvh.score openai-community/roberta-base-openai-detector --kind hub --positive-label Fake --data dev.jsonl \
        --out runs/score_openai

Only models that transformers can load without code of their own are taken: nothing is trusted. Which label means
"machine" is never guessed. Texts are given as they are, unnormalised, as these models were trained; one longer than the
model reads is cut into windows that tile it, and its margin is the mean over their tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from mvh.pvalues_mvh import sigmoid

TEXTS, WINDOWS = 64, 16  # texts read ahead; windows per batch
POSITIONS = 512  # where a model does not say how much it reads
KNOWN = ("batch_size", "positive_label")


def positive_index(label: str | None, id2label: Mapping[int, str]) -> int:
    """The class called `label`, in any case.

    Raises:
        ValueError: If no label is given or the model has none of this name, or two.
    """
    names = ", ".join(map(repr, id2label.values()))
    if label is None:
        raise ValueError(f"Which label means machine? Name it by --positive-label: the model has {names}.")
    found = [index for index, name in id2label.items() if str(name).lower() == label.lower()]
    if len(found) != 1:
        raise ValueError(f"--positive-label {label!r} names {len(found)} of the model's labels {names}.")
    return int(found[0])


def margins_of(logits: torch.Tensor, positive: int) -> torch.Tensor:
    """Log-odds of the positive class against all others, (B, C) -> (B,); a single logit is its own log-odds."""
    if logits.shape[1] == 1:
        return logits[:, 0]
    others = [index for index in range(logits.shape[1]) if index != positive]
    return logits[:, positive] - torch.logsumexp(logits[:, others], dim=1)


def window_tokens(tokenizer: Any, config: Any) -> int:
    """How many tokens the model reads at once, special ones included."""
    positions = getattr(config, "max_position_embeddings", None) or POSITIONS
    if positions % 2 == 0 and positions % 32 == 2:
        positions -= 2  # RoBERTa counts positions from 2: it has 514 and reads 512
    return min(int(tokenizer.model_max_length), positions)


def open_hub(name: str, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """A text classifier as a scorer; see `mvh.score.open_checkpoint`. Its verdict is the positive label at margin >= 0.

    Args:
        name: Hub name or folder.
        options: `positive_label`, the name of the class that means machine, and `batch_size`, windows per batch.

    Raises:
        ValueError: If another option is given, the model cannot be loaded or the label is not one of its own.
    """
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    if unknown := [key for key, value in options.items() if value is not None and key not in KNOWN]:
        raise ValueError(f"A classifier of the Hub decides by the sign of its margin and has no option {unknown[0]!r}.")
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(name)
        model: Any = AutoModelForSequenceClassification.from_pretrained(name, dtype=torch.float32)
    except (OSError, ValueError, ImportError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{name!r} cannot be loaded as a text classifier: {reason}") from error
    positive = positive_index(options.get("positive_label"), model.config.id2label)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.to(device).eval()
    limit, size = window_tokens(tokenizer, model.config), options.get("batch_size") or WINDOWS

    def scored(texts: list[str]) -> list[tuple[float, int]]:
        """Margin and number of windows of each text."""
        cut = tokenizer(texts, truncation=True, max_length=limit, return_overflowing_tokens=True)
        owners = cut["overflow_to_sample_mapping"]
        order = sorted(range(len(owners)), key=lambda index: len(cut["input_ids"][index]))
        total, weight, windows = [0.0] * len(texts), [0] * len(texts), [0] * len(texts)
        for start in range(0, len(order), size):
            chosen = order[start : start + size]
            fields = {key: [cut[key][index] for index in chosen] for key in tokenizer.model_input_names if key in cut}
            batch = tokenizer.pad(fields, return_tensors="pt").to(device)
            with torch.inference_mode():
                margins = margins_of(model(**batch).logits.float(), positive).tolist()
            for index, margin in zip(chosen, margins, strict=True):
                owner, tokens = owners[index], len(cut["input_ids"][index])
                total[owner] += tokens * margin
                weight[owner] += tokens
                windows[owner] += 1
        return [(total[text] / weight[text], windows[text]) for text in range(len(texts))]

    nothing = dict.fromkeys(("p_value", "alpha", "group", "group_documents", "group_sources"))

    def scorer(texts: Iterator[str]) -> Iterator[dict[str, Any]]:
        for batch in iter(lambda: list(islice(texts, TEXTS)), []):
            readable = [text for text in batch if text.strip()]
            told = iter(scored(readable) if readable else [])
            for text in batch:
                if text.strip():
                    margin, windows = next(told)
                    decision = "machine" if margin >= 0 else "human"
                    found = {"margin": margin, "score": float(sigmoid(margin)), "decision": decision, "error": None}
                else:
                    error = {"type": "ValueError", "message": f"The text is blank: {len(text)} characters."}
                    found, windows = {"margin": None, "score": None, "decision": "uncertain", "error": error}, 1
                yield {**found, "segments": windows, **nothing}

    labels = [str(label) for index, label in sorted(model.config.id2label.items()) if int(index) != positive]
    machine = str(model.config.id2label[positive])
    public = "/".join(Path(name).parts[-2:])
    return scorer, {"name": public, "labels": ["/".join(labels) or f"not {machine}", machine], "calibration": None}
