"""What becomes of every mutant of the specification: noticed by the proof, noticed by progress, by a count, equivalent, or survived."""

import functools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from colofd.model.processes import in_processes
from colofd.model.solver import SolverName, solver
from colofd.model.spec_mutants import Mutant, mutants
from colofd.model.spec_mutants_proof import Claims, Finding, Jury, Outcome
from colofd.spec.progress.both_sides import progress as progress_of_both
from colofd.spec.progress.receiver import progress as progress_of_receiver
from colofd.spec.protocol import BOTH_SIDES, SPEC
from colofd.spec.steps import steps, steps_of_both

CLAIMS: Final = Claims(SPEC, BOTH_SIDES, steps, steps_of_both, (progress_of_receiver, progress_of_both))

_PART: Final = 12
"""So many mutants are decided at a stretch: they differ much in how long they take."""


@dataclass(frozen=True)
class MutantResult:
    """What becomes of a mutant; `failed` is the first obligation that is not proved of it, if there is one."""

    rule: str
    change: str
    outcome: Outcome
    failed: str


def mutant_results(solvers: Sequence[SolverName], *, first: int = 0, step: int = 1) -> Iterator[MutantResult]:
    """Yield what becomes of each mutant, or of every `step`-th from `first` on. Equivalent is only what all solvers say is."""
    numbers = range(first, len(_mutants()), step)
    parts = [numbers[begin : begin + _PART] for begin in range(0, len(numbers), _PART)]
    found = in_processes(_decided, [(tuple(solvers), tuple(part)) for part in parts])
    for part, findings in zip(parts, found, strict=True):
        for number, finding in zip(part, findings, strict=True):
            mutant = _mutants()[number]
            yield MutantResult(mutant.rule.id, mutant.edit.doc, finding.outcome, finding.failed)


def count_of_mutants() -> int:
    """Return how many mutants there are."""
    return len(_mutants())


@functools.cache
def _mutants() -> tuple[Mutant, ...]:
    return mutants(BOTH_SIDES, SPEC)


@functools.cache
def _jury(solvers: tuple[SolverName, ...]) -> Jury:
    return Jury(CLAIMS, [solver(name) for name in solvers])


def _decided(task: tuple[tuple[SolverName, ...], tuple[int, ...]]) -> list[Finding]:
    """Decide about some mutants, by their numbers: another process has other trees, but in the same order."""
    solvers, numbers = task
    return [_jury(solvers).decide(_mutants()[number]) for number in numbers]


def mutants_json(results: Sequence[MutantResult]) -> dict[str, Any]:
    """Return the counts, and the names of those that survived or are noticed by a count only."""
    counts = Counter(result.outcome for result in results)
    return {
        "total": len(results),
        "by_proof": counts[Outcome.BY_PROOF],
        "by_progress": counts[Outcome.BY_PROGRESS],
        "by_count": counts[Outcome.BY_COUNT],
        "equivalent": counts[Outcome.EQUIVALENT],
        "survived": counts[Outcome.SURVIVED],
        "not_noticed": [f"{each.rule}: {each.change}" for each in results if each.outcome in (Outcome.BY_COUNT, Outcome.SURVIVED)],
    }
