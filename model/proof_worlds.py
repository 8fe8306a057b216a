"""Two runs side by side: a second copy of the state, and claims about both copies at once."""

from typing import Any, Final, TypeVar

from colofd.model.proof_obligations import Obligation, TextObligation
from colofd.model.proof_trees import Key, read_as
from colofd.model.smtlib import Writer
from colofd.spec.language import Expr, Read, Spec, State
from colofd.spec.language.cells import Cell

T = TypeVar("T")

_OTHER: Final = "other_"
"""What the names of the second copy begin with."""


class Worlds:
    """The state of a specification, twice. Nothing relates the two copies but what an obligation assumes of both."""

    def __init__(self, spec: Spec) -> None:
        self._other = {cell: Cell(*cell.key, to=cell.to, doc=cell.doc) for cell in spec.state.cells()}
        state: type[State] = type("Worlds", (spec.state,), {f"{_OTHER}{cell.name}": other for cell, other in self._other.items()})
        self._writer = Writer(Spec(state, spec.initial, spec.rules, spec.clauses))

    def other(self, expression: Expr[T]) -> Expr[T]:
        """Return the expression, said of the second copy."""
        return read_as(expression, self._read)

    def agree(self, expression: Expr[Any]) -> Expr[bool]:
        """Return whether the expression has the same value in both copies."""
        return expression == self.other(expression)

    def text(self, obligation: Obligation) -> TextObligation:
        """Return the obligation as a whole text, in which both copies are declared."""
        return TextObligation(obligation.name, obligation.kind, self._writer.text(obligation), obligation.expected)

    def _read(self, cell: Cell, key: Key) -> Expr[Any]:
        return Read(self._other[cell], key)
