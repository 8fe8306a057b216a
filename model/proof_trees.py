"""Walking and rewriting the trees of the spec: above all, what an expression says after a step, in terms of before it.

There are no primed symbols and no frame axioms. What a cell holds after a step is `value where the key
is the written one, else what it held`, so a clause after a step is the same clause with its reads replaced.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from colofd.spec.language import And, Equal, Every, Expr, Not, Or, Parameter, Read, Rule, Some, Update, Where
from colofd.spec.language.cells import Cell
from colofd.spec.language.expressions import parts

T = TypeVar("T")

Key = tuple[Expr[Any], ...]
Reading = Callable[[Cell, Key], Expr[Any]]
"""What to put in place of a read of a cell."""

Bindings = Mapping[Parameter[Any], Expr[Any]]


def walk(expression: Expr[Any]) -> Iterator[Expr[Any]]:
    """Yield an expression and all that it consists of."""
    yield expression
    for part in parts(expression):
        yield from walk(part)


def cells_read(*expressions: Expr[Any]) -> set[str]:
    """Return the names of all cells that the expressions read."""
    return {node.cell.name for expression in expressions for node in walk(expression) if isinstance(node, Read)}


def after(rule: Rule, expression: Expr[Any]) -> Expr[Any]:
    """Return the expression of the state before the step that has the value which `expression` has after it."""
    written = {update.cell: update for update in rule.updates}

    def read(cell: Cell, key: Key) -> Expr[Any]:
        return _after(written[cell], key) if cell in written else Read(cell, key)

    return _rewrite(expression, read, {})


def substituted(expression: Expr[T], bindings: Bindings) -> Expr[T]:
    """Return the expression with other expressions in place of parameters."""
    return _rewrite(expression, Read, bindings)


def read_as(expression: Expr[T], read: Reading) -> Expr[T]:
    """Return the expression with what `read` says in place of each read of a cell."""
    return _rewrite(expression, read, {})


def _after(update: Update, key: Key) -> Expr[Any]:
    """Return what the cell of `update` holds for `key` after the step."""
    pairs = list(zip(update.key, key, strict=True))
    bindings = {written: asked for written, asked in pairs if isinstance(written, Parameter) and _is_bound(written, update)}
    hits = [asked == written for written, asked in pairs if not _is_bound(written, update)]
    value = _rewrite(update.value, Read, bindings)
    if not hits:
        return value
    first, *rest = hits
    for hit in rest:
        first = first & hit
    return Where(first, value, Read(update.cell, key))


def _is_bound(written: Expr[Any], update: Update) -> bool:
    return any(written is bound for bound in update.bound)


def _rewrite(expression: Expr[Any], read: Reading, bindings: Bindings) -> Expr[Any]:
    def inner(part: Expr[Any]) -> Expr[Any]:
        return _rewrite(part, read, bindings)

    match expression:
        case Parameter():
            return bindings.get(expression, expression)
        case Read(cell=cell, key=key):
            return read(cell, tuple(inner(part) for part in key))
        case Equal(left=left, right=right) | And(left=left, right=right) | Or(left=left, right=right):
            return type(expression)(inner(left), inner(right))
        case Not(operand=operand):
            return Not(inner(operand))
        case Where(condition=condition, then=then, otherwise=otherwise):
            return Where(inner(condition), inner(then), inner(otherwise))
        case Every(variable=variable, body=body) | Some(variable=variable, body=body):
            return type(expression)(variable, inner(body))
    return expression
