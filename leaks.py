"""What must not leave this machine: local paths, access tokens, half-filled fields of a card.

`refuse_leaks(folder)` reads every file of a folder that is to be published and raises a sentence that names file and line.
It finds what it knows the look of: it is a net under careful writing, no proof.
"""

from __future__ import annotations

import mmap
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import yaml
from huggingface_hub import get_token

PATHS = re.compile(  # absolute paths of usual homes and work folders, paths out of the folder, Windows drives
    rb"(?<![\w.:/~-])/(?:home|Users|root|tmp|mnt|media|srv|work|workspace|scratch|content|kaggle|private|var|opt|data|projects?|gpfs|"
    rb"lustre|nfs|scratch\d*|cluster|storage|Volumes)/[\w.-]+|(?<![\w./])\.\./[\w.-]+"
    rb"|(?<![A-Za-z])[A-Za-z]:\\{1,2}[\w.-]+\\{1,2}[\w.-]+|\bfile://\S+"
)
TOKENS = re.compile(  # Hugging Face, GitHub, OpenAI and the like, AWS, Slack; keys in PEM
    rb"\b(?:hf|api_org)_[A-Za-z0-9]{30,}|\bgh[opsu]_[A-Za-z0-9]{30,}|\bgithub_pat_\w{30,}|\bsk-[A-Za-z0-9_-]{32,}"
    rb"|\bAKIA[A-Z0-9]{16}\b|\bxox[abp]-[A-Za-z0-9-]{10,}|-----BEGIN [A-Z ]*PRIVATE KEY"
)
UNFILLED = re.compile(
    r"(?i:\[?more information needed\]?)|\b(?:TODO|TBD|FIXME|XXX)\b|\{\{|\{%|\bUSER/NAME\b|results: \[\]"
    r"|(?:[:|`\"]|\*\*)\s*(?:None|nan|null)\b"
)
TEXTS = (".json", ".jsonl", ".md", ".py", ".txt", ".yaml", "")  # read for paths; the rest for this machine's own alone
VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json", "merges.txt")  # hold pieces of paths as words
REQUIRED = ("library_name", "license", "pipeline_tag", "tags")  # of a model card


def refuse_leaks(folder: Path) -> None:
    """Raise a ValueError for the first file of `folder` that holds a local path, a token or a half-filled card."""
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = file.relative_to(folder).as_posix()
        for place, what in found_in(file):
            raise ValueError(f"{name}, {place}: holds {what}; nothing was uploaded. Mend it and try again.")
    if (folder / "README.md").is_file() and (folder / "config.json").is_file():
        refuse_unfilled(folder / "README.md")


def found_in(file: Path) -> Iterator[tuple[str, str]]:
    """Places of a file that give away a path or a token, and what they hold."""
    if not file.stat().st_size:
        return
    is_text = file.suffix in TEXTS
    own = [(re.compile(re.escape(word)), kind) for word, kind in _own_words() if word]
    paths = [(PATHS, "a local path")] if is_text and file.name not in VOCABULARIES else []
    looks = [(TOKENS, "an access token"), *paths, *own]
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for pattern, kind in looks:
            for match in pattern.finditer(content):
                line = content[: match.start()].count(b"\n") + 1
                place = f"line {line}" if is_text else f"byte {match.start()}"
                shown = match[0].decode(errors="replace")
                yield place, f"{kind} ({shown[:4]}…)" if "token" in kind else f"{kind} ({shown})"


def refuse_unfilled(card: Path) -> None:
    """Raise a ValueError where a model card has a field or a section that nobody filled.

    Raises:
        ValueError: With the line, where there is one.
    """
    lines = card.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        if match := UNFILLED.search(line):
            raise ValueError(
                f"{card.name}, line {number}: holds the half-filled field {match[0]!r}; nothing was uploaded."
            )
    if not lines or lines[0] != "---" or "---" not in lines[1:]:
        raise ValueError(
            f"{card.name}, line 1: begins with no YAML metadata between lines of ---; nothing was uploaded."
        )
    end = lines.index("---", 1)
    data = yaml.safe_load("\n".join(lines[1:end])) or {}
    for key in [*REQUIRED, *data]:
        if data.get(key) in (None, "", [], {}):
            raise ValueError(f"{card.name}: the metadata field {key!r} is empty; nothing was uploaded.")
    fenced, before = False, ("", 0, 0)  # the last heading that nothing has followed yet: text, level, line
    for number, line in [*enumerate(lines, 1)][end + 1 :] + [(0, "#")]:
        fenced ^= line.startswith("```")
        level = 0 if fenced or not re.match(r"#{1,6}( |$)", line) else len(line) - len(line.lstrip("#"))
        if before[1] and level and level <= before[1]:
            raise ValueError(
                f"{card.name}, line {before[2]}: nothing stands under {before[0]!r}; nothing was uploaded."
            )
        if line.strip():
            before = (line, level, number)


def _own_words() -> list[tuple[bytes, str]]:
    """Strings of this machine that no file may hold, whatever its kind."""
    places = {str(Path.home()), str(Path.cwd()), str(Path(__file__).resolve().parent), tempfile.gettempdir()}
    own = [(f"{place}/".encode(), "a path of this machine") for place in sorted(places) if len(place) > 1]
    return [*own, ((get_token() or "").encode(), "your access token")]
