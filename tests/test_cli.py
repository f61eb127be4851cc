"""`mvh COMMAND`: every command is there, faults are sentences, nothing heavy is imported before it is needed."""

import subprocess
import sys
from importlib import import_module

import pytest

import mvh
from mvh.cli import __main__ as cli


def test_help_lists_every_command_under_what_it_is_wanted_for(capsys):
    for words in ([], ["--help"], ["help"]):
        assert cli.main(words) == 0
        shown = capsys.readouterr().out
        assert all(f" {name} " in shown and command.aim in shown for name, command in cli.COMMANDS.items())
        assert "Exit status" in shown and "never a proof" in shown


def test_an_unknown_command_exits_with_2_and_a_guess(capsys):
    assert cli.main(["detekt"]) == 2
    assert "No such command 'detekt'. Did you mean 'detect'?" in capsys.readouterr().err
    assert cli.main(["--version"]) == 0 and capsys.readouterr().out == f"mvh {mvh.__version__}\n"


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_a_help_of_its_own_and_knows_wrong_usage(name, capsys):
    assert callable(import_module(cli.COMMANDS[name].module).main)
    assert cli.main([name, "--help"]) == 0 and "usage:" in capsys.readouterr().out.lower()
    assert cli.main(["help", name]) == 0 and "usage:" in capsys.readouterr().out.lower()
    assert cli.main([name, "--no-such-option"]) == 2 and "usage:" in capsys.readouterr().err.lower()


def test_words_reach_a_command_as_they_are_and_its_end_becomes_a_status(monkeypatch, capsys):
    class Module:
        given: list[str] = []
        end: object = None

        @classmethod
        def main(cls, argv):
            cls.given = argv
            if isinstance(cls.end, BaseException):
                raise cls.end
            return cls.end

    monkeypatch.setattr(cli, "import_module", lambda name: Module)
    words = ["--", "-", "--help", "-x", "a b", "--no=1"]
    for end, status, said in (
        (None, 0, ""),
        ({"a report": 1}, 0, ""),
        (1, 1, ""),
        (ValueError("Two facts disagree."), 1, "error: Two facts disagree.\n"),
        (PermissionError(13, "Permission denied", "out.json"), 1, "error: out.json: Permission denied.\n"),
        (ModuleNotFoundError("no", name="datatrove"), 1, "error: This needs datatrove, which is not installed"),
        (KeyboardInterrupt(), 130, "Interrupted."),
        (SystemExit(2), 2, ""),
    ):
        Module.end = end
        assert cli.main(["score", *words]) == status and Module.given == words
        assert said in capsys.readouterr().err


def test_a_fault_is_one_sentence_and_exit_status_1(tmp_path, capsys):
    (tmp_path / "config.json").write_text("{}")
    assert cli.main(["seen", str(tmp_path), "--dataset", str(tmp_path / "absent")]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ") and said.count("\n") == 1


def test_the_help_of_demo_speaks_of_the_examples(capsys):
    assert cli.main(["demo", "--help"]) == 0
    said = capsys.readouterr().out
    assert "Charles Darwin" in said and "Usage: mvh demo" in said and "thesis.pdf" not in said
    assert cli.main(["detect", "--help"]) == 0
    said = capsys.readouterr().out
    assert "thesis.pdf" in said and "Darwin" not in said


def test_the_list_comes_without_torch():
    code = "import sys; from mvh.cli.__main__ import main; main([]); "
    code += "assert not {'torch', 'numpy', 'datasets'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    done = subprocess.run([sys.executable, "-m", "mvh.cli", "nonsense"], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "Usage: mvh" in done.stderr
