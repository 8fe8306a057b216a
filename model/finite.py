"""A finite instance of a specification: so many channels, pages and page values, each cell a few slots of small numbers."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Any

from colofd.model.finite_slices import Slice
from colofd.model.finite_terms import FALSE, TRUE, Both, Holds, Negation, Number, Slot, Term, Terms, Truth, evaluate
from colofd.spec.both_sides import DeviceState
from colofd.spec.language import And, Constant, Equal, Every, Expr, Literal, Not, Or, Parameter, Read, Rule, Some, Sort, Spec, Where
from colofd.spec.language.cells import Cell
from colofd.spec.state import Channel, Page, Value

State = tuple[int, ...]
"""What each slot holds."""

Bindings = Mapping[Parameter[Any], int]


@dataclass(frozen=True)
class Sizes:
    """How many multifd channels (beside the main one), pages and page values there are; and device states, where the spec has any."""

    channels: int
    pages: int
    values: int
    devices: int = 2

    def count(self, sort: Sort) -> int:
        """Return how many members a sort has."""
        if sort is bool:
            return 2
        if issubclass(sort, Enum):
            return len(sort)
        return {Channel: self.channels + 1, Page: self.pages, Value: self.values, DeviceState: self.devices}[sort]

    def __str__(self) -> str:
        return f"{self.channels}x{self.pages}x{self.values}"


@dataclass(frozen=True)
class Place:
    """One slot: a cell at one key. It holds numbers below `values`; its name is a word that other languages understand, too."""

    cell: str
    key: tuple[int, ...]
    values: int
    name: str


@dataclass(frozen=True)
class Step:
    """A rule with arguments: taken where the guard holds, it writes each slot of `writes`."""

    rule: Rule
    arguments: tuple[int, ...]
    guard: Term
    writes: tuple[tuple[int, Term], ...]

    @property
    def name(self) -> str:
        """The rule's id and its arguments."""
        pairs = zip(self.rule.parameters, self.arguments, strict=True)
        given = ", ".join(f"{parameter.name} {_member(parameter.sort, argument)}" for parameter, argument in pairs)
        return f"{self.rule.id}({given})" if given else self.rule.id

    def after(self, state: State) -> State:
        """Return the state after the step."""
        written = {slot: evaluate(term, state) for slot, term in self.writes}
        return tuple(written.get(slot, value) for slot, value in enumerate(state))


