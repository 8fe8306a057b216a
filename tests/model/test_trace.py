"""The acceptor takes a correct run, and refuses each of its falsifications: the step is named, and what is wrong with it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import pytest

from colofd.model.contents import page_digest
from colofd.model.machine import Machine
from colofd.model.trace import Acceptor, Refused, Sent, numbered
from colofd.spec.constants import MAIN_CHANNEL, Step

PAGE: Final = 16
PAGES: Final = 4


@dataclass(frozen=True)
class Event:
    """One micro-step, as a receiver reports it."""

    step: Step
    channel: str = ""
    pages: tuple[int, ...] = ()
    zero_pages: tuple[int, ...] = ()
    digests: tuple[str, ...] = ()


def content(number: int) -> bytes:
    """Return page content `number`; 0 is zeros."""
    return bytes([number]) * PAGE


def shows(*numbers: int) -> tuple[str, ...]:
    """Return the digests of page contents."""
    return tuple(page_digest(content(number)) for number in numbers)


SENT: Final = {
    "mfd0": [Sent((1, 0), (content(1), content(2)), (2,)), Sent((1,), (content(7),), ())],
    "mfd1": [Sent((), (), (0,))],
    MAIN_CHANNEL: [Sent((3,), (content(3),), ()), Sent((), (), (3,))],
}
"""In precopy mfd0 brings pages 1, 0 and 2 and main page 3; in the checkpoint mfd0 page 1, mfd1 page 0 and main page 3."""

ROUND_END: Final = [Event(Step.PARK, "mfd1"), Event(Step.PARK, "mfd0"), Event(Step.RELEASE, MAIN_CHANNEL)]

PRECOPY: Final = [
    Event(Step.START, MAIN_CHANNEL),
    Event(Step.PREPARE, "mfd0", (1, 0), (2,)),
    Event(Step.MAIN_PREPARE, MAIN_CHANNEL, (3,)),
    Event(Step.ZERO_PAGE, "mfd0", (), (2,), shows(0)),
    Event(Step.READ_PAGE, "mfd0", (1, 0), (), shows(1, 2)),
    Event(Step.MAIN_READ_PAGE, MAIN_CHANNEL, (3,), (), shows(3)),
    Event(Step.PAYLOAD_COMPLETE, "mfd0"),
    Event(Step.MIRROR, "mfd0", (1, 0), (2,), shows(1, 2, 0)),
    Event(Step.MAIN_MIRROR, MAIN_CHANNEL, (3,), (), shows(3)),
    Event(Step.PACKET_DONE, "mfd0"),
    *ROUND_END,
    Event(Step.ENTER_COLO, MAIN_CHANNEL),
]
CHECKPOINT: Final = [
    Event(Step.CHECKPOINT_BEGIN, MAIN_CHANNEL),
    Event(Step.PREPARE, "mfd0", (1,)),
    Event(Step.PREPARE, "mfd1", (), (0,)),
    Event(Step.ZERO_PAGE, "mfd1", (), (0,), shows(0)),
    Event(Step.READ_PAGE, "mfd0", (1,), (), shows(7)),
    Event(Step.PAYLOAD_COMPLETE, "mfd1"),
    Event(Step.PAYLOAD_COMPLETE, "mfd0"),
    # Not mirrored in COLO: the guest shows what it had.
    Event(Step.MIRROR, "mfd0", (1,), (), shows(1)),
    Event(Step.MIRROR, "mfd1", (), (0,), shows(2)),
    Event(Step.PACKET_DONE, "mfd0"),
    Event(Step.PACKET_DONE, "mfd1"),
    Event(Step.MAIN_PREPARE, MAIN_CHANNEL, (), (3,)),
    Event(Step.MAIN_ZERO_PAGE, MAIN_CHANNEL, (), (3,), shows(0)),
    Event(Step.MAIN_MIRROR, MAIN_CHANNEL, (), (3,), shows(0)),
    *ROUND_END,
    Event(Step.CHECKPOINT_RECEIVED, MAIN_CHANNEL),
    Event(Step.FLUSH_BEGIN, MAIN_CHANNEL),
    Event(Step.FLUSH_PAGE, MAIN_CHANNEL, (0, 1, 3), (), shows(0, 7, 0)),
    Event(Step.COMMIT, MAIN_CHANNEL),
]
END: Final = [
    Event(Step.STOP),
    Event(Step.EXIT, "mfd0"),
    Event(Step.EXIT, MAIN_CHANNEL),
    Event(Step.EXIT, "mfd1"),
    Event(Step.RELEASE_CACHE),
    Event(Step.RELEASE_RECEIVEDMAP),
]
RUN: Final = [*PRECOPY, *CHECKPOINT, *END]


def acceptor() -> Acceptor:
    """Return an acceptor that knows what was sent."""
    return Acceptor(Machine(PAGES, 2, colo=True, page_size=PAGE), numbered(SENT))


def test_a_correct_run_is_accepted() -> None:
    """Given a correct run, then every event is accepted, each step was taken as often as it stands there, and nothing sent is left."""
    taken = acceptor()
    taken.accept_recorded(RUN)
    assert taken.accepted == len(RUN)
    assert taken.fired == {event.step: sum(each.step == event.step for each in RUN) for event in RUN}
    assert not any(taken.sent.values())
    assert taken.machine.image("guest", 0, PAGES) == content(0) + content(7) + content(0) + content(0)
    assert taken.machine.violated() == []


Change = Callable[[list[Event], int], None]


def moved(by: int) -> Change:
    """Return the change that moves an event."""

    def move(run: list[Event], at: int) -> None:
        run.insert(at + by, run.pop(at))

    return move


def leaves_out(run: list[Event], at: int) -> None:
    """Leave an event out."""
    del run[at]


def repeats(run: list[Event], at: int) -> None:
    """Repeat an event."""
    run.insert(at, run[at])


def with_digests(*digests: str) -> Change:
    """Return the change that gives an event other digests."""

    def change(run: list[Event], at: int) -> None:
        run[at] = replace(run[at], digests=digests)

    return change


def with_pages(pages: tuple[int, ...], zero_pages: tuple[int, ...] = (), channel: str | None = None) -> Change:
    """Return the change that lets an event name other pages, or another channel."""

    def change(run: list[Event], at: int) -> None:
        run[at] = replace(run[at], pages=pages, zero_pages=zero_pages, channel=run[at].channel if channel is None else channel)

    return change


def comes(event: Event) -> Change:
    """Return the change that puts another event before one."""

    def change(run: list[Event], at: int) -> None:
        run.insert(at, event)

    return change


UNKNOWN: Final = "00" * 8
PREPARED: Final = RUN.index(Event(Step.PREPARE, "mfd0", (1, 0), (2,)))
CLEARED, READ, READ_ON_MAIN = PREPARED + 2, PREPARED + 3, PREPARED + 4
MIRRORED: Final = PREPARED + 6
PARKED: Final = RUN.index(ROUND_END[1])
ENTERED: Final = PARKED + 2
BEGUN: Final = len(PRECOPY)
FLUSHED: Final = RUN.index(CHECKPOINT[-2])
COMMITTED: Final = FLUSHED + 1
STOPPED: Final = RUN.index(END[0])

FALSE_RUNS: Final[list[tuple[str, int, Change, Step, str]]] = [
    ("the second start", 0, repeats, Step.START, "phase = SETUP does not hold"),
    ("a read before its prepare", READ, moved(-3), Step.READ_PAGE, "which the packet does not carry"),
    ("a payload that is complete too early", READ, leaves_out, Step.PAYLOAD_COMPLETE, "packet[channel, q] = NORMAL_LANDED"),
    ("a page read twice", READ, repeats, Step.READ_PAGE, "packet[channel, page] = NORMAL does not hold (pages 1, 0)"),
    ("a packet done before it is mirrored", MIRRORED, leaves_out, Step.PACKET_DONE, "packet[channel, q] = NOTHING does not hold"),
    ("other pages than were sent", PREPARED, with_pages((1, 3), (2,)), Step.PREPARE, "normal (1, 0) and zero (2,) were sent"),
    ("the pages in another order", PREPARED, with_pages((0, 1), (2,)), Step.PREPARE, "normal (1, 0) and zero (2,) were sent"),
    ("a zero page as a normal one", PREPARED, with_pages((1, 0, 2)), Step.PREPARE, "normal (1, 0) and zero (2,) were sent"),
    ("a packet that nobody sent", BEGUN + 12, comes(Event(Step.PREPARE, "mfd1", (2,))), Step.PREPARE, "nothing that was sent is left"),
    ("the packet of another channel", PREPARED, with_pages((1, 0), (2,), "mfd1"), Step.PREPARE, "but normal () and zero (0,) were sent"),
    ("a page that is not in the packet", READ, with_pages((1, 3)), Step.READ_PAGE, "read pages [3], which the packet does not carry"),
    ("no such page", READ, with_pages((1, 4)), Step.READ_PAGE, "there are no pages [4]"),
    ("a page before the first", CLEARED, with_pages((), (-1,)), Step.ZERO_PAGE, "there are no pages [-1]"),
    ("no such channel", READ, with_pages((1, 0), (), "mfd2"), Step.READ_PAGE, "there is no such channel"),
    ("a channel that is none", READ, with_pages((1, 0), (), "disk"), Step.READ_PAGE, "there is no such channel"),
    ("no page at all", CLEARED, with_pages(()), Step.ZERO_PAGE, "it names no page"),
    ("another content", READ, with_digests(*shows(1, 3)), Step.READ_PAGE, "cache does not hold what it should at pages [0]"),
    ("contents exchanged", READ, with_digests(*shows(2, 1)), Step.READ_PAGE, "cache does not hold what it should at pages [1, 0]"),
    (
        "another content on main",
        READ_ON_MAIN,
        with_digests(UNKNOWN),
        Step.MAIN_READ_PAGE,
        "guest does not hold what it should at pages [3]",
    ),
    ("a page not cleared", CLEARED, with_digests(*shows(5)), Step.ZERO_PAGE, "cache does not hold what it should at pages [2]"),
    ("a page not mirrored", MIRRORED, with_digests(*shows(1, 0, 0)), Step.MIRROR, "guest does not hold what it should at pages [0]"),
    ("a page mirrored in COLO", BEGUN + 7, with_digests(*shows(7)), Step.MIRROR, "guest does not hold what it should at pages [1]"),
    ("a page not flushed", FLUSHED, with_digests(*shows(0, 1, 0)), Step.FLUSH_PAGE, "guest does not hold what it should at pages [1]"),
    ("a digest missing", READ, with_digests(*shows(1)), Step.READ_PAGE, "1 digests for 2 pages"),
    ("no digests", MIRRORED, with_digests(), Step.MIRROR, "0 digests for 3 pages"),
    ("a digest too many", CLEARED, with_digests(*shows(0, 0)), Step.ZERO_PAGE, "2 digests for 1 pages"),
    ("a release before the last park", PARKED, moved(1), Step.RELEASE, "channel_at[c] = PARKED"),
    ("a packet of a parked channel", PARKED - 1, comes(Event(Step.PARK, "mfd1")), Step.PARK, "channel_at[channel] = READY does not hold"),
    ("no release", PARKED + 1, leaves_out, Step.ENTER_COLO, "¬sent[q]"),
    ("a commit before the flush", FLUSHED, leaves_out, Step.COMMIT, "¬peer_dirty[q] does not hold"),
    ("a page less in the flush", FLUSHED, with_pages((0, 1)), Step.FLUSH_PAGE, "3 digests for 2 pages"),
    ("a page more in the flush", FLUSHED, comes(Event(Step.FLUSH_PAGE, "main", (2,), (), shows(0))), Step.FLUSH_PAGE, "peer_dirty[page]"),
    ("a page flushed twice", FLUSHED, repeats, Step.FLUSH_PAGE, "peer_dirty[page] does not hold (pages 0, 1, 3)"),
    ("a flush in a checkpoint", FLUSHED - 2, leaves_out, Step.FLUSH_BEGIN, "phase = RECEIVED does not hold"),
    ("failover in a flush", COMMITTED, comes(Event(Step.TAKE_OVER)), Step.TAKE_OVER, "phase = RECEIVED does not hold"),
    ("memory freed under a thread", STOPPED + 3, leaves_out, Step.RELEASE_CACHE, "channel_at[c] = EXITED does not hold"),
    ("the receivedmap freed first", STOPPED + 4, leaves_out, Step.RELEASE_RECEIVEDMAP, "¬cache_allocated does not hold"),
    ("a thread that ends twice", STOPPED + 1, repeats, Step.EXIT, "channel_at[channel] ≠ EXITED does not hold"),
    ("a step after the end", len(RUN), comes(Event(Step.PARK, "mfd0")), Step.PARK, "channel_at[channel] = READY does not hold"),
    ("a checkpoint after the end", len(RUN), comes(Event(Step.CHECKPOINT_BEGIN)), Step.CHECKPOINT_BEGIN, "phase = IDLE does not hold"),
]


@pytest.mark.parametrize(("at", "change", "rule", "why"), [each[1:] for each in FALSE_RUNS], ids=[each[0] for each in FALSE_RUNS])
def test_a_false_run_is_refused(at: int, change: Change, rule: Step, why: str) -> None:
    """Control: given the run with one thing falsified, then it is refused at the step that is not allowed, and for that."""
    run = list(RUN)
    change(run, at)
    with pytest.raises(Refused) as caught:
        acceptor().accept_recorded(run)
    assert caught.value.rule == str(rule)
    assert why in caught.value.why
    assert str(caught.value).startswith(f"event {caught.value.index}, {rule}")
    assert run[caught.value.index].step is rule


@pytest.mark.parametrize(("pages", "digests", "why"), [((1, 0), shows(1), "1 digests for 2 pages"), ((1,), (), "0 digests for 1 pages")])
def test_a_part_needs_its_digests(pages: tuple[int, ...], digests: tuple[str, ...], why: str) -> None:
    """Control: given a page that was cut off, without the digest of what arrived, then it is refused: nothing would be known of it."""
    taken = acceptor()
    taken.accept_recorded(PRECOPY[:2])
    with pytest.raises(Refused, match=why):
        taken.accept(Event(Step.READ_PART, "mfd0", pages, (), digests))


def test_a_page_that_was_cut_is_what_the_digest_says() -> None:
    """Given a page of which a part has arrived, then whatever its digest says is accepted, and the page does not count as landed."""
    taken = acceptor()
    taken.accept_recorded(PRECOPY[:4])
    taken.accept(Event(Step.READ_PART, "mfd0", (1, 0), (), (UNKNOWN, *shows(9))))
    assert taken.machine.digests("cache", (1, 0)) == [UNKNOWN, *shows(9)]
    with pytest.raises(Refused, match="NORMAL_LANDED"):
        taken.accept(Event(Step.PAYLOAD_COMPLETE, "mfd0"))
