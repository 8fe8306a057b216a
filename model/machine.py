"""The reference model: executes the spec, step by step, on real page contents. Slow and obvious.

A cell is an array over its keys, an expression is evaluated by walking its tree, and a page's content
is a number in a table. A rule with a page may be fired for many pages at once if that cannot be told
from firing it page by page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from colofd.model.contents import Contents
from colofd.model.premises import premise
from colofd.spec.both_sides import DeviceState
from colofd.spec.language import And, Clause, Constant, Equal, Every, Expr, Literal, Not, Or, Parameter, Read, Rule, Some, Sort, Spec, Where
from colofd.spec.language.cells import Cell
from colofd.spec.language.prose import prose
from colofd.spec.protocol import SPEC
from colofd.spec.state import Channel, Page, Phase, Value

Array = npt.NDArray[Any]
Environment = Mapping[Parameter[Any], Array]

DEVICE_STATES = 2
"""Different device states of a finite machine."""

MAIN_NUMBER = 0
"""Number of the main channel; multifd channel N has number N + 1."""

_PHASES = tuple(Phase)

NO_OTHERS: Mapping[Sort, int] = {}
"""Of rules that have neither a device state nor a message."""


class NotEnabled(Exception):  # noqa: N818  # says what is the case
    """A rule was asked for in a state that does not allow it. `guard` is the text of the guard that fails."""

    def __init__(self, rule: str, guard: str, pages: Sequence[int] = ()) -> None:
        self.rule = rule
        self.guard = guard
        where = f" (pages {', '.join(map(str, pages[:8]))})" if pages else ""
        super().__init__(f"{rule} is not enabled: {guard} does not hold{where}")


class Machine:
    """One destination, its peer and its guest, as the spec has them.

    Args:
        pages: number of pages of all RAM blocks together, numbered block after block.
        channels: number of multifd channels.
        colo: the capability x-colo.
        deferred: the legal choice `deferred` of the receiver.
        page_size: bytes of a page.
        guest: what guest RAM holds before anything arrives; zeros if not given. Only with COLO may it be anything else.
        spec: the specification to execute: the receive path, or both sides. Every device state can be loaded.
    """

    def __init__(
        self,
        pages: int,
        channels: int,
        *,
        colo: bool,
        deferred: bool = False,
        page_size: int,
        guest: bytes | None = None,
        spec: Spec = SPEC,
    ) -> None:
        self.spec = spec
        self.contents = Contents(page_size)
        self.sizes: dict[Sort, int] = {Page: pages, Channel: channels + 1, DeviceState: DEVICE_STATES}
        self.cells: dict[str, Array] = {cell.name: self._fresh(cell) for cell in spec.state.cells()}
        self.steps = 0
        self._set("colo", colo)
        self._set("deferred", deferred)
        self.cells["unsent"][:] = True
        if "is_loadable" in self.cells:
            self.cells["is_loadable"][:] = True
        if guest is not None:
            chunks = (guest[at : at + page_size] for at in range(0, len(guest), page_size))
            self.cells["guest"][:] = self.cells["survivor"][:] = [self.contents.number(chunk) for chunk in chunks]
        if not self._evaluate(spec.initial.formula, {}, 0):
            raise ValueError("these are no initial values: without COLO, guest RAM must be zeros")

    def _fresh(self, cell: Cell) -> Array:
        # The first member of an enumeration, no, and zero are what the initial states want.
        shape = tuple(self._size(sort) for sort in cell.key)
        return np.zeros(shape, np.bool_ if cell.to is bool else np.int64)

    def _size(self, sort: Sort) -> int:
        return len(sort) if issubclass(sort, Enum) else self.sizes[sort]

    def _set(self, name: str, value: object) -> None:
        self.cells[name][()] = value

    @property
    def phase(self) -> Phase:
        """The phase that the destination is in."""
        return _PHASES[int(self.cells["phase"])]

    def numbers(self, pages: Sequence[bytes]) -> Array:
        """Return the numbers of page contents, to be used as `values`."""
        return np.array([self.contents.number(page) for page in pages], np.int64)

    def why_not(
        self,
        identifier: str,
        *,
        channel: int = MAIN_NUMBER,
        pages: Sequence[int] = (),
        values: Sequence[int] = (),
        others: Mapping[Sort, int] = NO_OTHERS,
    ) -> NotEnabled | None:
        """Return None if the rule is enabled now, for each of the pages alone, else the first guard that fails."""
        rule = self.spec.rule(identifier)
        try:
            self._enabled(rule, _environment(rule, channel, pages, values, others), pages)
        except NotEnabled as refusal:
            return refusal
        return None

    def fire(
        self,
        identifier: str,
        *,
        channel: int = MAIN_NUMBER,
        pages: Sequence[int] = (),
        values: Sequence[int] | Array = (),
        others: Mapping[Sort, int] = NO_OTHERS,
    ) -> None:
        """Take one step, or one step for each page (none for no pages). NotEnabled if a guard fails for any; then nothing has changed.

        Args:
            identifier: id of the rule.
            channel: number of the channel, for rules that have one.
            pages: page numbers, for rules that have a page: one step each.
            values: numbers of contents, one for each page, for rules that have a value.
            others: the number of the device state or of the message, for rules that have one.
        """
        rule = self.spec.rule(identifier)
        if not pages and any(parameter.sort is Page for parameter in rule.parameters):
            return
        if len(pages) > 1 and (not is_pagewise(rule) or len(set(pages)) < len(pages)):
            self._fire_one_by_one(identifier, channel, pages, values)
            return
        environment = _environment(rule, channel, pages, values, others)
        self._enabled(rule, environment, pages)
        writes = [self._write(update.cell, update.key, update.bound, update.value, environment) for update in rule.updates]
        for cells, key, value in writes:
            cells[key] = value
        self.steps += max(1, len(pages))

    def _fire_one_by_one(self, identifier: str, channel: int, pages: Sequence[int], values: Sequence[int] | Array) -> None:
        before = {name: cell.copy() for name, cell in self.cells.items()}, self.steps
        try:
            for index, page in enumerate(pages):
                self.fire(identifier, channel=channel, pages=(page,), values=values[index : index + 1])
        except NotEnabled:
            self.cells, self.steps = before
            raise

    def _enabled(self, rule: Rule, environment: Environment, pages: Sequence[int]) -> None:
        dimensions = _dimensions(environment)
        for guard in rule.guards:
            holds = self._evaluate(guard, environment, dimensions)
            if not np.all(holds):
                refused = np.flatnonzero(~np.broadcast_to(holds, (len(pages),))) if pages else ()
                raise NotEnabled(rule.id, prose(guard), [pages[int(index)] for index in refused])

    def _write(
        self, cell: Cell, key: tuple[Expr[Any], ...], bound: tuple[Parameter[Any], ...], value: Expr[Any], environment: Environment
    ) -> tuple[Array, tuple[Array, ...], Array]:
        everything = {parameter: np.arange(self._size(parameter.sort)) for parameter in bound}
        inner = {**environment, **everything}
        dimensions = _dimensions(inner)
        return (
            self.cells[cell.name],
            tuple(self._evaluate(part, inner, dimensions) for part in key),
            self._evaluate(value, inner, dimensions),
        )

    def exercised(self) -> list[str]:
        """Return the ids of the clauses that say something about this state: see `premise`."""
        return [clause.id for clause in self.spec.clauses if np.all(self._evaluate(_premise(clause), {}, 0))]

    def violated(self) -> list[str]:
        """Return the ids of the clauses that do not hold now: always empty, if the spec is right."""
        return [clause.id for clause in self.spec.clauses if not np.all(self._evaluate(clause.formula, {}, 0))]

    def _evaluate(self, expression: Expr[Any], environment: Environment, dimensions: int) -> Array:  # noqa: C901  # one case a node
        """Return the value of an expression, with `dimensions` leading axes for the variables in the environment."""

        def inner(part: Expr[Any]) -> Array:
            return self._evaluate(part, environment, dimensions)

        match expression:
            case Read(cell=cell, key=key):
                return np.asarray(self.cells[cell.name][tuple([inner(part) for part in key])])
            case Equal(left=left, right=right):
                return np.asarray(inner(left) == inner(right))
            case Literal(value=value):
                return _literal(value)
            case Parameter():
                return environment[expression]
            case Constant():
                return np.asarray(0)
            case And(left=left, right=right):
                return np.asarray(inner(left) & inner(right))
            case Or(left=left, right=right):
                return np.asarray(inner(left) | inner(right))
            case Not(operand=operand):
                return ~inner(operand)
            case Where(condition=condition, then=then, otherwise=otherwise):
                return np.where(inner(condition), inner(then), inner(otherwise))
            case Every(variable=variable, body=body) | Some(variable=variable, body=body):
                column = np.arange(self._size(variable.sort)).reshape(-1, *[1] * dimensions)
                holds = self._evaluate(body, {**environment, variable: column}, dimensions + 1)
                if holds.ndim <= dimensions:
                    return holds
                return np.asarray(holds.all(axis=0) if isinstance(expression, Every) else holds.any(axis=0))
        raise AssertionError(expression)

    def page(self, cell: str, page: int) -> bytes | None:
        """Return what a page holds in `guest`, `cache`, `primary` or `survivor`; None if only its digest is known."""
        return self.contents.content(int(self.cells[cell][page]))

    def digests(self, cell: str, pages: Sequence[int]) -> list[str]:
        """Return the digests of pages in `guest`, `cache`, `primary` or `survivor`."""
        return [self.contents.digest(int(number)) for number in self.cells[cell][list(pages)]]

    def image(self, cell: str, first: int, count: int) -> bytes:
        """Return the bytes of `count` pages of a cell; ValueError if one is known by its digest only."""
        numbers = self.cells[cell][first : first + count]
        pages = [self.contents.content(int(number)) for number in numbers]
        if None in pages:
            raise ValueError(f"page {first + pages.index(None)} of {cell} is known by its digest only")
        return b"".join(page for page in pages if page is not None)


@cache
def _premise(clause: Clause) -> Expr[bool]:
    return premise(clause.formula)


@cache
def _literal(value: bool | Enum) -> Array:  # a truth value of the spec
    return np.asarray(list(type(value)).index(value) if isinstance(value, Enum) else value)


def _environment(rule: Rule, channel: int, pages: Sequence[int], values: Sequence[int] | Array, others: Mapping[Sort, int]) -> Environment:
    given: dict[Sort, Array] = {sort: np.asarray(member) for sort, member in others.items()}
    given |= {Channel: np.asarray(channel), Page: np.asarray(pages, np.int64), Value: np.asarray(values, np.int64)}
    environment = {parameter: given[parameter.sort] for parameter in rule.parameters}
    if len(pages) == 1:
        return {parameter: argument.reshape(()) for parameter, argument in environment.items()}
    return environment


def _dimensions(environment: Environment) -> int:
    return max((argument.ndim for argument in environment.values()), default=0)


@cache
def is_pagewise(rule: Rule) -> bool:
    """Return whether firing for several pages at once equals any order of firing for each.

    True if whatever the rule reads of what it writes, it reads at its own page.
    """
    own = [parameter for parameter in rule.parameters if parameter.sort is Page]
    written = {update.cell for update in rule.updates}
    texts = [*rule.guards, *(update.value for update in rule.updates), *(part for update in rule.updates for part in update.key)]
    is_own_write = all(any(part is own[0] for part in update.key) for update in rule.updates) if own else False
    return is_own_write and all(
        read.cell not in written or any(part is own[0] for part in read.key) for text in texts for read in _reads(text)
    )


def _reads(expression: Expr[Any]) -> list[Read[Any]]:
    match expression:
        case Read(key=key):
            return [expression, *(read for part in key for read in _reads(part))]
        case Equal(left=left, right=right) | And(left=left, right=right) | Or(left=left, right=right):
            return [*_reads(left), *_reads(right)]
        case Not(operand=operand):
            return _reads(operand)
        case Where(condition=condition, then=then, otherwise=otherwise):
            return [*_reads(condition), *_reads(then), *_reads(otherwise)]
        case Every(body=body) | Some(body=body):
            return _reads(body)
    return []
