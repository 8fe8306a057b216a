"""The expressions of the wire tables as Python functions: the same values as `Expression.evaluate`, several times as fast.

Both readings are compared on whatever a decoder asks, for every wire case (`tests/model/test_compiled_expressions.py`).
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from colofd.spec.wire.expressions import Constant, Expression, Name, Operation, Value
from colofd.spec.wire.fields import OPTIONAL_NAMES, Check

Evaluate: TypeAlias = Callable[[Mapping[str, Value]], Value]

_INFIX: Final = frozenset({"&", "|", "^", "+", "-", "*", "//", "%", "<=", "<", "==", "!=", "in", "not in"})
_KEPT: Final[dict[int, tuple[object, Any]]] = {}
"""By the identity of an expression or a check, which is kept so that no other one gets it."""


def value_of(expression: Expression) -> Evaluate:
    """Return a function that gives the value of an expression, which has the right types; comparisons may give a bool."""
    kept = _KEPT.get(id(expression))
    if kept is None:
        constants: list[Any] = []
        source = _source(expression, constants)
        names = {f"k{number}": constant for number, constant in enumerate(constants)}
        # The source is made of the names and constants of our own tables.
        kept = _KEPT[id(expression)] = expression, eval(f"lambda v: {source}", {"at": _at, **names})  # noqa: S307  # see above
    evaluate: Evaluate = kept[1]
    return evaluate


def condition_of(check: Check) -> tuple[frozenset[str], Evaluate]:
    """Return the names in the condition of a check that a reader may not have, and a function that gives its value."""
    kept = _KEPT.get(id(check))
    if kept is None:
        kept = _KEPT[id(check)] = check, (check.condition.names() & OPTIONAL_NAMES, value_of(check.condition))
    condition: tuple[frozenset[str], Evaluate] = kept[1]
    return condition


def _source(expression: Expression, constants: list[Any]) -> str:
    match expression:
        case Name(name=name):
            return f"v[{name!r}]"
        case Constant(value=value):
            return _constant(value, constants)
        case Operation(operator=operator, operands=operands):
            parts = [_source(operand, constants) for operand in operands]
            if operator in _INFIX:
                return f"({parts[0]} {operator} {parts[1]})"
            return {
                "at": "at({0}, {1})",
                "element": "{0}[{1}]",
                "slice": "{0}[{1}:{2}]",
                "length": "len({0})",
            }[operator].format(*parts)
    raise TypeError(f"{expression!r} is of no known kind")


def _constant(value: object, constants: list[Any]) -> str:
    if isinstance(value, int):
        # Plain: the operators of an IntFlag are slow.
        return str(int(value))
    constants.append(value)
    return f"k{len(constants) - 1}"


def _at(table: Any, key: object) -> object:
    if isinstance(table, tuple):
        return next((value for name, value in table if name == key), 0)
    return table.get(key, 0)
