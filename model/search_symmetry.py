"""Symmetry: pages, multifd channels and device states have no names.

States that differ only in their order are the same to every rule and clause.
"""

import itertools
from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from colofd.model.finite import Instance, Place
from colofd.model.finite_numpy import OCCUPIED, Packing, States
from colofd.spec.both_sides import DeviceState
from colofd.spec.language import Sort
from colofd.spec.state import Channel, Page

Order = Mapping[Sort, tuple[int, ...]]
"""For each sort, which member takes the place of which."""


class Symmetry:
    """All orders of pages, multifd channels and device states; the least of the states that they make stands for all of them."""

    def __init__(self, instance: Instance, packing: Packing) -> None:
        slots = {(place.cell, place.key): slot for slot, place in enumerate(instance.places)}
        self._moves = [
            _Move(
                packing,
                [slots[place.cell, _renamed(instance, place, order)] for place in instance.places],
                {slot: order[sort] for slot, place in enumerate(instance.places) if (sort := instance.sorts(place)[1]) in order},
            )
            for order in _orders(instance)
        ]
        self.size = len(self._moves) + 1

    def least(self, states: States) -> States:
        """Return for each state the one that stands for it."""
        best = states
        for move in self._moves:
            other = move.apply(states)
            best = np.where(_is_less(other, best), other, best)
        return best

    def multiplicity(self, states: States) -> npt.NDArray[np.int64]:
        """Return for each state how many states it stands for."""
        same = np.ones(states.shape[1], np.int64)
        for move in self._moves:
            same += (move.apply(states) == states).all(axis=0)
        return self.size // same


class _Move:
    """One permutation of slots, as masks and shifts of words; some slots hold members that are renamed, too.

    Args:
        packing: where the slots are.
        targets: for each slot, the slot that takes its content.
        renamed: for each slot with renamed members, what stands for which; such a slot keeps its place.
    """

    def __init__(self, packing: Packing, targets: list[int], renamed: Mapping[int, tuple[int, ...]]) -> None:
        masks: dict[tuple[int, int, int], int] = {(0, 0, 0): OCCUPIED}
        for slot, target in enumerate(targets):
            key = (packing.word[slot], packing.word[target], packing.shift[target] - packing.shift[slot])
            masks[key] = masks.get(key, 0) | packing.mask(slot)
        self._parts = [(source, target, shift, np.uint64(mask)) for (source, target, shift), mask in masks.items()]
        self._renamed = [_Renamed(packing, slot, order) for slot, order in renamed.items()]

    def apply(self, states: States) -> States:
        moved = np.zeros_like(states)
        for source, target, shift, mask in self._parts:
            content = states[source] & mask
            if shift > 0:
                content <<= np.uint64(shift)
            elif shift < 0:
                content >>= np.uint64(-shift)
            moved[target] |= content
        for each in self._renamed:
            moved[each.word] ^= each.changes.take((states[each.word] >> each.shift) & each.mask)
        return moved


class _Renamed:
    """A slot whose members are renamed: for each member, the bits of the word that change."""

    def __init__(self, packing: Packing, slot: int, order: tuple[int, ...]) -> None:
        self.word = packing.word[slot]
        self.shift = np.uint64(packing.shift[slot])
        self.mask = np.uint64((1 << packing.bits[slot]) - 1)
        self.changes = np.array([(old ^ new) << packing.shift[slot] for old, new in enumerate(order)], np.uint64)


def _orders(instance: Instance) -> Iterator[Order]:
    """Yield every order but the one that changes nothing; the main channel keeps its number."""
    sizes = instance.sizes
    pages = list(itertools.permutations(range(sizes.pages)))
    channels = [(0, *rest) for rest in itertools.permutations(range(1, sizes.channels + 1))]
    devices = list(itertools.permutations(range(sizes.devices if instance.has_devices else 1)))
    for page_order, channel_order, device_order in itertools.islice(itertools.product(pages, channels, devices), 1, None):
        yield {Page: page_order, Channel: channel_order, DeviceState: device_order}


def _renamed(instance: Instance, place: Place, order: Order) -> tuple[int, ...]:
    sorts, _ = instance.sorts(place)
    return tuple(order[sort][member] if sort in order else member for sort, member in zip(sorts, place.key, strict=True))


def _is_less(left: States, right: States) -> npt.NDArray[np.bool_]:
    less = np.asarray(left[-1] < right[-1])
    for word in range(len(left) - 2, -1, -1):
        less = (left[word] < right[word]) | (left[word] == right[word]) & less
    return less
