"""Accepts or refuses a run of a receiver: every event must be a step that the spec allows, with its effect on memory.

A run is a list of events, one per micro-step (`Step`), in the order in which their effects could be seen.
What was sent is not in the events: the peer (a recording, or a generated schedule) says it, packet by packet.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, Protocol

from colofd.model.machine import MAIN_NUMBER, Machine, NotEnabled
from colofd.spec.constants import MAIN_CHANNEL, Step, channel_name
from colofd.spec.language import Spec
from colofd.spec.language.prose import prose
from colofd.spec.protocol import BOTH_SIDES, SPEC
from colofd.spec.state import Channel, Page, Phase


class TraceEvent(Protocol):
    """One micro-step, as a receiver reports it.

    `pages` and `zero_pages` are page numbers over all blocks; `digests` (see `page_digest`) were read back
    from memory after the effect, one for each page, normal pages first.
    """

    @property
    def step(self) -> Step: ...  # noqa: D102  # documented by the class
    @property
    def channel(self) -> str: ...  # noqa: D102
    @property
    def pages(self) -> tuple[int, ...]: ...  # noqa: D102
    @property
    def zero_pages(self) -> tuple[int, ...]: ...  # noqa: D102
    @property
    def digests(self) -> tuple[str, ...]: ...  # noqa: D102


@dataclass(frozen=True)
class Sent:
    """A packet of a multifd channel, or one page record of the main channel, as the peer sent it."""

    pages: tuple[int, ...]
    contents: tuple[bytes, ...]
    zero_pages: tuple[int, ...]


class Refused(Exception):  # noqa: N818  # says what happened to the trace
    """The spec does not allow a run. `rule` is the step that was refused, `index` its place in the run.

    `conjunct` is the id of what does not hold: a guard, named by `guard_id`, or what a trace must say.
    """

    def __init__(self, index: int, event: TraceEvent, why: str, conjunct: str) -> None:
        self.index = index
        self.conjunct = conjunct
        self.rule = str(event.step)
        self.why = why
        channel = f" on {event.channel}" if event.channel else ""
        super().__init__(f"event {index}, {event.step}{channel}: {why}")


def guard_id(spec: Spec, refusal: NotEnabled) -> str:
    """Return the id of the guard that a refusal names: the rule's, and the guard's place in its text, from 1."""
    texts = [prose(guard) for guard in spec.rule(refusal.rule).guards]
    return f"{refusal.rule}/{texts.index(refusal.guard) + 1}"


def channel_number(name: str) -> int:
    """Return the number that the model gives to a channel: 0 for main, N + 1 for mfdN."""
    return MAIN_NUMBER if name == MAIN_CHANNEL else int(name.removeprefix("mfd")) + 1


_PRIMARY_BEFORE: Final[Mapping[Step, str]] = {
    Step.COMPLETE: "colo.precopy-sent",
    Step.FILL_BEGIN: "colo.precopy-sent",
    Step.ENTER_COLO: "colo.precopy-sent",
    Step.CHECKPOINT_BEGIN: "colo.request",
    Step.CHECKPOINT_RECEIVED: "colo.checkpoint-sent",
}
"""What the primary must have done before a step of the secondary is possible."""

_PRIMARY_AFTER: Final[Mapping[Step, str]] = {
    Step.ENTER_COLO: "colo.start",
    Step.CHECKPOINT_BEGIN: "colo.stop-primary",
    Step.ANSWER: "colo.release-output",
    Step.COMMIT: "colo.resume",
}
"""What the primary does next."""

_PREPARES = (Step.PREPARE, Step.MAIN_PREPARE)


@dataclass
class Acceptor:
    """Fires the rule of each event on a machine and compares what memory held afterwards.

    `sent` holds, for each channel, what the peer sends and the receiver has not prepared yet. Where the machine executes both sides,
    the primary takes its steps as soon as the secondary lets it.
    """

    machine: Machine
    sent: dict[str, deque[Sent]] = field(default_factory=dict)
    current: dict[str, Sent] = field(default_factory=dict)
    fired: dict[str, int] = field(default_factory=dict)
    accepted: int = 0

    @cached_property
    def _channels(self) -> frozenset[str]:
        """Return what an event may call its channel."""
        return frozenset({"", MAIN_CHANNEL, *map(channel_name, range(self.machine.sizes[Channel] - 1))})

    def accept(self, event: TraceEvent) -> None:
        """Take one event; Refused if the spec does not allow it here, or if memory differs afterwards."""
        try:
            # With the deferred mirror, precopy was over when the fill began.
            is_filled = self.machine.phase is Phase.FILLING
            self._primary_takes(None if is_filled else _PRIMARY_BEFORE.get(event.step))
            self._take(event)
            self._primary_takes(_PRIMARY_AFTER.get(event.step))
        except NotEnabled as refusal:
            raise Refused(self.accepted, event, str(refusal), guard_id(self.machine.spec, refusal)) from refusal
        self.accepted += 1
        self.fired[event.step] = self.fired.get(event.step, 0) + 1

    def accept_recorded(self, events: Iterable[TraceEvent]) -> None:
        """Take a whole run whose peer's writes are not known apart from what it sends: a page is written just before it is sent."""
        for event in events:
            is_expected = event.step in _PREPARES and self.machine.phase in (Phase.PRECOPY, Phase.RECEIVING)
            if is_expected and self.sent.get(event.channel):
                self.primary_writes(self.sent[event.channel][0])
            self.accept(event)

    def _primary_takes(self, step: str | None) -> None:
        if step is not None and self.machine.spec.state is BOTH_SIDES.state:
            self.machine.fire(step)

    def primary_writes(self, sent: Sent) -> None:
        """Let the primary's guest write what a packet carries."""
        self.machine.fire("guest.primary-write", pages=sent.pages, values=self.machine.numbers(sent.contents))
        self.machine.fire("guest.primary-write", pages=sent.zero_pages, values=(0,) * len(sent.zero_pages))

    def _take(self, event: TraceEvent) -> None:
        self._require_known(event)
        match event.step:
            case Step.ANSWER if self.machine.spec.state is SPEC.state:
                # The receive path alone has no answers.
                return
            case Step.PREPARE | Step.MAIN_PREPARE:
                self._prepare(event)
            case Step.ZERO_PAGE | Step.MAIN_ZERO_PAGE:
                self._pages(event, event.zero_pages, self._buffer(event))
            case Step.READ_PAGE | Step.MAIN_READ_PAGE:
                self._pages(event, event.pages, self._buffer(event), self._contents_of(event))
            case Step.READ_PART | Step.MAIN_READ_PART:
                opaque = [self.machine.contents.opaque(digest) for digest in event.digests]
                self._pages(event, event.pages, self._buffer(event), opaque)
            case Step.MIRROR:
                self._pages(event, (*event.pages, *event.zero_pages), "guest")
            case Step.MAIN_MIRROR:
                self._pages(event, (*event.pages, *event.zero_pages), "cache" if self.machine.cells["colo"] else "guest")
            case Step.FLUSH_PAGE:
                self._pages(event, event.pages, "guest")
            case _:
                self.machine.fire(event.step, channel=channel_number(event.channel or MAIN_CHANNEL))

    def _require_known(self, event: TraceEvent) -> None:
        """Refuse an event on a channel, or with a page, that does not exist."""
        if event.channel not in self._channels:
            multifd = self.machine.sizes[Channel] - 1
            raise Refused(self.accepted, event, f"there is no such channel, only main and {multifd} multifd channels", "trace.channel")
        named, count = event.pages + event.zero_pages, self.machine.sizes[Page]
        if named and not 0 <= min(named) <= max(named) < count:
            unknown = [page for page in named if not 0 <= page < count]
            raise Refused(self.accepted, event, f"there are no pages {unknown}", "trace.page")

    def _prepare(self, event: TraceEvent) -> None:
        waiting = self.sent.get(event.channel)
        if not waiting:
            raise Refused(self.accepted, event, "nothing that was sent is left to prepare", "trace.sent")
        sent = waiting[0]
        if (event.pages, event.zero_pages) != (sent.pages, sent.zero_pages):
            wanted = f"normal {sent.pages} and zero {sent.zero_pages}"
            why = f"prepared normal {event.pages} and zero {event.zero_pages}, but {wanted} were sent"
            raise Refused(self.accepted, event, why, "trace.sent")
        channel = channel_number(event.channel)
        self.machine.fire("send.normal-page", channel=channel, pages=sent.pages)
        self.machine.fire("send.zero-page", channel=channel, pages=sent.zero_pages)
        self.machine.fire(event.step, channel=channel)
        self.current[event.channel] = waiting.popleft()

    def _contents_of(self, event: TraceEvent) -> list[int]:
        sent = self.current.get(event.channel, Sent((), (), ()))
        content = dict(zip(sent.pages, sent.contents, strict=True))
        unknown = [page for page in event.pages if page not in content]
        if unknown:
            raise Refused(self.accepted, event, f"read pages {unknown}, which the packet does not carry", "trace.carried")
        return [self.machine.contents.number(content[page]) for page in event.pages]

    def _buffer(self, event: TraceEvent) -> str:
        """Return the cell in which the event's pages land."""
        cells = self.machine.cells
        is_direct = not cells["colo"] or (event.channel == MAIN_CHANNEL and cells["mirror"][MAIN_NUMBER])
        return "guest" if is_direct else "cache"

    def _pages(self, event: TraceEvent, pages: Sequence[int], cell: str, values: Sequence[int] = ()) -> None:
        if not pages:
            raise Refused(self.accepted, event, "it names no page", "trace.names-page")
        self.require_digests(event, pages)
        self.machine.fire(event.step, channel=channel_number(event.channel or MAIN_CHANNEL), pages=pages, values=values)
        self.compare(event, cell, pages, self.machine.digests(cell, pages))

    def require_digests(self, event: TraceEvent, pages: Sequence[int]) -> None:
        """Refuse an event that does not say what each of its pages holds."""
        if len(event.digests) != len(pages):
            raise Refused(self.accepted, event, f"{len(event.digests)} digests for {len(pages)} pages", "trace.digests")

    def compare(self, event: TraceEvent, cell: str, pages: Sequence[int], expected: Sequence[str]) -> None:
        """Compare what an event says of memory with what the cell holds now; Refused if it differs."""
        if list(event.digests) != expected:
            different = [page for page, want, have in zip(pages, expected, event.digests, strict=True) if want != have]
            raise Refused(self.accepted, event, f"{cell} does not hold what it should at pages {different}", f"{event.step}/effect")


def numbered(packets: Mapping[str, Iterable[Sent]]) -> dict[str, deque[Sent]]:
    """Return what a peer sends as the queues that an `Acceptor` takes."""
    return {channel: deque(sent) for channel, sent in packets.items()}
