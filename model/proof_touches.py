"""When a step really touches memory: the condition under which a rule reads or writes a cell, from the rule's tree."""

from collections.abc import Iterator
from typing import Any

from colofd.spec.language import Expr, Not, Read, Rule, Update, Where
from colofd.spec.language.expressions import parts

Path = tuple[Expr[bool], ...]
"""Conditions of `where()` that all hold where the touch happens. Variables of quantifiers stand free in them: for any value."""


def touches(rule: Rule, cell: str) -> tuple[Path, ...]:
    """Return for each touch of `cell` in `rule` when it happens, given the guards. A branch that writes the old value back is none."""
    return tuple(_all_touches(rule, cell))


def _all_touches(rule: Rule, cell: str) -> Iterator[Path]:
    for guard in rule.guards:
        yield from _reads(guard, cell, ())
    for update in rule.updates:
        for key in update.key:
            yield from _reads(key, cell, ())
        yield from _touches_of(update, update.value, cell, ())


def _reads(expression: Expr[Any], cell: str, path: Path) -> Iterator[Path]:
    if isinstance(expression, Read) and expression.cell.name == cell:
        yield path
    if isinstance(expression, Where):
        yield from _reads(expression.condition, cell, path)
        yield from _reads(expression.then, cell, (*path, expression.condition))
        yield from _reads(expression.otherwise, cell, (*path, Not(expression.condition)))
        return
    for part in parts(expression):
        yield from _reads(part, cell, path)


def _touches_of(update: Update, value: Expr[Any], cell: str, path: Path) -> Iterator[Path]:
    """Yield the touches of writing `value`, one branch of what `update` writes."""
    if isinstance(value, Where):
        yield from _reads(value.condition, cell, path)
        yield from _touches_of(update, value.then, cell, (*path, value.condition))
        yield from _touches_of(update, value.otherwise, cell, (*path, Not(value.condition)))
    elif not _is_old(update, value):
        if update.cell.name == cell:
            yield path
        yield from _reads(value, cell, path)


def _is_old(update: Update, value: Expr[Any]) -> bool:
    return (
        isinstance(value, Read)
        and value.cell is update.cell
        and all(asked is key for asked, key in zip(value.key, update.key, strict=True))
    )
