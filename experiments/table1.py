"""The article's table 1: trained and tested on English texts, 500, 1,000 and 2,000 of them.

python -m mvh.experiments.table1 --english train.jsonl test.jsonl [--backbone mdeberta] [--quick]
"""

from __future__ import annotations

from mvh.experiments.article import Row, Training
from mvh.experiments.article_table import Experiment, main

PUBLISHED = {500: (0.4868, 0.5700, 0.4247), 1000: (0.5338, 0.6080, 0.4757), 2000: (0.5694, 0.5856, 0.5540)}
PLAIN = {500: 0.4641, 1000: 0.5228, 2000: 0.5535}  # its table 5: the same without translation


def figures(values: tuple[float, float, float]) -> tuple[tuple[str, float], ...]:
    """F1, recall and precision, in the article's order."""
    return tuple(zip(("F1", "recall", "precision"), values, strict=True))


def translated(documents: int) -> Training:
    """The article's final strategy: half of the machine texts in Russian."""
    return Training(("english",), documents, "article_en", "translate50")


def plain(documents: int) -> Training:
    """The same without translation."""
    return Training(("english",), documents)


TABLE = Experiment(
    "table1",
    "Table 1: English, by number of training texts",
    """The article's English rows hold 50 % translation (they are the translated column of its table 5): the rows that need no
translation model are to be compared with 0.4641 / 0.5228 / 0.5535, its other column. Calling every one of 1,000 balanced texts
machine has F1 0.667.""",
    rows=(
        *(
            Row(f"{n} texts, half translated", translated(n), published=figures(PUBLISHED[n]), needs="translation")
            for n in PUBLISHED
        ),
        *(Row(f"{n} texts", plain(n), published=(("F1", PLAIN[n]),)) for n in PLAIN),
        *(Row(f"{n} texts, n-grams", plain(n), kind="char_ngram") for n in PLAIN),
    ),
)

if __name__ == "__main__":
    main(TABLE)
