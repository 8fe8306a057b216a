"""Rules and clauses: texts that are traced when their module is imported."""

import inspect
import traceback
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Any, Generic, TypeVar

from colofd.spec.language.cells import State, Update
from colofd.spec.language.expressions import Expr, Index, Parameter, Sort, SpecError, lift

S = TypeVar("S", bound=State)


class Actor(StrEnum):
    """Who takes a step, and so whose obligation its guards are."""

    PRIMARY = "primary"
    """The source: its guest and its migration threads."""
    GUEST = "guest"
    """The secondary's guest."""
    RECEIVER = "receiver"
    """The destination: what a conformance run checks."""
    ENVIRONMENT = "environment"
    """Networks, operators, faults: may happen at any time."""


@dataclass(frozen=True)
class Rule:
    """A guarded command: where all `guards` hold, all `updates` may happen at once.

    `id` never changes, `source` names the QEMU file and function, `question` what the mail thread asked.
    """

    id: str
    doc: str
    source: str
    question: str
    actor: Actor
    parameters: tuple[Parameter[Any], ...]
    guards: tuple[Expr[bool], ...]
    updates: tuple[Update, ...]


@dataclass(frozen=True)
class Clause:
    """A formula that holds in every reachable state."""

    id: str
    doc: str
    source: str
    formula: Expr[bool]


def _described(function: Callable[..., object], identifier: str, source: str) -> str:
    doc = inspect.getdoc(function) or ""
    for what, text in (("id", identifier), ("docstring", doc), ("source", source)):
        if not text.strip():
            raise _located(SpecError(f"it has no {what}"), identifier or function.__name__, function)
    return doc


def _located(error: SpecError, identifier: str, function: Callable[..., object]) -> SpecError:
    """Return `error` with the id of the text and the line in it that is wrong."""
    code = function.__code__ if inspect.isfunction(function) else None
    file, line = (code.co_filename, code.co_firstlineno) if code else ("?", 0)
    for frame in traceback.extract_tb(error.__traceback__):
        if frame.filename == file and frame.lineno is not None:
            line = max(line, frame.lineno)
    return SpecError(f"{identifier}: {error} ({file}:{line})")


def _sort_of(annotation: object, name: str) -> Sort:
    if typing.get_origin(annotation) is Expr:
        (sort,) = typing.get_args(annotation)
        if isinstance(sort, type) and (sort is bool or issubclass(sort, Index | Enum)):
            return sort
    raise SpecError(f"parameter {name} needs an annotation such as Expr[Page]")


def _parameters(function: Callable[..., None]) -> tuple[Parameter[Any], ...]:
    hints = typing.get_type_hints(function)
    names = list(inspect.signature(function).parameters)[1:]
    return tuple(Parameter(name, _sort_of(hints.get(name), name)) for name in names)


@dataclass
class RuleBook(Generic[S]):
    """The rules of one module: `@rules.rule(...)` traces a function and keeps the rule."""

    state: type[S]
    rules: list[Rule] = field(default_factory=list)

    def rule(self, identifier: str, *, by: Actor, source: str, question: str = "") -> Callable[[Callable[..., None]], Callable[..., None]]:
        """Return a decorator that traces a rule text `def f(s: World, page: Expr[Page]) -> None`."""

        def trace(function: Callable[..., None]) -> Callable[..., None]:
            doc = _described(function, identifier, source)
            state = self.state()
            try:
                parameters = _parameters(function)
                function(state, *parameters)
            except SpecError as error:
                raise _located(error, identifier, function) from error
            guards, updates = tuple(state._guards), tuple(state._updates)  # noqa: SLF001  # the trace that the state kept
            self.rules.append(Rule(str(identifier), doc, source, question, by, parameters, guards, updates))
            return function

        return trace

    def __iter__(self) -> Iterator[Rule]:
        return iter(self.rules)


@dataclass
class ClauseBook(Generic[S]):
    """The clauses of one module: `@clauses.clause(...)` traces a function and keeps the clause."""

    state: type[S]
    clauses: list[Clause] = field(default_factory=list)

    def clause(self, identifier: str, *, source: str) -> Callable[[Callable[[S], Expr[bool]]], Callable[[S], Expr[bool]]]:
        """Return a decorator that traces a clause text `def f(s: World) -> Expr[bool]`."""

        def trace(function: Callable[[S], Expr[bool]]) -> Callable[[S], Expr[bool]]:
            doc = _described(function, identifier, source)
            state = self.state()
            try:
                formula = lift(function(state), bool)
                if state._updates or state._guards:  # noqa: SLF001  # the trace that the state kept
                    raise SpecError("a clause writes nothing and has no guards")  # noqa: TRY301  # located below
            except SpecError as error:
                raise _located(error, identifier, function) from error
            self.clauses.append(Clause(identifier, doc, source, formula))
            return function

        return trace

    def __iter__(self) -> Iterator[Clause]:
        return iter(self.clauses)


@dataclass(frozen=True)
class Spec:
    """A whole specification: state, initial states, rules and clauses, each with a unique id."""

    state: type[State]
    initial: Clause
    rules: tuple[Rule, ...]
    clauses: tuple[Clause, ...]

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for identifier in [*(rule.id for rule in self.rules), *(clause.id for clause in self.clauses)]:
            if identifier in seen:
                raise SpecError(f"{identifier}: this id is taken")
            seen.add(identifier)

    def rule(self, identifier: str) -> Rule:
        """Return the rule with this id; KeyError if there is none."""
        for rule in self.rules:
            if rule.id == identifier:
                return rule
        raise KeyError(identifier)
