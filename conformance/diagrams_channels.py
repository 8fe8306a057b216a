"""What the thread of a channel does, step by step, drawn: from all states of a small instance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

from colofd.conformance.diagrams import BOX, Drawing, Point, around, border
from colofd.conformance.diagrams_seen import Seen, pairs
from colofd.model.finite import Instance, Sizes, Step
from colofd.model.finite_slices import MAIN_NUMBER, slice_of
from colofd.spec.language import Spec
from colofd.spec.protocol import SPEC
from colofd.spec.state import At, Channel, World

MULTIFD_NUMBER: Final = 1
WIDTH: Final = 960

_PLACES: Final[Mapping[At, Point]] = {
    At.READY: (150, 90),
    At.BODY: (450, 90),
    At.PROCESSING: (790, 90),
    At.PARKED: (150, 240),
}
"""Where each place of a thread is drawn, but the last one: the middle of its box."""

_LINE: Final = 15
_LABELS: Final = 45
"""Room for the rules that leave a thread where it is."""


@dataclass(frozen=True)
class Move:
    """A rule that is taken at any of the places `before`, and leaves the thread at `after`; None: where it was."""

    rule: str
    before: tuple[At, ...]
    after: At | None


@cache
def seen_channels(spec: Spec = SPEC) -> Seen:
    """Return all that happens with COLO, one multifd channel and one page, which the main channel may carry, too."""
    return Seen(Instance(spec, slice_of("main-channel"), Sizes(1, 1, 2)))


def moves(channel: int, spec: Spec = SPEC) -> tuple[Move, ...]:
    """Return the steps of a channel, and those of others that move its thread, in the order of the rules."""
    seen = seen_channels(spec)
    at = seen.held(World.channel_at.name, channel)
    if at is None:
        raise AssertionError("the threads of a channel move")
    found: dict[str, set[tuple[int, int]]] = {}
    for step, before, after in seen.steps():
        its = pairs(at[before], at[after])
        if _is_of(step, channel) or any(old != new for old, new in its):
            found.setdefault(step.rule.id, set()).update(its)
    return tuple(Move(rule.id, *_places(found[rule.id])) for rule in spec.rules if rule.id in found)


def _is_of(step: Step, channel: int) -> bool:
    given = [argument for parameter, argument in zip(step.rule.parameters, step.arguments, strict=True) if parameter.sort is Channel]
    return channel in given or (channel == MAIN_NUMBER and step.rule.id.startswith("main."))


def _places(its: set[tuple[int, int]]) -> tuple[tuple[At, ...], At | None]:
    everywhere = list(At)
    moved = {new for old, new in its if old != new}
    before = tuple(everywhere[place] for place in sorted({old for old, _ in its if {old} != moved}))
    return before, everywhere[moved.pop()] if moved else None


def drawing(channel: int, found: Sequence[Move]) -> str:
    """Return the steps of a channel as SVG."""
    name = "main" if channel == MAIN_NUMBER else "multifd"
    places = {place: _PLACES[place] for place in _PLACES if any(place in (*move.before, move.after) for move in found)}
    lowest = max(y for _, y in places.values())
    places[At.EXITED] = (_PLACES[At.PROCESSING][0], lowest + 160)
    size = (WIDTH, int(lowest) + 190)
    drawn = Drawing(f"channel-{name}", size, f"Steps of the thread of {'the main channel' if name == 'main' else 'a multifd channel'}")
    for place, (x, y) in places.items():
        drawn.named_box((x, y), place.name)
        staying = [move.rule for move in found if move.after in (None, place) and place in move.before]
        drawn.texts((x, y - BOX[1] / 2 - 8 - _LINE * (len(staying) - 1)), staying)
    arrows: dict[tuple[tuple[At, ...], At], list[str]] = {}
    for move in found:
        if move.after is not None:
            arrows.setdefault((tuple(place for place in move.before if place is not move.after), move.after), []).append(move.rule)
    for (before, after), rules in arrows.items():
        _draw_arrow(drawn, [places[place] for place in before], places[after], rules)
    return drawn.svg()


def _draw_arrow(drawn: Drawing, before: Sequence[Point], end: Point, rules: Sequence[str]) -> None:
    if len(before) > 1:
        # Below a single row is the way back along it.
        middle, size = around(before, above=_LABELS, below=_LABELS if len({y for _, y in before}) == 1 else 0)
        drawn.box(middle, size, width=1, dashes="5 4", corner=10)
        top, bottom = middle[1] + size[1] / 2, end[1] - BOX[1] / 2
        drawn.line((end[0], top), (end[0], bottom), has_tip=True)
        drawn.texts((end[0] + 8, (top + bottom) / 2 + 4), rules, "start")
        return
    (start,) = before
    if start[0] > end[0] and start[1] == end[1]:
        # Back along the row, below the arrows that lead forward.
        bend = ((start[0] + end[0]) / 2, start[1] + 80)
        drawn.arc((start[0] - 20, start[1] + BOX[1] / 2), bend, (end[0] + 40, end[1] + BOX[1] / 2))
        drawn.texts((bend[0], start[1] + 64), rules)
        return
    if start[0] == end[0]:
        # There and back stand beside each other, and what they are to the right of both.
        is_down = start[1] < end[1]
        x = start[0] + (-20 if is_down else 20)
        drawn.line((x, border(start, end)[1]), (x, border(end, start)[1]), has_tip=True)
        drawn.text(
            (start[0] + 32, (start[1] + end[1]) / 2 + (-6 if is_down else 12)), f"{'↓' if is_down else '↑'} {', '.join(rules)}", "start"
        )
        return
    drawn.line(border(start, end), border(end, start), has_tip=True)
    drawn.texts(((start[0] + end[0]) / 2, start[1] - 8 - _LINE * (len(rules) - 1)), rules)
