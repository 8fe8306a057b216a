"""Vectors of runs of the model, as far as they are seen from outside: the shortest run of each known mistake, and transition tours.

Of a run are kept what the primary and the secondary's guest write, what is sent by which channel, where rounds end, checkpoints and
failover. When a thread of the receiver goes on is its own matter. What the run leaves open is concluded, by a commit or a failover.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from colofd.conformance.black_box import NotObservable
from colofd.conformance.subjects import Options
from colofd.conformance.vector_format import Vector, slug
from colofd.conformance.vector_script import Schedule, ScriptWriter, written
from colofd.model.controls import HARMLESS, WRONG
from colofd.model.controls_declared import Control
from colofd.model.controls_runs import run_of
from colofd.model.finite import Instance, Sizes, Step
from colofd.model.finite_slices import MAIN_NUMBER, slice_of
from colofd.model.search_graph import graph
from colofd.model.search_tours import Cover, tour
from colofd.model.trace import Sent
from colofd.spec.constants import MAIN_CHANNEL, channel_name
from colofd.spec.constants import Step as Micro
from colofd.spec.protocol import SPEC

FAMILY: Final = "run"
_TOURS: Final = (
    ("core", Sizes(1, 1, 2)),
    ("core", Sizes(2, 1, 2)),
    ("main-channel", Sizes(0, 1, 2)),
    ("main-channel", Sizes(1, 1, 2)),
    ("plain", Sizes(1, 1, 2)),
)
"""The slices that tours go through, and their sizes: few, as a page is like any other."""

_IN_A_ROW: Final = 3
"""How many steps in a row are one thing to be covered."""

_OUTSIDE: Final = {
    "send.normal-page": "content",
    "send.zero-page": "zeros",
    "guest.secondary-write": "own write",
    Micro.RELEASE: "round ends",
    Micro.ENTER_COLO: "COLO",
    Micro.COMPLETE: "complete",
    Micro.CHECKPOINT_BEGIN: "checkpoint",
    Micro.CHECKPOINT_RECEIVED: "received",
    Micro.COMMIT: "commit",
    Micro.TAKE_OVER: "failover",
}
"""The steps that are seen from outside, in short."""


def run_vectors() -> Iterator[tuple[Vector, list[str]]]:
    """Yield the vectors with what each covers."""
    for control in (*WRONG, *HARMLESS):
        yield from _of_control(control)
    seen: set[str] = set()
    for part, sizes in _TOURS:
        found = tour(graph(Instance(SPEC, slice_of(part), sizes)), Cover.SITUATIONS)
        for number, run in enumerate(found.runs):
            name = f"tour of {part} {sizes} {number}"
            for ends_with_failover in (False, True):
                rows = _in_a_row(run.steps, ends_with_failover=ends_with_failover)
                if seen.issuperset(rows):
                    continue
                vector = _written(name, _rules(run.steps), run.steps, is_plain=part == "plain", ends_with_failover=ends_with_failover)
                if vector is not None:
                    seen.update(rows)
                    yield vector, rows


def _of_control(control: Control) -> Iterator[tuple[Vector, list[str]]]:
    run = run_of(control)
    if run is None:
        return
    rules = [rule.id for rule in control.rules] or [str(Micro.START)]
    is_plain = "without the capability" in control.name
    pair = [_written(control.name, rules, run.steps, is_plain=is_plain, ends_with_failover=each) for each in (False, True)]
    commits, fails_over = pair
    if commits is not None:
        yield commits, [f"known mistake: {control.name}, then the commit"]
    if fails_over is not None:
        twin = commits.id if commits else ""
        differs = "failover comes where the run ends" if twin else ""
        vector = Vector(fails_over.id, FAMILY, fails_over.rules, fails_over.setup, fails_over.verdict, fails_over.script, twin, differs)
        yield vector, [f"known mistake: {control.name}, then a failover"]


def _rules(steps: Sequence[Step]) -> list[str]:
    """Return the rules that a run takes, the last one first."""
    return list(dict.fromkeys(step.rule.id for step in reversed(steps) if step.rule.id in set(Micro)))


def _in_a_row(steps: Sequence[Step], *, ends_with_failover: bool) -> list[str]:
    """Return what is seen from outside in a row, in short."""
    seen = [label for step in steps if (label := _label(step))]
    seen += ["failover"] * (ends_with_failover and "failover" not in seen)
    rows = [seen[at : at + _IN_A_ROW] for at in range(max(1, len(seen) - _IN_A_ROW + 1))]
    return [f"in a row: {', '.join(row)}" for row in rows]


def _label(step: Step) -> str:
    short = _OUTSIDE.get(step.rule.id, "")
    if not step.rule.id.startswith("send."):
        return short
    return f"{short} by {'main' if _named(step)['channel'] == MAIN_NUMBER else 'multifd'}"


def _named(step: Step) -> dict[str, int]:
    return {parameter.name: argument for parameter, argument in zip(step.rule.parameters, step.arguments, strict=True)}


def _written(name: str, rules: Sequence[str], steps: Sequence[Step], *, is_plain: bool, ends_with_failover: bool) -> Vector | None:
    """Return a run as a vector; None if it cannot be made from outside, or cannot end like this."""
    channels = max([2, *(_named(step).get("channel", 0) for step in steps)])
    if all(_named(step).get("channel", MAIN_NUMBER) == MAIN_NUMBER for step in steps):
        channels = 0
    options = Options(pages=4, channels=channels, colo=not is_plain)
    what = f"{name}, then {'a failover' if ends_with_failover else 'the commit'}"
    return written(FAMILY, slug(rules[0], what), options, _schedule(steps, ends_with_failover=ends_with_failover), rules)


def _schedule(steps: Sequence[Step], *, ends_with_failover: bool) -> Schedule:
    def schedule(run: ScriptWriter) -> None:
        replay = _Replay(run)
        for step in steps:
            replay.take(step)
        replay.conclude(ends_with_failover=ends_with_failover)

    return schedule


class _Replay:
    """Makes the moves of a run that are seen from outside."""

    def __init__(self, run: ScriptWriter) -> None:
        self._run = run
        self._packets: dict[str, tuple[list[int], list[int]]] = {}
        self._written: set[int] = set()
        self._stage = "precopy"

    def take(self, step: Step) -> None:
        """Make the move of a step, if it has one."""
        given, rule = _named(step), step.rule.id
        if rule == "guest.primary-write":
            self._run.primary_writes(given["page"], given["value"])
            self._written.add(given["page"])
        elif rule in ("send.normal-page", "send.zero-page"):
            packet = self._packets.setdefault(_name(given["channel"]), ([], []))
            packet[rule == "send.zero-page"].append(given["page"])
        elif rule in (Micro.PREPARE, Micro.MAIN_PREPARE):
            self._put(_name(given.get("channel", MAIN_NUMBER)))
        elif rule == "guest.secondary-write" and self._stage in ("colo", "checkpoint", "received"):
            self._run.guest_writes(given["page"], given["value"], is_reported_at_once=True)
        elif rule == Micro.GIVE_UP:
            raise NotObservable("when it gives up is the receiver's")
        else:
            self._turn(rule)

    def conclude(self, *, ends_with_failover: bool) -> None:
        """End what the run leaves open. NotObservable if there is nothing to fail over, or it has failed over."""
        if ends_with_failover and self._stage not in ("colo", "checkpoint", "received"):
            raise NotObservable("there is nothing to take over")
        self._put_all()
        if ends_with_failover:
            self._run.failover()
            return
        if self._stage == "precopy":
            self._turn(Micro.ENTER_COLO if self._run.options.colo else Micro.COMPLETE)
        if self._stage in ("checkpoint", "received"):
            self._turn(Micro.COMMIT)

    def _turn(self, rule: str) -> None:
        """Make a move that concerns all channels."""
        if rule == Micro.RELEASE and self._stage in ("precopy", "checkpoint"):
            self._put_all()
            self._run.end_round()
        elif rule in (Micro.ENTER_COLO, Micro.COMPLETE):
            self._put_all()
            self._run.end_precopy()
            self._stage = "colo" if self._run.options.colo else "completed"
        elif rule == Micro.CHECKPOINT_BEGIN:
            self._run.begin_checkpoint()
            self._stage = "checkpoint"
        elif rule == Micro.CHECKPOINT_RECEIVED:
            self._put_all()
            self._run.receive_checkpoint()
            self._stage = "received"
        elif rule == Micro.COMMIT:
            if self._stage == "checkpoint":
                self._turn(Micro.CHECKPOINT_RECEIVED)
            self._run.commit()
            self._stage = "colo"
        elif rule == Micro.TAKE_OVER:
            self._put_all()
            self._run.failover()
            self._stage = "taken over"

    def _put_all(self) -> None:
        for name in list(self._packets):
            self._put(name)

    def _put(self, name: str) -> None:
        """Send the packet that a channel has been given; a page that was sent in this round goes with the next one."""
        normal, zero = self._packets.pop(name, ([], []))
        run, sendable = self._run, set(self._run.peer.sendable())
        normal, zero = ([page for page in pages if page in sendable] for pages in (normal, zero))
        if self._stage not in ("precopy", "checkpoint") or not normal + zero:
            return
        zeros = bytes(run.options.page_size)
        for page in normal:
            # Zeros may be sent as content, if the primary has written them: a run that says nothing of it means other content.
            if page not in self._written:
                run.primary_writes(page, 1)
        for page in zero:
            if run.peer.ram[page] != zeros:
                run.primary_writes(page, 0)
        run.peer.take([*normal, *zero])
        sent = Sent(tuple(normal), tuple(run.peer.ram[page] for page in normal), tuple(zero))
        run.peer.put(name, run.peer.packet(name, sent))


def _name(channel: int) -> str:
    return MAIN_CHANNEL if channel == MAIN_NUMBER else channel_name(channel - 1)
