"""A corpus through a detector: shards scored by many workers, columns added, or human text kept at a stated rate.

    rows.py       files and datasets -> rows, one bad row at a time
    plan.py       INPUT -> shards, written down once, so that a killed scan goes on where it stopped
    scorer.py     texts -> plain dicts; what every engine calls (datatrove, datasets.map, Ray Data, Spark)
    steps.py      the steps of a datatrove pipeline: read a shard, score it, write it whole or not at all
    decide.py     counts of the shards -> Benjamini-Hochberg over all documents, without holding them
    executors.py  who runs the steps: processes of this machine, Slurm, Ray
    page.py       counts -> a page with histograms

`Scorer` needs nothing but the detector; the command `mvh scan` needs `pip install 'mvh[scan]'`.
"""

from __future__ import annotations

from mvh.scan.scorer import Scorer

__all__ = ["Scorer"]
