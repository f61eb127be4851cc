"""INPUT -> shards, written down once in OUTPUT/plan.json, so that the same command goes on where it stopped.

A shard is a run of rows of one file; it is read by one worker and becomes one file of the output, in the same order. Rows
are counted beforehand (Parquet tells them in its footer; JSON Lines are read once for it), so that one large file keeps
every worker busy and a kill costs a worker at most one shard.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from mvh.documents.tables import Row
from mvh.placing import whole_file
from mvh.scan.rows import (
    is_compressed,
    is_damage,
    json_lines,
    json_row,
    kind_of,
    open_dataset,
    open_stream,
    parquet_schema,
    read_dataset,
    read_json_lines,
    read_parquet,
)

PLAN = "plan.json"
SHARD_ROWS = 1_000  # rows of a shard where nothing else is said
MOST_SHARDS = 5_000  # of a corpus: above it shards grow
MOST_OF_COMPRESSED = 64  # shards of one compressed file: each reads it from its beginning
LOOKED_AT = 100  # rows of the first file among which one must have the text column


@dataclass(frozen=True)
class Source:
    """A file or dataset of the input: `bytes` of a file, rows of a dataset."""

    name: str
    kind: str  # "jsonl", "parquet" or "dataset"
    size: int
    config: str | None = None
    split: str | None = None


@dataclass(frozen=True)
class Shard:
    """Rows first, first + 1, ... of a source; `rows` None is all of them, `offset` where they begin in the file."""

    source: int
    first: int
    rows: int | None
    offset: int | None = None


@dataclass(frozen=True)
class Plan:
    """What a scan reads, how it judges, and how it is cut."""

    settings: dict[str, Any]
    sources: list[Source]
    shards: list[Shard]

    @property
    def documents(self) -> int | None:
        """Rows of the input, or None where they were not counted."""
        counts = [shard.rows for shard in self.shards]
        return None if None in counts else sum(count for count in counts if count is not None)

    def read(self, index: int) -> Iterator[Row]:
        """The rows of a shard."""
        shard = self.shards[index]
        source, column = self.sources[shard.source], self.settings["text_column"]
        if source.kind == "dataset":
            dataset = open_dataset(source.name, source.config, source.split or "train")
            return read_dataset(dataset, column, shard.first, shard.rows)
        read = {"jsonl": read_json_lines, "parquet": read_parquet}[source.kind]
        return read(source.name, column, shard.first, shard.rows, shard.offset)

    def schema(self, index: int) -> pa.Schema | None:
        """The columns of a shard's rows as Arrow types them; None for JSON Lines and for a damaged file."""
        source = self.sources[self.shards[index].source]
        if source.kind == "dataset":
            return open_dataset(source.name, source.config, source.split or "train").features.arrow_schema
        try:
            return parquet_schema(source.name) if source.kind == "parquet" else None
        except ValueError:
            return None


def find_sources(given: str, config: str | None, split: str, say: Callable[[str], None]) -> list[Source]:
    """The files or the dataset that INPUT names: a file, a folder, an address of fsspec's, a dataset.

    Raises:
        ValueError: If there is nothing to read.
    """
    if "://" not in given and not Path(given).exists():
        if kind_of(given) or given.count("/") > 1 or given.startswith((".", "/", "~")):  # no name of a dataset
            raise ValueError(f"There is no file or folder {given}.")
        print(f"There is no file {given} here; asking the Hub for a dataset of that name.", file=sys.stderr)
        return [Source(given, "dataset", len(open_dataset(given, config, split)), config, split)]
    filesystem, root = fsspec.url_to_fs(given)
    if filesystem.isfile(root):
        files = {root: filesystem.info(root)}
    else:
        files = filesystem.glob(root, detail=True) if "*" in root else filesystem.find(root, detail=True)
    below = PurePosixPath(root.split("*")[0])
    sources, passed = [], []
    for name, info in sorted(files.items()):
        hidden = any(part.startswith((".", "_")) for part in PurePosixPath(name).parts[len(below.parts) :])
        if (kind := kind_of(name)) is None or hidden or info["type"] != "file":
            passed.append(name)
        else:
            sources.append(
                Source(name if "://" not in given else filesystem.unstrip_protocol(name), kind, info["size"])
            )
    if not sources:
        raise ValueError(
            f"{given} holds nothing to scan: {len(passed)} files, none of them JSON Lines (.jsonl, compressed or not) or "
            "Parquet."
        )
    if passed:
        say(
            f"{len(passed)} files are passed over, the first {PurePosixPath(passed[0]).name}: no JSON Lines, no Parquet."
        )
    return sources


