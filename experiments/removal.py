"""What the article proposes to take out of the texts before anything reads them: stop words, symbols a model does not know.

python -m mvh.experiments.removal --english train.jsonl test.jsonl [--quick]
"""

from __future__ import annotations

from mvh.experiments.article import Row, Training
from mvh.experiments.article_table import Experiment, main
from mvh.experiments.table1 import plain
from mvh.normalization_mvh import STEPS

DOCUMENTS = 1000


def without(step: str) -> Training:
    """The same texts without them, in training and in detection: before the step that mends lone punctuation."""
    steps = [name for kept in STEPS for name in ((step, kept) if kept == "punctuation" else (kept,))]
    return Training(("english",), DOCUMENTS, change=f"without_{step}", options=("--normalization", *steps, "wrapping"))


TABLE = Experiment(
    "removal",
    "Stop words and unknown symbols taken out",
    f"""{DOCUMENTS:,} English training texts with the article's settings. Both are proposals of the article, which has no
figures for them. What a text loses is lost to the encoder.""",
    rows=(
        Row("texts as normalised", plain(DOCUMENTS)),
        Row("without stop words", without("stop_words")),
        Row("without unknown symbols", without("symbols")),
    ),
)

if __name__ == "__main__":
    main(TABLE)
