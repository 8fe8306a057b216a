"""Small expressions over names: the conditions and the lengths of the wire tables.

An expression is data. It can be evaluated (`Expression.evaluate`), printed (`str`) and asked for its names; it is never a Python
function, so that the same object is the check, the text in the documentation and a part of the hash of the spec.

Comparisons give 1 or 0. `&` and `|` work on bits, and therefore also on the results of comparisons.
"""

import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeAlias

Value: TypeAlias = int | str | bytes | tuple["Value", ...] | Mapping[str, int]
"""What a name may stand for: a number, a text, bytes, an array, or the lengths of the RAM blocks by name."""

_PRINTED_AS_DECIMAL: Final = 10000


class Expression(ABC):
    """A term over names and constants; build it with operators and the methods below."""

    @abstractmethod
    def evaluate(self, values: Mapping[str, Value]) -> Value:
        """Return the value of this expression, given the values of its names. An unknown name raises KeyError."""

    def names(self) -> frozenset[str]:
        """Return the names that occur in this expression."""
        return frozenset()

    def __and__(self, other: "Operand") -> "Operation":
        return Operation("&", (self, term(other)))

    def __or__(self, other: "Operand") -> "Operation":
        return Operation("|", (self, term(other)))

    def __xor__(self, other: "Operand") -> "Operation":
        return Operation("^", (self, term(other)))

    def __add__(self, other: "Operand") -> "Operation":
        return Operation("+", (self, term(other)))

    def __sub__(self, other: "Operand") -> "Operation":
        return Operation("-", (self, term(other)))

    def __mul__(self, other: "Operand") -> "Operation":
        return Operation("*", (self, term(other)))

    def __floordiv__(self, other: "Operand") -> "Operation":
        return Operation("//", (self, term(other)))

    def __mod__(self, other: "Operand") -> "Operation":
        return Operation("%", (self, term(other)))

    def __le__(self, other: "Operand") -> "Operation":
        return Operation("<=", (self, term(other)))

    def __lt__(self, other: "Operand") -> "Operation":
        return Operation("<", (self, term(other)))

    def equals(self, other: "Operand") -> "Operation":
        """1 if both are equal. A method, since `==` compares the expressions themselves."""
        return Operation("==", (self, term(other)))

    def differs(self, other: "Operand") -> "Operation":
        """1 if they are not equal."""
        return Operation("!=", (self, term(other)))

    def among(self, group: "Operand") -> "Operation":
        """1 if this is an element of an array, or the name of one of the RAM blocks."""
        return Operation("in", (self, term(group)))

    def not_among(self, group: "Operand") -> "Operation":
        """The opposite of `among`."""
        return Operation("not in", (self, term(group)))

    def at(self, key: "Operand") -> "Operation":
        """The value that belongs to `key` in this table (pairs or RAM block lengths); 0 if there is none."""
        return Operation("at", (self, term(key)))

    def element(self, index: "Operand") -> "Operation":
        """The element `index` of this array."""
        return Operation("element", (self, term(index)))

    def slice(self, start: "Operand", stop: "Operand") -> "Operation":
        """The elements of this array from `start` up to but not including `stop`."""
        return Operation("slice", (self, term(start), term(stop)))

    def length(self) -> "Operation":
        """The number of elements, characters or bytes."""
        return Operation("length", (self,))


Operand: TypeAlias = Expression | int | str | bytes | tuple[Value, ...]


@dataclass(frozen=True)
class Name(Expression):
    """A field read before, a part of one, or a name of the context."""

    name: str

    def evaluate(self, values: Mapping[str, Value]) -> Value:
        """Return the value of the name."""
        return values[self.name]

    def names(self) -> frozenset[str]:
        """Return this name."""
        return frozenset({self.name})

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Constant(Expression):
    """A fixed value."""

    value: int | str | bytes | tuple[Value, ...]

    def evaluate(self, values: Mapping[str, Value]) -> Value:  # noqa: ARG002  # the same signature for all expressions
        """Return the value."""
        return self.value

    def __str__(self) -> str:
        return show(self.value)


