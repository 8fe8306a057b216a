"""Anybody's receiver: a good one passes, a wrong one is named by rule, and of a bad adapter it is said what it does wrong."""

import json
import shlex
import socket
import sys
from collections import Counter
from pathlib import Path
from typing import Any, Final

import pytest

from colofd.conformance import command, foreign
from colofd.conformance.adapter import VERBS
from colofd.conformance.black_box import Version
from colofd.conformance.black_box_schedules import Findings, run_all_directed, run_schedule
from colofd.conformance.black_box_wire import check_black_box_wire
from colofd.conformance.check import SmokeFailure
from colofd.conformance.diagnostic import Diagnostic
from colofd.conformance.exec_subject import AdapterPool
from colofd.conformance.rulings import Outcome
from colofd.conformance.schedules import failover_when_received
from colofd.conformance.subjects import BLOCK, Options
from colofd.conformance.violation import Violation
from colofd.impl import Block, Deadlines, Destination, Phase

PYTHON: Final = shlex.quote(sys.executable)
GOOD: Final = f"{PYTHON} -m colofd.conformance.example_adapter"
BAD: Final = f"{PYTHON} {shlex.quote(str(Path(__file__).with_name('bad_adapter.py')))}"
PAGE: Final = Path(__file__).parents[2] / "docs" / "adapter.md"


def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["colofd", "check", *arguments])
    with pytest.raises(SystemExit) as ended:
        command.main()
    shown = capsys.readouterr()
    return int(str(ended.value.code or 0)), shown.out, shown.err


def test_a_good_receiver_behind_an_adapter_passes() -> None:
    """Given the example adapter, when directed schedules and wire cases are put to it, then nothing is violated, and all was observed."""
    with AdapterPool(GOOD) as pool:
        findings = Findings()
        run_all_directed(pool.make, findings, 3.0, lambda _what: None)
        wire = check_black_box_wire(pool.make, Version(), lambda _what: None)
    assert (findings.violations, findings.errors) == ({}, [])
    assert findings.held["checkpoint.commit"] > 10
    outcomes = Counter(ruling.outcome for ruling in wire.rulings.values())
    assert outcomes[Outcome.HOLDS] > 70
    assert set(outcomes) == {Outcome.HOLDS, Outcome.NOT_OBSERVABLE}


