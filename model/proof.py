"""The proof: every obligation asked of every solver, and what can be told from the rules' trees alone."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from colofd.model.proof_obligations import Answer, AnyObligation, ghost_flows
from colofd.model.proof_sorts import cycle
from colofd.model.smtlib import Writer
from colofd.model.solver import Solver, SolverName
from colofd.spec.language import Spec


@dataclass(frozen=True)
class Verdict:
    """What the solvers say about one obligation, and the seconds that each took."""

    obligation: AnyObligation
    answers: Mapping[SolverName, Answer]
    seconds: Mapping[SolverName, float]

    @property
    def is_proved(self) -> bool:
        """Whether every solver gives the expected answer; that one does not know, or two disagree, is a failure."""
        return bool(self.answers) and all(answer is self.obligation.expected for answer in self.answers.values())


def verdicts(spec: Spec, asked: Sequence[AnyObligation], solvers: Sequence[Solver]) -> Iterator[Verdict]:
    """Yield the verdict on each obligation; SolverFailed if a solver does not understand one."""
    writer = Writer(spec)
    for obligation in asked:
        text = writer.text(obligation)
        answers: dict[SolverName, Answer] = {}
        seconds: dict[SolverName, float] = {}
        for solver in solvers:
            begin = time.perf_counter()
            answers[solver.name] = solver.ask(text)
            seconds[solver.name] = time.perf_counter() - begin
        yield Verdict(obligation, answers, seconds)


def structural_faults(spec: Spec) -> tuple[str, ...]:
    """Return what is wrong with the trees themselves: a ghost that decides something, or sorts that lead back to themselves."""
    ghosts = [f"the ghost decides in {identifier}" for identifier in ghost_flows(spec)]
    sorts = cycle(spec)
    return (*ghosts, *([f"cycle of sorts {' -> '.join(sorts)}"] if sorts else []))
