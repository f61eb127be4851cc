"""Before a detector is trained: its backbone learns to fill in masked tokens of the training segments, without their labels.

Masked language modelling (Devlin et al. 2019, section 3.1) on the very texts of the task (Gururangan et al. 2020, "Don't Stop
Pretraining", section 4).
"""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from safetensors.torch import load_model, save_model
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForTextEncoding,
    DataCollatorForLanguageModeling,
    PreTrainedModel,
    TrainingArguments,
)

from mvh.modeling_mvh import backbone_class
from mvh.placing import unfinished_folder
from mvh.recipe import ModelArguments, MvhTrainingArguments
from mvh.resuming import last_checkpoint, sweep, write_json
from mvh.trainer import SteadyTrainer

logger = logging.getLogger("mvh.train")

HEAD_SPEED = 10.0  # the transform and the bias start from nothing, the encoder does not
WARMUP = 0.06  # share of all steps
WEIGHTS, HISTORY = "encoder.safetensors", "history.json"
IGNORED = -100  # label of a token that is not to be filled in, of DataCollatorForLanguageModeling


class TokenFiller(nn.Module):
    """An encoder under BERT's masked-token head, whose output layer is the encoder's own word embeddings.

    Only the masked tokens are scored: over all of them the output layer would cost more than the encoder.
    """

    def __init__(self, encoder: PreTrainedModel, frequencies: torch.Tensor) -> None:
        """Args: encoder: a text encoder; frequencies: how often each token occurs, shape (V,), of which the bias is made."""
        super().__init__()
        self.encoder = encoder
        width = encoder.get_input_embeddings().embedding_dim
        self.transform = nn.Sequential(nn.Linear(encoder.config.hidden_size, width), nn.GELU(), nn.LayerNorm(width))
        self.bias = nn.Parameter(torch.log((frequencies + 0.01) / (frequencies + 0.01).sum()))

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, labels: torch.Tensor) -> dict[str, Any]:
        """Token ids, mask and labels (B, T), IGNORED where nothing is masked -> mean cross-entropy of the masked tokens."""
        hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state  # (B, T, H)
        masked = labels != IGNORED  # (B, T)
        vectors = self.transform(hidden[masked])  # (N, E), N masked tokens
        logits = vectors @ self.encoder.get_input_embeddings().weight.T + self.bias  # (N, V)
        loss = nn.functional.cross_entropy(logits.float(), labels[masked], reduction="sum")
        return {"loss": loss / masked.sum().clamp(min=1)}


