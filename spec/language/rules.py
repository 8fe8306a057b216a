"""Rules and clauses: texts that are traced when their module is imported."""

import inspect
import linecache
import traceback
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from pathlib import Path
from typing import Any, Generic, TypeVar

from colofd.spec.language.cells import State, Update
from colofd.spec.language.expressions import Expr, Index, Parameter, Sort, SpecError, bound, condition, traced

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

    `id` never changes, `source` names the QEMU file and function, `question` has ids of questions of the mail
    thread that it answers (spec/questions.py), with commas between them.
    """

    id: str
    doc: str
    source: str
    question: str
    actor: Actor
    parameters: tuple[Parameter[Any], ...]
    guards: tuple[Expr[bool], ...]
    updates: tuple[Update, ...]
    location: str
    """File and line of the text; no part of what it means."""


@dataclass(frozen=True)
class Clause:
    """A formula that holds in every reachable state."""

    id: str
    doc: str
    source: str
    formula: Expr[bool]
    location: str
    """File and line of the text; no part of what it means."""


def describe(function: Callable[..., object], identifier: str, source: str) -> str:
    """Return the docstring of a text; SpecError if it has none, or no id or source."""
    doc = inspect.getdoc(function) or ""
    for what, text in (("id", identifier), ("source", source), ("docstring", doc)):
        if not text.strip():
            place = _definition(function) if what == "docstring" else location_of(function)
            raise SpecError(f"{identifier or function.__name__}: it has no {what} ({place})")
    return doc


def location_of(function: Callable[..., object]) -> str:
    """Return file and line where the text begins, with its decorator."""
    code = function.__code__
    return f"{code.co_filename}:{code.co_firstlineno}"


def _definition(function: Callable[..., object]) -> str:
    """Return file and line of the `def`, which is some lines below a decorator."""
    code = function.__code__
    first = code.co_firstlineno
    lines = enumerate(linecache.getlines(code.co_filename)[first - 1 :], first)
    return f"{code.co_filename}:{next((number for number, line in lines if line.lstrip().startswith('def ')), first)}"


def locate(error: SpecError, identifier: str, function: Callable[..., object]) -> SpecError:
    """Return `error` with the id of the text and the line that is wrong: in the text, or in a helper that it calls."""
    place = _definition(function)
    for frame in traceback.extract_tb(error.__traceback__):
        if Path(frame.filename).parent != Path(__file__).parent:
            place = f"{frame.filename}:{frame.lineno}"
    return SpecError(f"{identifier}: {error} ({place})")


def _sort_of(annotation: object, name: str) -> Sort:
    if typing.get_origin(annotation) is Expr:
        (sort,) = typing.get_args(annotation)
        if isinstance(sort, type) and (sort is bool or issubclass(sort, Index | Enum)):
            return sort
    raise SpecError(f"parameter {name} needs an annotation such as Expr[Page]")


def parameters_of(function: Callable[..., object], *, states: int = 1) -> tuple[Parameter[Any], ...]:
    """Return the parameters that a text takes after so many states; SpecError if one has no sort."""
    hints = typing.get_type_hints(function)
    names = list(inspect.signature(function).parameters)[states:]
    return tuple(Parameter(name, _sort_of(hints.get(name), name)) for name in names)


def kept_by(state: State, parameters: tuple[Parameter[Any], ...]) -> tuple[tuple[Expr[bool], ...], tuple[Update, ...]]:
    """Return guards and updates that a state kept while a text with these parameters was traced."""
    updates: tuple[Update, ...] = tuple(state._updates)  # noqa: SLF001  # the trace that the state kept
    for update in updates:
        for part in (*update.key, update.value):
            bound(part, (*parameters, *update.bound))
    return tuple(bound(guard, parameters) for guard in state._guards), updates  # noqa: SLF001  # likewise


@dataclass
class RuleBook(Generic[S]):
    """The rules of one module: `@rules.rule(...)` traces a function and keeps the rule."""

    state: type[S]
    rules: list[Rule] = field(default_factory=list)

    def rule(self, identifier: str, *, by: Actor, source: str, question: str = "") -> Callable[[Callable[..., None]], Callable[..., None]]:
        """Return a decorator that traces a rule text `def f(s: World, page: Expr[Page]) -> None`."""

        def trace(function: Callable[..., None]) -> Callable[..., None]:
            doc = describe(function, identifier, source)
            state = self.state()
            try:
                parameters = parameters_of(function)
                traced(function, state, *parameters)
                guards, updates = kept_by(state, parameters)
            except SpecError as error:
                raise locate(error, identifier, function) from error
            self.rules.append(Rule(str(identifier), doc, source, question, by, parameters, guards, updates, location_of(function)))
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
            doc = describe(function, identifier, source)
            try:
                formula = bound(condition(traced(function, self.state(is_read_only=True))), ())
            except SpecError as error:
                raise locate(error, identifier, function) from error
            self.clauses.append(Clause(identifier, doc, source, formula, location_of(function)))
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
        taken: dict[str, str] = {}
        texts: list[Rule | Clause] = [*self.rules, *self.clauses]
        for text in texts:
            if text.id in taken:
                raise SpecError(f"{text.id}: this id is taken by {taken[text.id]} ({text.location})")
            taken[text.id] = text.location

    def rule(self, identifier: str) -> Rule:
        """Return the rule with this id; KeyError if there is none."""
        for rule in self.rules:
            if rule.id == identifier:
                return rule
        raise KeyError(identifier)