def test_the_adapter_is_validated(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Given the example adapter, when it is validated, then each verb was tried."""
    code, out, _ = run(monkeypatch, capsys, "--validate", f"exec:{GOOD}")
    assert code == 0
    assert all(verb in out for verb in VERBS)


@pytest.mark.parametrize(
    ("how", "verb", "code"),
    [
        ("dies", "hello", "adapter-died"),
        ("dies", "start", "adapter-died"),
        ("crashes", "guest", "adapter-died"),
        ("hangs", "status", "adapter-hangs"),
        ("half-line", "guest", "adapter-half-line"),
        ("half-line-and-dies", "start", "adapter-half-line"),
        ("floods", "hello", "adapter-flood"),
        ("chats", "stop", "adapter-flood"),
        ("garbage", "start", "adapter-garbage"),
        ("other-question", "guest", "adapter-lies"),
        ("no-name", "hello", "adapter-lies"),
        ("newer", "hello", "adapter-protocol"),
        ("state", "status", "adapter-lies"),
        ("empty", "status", "adapter-lies"),
        ("does-nothing", "start", "adapter-refuses"),
        ("does-nothing", "guest", "adapter-lies"),
        ("does-nothing", "failover", "adapter-lies"),
    ],
)
def test_a_bad_adapter_has_its_own_message(
    how: str, verb: str, code: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Given an adapter with one thing wrong, when it is validated, then it is said what, how to help it, and nothing of the receiver."""
    monkeypatch.setattr("colofd.conformance.check_command.PATIENCE_OF_VALIDATION", 1.5)
    ended, _, shown = run(monkeypatch, capsys, "--validate", f"exec:{BAD} {how} {verb}")
    assert ended == 2
    assert f"colofd: {code}: " in shown
    assert "\nhint: " in shown
    assert "Traceback" not in shown
    assert f"`{code}`" in PAGE.read_text()


@pytest.mark.parametrize(
    ("subject", "shown"),
    [
        ("exec:./there-is-none", "adapter-not-found"),
        ("exec:", "adapter-not-found"),
        ("exec:'", "adapter-not-found"),
        ("python:nothing.at.all:make", "subject-not-found"),
        ("python:json:nothing", "subject-not-found"),
        ("python:json", "subject-not-found"),
        ("python:sys:argv", "subject-not-found"),
    ],
)
def test_what_is_no_subject_is_said(subject: str, shown: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Given a name that nothing stands behind, when it is checked, then that is said, and the exit code is 2."""
    code, out, err = run(monkeypatch, capsys, subject)
    assert (code, out) == (2, "")
    assert err.startswith(f"colofd: {shown}: ")


def test_an_adapter_that_dies_in_a_schedule_is_one_row() -> None:
    """Given an adapter that dies at failover, when all directed schedules are run, then those are errors, and the others count."""
    with AdapterPool(f"{BAD} dies failover") as pool:
        findings = Findings()
        run_all_directed(pool.make, findings, 2.0, lambda _what: None)
    assert findings.errors
    assert all("adapter-died" in error for error in findings.errors)
    assert findings.held["checkpoint.commit"] > 10
    assert not findings.violations


class Wrong:
    """A receiver in Python, whose guest has one byte that it should not have once COLO has begun."""

    def __init__(self, options: Options) -> None:
        blocks = [Block(BLOCK, options.pages * options.page_size)]
        self.destination = Destination(blocks, options.channels, colo=options.colo, deadlines=Deadlines(connect=2.0))

    def connect(self) -> socket.socket:
        """Return our end of a new channel."""
        near, far = socket.socketpair()
        self.destination.attach(far)
        return near

    def guest(self) -> bytes:
        """Return guest RAM with the first byte changed."""
        ram = self.destination.guest(BLOCK).tobytes()
        return bytes([ram[0] ^ 1]) + ram[1:] if self.is_in_colo() else ram

    def is_in_colo(self) -> bool:
        """Return whether it is in COLO."""
        return self.destination.phase in (Phase.IDLE, Phase.RECEIVING, Phase.RECEIVED, Phase.FLUSHING)

    def is_completed(self) -> bool:
        """Return whether it is complete."""
        return self.destination.phase is Phase.COMPLETED

    def has_failed(self) -> bool:
        """Return whether it has given up."""
        return self.destination.phase is Phase.FAILED

    def failover(self) -> None:
        """Take over."""
        self.destination.failover(3.0)

    def close(self) -> None:
        """End it."""
        self.destination.close()


def test_a_wrong_receiver_is_named_by_rule() -> None:
    """Given a receiver in Python with a wrong byte in COLO, when a schedule is run, then the rule and the page are named."""
    with pytest.raises(Violation, match=r"phase\.enter-colo: pages 0 of guest RAM are not the primary's RAM"):
        run_schedule(Wrong, Options(), failover_when_received, 3.0)  # type: ignore[arg-type]  # has the moves that it needs


def test_the_smoke_case_comes_first() -> None:
    """Given that receiver, when its own suite asks for conformance, then the smoke case fails, and nothing else is run."""
    with pytest.raises(SmokeFailure, match=r"phase\.enter-colo"):
        foreign.run_conformance(Wrong)


def test_the_exchange_of_the_page_is_one() -> None:
    """Given the exchange that docs/adapter.md shows, then it is valid, each reply is to its question, and all verbs are in the table."""
    text = PAGE.read_text()
    lines: list[dict[str, Any]] = [json.loads(line[2:].replace(",...", "")) for line in text.splitlines() if line.startswith(("> ", "< "))]
    assert [line["id"] for line in lines[::2]] == [line["id"] for line in lines[1::2]]
    assert all(f"| `{verb}` |" in text for verb in VERBS)


def test_a_diagnostic_says_all() -> None:
    """Given a diagnostic, then its text has code, message and cause."""
    assert str(Diagnostic("some-code", "it failed", "because", "try again")) == "some-code: it failed: because"
