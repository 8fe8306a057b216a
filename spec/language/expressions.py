"""Expressions: an immutable tree over cells, parameters and constants."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

if TYPE_CHECKING:
    from colofd.spec.language.cells import Cell

T = TypeVar("T")
K = TypeVar("K")
K1 = TypeVar("K1")
K2 = TypeVar("K2")
K3 = TypeVar("K3")


class SpecError(TypeError):
    """A text of the spec which does not mean anything; raised while the module with the text is imported."""


class Index:
    """Base class of an unbounded sort: a subclass stands for arbitrarily many things, and is never instantiated."""


Sort = type[Any]
"""A subclass of `Index`, an `Enum`, or `bool`."""


def sort_name(sort: Sort) -> str:
    """Return the name of a sort."""
    return sort.__name__


class _Tracing:
    """How many texts are being traced now."""

    depth = 0


def traced(text: Callable[..., T], *arguments: object) -> T:
    """Return what a text returns. Meanwhile no expression can be looked up in a set or a dict, which would not find it by its value."""
    _Tracing.depth += 1
    try:
        return text(*arguments)
    finally:
        _Tracing.depth -= 1


class Expr(Generic[T]):
    """An expression of sort `sort`. Comparing two of them makes a third."""

    sort: Sort

    def __bool__(self) -> bool:
        raise SpecError("an expression has no truth value: use & | ~ >> where() every() some()")

    def __eq__(self, other: object) -> "Expr[bool]":  # type: ignore[override]  # the point of the class: equality is an expression
        return Equal(self, lift(other, self.sort))

    def __ne__(self, other: object) -> "Expr[bool]":  # type: ignore[override]  # likewise
        return Not(self == other)

    def __hash__(self) -> int:
        if _Tracing.depth:
            raise SpecError("an expression cannot be looked up in a set or a dict: use within() or where()")
        return id(self)

    def within(self, *values: "T | Expr[T]") -> "Expr[bool]":
        """Return whether the expression equals one of `values`."""
        first, *rest = [self == value for value in values]
        for alternative in rest:
            first = first | alternative
        return first

    def __and__(self, other: "Expr[bool]") -> "Expr[bool]":
        return And(lift(self, bool), condition(other))

    def __or__(self, other: "Expr[bool]") -> "Expr[bool]":
        return Or(lift(self, bool), condition(other))

    def __invert__(self) -> "Expr[bool]":
        return Not(lift(self, bool))

    def __rshift__(self, other: "Expr[bool]") -> "Expr[bool]":
        return Or(Not(lift(self, bool)), condition(other))


@dataclass(frozen=True, eq=False)
class Literal(Expr[T]):
    """A member of an enumeration, or a truth value."""

    value: T
    sort: Sort


@dataclass(frozen=True, eq=False)
class Constant(Expr[T]):
    """A distinguished member of an unbounded sort: the only one that can be named."""

    name: str
    sort: Sort


@dataclass(frozen=True, eq=False)
class Parameter(Expr[T]):
    """A parameter of a rule, or a bound variable."""

    name: str
    sort: Sort


@dataclass(frozen=True, eq=False)
class Read(Expr[T]):
    """The value of a cell before the step."""

    cell: "Cell"
    key: tuple[Expr[Any], ...]

    @property
    def sort(self) -> Sort:  # type: ignore[override]  # derived, not stored
        """The sort of the cell's values."""
        return self.cell.to


@dataclass(frozen=True, eq=False)
class Equal(Expr[bool]):
    """Both sides are the same."""

    left: Expr[Any]
    right: Expr[Any]
    sort = bool


@dataclass(frozen=True, eq=False)
class And(Expr[bool]):
    """Both hold."""

    left: Expr[bool]
    right: Expr[bool]
    sort = bool


@dataclass(frozen=True, eq=False)
class Or(Expr[bool]):
    """At least one holds."""

    left: Expr[bool]
    right: Expr[bool]
    sort = bool


@dataclass(frozen=True, eq=False)
class Not(Expr[bool]):
    """It does not hold."""

    operand: Expr[bool]
    sort = bool


@dataclass(frozen=True, eq=False)
class Where(Expr[T]):
    """`then` where the condition holds, `otherwise` elsewhere."""

    condition: Expr[bool]
    then: Expr[T]
    otherwise: Expr[T]

    @property
    def sort(self) -> Sort:  # type: ignore[override]  # derived, not stored
        """The sort of both branches."""
        return self.then.sort


