"""Puts whatever `colofd` is first on the path to live cases: the schedules and the wire cases of `colofd check`, and the further ones.

A program of its own, because a changed source must be imported from the start. It prints a JSON object for each thing that happens.
"""

import importlib
import json
import sys
import time
from collections.abc import Callable
from functools import cache, partial
from typing import Any, Final

from colofd.conformance.further_cases import FURTHER
from colofd.conformance.mutants_runs import schedule_name
from colofd.conformance.rulings import Outcome
from colofd.conformance.schedules import DIRECTED, SHAPES, VARIANTS, plain, run_directed
from colofd.conformance.subjects import SUBJECTS
from colofd.conformance.violation import Violation
from colofd.conformance.wire_cases import WireCase, wire_cases
from colofd.conformance.wire_check import try_case, why_not_played

STALL_SECONDS: Final = 3.0
"""A thread that has work to do needs milliseconds; a false alarm would be seen in the control, which has no fault."""

Case = Callable[[], None]


@cache
def live_cases() -> dict[str, Case]:
    """Return all live cases by name. A case raises Violation if it shows something."""
    found: dict[str, Case] = {}
    for options in VARIANTS:
        for schedule in DIRECTED:
            found[schedule_name(schedule.__name__, options)] = partial(_schedule, schedule, options)
        # Behind the first set-up: a fault that makes everything slow gets as far.
        found |= FURTHER
    for options in SHAPES:
        found[schedule_name(plain.__name__, options)] = partial(_schedule, plain, options)
    return found | {case.id: partial(_wire, case) for case in wire_cases() if not why_not_played(case)}


def _schedule(schedule: Any, options: Any) -> None:
    run_directed(SUBJECTS["impl"], schedule, options, STALL_SECONDS)


def _wire(case: WireCase) -> None:
    finding = try_case(case)
    if finding.outcome in (Outcome.VIOLATED, Outcome.ERRORED):
        raise Violation(case.check_id, finding.why, ())


def main(modules: list[str], cases: list[str], seconds: float) -> None:
    """Run cases, and say what they show; begin none after so many seconds."""
    _say({"files": [importlib.import_module(module).__file__ for module in modules]})
    end = time.monotonic() + seconds
    for name in cases:
        if time.monotonic() > end:
            return
        _say({"begin": name})
        begin = time.monotonic()
        rule, why = _shown(live_cases()[name])
        _say({"case": name, "rule": rule, "why": why, "seconds": round(time.monotonic() - begin, 3)})


def _shown(case: Case) -> tuple[str, str]:
    try:
        case()
    except Violation as violation:
        return violation.rule, violation.why
    except Exception as error:  # noqa: BLE001  # a receiver with a fault may fail in any way
        return "harness", f"{type(error).__name__}: {error}"
    return "", ""


def _say(what: dict[str, Any]) -> None:
    print(json.dumps(what), flush=True)  # noqa: T201  # read by whoever has started this


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
