"""A run as the address that the explorer opens: sizes, what the run begins with, and its steps."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Final
from urllib.parse import quote

from colofd.model.finite import Instance, Sizes, State, Step
from colofd.model.finite_slices import slice_of
from colofd.spec.both_sides import BothSides
from colofd.spec.language import Spec
from colofd.spec.language.cells import Cell
from colofd.spec.protocol import BOTH_SIDES
from colofd.spec.state import World

_WANTED: Final[Mapping[str, int]] = {World.colo.name: 1, World.deferred.name: 0, World.primary.name: 1, BothSides.is_loadable.name: 1}
"""Of the initial states, the one that the explorer begins with: COLO, the mirror packet by packet, a page with content."""


@cache
def beginning() -> Mapping[str, bool | int]:
    """Return what each cell holds at first in the explorer, at all its keys."""
    instance = Instance(BOTH_SIDES, slice_of("whole-both-sides"), Sizes(0, 1, 2, 1))
    for state in instance.initial_states():
        held = {place.cell: value for place, value in zip(instance.places, state, strict=True)}
        if all(held[cell] == value for cell, value in _WANTED.items()):
            return {cell: bool(value) if getattr(BothSides, cell).to is bool else value for cell, value in held.items()}
    raise AssertionError("no run begins like this")


def specification_name(spec: Spec) -> str:
    """Return how the explorer calls a specification: it has two, by what their states are."""
    return "both" if issubclass(spec.state, BothSides) else "receive"


def address(instance: Instance, initial: State, steps: Sequence[Step], control: str | None) -> str:
    """Return what stands behind the `#` of the explorer's address; `control` is the name of the known mistake in the specification."""
    sizes = instance.sizes
    fields = {
        "spec": specification_name(instance.spec),
        **({"control": control} if control else {}),
        "channels": sizes.channels,
        "pages": sizes.pages,
        "values": sizes.values,
        "devices": sizes.devices,
        "set": ";".join(_set(instance, initial)),
        "run": ";".join(_step(step) for step in steps),
    }
    return "&".join(f"{name}={quote(str(value), safe='(),;:')}" for name, value in fields.items() if value != "")


def _set(instance: Instance, initial: State) -> Iterator[str]:
    """Yield each cell that holds something else than what the explorer begins with, and what it holds at all its keys."""
    usual = beginning()
    for name, held in instance.held(initial).items():
        numbers = [_number(getattr(instance.spec.state, name), each) for each in _flat(held)]
        if any(number != usual[name] for number in numbers):
            yield f"{name}:{','.join(map(str, numbers))}"


def _flat(held: Any) -> Iterator[Any]:
    if isinstance(held, list):
        for part in held:
            yield from _flat(part)
    else:
        yield held


def _number(cell: Cell, held: bool | int | str) -> int:
    """Return what a cell holds as a number: a member of an enumeration is given by its name."""
    return list(cell.to.__members__).index(held) if isinstance(held, str) else int(held)


def _step(step: Step) -> str:
    return f"{step.rule.id}({','.join(map(str, step.arguments))})" if step.arguments else step.rule.id