@dataclass(frozen=True, eq=False)
class Every(Expr[bool]):
    """The body holds for every value of the variable."""

    variable: Parameter[Any]
    body: Expr[bool]
    sort = bool


@dataclass(frozen=True, eq=False)
class Some(Expr[bool]):
    """The body holds for some value of the variable."""

    variable: Parameter[Any]
    body: Expr[bool]
    sort = bool


def lift(value: object, sort: Sort) -> Expr[Any]:
    """Return `value` as an expression of `sort`; SpecError if it is of another one."""
    if isinstance(value, Expr):
        if value.sort is not sort:
            raise SpecError(f"{sort_name(value.sort)} used where {sort_name(sort)} is needed")
        return value
    if issubclass(sort, Index):
        raise SpecError(f"{value!r} is no {sort_name(sort)}: an unbounded sort has only its named constants")
    if not isinstance(value, sort) or (issubclass(sort, Enum) and isinstance(value, bool)):
        raise SpecError(f"{value!r} is no {sort_name(sort)}")
    return Literal(value, sort)


def condition(value: object) -> Expr[bool]:
    """Return `value` as a condition; SpecError if it is none, or was decided by Python (`is`, `in`, `any()`) instead of by the state."""
    if isinstance(value, bool):
        raise SpecError(f"{value} is decided by Python and not by the state: use == within() every() some()")
    return lift(value, bool)


def parts(expression: Expr[Any]) -> tuple[Expr[Any], ...]:
    """Return the direct parts of an expression."""
    match expression:
        case Read(key=key):
            return key
        case Equal(left=left, right=right) | And(left=left, right=right) | Or(left=left, right=right):
            return (left, right)
        case Not(operand=operand):
            return (operand,)
        case Where(condition=when, then=then, otherwise=otherwise):
            return (when, then, otherwise)
        case Every(body=body) | Some(body=body):
            return (body,)
    return ()


def bound(expression: Expr[T], known: tuple[Parameter[Any], ...]) -> Expr[T]:
    """Return the expression; SpecError if a variable in it is neither `known` nor of a quantifier around it."""
    if isinstance(expression, Parameter) and not any(expression is each for each in known):
        raise SpecError(f"{expression.name} is used outside of what it is a variable of")
    inner = (*known, expression.variable) if isinstance(expression, Every | Some) else known
    for part in parts(expression):
        bound(part, inner)
    return expression


def where(when: Expr[bool], then: Expr[T], otherwise: Expr[T]) -> Expr[T]:
    """Return the expression that is `then` where `when` holds, and `otherwise` elsewhere."""
    return Where(condition(when), then, lift(otherwise, then.sort))


def _quantify(make: "type[Every | Some]", body: Callable[..., Expr[bool]], sorts: tuple[Sort, ...]) -> Expr[bool]:
    variables: list[Parameter[Any]] = [Parameter(name, sort) for name, sort in zip(inspect.signature(body).parameters, sorts, strict=True)]
    formula: Expr[bool] = condition(body(*variables))
    for variable in reversed(variables):
        formula = make(variable, formula)
    return formula


@overload
def every(sort: type[K], /) -> Callable[[Callable[[Expr[K]], Expr[bool]]], Expr[bool]]: ...
@overload
def every(sort: type[K1], second: type[K2], /) -> Callable[[Callable[[Expr[K1], Expr[K2]], Expr[bool]]], Expr[bool]]: ...
@overload
def every(
    sort: type[K1], second: type[K2], _third: type[K3], /
) -> Callable[[Callable[[Expr[K1], Expr[K2], Expr[K3]], Expr[bool]]], Expr[bool]]: ...
def every(*sorts: Sort) -> Callable[[Callable[..., Expr[bool]]], Expr[bool]]:
    """Return a quantifier: `every(Page)(lambda page: ...)` holds if the body holds for every page."""
    return lambda body: _quantify(Every, body, sorts)


@overload
def some(sort: type[K], /) -> Callable[[Callable[[Expr[K]], Expr[bool]]], Expr[bool]]: ...
@overload
def some(sort: type[K1], second: type[K2], /) -> Callable[[Callable[[Expr[K1], Expr[K2]], Expr[bool]]], Expr[bool]]: ...
def some(*sorts: Sort) -> Callable[[Callable[..., Expr[bool]]], Expr[bool]]:
    """Return a quantifier: `some(Page)(lambda page: ...)` holds if the body holds for at least one page."""
    return lambda body: _quantify(Some, body, sorts)
