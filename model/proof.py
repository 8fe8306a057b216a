"""The proof: every obligation asked of every solver, and what can be told from the rules' trees alone."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Final, NamedTuple

from colofd.model.processes import in_processes
from colofd.model.proof_obligations import Answer, AnyObligation
from colofd.model.smtlib import Writer
from colofd.model.solver import Ask, Solver, SolverFailed, SolverName
from colofd.spec.language import Spec

_PART: Final = 32
"""So many obligations are asked in a sequence. One solver for long is faster than two in turns: each has its own use of memory."""


class _Reply(NamedTuple):
    answer: Answer
    seconds: float


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
    """Yield the verdict on each obligation, in their order; SolverFailed if a solver does not understand one.

    Many are asked by several processes. The answers do not depend on that: each process begins anew with every few of them.
    """
    writer = Writer(spec)
    parts = [asked[first : first + _PART] for first in range(0, len(asked), _PART)]
    texts = ([writer.text(obligation) for obligation in part] for part in parts)
    tasks = ((one.begin, some) for some in texts for one in solvers)
    # A single part is asked here: other processes would take longer to begin.
    replies = in_processes(_replies, tasks) if len(parts) > 1 else map(_replies, tasks)
    try:
        for part in parts:
            by_solver = {one.name: next(replies) for one in solvers}
            for number, obligation in enumerate(part):
                answers = {name: some[number].answer for name, some in by_solver.items()}
                yield Verdict(obligation, answers, {name: some[number].seconds for name, some in by_solver.items()})
    except BrokenProcessPool as error:
        raise SolverFailed("a process that asks a solver has died, maybe for want of memory") from error


def _replies(task: tuple[Callable[[], Ask], Sequence[str]]) -> list[_Reply]:
    begin_questions, texts = task
    ask = begin_questions()
    replies = []
    for text in texts:
        begin = time.perf_counter()
        answer = ask(text)
        replies.append(_Reply(answer, time.perf_counter() - begin))
    return replies
