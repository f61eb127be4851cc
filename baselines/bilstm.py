"""Word2Vec vectors under two bidirectional LSTM layers: the neural baseline of the article on toxic comments.

    words -> Word2Vec (300) -> Gaussian noise -> dropout -> 2 x BiLSTM -> dropout -> dense (ReLU) -> dropout -> logit

The vectors are trained by gensim (the optional extra "word2vec") on a corpus of one's own, on the training texts by
default; the article used a large corpus of Russian tweets. They stay fixed while the rest is trained with Adam for ten
epochs; `unfreeze_epoch` trains them too from that epoch on, at a lower rate. The article names layers, regularisers,
optimiser, rate and epochs, but no widths, no batch size and no strength of noise and dropout: those are ours, the best
of the few tried on one other split of the toxic comments.

Saved as `detector.json` and `detector.safetensors`. `python -m mvh.baselines.fit bilstm` fits one on a dataset.

Letters in shape comments: B texts, T words, D dimensions of a vector, H units of a direction.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_sequence

from mvh.baselines.saved import LABELS, WEIGHTS, check_training, read_settings, write_settings
from mvh.dataset_builder.toxic import PREPROCESS
from mvh.trainer import LengthBatches

logger = logging.getLogger("mvh.baselines.bilstm")

KIND = "bilstm"
UNKNOWN = 0  # row of the vectors for words without one: zeros at first
LONGEST = 100  # words of a comment
LEAST_WORDS = 20  # a smaller vocabulary is no language to learn vectors of


@dataclass(frozen=True)
class Shape:
    """What the network is made of.

    Attributes:
        dimensions: D, of a word vector.
        units: H, of each LSTM in each direction.
        hidden: Units of the dense layer.
        noise: Standard deviation of the Gaussian noise added to word vectors in training.
        dropout: Share dropped of the word vectors, between and after the LSTMs, and after the dense layer.
        longest: Words of a text that are read, its first ones.
    """

    dimensions: int = 300
    units: int = 64
    hidden: int = 64
    noise: float = 0.2
    dropout: float = 0.3
    longest: int = LONGEST


class BiLstm(nn.Module):
    """The classifier: texts -> logit margins, higher = more of class 1."""

    def __init__(
        self,
        words: Sequence[str],
        shape: Shape,
        preprocessing: str = "article",
        labels: tuple[str, str] = LABELS,
        about: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.words, self.shape, self.preprocessing, self.labels = list(words), shape, preprocessing, labels
        self.about = about or {}
        self.row = {word: index for index, word in enumerate(self.words, start=UNKNOWN + 1)}
        self.vectors = nn.Embedding(len(self.words) + 1, shape.dimensions)
        self.lstm = nn.LSTM(
            shape.dimensions, shape.units, 2, batch_first=True, bidirectional=True, dropout=shape.dropout
        )
        self.dropout = nn.Dropout(shape.dropout)
        self.dense = nn.Linear(2 * shape.units, shape.hidden)
        self.out = nn.Linear(shape.hidden, 1)

    def split(self, text: str) -> list[str]:
        """All words of a text."""
        return PREPROCESS[self.preprocessing](text).split()

    def encode(self, text: str) -> torch.Tensor:
        """Rows of the first words of a text, shape (T,); a text without a word is one unknown word."""
        words = self.split(text)[: self.shape.longest]
        return torch.tensor([self.row.get(word, UNKNOWN) for word in words] or [UNKNOWN])

    def forward(self, rows: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """(B, T) and (B,) -> logits (B,); what lies beyond a text's length is not read."""
        vectors = self.vectors(rows)  # (B, T, D)
        if self.training:
            vectors = vectors + self.shape.noise * torch.randn_like(vectors)
        packed = pack_padded_sequence(self.dropout(vectors), lengths, batch_first=True, enforce_sorted=False)
        _, (states, _) = self.lstm(packed)  # (layers * 2, B, H): the last two are the second layer's directions
        summary = torch.cat([states[-2], states[-1]], dim=1)  # (B, 2 H): each direction after its last word
        dense = nn.functional.relu(self.dense(self.dropout(summary)))  # (B, hidden)
        return self.out(self.dropout(dense)).squeeze(1)  # (B,)

    @torch.no_grad()
    def margins(self, texts: Sequence[str], batch_size: int = 256) -> NDArray[np.float64]:
        """Logit of class 1 for each text, shape (texts,); it does not depend on the other texts."""
        self.eval()
        encoded = [self.encode(text) for text in texts]
        order = sorted(range(len(encoded)), key=lambda index: len(encoded[index]))
        margins = np.zeros(len(encoded))
        for begin in range(0, len(order), batch_size):
            chosen = order[begin : begin + batch_size]
            margins[chosen] = self(*_batch([encoded[index] for index in chosen])).double().numpy()
        return margins


