"""A set of packed states: a hash table with open addressing, asked about many states at once."""

from typing import Final

import numpy as np
import numpy.typing as npt

from colofd.model.finite_numpy import States

_ODD: Final = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93], np.uint64)
"""Factors that spread each word over 64 bits."""

FULLEST: Final = 0.5
"""How much of the table is used before it grows."""


class TooLarge(Exception):  # noqa: N818  # says what is the case
    """The set of states would not fit into the memory it may take; the text says how much it takes, and how much it would."""


class StateSet:
    """States that were seen. A free place is all zeros, which no state is.

    Args:
        words: number of words of a state.
        bits: two to the power of this is the number of places at first.
        memory: bytes that the table may take while it grows; None for no limit.
    """

    def __init__(self, words: int, bits: int = 16, memory: int | None = None) -> None:
        self.count = 0
        self._memory = memory
        self._bits = bits
        self._table: States = np.zeros((words, 1 << bits), np.uint64)
        self._ticket = np.zeros(1 << bits, np.uint32)

    def add(self, states: States) -> npt.NDArray[np.intp]:
        """Add states, and return the indices of those that are new: one for each, though it may be there twice."""
        while self.count + states.shape[1] > FULLEST * (1 << self._bits):
            self._grow()
        new = self._insert(states)
        self.count += new.size
        return new

    def _insert(self, states: States) -> npt.NDArray[np.intp]:
        table, ticket = self._table, self._ticket
        last = np.intp((1 << self._bits) - 1)
        added = []
        # Most states have been seen: those are gone after one look.
        everywhere = self._hash(states)
        waiting = np.flatnonzero(self._is_other(states, everywhere))
        place = everywhere.take(waiting)
        mine = states.take(waiting, axis=1)
        while waiting.size:
            asks = np.flatnonzero(table[0].take(place) == 0)
            if asks.size:
                # Several states may want the same free place: the last one to write its ticket gets it.
                wanted = place.take(asks)
                ticket[wanted] = asks
                wins = asks[ticket.take(wanted) == asks]
                table[:, place.take(wins)] = mine.take(wins, axis=1)
                added.append(waiting.take(wins))
            stays = np.flatnonzero(self._is_other(mine, place))
            waiting = waiting.take(stays)
            mine = mine.take(stays, axis=1)
            place = (place.take(stays) + 1) & last
        return np.concatenate(added) if added else np.empty(0, np.intp)

    def _is_other(self, states: States, place: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:
        """Return whether something else than the state, or nothing, is at its place."""
        is_other = np.asarray(self._table[0].take(place) != states[0])
        for word in range(1, len(states)):
            is_other |= self._table[word].take(place) != states[word]
        return is_other

    def _hash(self, states: States) -> npt.NDArray[np.intp]:
        mixed = states[0] * _ODD[0]
        for word in range(1, len(states)):
            mixed ^= (mixed >> np.uint64(29)) + states[word] * _ODD[word % len(_ODD)]
            mixed *= _ODD[0]
        return np.asarray(mixed >> np.uint64(64 - self._bits), np.intp)

    def _grow(self) -> None:
        old = self._table
        self._bits += 1
        needed = old.nbytes + table_bytes(len(old), self._bits)
        if self._memory is not None and needed > self._memory:
            raise TooLarge(f"{self.count:,} states and more: {needed:,} bytes are needed to go on, {self._memory:,} are allowed")
        self._table = np.zeros((len(old), 1 << self._bits), np.uint64)
        self._ticket = np.zeros(1 << self._bits, np.uint32)
        taken = np.flatnonzero(old[0])
        for begin in range(0, taken.size, 1 << 16):
            self._insert(old.take(taken[begin : begin + (1 << 16)], axis=1))


def table_bytes(words: int, bits: int) -> int:
    """Return the bytes of a table with two to the power of `bits` places."""
    return (8 * words + 4) << bits
