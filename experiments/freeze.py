"""What the freeze schedule is worth: against full fine-tuning, the head alone, and LoRA.

python -m mvh.experiments.freeze --english train.jsonl test.jsonl [--quick]
"""

from __future__ import annotations

from mvh.experiments.article import Row, Training
from mvh.experiments.article_table import Experiment, main
from mvh.experiments.table1 import plain

DOCUMENTS = 1000
NEVER = "0"  # an epoch that does not come: epochs count from 1
CHANGES = {
    "full fine-tuning in all five epochs": ("full", ("--frozen_epochs", NEVER)),
    "the head alone": ("head_only", ("--frozen_epochs", "1", "2", "3", "4", "5")),
    "LoRA of rank 8, with the schedule": ("lora8", ("--lora_r", "8")),
}

TABLE = Experiment(
    "freeze",
    "The freeze schedule",
    f"""{DOCUMENTS:,} English training texts, five epochs. The article freezes the encoder in the first and the fifth.""",
    rows=(
        Row("frozen in epochs 1 and 5 (the article)", plain(DOCUMENTS)),
        *(
            Row(title, Training(("english",), DOCUMENTS, change=change, options=options))
            for title, (change, options) in CHANGES.items()
        ),
    ),
)

if __name__ == "__main__":
    main(TABLE)
