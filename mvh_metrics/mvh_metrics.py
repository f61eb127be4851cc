"""The metrics of `mvh.metrics` as a module of the `evaluate` library: scores and labels in, figures out.

    evaluate.load("/absolute/path/of/mvh_metrics").compute(predictions=margins, references=labels)

It computes nothing itself: `mvh.metrics` is the one place where a metric lives, so the module needs the package `mvh`
installed, and `evaluate` says so where it is missing. (`evaluate` reads the imports below line by line: one per line.)
"""

from __future__ import annotations

from typing import Any

import datasets
import evaluate

from mvh.metrics import classification_metrics

from mvh.metrics import tpr_at_fpr  # isort: skip

DESCRIPTION = """\
Detection of machine-generated text: accuracy, F1, macro-F1, precision, recall (machine where margin >= 0), AUROC,
and the share of machine texts found when at most 5 % and 1 % of the given human texts are flagged.
"""
INPUTS = """\
Args:
    predictions (list of float): logit margins, higher = more machine-like, finite.
    references (list of int): 0 human, 1 machine.
    threshold (float): margin from which a text counts as machine, default 0.0.
Returns:
    accuracy, f1, f1_macro, precision, recall, auroc, tpr_at_fpr_0.05, tpr_at_fpr_0.01: floats in [0, 1], or None where
    the references leave the figure undefined (AUROC with one class absent).
"""
CITATION = "@misc{mvh, title={mvh: human or machine, passage by passage}}"


class MvhMetrics(evaluate.Metric):
    """`classification_metrics` and the operating points, behind the interface of `evaluate.Metric`."""

    def _info(self) -> evaluate.MetricInfo:
        features = datasets.Features({"predictions": datasets.Value("float64"), "references": datasets.Value("int64")})
        return evaluate.MetricInfo(
            description=DESCRIPTION, citation=CITATION, inputs_description=INPUTS, features=features
        )

    def _compute(self, predictions: Any, references: Any, threshold: float = 0.0) -> dict[str, float | None]:
        figures = classification_metrics(references, [score - threshold for score in predictions])
        points = {f"tpr_at_fpr_{fpr}": tpr_at_fpr(references, predictions, fpr) for fpr in (0.05, 0.01)}
        return {**figures, **points}
