"""The folder that a Space is: the page, the parts of `mvh` it shows results with, examples, and which detector it asks.

    python space/assemble.py runs/space --model USER/NAME --revision COMMIT
    hf upload USER/SPACE runs/space . --repo-type space

A Space must build from its own folder and from PyPI. So the report's renderer and the readers of documents are copied into
it, as they are and with what they import, instead of being written a second time or pulling in the whole package with all
that training needs. The detector itself is not copied: its code and weights come from the model's repository.
"""

from __future__ import annotations

import argparse
import ast
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import yaml

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
OWN = ("app.py", "judge.py", "keeping.py", "limits.py", "style.css", "requirements.txt")
RUN = ("mvh.documents.worker",)  # started by name, so no import shows it
ASIDE = ("*.j2",)  # what a package needs beside its code


def module_file(name: str) -> Path | None:
    """The file of a module of ours, None where there is none of that name."""
    place = ROOT.joinpath(*name.split(".")[1:])
    file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    return file if file.is_file() else None


def imported(file: Path, module: str) -> Iterator[str]:
    """Names of ours that a file imports, wherever in it: modules, and names that may be modules."""
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = f"{package}.{node.module}" if node.level else node.module or ""
            found = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        else:
            continue
        yield from (name for name in found if name.split(".")[0] == "mvh")


def modules_needed() -> dict[str, Path]:
    """Module -> file of all that the Space imports of `mvh`, directly or not, packages included."""
    waiting = [*RUN, *(name for own in OWN if own.endswith(".py") for name in imported(HERE / own, own))]
    needed: dict[str, Path] = {}
    while waiting:
        module = waiting.pop()
        file = module_file(module)
        if file is None or module in needed:
            continue
        needed[module] = file
        waiting += [*imported(file, module), *([module.rpartition(".")[0]] if "." in module else [])]
    return needed


def header(model: str | None) -> str:
    """The Space's README with the model it shows in its header."""
    _, head, body = (HERE / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    fields = yaml.safe_load(head)
    if model is not None:
        fields["models"] = [model]
    return f"---\n{yaml.safe_dump(fields, sort_keys=False, allow_unicode=True)}---\n{body}"


def assemble(out: Path, model: str | None = None, revision: str | None = None) -> Path:
    """Write the Space's folder; an older one of that name is replaced.

    Args:
        out: Where to.
        model: Name of the published detector; None leaves it to the environment (MODEL), for trying out.
        revision: Its commit.

    Raises:
        ValueError: If `model` is a folder of this machine, or `out` holds something that is no Space of ours.
    """
    if model is not None and Path(model).exists():
        raise ValueError(f"{model} is a folder of this machine; a Space needs the Hub name of a published detector.")
    if out.exists() and any(out.iterdir()) and not (out / "judge.py").is_file():
        raise ValueError(f"{out} exists and is no assembled Space; name another folder.")
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    for own in OWN:
        shutil.copy(HERE / own, part)
    for file in modules_needed().values():
        target = part / "mvh" / file.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)
        if file.name == "__init__.py" and file.parent != ROOT:
            for pattern in ASIDE:
                for beside in file.parent.glob(pattern):
                    shutil.copy(beside, target.parent)
    shutil.copytree(
        ROOT / "examples", part / "examples", ignore=lambda _, names: [n for n in names if n[-4:] != ".txt"]
    )
    shutil.copy(ROOT / "LICENSE", part)
    (part / "README.md").write_text(header(model), encoding="utf-8")
    if model is not None:
        (part / "model.json").write_text(json.dumps({"model": model, "revision": revision}) + "\n", encoding="utf-8")
    shutil.rmtree(out, ignore_errors=True)
    part.rename(out)
    return out


def main(argv: list[str] | None = None) -> None:
    """Command line: see the module's docstring."""
    parser = argparse.ArgumentParser(prog="space/assemble.py", description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", help="Hub name of the detector; without it the environment's MODEL is asked")
    parser.add_argument("--revision", help="commit of the detector; pin it, its code runs in the Space")
    args = parser.parse_args(argv)
    try:
        assemble(args.out, args.model, args.revision)
    except ValueError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
