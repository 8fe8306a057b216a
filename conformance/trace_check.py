"""Whether a trace is a run that the spec allows; and if it is not, what would have been."""

import copy
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np

from colofd.conformance.diagnostic import Diagnostic
from colofd.conformance.trace_file import EventLine, Header, KnownByDigest, Pages, TraceFile, WroteLine
from colofd.model.compiled import CompiledMachine
from colofd.model.machine import NotEnabled
from colofd.model.trace import Acceptor, Refused, Sent, TraceEvent, channel_number
from colofd.spec.constants import MAIN_CHANNEL, Step, channel_name
from colofd.spec.language import Spec
from colofd.spec.state import Phase

_PREPARES: Final = (Step.PREPARE, Step.MAIN_PREPARE)
_PAGES_TRIED: Final = 8
"""Of so many pages a step is tried one by one, where all together are refused."""

_ENDS: Final = (Step.EXIT, Step.GIVE_UP, Step.TAKE_OVER, Step.STOP)
"""Steps that are possible nearly always: hardly what was meant."""

_OPAQUE: Final = (Step.READ_PART, Step.MAIN_READ_PART)
"""Steps after which a page holds what only the receiver knows."""


class TraceReport(msgspec.Struct, frozen=True):
    """What `colofd trace --json` prints.

    `enabled` are the events that were possible instead of the refused one, `nearest` the one that differs least from it.
    """

    events: int
    accepted: int
    refused_at: int | None = None
    enabled: list[dict[str, Any]] = msgspec.field(default_factory=list)
    failing: dict[str, str] | None = None
    refused: dict[str, Any] | None = None
    nearest: dict[str, Any] | None = None


def check_trace(trace: TraceFile, spec: Spec) -> TraceReport:
    """Accept or refuse a whole trace. Diagnostic if a guest writes where it cannot."""
    acceptor = new_acceptor(trace, spec)
    try:
        take(acceptor, trace.happened)
    except Refused as refusal:
        return _explained(trace, spec, refusal)
    return TraceReport(trace.events, acceptor.accepted)


def check_trace_against(trace: TraceFile, readings: Iterable[Spec]) -> tuple[TraceReport, Spec]:
    """Accept or refuse a whole trace by any of some specifications; return the first that accepts it, or the one that got furthest."""
    furthest: tuple[TraceReport, Spec] | None = None
    for spec in readings:
        report = check_trace(trace, spec)
        if report.refused_at is None:
            return report, spec
        if furthest is None or report.accepted > furthest[0].accepted:
            furthest = report, spec
    if furthest is None:
        raise ValueError("there is no specification")
    return furthest


def new_acceptor(trace: TraceFile, spec: Spec, machine_class: type[CompiledMachine] = CompiledMachine) -> Acceptor:
    """Return an acceptor in the state in which a trace begins."""
    header = trace.header
    machine = machine_class(
        header.pages, header.channels, colo=header.colo, deferred=header.is_mirror_deferred, page_size=header.page_size, spec=spec
    )
    machine.contents = KnownByDigest(header.page_size)
    _require_sent_pages(trace)
    return Acceptor(machine, {channel: deque(packets) for channel, packets in trace.sent.items()})


def take(acceptor: Acceptor, happened: Sequence[EventLine | WroteLine]) -> None:
    """Take a run; Refused if the spec does not allow it.

    What the primary's guest writes is not known apart from what is sent: it writes before pages are sent or, where they belong to a
    checkpoint, before that is asked for.
    """
    machine = acceptor.machine
    for index, event in enumerate(happened):
        if isinstance(event, WroteLine):
            _write(acceptor, event)
            continue
        if event.step in _PREPARES and machine.phase is Phase.PRECOPY and acceptor.sent.get(event.channel):
            acceptor.primary_writes(acceptor.sent[event.channel][0])
        elif event.step is Step.CHECKPOINT_BEGIN and machine.phase is Phase.IDLE:
            for sent in _sent_in_checkpoint(acceptor, happened[index + 1 :]):
                acceptor.primary_writes(sent)
        acceptor.accept(event)


def _sent_in_checkpoint(acceptor: Acceptor, happened: Sequence[EventLine | WroteLine]) -> Iterator[Sent]:
    """Yield what is prepared before the next checkpoint begins."""
    prepared: Counter[str] = Counter()
    for event in happened:
        if isinstance(event, EventLine):
            if event.step is Step.CHECKPOINT_BEGIN:
                break
            prepared[event.channel] += event.step in _PREPARES
    for channel, count in prepared.items():
        waiting = acceptor.sent.get(channel, deque())
        yield from (waiting[index] for index in range(min(count, len(waiting))))


def _write(acceptor: Acceptor, event: WroteLine) -> None:
    machine = acceptor.machine
    try:
        machine.fire("guest.secondary-write", pages=event.wrote, values=machine.numbers([bytes.fromhex(each) for each in event.digests]))
    except NotEnabled as refusal:
        cause = f"after {acceptor.accepted} events, the guest does not run"
        raise Diagnostic("trace-guest", "the guest cannot write there", cause, "write the line where the write was seen") from refusal


def _require_sent_pages(trace: TraceFile) -> None:
    known = {MAIN_CHANNEL, *map(channel_name, range(trace.header.channels))}
    lines = [(channel, sent.pages + sent.zero_pages) for channel, packets in trace.sent.items() for sent in packets]
    lines += [("", each.wrote) for each in trace.happened if isinstance(each, WroteLine)]
    for channel, pages in lines:
        if channel and channel not in known:
            raise Diagnostic("trace-sent", f"{channel!r} is no channel", f"the header has {trace.header.channels} multifd channels", _SENT)
        if pages and max(pages) >= trace.header.pages:
            raise Diagnostic("trace-sent", f"there is no page {max(pages)}", f"the header has {trace.header.pages} pages", _SENT)


