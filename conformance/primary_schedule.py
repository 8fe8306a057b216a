"""What a primary of ours does, as data: a list of moves in JSON, each an object with `do`; a schedule may break off or lie anywhere."""

import hashlib
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import msgspec

from colofd.conformance.peer import UnexpectedReply, page_content
from colofd.conformance.primary import Primary
from colofd.spec.constants import MAIN_CHANNEL, ColoMessage


class BadSchedule(Exception):  # noqa: N818  # says what is the case
    """A schedule that is none, or that names a page or a channel that is not there."""


class _Move(msgspec.Struct, frozen=True, tag_field="do", forbid_unknown_fields=True):
    """One move of the primary."""


class Write(_Move, frozen=True, tag="write"):
    """The guest writes content number `content` into pages; 0 is zeros."""

    pages: tuple[int, ...]
    content: int


class Send(_Move, frozen=True, tag="send"):
    """A packet with pages (main channel: records) on a channel; `times` 2 sends it twice, `flipped` is a byte of it to be wrong."""

    channel: str
    pages: tuple[int, ...]
    times: int = 1
    flipped: int | None = None


class EndRound(_Move, frozen=True, tag="round"):
    """SYNC on all multifd channels but one, and what ends a round on the main channel."""

    silent: str = ""


class Sync(_Move, frozen=True, tag="sync"):
    """SYNC on one multifd channel, which was silent when the round ended."""

    channel: str


class Rest(_Move, frozen=True, tag="rest"):
    """All pages that must still be sent, shared among the channels, in as many rounds as it takes."""


class EndPrecopy(_Move, frozen=True, tag="end-precopy"):
    """The end of precopy. With COLO: wait until the secondary has entered COLO."""


class Checkpoint(_Move, frozen=True, tag="checkpoint"):
    """Ask for a checkpoint, wait for the reply, and open its section of pages."""


class EndPages(_Move, frozen=True, tag="end-pages"):
    """End the pages of a checkpoint, and announce its device state."""


class DeviceState(_Move, frozen=True, tag="device-state"):
    """Send the device state of a checkpoint, and wait until it is received and loaded."""


class Cut(_Move, frozen=True, tag="cut"):
    """A channel dies after a part (0 to 1) of a packet with pages; without pages, between packets."""

    channel: str
    pages: tuple[int, ...] = ()
    keep: float = 0.5


class Silence(_Move, frozen=True, tag="silence"):
    """Say nothing for some seconds."""

    seconds: float


class Die(_Move, frozen=True, tag="die"):
    """The primary dies: all channels close."""


class Failover(_Move, frozen=True, tag="failover"):
    """The secondary is told to take over; if it `yanks`, its connections are shut down first."""

    yanks: bool = False


Move: TypeAlias = Write | Send | EndRound | Sync | Rest | EndPrecopy | Checkpoint | EndPages | DeviceState | Cut | Silence | Die | Failover


def schedule_from(text: bytes) -> tuple[Move, ...]:
    """Return the moves of a schedule in JSON. BadSchedule if it is none."""
    try:
        return msgspec.json.decode(text, type=tuple[Move, ...])
    except msgspec.MsgspecError as error:
        raise BadSchedule(f"the schedule is none: {error}") from error


def generated(pages: int, checkpoints: int, dirty: int, seed: int) -> tuple[Move, ...]:
    """Return precopy and checkpoints, each after up to `dirty` pages drawn at random were written."""
    draw = random.Random(seed)  # noqa: S311  # not a secret
    moves: list[Move] = [Rest(), EndPrecopy()]
    for _ in range(checkpoints):
        writes = [Write((draw.randrange(pages),), draw.randrange(100)) for _ in range(dirty)]
        # A round of its own, if nothing was written: a checkpoint with multifd ends with a barrier.
        moves += [*writes, Checkpoint(), Rest() if writes else EndRound(), EndPages(), DeviceState()]
    return tuple(moves)


@dataclass
class Sent:
    """How far a schedule got: digests of the primary's RAM, in the order of its commits (with COLO, 0 is the end of precopy)."""

    moves: int = 0
    commits: list[str] = field(default_factory=list)
    ended_by: str = ""
    """What the destination did otherwise than the schedule wants; nothing if it went to its end."""


def play(
    primary: Primary,
    moves: Sequence[Move],
    fail_over: Callable[[bool], None] = lambda _yanks: None,
    at_commit: Callable[[str], None] = lambda _sha256: None,
) -> Sent:
    """Make the moves; a reply that does not come, or is another one, ends the schedule.

    Args:
        primary: makes them.
        moves: the schedule.
        fail_over: tells the secondary to take over; its argument says whether connections are shut down first.
        at_commit: is told the digest of the primary's RAM at each commit.

    Raises BadSchedule for pages or channels that are not there.
    """
    check(moves, primary.options.pages, primary.channels)
    sent = Sent()
    try:
        primary.begin_ram()
        primary.end_round()
        for move in moves:
            _make(primary, move, fail_over)
            sent.moves += 1
            if isinstance(move, EndPrecopy | DeviceState):
                sent.commits.append(hashlib.sha256(b"".join(primary.ram)).hexdigest())
                at_commit(sent.commits[-1])
    except (UnexpectedReply, TimeoutError) as late:
        sent.ended_by = str(late)
    return sent


def check(moves: Sequence[Move], pages: int, channels: Sequence[str]) -> None:
    """Require that moves name pages and channels that are there. BadSchedule otherwise."""
    known = {MAIN_CHANNEL, *channels}
    for number, move in enumerate(moves):
        named = getattr(move, "pages", ())
        if not all(0 <= page < pages for page in named):
            raise BadSchedule(f"move {number} names a page that is not among 0 to {pages - 1}: {named}")
        channel = getattr(move, "channel", MAIN_CHANNEL)
        if channel not in known:
            raise BadSchedule(f"move {number} names the channel {channel}; there are {', '.join(sorted(known))}")


def _make(primary: Primary, move: Move, fail_over: Callable[[bool], None]) -> None:  # noqa: C901  # one case for each move
    match move:
        case Write():
            for page in move.pages:
                primary.write(page, page_content(move.content, primary.options.page_size))
        case Send():
            _send(primary, move)
        case EndRound():
            primary.end_round(move.silent)
        case Sync():
            primary.put_sync(move.channel)
        case Rest():
            primary.put_rest()
        case EndPrecopy():
            primary.put_precopy_end()
            if primary.options.colo:
                primary.expect_colo()
            else:
                primary.wait_for_close()
        case Checkpoint():
            primary.put_request()
            primary.expect(ColoMessage.CHECKPOINT_REPLY)
            primary.put_checkpoint_begin()
        case EndPages():
            primary.put_pages_end()
        case DeviceState():
            primary.put_device_state()
            primary.expect(ColoMessage.VMSTATE_RECEIVED)
            primary.expect(ColoMessage.VMSTATE_LOADED)
        case Cut():
            content = primary.packet(move.channel, primary.take(move.pages)) if move.pages else b""
            primary.put(move.channel, content[: int(move.keep * len(content))])
            primary.ends[move.channel].close()
        case Silence():
            time.sleep(move.seconds)
        case Die():
            primary.close()
        case Failover():
            fail_over(move.yanks)


def _send(primary: Primary, move: Send) -> None:
    if move.times == 1 and move.flipped is None:
        primary.put_pages(move.channel, move.pages)
        return
    content = bytearray(primary.packet(move.channel, primary.take(move.pages)))
    if move.flipped is not None:
        content[move.flipped % len(content)] ^= 0xFF
    for _ in range(move.times):
        primary.put(move.channel, bytes(content))
