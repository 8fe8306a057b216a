"""The fields of a vector, each where it stands: on which channel, sent by which act, at which stage of the run."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from colofd.conformance.vector_format import Act, Connect, Ram, Send, Setup, Vector, bytes_of
from colofd.conformance.vector_script import COMMITS
from colofd.model.decode import Context, Item, Visit, decode_main, decode_multifd
from colofd.spec.constants import MAIN_CHANNEL
from colofd.spec.reasons import Reason, Rejected

PRECOPY: Final = "precopy"
"""The stage before the first commit."""

_OPEN_ENDS: Final = (Reason.TRUNCATED, Reason.DESCRIPTION_MISSING, Reason.DESCRIPTION_MISMATCH, Reason.CHANNEL_LOST)
"""Reasons that tell only with the end of the channel: until then more may come."""


def context_of(setup: Setup) -> Context:
    """Return what a reader of a vector's channels knows before."""
    return Context(
        page_size=setup.page_size,
        channels=setup.channels,
        compression=setup.compression,
        machine=setup.machine,
        uuid=bytes.fromhex(setup.uuid),
        colo=setup.colo,
        blocks={block.name: block.length for block in setup.blocks},
    )


def sent_on(script: Sequence[Act], channel: str) -> bytes:
    """Return all that is said on a channel."""
    return b"".join(bytes_of(act.data) for act in script if isinstance(act, Send) and act.channel == channel)


def decoded(data: bytes, channel: str, setup: Setup, visits: list[Visit] | None = None) -> Iterator[Item]:
    """Yield the items of a channel; Rejected as the decoders raise it."""
    decode = decode_main if channel == MAIN_CHANNEL else decode_multifd
    yield from decode(data, context_of(setup), observer=None if visits is None else visits.append)


def decoded_until(data: bytes, channel: str, setup: Setup) -> Rejected | None:
    """Return what is refused of a channel that goes on, if anything is by now."""
    try:
        for _ in decoded(data, channel, setup):
            pass
    except Rejected as rejected:
        return None if rejected.reason in _OPEN_ENDS else rejected
    return None


@dataclass(frozen=True)
class Place:
    """A field where it stands in a vector: the number of the act that sends it, and where that act's bytes are in the channel."""

    visit: Visit
    channel: str
    act: int
    start: int
    end: int
    stage: str

    def __str__(self) -> str:
        return f"{self.field} on {self.kind} in {self.stage}"

    @property
    def kind(self) -> str:
        """Which kind of channel it is."""
        return "main" if self.channel == MAIN_CHANNEL else "multifd"

    @property
    def field(self) -> str:
        """The field, with its table."""
        return f"{self.visit.table.name}.{self.visit.field.name}"


def places(vector: Vector) -> Iterator[Place]:
    """Yield every field of a vector's channels."""
    for channel in [act.channel for act in vector.script if isinstance(act, Connect)]:
        seen: list[Visit] = []
        # A channel of a run that goes on has no end.
        try:
            for _ in decoded(sent_on(vector.script, channel), channel, vector.setup, seen):
                pass
        except Rejected as rejected:
            if rejected.reason not in _OPEN_ENDS:
                raise
        spans = list(_spans(vector.script, channel))
        for visit in seen:
            for act, start, end in spans:
                if start <= visit.offset < end:
                    yield Place(visit, channel, act, start, end, _stage(vector.script[:act]))


def _spans(script: Sequence[Act], channel: str) -> Iterator[tuple[int, int, int]]:
    """Yield number, first byte and end of each act that sends on a channel."""
    at = 0
    for number, act in enumerate(script):
        if isinstance(act, Send) and act.channel == channel:
            length = len(bytes_of(act.data))
            yield number, at, at + length
            at += length


def _stage(before: Sequence[Act]) -> str:
    """Return how far a run is: in precopy, or in a checkpoint."""
    commits = [act.rule for act in before if isinstance(act, Ram) and act.rule in COMMITS]
    return PRECOPY if not commits else "a checkpoint"
