"""Progress: what is reached at last, told by a set that every helpful step makes smaller and no step makes larger.

A measure says: from a state with `during`, `goal` is reached, if steps that help are taken whenever some can be (weak fairness), and none
of the excused steps happens. It rests on three claims about single steps, which are proved for any number of pages and channels:
no step leaves `during` except into `goal`, or makes what remains larger; every helpful step reaches `goal` or makes it smaller; and
some helpful step can be taken. What remains is finite, because pages and channels are.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Generic, TypeVar

from colofd.spec.language.cells import State
from colofd.spec.language.expressions import Expr, Literal, Parameter, Some, SpecError, bound, condition, traced
from colofd.spec.language.rules import Clause, Rule, Spec, describe, locate, location_of, parameters_of

S = TypeVar("S", bound=State)


@dataclass(frozen=True)
class Progress:
    """What the text of a measure returns. A part of `remaining` is a set: of those that its leading `some()` speaks of."""

    during: Expr[bool]
    goal: Expr[bool]
    remaining: tuple[Expr[bool], ...] = ()


@dataclass(frozen=True)
class Except:
    """Steps that a claim does not cover, `because` of what: those of the rule with this id, or of them only the ones with `where`.

    `where` takes the state, and those parameters of the rule that it needs, by their names.
    """

    rule: str
    because: str
    where: Callable[..., Expr[bool]] | None = None


@dataclass(frozen=True)
class Excuse:
    """An `Except`, traced: `where` speaks of the parameters of `rule`."""

    rule: Rule
    because: str
    where: Expr[bool]


@dataclass(frozen=True)
class Remaining:
    """A set: of those `members` for which `formula` holds; without members, of one thing or nothing."""

    members: tuple[Parameter[Any], ...]
    formula: Expr[bool]


@dataclass(frozen=True)
class Measure:
    """From `during`, `goal` is reached, for any value of `parameters`; a helpful rule's parameter of the same name has the same value."""

    id: str
    doc: str
    source: str
    parameters: tuple[Parameter[Any], ...]
    during: Expr[bool]
    goal: Expr[bool]
    remaining: tuple[Remaining, ...]
    helpful: tuple[Rule, ...]
    excuses: tuple[Excuse, ...]
    location: str
    """File and line of the text; no part of what it means."""


@dataclass(frozen=True)
class Link:
    """A measure in a chain, with these values of its parameters."""

    measure: Measure
    values: Mapping[Parameter[Any], Literal[Any]]


@dataclass(frozen=True)
class Chain:
    """From `start`, `end` is reached: each link's goal is where a later link begins, or ends, or the end."""

    id: str
    doc: str
    source: str
    start: Expr[bool]
    end: Expr[bool]
    links: tuple[Link, ...]
    location: str
    """File and line of the text; no part of what it means."""


@dataclass(frozen=True)
class Wait:
    """States in which nobody goes on by himself, and the rules that end them."""

    state: Clause
    ended_by: tuple[Rule, ...]


@dataclass
class ProgressBook(Generic[S]):
    """The measures and chains of a specification: its decorators trace functions and keep what they say."""

    spec: Spec
    state: type[S]
    measures: list[Measure] = field(default_factory=list)
    chains: list[Chain] = field(default_factory=list)
    waits: list[Wait] = field(default_factory=list)

    def measure(
        self, identifier: str, *, source: str, helpful: Sequence[str], excused: Sequence[Except] = ()
    ) -> Callable[[Callable[..., Progress]], Callable[..., Progress]]:
        """Return a decorator that traces the text of a measure, `def f(s: World, channel: Expr[Channel]) -> Progress`."""

        def trace(function: Callable[..., Progress]) -> Callable[..., Progress]:
            doc = describe(function, identifier, source)
            try:
                parameters = parameters_of(function)
                said = traced(function, self._read_only(), *parameters)
                measure = Measure(
                    identifier,
                    doc,
                    source,
                    parameters,
                    bound(condition(said.during), parameters),
                    bound(condition(said.goal), parameters),
                    tuple(_set_of(bound(part, parameters)) for part in said.remaining),
                    tuple(self._rule(each) for each in helpful),
                    self.excuses(excused),
                    location_of(function),
                )
            except SpecError as error:
                raise locate(error, identifier, function) from error
            self.measures.append(measure)
            return function

        return trace

    def chain(
        self, identifier: str, *, source: str, links: Sequence[str | tuple[str, Mapping[str, Enum]]]
    ) -> Callable[[Callable[[S], tuple[Expr[bool], Expr[bool]]]], Callable[[S], tuple[Expr[bool], Expr[bool]]]]:
        """Return a decorator that traces the text of a chain: it returns start and end. A link with values is `(id, {name: value})`."""

        def trace(function: Callable[[S], tuple[Expr[bool], Expr[bool]]]) -> Callable[[S], tuple[Expr[bool], Expr[bool]]]:
            doc = describe(function, identifier, source)
            try:
                start, end = traced(function, self._read_only())
                linked = tuple(self._link(*((each, {}) if isinstance(each, str) else each)) for each in links)
            except SpecError as error:
                raise locate(error, identifier, function) from error
            self.chains.append(Chain(identifier, doc, source, condition(start), condition(end), linked, location_of(function)))
            return function

        return trace

    def wait(
        self, identifier: str, *, source: str, ended_by: Sequence[str]
    ) -> Callable[[Callable[[S], Expr[bool]]], Callable[[S], Expr[bool]]]:
        """Return a decorator that traces a state in which all wait."""

        def trace(function: Callable[[S], Expr[bool]]) -> Callable[[S], Expr[bool]]:
            doc = describe(function, identifier, source)
            try:
                formula = bound(condition(traced(function, self._read_only())), ())
                enders = tuple(self._rule(each) for each in ended_by)
            except SpecError as error:
                raise locate(error, identifier, function) from error
            self.waits.append(Wait(Clause(identifier, doc, source, formula, location_of(function)), enders))
            return function

        return trace

    def excuses(self, excused: Sequence[Except]) -> tuple[Excuse, ...]:
        """Return what is excepted, traced; SpecError if a rule does not exist."""
        return tuple(self._excuse(each) for each in excused)

    def __iter__(self) -> Iterator[Measure]:
        return iter(self.measures)

    def _read_only(self) -> S:
        return self.state(is_read_only=True)

    def _rule(self, identifier: str) -> Rule:
        try:
            return self.spec.rule(identifier)
        except KeyError:
            raise SpecError(f"there is no rule {identifier}") from None

    def _excuse(self, excused: Except) -> Excuse:
        rule = self._rule(excused.rule)
        if excused.where is None:
            return Excuse(rule, excused.because, Literal(True, bool))
        own = {parameter.name: parameter for parameter in rule.parameters}
        names = list(inspect.signature(excused.where).parameters)[1:]
        return Excuse(rule, excused.because, condition(traced(excused.where, self._read_only(), *(own[name] for name in names))))

    def _link(self, identifier: str, values: Mapping[str, Enum]) -> Link:
        for measure in self.measures:
            if measure.id == identifier:
                own = {parameter.name: parameter for parameter in measure.parameters}
                return Link(measure, {own[name]: Literal(value, own[name].sort) for name, value in values.items()})
        raise SpecError(f"there is no measure {identifier}")


def _set_of(formula: Expr[bool]) -> Remaining:
    members = []
    while isinstance(formula, Some):
        members.append(formula.variable)
        formula = formula.body
    return Remaining(tuple(members), condition(formula))
