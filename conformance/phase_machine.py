"""The phases of the destination and the rules between them, computed from the rules, and drawn as SVG."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from colofd.conformance.diagrams import BOX, Drawing, Point, around, border
from colofd.model.proof_trees import walk
from colofd.model.proof_values import possible_values
from colofd.spec.language import Literal, Rule, Spec
from colofd.spec.state import Phase, World

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
    """Return the machine as SVG."""
    drawn = Drawing("phases", SIZE, f"Phases of the destination, and the {len(found)} rules that lead from one to another")
    for phases in {each.before for each in found if len(each.before) >= MANY}:
        drawn.box(*_around(phases), width=1, dashes="5 4", corner=10)
    for each in found:
        _draw_arrows(drawn, each)
    for phase in Phase:
        drawn.named_box(PLACES[phase], phase.name)
    return drawn.svg()


def _around(phases: Sequence[Phase]) -> tuple[Point, Point]:
    return around(PLACES[phase] for phase in phases)


def _draw_arrows(drawn: Drawing, transition: Transition) -> None:
    target = PLACES[transition.after]
    if len(transition.before) >= MANY:
        (_, y), (_, height) = _around(transition.before)
        _draw_arrow(drawn, (target[0], y + height / 2), (target[0], target[1] - BOX[1] / 2), transition.rule)
        return
    for phase in transition.before:
        source = PLACES[phase]
        _draw_arrow(drawn, border(source, target), border(target, source), transition.rule)


def _draw_arrow(drawn: Drawing, start: Point, end: Point, label: str) -> None:
    drawn.line(start, end, has_tip=True)
    x, y = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2
    if start[1] == end[1]:
        drawn.text((x, y - 7), label)
    elif (end[0] - start[0]) * (end[1] - start[1]) >= 0:
        drawn.text((x + 8, y), label, "start")
    # The line rises to the right: there is room to the left of it, above, or to the right, below.
    elif end[1] > start[1]:
        drawn.text((x - 8, y - 4), label, "end")
    else:
        drawn.text((x + 8, y + 10), label, "start")
