"""What has to be proved of the specification, as data: formulas over the state before a step.

Nothing here is bound to a number of pages, channels or page values.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

from colofd.model.proof_touches import touches
from colofd.model.proof_trees import after, cells_read
from colofd.spec.constants import Step
from colofd.spec.language import Clause, Expr, Literal, Parameter, Rule, Spec
from colofd.spec.state import Page, Phase, World


class Kind(StrEnum):
    """What an obligation is about."""

    INITIATION = "initiation"
    """Initial states satisfy a clause."""
    CONSECUTION = "consecution"
    """A step keeps a clause, if all clauses hold before it."""
    ISOLATION = "isolation"
    """A step leaves the guest's RAM as it is, once the guest may have run."""
    OWNERSHIP = "ownership"
    """Memory that a step touches is allocated."""
    COMMIT = "commit"
    """Where the guest starts or goes on, it holds the primary's RAM."""
    PROGRESS = "progress"
    """What remains becomes smaller, some step makes it so, and no state is left that nobody can leave."""
    VACUITY = "vacuity"
    """A rule is possible at all: clauses and guards can hold together. An obligation of this kind wants an example, not a proof."""
    STEP = "step"
    """No step does what none may do (spec/steps)."""
    ABILITY = "ability"
    """What must stay possible is, and does what it is for; and no step leaves everything as it is (spec/steps/abilities.py)."""
    NEED = "need"
    """A clause says something, and a guard forbids something. An obligation of this kind wants an example, not a proof."""
    DECISION = "decision"
    """A decision of a receiver is what a rule, or a check of the wire format, says; its owner makes these."""
    EQUIVALENCE = "equivalence"
    """Two ways to receive come to the same: by either channel, with either mirror, with or without elision (proof_equivalence.py)."""


class Answer(StrEnum):
    """What a solver says: is there a state where the hypotheses hold and the goal does not?"""

    NONE = "unsat"
    SOME = "sat"
    UNKNOWN = "unknown"


@dataclass(frozen=True, eq=False)
class Obligation:
    """In every state where all `hypotheses` hold, `goal` holds; parameters in them stand for anything.

    `expected` is what a solver must answer: that no state breaks the goal or, where an example is wanted, that some state does.
    """

    name: str
    kind: Kind
    hypotheses: tuple[Expr[bool], ...]
    goal: Expr[bool]
    expected: Answer = Answer.NONE


@dataclass(frozen=True, eq=False)
class TextObligation:
    """A claim that is not about one state of the spec alone: `text` is the whole SMT-LIB file, in which the goal is denied."""

    name: str
    kind: Kind
    text: str
    expected: Answer = Answer.NONE


AnyObligation: TypeAlias = Obligation | TextObligation


MAY_WRITE_GUEST: Final = (Step.FLUSH_PAGE, "guest.secondary-write")
"""The only steps that may change guest RAM once the guest may have run."""

BEFORE_GUEST: Final = (Phase.SETUP, Phase.PRECOPY, Phase.FILLING, Phase.FAILED)
"""Phases in which no guest has run yet, nor will without another checkpoint."""

OWNERS: Final = {"cache": World.cache_allocated.name, "received": World.receivedmap_allocated.name}
"""Which cell says that the memory of another one is allocated."""

_FALSE: Final[Literal[bool]] = Literal(False, bool)


def obligations(spec: Spec) -> tuple[Obligation, ...]:
    """Return all obligations of a specification of the receive path, by kind and then in the order of its rules."""
    return (*_initiation(spec), *_consecution(spec), *_isolation(spec), *_ownership(spec), *_commit(spec), *_vacuity(spec))


