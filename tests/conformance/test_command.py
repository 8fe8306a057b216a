"""The command line as a whole: what it offers, and how it ends when it could not be run."""

import subprocess
import sys
from pathlib import Path

import click
import pytest

from colofd.conformance import command
from colofd.conformance.captures import CaptureError
from colofd.spec.reasons import Reason, Rejected


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run the command line in this process and return its exit code."""
    monkeypatch.setattr(sys, "argv", ["colofd", *arguments])
    with pytest.raises(SystemExit) as ended:
        command.main()
    code = ended.value.code
    assert isinstance(code, int)
    return code


def test_the_installed_program_says_its_version() -> None:
    """Given an installed colofd, when asked for its version, then the program is there and says it."""
    program = Path(sys.executable).parent / "colofd"
    finished = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=60, check=True)  # noqa: S603  # our own program
    assert finished.stdout == "colofd, version 0.1.0\n"


@pytest.mark.parametrize("name", command.COMMANDS)
def test_every_command_explains_itself(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str) -> None:
    """Given a command of the list, when its help is asked for, then it is found, explained, and says its exit codes."""
    assert run(monkeypatch, name, "--help") == 0
    shown = capsys.readouterr().out
    assert f"colofd {name}" in shown
    assert "Exit codes" in shown


def test_the_help_lists_every_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Given no command, when help is asked for, then each one is listed."""
    assert run(monkeypatch, "--help") == 0
    shown = capsys.readouterr().out
    assert all(f"\n  {name} " in shown for name in command.COMMANDS)


@pytest.mark.parametrize("arguments", [("nonsense",), ("replay",), ("replay", "--on", "nothing", "x")])
def test_wrong_usage_ends_with_2(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]) -> None:
    """Given a command line that says nothing sensible, then it ends with 2 and points to the help."""
    assert run(monkeypatch, *arguments) == 2
    assert "--help" in capsys.readouterr().err


def test_no_such_capture_ends_with_2(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Given a folder that is no capture, when it is to be replayed, then it ends with 2 and lists those there are."""
    assert run(monkeypatch, "replay", str(tmp_path)) == 2
    shown = capsys.readouterr().err
    assert shown.startswith(f"colofd: {tmp_path} is no capture")
    assert "precopy-mfd2-none" in shown


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (Rejected(Reason.STREAM_MAGIC, channel="main", offset=0), "stream-magic on main at byte 0"),
        (CaptureError("not a capture"), "not a capture"),
        (FileNotFoundError(2, "No such file or directory", "there"), "No such file or directory: 'there'"),
        (ZeroDivisionError("by mistake"), "ZeroDivisionError: by mistake"),
    ],
)
def test_an_error_that_no_command_expects_ends_with_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception, said: str
) -> None:
    """Given an input that a command did not expect to be bad, or a defect, then it ends with 2, says what was wrong and what to do next."""

    def fail() -> None:
        raise error

    monkeypatch.setattr(command.LazyGroup, "get_command", lambda *_: click.Command("broken", callback=fail))
    assert run(monkeypatch, "broken") == 2
    shown = capsys.readouterr()
    assert said in shown.err
    assert "\nhint: " in shown.err
    assert not shown.out
