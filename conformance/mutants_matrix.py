"""The kill matrix: which cases show which faults, of receivers with an edited source and of the specification with an edited text."""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import msgspec

from colofd.conformance.mutants_faults import Edit, Fault
from colofd.conformance.mutants_history import past_of
from colofd.conformance.mutants_known import FAULTS
from colofd.conformance.mutants_live import live_cases
from colofd.conformance.mutants_of_spec import kills, spec_mutants
from colofd.conformance.mutants_runs import RUNS
from colofd.conformance.mutants_tree import LiveResult, mutated_tree, run_live
from colofd.conformance.prove_mutants import CLAIMS
from colofd.model.processes import in_processes
from colofd.model.solver import SolverName, solver
from colofd.model.spec_mutants_proof import Jury
from colofd.model.spec_mutants_reachable import Reachable

CONTROL: Final = Fault("control", "nothing is wrong", (Edit("impl/channel.py", "", ""),))
"""A receiver whose source is written anew with what it held: no case may show it."""

SECONDS: Final = 45.0
"""How long a fault is put to live cases. One that hangs in each of them does not get to the last one."""

_AT_ONCE: Final = 2
_BY_CLAUSES: Final = "the clauses exclude what it adds: proved"
_BY_LEMMAS: Final = "two lemmas exclude what it adds: proved"

Progress = Callable[[str], None]


class Row(msgspec.Struct, frozen=True):
    """One fault. `killed_by` are the cases that show it, in the order in which they are run; `how` is what the first one says.

    `rule` is what the first violation names, `equivalent` how it is known that there is nothing to see.
    `seconds` is what all cases took together.
    `not_run` counts cases that were not run, as the fault makes those before hang.
    """

    id: str
    source: str
    what: str
    killed_by: list[str]
    rule: str
    how: str
    seconds: float
    equivalent: str = ""
    not_run: int = 0

    @property
    def has_survived(self) -> bool:
        """Whether nothing shows it, and nothing says why."""
        return not self.killed_by and not self.equivalent


class Matrix(msgspec.Struct, frozen=True):
    """All rows, and all cases in the order in which they are run."""

    rows: list[Row]
    cases: list[str]
    seconds: float


def known_ids() -> list[str]:
    """Return the ids of all faults: those of a receiver, then the mutants of the specification, which begin with their rule's id."""
    return [*(fault.id for fault in FAULTS), *(mutant.name for mutant in spec_mutants())]


def matrix(wanted: Sequence[str], progress: Progress) -> Matrix:
    """Return the kill matrix of these faults. RuntimeError if the control is shown by a case; DoesNotFit if a source has changed."""
    begin = time.monotonic()
    live = live_rows([fault for fault in FAULTS if fault.id in wanted], progress)
    names = {mutant.name: number for number, mutant in enumerate(spec_mutants())}
    text = spec_rows([names[each] for each in wanted if each in names], progress)
    used = {case for row in (*live, *text) for case in row.killed_by}
    runs = [case for case in used if case not in live_cases()]
    return Matrix([*live, *text], [*live_cases(), *sorted(runs)], round(time.monotonic() - begin, 1))


def live_rows(faults: Sequence[Fault], progress: Progress) -> list[Row]:
    """Put faults to the live cases, each in a process of its own."""
    if not faults:
        return []
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = list(pool.map(lambda fault: _live(fault, progress), [CONTROL, *faults]))
    (control, _), *others = found
    if control.killed or control.left:
        left = f"{len(control.left)} cases were not run"
        raise RuntimeError(f"a receiver without a fault does not go through: {control.killed[:3]}; {left}")
    return [_live_row(fault, result, seconds) for fault, (result, seconds) in zip(faults, others, strict=True)]


