"""Anybody's receiver as a subject: behind an adapter that is started (exec:COMMAND) or runs already (attach:ADDRESS), or made in Python.

The last is python:MODULE:FUNCTION, a function that makes receivers.
"""

import contextlib
import importlib
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from colofd.conformance.adapter import Hello
from colofd.conformance.adapter_transport import ATTACH
from colofd.conformance.black_box import BlackBox
from colofd.conformance.black_box_schedules import run_schedule
from colofd.conformance.black_box_wire import State
from colofd.conformance.check import PROFILES, SmokeFailure
from colofd.conformance.check_black_box import SECONDS, RunPieces, Subject, check_black_box
from colofd.conformance.counterexample import Keeper
from colofd.conformance.diagnostic import Diagnostic
from colofd.conformance.exec_subject import EXEC, AdapterPool
from colofd.conformance.rulings import Ruling
from colofd.conformance.schedules import closed_between_checkpoints
from colofd.conformance.subjects import Options
from colofd.conformance.violation import Violation
from colofd.spec.profiles import STRICT

PYTHON: Final = "python:"
FOREIGN: Final = (EXEC, ATTACH, PYTHON)
"""What the names of these subjects begin with."""

MakeSubject = Callable[[Options], Subject]


@dataclass(frozen=True)
class ForeignReport:
    """What a check of a foreign receiver found: who it is, a ruling for each id, and how many schedules and wire cases it was put to."""

    hello: Hello
    rules: dict[str, Ruling]
    schedules: int


class WithLook:
    """A receiver of Python that says only whether it has completed or failed: that is what it is looked at for."""

    def __init__(self, receiver: BlackBox) -> None:
        self._receiver = receiver

    def __getattr__(self, name: str) -> Any:
        return getattr(self._receiver, name)

    def look(self) -> tuple[State, str]:
        """Return its state, without words."""
        if self._receiver.has_failed():
            return State.FAILED, ""
        return (State.COMPLETED if self._receiver.is_completed() else State.BUSY), ""


def run_conformance(
    factory: Callable[[Options], Any], *, profile: str = "quick", seed: int = 1, against: str = STRICT
) -> dict[str, Ruling]:
    """Hold a receiver to the spec, from its own test suite: return a ruling for each rule, clause and wire check.

    Args:
        factory: makes a receiver that waits for a migration, with the methods of `BlackBox` (and `look`, if it has more to say).
        profile: "quick" or "full": how many schedules are drawn.
        seed: where the drawn schedules begin.
        against: profile whose deviations are known.

    Raises SmokeFailure if the simplest schedule does not go through.
    """
    make = _looking(factory)
    smoke(make, _say_nothing)
    rules, _ = check_black_box(make, against, PROFILES[profile].drawn, seed, _say_nothing)
    return rules


def check_foreign(
    subject: str,
    profile: str,
    seed: int,
    against: str,
    progress: Callable[[str], None],
    keeper: Keeper | None = None,
    run_pieces: RunPieces | None = None,
) -> ForeignReport:
    """Check a receiver by its name on the command line; `run_pieces` runs the pieces of it elsewhere.

    Diagnostic if it cannot be spoken to, SmokeFailure if nothing goes through.
    """
    with opened(subject) as (make, hello):
        smoke(make, progress)
        rules, schedules = check_black_box(make, against, PROFILES[profile].drawn, seed, progress, keeper, run_pieces)
        return ForeignReport(hello, rules, schedules)


@contextlib.contextmanager
def opened(subject: str) -> Iterator[tuple[MakeSubject, Hello]]:
    """Give what makes receivers of a subject, and who it is."""
    if subject.startswith(PYTHON):
        yield _looking(_factory(subject)), Hello(subject.removeprefix(PYTHON), "", 1)
        return
    with AdapterPool(subject.removeprefix(EXEC)) as pool:
        yield pool.make, pool.hello()


def smoke(make: MakeSubject, progress: Callable[[str], None]) -> None:
    """Run the simplest schedule. SmokeFailure if it does not go through: then a broken adapter cannot be told from a broken receiver."""
    progress("smoke case")
    try:
        run_schedule(make, Options(), closed_between_checkpoints, SECONDS)  # type: ignore[arg-type]  # has the moves that it needs
    except Violation as violation:
        raise SmokeFailure(str(violation)) from violation


def _say_nothing(_what: str) -> None:
    """Show no progress."""


def _factory(subject: str) -> Callable[[Options], Any]:
    module, _, name = subject.removeprefix(PYTHON).partition(":")
    sys.path.insert(0, os.getcwd())  # noqa: PTH109  # as `python -m` does
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        hint = "give python:MODULE:FUNCTION; the module is looked for here, too"
        raise Diagnostic("subject-not-found", f"there is no {subject}", str(error), hint) from error
    finally:
        sys.path.pop(0)
    if not callable(found):
        raise Diagnostic("subject-not-found", f"{subject} is no function", f"it is {found!r}", "it takes options and returns a receiver")
    made: Callable[[Options], Any] = found
    return made


def _looking(factory: Callable[[Options], Any]) -> MakeSubject:
    def make(options: Options) -> Any:
        receiver = factory(options)
        return receiver if hasattr(receiver, "look") else WithLook(receiver)

    return make