def word_vectors(
    corpus: Iterable[Sequence[str]], dimensions: int = 300, least: int = 3, epochs: int = 20, seed: int = 0
) -> tuple[list[str], NDArray[np.float32]]:
    """Words and their Word2Vec vectors (skip-gram), most frequent first.

    Args:
        corpus: Texts as lists of words.
        dimensions: D.
        least: Times a word must occur in the corpus.
        epochs: Passes over the corpus.
        seed: Of the training, which runs in one thread so that it can be repeated.

    Returns:
        V words and their vectors, shape (V, D), scaled to a mean square of 1: so noise means the same for any corpus.

    Raises:
        ValueError: If fewer than LEAST_WORDS words occur often enough.
        ModuleNotFoundError: If gensim is not installed.
    """
    try:
        from gensim.models import Word2Vec
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError('Word2Vec needs gensim: pip install "mvh[word2vec]".') from error
    texts = [list(text) for text in corpus]
    counts = Counter(word for text in texts for word in text)
    frequent = sum(count >= least for count in counts.values())
    if frequent < LEAST_WORDS:
        raise ValueError(
            f"The Word2Vec corpus of {len(texts)} texts is too small: of its {len(counts)} different words {frequent} "
            f"occur {least} times or more, and vectors need {LEAST_WORDS} such words."
        )
    model = Word2Vec(texts, vector_size=dimensions, min_count=least, sg=1, epochs=epochs, seed=seed, workers=1)
    vectors = model.wv.vectors
    return list(model.wv.index_to_key), vectors / np.sqrt(np.mean(vectors**2))


