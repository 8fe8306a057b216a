"""Runs schedules on a receiver whose threads have guest RAM read-only in COLO, in a process of its own.

A thread that touches the guest there is stopped at the very instruction: by SIGSEGV, which ends the process, or by EFAULT of a system call.
Comparing memory after a micro-step would not see a write that is undone within it, or one that happens to write what was there.
"""

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Final

from colofd.conformance.lockstep import Lockstep
from colofd.conformance.rulings import Outcome, Ruling
from colofd.conformance.schedules import DIRECTED, VARIANTS, Directed
from colofd.conformance.subjects import BuiltIn, Guest, Options, Receiver
from colofd.conformance.violation import Violation
from colofd.model.trace import TraceEvent
from colofd.spec.constants import Step
from colofd.spec.reasons import Rejected

RULE: Final = "isolation.guest"
PROGRAM: Final = "from colofd.conformance.guarded import run_cases; run_cases()"
STOPPED: Final = (str(signal.strsignal(signal.SIGSEGV)), os.strerror(errno.EFAULT))
"""How a case ends in which a thread was stopped."""

SECONDS: Final = 120.0
"""How long a process may take: only one that hangs gets there."""

_BAD_ADDRESS: Final = f"OSError({errno.EFAULT}, "


class Guarded(BuiltIn):
    """The built-in receiver in guard mode."""

    is_guarded = True

    def is_stopped_by_the_kernel(self) -> bool:
        """Return whether a receive thread has ended because the kernel would not write for it."""
        try:
            error = self._destination.wait(0.0).error
        except Rejected as rejected:
            error = rejected
        return error is not None and _BAD_ADDRESS in error.read


def run_cases() -> None:
    """Run the cases in this process up to the first failure, and print for each that it begins, and how it ended."""
    for schedule in DIRECTED:
        for options in VARIANTS[:2]:
            print(f"{schedule.__name__}, {options}", flush=True)  # noqa: T201  # read by the process that has started this one
            end = _run_case(schedule, options)
            print(end, flush=True)  # noqa: T201  # the same
            if end:
                return


def _run_case(schedule: Directed, options: Options) -> str:
    made: list[Guarded] = []

    def make(options: Options, guest: Guest, trace: Callable[[TraceEvent], None], gate: Callable[[Step, str], None]) -> Receiver:
        made.append(Guarded(options, guest, trace, gate))
        return made[-1]

    run = Lockstep(make, options)
    try:
        schedule(run)
        run.close()
    except Violation as violation:
        run.abandon()
        return os.strerror(errno.EFAULT) if made[-1].is_stopped_by_the_kernel() else f"{violation.rule}: {violation.why}"
    return ""


def check_guarded(program: str = PROGRAM) -> Ruling:
    """Run all cases in a process of their own, and say whether a thread has touched the guest in COLO."""
    try:
        finished = subprocess.run(  # noqa: S603  # our own Python
            [sys.executable, "-c", program], capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        return Ruling(Outcome.ERRORED, f"it has not ended after {error.timeout} s")
    # For each case a line that it begins, and one that says how it ended, if it came to that.
    lines = finished.stdout.splitlines()
    ends = [*lines[1::2], signal.strsignal(-finished.returncode) or ""] if finished.returncode < 0 else lines[1::2]
    failed = [f"{name}: {end}" for name, end in zip(lines[::2], ends, strict=True) if end]
    stopped = [each for each in failed if each.endswith(STOPPED)]
    evidence: dict[str, int | list[str]] = {"cases": len(ends), "failed": failed}
    if stopped:
        return Ruling(Outcome.VIOLATED, f"a receive thread touches the guest in COLO: {stopped[0]}", evidence)
    if failed or finished.returncode:
        why = failed[0] if failed else f"status {finished.returncode}: {finished.stderr[-1000:]}"
        return Ruling(Outcome.ERRORED, f"it failed for another reason: {why}", evidence)
    return Ruling(Outcome.HOLDS, "no receive thread has touched the guest in COLO", evidence)
