"""The Z3 reading of the spec: every expression as a term, a step as a view of the state after it.

There are no primed symbols, no arrays and no frame axioms: what a cell holds after a step is
`If(key = written key, new value, old value)`, so a clause after a step is the same clause read
through another view. Everything untyped of Z3's Python interface stays in this module.
"""

from collections.abc import Callable, Mapping
from enum import Enum
from functools import cache
from typing import Any

import z3

from colofd.spec.language import (
    And,
    Constant,
    Equal,
    Every,
    Expr,
    Index,
    Literal,
    Not,
    Or,
    Parameter,
    Read,
    Rule,
    Some,
    Sort,
    Where,
    sort_name,
)
from colofd.spec.language.cells import Cell

Term = Any
"""A Z3 expression; Z3's Python interface has no types."""

View = Callable[[Cell, tuple[Term, ...]], Term]
"""What a cell holds for a key, in some state."""

Environment = Mapping[Parameter[Any], Term]


@cache
def _enumeration(sort: type[Enum]) -> tuple[Term, dict[str, Term]]:
    # Z3 keeps an enumeration for the life of its context: declared twice, it is an error.
    solver_sort, members = z3.EnumSort(sort_name(sort), [member.name for member in sort])
    return solver_sort, {member.name: term for member, term in zip(sort, members, strict=True)}


@cache
def solver_sort(sort: Sort) -> Term:
    """Return the Z3 sort: Bool, an enumeration, or an uninterpreted sort."""
    if sort is bool:
        return z3.BoolSort()
    if issubclass(sort, Enum):
        return _enumeration(sort)[0]
    if issubclass(sort, Index):
        return z3.DeclareSort(sort_name(sort))
    raise AssertionError(sort)


@cache
def _function(cell: Cell) -> Term:
    return z3.Function(cell.name, *[solver_sort(sort) for sort in cell.key], solver_sort(cell.to))


def before(cell: Cell, key: tuple[Term, ...]) -> Term:
    """The view of the state before the step."""
    return _function(cell)(*key)


def variables(rule: Rule) -> Environment:
    """Return one fresh constant for each parameter of the rule."""
    return {parameter: z3.Const(f"!{parameter.name}", solver_sort(parameter.sort)) for parameter in rule.parameters}


def after(rule: Rule, environment: Environment) -> View:
    """Return the view of the state after the rule's step."""

    def view(cell: Cell, key: tuple[Term, ...]) -> Term:
        for update in rule.updates:
            if update.cell is not cell:
                continue
            inner, hits = dict(environment), []
            for written, asked in zip(update.key, key, strict=True):
                if any(written is bound for bound in update.bound):
                    inner[written] = asked  # type: ignore[index]  # a bound key is a Parameter
                else:
                    hits.append(term(written, environment, before) == asked)
            value = term(update.value, inner, before)
            return z3.If(z3.And(*hits), value, before(cell, key)) if hits else value
        return before(cell, key)

    return view


def term(expression: Expr[Any], environment: Environment, view: View) -> Term:  # noqa: C901, PLR0911  # one case for each kind of node
    """Return the Z3 term of an expression, its cells read through `view`."""

    def inner(part: Expr[Any]) -> Term:
        return term(part, environment, view)

    match expression:
        case Literal(value=Enum() as value):
            return _enumeration(type(value))[1][value.name]
        case Literal(value=value):
            return z3.BoolVal(value)
        case Constant(name=name, sort=sort):
            return z3.Const(name, solver_sort(sort))
        case Parameter():
            return environment[expression]
        case Read(cell=cell, key=key):
            return view(cell, tuple(inner(part) for part in key))
        case Equal(left=left, right=right):
            return inner(left) == inner(right)
        case And(left=left, right=right):
            return z3.And(inner(left), inner(right))
        case Or(left=left, right=right):
            return z3.Or(inner(left), inner(right))
        case Not(operand=operand):
            return z3.Not(inner(operand))
        case Where(condition=condition, then=then, otherwise=otherwise):
            return z3.If(inner(condition), inner(then), inner(otherwise))
        case Every(variable=variable, body=body) | Some(variable=variable, body=body):
            bound = z3.FreshConst(solver_sort(variable.sort), variable.name)
            quantify = z3.ForAll if isinstance(expression, Every) else z3.Exists
            return quantify([bound], term(body, {**environment, variable: bound}, view))
    raise AssertionError(expression)
