"""Formulas as text: each is read back as what was written, so that no bracket is missing."""

import re
from collections.abc import Callable
from enum import Enum
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colofd.spec.language import (
    And,
    Constant,
    Equal,
    Every,
    Expr,
    Literal,
    Not,
    Or,
    Parameter,
    Read,
    Some,
    Where,
    every,
    some,
    where,
)
from colofd.spec.language import prose as prose_module
from colofd.spec.language.prose import prose
from colofd.spec.protocol import SPEC
from colofd.spec.state import MAIN, Carried, Channel, Page, Phase, World

Tree = tuple[Any, ...]

S: Final = World(is_read_only=True)
PAGE: Final[Parameter[Page]] = Parameter("page", Page)
COLO, RUNS, DEFERRED = S.colo, S.guest_running, S.deferred
IDLE: Final = S.phase == Phase.IDLE
NO: Final = Literal(value=False, sort=bool)

ALL_FORMULAS: Final = {
    **{f"{rule.id} guard {number}": guard for rule in SPEC.rules for number, guard in enumerate(rule.guards)},
    **{f"{rule.id} to {update.cell.name}": update.value for rule in SPEC.rules for update in rule.updates},
    **{clause.id: clause.formula for clause in (SPEC.initial, *SPEC.clauses)},
}


def tree(expression: Expr[Any]) -> Tree:  # noqa: C901  # one case for each kind of node
    """Return what an expression says: chains of one sign are flat, and a disjunction that begins with a negation is an implication."""
    match expression:
        case Literal(value=Enum() as value):
            return (value.name,)
        case Literal(value=value):
            return ("yes" if value else "no",)
        case Constant(name=name) | Parameter(name=name):
            return (name,)
        case Read(cell=cell, key=key):
            return (cell.name, *map(tree, key))
        case Equal(left=left, right=right):
            return ("=", tree(left), tree(right))
        case Not(operand=Equal(left=left, right=right)):
            return ("≠", tree(left), tree(right))
        case Not(operand=operand):
            return ("¬", tree(operand))
        case Or(left=Not(operand=left), right=right):
            return ("→", tree(left), tree(right))
        case And(left=left, right=right):
            return ("∧", *flat("∧", left), *flat("∧", right))
        case Or(left=left, right=right):
            return ("∨", *flat("∨", left), *flat("∨", right))
        case Where(condition=condition, then=then, otherwise=otherwise):
            return ("if", tree(condition), tree(then), tree(otherwise))
        case Every(variable=variable, body=body):
            return ("∀", variable.name, tree(body))
        case Some(variable=variable, body=body):
            return ("∃", variable.name, tree(body))
    raise AssertionError(expression)


def flat(sign: str, part: Expr[Any]) -> list[Tree]:
    """Return the members of a chain."""
    inner = tree(part)
    return list(inner[1:]) if inner[0] == sign else [inner]


class Parser:
    """Reads the text. ¬ binds closest, then = and ≠; ∧, ∨ and → may not be mixed without brackets; ∀, ∃ and if reach to the end."""

    def __init__(self, text: str) -> None:
        self.left: list[str] = re.findall(r"\w+|[^\s\w]", text)

    def whole(self) -> Tree:
        """Return what the text says; ValueError if it says nothing, or more than one thing."""
        found = self.formula()
        if self.left:
            raise ValueError(f"left over: {' '.join(self.left)}")
        return found

    def formula(self) -> Tree:
        """Read a formula: as far as its signs reach."""
        if self.next in {"∀", "∃"}:
            sign, name, _dot = self.take(), self.take(), self.take(".")
            return (sign, name, self.formula())
        if self.next == "if":
            parts = []
            for word in ("if", "then", "else"):
                self.take(word)
                parts.append(self.formula())
            return ("if", *parts)
        members, signs = [self.comparison()], []
        while self.next in {"∧", "∨", "→"}:
            signs.append(self.take())
            members.append(self.comparison())
        if len(set(signs)) > 1 or signs.count("→") > 1:
            raise ValueError(f"without brackets: {' '.join(signs)}")
        return (signs[0], *members) if signs else members[0]

    def comparison(self) -> Tree:
        """Read a comparison, or what could be one side of it."""
        left = self.operand()
        if self.next not in {"=", "≠"}:
            return left
        sign = self.take()
        return (sign, left, self.operand())

    def operand(self) -> Tree:
        """Read what needs no brackets under any sign."""
        if self.next == "¬":
            return (self.take(), self.operand())
        if self.next == "(":
            self.take()
            inner = self.formula()
            self.take(")")
            return inner
        name = self.take()
        if not name.isidentifier() or name in {"if", "then", "else"}:
            raise ValueError(f"{name} is no name")
        return (name, *self.key())

    def key(self) -> list[Tree]:
        """Read the key of a cell, if there is one."""
        parts: list[Tree] = []
        while self.next in {"[", ","} and (self.next == "[") == (not parts):
            self.take()
            parts.append(self.formula())
        if parts:
            self.take("]")
        return parts

    @property
    def next(self) -> str:
        """The next word or sign; empty at the end."""
        return self.left[0] if self.left else ""

    def take(self, wanted: str = "") -> str:
        """Return and remove the next word or sign."""
        if not self.left or (wanted and self.left[0] != wanted):
            raise ValueError(f"{wanted or 'something'} expected before {' '.join(self.left)}")
        return self.left.pop(0)


