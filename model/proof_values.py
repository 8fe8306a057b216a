"""Which values of an enumeration a formula leaves possible, read off its tree: enough to see that two formulas exclude each other."""

import functools
from collections.abc import Sequence
from enum import Enum
from typing import Any

from colofd.spec.language import And, Equal, Expr, Literal, Not, Or, Read, Spec
from colofd.spec.language.cells import Cell


def excludes(spec: Spec, formulas: Sequence[Expr[bool]]) -> bool:
    """Return whether the formulas leave no value for a cell without a key, such as the phase. If not, they may exclude each other still."""
    scalars = [cell for cell in spec.state.cells() if not cell.key and issubclass(cell.to, Enum)]
    return any(not frozenset[Any].intersection(*(possible_values(formula, cell) for formula in formulas)) for cell in scalars)


@functools.lru_cache(maxsize=1024)
def possible_values(formula: Expr[bool], cell: Cell) -> frozenset[Any]:
    """Return the values of `cell` with which `formula` may hold; all of them where the tree does not say."""
    values: frozenset[Any] = frozenset(cell.to.__members__.values())
    match formula:
        case And(left=left, right=right):
            return possible_values(left, cell) & possible_values(right, cell)
        case Or(left=left, right=right):
            return possible_values(left, cell) | possible_values(right, cell)
        case Equal(left=Read(cell=read), right=Literal(value=value)) if read is cell:
            return frozenset({value})
        case Not(operand=Equal(left=Read(cell=read), right=Literal(value=value))) if read is cell:
            return values - {value}
        case Not(operand=Literal(value=True)):
            return frozenset()
    return values