class Instance:
    """A slice of a specification with finite sizes.

    Args:
        spec: the specification, or one with a known mistake.
        part: which slice of it.
        sizes: how many there are of what has no bound in the specification.
    """

    def __init__(self, spec: Spec, part: Slice, sizes: Sizes) -> None:
        if sizes.channels < 0 or min(sizes.pages, sizes.values, sizes.devices) < 1:
            raise ValueError(f"there are no instances of sizes {sizes}")
        self.spec = spec
        self.part = part
        self.sizes = sizes
        self.terms = Terms()
        self._fixed: dict[tuple[str, tuple[int, ...]], int] = {}
        places = [place for cell in spec.state.cells() for place in self._places(cell)]
        self.places = tuple(sorted(places, key=self._nearness))
        self._slots = {(place.cell, place.key): slot for slot, place in enumerate(self.places)}

    def _places(self, cell: Cell) -> Iterator[Place]:
        for key in itertools.product(*[range(self.sizes.count(sort)) for sort in cell.key]):
            fixed = self.part.fixed_value(cell.name, key)
            if fixed is None:
                members = [_member(sort, number) for sort, number in zip(cell.key, key, strict=True)]
                yield Place(cell.name, key, self.sizes.count(cell.to), "_".join([cell.name, *members]))
            else:
                self._fixed[cell.name, key] = _ordinal(fixed)

    @cached_property
    def has_devices(self) -> bool:
        """Whether the specification has device states."""
        return any(cell.to is DeviceState for cell in self.spec.state.cells())

    def sorts(self, place: Place) -> tuple[tuple[Sort, ...], Sort]:
        """Return the sorts of a slot's key, and of what it holds."""
        cell: Cell = getattr(self.spec.state, place.cell)
        return cell.key, cell.to

    def _nearness(self, place: Place) -> tuple[int, tuple[int, ...]]:
        """Sort what belongs to one channel together, and what belongs to one page; then a permutation of pages moves few blocks."""
        key, _ = self.sorts(place)
        is_of_page = bool(key) and key[-1] is Page
        return (2, place.key[::-1][:1]) if is_of_page else (1 if key else 0, place.key)

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """All steps that the slice has, in the order of the rules."""
        return tuple(step for rule in self.spec.rules for step in self._steps_of(rule))

    def _steps_of(self, rule: Rule) -> Iterator[Step]:
        for bindings in self.bindings(rule.parameters):
            guard = self.terms.all([self.term(each, bindings) for each in rule.guards])
            if guard is FALSE:
                continue
            writes: list[tuple[int, Term]] = []
            for key, value in self._writes(rule, bindings):
                if key in self._fixed:
                    # A step that would change a fixed cell is no step of the slice.
                    guard = self.terms.both(guard, self._equals(value, self._fixed[key]))
                elif value is not self._read(*key):
                    writes.append((self._slots[key], value))
            if guard is not FALSE:
                yield Step(rule, tuple(bindings.values()), guard, tuple(writes))

    def bindings(self, parameters: Sequence[Parameter[Any]]) -> Iterator[Bindings]:
        """Yield every way in which members can stand for the parameters."""
        for values in itertools.product(*[range(self.sizes.count(parameter.sort)) for parameter in parameters]):
            yield dict(zip(parameters, values, strict=True))

    def _writes(self, rule: Rule, bindings: Bindings) -> Iterator[tuple[tuple[str, tuple[int, ...]], Term]]:
        for update in rule.updates:
            for bound in self.bindings(update.bound):
                inner = {**bindings, **bound}
                yield (update.cell.name, self._key(update.key, inner)), self.term(update.value, inner)

    def _equals(self, value: Term, number: int) -> Term:
        if isinstance(value, Truth):
            return TRUE if value.holds == bool(number) else FALSE
        if isinstance(value, Number | Slot):
            return self.terms.equal(value, self.terms.number(number))
        return value if number else self.terms.negation(value)

    def _key(self, key: Sequence[Expr[Any]], bindings: Bindings) -> tuple[int, ...]:
        terms = [self.term(part, bindings) for part in key]
        return tuple(term.value for term in terms if isinstance(term, Number))

    def _read(self, cell: str, key: tuple[int, ...]) -> Term:
        fixed = self._fixed.get((cell, key))
        is_truth = getattr(self.spec.state, cell).to is bool
        if fixed is not None:
            return (TRUE if fixed else FALSE) if is_truth else self.terms.number(fixed)
        slot = self._slots[cell, key]
        return self.terms.holds(slot, 1) if is_truth else self.terms.slot(slot)

    def _read_at(self, cell: Cell, key: Sequence[Term], known: tuple[int, ...] = ()) -> Term:
        """Return what a cell holds at a key; parts of it may depend on the state, then all cases are told apart."""
        if len(known) == len(key):
            return self._read(cell.name, known)
        part = key[len(known)]
        if isinstance(part, Number):
            return self._read_at(cell, key, (*known, part.value))
        choose = self.terms.where if cell.to is bool else self.terms.choice
        last = self.sizes.count(cell.key[len(known)]) - 1
        result = self._read_at(cell, key, (*known, last))
        for member in range(last):
            result = choose(self.terms.equal(part, self.terms.number(member)), self._read_at(cell, key, (*known, member)), result)
        return result

    def term(self, expression: Expr[Any], bindings: Bindings) -> Term:  # noqa: C901  # one case for each kind of node
        """Return the term that an expression is here; `bindings` are the members that its free variables stand for."""

        def inner(part: Expr[Any]) -> Term:
            return self.term(part, bindings)

        match expression:
            case Literal(value=value):
                return (TRUE if value else FALSE) if isinstance(value, bool) else self.terms.number(_ordinal(value))
            case Constant():
                return self.terms.number(0)
            case Parameter():
                return self.terms.number(bindings[expression])
            case Read(cell=cell, key=key):
                return self._read_at(cell, [inner(part) for part in key])
            case Equal(left=left, right=right) if left.sort is bool:
                return self.terms.where(inner(left), inner(right), self.terms.negation(inner(right)))
            case Equal(left=left, right=right):
                return self.terms.equal(inner(left), inner(right))
            case And(left=left, right=right):
                return self.terms.both(inner(left), inner(right))
            case Or(left=left, right=right):
                return self.terms.either(inner(left), inner(right))
            case Not(operand=operand):
                return self.terms.negation(inner(operand))
            case Where(condition=condition, then=then, otherwise=otherwise):
                choose = self.terms.where if then.sort is bool else self.terms.choice
                return choose(inner(condition), inner(then), inner(otherwise))
            case Every(variable=variable, body=body):
                return self.terms.all([self.term(body, {**bindings, **bound}) for bound in self.bindings([variable])])
            case Some(variable=variable, body=body):
                return self.terms.any([self.term(body, {**bindings, **bound}) for bound in self.bindings([variable])])
        raise AssertionError(expression)

    @cached_property
    def clauses(self) -> Mapping[str, Term]:
        """The clauses of the specification, by id."""
        return {clause.id: self.term(clause.formula, {}) for clause in self.spec.clauses}

    def initial_states(self) -> Iterator[State]:
        """Yield every initial state of the slice."""
        formula = self.term(self.spec.initial.formula, {})
        known = {literal.slot: value for literal, value in _literals(formula, self.places)}
        known |= {slot: _ordinal(self.part.initially[place.cell]) for slot, place in enumerate(self.places) if self._is_narrowed(place)}
        choices = [[known[slot]] if slot in known else range(place.values) for slot, place in enumerate(self.places)]
        alike = [slot for slot, place in enumerate(self.places) if place.cell in self.part.initially_alike]
        return (state for state in itertools.product(*choices) if len({state[slot] for slot in alike}) <= 1 and evaluate(formula, state))

    def _is_narrowed(self, place: Place) -> bool:
        return place.cell in self.part.initially

    def described(self, state: State) -> dict[str, str]:
        """Return what a state holds, by the names of the spec."""
        return {place.name: self._said(place, value) for place, value in zip(self.places, state, strict=True)}

    def held(self, state: State) -> dict[str, Any]:
        """Return what a state holds, for other programs: each cell, as lists over its keys; truths, names of members, and numbers."""
        return {cell.name: self._held(cell, (), state) for cell in self.spec.state.cells()}

    def _held(self, cell: Cell, key: tuple[int, ...], state: State) -> Any:
        if len(key) < len(cell.key):
            return [self._held(cell, (*key, member), state) for member in range(self.sizes.count(cell.key[len(key)]))]
        number = state[self._slots[cell.name, key]] if (cell.name, key) in self._slots else self._fixed[cell.name, key]
        if cell.to is bool:
            return bool(number)
        return _member(cell.to, number) if issubclass(cell.to, Enum) else number

    def _said(self, place: Place, value: int) -> str:
        _, sort = self.sorts(place)
        if sort is bool:
            return "yes" if value else "no"
        return _member(sort, value)


def _member(sort: Sort, number: int) -> str:
    return str(list(sort)[number].name) if issubclass(sort, Enum) else str(number)


def _ordinal(value: bool | int | Enum) -> int:
    return list(type(value)).index(value) if isinstance(value, Enum) else int(value)


def _literals(formula: Term, places: Sequence[Place]) -> Iterator[tuple[Holds, int]]:
    """Yield the tests that a formula demands at its top, with the value that the slot must hold."""
    match formula:
        case Both(left=left, right=right):
            yield from _literals(left, places)
            yield from _literals(right, places)
        case Holds(value=value):
            yield formula, value
        case Negation(operand=Holds() as inner) if places[inner.slot].values == 2:  # yes or no
            yield inner, 1 - inner.value
