"""The article's table 5: half of the machine texts translated into Russian, against none.

python -m mvh.experiments.table5 --english train.jsonl test.jsonl [--needs translation] [--quick]
"""

from __future__ import annotations

from mvh.experiments.article import Row
from mvh.experiments.article_table import Experiment, main
from mvh.experiments.table1 import PLAIN, PUBLISHED, plain, translated

TABLE = Experiment(
    "table5",
    "Table 5: translation of half of the machine texts against none",
    "Trained and tested on English texts; the translated column is the article's table 1.",
    rows=tuple(
        row
        for n in PLAIN
        for row in (
            Row(
                f"{n} texts, half translated", translated(n), published=(("F1", PUBLISHED[n][0]),), needs="translation"
            ),
            Row(f"{n} texts", plain(n), published=(("F1", PLAIN[n]),)),
        )
    ),
    figures=("f1",),
)

if __name__ == "__main__":
    main(TABLE)
