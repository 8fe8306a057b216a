"""Numbers as SMT-LIB text: those of the receiver wrap around at 64 bits, those of the wire format are unbounded."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from colofd.spec.wire.expressions import Constant, Expression, Name, Operation

BITS: Final = 64
"""Width of an offset, a length and a page size."""


class Traced:
    """What goes through a decision instead of an array. Whatever it does not define would be misread, so it is refused."""

    __array_ufunc__ = None  # An operator between an array and a term is refused, not applied to each element.

    def __bool__(self) -> bool:
        raise TypeError("a traced term has no truth value: use & | ~ and comparisons")

    def __eq__(self, other: object) -> bool:
        raise TypeError("a traced term is compared by <= only")

    __hash__ = object.__hash__


@dataclass(frozen=True, eq=False)
class Truth(Traced):
    """A truth value; `text` is a term of sort Bool."""

    text: str

    def __and__(self, other: object) -> "Truth":
        return Truth(f"(and {self.text} {other.text})") if isinstance(other, Truth) else NotImplemented

    def __or__(self, other: object) -> "Truth":
        return Truth(f"(or {self.text} {other.text})") if isinstance(other, Truth) else NotImplemented

    def __invert__(self) -> "Truth":
        return Truth(f"(not {self.text})")


@dataclass(frozen=True, eq=False)
class Unsigned(Traced):
    """An unsigned number of 64 bits, as an element of an array of np.uint64: sums and differences wrap around.

    It understands more than the decisions use, so that a wrong one is refuted and not only refused.
    """

    text: str

    def __and__(self, other: object) -> "Unsigned":
        return Unsigned(f"(bvand {self.text} {other.text})") if isinstance(other, Unsigned) else NotImplemented

    def __or__(self, other: object) -> "Unsigned":
        return Unsigned(f"(bvor {self.text} {other.text})") if isinstance(other, Unsigned) else NotImplemented

    def __add__(self, other: object) -> "Unsigned":
        return Unsigned(f"(bvadd {self.text} {other.text})") if isinstance(other, Unsigned) else NotImplemented

    def __sub__(self, other: object) -> "Unsigned":
        return Unsigned(f"(bvsub {self.text} {other.text})") if isinstance(other, Unsigned) else NotImplemented

    def __le__(self, other: object) -> Truth:
        return Truth(f"(bvule {self.text} {other.text})") if isinstance(other, Unsigned) else NotImplemented


@dataclass(frozen=True)
class Natural:
    """A natural number below 2**bits; a sum has as many bits as it needs, so nothing ever wraps around."""

    text: str
    bits: int = BITS

    def widened(self, bits: int) -> str:
        """Return the term with this many bits, which are not fewer than it has."""
        return self.text if bits == self.bits else f"((_ zero_extend {bits - self.bits}) {self.text})"


def literal(value: int) -> Natural:
    """Return a natural number as a term."""
    bits = max(1, value.bit_length())
    return Natural(f"(_ bv{value} {bits})", bits)


def condition(expression: Expression, values: Mapping[str, Natural]) -> Truth:
    """Return a condition of a wire table over unbounded numbers; ValueError if it says anything but = and <= of `natural`."""
    match expression:
        case Operation("==" | "<=" as operator, (left, right)):
            first, second = natural(left, values), natural(right, values)
            bits = max(first.bits, second.bits)
            return Truth(f"({'=' if operator == '==' else 'bvule'} {first.widened(bits)} {second.widened(bits)})")
    raise ValueError(f"{expression} is no condition on numbers that is understood here")


def natural(expression: Expression, values: Mapping[str, Natural]) -> Natural:
    """Return a number of a wire table, given its names; `blocks[block]` is the name `length`. ValueError for other operators."""
    match expression:
        case Constant(value=int() as value):
            return literal(value)
        case Name(name=name):
            return values[name]
        case Operation("at", (Name(name="blocks"), Name(name="block"))):
            return values["length"]
        case Operation("+", (left, right)):
            first, second = natural(left, values), natural(right, values)
            bits = max(first.bits, second.bits) + 1
            return Natural(f"(bvadd {first.widened(bits)} {second.widened(bits)})", bits)
        case Operation("%", (left, right)):
            first, second = natural(left, values), natural(right, values)
            bits = max(first.bits, second.bits)
            return Natural(f"(bvurem {first.widened(bits)} {second.widened(bits)})", bits)
    raise ValueError(f"{expression} is no number that is understood here")
