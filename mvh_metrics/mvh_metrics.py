"""The metrics of `mvh.metrics` as a module of the `evaluate` library: scores and labels in, figures out.

    evaluate.load("/absolute/path/of/mvh_metrics").compute(predictions=margins, references=labels)

It computes nothing itself: `mvh.metrics` is the one place where a metric lives, so the module needs the package `mvh`
installed, and `evaluate` says so where it is missing. (`evaluate` reads the imports below line by line: one per line.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import datasets
import evaluate
import numpy as np
from scipy.special import expit

from mvh.metrics import classification_metrics

from mvh.metrics import expected_calibration_error  # isort: skip
from mvh.metrics import false_positive_rate  # isort: skip
from mvh.metrics import segment_fdr_and_power  # isort: skip
from mvh.metrics import tpr_at_fpr  # isort: skip

DESCRIPTION = """\
Detection of machine-generated text: accuracy, F1, macro-F1, precision, recall and false-positive rate (machine where margin
>= 0), AUROC, the share of machine texts found when at most 5 % and 1 % of the given human texts are flagged, the calibration
error of the probabilities, and, where the document of each segment is given, FDR and power of the decisions on segments.
"""
INPUTS = """\
Args:
    predictions (list of float): logit margins, higher = more machine-like, finite.
    references (list of int): 0 human, 1 machine.
    threshold (float): margin from which a text counts as machine, default 0.0.
    documents (list): the document each text is a segment of; None where texts are no segments.
Returns:
    accuracy, f1, f1_macro, precision, recall, fpr, auroc, tpr_at_fpr_0.05, tpr_at_fpr_0.01: floats in [0, 1], or None where
    the references leave the figure undefined (AUROC with one class absent); calibration_error: of sigmoid(margin), in
    [0, 1]. With documents also segment_fdr and segment_power: means over documents.
"""
CITATION = "@misc{mvh, title={mvh: human or machine, passage by passage}}"


class MvhMetrics(evaluate.Metric):
    """`classification_metrics` and the operating points, behind the interface of `evaluate.Metric`."""

    def _info(self) -> evaluate.MetricInfo:
        features = datasets.Features({"predictions": datasets.Value("float64"), "references": datasets.Value("int64")})
        return evaluate.MetricInfo(
            description=DESCRIPTION, citation=CITATION, inputs_description=INPUTS, features=features
        )

    def _compute(
        self, predictions: Any, references: Any, threshold: float = 0.0, documents: Sequence[Any] | None = None
    ) -> dict[str, float | None]:
        margins = np.asarray(predictions, dtype=np.float64)  # (texts,)
        figures = classification_metrics(references, margins - threshold)
        decisions = (margins >= threshold).astype(np.int64)
        points = {f"tpr_at_fpr_{fpr}": tpr_at_fpr(references, margins, fpr) for fpr in (0.05, 0.01)}
        figures |= {"fpr": false_positive_rate(references, decisions), **points}
        figures["calibration_error"] = expected_calibration_error(references, expit(margins))
        if documents is not None:
            found = segment_fdr_and_power(references, decisions, documents)
            figures |= {"segment_fdr": found["fdr"], "segment_power": found["power"]}
        return figures
