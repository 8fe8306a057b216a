"""Who changes which memory in which phase, and when it exists, drawn: from all states of small instances."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

import numpy as np

from colofd.conformance.diagrams import Drawing, Point
from colofd.conformance.diagrams_seen import Held, Seen
from colofd.model.finite import Instance, Sizes
from colofd.model.finite_slices import slice_of
from colofd.spec.language import Spec
from colofd.spec.language.cells import Cell
from colofd.spec.protocol import SPEC
from colofd.spec.state import Phase, World

MEMORY: Final[Mapping[Cell, tuple[str, Cell | None]]] = {
    World.guest: ("guest RAM", None),
    World.cache: ("the cache", World.cache_allocated),
    World.received: ("receivedmap", World.receivedmap_allocated),
    World.peer_dirty: ("dirty bitmap", None),
    World.own_dirty: ("dirty log", None),
}
"""What is drawn: the cell of a page, its name, and the cell that says whether it exists; None: it is no concern of the specification."""

_NAMES: Final = 90
_COLUMN: Final = 150
_LINE: Final = 14
_GAP: Final = 6


class Exists(Enum):
    """Whether memory exists in a phase."""

    ALWAYS = "always"
    AT_TIMES = "until it is released"
    NEVER = "never"


@dataclass(frozen=True)
class Use:
    """What is seen of one memory in one phase: the ids of the rules that change it, and whether it exists."""

    writers: tuple[str, ...]
    exists: Exists


Uses = Mapping[Phase, Mapping[Cell, Use]]


def uses(part: str, spec: Spec = SPEC) -> Uses:
    """Return the use of each memory in each phase that is reached in a slice, with one multifd channel and one page."""
    seen = Seen(Instance(spec, slice_of(part), Sizes(1, 1, 2)))
    phase = seen.held(World.phase.name)
    if phase is None:
        raise AssertionError("the phase changes")
    writers = {cell: _writers(seen, phase, cell) for cell in MEMORY}
    reached = [each for number, each in enumerate(Phase) if (phase == number).any()]
    return {each: {cell: Use(writers[cell].get(each, ()), _existence(seen, phase, each, cell)) for cell in MEMORY} for each in reached}


def _writers(seen: Seen, phase: Held, cell: Cell) -> dict[Phase, tuple[str, ...]]:
    held = seen.held(cell.name, 0)
    found: dict[Phase, dict[str, None]] = {}
    if held is None:
        return {}
    for step, before, after in seen.steps():
        for number in np.unique(phase[before[held[before] != held[after]]]):
            found.setdefault(list(Phase)[number], {})[step.rule.id] = None
    return {each: tuple(rules) for each, rules in found.items()}


def _existence(seen: Seen, phase: Held, each: Phase, cell: Cell) -> Exists:
    allocated = MEMORY[cell][1]
    held = None if allocated is None else seen.held(allocated.name)
    if held is None:
        return Exists.ALWAYS
    there = held[phase == list(Phase).index(each)]
    return Exists.ALWAYS if there.all() else Exists.AT_TIMES if there.any() else Exists.NEVER


def drawing(name: str, found: Uses) -> str:
    """Return the uses as SVG: a row for each phase, a box where memory exists, dashed where it may be released already."""
    heights = {phase: 14 + _LINE * max(1, *(len(use.writers) for use in its.values())) for phase, its in found.items()}
    size = (_NAMES + _COLUMN * len(MEMORY), 34 + sum(heights.values()) + _GAP * len(heights))
    drawn = Drawing(f"memory-{name}", size, "Who changes which memory in which phase, and when it exists")
    for column, (title, _) in enumerate(MEMORY.values()):
        drawn.text((_NAMES + _COLUMN * (column + 0.5), 18), title, weight="bold")
    top = 30
    for phase, height in heights.items():
        drawn.text((_NAMES - 10, top + height / 2 + 4), phase.name, "end", weight="bold")
        for column, cell in enumerate(MEMORY):
            _draw_use(drawn, (_NAMES + _COLUMN * (column + 0.5), top + height / 2), (_COLUMN - _GAP, height), found[phase][cell])
        top += height + _GAP
    return drawn.svg()


def _draw_use(drawn: Drawing, middle: Point, size: Point, use: Use) -> None:
    if use.exists is not Exists.NEVER:
        drawn.box(middle, size, width=1, dashes="" if use.exists is Exists.ALWAYS else "4 4")
    if use.writers:
        drawn.shade(middle, size, 0.08)
        drawn.texts((middle[0], middle[1] + 4 - _LINE * (len(use.writers) - 1) / 2), use.writers, size=11)
