"""Encoders side by side, on the texts as published and as normalised: the article's comparison of three.

python -m mvh.experiments.backbones --english train.jsonl test.jsonl --backbone xlmr [--quick]
"""

from __future__ import annotations

from dataclasses import replace

from mvh.experiments.article import Row, Training
from mvh.experiments.article_table import Experiment, main
from mvh.experiments.table1 import plain

DOCUMENTS = 1000
ENCODERS = ("mdeberta", "xlmr", "minilm_l12", "t5", "minilm_l6", "scratch")
PUBLISHED = {"xlmr": (86.86, 88.75), "mdeberta": (90.42, 93.07), "minilm_l12": (89.63, 90.49)}  # original, processed
ORIGINAL = Training(("english",), DOCUMENTS, "article_en_original", "original")


def rows(backbone: str) -> list[Row]:
    """The two columns of the article as two rows."""
    original, processed = (
        ((("F1 in %", value),) for value in PUBLISHED[backbone]) if backbone in PUBLISHED else ((), ())
    )
    trainings = ORIGINAL, plain(DOCUMENTS)
    if backbone == "t5":  # it has no [CLS]
        trainings = tuple(replace(t, change=f"{t.change}mean", options=("--pooling", "mean")) for t in trainings)
    return [
        Row(f"{backbone}, original texts", trainings[0], published=original, backbone=backbone),
        Row(f"{backbone}, processed texts", trainings[1], published=processed, backbone=backbone),
    ]


TABLE = Experiment(
    "backbones",
    "Encoders, on texts as published and as normalised",
    f"""{DOCUMENTS:,} English training texts with the article's settings. The article's figures are those of the paper it
follows, which does not say what its processing was; ours is the detector's normalisation, in training and in detection. On
texts as published a model may learn the formatting (line breaks, markdown), which tells the classes apart in these files
and nowhere else.""",
    rows=tuple(row for backbone in ENCODERS for row in rows(backbone)),
)

if __name__ == "__main__":
    main(TABLE)