@pytest.mark.parametrize("name", ALL_FORMULAS)
def test_a_formula_of_the_spec_is_read_back(name: str) -> None:
    """Given a guard, an update or a clause, when its text is read, then it is the formula."""
    text = prose(ALL_FORMULAS[name])
    assert Parser(text).whole() == tree(ALL_FORMULAS[name]), text
    assert "\n" not in text


LEAVES: Final[list[Expr[bool]]] = [COLO, RUNS, IDLE, S.unsent[PAGE], S.packet[MAIN, PAGE] == Carried.ZERO, Literal(value=True, sort=bool)]


def _larger(inner: st.SearchStrategy[Expr[bool]]) -> st.SearchStrategy[Expr[bool]]:
    makers: list[Callable[[Expr[bool], Expr[bool]], Expr[bool]]] = [
        lambda a, b: a & b,
        lambda a, b: a | b,
        lambda a, b: a >> b,
        lambda a, b: a == b,
        lambda a, b: a != b,
        lambda a, b: where(a, b, a),
    ]
    pairs = [st.builds(make, inner, inner) for make in makers]
    ones = [inner.map(lambda a: ~a), inner.map(lambda a: every(Page)(lambda _q: a)), inner.map(lambda a: some(Channel)(lambda _c: a))]
    return st.one_of(*pairs, *ones)


FORMULAS: Final = st.recursive(st.sampled_from(LEAVES), _larger, max_leaves=8)


@settings(max_examples=500)
@given(FORMULAS)
def test_any_formula_is_read_back(formula: Expr[bool]) -> None:
    """Given any formula, when its text is read, then it is the formula."""
    assert Parser(prose(formula)).whole() == tree(formula), prose(formula)


@pytest.mark.parametrize(
    ("formula", "text"),
    [
        (~(COLO & RUNS), "¬(colo ∧ guest_running)"),
        (COLO >> (RUNS | DEFERRED), "colo → (guest_running ∨ deferred)"),
        ((COLO >> RUNS) & DEFERRED, "(colo → guest_running) ∧ deferred"),
        ((COLO & RUNS) | DEFERRED, "(colo ∧ guest_running) ∨ deferred"),
        (COLO & RUNS & DEFERRED, "colo ∧ guest_running ∧ deferred"),
        (COLO & (RUNS & DEFERRED), "colo ∧ guest_running ∧ deferred"),
        ((COLO >> RUNS) | DEFERRED, "(colo → guest_running) ∨ deferred"),
        (COLO >> (RUNS >> DEFERRED), "colo → (guest_running → deferred)"),
        (~COLO & IDLE, "¬colo ∧ phase = IDLE"),
        (~IDLE, "phase ≠ IDLE"),
        (~~IDLE, "¬(phase ≠ IDLE)"),
        ((S.phase != Phase.IDLE) == COLO, "(phase ≠ IDLE) = colo"),
        (every(Page)(lambda q: ~S.unsent[q]) & COLO, "(∀q. ¬unsent[q]) ∧ colo"),
        (every(Page)(lambda q: ~S.unsent[q] & COLO), "∀q. ¬unsent[q] ∧ colo"),
        (~some(Channel)(lambda c: S.packet[c, PAGE] == Carried.ZERO), "¬(∃c. packet[c, page] = ZERO)"),
        (where(COLO, S.cache[PAGE], S.guest[PAGE]) == S.primary[PAGE], "(if colo then cache[page] else guest[page]) = primary[page]"),
        (where(COLO, NO, IDLE), "if colo then no else phase = IDLE"),
    ],
)
def test_the_text_of_a_formula(formula: Expr[bool], text: str) -> None:
    """Given a formula, then its text has brackets where it would be misread, and nowhere else."""
    assert prose(formula) == text


@pytest.mark.parametrize(
    "text", ["a ∧ b ∨ c", "a → b → c", "a ∧ b → c", "a = b = c", "¬", "(a", "a b", "if a then b", "∀q a", "a[b", "a ∧ if b"]
)
def test_a_text_that_can_be_misread_is_refused(text: str) -> None:
    """Control: given a text without the brackets that it needs, or no text at all, then it cannot be read."""
    with pytest.raises(ValueError, match=r"brackets|expected|left over|no name"):
        Parser(text).whole()


@pytest.mark.parametrize("formula", [~(COLO & RUNS), (COLO >> RUNS) & DEFERRED, every(Page)(lambda _q: COLO) & RUNS, ~~IDLE])
def test_missing_brackets_are_found(formula: Expr[bool], monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: given a writer that never uses brackets, then what is read is not the formula."""
    monkeypatch.setattr(prose_module, "_tight", lambda expression, _inside=None: prose(expression))
    try:
        found = Parser(prose(formula)).whole()
    except ValueError:
        return
    assert found != tree(formula)
