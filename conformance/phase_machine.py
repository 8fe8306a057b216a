"""The phases of the destination and the rules between them, computed from the rules, and drawn as SVG."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from colofd.model.proof_trees import walk
from colofd.model.proof_values import possible_values
from colofd.spec.language import Literal, Rule, Spec
from colofd.spec.state import Phase, World

Point = tuple[float, float]

PLACES: Final[Mapping[Phase, Point]] = {
    Phase.SETUP: (70, 170),
    Phase.PRECOPY: (270, 170),
    Phase.COMPLETED: (270, 40),
    Phase.FAILED: (130, 310),
    Phase.FILLING: (440, 310),
    Phase.IDLE: (530, 170),
    Phase.RECEIVING: (780, 170),
    Phase.RECEIVED: (1030, 170),
    Phase.FLUSHING: (780, 40),
    Phase.FAILOVER: (655, 310),
    Phase.STOPPED: (905, 310),
}
"""Where each phase is drawn: the middle of its box."""

SIZE: Final = (1120, 350)
BOX: Final = (112, 40)
MANY: Final = 3
"""From so many phases on, a rule is drawn once, from a frame around them."""


@dataclass(frozen=True)
class Transition:
    """A rule that leads from any of the phases `before` to the phase `after`."""

    rule: str
    before: tuple[Phase, ...]
    after: Phase


def transitions(spec: Spec) -> tuple[Transition, ...]:
    """Return every rule that changes the phase: its guards say from where, its update where to."""
    return tuple(
        Transition(rule.id, tuple(phase for phase in Phase if phase in _before(rule)), after)
        for rule in spec.rules
        for update in rule.updates
        if update.cell is World.phase
        for after in [node.value for node in walk(update.value) if isinstance(node, Literal)]
    )


def _before(rule: Rule) -> frozenset[Phase]:
    return frozenset[Phase](Phase).intersection(*(possible_values(guard, World.phase) for guard in rule.guards))


def drawing(found: Sequence[Transition]) -> str:
    """Return the machine as SVG. Its lines have the colour of the text around it, so that it can be read on light, dark and paper."""
    frames = {each.before for each in found if len(each.before) >= MANY}
    begin = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {SIZE[0]} {SIZE[1]}" role="img" font-family="sans-serif" font-size="12"'
        ' fill="none" stroke="currentColor" style="max-width:100%;height:auto">'
    )
    title = f"<title>Phases of the destination, and the {len(found)} rules that lead from one to another</title>"
    tip = (
        '<defs><marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0 0L10 5L0 10z" fill="currentColor" stroke="none"/></marker></defs>'
    )
    arrows = (line for each in found for line in _arrows(each))
    return "\n".join([begin, title, tip, *map(_frame, frames), *arrows, *map(_box, Phase), "</svg>"])


def _box(phase: Phase) -> str:
    (x, y), (width, height) = PLACES[phase], BOX
    box = f'<rect x="{x - width / 2:g}" y="{y - height / 2:g}" width="{width}" height="{height}" rx="6" stroke-width="1.5"/>'
    return box + _text((x, y + 4), phase.name, "middle", weight="bold")


def _frame(phases: Sequence[Phase]) -> str:
    (x, y), (width, height) = _around(phases)
    return f'<rect x="{x - width / 2:g}" y="{y - height / 2:g}" width="{width:g}" height="{height:g}" rx="10" stroke-dasharray="5 4"/>'


def _around(phases: Sequence[Phase]) -> tuple[Point, Point]:
    """Return middle and size of the frame around some phases."""
    (left, right), (top, bottom) = ((min(axis), max(axis)) for axis in zip(*(PLACES[phase] for phase in phases), strict=True))
    return ((left + right) / 2, (top + bottom) / 2), (right - left + BOX[0] + 20, bottom - top + BOX[1] + 20)


def _arrows(transition: Transition) -> Iterator[str]:
    target = PLACES[transition.after]
    if len(transition.before) >= MANY:
        (_, y), (_, height) = _around(transition.before)
        yield from _arrow((target[0], y + height / 2), (target[0], target[1] - BOX[1] / 2), transition.rule)
        return
    for phase in transition.before:
        source = PLACES[phase]
        yield from _arrow(_border(source, target), _border(target, source), transition.rule)


def _border(inside: Point, toward: Point) -> Point:
    """Return where the line from the middle of a box leaves it."""
    across, down = toward[0] - inside[0], toward[1] - inside[1]
    scale = min(BOX[0] / 2 / abs(across) if across else 9, BOX[1] / 2 / abs(down) if down else 9)
    return inside[0] + across * scale, inside[1] + down * scale


def _arrow(start: Point, end: Point, label: str) -> Iterator[str]:
    yield f'<path d="M{start[0]:.0f} {start[1]:.0f}L{end[0]:.0f} {end[1]:.0f}" marker-end="url(#tip)"/>'
    middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
    if start[1] == end[1]:
        yield _text((middle[0], middle[1] - 7), label, "middle")
    elif (end[0] - start[0]) * (end[1] - start[1]) < 0:
        # The line rises to the right: there is room to the left of it, above, or to the right, below.
        is_downward = end[1] > start[1]
        yield _text((middle[0] - 8, middle[1] - 4), label, "end") if is_downward else _text((middle[0] + 8, middle[1] + 10), label, "start")
    else:
        yield _text((middle[0] + 8, middle[1]), label, "start")


def _text(place: Point, text: str, anchor: str, weight: str = "normal") -> str:
    return (
        f'<text x="{place[0]:.0f}" y="{place[1]:.0f}" text-anchor="{anchor}" font-weight="{weight}" fill="currentColor" stroke="none">'
        f"{escape(text)}</text>"
    )
