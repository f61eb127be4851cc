"""Detectors of different backbones joined: is the verdict of several better than that of the best?

python -m mvh.experiments.ensembles --english train.jsonl test.jsonl --backbone mdeberta [--quick]
"""

from __future__ import annotations

from mvh.experiments.article import Row
from mvh.experiments.article_table import Experiment, main
from mvh.experiments.few_texts import learned

ENSEMBLES = (("mdeberta", "xlmr", "minilm_l12"), ("minilm_l6", "scratch"))
COMBINATIONS = ("mean_score", "mean_p", "bonferroni_p")
TRAINING = learned("english")

TABLE = Experiment(
    "ensembles",
    "Ensembles of different backbones",
    """The article proposes to judge by several encoders together. Members are trained on the same 2,000 English texts with the
recipe `few_texts`. Averaged scores are calibrated as a whole; p-values are merged by functions valid whatever the members'
dependence, which costs power. `scratch` is a small BERT of random weights: a weak second opinion.""",
    rows=(
        *(Row(f"{name} alone", TRAINING, backbone=name) for members in ENSEMBLES for name in members),
        *(
            Row(
                f"{' + '.join(members)}, {kind}",
                TRAINING,
                kind=f"ensemble:{kind}",
                backbone=members[0],
                members=members,
            )
            for members in ENSEMBLES
            for kind in COMBINATIONS
        ),
    ),
    decisions=("argmax", "calibrated"),
)

if __name__ == "__main__":
    main(TABLE)
