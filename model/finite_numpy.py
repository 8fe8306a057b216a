"""The fast reading of a finite instance: many states at once, each packed into a few words of 64 bits."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from colofd.model.finite import Instance, State
from colofd.model.finite_terms import Both, Choice, Either, Holds, Negation, Number, Same, Slot, Term, Truth, parts

States = npt.NDArray[np.uint64]
"""Packed states, shape (words, number of states)."""

Column = npt.NDArray[np.uint8] | npt.NDArray[np.bool_]
"""A value or a truth for each state."""

WORD_BITS: Final = 63
"""Bits of a word that slots use."""

OCCUPIED: Final = 1 << WORD_BITS
"""Set in the first word of every state, so that none is all zeros."""


class Packing:
    """Where the bits of each slot are.

    Args:
        values: for each slot, how many values it may hold.
    """

    def __init__(self, values: Sequence[int]) -> None:
        self.bits = [max(1, (count - 1).bit_length()) for count in values]
        self.word: list[int] = []
        self.shift: list[int] = []
        word, shift = 0, 0
        for bits in self.bits:
            if shift + bits > WORD_BITS:
                word, shift = word + 1, 0
            self.word.append(word)
            self.shift.append(shift)
            shift += bits
        self.words = word + 1

    def mask(self, slot: int) -> int:
        """Return the bits of a slot in its word."""
        return ((1 << self.bits[slot]) - 1) << self.shift[slot]

    def pack(self, states: Iterable[State]) -> States:
        """Return states, packed."""
        rows = [self._words(state) for state in states]
        return np.array(rows, np.uint64).reshape(-1, self.words).T.copy()

    def _words(self, state: State) -> list[int]:
        words = [OCCUPIED] + [0] * (self.words - 1)
        for word, shift, value in zip(self.word, self.shift, state, strict=True):
            words[word] |= value << shift
        return words

    def unpack(self, states: States) -> list[State]:
        """Return packed states as what each slot holds."""
        columns = [self.column(states, slot).tolist() for slot in range(len(self.bits))]
        return list(zip(*columns, strict=True))

    def column(self, states: States, slot: int) -> npt.NDArray[np.uint8]:
        """Return what a slot holds in each state."""
        mask, shift = np.uint64((1 << self.bits[slot]) - 1), np.uint64(self.shift[slot])
        return np.asarray((states[self.word[slot]] >> shift) & mask, np.uint8)


class Reading:
    """Evaluates the steps of an instance, and further terms, on packed states.

    Args:
        instance: what is read.
        watched: further truths that `begin` makes ready.
    """

    def __init__(self, instance: Instance, watched: Iterable[Term] = ()) -> None:
        self.instance = instance
        self.packing = Packing([place.values for place in instance.places])
        roots = [*watched, *(step.guard for step in instance.steps), *(term for step in instance.steps for _, term in step.writes)]
        self._order = list(_bottom_up(roots))
        self._effects = [_Effect(self.packing, step.writes) for step in instance.steps]

    def begin(self, states: States) -> "Evaluated":
        """Evaluate everything on some thousand states."""
        evaluated = Evaluated(states, {})
        slots = [self.packing.column(states, slot) for slot in range(len(self.packing.bits))]
        for term in self._order:
            evaluated.columns[term] = _column(term, slots, evaluated.columns, states.shape[1])
        return evaluated

    def successors(self, evaluated: "Evaluated") -> Iterator[tuple[int, npt.NDArray[np.intp], States]]:
        """Yield for each step that is possible: its number, in which states it is, and those states after it."""
        for number, (step, effect) in enumerate(zip(self.instance.steps, self._effects, strict=True)):
            where = np.flatnonzero(evaluated.columns[step.guard])
            if where.size:
                yield number, where, effect.after(evaluated, where)


class Evaluated:
    """Some states, and the value of each term in each of them."""

    def __init__(self, states: States, columns: dict[Term, Column]) -> None:
        self.states = states
        self.columns = columns


class _Effect:
    """The writes of one step: bits that are cleared, bits that are set, and values that depend on the state."""

    def __init__(self, packing: Packing, writes: Sequence[tuple[int, Term]]) -> None:
        keep = [(1 << 64) - 1] * packing.words
        put = [0] * packing.words
        self.values: list[tuple[int, np.uint64, Term]] = []
        for slot, term in writes:
            word, shift = packing.word[slot], packing.shift[slot]
            keep[word] &= ~packing.mask(slot)
            if isinstance(term, Truth | Number):
                put[word] |= (int(term.holds) if isinstance(term, Truth) else term.value) << shift
            else:
                self.values.append((word, np.uint64(shift), term))
        self.words = [word for word in range(packing.words) if keep[word] != (1 << 64) - 1]
        self.keep = [np.uint64(each) for each in keep]
        self.put = [np.uint64(each) for each in put]

    def after(self, evaluated: Evaluated, where: npt.NDArray[np.intp]) -> States:
        """Return the states at these indices after the step."""
        states = evaluated.states.take(where, axis=1)
        for word in self.words:
            states[word] &= self.keep[word]
            if self.put[word]:
                states[word] |= self.put[word]
        for word, shift, term in self.values:
            states[word] |= evaluated.columns[term].take(where).astype(np.uint64) << shift
        return states


def _bottom_up(roots: Iterable[Term]) -> Iterator[Term]:
    """Yield each term once, after its parts."""
    seen: set[Term] = set()
    waiting = [(root, False) for root in reversed(list(roots))]
    while waiting:
        term, is_ready = waiting.pop()
        if is_ready:
            yield term
        elif term not in seen:
            seen.add(term)
            waiting.append((term, True))
            waiting += [(part, False) for part in reversed(parts(term))]


def _column(term: Term, slots: Sequence[npt.NDArray[np.uint8]], done: dict[Term, Column], count: int) -> Any:
    match term:
        case Holds(slot=slot, value=value):
            return slots[slot] == value
        case Both(left=left, right=right):
            return done[left] & done[right]
        case Either(left=left, right=right):
            return done[left] | done[right]
        case Negation(operand=operand):
            return ~done[operand]
        case Slot(slot=slot):
            return slots[slot]
        case Same(left=one, right=two):
            return slots[one] == slots[two]
        case Choice(condition=condition, then=then, otherwise=otherwise):
            return np.where(done[condition], done[then], done[otherwise])
        case Truth(holds=holds):
            return np.full(count, holds)
        case Number(value=value):
            return np.full(count, value, np.uint8)
    raise AssertionError(term)