_SENT: Final = "pages are numbered over all RAM blocks, from 0"


# What would have been possible.


@dataclass
class _Telling(Acceptor):
    """Takes an event whatever digests it has, and tells the right ones."""

    told: tuple[str, ...] = ()

    def require_digests(self, event: TraceEvent, pages: Sequence[int]) -> None:
        """Require none."""

    def compare(self, event: TraceEvent, cell: str, pages: Sequence[int], expected: Sequence[str]) -> None:
        """Note what memory holds."""
        del event, cell, pages
        self.told = tuple(expected)


def _explained(trace: TraceFile, spec: Spec, refusal: Refused) -> TraceReport:
    """Run the trace again up to the refused event, and try what else was possible there."""
    at = [place for place, each in enumerate(trace.happened) if isinstance(each, EventLine)][refusal.index]
    refused = trace.happened[at]
    before = new_acceptor(trace, spec)
    take(before, trace.happened[:at])
    enabled = list(_enabled(before, trace.header))
    nearest = min(enabled, key=lambda event: _difference(event, refused), default=None)
    return TraceReport(
        events=trace.events,
        accepted=refusal.index,
        refused_at=refusal.index,
        enabled=[{"rule": str(event.step), "channel": event.channel, "pages": [*event.pages, *event.zero_pages]} for event in enabled],
        failing={"id": refusal.conjunct, "why": refusal.why},
        refused=msgspec.to_builtins(refused),
        nearest=None if nearest is None else msgspec.to_builtins(nearest),
    )


def _difference(event: EventLine, refused: EventLine | WroteLine) -> tuple[int, ...]:
    """Return how much an event differs from the refused one: another step or channel counts most, then pages, then memory."""
    if not isinstance(refused, EventLine):
        raise TypeError("a guest's write is never refused")
    return (
        event.step in _ENDS,
        (event.step != refused.step) + ((event.channel or MAIN_CHANNEL) != (refused.channel or MAIN_CHANNEL)),
        len({*event.pages, *event.zero_pages} ^ {*refused.pages, *refused.zero_pages}),
        event.digests != refused.digests,
    )


def _enabled(before: Acceptor, header: Header) -> Iterator[EventLine]:
    for step in Step:
        if step in _OPAQUE:
            continue
        channels = [channel_name(number) for number in range(header.channels)] if step in _WITH_CHANNEL else []
        for channel in channels if step in _WITH_CHANNEL and step is not Step.EXIT else [*channels, MAIN_CHANNEL]:
            for event in _candidates(before, step, channel):
                told = _tried(before, event)
                if told is not None:
                    yield told
                    break


_WITH_CHANNEL: Final = (
    Step.PREPARE,
    Step.ZERO_PAGE,
    Step.READ_PAGE,
    Step.PAYLOAD_COMPLETE,
    Step.MIRROR,
    Step.PACKET_DONE,
    Step.PARK,
    Step.EXIT,
)
_ZERO: Final = (Step.ZERO_PAGE, Step.MAIN_ZERO_PAGE)
_READ: Final = (Step.READ_PAGE, Step.MAIN_READ_PAGE)
_CARRIED: Final = (*_ZERO, *_READ, Step.MIRROR, Step.MAIN_MIRROR)


def _candidates(before: Acceptor, step: Step, channel: str) -> Iterator[EventLine]:
    """Yield events of a step that may be possible: those with many pages first."""
    if step in _PREPARES:
        if waiting := before.sent.get(channel):
            yield EventLine(step, channel, waiting[0].pages, waiting[0].zero_pages)
        return
    if step not in (*_CARRIED, Step.FLUSH_PAGE):
        yield EventLine(step, channel)
        return
    pages, zero_pages = _flushed(before) if step is Step.FLUSH_PAGE else _carried(before, step, channel)
    if pages or zero_pages:
        yield EventLine(step, channel, pages, zero_pages)
    yield from (EventLine(step, channel, (page,)) for page in pages[:_PAGES_TRIED])
    yield from (EventLine(step, channel, (), (page,)) for page in zero_pages[:_PAGES_TRIED])


def _flushed(before: Acceptor) -> tuple[Pages, Pages]:
    """Return the pages that a flush copies, and none of zeros: it knows no difference."""
    cells = before.machine.cells
    return tuple(np.flatnonzero(cells["peer_dirty"] | cells["own_dirty"]).tolist()), ()


def _carried(before: Acceptor, step: Step, channel: str) -> tuple[Pages, Pages]:
    """Return the normal and the zero pages that a packet still carries, as far as a step is about them."""
    carries = before.machine.cells["packet"][channel_number(channel)]
    sent = before.current.get(channel, Sent((), (), ()))
    pages = tuple(page for page in sent.pages if carries[page])
    zero_pages = tuple(page for page in sent.zero_pages if carries[page])
    return () if step in _ZERO else pages, () if step in _READ else zero_pages


def _tried(before: Acceptor, event: EventLine) -> EventLine | None:
    """Return an event with the digests of what memory holds after it, or None if it is refused."""
    machine = copy.copy(before.machine)
    machine.cells = {name: cell.copy() for name, cell in before.machine.cells.items()}
    sent = {channel: deque(packets) for channel, packets in before.sent.items()}
    trial = _Telling(machine, sent, dict(before.current))
    try:
        take(trial, [event])
    except Refused:
        return None
    return msgspec.structs.replace(event, digests=trial.told)
