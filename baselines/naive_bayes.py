"""Multinomial Naive Bayes on a bag of words with TF-IDF weights: the plain baseline of the article on toxic comments.

The smoothing is chosen by cross-validation on the training texts, the vocabulary and its weights being learnt anew in
every fold. What is kept is what a verdict needs: words, their inverse document frequencies, and for each word the log
ratio of its chances in the two classes. The margin of a text is the log odds of class 1 (Rennie et al. 2003, ICML,
on TF-IDF in this model):

    margin = log P(1) / P(0) + sum over its words of tfidf(word) * log P(word | 1) / P(word | 0)

Saved as `detector.json` and `detector.safetensors`. `python -m mvh.baselines.fit naive_bayes` fits one on a dataset.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import f1_score
from sklearn.model_selection import StratifiedKFold
from sklearn.naive_bayes import MultinomialNB

from mvh.baselines.saved import LABELS, WEIGHTS, check_training, read_settings, write_settings
from mvh.dataset_builder.toxic import PREPROCESS

KIND = "naive_bayes"
SMOOTHINGS = (0.003, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.2, 0.3, 1.0)  # words added to every count
FOLDS = 5


@dataclass(frozen=True)
class NaiveBayes:
    """A fitted classifier.

    Attributes:
        vectorizer: Words and their inverse document frequencies; V words.
        log_ratios: log P(word | 1) / P(word | 0), shape (V,).
        log_odds: log P(1) / P(0) of a text before it is read.
        preprocessing: Key of PREPROCESS.
        labels: Names of the classes 0 and 1.
        about: What is known of the fit: smoothing, cross-validated macro-F1 by smoothing, texts.
    """

    vectorizer: TfidfVectorizer
    log_ratios: NDArray[np.float64]
    log_odds: float
    preprocessing: str
    labels: tuple[str, str] = LABELS
    about: dict[str, Any] = field(default_factory=dict)

    def margins(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Log odds of class 1 for each text, shape (texts,); a text without a known word gets the prior's."""
        prepared = [PREPROCESS[self.preprocessing](text) for text in texts]
        return self.vectorizer.transform(prepared) @ self.log_ratios + self.log_odds


def fit(
    texts: Sequence[str],
    labels: Sequence[int],
    preprocessing: str = "article",
    label_names: tuple[str, str] = LABELS,
    smoothings: Sequence[float] = SMOOTHINGS,
    seed: int = 0,
) -> NaiveBayes:
    """Choose the smoothing by the macro-F1 of a stratified cross-validation, then fit on all the texts.

    Args:
        texts: Training texts.
        labels: Their classes, 0 or 1.
        preprocessing: Key of PREPROCESS.
        label_names: Names of the two classes.
        smoothings: Values to choose among, positive.
        seed: Of the folds.

    Raises:
        ValueError: If a text is blank, a class has fewer texts than there are folds, or no word is left of the texts.
    """
    check_training(texts, labels, least=FOLDS)
    prepared = [PREPROCESS[preprocessing](text) for text in texts]
    if not any(prepared):
        raise ValueError(f"No word is left of {len(texts)} texts after the preprocessing {preprocessing!r}.")
    targets = np.asarray(labels)
    found = _cross_validate(prepared, targets, smoothings, seed)
    best = max(found, key=lambda smoothing: found[smoothing])
    vectorizer = _vectorizer()
    bayes = MultinomialNB(alpha=best).fit(vectorizer.fit_transform(prepared), targets)
    log_chances, log_priors = bayes.feature_log_prob_, bayes.class_log_prior_  # (2, V), (2,)
    return NaiveBayes(
        vectorizer=vectorizer,
        log_ratios=log_chances[1] - log_chances[0],
        log_odds=float(log_priors[1] - log_priors[0]),
        preprocessing=preprocessing,
        labels=label_names,
        about={
            "smoothing": best,
            "cross_validated_f1_macro": {str(key): value for key, value in found.items()},
            "folds": FOLDS,
            "seed": seed,
            "texts": len(texts),
            "words": len(log_chances[0]),
        },
    )


def save(model: NaiveBayes, folder: Path) -> Path:
    """Write the two files of a classifier; returns `folder`."""
    words = sorted(model.vectorizer.vocabulary_, key=lambda word: model.vectorizer.vocabulary_[word])
    write_settings(
        folder,
        KIND,
        labels=list(model.labels),
        preprocessing=model.preprocessing,
        log_odds=model.log_odds,
        about=model.about,
        words=words,
    )
    arrays = {"idf": np.asarray(model.vectorizer.idf_, dtype=np.float64), "log_ratios": model.log_ratios}
    save_file(arrays, folder / WEIGHTS)
    return folder


def load(folder: Path) -> NaiveBayes:
    """Read a classifier.

    Raises:
        ValueError: If the folder holds another kind of detector, or its files do not belong together.
    """
    settings = read_settings(folder, KIND)
    arrays = load_file(folder / WEIGHTS)
    if not len(settings["words"]) == len(arrays["idf"]) == len(arrays["log_ratios"]):
        raise ValueError(f"{folder.name} names {len(settings['words'])} words and has {len(arrays['idf'])} weights.")
    vectorizer = _vectorizer(vocabulary=settings["words"])
    vectorizer.idf_ = arrays["idf"]
    return NaiveBayes(
        vectorizer,
        arrays["log_ratios"],
        settings["log_odds"],
        settings["preprocessing"],
        (settings["labels"][0], settings["labels"][1]),
        settings["about"],
    )


def _vectorizer(vocabulary: list[str] | None = None) -> TfidfVectorizer:
    return TfidfVectorizer(token_pattern=r"(?u)\b\w+\b", vocabulary=vocabulary)


def _cross_validate(
    prepared: Sequence[str], targets: NDArray[np.int64], smoothings: Sequence[float], seed: int
) -> dict[float, float]:
    """Mean macro-F1 over the folds for each smoothing; words and weights are learnt anew in every fold."""
    texts = np.array(prepared, dtype=object)
    scores: dict[float, list[float]] = {smoothing: [] for smoothing in smoothings}
    for fitted, held_out in StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(texts, targets):
        vectorizer = _vectorizer()
        seen, unseen = vectorizer.fit_transform(texts[fitted]), vectorizer.transform(texts[held_out])
        for smoothing in smoothings:
            called = MultinomialNB(alpha=smoothing).fit(seen, targets[fitted]).predict(unseen)
            scores[smoothing].append(float(f1_score(targets[held_out], called, average="macro")))
    return {smoothing: float(np.mean(values)) for smoothing, values in scores.items()}
