"""Cells of the state: what a rule may read and write."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from types import FunctionType
from typing import Any, Generic, Self, TypeVar, overload

from colofd.spec.language.expressions import Expr, Parameter, Read, Sort, SpecError, condition, lift

T = TypeVar("T")
K = TypeVar("K")
K1 = TypeVar("K1")
K2 = TypeVar("K2")


@dataclass(frozen=True, eq=False)
class Update:
    """One write of a step: `cell[key] := value`, for all values of the `bound` parameters in the key."""

    cell: "Cell"
    key: tuple[Expr[Any], ...]
    bound: tuple[Parameter[Any], ...]
    value: Expr[Any]


class Cell:
    """A named part of the state: a function from the `key` sorts to the sort `to`.

    A ghost is there for the claims only: no rule may let it decide anything but ghosts (model/proof_gates.py).
    """

    name: str
    doc: str

    def __init__(self, *key: Sort, to: Sort, doc: str = "", is_ghost: bool = False) -> None:
        self.key = key
        self.to = to
        self.doc = doc
        self.is_ghost = is_ghost

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name


class State:
    """Base class of a state. A subclass declares cells; an instance is what a rule is traced on."""

    def __init__(self, *, is_read_only: bool = False) -> None:
        object.__setattr__(self, "_is_read_only", is_read_only)
        object.__setattr__(self, "_guards", [])
        object.__setattr__(self, "_updates", [])

    @classmethod
    def cells(cls) -> tuple[Cell, ...]:
        """Return all cells in the order of their declaration."""
        return tuple(cell for owner in reversed(cls.__mro__) for cell in vars(owner).values() if isinstance(cell, Cell))

    def when(self, *guards: Expr[bool]) -> None:
        """Add guards: the step may be taken only where all of them hold."""
        if self._is_read_only:
            raise SpecError("a clause has no guards")
        recorded: list[Expr[bool]] = self._guards
        recorded.extend(condition(guard) for guard in guards)

    def __getattr__(self, name: str) -> Any:  # only reached for names that do not exist
        if name.startswith("__"):
            raise AttributeError(name)
        raise SpecError(f"no cell {name!r} in {type(self).__name__}")

    def __setattr__(self, name: str, value: object) -> None:
        if not isinstance(inspect.getattr_static(type(self), name, None), Cell):
            raise SpecError(f"no cell {name!r} in {type(self).__name__}")
        object.__setattr__(self, name, value)

    def _read(self, cell: Cell, key: tuple[Expr[Any], ...]) -> Expr[Any]:
        if any(update.cell is cell for update in self._updates):
            raise SpecError(f"{cell.name} is read below the line that writes it: a step reads what was there before, so read first")
        return Read(cell, key)

    def _write(self, cell: Cell, key: tuple[Expr[Any], ...], bound: tuple[Parameter[Any], ...], value: object) -> None:
        if self._is_read_only:
            raise SpecError("a clause writes nothing")
        recorded: list[Update] = self._updates
        if any(update.cell is cell for update in recorded):
            raise SpecError(f"{cell.name} is written twice in one step")
        recorded.append(Update(cell, key, bound, lift(value, cell.to)))


class Scalar(Cell, Generic[T]):
    """A cell without a key."""

    def __init__(self, to: type[T], doc: str, *, is_ghost: bool = False) -> None:
        super().__init__(to=to, doc=doc, is_ghost=is_ghost)

    @overload
    def __get__(self, state: None, owner: type) -> Self: ...
    @overload
    def __get__(self, state: State, owner: type) -> Expr[T]: ...
    def __get__(self, state: State | None, owner: type) -> Self | Expr[T]:
        return self if state is None else state._read(self, ())  # noqa: SLF001  # cells and their state are one mechanism

    def __set__(self, state: State, value: Expr[T] | T) -> None:
        state._write(self, (), (), value)  # noqa: SLF001  # likewise


class Map(Cell, Generic[K, T]):
    """A cell with one key, such as `guest[page]`."""

    def __init__(self, key: type[K], to: type[T], doc: str, *, is_ghost: bool = False) -> None:
        super().__init__(key, to=to, doc=doc, is_ghost=is_ghost)

    @overload
    def __get__(self, state: None, owner: type) -> Self: ...
    @overload
    def __get__(self, state: State, owner: type) -> "MapOf[K, T]": ...
    def __get__(self, state: State | None, owner: type) -> "Self | MapOf[K, T]":
        return self if state is None else MapOf(self, state)

    def __set__(self, state: State, value: object) -> None:
        raise SpecError(f"{self.name} has a key: write {self.name}[key] or {self.name}[:]")


class Relation(Cell, Generic[K1, K2, T]):
    """A cell with two keys, such as `packet[channel, page]`."""

    def __init__(self, first: type[K1], second: type[K2], to: type[T], doc: str, *, is_ghost: bool = False) -> None:
        super().__init__(first, second, to=to, doc=doc, is_ghost=is_ghost)

    @overload
    def __get__(self, state: None, owner: type) -> Self: ...
    @overload
    def __get__(self, state: State, owner: type) -> "RelationOf[K1, K2, T]": ...
    def __get__(self, state: State | None, owner: type) -> "Self | RelationOf[K1, K2, T]":
        return self if state is None else RelationOf(self, state)

    def __set__(self, state: State, value: object) -> None:
        raise SpecError(f"{self.name} has keys: write {self.name}[first, second]")


@dataclass(frozen=True)
class MapOf(Generic[K, T]):
    """A `Map` of one traced state."""

    cell: Map[K, T]
    state: State

    def __getitem__(self, key: Expr[K] | K) -> Expr[T]:
        return self.state._read(self.cell, (lift(key, self.cell.key[0]),))  # noqa: SLF001  # as in Scalar

    @overload
    def __setitem__(self, key: Expr[K], value: Expr[T] | T) -> None: ...
    @overload
    def __setitem__(self, key: slice, value: Callable[[Expr[K]], Expr[T] | T] | T) -> None: ...
    def __setitem__(self, key: Expr[K] | slice, value: Callable[[Expr[K]], Expr[T] | T] | Expr[T] | T) -> None:
        if not isinstance(key, slice):
            self.state._write(self.cell, (lift(key, self.cell.key[0]),), (), value)  # noqa: SLF001  # as in Scalar
            return
        if not all(end is None for end in (key.start, key.stop, key.step)):
            raise SpecError(f"{self.cell.name} is written for one key, or as {self.cell.name}[:] for all")
        variable: Parameter[K] = Parameter(_variable_name(value), self.cell.key[0])
        content = value(variable) if isinstance(value, FunctionType) else value
        self.state._write(self.cell, (variable,), (variable,), content)  # noqa: SLF001  # as in Scalar


@dataclass(frozen=True)
class RelationOf(Generic[K1, K2, T]):
    """A `Relation` of one traced state."""

    cell: Relation[K1, K2, T]
    state: State

    def __getitem__(self, key: tuple[Expr[K1], Expr[K2]]) -> Expr[T]:
        return self.state._read(self.cell, self._lifted(key))  # noqa: SLF001  # as in Scalar

    def __setitem__(self, key: tuple[Expr[K1], Expr[K2]], value: Expr[T] | T) -> None:
        self.state._write(self.cell, self._lifted(key), (), value)  # noqa: SLF001  # as in Scalar

    def _lifted(self, key: object) -> tuple[Expr[Any], ...]:
        if not isinstance(key, tuple) or len(key) != len(self.cell.key):
            raise SpecError(f"{self.cell.name} has {len(self.cell.key)} keys")
        return tuple(lift(part, sort) for part, sort in zip(key, self.cell.key, strict=True))


def _variable_name(value: object) -> str:
    return next(iter(inspect.signature(value).parameters)) if isinstance(value, FunctionType) else "every"