def check_column(sources: list[Source], column: str) -> None:
    """Refuse an input whose first source has no such column.

    Raises:
        ValueError: With the columns that it has.
    """
    source = sources[0]
    if source.kind == "jsonl":
        with open_stream(source.name) as stream:
            lines = islice(json_lines(stream, source.name), LOOKED_AT)
            found = [json_row(line, number, column).content for number, line in enumerate(lines, 1)]
        names = list(dict.fromkeys(name for values in found for name in values))
        if found and not names:
            raise ValueError(f"{source.name} holds no JSON objects: none of its first {len(found)} lines is one.")
    elif source.kind == "dataset":
        names = list(open_dataset(source.name, source.config, source.split or "train").column_names)
    else:
        names = parquet_schema(source.name).names
    if names and column not in names:
        raise ValueError(f"{source.name} has no column {column!r} and has {names[:20]}; name it by --text-column.")


def make_plan(settings: dict[str, Any], sources: list[Source], shard_rows: int | None, limit: int | None) -> Plan:
    """Cut the sources into shards.

    Args:
        settings: What the scores depend on.
        sources: What to read.
        shard_rows: Rows of a shard; None chooses, 0 makes each file a shard without counting its rows.
        limit: Rows to take from the beginning of the input, for trying out.
    """
    if shard_rows == 0:
        return Plan(settings, sources, [Shard(index, 0, None) for index in range(len(sources))])
    counted = [_count(source) for source in sources]
    total = sum(rows for rows, _ in counted)
    size = shard_rows or max(SHARD_ROWS, -(-total // MOST_SHARDS))
    shards, taken = [], 0
    for index, (rows, offset_of) in enumerate(counted):
        step = size
        if shard_rows is None and is_compressed(sources[index].name):
            step = max(size, -(-rows // MOST_OF_COMPRESSED))
        rows = rows if limit is None else min(rows, limit - taken)
        taken += rows
        offsets = offset_of(range(0, rows, step))
        shards += [
            Shard(index, first, min(step, rows - first), offset)
            for first, offset in zip(range(0, rows, step), offsets, strict=True)
        ]
    return Plan(settings, sources, shards)


def _count(source: Source) -> tuple[int, Callable[[range], list[int | None]]]:
    """The rows of a source, and a function from some rows to where they begin in the file."""

    def unknown(rows: range) -> list[int | None]:
        return [None for _ in rows]

    if source.kind == "dataset":
        return source.size, unknown
    if source.kind == "parquet":
        return _count_parquet(source.name), unknown
    with open_stream(source.name) as stream:
        rows = sum(1 for _ in json_lines(stream, source.name))
    return rows, unknown if is_compressed(source.name) else lambda rows: _offsets(source.name, rows)


def _count_parquet(name: str) -> int:
    try:
        with open_stream(name) as stream:
            return pq.ParquetFile(stream).metadata.num_rows
    except Exception as error:
        if not is_damage(error):
            raise
        return 1  # one row that says so


def _offsets(name: str, rows: range) -> list[int | None]:
    """Where some rows of a plain file of JSON Lines begin, in bytes."""
    found: list[int | None] = []
    at = row = 0
    with open_stream(name) as stream:
        for line in stream:
            if len(found) == len(rows):
                break
            if line.strip():
                if row == rows[len(found)]:
                    found.append(at)
                row += 1
            at += len(line)
    return found + [None] * (len(rows) - len(found))


# --- OUTPUT/plan.json ---


def write_plan(plan: Plan, folder: Path) -> None:
    """Write the plan, whole or not at all."""
    with whole_file(folder / PLAN, "utf-8") as file:
        file.write(json.dumps(asdict(plan), ensure_ascii=False) + "\n")


def read_plan(folder: Path) -> Plan | None:
    """The plan of an output folder, if there is one.

    Raises:
        ValueError: If it is damaged.
    """
    try:
        read = json.loads((folder / PLAN).read_text(encoding="utf-8"))
        sources = [Source(**source) for source in read["sources"]]
        return Plan(read["settings"], sources, [Shard(**shard) for shard in read["shards"]])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{folder / PLAN} is no plan of a scan ({error}); name another OUTPUT.") from error


def check_same(stored: Plan, settings: dict[str, Any], sources: list[Source], folder: Path) -> None:
    """Refuse to go on with another input or other settings than those a scan was begun with.

    Raises:
        ValueError: With the first thing that differs.
    """
    for name, value in settings.items():
        if stored.settings.get(name) != value:
            raise ValueError(
                f"{folder} holds a scan with {name} {stored.settings.get(name)!r} and this one has {value!r}; name another "
                "OUTPUT."
            )
    if stored.sources != sources:
        raise ValueError(
            f"{folder} holds a scan of {len(stored.sources)} files or datasets of {_size(stored.sources)}, and INPUT now has "
            f"{len(sources)} of {_size(sources)}; name another OUTPUT."
        )


def _size(sources: list[Source]) -> str:
    datasets = all(source.kind == "dataset" for source in sources)
    return f"{sum(source.size for source in sources):,} {'rows' if datasets else 'bytes'}"
