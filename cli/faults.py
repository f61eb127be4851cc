"""How every command ends: its exit status, and one sentence on stderr for a fault. The status never tells a verdict."""

from __future__ import annotations

import os
import shutil
import sys

OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130


def sentence(error: Exception) -> str:
    """What an error says, without its number."""
    if isinstance(error, ModuleNotFoundError):
        return f"This needs {error.name}, which is not installed; README.md names the extra that brings it."
    if isinstance(error, shutil.Error) and error.args and isinstance(error.args[0], list):
        return f"{error.args[0][0][2]}."  # of a copied folder: one fault for each of its files, and the first says it
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}." if error.filename else f"{error.strerror}."
    return str(error) or type(error).__name__


def failed(error: Exception) -> int:
    """Say on stderr what ended the work, and return the status for it."""
    if isinstance(error, BrokenPipeError):  # nobody reads on, as with `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    else:
        print(f"error: {sentence(error)}", file=sys.stderr)
    return FAILED