def layer_obligations(whole: Spec, base: Spec) -> tuple[Obligation, ...]:
    """Return what a layer owes beside its base: its own clauses under every rule, and that each rule which it touches is possible.

    What is proved of the base holds of the whole, for a layer only adds guards and writes only cells of its own (spec/language/layers.py).
    """
    known = {clause.id for clause in base.clauses}
    own = tuple(clause for clause in whole.clauses if clause.id not in known)
    initiation = (Obligation(f"initially {each.id}", Kind.INITIATION, (whole.initial.formula,), each.formula) for each in own)
    consecution = (_keeps(whole, rule, each) for rule in whole.rules for each in own)
    untouched = set(base.rules)
    vacuity = (
        Obligation(f"{rule.id} is possible with {whole.state.__name__}", Kind.VACUITY, _enabled(whole, rule), _FALSE, Answer.SOME)
        for rule in whole.rules
        if rule not in untouched
    )
    return (*initiation, *consecution, *vacuity)


def _invariant(spec: Spec) -> tuple[Expr[bool], ...]:
    return tuple(clause.formula for clause in spec.clauses)


def _enabled(spec: Spec, rule: Rule) -> tuple[Expr[bool], ...]:
    """What may be assumed of a state in which `rule` is taken."""
    return (*_invariant(spec), *rule.guards)


def _initiation(spec: Spec) -> Iterator[Obligation]:
    for clause in spec.clauses:
        yield Obligation(f"initially {clause.id}", Kind.INITIATION, (spec.initial.formula,), clause.formula)


def _consecution(spec: Spec) -> Iterator[Obligation]:
    for rule in spec.rules:
        for clause in spec.clauses:
            yield _keeps(spec, rule, clause)


def _keeps(spec: Spec, rule: Rule, clause: Clause) -> Obligation:
    # A rule that writes nothing of which a clause speaks needs nothing else to keep it: much less text, and a stronger claim.
    is_touched = not cells_read(clause.formula).isdisjoint(update.cell.name for update in rule.updates)
    hypotheses = _enabled(spec, rule) if is_touched else (clause.formula,)
    return Obligation(f"{rule.id} keeps {clause.id}", Kind.CONSECUTION, hypotheses, after(rule, clause.formula))


def _isolation(spec: Spec) -> Iterator[Obligation]:
    s = World()
    page: Parameter[Page] = Parameter("any", Page)
    for rule in spec.rules:
        if rule.id not in MAY_WRITE_GUEST and any(update.cell is World.guest for update in rule.updates):
            isolated = ~s.phase.within(*BEFORE_GUEST)
            unchanged = after(rule, s.guest[page]) == s.guest[page]
            yield Obligation(f"{rule.id} leaves the guest", Kind.ISOLATION, (*_enabled(spec, rule), isolated), unchanged)


def _ownership(spec: Spec) -> Iterator[Obligation]:
    for cell, owner in OWNERS.items():
        is_allocated: Expr[bool] = getattr(World(), owner)
        for rule in spec.rules:
            for number, path in enumerate(touches(rule, cell), 1):
                hypotheses = (*_enabled(spec, rule), *path)
                yield Obligation(f"{rule.id} owns {cell}, touch {number}", Kind.OWNERSHIP, hypotheses, is_allocated)


def _commit(spec: Spec) -> Iterator[Obligation]:
    s = World()
    page: Parameter[Page] = Parameter("any", Page)
    is_primary = s.guest[page] == s.primary[page]
    is_mirror = is_primary & (s.cache[page] == s.primary[page])
    goals: dict[str, Expr[bool]] = {Step.COMMIT: is_mirror, Step.ENTER_COLO: is_mirror, Step.COMPLETE: is_primary}
    for rule in spec.rules:
        if rule.id in goals:
            yield Obligation(f"{rule.id} has the primary's RAM", Kind.COMMIT, _enabled(spec, rule), goals[rule.id])


def _vacuity(spec: Spec) -> Iterator[Obligation]:
    for rule in spec.rules:
        yield Obligation(f"{rule.id} is possible", Kind.VACUITY, _enabled(spec, rule), _FALSE, Answer.SOME)
