"""A run that a model has taken beside a receiver, as a file that the explorer opens: with the step that was refused at its end."""

import json
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, Final

from colofd.conformance.diagnostic import Diagnostic
from colofd.conformance.tour_file import FORMAT
from colofd.model.compiled import CompiledMachine
from colofd.model.machine import MAIN_NUMBER, NO_OTHERS, Array
from colofd.spec.both_sides import DeviceState
from colofd.spec.language import Sort
from colofd.spec.language.cells import Cell
from colofd.spec.protocol import spec_sha256
from colofd.spec.state import Channel, Page, Value

MOST_PAGES: Final = 16
MOST_STEPS: Final = 2000
"""What can be looked at in a browser."""


class NotingMachine(CompiledMachine):
    """A machine that notes what is asked of it, the step that it refuses too."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.initial: dict[str, Any] = {cell.name: _held(cell, self.cells[cell.name].tolist()) for cell in self.spec.state.cells()}
        self.noted: list[dict[str, Any]] = []
        self._is_inside = False

    def fire(
        self,
        identifier: str,
        *,
        channel: int = MAIN_NUMBER,
        pages: Sequence[int] = (),
        values: Sequence[int] | Array = (),
        others: Mapping[Sort, int] = NO_OTHERS,
    ) -> None:
        """Note a step, or one for each page, and take it."""
        is_outermost, self._is_inside = not self._is_inside, True
        if is_outermost:
            self.noted += self._steps_of(identifier, channel, pages, values, others)
        try:
            super().fire(identifier, channel=channel, pages=pages, values=values, others=others)
        finally:
            self._is_inside = not is_outermost

    def _steps_of(
        self, identifier: str, channel: int, pages: Sequence[int], values: Sequence[int] | Array, others: Mapping[Sort, int]
    ) -> Iterator[dict[str, Any]]:
        rule = self.spec.rule(identifier)
        has_page = any(each.sort is Page for each in rule.parameters)
        for number in range(len(pages) if has_page else 1):
            given: dict[Sort, int] = {Channel: channel, **others}
            given |= {Page: int(pages[number])} if has_page else {}
            given |= {Value: int(values[number])} if len(values) else {}
            arguments = {each.name: _member(each.sort, given[each.sort]) for each in rule.parameters}
            yield {"rule": rule.id, **arguments}


def _held(cell: Cell, content: Any) -> Any:
    return [_held(cell, each) for each in content] if isinstance(content, list) else _member(cell.to, content)


def _member(sort: Sort, number: int) -> int | str:
    return str(list(sort)[number].name) if issubclass(sort, Enum) else number


def write_run(path: Path, machine: NotingMachine, why: str) -> None:
    """Write the run that a machine has noted; `why` is what the explorer says of its end. Diagnostic if it is too large to look at."""
    pages, steps = machine.sizes[Page], machine.noted
    if pages > MOST_PAGES or len(steps) > MOST_STEPS:
        cause = f"it has {pages} pages and {len(steps)} steps, and the explorer takes {MOST_PAGES} and {MOST_STEPS}"
        raise Diagnostic("run-too-large", "this run is too large to be looked at", cause, "take a shorter run of a smaller guest")
    contents = max(step.get("value", 0) for step in steps) if steps else 0
    sizes = {"channels": machine.sizes[Channel] - 1, "pages": pages, "values": max(2, contents + 1), "devices": machine.sizes[DeviceState]}
    head = {"format": FORMAT, "spec_sha256": spec_sha256(), "control": None, **sizes}
    run = {"initial": machine.initial, "steps": steps, "why": why}
    path.write_text(json.dumps({**head, "runs": [run]}) + "\n", encoding="utf-8")
