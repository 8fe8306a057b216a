"""A checkpoint and each failover as sequence charts: runs that the model has taken, through steps that they are to come to."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from colofd.conformance.diagrams import Drawing
from colofd.conformance.run_picture import COPIES, PRIMARY, SECONDARY, channels, texts
from colofd.model.finite import Instance, Sizes, State, Step
from colofd.model.finite_slices import slice_of
from colofd.model.search_runs import Goal, Run, shortest_run
from colofd.spec.both_sides import BothSides
from colofd.spec.constants import Step as StepId
from colofd.spec.language import Spec
from colofd.spec.protocol import BOTH_SIDES
from colofd.spec.state import World

_WRITES: Final = "guest.primary-write(page 0, value 2)"
_SENDS: Final = "send.normal-page"
_DIES: Final = "fault.primary-dies"
_FREED: Final = StepId.RELEASE_RECEIVEDMAP
_BEGIN: Final = (_SENDS, StepId.ENTER_COLO, "colo.start")
"""What every chart leaves out: precopy with one page, up to where both guests run."""


@dataclass(frozen=True)
class Scene:
    """A chart: what it is about, and the steps that its run comes to, in order; the shortest way from one to the next is taken."""

    name: str
    title: str
    words: str
    through: tuple[str, ...]


SCENES: Final = (
    Scene(
        "checkpoint",
        "A checkpoint",
        "The primary's guest runs until the reply has come. Pages go to the cache, and are recorded as dirty before the first byte of "
        "them is read. The device state is validated, then the checkpoint is answered: from here on nothing goes back behind it, and the "
        "primary lets its output go. The flush copies what is dirty by either side.",
        ("guest.secondary-write(page 0, value 0)", "colo.request", _WRITES, _SENDS, StepId.COMMIT, "colo.resume"),
    ),
    Scene(
        "failover-between",
        "Failover between two checkpoints",
        "The guest goes on with what it has: the last commit, and its own writes.",
        ("guest.secondary-write(page 0, value 2)", _DIES, StepId.TAKE_OVER, _FREED),
    ),
    Scene(
        "failover-half",
        "Failover while a checkpoint comes in",
        "The page that is on its way lands in the cache, which is dropped: its packet was latched as one of a checkpoint, and the phase is "
        "not asked again. So a thread may go on after the failover, and the memory lives until the last one has ended.",
        ("colo.request", _WRITES, _SENDS, StepId.PREPARE, _DIES, StepId.TAKE_OVER, StepId.READ_PAGE, StepId.MIRROR, _FREED),
    ),
    Scene(
        "failover-received",
        "Failover when a checkpoint is received, and not answered",
        "All of the checkpoint is here, and nobody was told: it is dropped, as its output was not released.",
        ("colo.request", _WRITES, _SENDS, StepId.CHECKPOINT_RECEIVED, _DIES, StepId.TAKE_OVER, _FREED),
    ),
    Scene(
        "failover-answered",
        "Failover when a checkpoint is answered",
        "The primary has let its output go, so the world has seen the checkpoint: the failover waits for its commit, which nothing stops.",
        ("colo.request", _WRITES, _SENDS, StepId.ANSWER, "colo.release-output", _DIES, StepId.COMMIT, StepId.TAKE_OVER, _FREED),
    ),
    Scene(
        "failover-primary",
        "The secondary is lost",
        "The primary goes on alone, at any step. The secondary, if it is still there, stops its guest: there must not be two.",
        ("colo.request", _WRITES, _SENDS, StepId.PREPARE, "failover.primary", StepId.STOP, _FREED),
    ),
)


class NoWay(Exception):  # noqa: N818  # says what is the case
    """A run does not come to a step that it should: the specification does not allow it any more."""


def scene_run(scene: Scene, spec: Spec = BOTH_SIDES) -> tuple[Instance, Run, int]:
    """Return the run of a scene, with its instance, and how many of its first steps a chart leaves out; NoWay if there is none."""
    instance = Instance(spec, slice_of("both-sides"), Sizes(1, 1, 3, 1))
    state = next(state for state in instance.initial_states() if _begins_well(instance.described(state)))
    run = Run((), (state,))
    for wanted in _BEGIN:
        run = _on_to(instance, run, wanted)
    left_out = len(run)
    for wanted in scene.through:
        run = _on_to(instance, run, wanted)
    return instance, run, left_out


def _begins_well(held: dict[str, str]) -> bool:
    """Return whether the page has content, and every device state can be loaded."""
    return held[f"{World.primary.name}_0"] == "1" and held[f"{BothSides.is_loadable.name}_0"] == "yes"


def _on_to(instance: Instance, run: Run, wanted: str) -> Run:
    """Return the run with the shortest way to a step, which is given by its name or its rule."""
    goals = [Goal(step.guard, step) for step in instance.steps if wanted in (step.name, step.rule.id)]
    last: State = run.states[-1]
    way = shortest_run(instance, goals, initial=[last]) if goals else None
    if way is None:
        raise NoWay(f"no run comes to {wanted} after {run.names[-1] if run.names else 'the beginning'}")
    return Run((*run.steps, *way.steps), (*run.states, *way.states[1:]))


# The drawing.

_ROW: Final = 28
_TOP: Final = 70
_FIRST_LANE: Final = 115
_LANE: Final = 160
_COLUMN: Final = 54
_HALF_A_NAME: Final = 50


def drawing(scene: Scene, instance: Instance, run: Run, left_out: int) -> str:
    """Return a chart as SVG: lanes for who does something, arrows for pages and messages, columns for what the page holds."""
    steps, states = run.steps[left_out:], [instance.described(state) for state in run.states[left_out:]]
    lanes = {lane: _FIRST_LANE + _LANE * number for number, lane in enumerate([PRIMARY, *channels(Run(steps, ())), SECONDARY])}
    right = lanes[SECONDARY] + _LANE - 10
    height = _TOP + _ROW * len(steps) + 20
    drawn = Drawing(scene.name, (right + _COLUMN * len(COPIES), height), f"{scene.title}: {len(steps)} steps")
    for lane, x in lanes.items():
        drawn.text((x, 20), lane, weight="bold")
        drawn.line((x, 30), (x, height - 10), width=1, dashes="2 4")
    _draw_memory(drawn, right, states)
    sent: dict[str, tuple[str, int]] = {}
    for number, (step, (before, after)) in enumerate(zip(steps, pairwise(states), strict=True)):
        _draw_step(drawn, lanes, number, texts(step, before, after))
        _draw_messages(drawn, lanes, sent, number, _lane_of(step, before, after), _messages(before, after))
    return drawn.svg()


def _lane_of(step: Step, before: dict[str, str], after: dict[str, str]) -> str:
    return next(iter(texts(step, before, after)))


def _messages(before: dict[str, str], after: dict[str, str]) -> dict[str, bool]:
    """Return the messages that are sent (True) or read in a step."""
    name = f"{BothSides.in_flight.name}_"
    return {cell.removeprefix(name): after[cell] == "yes" for cell in after if cell.startswith(name) and before[cell] != after[cell]}


def _y(row: int) -> float:
    return _TOP + _ROW * (row + 0.5)


def _draw_step(drawn: Drawing, lanes: dict[str, int], row: int, said: dict[str, str]) -> None:
    lane, text = next(iter(said.items()))
    x = lanes[lane]
    drawn.dot((x, _y(row)))
    if len(said) > 1:
        to = lanes[list(said)[1]]
        drawn.line((x, _y(row)), (to - 5, _y(row)), width=1.5, has_tip=True)
        drawn.text(((x + to) / 2, _y(row) - 5), text, size=11)
        return
    # To the right of the primary are the arrows.
    is_left = lane == PRIMARY
    drawn.text((x - 9 if is_left else x + 9, _y(row) + 4), text, "end" if is_left else "start", size=11)


def _draw_messages(
    drawn: Drawing, lanes: dict[str, int], sent: dict[str, tuple[str, int]], row: int, lane: str, messages: dict[str, bool]
) -> None:
    """Draw an arrow for each message that is read, from where it was sent; keep where it is sent."""
    for name, is_sent in messages.items():
        if is_sent:
            sent[name] = (lane, row)
        elif name in sent:
            begin, first = sent.pop(name)
            start, end = (lanes[begin], _y(first)), (lanes[lane], _y(row))
            drawn.line(start, end, dashes="6 3", has_tip=True)
            share = 0.3 if lane == PRIMARY else 0.62
            rise = abs((end[1] - start[1]) / (end[0] - start[0])) * _HALF_A_NAME
            drawn.text((start[0] + (end[0] - start[0]) * share, start[1] + (end[1] - start[1]) * share - 4 - rise), name, size=10)


def _draw_memory(drawn: Drawing, left: int, states: Sequence[dict[str, str]]) -> None:
    """Write what the page holds at the primary, in the cache and in the guest, beside the row that has changed it."""
    drawn.text((left + _COLUMN * len(COPIES) / 2, 20), "the page holds", size=11)
    for column, cell in enumerate(COPIES):
        x = left + _COLUMN * (column + 0.5)
        drawn.text((x, 38), cell, weight="bold")
        held = [state[f"{cell}_0"] for state in states]
        drawn.text((x, 58), held[0])
        for row, (old, new) in enumerate(pairwise(held)):
            if old != new:
                drawn.shade((x, _y(row)), (_COLUMN - 14, _ROW - 8))
            drawn.text((x, _y(row) + 4), new, weight="bold" if old != new else "normal")
