"""How long a segment should be and how much context it should see.

python -m mvh.experiments.segments --english train.jsonl test.jsonl [--quick]
"""

from __future__ import annotations

from mvh.experiments.article import Row, Training
from mvh.experiments.article_table import Experiment, main
from mvh.experiments.table1 import plain

DOCUMENTS = 500
SIZES = [(128, 0), (128, 50), (128, 100), (256, 0), (256, 100), (384, 0), (384, 50), (384, 100), (206, 50)]


def cut(core: int, context: int) -> Training:
    """Segments of other sizes."""
    options = ("--core_tokens", str(core), "--context_tokens", str(context))
    return Training(("english",), DOCUMENTS, change=f"core{core}_context{context}", options=options)


def title(core: int, context: int) -> str:
    """A row's name."""
    return f"core {core}, context {context}" + (" (256 tokens, 50 repeated)" if core == 206 else "")


TABLE = Experiment(
    "segments",
    "Tokens of a segment and of its context",
    f"""{DOCUMENTS} English training texts with the article's settings. The article's formula gives segments of 256 tokens of
their own and 50 of context; its words can also be read as 256 tokens of which 50 repeat (stride 206; the first segment of a
text, which has no context, is then 206 tokens long).""",
    rows=(Row(title(256, 50) + " (the article)", plain(DOCUMENTS)), *(Row(title(*size), cut(*size)) for size in SIZES)),
)

if __name__ == "__main__":
    main(TABLE)
