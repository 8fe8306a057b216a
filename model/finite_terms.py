"""Formulas about one finite instance: quantifiers unrolled, keys gone, equal parts shared.

A truth is `TRUE`, `FALSE`, a test of a slot, or made of these; a value is a number, a slot, or a choice.
"""

from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True, eq=False)
class Term:
    """A node; two nodes that say the same are one object, so it is compared by identity."""


@dataclass(frozen=True, eq=False)
class Truth(Term):
    """`TRUE` or `FALSE`."""

    holds: bool


@dataclass(frozen=True, eq=False)
class Number(Term):
    """A value: the number of a page, channel, page value, or member of an enumeration."""

    value: int


@dataclass(frozen=True, eq=False)
class Slot(Term):
    """What a slot holds; of a slot of truths it is the truth."""

    slot: int


@dataclass(frozen=True, eq=False)
class Holds(Term):
    """A slot holds this value; of a slot of truths it says whether it is `yes` (1)."""

    slot: int
    value: int


@dataclass(frozen=True, eq=False)
class Same(Term):
    """Two slots hold the same value."""

    left: int
    right: int


@dataclass(frozen=True, eq=False)
class Both(Term):
    """Both truths hold."""

    left: Term
    right: Term


@dataclass(frozen=True, eq=False)
class Either(Term):
    """At least one truth holds."""

    left: Term
    right: Term


@dataclass(frozen=True, eq=False)
class Negation(Term):
    """The truth does not hold."""

    operand: Term


@dataclass(frozen=True, eq=False)
class Choice(Term):
    """The value `then` where the condition holds, `otherwise` elsewhere."""

    condition: Term
    then: Term
    otherwise: Term


TRUE: Final = Truth(True)
FALSE: Final = Truth(False)


def parts(term: Term) -> tuple[Term, ...]:
    """Return the direct parts of a term."""
    match term:
        case Both(left=left, right=right) | Either(left=left, right=right):
            return (left, right)
        case Negation(operand=operand):
            return (operand,)
        case Choice(condition=condition, then=then, otherwise=otherwise):
            return (condition, then, otherwise)
    return ()


class Terms:
    """Makes terms, simplified, each only once."""

    def __init__(self) -> None:
        self._made: dict[tuple[Any, ...], Term] = {}

    def _once(self, kind: type[Term], *arguments: Any) -> Term:
        key = (kind, *arguments)
        if key not in self._made:
            self._made[key] = kind(*arguments)
        return self._made[key]

    def number(self, value: int) -> Term:
        """Return a value that does not depend on the state."""
        return self._once(Number, value)

    def slot(self, slot: int) -> Term:
        """Return the value of a slot."""
        return self._once(Slot, slot)

    def holds(self, slot: int, value: int) -> Term:
        """Return whether a slot holds a value."""
        return self._once(Holds, slot, value)

    def equal(self, left: Term, right: Term) -> Term:
        """Return whether two values are the same."""
        for one, other in ((left, right), (right, left)):
            if isinstance(one, Choice):
                return self.where(one.condition, self.equal(one.then, other), self.equal(one.otherwise, other))
        match left, right:
            case Number(value=first), Number(value=second):
                return TRUE if first == second else FALSE
            case (Slot(slot=slot), Number(value=value)) | (Number(value=value), Slot(slot=slot)):
                return self.holds(slot, value)
            case Slot(slot=first), Slot(slot=second):
                return TRUE if first == second else self._once(Same, min(first, second), max(first, second))
        raise AssertionError((left, right))

    def both(self, left: Term, right: Term) -> Term:
        """Return the truth that both truths hold."""
        if left is FALSE or right is FALSE or left is self.negation(right):
            return FALSE
        if left is TRUE or left is right:
            return right
        return left if right is TRUE else self._once(Both, left, right)

    def either(self, left: Term, right: Term) -> Term:
        """Return the truth that at least one truth holds."""
        if left is TRUE or right is TRUE or left is self.negation(right):
            return TRUE
        if left is FALSE or left is right:
            return right
        return left if right is FALSE else self._once(Either, left, right)

    def negation(self, operand: Term) -> Term:
        """Return the truth that a truth does not hold."""
        match operand:
            case Truth(holds=holds):
                return FALSE if holds else TRUE
            case Negation(operand=inner):
                return inner
        return self._once(Negation, operand)

    def where(self, condition: Term, then: Term, otherwise: Term) -> Term:
        """Return one truth where the condition holds, and another elsewhere."""
        return self.either(self.both(condition, then), self.both(self.negation(condition), otherwise))

    def choice(self, condition: Term, then: Term, otherwise: Term) -> Term:
        """Return one value where the condition holds, and another elsewhere."""
        if isinstance(condition, Truth):
            return then if condition.holds else otherwise
        return then if then is otherwise else self._once(Choice, condition, then, otherwise)

    def all(self, truths: list[Term]) -> Term:
        """Return the truth that all of them hold."""
        result: Term = TRUE
        for truth in truths:
            result = self.both(result, truth)
        return result

    def any(self, truths: list[Term]) -> Term:
        """Return the truth that some of them holds."""
        result: Term = FALSE
        for truth in truths:
            result = self.either(result, truth)
        return result


def evaluate(term: Term, state: tuple[int, ...]) -> int:
    """Return the value of a term in one state (a truth is 0 or 1): the plain reading, which the fast one is compared with."""
    match term:
        case Truth(holds=holds):
            return int(holds)
        case Number(value=value):
            return value
        case Slot(slot=slot):
            return state[slot]
        case Holds(slot=slot, value=value):
            return int(state[slot] == value)
        case Same(left=one, right=two):
            return int(state[one] == state[two])
        case Both(left=left, right=right):
            return evaluate(left, state) and evaluate(right, state)
        case Either(left=left, right=right):
            return evaluate(left, state) or evaluate(right, state)
        case Negation(operand=operand):
            return 1 - evaluate(operand, state)
        case Choice(condition=condition, then=then, otherwise=otherwise):
            return evaluate(then if evaluate(condition, state) else otherwise, state)
    raise AssertionError(term)
