"""Slices: parts of the specification small enough to be explored completely. Each says what it leaves out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from colofd.spec.both_sides import BothSides
from colofd.spec.language import Spec
from colofd.spec.protocol import BOTH_SIDES, SPEC
from colofd.spec.state import Carried, World

MAIN_NUMBER: Final = 0
"""Number of the main channel; multifd channel N has number N + 1."""

Fixed = Mapping[str, bool | int | Enum]
"""What cells hold in every state, by their names."""


@dataclass(frozen=True)
class Slice:
    """A part of the specification: some cells never change, and steps that would change them are left out.

    `fixed` are cells with all their keys, `main_fixed` are those of the main channel only.
    `initially` narrows the initial states; there, cells `initially_alike` hold the same.
    """

    name: str
    doc: str
    fixed: Fixed = field(default_factory=dict)
    main_fixed: Fixed = field(default_factory=dict)
    initially: Fixed = field(default_factory=dict)
    initially_alike: tuple[str, ...] = ()
    spec: Spec = SPEC

    def fixed_value(self, cell: str, key: tuple[int, ...]) -> bool | int | Enum | None:
        """Return what this cell always holds for this key, or None if it may change."""
        if cell in self.main_fixed and key[0] == MAIN_NUMBER:
            return self.main_fixed[cell]
        return self.fixed.get(cell)


_GHOST_AT_FIRST: Final[Fixed] = {World.survivor.name: 0}
"""What the ghost holds before the guest first runs is read by nothing: it is written then."""

_DEVICES: Final = tuple(
    cell.name for cell in (BothSides.primary_device, BothSides.arriving_device, BothSides.guest_device, BothSides.survivor_device)
)
"""All but the first are written before anything reads them. One of them for all: no device state must be unlike the others."""

_MAIN_IS_IDLE: Final[Fixed] = {World.packet.name: Carried.NOTHING, World.mirror.name: False}

SLICES: Final = (
    Slice(
        "core",
        "COLO with the mirror packet by packet; pages travel over multifd channels only. "
        "The main channel's thread takes part in barriers and may exit. "
        "Left out: no COLO, the deferred mirror, pages of the main channel, and what the ghost holds before the guest first runs.",
        {World.colo.name: True, World.deferred.name: False},
        _MAIN_IS_IDLE,
        _GHOST_AT_FIRST,
    ),
    Slice(
        "main-channel",
        "COLO with the mirror packet by packet; pages travel over the main channel and over multifd channels, if there are any. "
        "Left out: no COLO, the deferred mirror, and what the ghost holds before the guest first runs.",
        {World.colo.name: True, World.deferred.name: False},
        {},
        _GHOST_AT_FIRST,
    ),
    Slice(
        "deferred",
        "COLO with the deferred mirror; pages travel over multifd channels only. "
        "Left out: no COLO, the mirror packet by packet, pages of the main channel, and what the ghost holds before the guest first runs.",
        {World.colo.name: True, World.deferred.name: True},
        _MAIN_IS_IDLE,
        _GHOST_AT_FIRST,
    ),
    Slice(
        "plain",
        "Migration without COLO; pages travel over multifd channels only. "
        "Left out: COLO, pages of the main channel, the content of the cache, which does not exist, "
        "and what the ghost holds before the guest first runs.",
        {World.colo.name: False, World.deferred.name: False, World.cache.name: 0},
        _MAIN_IS_IDLE,
        _GHOST_AT_FIRST,
    ),
    Slice("whole", "Everything of the receive path, with and without COLO. Left out: the primary's side."),
    Slice(
        "both-sides",
        "Both sides of COLO: messages, device states, output, and a primary that may die at any step. The mirror is made packet by packet; "
        "pages travel over multifd channels only. "
        "Left out: no COLO, the deferred mirror, pages of the main channel, what the ghost of RAM holds before the guest first runs, "
        "and differences between device states that are written before they are read.",
        {World.colo.name: True, World.deferred.name: False},
        _MAIN_IS_IDLE,
        _GHOST_AT_FIRST,
        _DEVICES,
        BOTH_SIDES,
    ),
    Slice(
        "whole-both-sides",
        "Both sides, with and without COLO. Left out: differences between device states that are written before they are read.",
        initially_alike=_DEVICES,
        spec=BOTH_SIDES,
    ),
)
"""All slices; the first is the default."""


def slice_of(name: str) -> Slice:
    """Return a slice by its name; KeyError if there is none."""
    return {each.name: each for each in SLICES}[name]
