"""Which licences come with `mvh`: every package it needs, directly or not, as the packages installed here say.

    python -m mvh.licences > docs/licences.md

Nothing is bundled: pip fetches each package under its own licence. Extras that are not installed are named at the end.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from typing import NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

EXTRAS = (
    "files",
    "plots",
    "track",
    "augment",
    "word2vec",
    "scan",
    "space",
)  # for users; dev, mini and engines are ours
LONGEST = 60  # characters of a licence field that is a name; longer ones hold the whole text
UNNAMED = ("License", "UNKNOWN", "Dual License", "OSI Approved")


class Package(NamedTuple):
    """A package, its version and licence, and the extra of `mvh` that first brings it ("" for none)."""

    name: str
    version: str
    licence: str
    extra: str


def needed(package: str, extras: Sequence[str]) -> Iterator[str]:
    """Names of all that a package with these extras requires here, directly or not; those not installed too."""
    waiting = [(package, frozenset(extras))]
    met: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        name, wanted = waiting.pop()
        if (name, wanted) in met:
            continue
        met.add((name, wanted))
        if name != package:
            yield name
        try:
            lines = distribution(name).requires or []
        except PackageNotFoundError:
            continue
        for required in map(Requirement, lines):
            for extra in wanted or ("",):
                if required.marker is None or required.marker.evaluate({"extra": extra}):
                    waiting.append((canonicalize_name(required.name), frozenset(required.extras)))


def licence(package: Distribution) -> str:
    """What a package says of its licence: the expression, else the short field, else the classifiers."""
    about = package.metadata
    if "License-Expression" in about:
        return about["License-Expression"]
    classified = [line.split(" :: ")[-1] for line in about.get_all("Classifier", []) if line.startswith("License ::")]
    named = [name for name in classified if name not in UNNAMED]
    short = about["License"].strip() if "License" in about else ""
    if short and len(short) <= LONGEST and "\n" not in short:
        return short
    return ", ".join(named) or (short.splitlines()[0][:LONGEST] if short else "not named in its metadata")


def packages() -> tuple[list[Package], list[str]]:
    """The packages that are installed, by the extra that brings them, and the names of those that are not."""
    found: dict[str, Package] = {}
    absent: set[str] = set()
    for extra in ("", *EXTRAS):
        for name in sorted(set(needed("mvh", [extra] if extra else [])) - found.keys() - {"mvh"}):
            try:
                package = distribution(name)
            except PackageNotFoundError:
                absent.add(name)
                continue
            found[name] = Package(name, package.version, licence(package), extra)
    return list(found.values()), sorted(absent)


def copyleft(said: str) -> bool:
    """Whether the only licence on offer is one of the GPL family (AGPL and LGPL among them); a choice with another is not."""
    choices = re.split(r"\bOR\b", said)
    return all(re.search(r"GPL|GNU (Affero|Lesser|General)", choice, re.IGNORECASE) for choice in choices)


def page() -> str:
    """The table as Markdown."""
    found, absent = packages()
    lines = [
        "# Licences of what `mvh` needs",
        "",
        "`mvh` is under Apache-2.0 and bundles none of these; pip fetches each under its own licence. Made by",
        "`python -m mvh.licences` from what is installed; a test keeps the GPL family out of everything but the extra",
        "`word2vec` (gensim, LGPL), which only a baseline of the experiments uses.",
        "",
        "| package | version | licence | comes with |",
        "| --- | --- | --- | --- |",
        *(f"| {p.name} | {p.version} | {p.licence} | {p.extra and f'mvh[{p.extra}]' or 'mvh'} |" for p in found),
    ]
    if absent:
        lines += ["", f"Not needed or not installed on this system: {', '.join(absent)}."]
    return "\n".join(lines) + "\n"


def main(argv: Sequence[str] | None = None) -> None:
    """Print the page."""
    parser = argparse.ArgumentParser(prog="python -m mvh.licences", description=(__doc__ or "").split("\n\n")[0])
    parser.parse_args(argv)
    sys.stdout.write(page())


if __name__ == "__main__":
    main()
