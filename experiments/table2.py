"""The article's table 2: trained and tested on texts of many languages, 500, 1,000 and 2,000 of them.

python -m mvh.experiments.table2 --english train.jsonl test.jsonl --multilingual train.jsonl test.jsonl [--quick]
"""

from __future__ import annotations

from mvh.experiments.article import Row, Training
from mvh.experiments.article_table import MADE_HERE, Experiment, main
from mvh.experiments.table1 import figures

PUBLISHED = {500: (0.5231, 0.5200, 0.5263), 1000: (0.5910, 0.6140, 0.5696), 2000: (0.7162, 0.8380, 0.6254)}


def multilingual(documents: int) -> Training:
    """The article's settings on the multilingual track."""
    return Training(("multilingual",), documents)


TABLE = Experiment(
    "table2",
    "Table 2: many languages, by number of training texts",
    f"""All languages of the files are in the samples of training and test. {MADE_HERE}""",
    rows=(
        *(Row(f"{n} texts", multilingual(n), "multilingual", figures(PUBLISHED[n])) for n in PUBLISHED),
        *(Row(f"{n} texts, n-grams", multilingual(n), "multilingual", kind="char_ngram") for n in PUBLISHED),
    ),
)

if __name__ == "__main__":
    main(TABLE)
