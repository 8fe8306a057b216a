"""Mutants that add a member of an enumeration which no reachable state has, although the clauses alone do not exclude it.

The clauses are what the claims need, and no more. Two further ones say it; they are proved here, and nothing else rests on them.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from colofd.model.proof_obligations import Kind, Obligation, obligations
from colofd.model.smtlib import Writer
from colofd.model.solver import Solver
from colofd.model.spec_mutants import Mutant
from colofd.model.spec_mutants_proof import is_the_same
from colofd.spec.language import ClauseBook, Expr, Spec, every
from colofd.spec.protocol import SPEC
from colofd.spec.state import Page, Phase, World

_OURS: Final = "colofd: what makes some mutants equivalent"

lemmas = ClauseBook(World)


@lemmas.clause("reachable.nothing-dirty", source=_OURS)
def nothing_dirty(s: World) -> Expr[bool]:
    """Nothing is dirty between checkpoints, where the mirror is made packet by packet, and without COLO."""
    is_mirrored = (s.phase == Phase.PRECOPY) & ~(s.colo & s.deferred)
    is_clean = s.phase.within(Phase.SETUP, Phase.IDLE, Phase.COMPLETED) | is_mirrored
    return every(Page)(lambda p: is_clean >> ~s.peer_dirty[p])


@lemmas.clause("reachable.completed-is-sent", source=_OURS)
def completed_is_sent(s: World) -> Expr[bool]:
    """A completed migration has nothing left to send."""
    return every(Page)(lambda p: (s.phase == Phase.COMPLETED) >> ~s.unsent[p])


class Reachable:
    """The receive path with both lemmas. Raises ValueError if a solver does not prove them."""

    def __init__(self, solvers: Sequence[Solver]) -> None:
        self._solvers = solvers
        self._spec: Spec = replace(SPEC, clauses=(*SPEC.clauses, *lemmas))
        self._writer = Writer(self._spec)
        for each in self._owed():
            if not self._proved(each):
                raise ValueError(f"{each.name} is not proved")

    def _owed(self) -> list[Obligation]:
        kinds = (Kind.INITIATION, Kind.CONSECUTION)
        names = tuple(clause.id for clause in lemmas)
        return [each for each in obligations(self._spec) if each.kind in kinds and each.name.endswith(names)]

    def is_equivalent(self, mutant: Mutant) -> bool:
        """Return whether every solver says that the changed rule does the same where all clauses and both lemmas hold."""
        if mutant.base is None:
            return False
        return self._proved(is_the_same(self._spec, mutant, SPEC.rule(mutant.rule.id), mutant.base))

    def _proved(self, obligation: Obligation) -> bool:
        text = self._writer.text(obligation)
        return all(solver.ask(text) is obligation.expected for solver in self._solvers)