def fit(
    texts: Sequence[str],
    labels: Sequence[int],
    corpus: Iterable[str] | None = None,
    preprocessing: str = "article",
    label_names: tuple[str, str] = LABELS,
    shape: Shape | None = None,
    least: int = 3,
    vector_epochs: int = 20,
    epochs: int = 10,
    batch_size: int = 32,
    rate: float = 1e-3,
    unfreeze_epoch: int | None = None,
    unfreeze_factor: float = 0.1,
    seed: int = 0,
) -> BiLstm:
    """Train vectors on the corpus, then the network on the texts.

    Args:
        texts: Training texts.
        labels: Their classes, 0 or 1.
        corpus: Texts for Word2Vec; the training texts if None.
        preprocessing: Key of PREPROCESS, for texts and corpus alike.
        label_names: Names of the two classes.
        shape: Widths and regularisers; the defaults of Shape if None.
        least: Times a word must occur in the corpus.
        vector_epochs: Passes of Word2Vec.
        epochs: Passes over the training texts.
        batch_size: Texts per step.
        rate: Learning rate of Adam.
        unfreeze_epoch: Epoch, from 1, from which on the vectors are trained too; None: never.
        unfreeze_factor: What the learning rate is multiplied by from that epoch on.
        seed: Of vectors, weights, batches and dropout.

    Raises:
        ValueError: If a text is blank, a class is missing, or the corpus is too small, or knows fewer than half of the
            words of the training texts.
    """
    shape = shape or Shape()
    check_training(texts, labels, least=1)
    prepare = PREPROCESS[preprocessing]
    sources = texts if corpus is None else corpus
    words, vectors = word_vectors(
        (prepare(text).split() for text in sources), shape.dimensions, least, vector_epochs, seed
    )
    torch.manual_seed(seed)
    about: dict[str, Any] = {
        "corpus": "training texts" if corpus is None else "given",
        "words": len(words),
        "least": least,
    }
    about |= {"vector_epochs": vector_epochs, "epochs": epochs, "batch_size": batch_size, "rate": rate, "seed": seed}
    about |= {"unfreeze_epoch": unfreeze_epoch, "unfreeze_factor": unfreeze_factor, "texts": len(texts)}
    model = BiLstm(words, shape, preprocessing, label_names, about)
    with torch.no_grad():
        model.vectors.weight.copy_(torch.cat([torch.zeros(1, shape.dimensions), torch.from_numpy(vectors)]))
    about["cut"] = cut = sum(len(model.split(text)) > shape.longest for text in texts)
    if cut:
        logger.warning(
            "%d of %d texts have more than %d words: only their first ones are read, in training and ever after.",
            cut, len(texts), shape.longest,
        )  # fmt: skip
    encoded = [model.encode(text) for text in texts]
    about["known_words"] = known = float((torch.cat(encoded) != UNKNOWN).float().mean())
    if known < 0.5:
        raise ValueError(
            f"The Word2Vec corpus has vectors for {known:.0%} of the words of the training texts and must have them for "
            "half: it is too small, or of another language."
        )
    model.vectors.weight.requires_grad_(False)
    targets = torch.tensor(labels, dtype=torch.float32)  # (texts,)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)  # frozen vectors get no gradient and stand still
    losses = about.setdefault("losses", [])
    for epoch in range(1, epochs + 1):
        if epoch == unfreeze_epoch:
            model.vectors.weight.requires_grad_(True)
            for group in optimizer.param_groups:
                group["lr"] = rate * unfreeze_factor
        losses.append(_train_epoch(model, optimizer, encoded, targets, batch_size, seed + epoch))
        logger.info("epoch %d of %d: loss %.4f", epoch, epochs, losses[-1])
    return model.eval()


def save(model: BiLstm, folder: Path) -> Path:
    """Write the two files of a classifier; returns `folder`."""
    write_settings(
        folder,
        KIND,
        labels=list(model.labels),
        preprocessing=model.preprocessing,
        shape=asdict(model.shape),
        about=model.about,
        words=model.words,
    )
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, folder / WEIGHTS)
    return folder


def load(folder: Path) -> BiLstm:
    """Read a classifier.

    Raises:
        ValueError: If the folder holds another kind of detector, or its files do not belong together.
    """
    settings = read_settings(folder, KIND)
    names = (settings["labels"][0], settings["labels"][1])
    model = BiLstm(settings["words"], Shape(**settings["shape"]), settings["preprocessing"], names, settings["about"])
    try:
        model.load_state_dict(load_file(folder / WEIGHTS))
    except RuntimeError as error:
        raise ValueError(f"The weights in {folder.name} are not those its settings describe: {error}") from error
    return model.eval()


def _train_epoch(
    model: BiLstm,
    optimizer: torch.optim.Optimizer,
    encoded: Sequence[torch.Tensor],
    targets: torch.Tensor,
    batch_size: int,
    seed: int,
) -> float:
    """One pass over the texts in batches of similar length; returns the mean loss."""
    model.train()
    total = 0.0
    for chosen in _length_batches([len(rows) for rows in encoded], batch_size, seed):
        logits = model(*_batch([encoded[index] for index in chosen]))  # (B,)
        loss = nn.functional.binary_cross_entropy_with_logits(logits, targets[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(chosen)
    return total / len(encoded)


def _length_batches(lengths: Sequence[int], batch_size: int, seed: int) -> Iterator[list[int]]:
    """Every text once: sorted by length inside pools of 50 batches, the batches shuffled."""
    order = list(LengthBatches(list(lengths), batch_size, seed))
    for begin in range(0, len(order), batch_size):
        yield order[begin : begin + batch_size]


def _batch(encoded: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows padded to the longest, (B, T), and lengths, (B,)."""
    return pad_sequence(list(encoded), batch_first=True), torch.tensor([len(rows) for rows in encoded])
