"""How far annotators agree, what they say together, and whether published labels say the same.

Votes are raw: (comment, annotator, label), any number of annotators per comment (dynamic overlap gives 3 to 8).

- `krippendorff_alpha`: agreement of the annotators beyond chance, nominal scale, comments with gaps allowed
  (K. Krippendorff, Computing Krippendorff's alpha-reliability, 2011).
- `dawid_skene`: one label per comment, the annotators weighted by error rates that are estimated on the way
  (A. P. Dawid and A. M. Skene, Applied Statistics 28, 1979).
- `cohen_kappa`: agreement of two labellings beyond chance (J. Cohen, 1960), with the words of J. R. Landis and
  G. G. Koch (Biometrics 33, 1977).

    python -m mvh.dataset_builder agreement --votes votes.csv --published labeled.csv --out agreement.json
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.metrics import cohen_kappa_score, confusion_matrix

from mvh.dataset_builder.toxic import LABELS
from mvh.dataset_builder.votes import Vote

logger = logging.getLogger(__name__)

SCALE = {0.2: "slight", 0.4: "fair", 0.6: "moderate", 0.8: "substantial", 1.0: "almost perfect"}  # upper bounds


# --- coefficients


def krippendorff_alpha(votes: Sequence[Vote]) -> float:
    """Krippendorff's alpha for nominal labels; comments with one vote do not count.

    alpha = 1 - D_o / D_e with D_o = sum_u (m_u^2 - sum_c n_uc^2) / (m_u - 1) over comments u of m_u votes, n_uc of them for
    class c, and D_e = (n^2 - sum_c n_c^2) / (n - 1) over all n votes (Krippendorff 2011). Written out because the package
    of that name is under the GPL.

    Returns:
        At most 1 (perfect agreement); 0 is what chance gives, below 0 is systematic disagreement.

    Raises:
        ValueError: If no comment has two votes, or those that have bear one label only: then chance agrees as well.
    """
    items, _, labels, classes = _indexed(votes)
    counts = np.zeros((items.max(initial=-1) + 1, len(classes)), dtype=int)  # (comments, classes)
    np.add.at(counts, (items, labels), 1)
    counts = counts[counts.sum(axis=1) > 1]
    if not len(counts):
        raise ValueError(f"No comment has two votes: {len(votes)} votes tell nothing about agreement.")
    if (counts.sum(axis=0) > 0).sum() < 2:
        raise ValueError(
            f"All {counts.sum()} votes that can be compared are {classes[counts.sum(axis=0).argmax()]}: agreement beyond "
            "chance is not defined where there is nothing to distinguish."
        )
    per_comment, per_class, n = counts.sum(axis=1), counts.sum(axis=0), counts.sum()
    observed = ((per_comment**2 - (counts**2).sum(axis=1)) / (per_comment - 1)).sum()
    expected = (n**2 - (per_class**2).sum()) / (n - 1)
    return float(1 - observed / expected)


def cohen_kappa(a: Sequence[int], b: Sequence[int]) -> float:
    """Cohen's kappa of two labellings of the same comments, in [-1, 1].

    Raises:
        ValueError: If they differ in length, are empty, or both consist of one and the same label.
    """
    if len(a) != len(b) or not len(a):
        raise ValueError(f"Kappa needs two labellings of the same comments, got {len(a)} and {len(b)} labels.")
    if len({*a, *b}) < 2:
        raise ValueError(f"All {len(a)} comments are {a[0]} in both labellings: kappa is not defined.")
    return float(cohen_kappa_score(a, b))


def verbal(value: float) -> str:
    """The words of Landis and Koch for a coefficient of agreement: poor (below 0), slight, fair … almost perfect."""
    return "poor" if value < 0 else next(word for bound, word in SCALE.items() if value <= bound + 1e-12)


# --- aggregation


@dataclass(frozen=True)
class Aggregate:
    """What Dawid and Skene's model makes of votes.

    Attributes:
        comments: The comments, in the order of their first vote.
        classes: The labels, ascending.
        posterior: Probability of each class for each comment, shape (comments, classes).
        labels: The most probable class of each comment, the lower one of equals, shape (comments,).
        prior: Share of each class, shape (classes,).
        error_rates: By annotator the probability to vote for class l where class j is true, [j, l], shape (classes,
            classes); a row of zeros where the annotator saw no comment of class j.
        iterations: EM iterations made.
    """

    comments: list[str]
    classes: list[int]
    posterior: np.ndarray
    labels: np.ndarray
    prior: np.ndarray
    error_rates: dict[str, np.ndarray]
    iterations: int


def dawid_skene(votes: Sequence[Vote], tolerance: float = 1e-6, most_iterations: int = 1000) -> Aggregate:
    """Maximum-likelihood labels and error rates by EM, started from the shares of the votes (equations 2.3 to 2.5).

    Nothing is smoothed. Votes are taken as independent given the true class; the model is told which class is which by
    the start alone, so most annotators must be better than chance.

    Args:
        votes: An annotator may vote more than once on a comment.
        tolerance: EM ends when no posterior moved by more.
        most_iterations: EM ends here with a warning, at least 1.

    Raises:
        ValueError: If there is no vote.
    """
    items, annotators, labels, classes = _indexed(votes)
    if not len(items):
        raise ValueError("There is no vote to aggregate.")
    names = list(dict.fromkeys(vote.annotator for vote in votes))
    posterior = np.zeros((items.max() + 1, len(classes)))  # (comments, classes)
    np.add.at(posterior, (items, labels), 1.0)
    posterior /= posterior.sum(axis=1, keepdims=True)
    moved, iterations = np.inf, 0
    while moved > tolerance and iterations < most_iterations:
        prior = posterior.mean(axis=0)  # (classes,)
        rates = np.zeros((len(names), len(classes), len(classes)))  # [annotator, class voted, class true]
        np.add.at(rates, (annotators, labels), posterior[items])
        seen = rates.sum(axis=1, keepdims=True)
        rates = np.divide(rates, seen, out=np.zeros_like(rates), where=seen > 0)
        with np.errstate(divide="ignore"):  # the logarithm of a rate of 0: that class is excluded
            joint = np.tile(np.log(prior), (len(posterior), 1))  # (comments, classes)
            np.add.at(joint, items, np.log(rates[annotators, labels]))
        likelihood = np.exp(joint - joint.max(axis=1, keepdims=True))
        before, posterior = posterior, likelihood / likelihood.sum(axis=1, keepdims=True)
        moved, iterations = np.abs(posterior - before).max(), iterations + 1
    if moved > tolerance:
        logger.warning("Dawid-Skene: a posterior still moves by %g after %d iterations.", moved, iterations)
    return Aggregate(
        comments=list(dict.fromkeys(vote.comment for vote in votes)),
        classes=classes,
        posterior=posterior,
        labels=np.array(classes)[posterior.argmax(axis=1)],
        prior=prior,
        error_rates={name: rates[index].T for index, name in enumerate(names)},
        iterations=iterations,
    )


def _indexed(votes: Sequence[Vote]) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[int]]:
    """Per vote the number of its comment, annotator and label (in order of appearance, labels ascending); the labels."""
    classes = sorted({vote.label for vote in votes})
    numbers = []
    for names in ([vote.comment for vote in votes], [vote.annotator for vote in votes]):
        number = {name: index for index, name in enumerate(dict.fromkeys(names))}
        numbers.append(np.array([number[name] for name in names], dtype=int))
    labels = np.array([classes.index(vote.label) for vote in votes], dtype=int)
    return numbers[0], numbers[1], labels, classes


# --- all of it


def measure(votes: Sequence[Vote], published: Mapping[str, int] | None = None) -> dict[str, Any]:
    """All three coefficients of some votes, as plain JSON types.

    Args:
        votes: As `read_votes` gives them.
        published: Label by comment; comments that were not voted on are left aside.

    Returns:
        Counts, "krippendorff_alpha" and its words, "dawid_skene" (share of each class, errors by annotator), "published"
        (Cohen's kappa of the aggregated against the published labels, and the table of both; None without them) and
        "comments" (votes, label and its probability).

    Raises:
        ValueError: As the coefficients; or if no comment voted on has a published label.
    """
    alpha, joined = krippendorff_alpha(votes), dawid_skene(votes)
    overlap = Counter(vote.comment for vote in votes)
    load = Counter(vote.annotator for vote in votes)
    comments = [
        {"comment": comment, "votes": overlap[comment], "label": int(label), "probability": float(chances.max())}
        for comment, label, chances in zip(joined.comments, joined.labels, joined.posterior, strict=True)
    ]
    return {
        "votes": len(votes),
        "annotators": len(load),
        "votes_per_comment": {"least": min(overlap.values()), "most": max(overlap.values())},
        "krippendorff_alpha": alpha,
        "words": verbal(alpha),
        "dawid_skene": {
            "share": dict(zip(map(str, joined.classes), joined.prior.tolist(), strict=True)),
            "iterations": joined.iterations,
            "annotators": {
                name: {"votes": load[name], "error_rates": rates.tolist()} for name, rates in joined.error_rates.items()
            },
        },
        "published": None if published is None else _against(comments, published),
        "comments": comments,
    }


def _against(comments: Sequence[Mapping[str, Any]], published: Mapping[str, int]) -> dict[str, Any]:
    """Kappa of aggregated and published labels over the comments that have both."""
    both = [(row["label"], published[row["comment"]]) for row in comments if row["comment"] in published]
    if not both:
        raise ValueError(f"None of the {len(comments)} comments voted on is among the {len(published)} published ones.")
    ours, theirs = (list(labels) for labels in zip(*both, strict=True))
    kappa = cohen_kappa(ours, theirs)
    return {
        "compared": len(both),
        "cohen_kappa": kappa,
        "words": verbal(kappa),
        "table": confusion_matrix(theirs, ours, labels=[0, 1]).tolist(),  # [published][aggregated]
    }


def agreement_sentences(found: Mapping[str, Any]) -> list[str]:
    """What `measure` found, in words."""
    overlap, toxic = found["votes_per_comment"], sum(row["label"] for row in found["comments"])
    said = [
        f"{len(found['comments']):,} comments, {found['annotators']:,} annotators, {found['votes']:,} votes "
        f"({overlap['least']} to {overlap['most']} on a comment).",
        f"Krippendorff's alpha {found['krippendorff_alpha']:.3f}: {found['words']} agreement.",
        f"Dawid-Skene: {len(found['comments']) - toxic:,} {LABELS[0]}, {toxic:,} {LABELS[1]}.",
    ]
    if found["published"]:
        compared = found["published"]
        said.append(
            f"Cohen's kappa of these against the published labels {compared['cohen_kappa']:.3f} over "
            f"{compared['compared']:,} comments: {compared['words']} agreement."
        )
    return said