def _live(fault: Fault, progress: Progress) -> tuple[LiveResult, float]:
    begin = time.monotonic()
    progress(f"fault {fault.id}")
    with tempfile.TemporaryDirectory() as folder:
        seconds = 10 * SECONDS if fault is CONTROL else SECONDS
        result = run_live(mutated_tree(Path(folder), fault.edits), fault, list(live_cases()), seconds)
    return result, time.monotonic() - begin


def _live_row(fault: Fault, result: LiveResult, seconds: float) -> Row:
    first = result.killed[0] if result.killed else None
    past = "; ".join(f"{each.id}: {each.source}" for each in past_of(fault.id))
    return Row(
        id=fault.id,
        source=past,
        what=fault.what,
        killed_by=[each.case for each in result.killed],
        rule=first.rule if first else "",
        how=first.why if first else "",
        seconds=round(seconds, 1),
        not_run=len(result.left),
    )


def spec_rows(numbers: Sequence[int], progress: Progress) -> list[Row]:
    """Put mutants of the specification to runs of the right one, and ask the solvers about those that nothing shows."""
    if not numbers:
        return []
    progress(f"{len(numbers)} mutants of the specification")
    killed: dict[int, dict[str, str]] = {number: {} for number in numbers}
    seconds = dict.fromkeys(numbers, 0.0)
    for found in in_processes(_killed, [(group, tuple(numbers)) for group in RUNS]):
        for number, its, taken in found:
            killed[number] |= its
            seconds[number] += taken
    left = [number for number in numbers if not killed[number]]
    progress(f"{len(left)} mutants that may be equivalent")
    equivalent = _equivalent(left)
    return [_spec_row(number, killed[number], equivalent.get(number, ""), seconds[number]) for number in numbers]


def _killed(task: tuple[str, tuple[int, ...]]) -> list[tuple[int, dict[str, str], float]]:
    """Put mutants to a group of runs, by their numbers: another process has other trees, but in the same order."""
    group, numbers = task
    return list(kills(list(RUNS[group]()), numbers))


def _equivalent(numbers: Sequence[int]) -> dict[int, str]:
    """Return of which mutants every solver says that they change nothing, and how."""
    solvers = [solver(name) for name in SolverName]
    jury = Jury(CLAIMS, solvers)
    found = {number: _BY_CLAUSES for number in numbers if jury.is_equivalent(spec_mutants()[number])}
    left = [number for number in numbers if number not in found]
    if left:
        reachable = Reachable(solvers)
        found |= {number: _BY_LEMMAS for number in left if reachable.is_equivalent(spec_mutants()[number])}
    return found


def _spec_row(number: int, killed: Mapping[str, str], equivalent: str, seconds: float) -> Row:
    mutant = spec_mutants()[number]
    order = {case: place for place, case in enumerate(live_cases())}
    ordered = sorted(killed, key=lambda case: (order.get(case, len(order)), case))
    return Row(
        id=mutant.name,
        source=mutant.rule.id,
        what=mutant.edit.doc,
        killed_by=ordered,
        rule=mutant.rule.id if killed else "",
        how=killed[ordered[0]] if ordered else "",
        seconds=round(seconds, 3),
        equivalent=equivalent,
    )


def only_killers(rows: Sequence[Row]) -> dict[str, list[str]]:
    """Return the cases that alone show some faults, with these."""
    found: dict[str, list[str]] = {}
    for row in rows:
        if len(row.killed_by) == 1:
            found.setdefault(row.killed_by[0], []).append(row.id)
    return found


def minimal_suite(rows: Sequence[Row], cases: Sequence[str]) -> list[str]:
    """Return few cases that together show all that any case shows: the only killers, then whatever shows most of what is left."""
    killers = {row.id: set(row.killed_by) for row in rows if row.killed_by}
    found = [case for case in cases if any(its == {case} for its in killers.values())]
    left = [its for its in killers.values() if its.isdisjoint(found)]
    while left:
        best = max(cases, key=lambda case: sum(case in its for its in left))
        found.append(best)
        left = [its for its in left if best not in its]
    return found
