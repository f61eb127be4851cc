"""Shares of the machine texts translated into Russian or paraphrased before training.

python -m mvh.experiments.augmentation --english train.jsonl test.jsonl --needs translation paraphrase [--quick]
"""

from __future__ import annotations

from mvh.experiments import table1
from mvh.experiments.article import Row, Training
from mvh.experiments.article_table import Experiment, main

DOCUMENTS = 1000


def translated(percent: int) -> Training:
    """A share of the machine texts in Russian; half of them is the recipe of table 1."""
    if percent == 50:
        return table1.translated(DOCUMENTS)
    return Training(("english",), DOCUMENTS, change=f"translate{percent}", options=("--translate", str(percent / 100)))


def paraphrased(which: str) -> Training:
    """Sentences of machine texts paraphrased: "every" text 0 to 100 %, or "half" of them 50 to 100 %."""
    return Training(("english",), DOCUMENTS, change=f"paraphrase_{which}", options=("--paraphrase", which))


PUBLISHED = {
    10: 0.812,
    20: None,
    25: 0.821,
    50: 0.825,
}  # F1 of the article's first table; 20 % is named in its text only

TABLE = Experiment(
    "augmentation",
    "Augmentation: translation and paraphrase of machine texts",
    f"""{DOCUMENTS:,} English training texts with the article's settings; its figures are those of the paper it
follows, on other data, and averages over the two classes, as `f1_macro` is. Sentences are paraphrased by
`humarin/chatgpt_paraphraser_on_T5_base`; the article's own, `ramsrigouthamg/t5_sentence_paraphraser`, names no licence
(`--paraphrase_model` takes it).""",
    rows=(
        Row("no augmentation", table1.plain(DOCUMENTS), published=(("F1", 0.796),)),
        *(
            Row(f"translation {share} %", translated(share), published=(("F1", f1),) if f1 else (), needs="translation")
            for share, f1 in PUBLISHED.items()
        ),
        Row("paraphrase, every text", paraphrased("every"), published=(("F1", 0.822),), needs="paraphrase"),
        Row("paraphrase, half of the texts", paraphrased("half"), published=(("F1", 0.816),), needs="paraphrase"),
    ),
    figures=("f1_macro", "f1", "recall", "precision"),
)

if __name__ == "__main__":
    main(TABLE)
