"""The decisions the first article's tables compare, and the figures of each.

The article never defines its p-value, so they stand side by side:

- `argmax`: a segment is machine where its larger logit says so; majority vote.
- `margin`: the mean margin of the segments, weighted by their tokens, is positive; no tie to break.
- `softmax none`, `softmax holm`, `softmax BH`: p = 1 - P(machine), our reading of the article; majority vote.
- `conformal ...`: the same corrections over ranks among human calibration segments.
- `calibrated`: the detector's own verdict, a conformal p-value of the document against human documents.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np

from mvh.calibration_mvh import Calibration
from mvh.experiments.scored import Scored
from mvh.metrics import auroc, classification_metrics, false_positive_rate, tpr_at_fpr
from mvh.pvalues_mvh import softmax_p_values
from mvh.statistics_mvh import document_margin
from mvh.voting_mvh import decide, vote_majority

ALPHA = 0.05


def argmax(document: Scored, calibration: Calibration | None) -> bool:
    """More segments with a positive margin than others."""
    return vote_majority(document.margins > 0, None, ALPHA)


def by_margin(document: Scored, calibration: Calibration | None) -> bool:
    """A positive margin of the document."""
    return document_margin(document.margins, document.core_tokens) > 0


def tested(document: Scored, calibration: Calibration | None, p_values: str, correction: str) -> bool:
    """Segment p-values, a correction at 0.05, majority vote."""
    return decide(document, calibration, ALPHA, correction, "majority", p_values)["label"] == 1


def by_document(document: Scored, calibration: Calibration | None) -> bool:
    """The document's conformal p-value at 0.05; a text that cannot be judged is not flagged."""
    return decide(document, calibration, ALPHA, "bh", "calibrated", "conformal")["label"] == 1


DECISIONS: dict[str, Callable[[Scored, Calibration | None], bool]] = {
    "argmax": argmax,
    "margin": by_margin,
    "softmax none": partial(tested, p_values="softmax", correction="none"),
    "softmax holm": partial(tested, p_values="softmax", correction="holm"),
    "softmax BH": partial(tested, p_values="softmax", correction="bh"),
    "conformal none": partial(tested, p_values="conformal", correction="none"),
    "conformal holm": partial(tested, p_values="conformal", correction="holm"),
    "conformal BH": partial(tested, p_values="conformal", correction="bh"),
    "calibrated": by_document,
}


def judged(documents: Sequence[Scored], calibration: Calibration | None, decisions: Iterable[str]) -> dict[str, Any]:
    """Ranking figures, and the figures of each decision."""
    labels = [document.label for document in documents]
    margins = [document_margin(document.margins, document.core_tokens) for document in documents]
    flags = {name: np.array([DECISIONS[name](document, calibration) for document in documents]) for name in decisions}
    return {
        **ranking(labels, margins),
        "segments": sum(len(document.margins) for document in documents),
        "softmax_at_most_alpha": float(
            (softmax_p_values(np.concatenate([d.margins for d in documents])) <= ALPHA).mean()
        ),
        "decisions": {name: flag_figures(labels, flagged) for name, flagged in flags.items()},
    }


def ranking(labels: Sequence[int], margins: Any) -> dict[str, Any]:
    """AUROC, and TPR at the human test documents' own 5 %, by margin."""
    return {
        "test_documents": len(labels),
        "auroc": auroc(labels, margins),
        "tpr_at_fpr_0.05": tpr_at_fpr(labels, margins, 0.05),
    }


def flag_figures(labels: Sequence[int], flagged: np.ndarray) -> dict[str, Any]:
    """F1, recall, precision and false-positive rate of flags, and how many there are."""
    flags = flagged.astype(np.int64)
    found = classification_metrics(labels, flags, flags)
    shown = {name: found[name] or 0.0 for name in ("f1", "f1_macro", "recall", "precision")}  # nothing flagged: 0
    return {**shown, "fpr": false_positive_rate(labels, flags), "flagged": int(flags.sum())}
