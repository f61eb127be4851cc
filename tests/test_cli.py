"""`mvh COMMAND`: every command is there, faults are sentences, nothing heavy is imported before it is needed."""

import subprocess
import sys
from importlib import import_module

import pytest

from mvh.cli import __main__ as cli


def test_help_lists_every_command(capsys):
    for words in ([], ["--help"]):
        assert cli.main(words) == 0
        shown = capsys.readouterr().out
        assert all(f"  {name} " in shown for name in cli.COMMANDS)


def test_an_unknown_command_exits_with_2_and_the_list(capsys):
    assert cli.main(["detekt"]) == 2
    said = capsys.readouterr().err
    assert "no command 'detekt'" in said and "audit" in said


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_a_help_of_its_own(name, capsys):
    assert callable(import_module(cli.COMMANDS[name][0]).main)
    with pytest.raises(SystemExit) as stopped:
        cli.main([name, "--help"])
    assert stopped.value.code == 0 and "usage:" in capsys.readouterr().out


def test_a_fault_is_one_sentence_and_exit_status_1(tmp_path, capsys):
    (tmp_path / "config.json").write_text("{}")
    assert cli.main(["seen", str(tmp_path), "--dataset", str(tmp_path / "absent")]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ") and said.count("\n") == 1


def test_the_list_comes_without_torch():
    code = (
        "import sys; from mvh.cli.__main__ import main; main([]); assert not {'torch', 'datasets'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    done = subprocess.run([sys.executable, "-m", "mvh.cli", "nonsense"], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "usage: mvh" in done.stderr