class MaskingCollator:
    """Pad the segments of a batch and mask a share of their tokens: input_ids, attention_mask, labels (B, T).

    Of the masked tokens 80 % become the mask token, 10 % another token, 10 % stay (Devlin et al. 2019, appendix A.1).
    """

    def __init__(self, tokenizer: Any, share: float) -> None:
        self.pad_token_id = tokenizer.pad_token_id
        self.masking = DataCollatorForLanguageModeling(tokenizer, mlm_probability=share)

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Build one batch."""
        ids = [torch.as_tensor(row["input_ids"], dtype=torch.long) for row in rows]
        pad = torch.nn.utils.rnn.pad_sequence
        attention_mask = pad([torch.ones_like(part) for part in ids], batch_first=True)  # (B, T)
        padded = pad(ids, batch_first=True, padding_value=self.pad_token_id)  # (B, T)
        input_ids, labels = self.masking.torch_mask_tokens(padded, special_tokens_mask=self._special(padded))
        return {"input_ids": input_ids, "attention_mask": attention_mask, "labels": labels}

    def _special(self, ids: torch.Tensor) -> torch.Tensor:
        return torch.isin(ids, torch.tensor(self.masking.tokenizer.all_special_ids))  # (B, T)


def learn_masked_tokens(
    encoder: PreTrainedModel, segments: datasets.Dataset, tokenizer: Any, args: MvhTrainingArguments, out: Path
) -> None:
    """Train an encoder on masked tokens of segments, and keep its weights; go on where a killed run stopped.

    All its weights are trained that want a gradient, also where LoRA is to follow.

    Args:
        encoder: A text encoder with its pretrained weights; it is trained in place.
        segments: Training segments, of which "input_ids" and "length" are read.
        tokenizer: Their tokenizer, with a mask token (`refuse_masked_epochs`).
        args: `masked_epochs`, `masked_share` and `masked_learning_rate`; of the rest, how a training runs.
        out: Folder the trained weights and the log are kept in; of a finished one they are read, and nothing is trained. A
            run killed meanwhile leaves its checkpoints beside it.

    Raises:
        OSError: If something cannot be read or written.
    """
    steps = _checkpoints(out)
    if out.exists():
        load_model(encoder, out / WEIGHTS)
        if args.process_index == 0:
            shutil.rmtree(steps, ignore_errors=True)  # left by a run killed just after it had finished `out`
        return
    if args.process_index == 0:
        sweep(str(steps), checkpoints=True)
    if args.gradient_checkpointing:
        encoder.gradient_checkpointing_enable()
    flat = np.concatenate([np.asarray(ids) for ids in segments["input_ids"]])
    counts = np.bincount(flat, minlength=encoder.get_input_embeddings().num_embeddings)  # (V,)
    model = TokenFiller(encoder, torch.as_tensor(counts, dtype=torch.float32))
    trainer = SteadyTrainer(
        model=model,
        args=_arguments(args, steps),
        train_dataset=segments.select_columns(["input_ids", "length"]),
        data_collator=MaskingCollator(tokenizer, args.masked_share),
        optimizers=(_optimizer(model, args), None),
    )
    logger.info(f"First the backbone learns to fill in masked tokens, over {args.masked_epochs} epochs.")
    trainer.train(resume_from_checkpoint=last_checkpoint(str(steps)))
    if trainer.is_world_process_zero():
        with unfinished_folder(out, lambda folder: None) as folder:
            save_model(encoder, str(folder / WEIGHTS))
            write_json(folder / HISTORY, {"history": trainer.state.log_history})
        shutil.rmtree(steps, ignore_errors=True)
    trainer.accelerator.wait_for_everyone()
    encoder.cpu()  # where it was: the Trainer moves it to its device


def refuse_masked_epochs(model_args: ModelArguments, tokenizer: Any, args: MvhTrainingArguments) -> None:
    """Refuse masked epochs of what is no encoder, and where no token can be masked; to be called before any text is read.

    Raises:
        ValueError: If the backbone is a whole encoder-decoder, its tokenizer has no mask or padding token, or the tokenizer
            knows more tokens than the backbone.
    """
    if not args.masked_epochs:
        return
    begin = f"masked_epochs is {args.masked_epochs}, and"
    config = AutoConfig.from_pretrained(model_args.backbone)
    if config.is_encoder_decoder and backbone_class(config, model_args.head) is not AutoModelForTextEncoding:
        raise ValueError(
            f"{begin} the backbone, a {config.model_type}, is a whole encoder-decoder; only an encoder learns so."
        )
    for name in ("mask_token", "pad_token"):
        if getattr(tokenizer, name) is None:
            raise ValueError(f"{begin} the backbone's tokenizer has no {name}.")
    if len(tokenizer) > config.vocab_size:
        raise ValueError(f"{begin} the tokenizer has {len(tokenizer)} tokens, the backbone {config.vocab_size}.")


def masked_begun(out: Path) -> bool:
    """Whether a run has finished masked epochs in `out`, or was killed in them."""
    return out.exists() or _checkpoints(out).exists()


def masked_history(out: Path) -> list[dict[str, Any]]:
    """What was logged while `out` was made; nothing where there was no such training."""
    path = out / HISTORY
    return list(json.loads(path.read_text(encoding="utf-8"))["history"]) if path.exists() else []


def _checkpoints(out: Path) -> Path:
    return out.with_name(out.name + ".training")


def _optimizer(model: TokenFiller, args: MvhTrainingArguments) -> torch.optim.Optimizer:
    rate = args.masked_learning_rate
    fresh = [*model.transform.parameters(), model.bias]
    known = [parameter for parameter in model.encoder.parameters() if parameter.requires_grad]
    groups = [{"params": known}, {"params": fresh, "lr": HEAD_SPEED * rate}]
    return torch.optim.AdamW(groups, lr=rate, weight_decay=0.01)


def _arguments(args: MvhTrainingArguments, out: Path) -> TrainingArguments:
    """Of a training's arguments those that say how it runs; what is learnt, and how fast, is this module's."""
    same = (
        "per_device_train_batch_size", "gradient_accumulation_steps", "train_sampling_strategy", "seed", "data_seed", "bf16",
        "fp16", "use_cpu", "disable_tqdm", "dataloader_num_workers", "full_determinism", "ddp_find_unused_parameters",
    )  # fmt: skip
    return TrainingArguments(
        output_dir=str(out),
        num_train_epochs=args.masked_epochs,
        learning_rate=args.masked_learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=WARMUP,
        eval_strategy="no",
        logging_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=1,
        report_to="none",  # the log is kept beside the weights and becomes a part of training.json
        **{name: getattr(args, name) for name in same},
    )