@dataclass(frozen=True)
class Operation(Expression):
    """An operator and its operands."""

    operator: str
    operands: tuple[Expression, ...]

    def evaluate(self, values: Mapping[str, Value]) -> Value:
        """Apply the operator to the values of the operands."""
        return _OPERATIONS[self.operator](*(operand.evaluate(values) for operand in self.operands))

    def names(self) -> frozenset[str]:
        """Return the names in all operands."""
        return frozenset().union(*(operand.names() for operand in self.operands))

    def __str__(self) -> str:
        shown = [f"({operand})" if _is_infix(operand) else str(operand) for operand in self.operands]
        match self.operator:
            case "length":
                return f"length({self.operands[0]})"
            case "at" | "element":
                return f"{shown[0]}[{self.operands[1]}]"
            case "slice":
                return f"{shown[0]}[{self.operands[1]}:{self.operands[2]}]"
            case _:
                return f" {self.operator} ".join(shown)


def term(operand: Operand) -> Expression:
    """Return `operand` as an expression."""
    return operand if isinstance(operand, Expression) else Constant(operand)


def show(value: Value) -> str:
    """Return a value as text for people: large numbers in hexadecimal, long things cut."""
    match value:
        case Enum() if value.name is not None:
            return value.name
        case int():
            return str(int(value)) if 0 <= value < _PRINTED_AS_DECIMAL else hex(value)
        case str():
            return repr(value)
        case bytes():
            return value.hex() or "no bytes"
        case tuple():
            return "(" + ", ".join(show(part) for part in value[:16]) + (", ..." if len(value) > 16 else "") + ")"
        case _:
            return "{" + ", ".join(f"{name}: {show(length)}" for name, length in value.items()) + "}"


def _is_infix(expression: Expression) -> bool:
    return isinstance(expression, Operation) and expression.operator not in {"length", "at", "element", "slice"}


def _integer(value: Value) -> int:
    if not isinstance(value, int):
        raise TypeError(f"{show(value)} is not a number")
    return value


def _numeric(function: Callable[[int, int], int]) -> Callable[..., Value]:
    return lambda left, right: int(function(_integer(left), _integer(right)))


def _contains(element: Value, group: Value) -> int:
    if isinstance(group, tuple):
        return int(element in group)
    if isinstance(group, Mapping):
        return int(isinstance(element, str) and element in group)
    raise TypeError(f"{show(group)} has no elements")


def _at(table: Value, key: Value) -> Value:
    if isinstance(table, Mapping):
        return table.get(key, 0) if isinstance(key, str) else 0
    if isinstance(table, tuple):
        return next((pair[1] for pair in table if isinstance(pair, tuple) and pair[0] == key), 0)
    raise TypeError(f"{show(table)} is not a table")


def _element(array: Value, index: Value) -> Value:
    if not isinstance(array, tuple):
        raise TypeError(f"{show(array)} is not an array")
    return array[_integer(index)]


def _slice(array: Value, start: Value, stop: Value) -> Value:
    if not isinstance(array, tuple):
        raise TypeError(f"{show(array)} is not an array")
    return array[_integer(start) : _integer(stop)]


def _length(value: Value) -> int:
    if isinstance(value, int):
        raise TypeError(f"{value} has no length")
    return len(value)


_OPERATIONS: Final[Mapping[str, Callable[..., Value]]] = {
    "&": _numeric(operator.and_),
    "|": _numeric(operator.or_),
    "^": _numeric(operator.xor),
    "+": _numeric(operator.add),
    "-": _numeric(operator.sub),
    "*": _numeric(operator.mul),
    "//": _numeric(operator.floordiv),
    "%": _numeric(operator.mod),
    "<=": _numeric(operator.le),
    "<": _numeric(operator.lt),
    "==": lambda left, right: int(left == right),
    "!=": lambda left, right: int(left != right),
    "in": _contains,
    "not in": lambda element, group: 1 - _contains(element, group),
    "at": _at,
    "element": _element,
    "slice": _slice,
    "length": _length,
}
