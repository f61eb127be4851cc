"""Who runs the steps of a scan: processes of this machine, Slurm, or Ray; each resumes by datatrove's completed tasks.

datatrove's own local executor waits for ever when one of its processes is killed (a task lost by `multiprocessing.Pool`),
and its processes outlive a killed parent. `run_local` keeps its tasks, logs and completions, and runs them in a pool that
notices both. Every process loads the detector once and scores shard after shard; with Ray every shard is a process of its
own, so cut larger ones there (`--shard-rows`).
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import redirect_stderr
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datatrove.executor.base import PipelineExecutor
from datatrove.executor.local import LocalPipelineExecutor
from datatrove.pipeline.base import PipelineStep


@dataclass(frozen=True)
class Stage:
    """One pass of a scan: its name, the steps that each task runs, their number, and whether to repeat completed ones."""

    name: str
    steps: list[PipelineStep]
    tasks: int
    again: bool = False


@dataclass(frozen=True)
class Place:
    """Where a scan runs.

    Attributes:
        logs: Folder of logs and completed tasks.
        workers: Processes, Slurm jobs or Ray tasks at a time.
        gpus: GPUs of this machine that local workers share; anything above 0 asks Slurm and Ray for one per worker.
        partition: Slurm partition.
        time: Slurm time limit.
        sbatch: Further options of sbatch.
    """

    logs: Path
    workers: int
    gpus: int = 0
    partition: str = ""
    time: str = "24:00:00"
    sbatch: dict[str, str] | None = None


Advance = Callable[[Stage, int], None]  # told of each task that is done


def run_local(stages: Sequence[Stage], place: Place, advance: Advance) -> None:
    """Run the stages one after the other on this machine.

    Raises:
        ValueError: If a worker process died.
        OSError: If something could not be read or written; so whatever else a step raises.
    """
    for stage in stages:
        executor = LocalPipelineExecutor(
            stage.steps,
            stage.tasks,
            place.workers,
            logging_dir=str(place.logs / stage.name),
            skip_completed=not stage.again,
        )
        ranks = executor.get_incomplete_ranks()
        for rank in sorted(set(range(stage.tasks)) - set(ranks)):
            advance(stage, rank)
        if place.workers == 1 or len(ranks) < 2:
            for rank in ranks:
                _run(deepcopy(executor), rank)
                advance(stage, rank)
        else:
            _run_pool(executor, ranks, stage, place, advance)


def _run_pool(executor: LocalPipelineExecutor, ranks: list[int], stage: Stage, place: Place, advance: Advance) -> None:
    context = multiprocessing.get_context("spawn")  # a forked process would inherit the threads of torch, half of them
    numbers = context.SimpleQueue()
    for number in range(place.workers):
        numbers.put(number)
    pool = ProcessPoolExecutor(min(place.workers, len(ranks)), context, _begin, (numbers, place.gpus))
    tasks = {pool.submit(_run, executor, rank): rank for rank in ranks}
    done = 0
    try:
        for task in as_completed(tasks):
            task.result()
            advance(stage, tasks[task])
            done += 1
    except BrokenProcessPool:
        raise ValueError(
            f"A worker process died (killed, or out of memory): {stage.tasks - len(ranks) + done} of {stage.tasks} shards "
            "are finished. Give the same command again to go on; with fewer workers if memory was short."
        ) from None
    finally:
        if done < len(ranks):  # an interrupt must not wait for the shards in work
            for process in list((pool._processes or {}).values()):
                process.terminate()
        pool.shutdown(wait=True, cancel_futures=True)


def _begin(numbers: Any, gpus: int) -> None:
    """Set up a worker process: its GPU, no second layer of threads, no Ctrl-C of its own, no life after its parent's."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    number = numbers.get()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    if gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = str(number % gpus)
    parent = multiprocessing.parent_process()
    if parent is not None:

        def follow() -> None:
            parent.join()
            os._exit(1)

        threading.Thread(target=follow, daemon=True).start()


def _run(executor: LocalPipelineExecutor, rank: int) -> None:
    """One task; what datatrove says goes to the task's log and not to the terminal."""
    with Path(os.devnull).open("w") as nowhere, redirect_stderr(nowhere):
        try:
            executor._run_for_rank(rank, local_rank=1)
        finally:
            from datatrove.utils.logging import logger

            logger.remove()


def run_slurm(stages: Sequence[Stage], place: Place, advance: Advance) -> None:
    """Hand the stages to Slurm as arrays of jobs, each waiting for the one before; returns at once.

    Raises:
        FileNotFoundError: If there is no sbatch.
    """
    from datatrove.executor.slurm import SlurmPipelineExecutor

    before: PipelineExecutor | None = None
    activate = Path(sys.prefix) / "bin" / "activate"
    for stage in stages:
        executor = SlurmPipelineExecutor(
            stage.steps,
            tasks=stage.tasks,
            time=place.time,
            partition=place.partition,
            mem_per_cpu_gb=4,
            gpus_per_task=int(place.gpus > 0),
            workers=place.workers,
            tasks_per_job=-(
                -stage.tasks // place.workers
            ),  # shard after shard in one process: one load of the detector
            job_name=f"mvh-{stage.name}",
            venv_path=str(activate) if activate.exists() else None,
            qos="",  # datatrove's "normal" would win over --sbatch qos=...
            sbatch_args=place.sbatch,
            logging_dir=str(place.logs / stage.name),
            skip_completed=not stage.again,
            depends=before,
        )
        executor.run()
        before = executor


def run_ray(stages: Sequence[Stage], place: Place, advance: Advance) -> None:
    """Run the stages one after the other as Ray tasks, here or on the cluster RAY_ADDRESS names.

    Raises:
        ModuleNotFoundError: If Ray is not installed.
        ValueError: If tasks have failed.
    """
    import ray
    from datatrove.executor.ray import RayPipelineExecutor

    if not ray.is_initialized():
        ray.init(logging_level="warning", log_to_driver=False)
    for stage in stages:
        executor = RayPipelineExecutor(
            stage.steps,
            tasks=stage.tasks,
            workers=place.workers,
            mem_per_cpu_gb=1,
            gpus_per_task=int(place.gpus > 0),
            logging_dir=str(place.logs / stage.name),
            skip_completed=not stage.again,
        )
        executor.run()
        if missing := executor.get_incomplete_ranks(skip_completed=True):
            raise ValueError(
                f"{len(missing)} of {stage.tasks} tasks failed; {place.logs / stage.name} says why. Give the same command "
                "again to go on."
            )
        for rank in range(stage.tasks):
            advance(stage, rank)


EXECUTORS: dict[str, Callable[[Sequence[Stage], Place, Advance], None]] = {
    "local": run_local,
    "slurm": run_slurm,
    "ray": run_ray,
}
