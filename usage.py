"""How a command made with argparse shows its help and wrong usage: in panels, as the commands made with typer do.

    parser = documented("mvh score", __doc__)

Nothing else of argparse changes; subcommands take the class of their parent.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from typing import Any, NoReturn

from rich import box
from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

WRONG = 2  # exit status
TITLES = {"positional arguments": "Arguments", "options": "Options"}  # what argparse calls its own groups


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose help and errors come in panels."""

    def print_help(self, file: Any = None) -> None:
        """Usage, description, a panel for each group of arguments, epilog."""
        console = Console(file=file or sys.stdout, highlight=False)
        usage, about, guide = self._usage(), _indented(self.description or ""), _indented(self.epilog or "")
        console.print(
            Text("\n").append_text(usage).append(f"\n\n{about}" if about else "").append("\n"), soft_wrap=True
        )
        for panel in _panels(self._action_groups, self.prog):
            console.print(panel)
        console.print(Text(f"\n{guide}\n" if guide else ""), soft_wrap=True)

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the words that were given, and end with status 2."""
        console = Console(stderr=True, highlight=False)
        console.print(self._usage(), soft_wrap=True)
        console.print(f"Try '{self.prog} --help' for help.", style="dim", markup=False)
        said = Text(message[:1].upper() + message[1:] + ("" if message.endswith((".", "?")) else "."))
        console.print(Panel(said, title="Error", title_align="left", border_style="red", box=box.ROUNDED))
        sys.exit(WRONG)

    def _usage(self) -> Text:
        positional = [_form(action) for action in self._actions if not action.option_strings]
        needed = [f"{action.option_strings[-1]} {_form(action)}" for action in self._actions if _is_needed(action)]
        one_of = [
            "(" + " | ".join(f"{action.option_strings[-1]} {_form(action)}" for action in group._group_actions) + ")"
            for group in self._mutually_exclusive_groups
            if group.required
        ]
        words = " ".join(["[OPTIONS]", *one_of, *needed, *positional])
        return Text.assemble(" ", ("Usage: ", "yellow"), (self.prog, "bold"), f" {words}")


def documented(program: str, docstring: str | None) -> Parser:
    """A parser whose help shows a module's docstring: its first paragraph above the arguments, the rest below them."""
    words, _, guide = (docstring or "").partition("\n\n")
    return Parser(prog=program, description=words, epilog=guide)


def _panels(groups: Iterable[Any], program: str) -> Iterable[Panel]:
    for group in groups:
        shown = [action for action in group._group_actions if action.help != argparse.SUPPRESS]
        if not shown:
            continue
        table = Table.grid(padding=(0, 2), expand=True)
        table.add_column(style="bold cyan", max_width=24, overflow="fold")
        table.add_column(style="bold yellow", max_width=24, overflow="fold")
        table.add_column(ratio=1)
        for action in shown:
            table.add_row(*_row(action, program))
        title = TITLES.get(group.title, (group.title or "")[:1].upper() + (group.title or "")[1:])
        about = [Text(group.description, style="dim")] if group.description else []
        yield Panel(Group(*about, table), title=title, title_align="left", border_style="dim", box=box.ROUNDED)


def _row(action: argparse.Action, program: str) -> tuple[Text, Text, Text]:
    """Names, value and help of an argument; of a group of subcommands, theirs."""
    if isinstance(action, argparse._SubParsersAction):
        names = "\n".join(choice.dest for choice in action._choices_actions)
        return Text(names), Text(""), Text("\n".join(choice.help or "" for choice in action._choices_actions))
    said = Text((action.help or "") % {**vars(action), "prog": program})
    if _is_needed(action):
        said.append(" [required]", style="dim red")
    if not action.option_strings:
        return Text(_form(action)), Text(""), said
    return Text(", ".join(action.option_strings)), Text(_form(action)), said


def _is_needed(action: argparse.Action) -> bool:
    return action.required and bool(action.option_strings)


def _form(action: argparse.Action) -> str:
    """What a value looks like: its metavar, its choices, or its name in capitals; "..." where there may be more."""
    if action.nargs == 0:
        return ""
    name: Any = action.metavar or ("|".join(map(str, action.choices)) if action.choices else action.dest.upper())
    if isinstance(name, tuple):
        return " ".join(name)
    return f"{name}..." if action.nargs in ("+", "*") else f"[{name}]" if action.nargs == "?" else str(name)


def _indented(words: str) -> str:
    """The words, one column in, as the rest of the help is."""
    return "\n".join(f" {line}" if line else "" for line in words.strip("\n").splitlines())
