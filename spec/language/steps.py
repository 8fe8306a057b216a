"""Claims about single steps: what no step may do, and what some step must be able to do. Their texts take the state before and after.

A clause says what holds in every state; it cannot say that a thread which has ended takes no more steps, or that a failover is never
refused. A claim of the first kind is owed by every rule, one of the second kind by the rule that it names.
"""

import copy
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Generic, TypeVar, cast

from colofd.spec.language.cells import Cell, State
from colofd.spec.language.expressions import Expr, Parameter, SpecError, bound, condition, traced
from colofd.spec.language.rules import Rule, Spec, describe, locate, location_of, parameters_of

S = TypeVar("S", bound=State)


@dataclass(frozen=True)
class StepClaim:
    """What holds between the states before and after every step, for any values of `parameters`."""

    id: str
    doc: str
    source: str
    parameters: tuple[Parameter[Any], ...]
    formula: Expr[bool]
    location: str
    """File and line of the text; no part of what it means."""


@dataclass(frozen=True)
class Ability:
    """In every state with `condition` the rule can be taken, and `effect` holds between the states before and after it."""

    rule: str
    doc: str
    source: str
    condition: Expr[bool]
    effect: Expr[bool]
    location: str
    """File and line of the text; no part of what it means."""

    @property
    def id(self) -> str:
        """The rule's id and what is claimed of it."""
        return f"{self.rule} can be taken"


@dataclass
class StepBook(Generic[S]):
    """The claims about single steps of a specification. A step of a rule in `may_idle` may leave everything as it is, another may not."""

    spec: Spec
    state: type[S]
    may_idle: tuple[str, ...] = ()
    claims: list[StepClaim] = field(default_factory=list)
    abilities: list[Ability] = field(default_factory=list)

    @cached_property
    def cells_after(self) -> Mapping[Cell, Cell]:
        """For each cell the one that stands for what it holds after the step."""
        cells = {cell: copy.copy(cell) for cell in self.state.cells()}
        for cell, later in cells.items():
            later.name = f"{cell.name}'"
        return cells

    def claim(self, identifier: str, *, source: str) -> Callable[[Callable[..., Expr[bool]]], Callable[..., Expr[bool]]]:
        """Return a decorator that traces `def f(now: World, then: World, page: Expr[Page]) -> Expr[bool]`: what every step keeps to."""

        def trace(function: Callable[..., Expr[bool]]) -> Callable[..., Expr[bool]]:
            doc = describe(function, identifier, source)
            try:
                parameters = parameters_of(function, states=2)
                formula = bound(condition(traced(function, *self._states(), *parameters)), parameters)
            except SpecError as error:
                raise locate(error, identifier, function) from error
            self.claims.append(StepClaim(identifier, doc, source, parameters, formula, location_of(function)))
            return function

        return trace

    def ability(
        self, rule: str, *, source: str
    ) -> Callable[[Callable[..., tuple[Expr[bool], Expr[bool]]]], Callable[..., tuple[Expr[bool], Expr[bool]]]]:
        """Return a decorator that traces `def f(now: World, then: World, page: Expr[Page])`: when the rule is possible, and its effect.

        The function takes those parameters of the rule that it needs, by their names.
        """

        def trace(function: Callable[..., tuple[Expr[bool], Expr[bool]]]) -> Callable[..., tuple[Expr[bool], Expr[bool]]]:
            doc = describe(function, rule, source)
            try:
                own = {parameter.name: parameter for parameter in self._rule(rule).parameters}
                when, effect = traced(function, *self._states(), *(own[name] for name in list(inspect.signature(function).parameters)[2:]))
            except SpecError as error:
                raise locate(error, rule, function) from error
            self.abilities.append(Ability(rule, doc, source, condition(when), condition(effect), location_of(function)))
            return function

        return trace

    def _rule(self, identifier: str) -> Rule:
        try:
            return self.spec.rule(identifier)
        except KeyError:
            raise SpecError("there is no such rule") from None

    def _states(self) -> tuple[S, S]:
        """Return a state whose cells are those before the step, and one whose cells are those after it."""
        names = {cell.name: later for cell, later in self.cells_after.items()}
        later = type(f"{self.state.__name__}After", (State,), {})
        for name, cell in names.items():
            setattr(later, name, cell)
        return self.state(is_read_only=True), cast("S", later(is_read_only=True))
