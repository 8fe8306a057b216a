"""Drives a receiver that shows nothing but its guest RAM: no gates, no maps, and no look at it but when it rests.

What is compared are the two guarantees that the proof gives for every schedule: where the guest starts or goes on it has the
primary's RAM, and until the next commit it keeps that, but for what the guest itself writes. Moves that need more than the receiver
shows, or lets be done, end the schedule with `NotObservable`.
"""

import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Protocol, runtime_checkable

import numpy as np

from colofd.conformance.black_box_clues import FAILOVER, Arrival, clue
from colofd.conformance.peer import UnexpectedReply, page_content
from colofd.conformance.primary import Dialect, Primary
from colofd.conformance.subjects import Options
from colofd.conformance.violation import Violation
from colofd.spec.constants import MAIN_CHANNEL, ColoMessage, Step, pages_per_packet

ISOLATION: Final = "isolation.guest"
PROGRESS: Final = "progress"
ROUND_ENDS: Final = (Step.READ_PAGE, Step.PARK, Step.RELEASE)
"""By these a round is received to its end."""

_POLL_SECONDS: Final = 0.005


class NotObservable(Exception):  # noqa: N818  # says what is the case
    """The schedule needs something of the receiver that it does not show, or cannot be made to do."""


@dataclass(frozen=True)
class Version:
    """What a schedule must know of a receiver's version: how to speak to it, and why it has no COLO, or none with multifd."""

    dialect: Dialect = field(default_factory=Dialect)
    lacks_colo: str = ""
    lacks_multifd_with_colo: str = ""
    accepts_open_round: str = ""
    """Why it need not refuse the end of precopy in the middle of a round."""

    def why_not_colo(self, options: Options) -> str:
        """Return why this set-up cannot have COLO; empty if it can."""
        return self.lacks_multifd_with_colo if options.channels and self.lacks_multifd_with_colo else self.lacks_colo

    def adapted(self, options: Options) -> Options:
        """Return a set-up as this version can have it."""
        return replace(options, colo=options.colo and not self.why_not_colo(options))


class BlackBox(Protocol):
    """A receiver of which one sees guest RAM only."""

    def connect(self) -> socket.socket:
        """Return our end of a new channel."""

    def guest(self) -> bytes:
        """Return guest RAM as it is now."""

    def is_in_colo(self) -> bool:
        """Return whether it is in COLO state."""

    def is_completed(self) -> bool:
        """Return whether a migration without COLO is complete."""

    def has_failed(self) -> bool:
        """Return whether it has given up a migration without COLO; the end of its process counts."""

    def failover(self) -> None:
        """Make it take over; TimeoutError if it does not answer."""

    def close(self) -> None:
        """End it by all means."""


@runtime_checkable
class WithGuest(Protocol):
    """What a receiver has, too, if its guest can be made to write. Whoever has this shows all RAM blocks, one after the other."""

    def write_guest(self, page: int, content: bytes) -> None:
        """Let the guest write a page, so that its dirty log has it; NotObservable if it cannot."""


class BlackBoxRun:
    """One schedule of a receiver that shows its guest RAM: has the moves of `Lockstep`, as far as they can be made from outside."""

    def __init__(
        self, receiver: BlackBox, options: Options, seconds: float, version: Version | None = None, *, is_main_last: bool = False
    ) -> None:
        """Connect.

        Args:
            receiver: waits for a migration.
            options: how it was set up.
            seconds: how long it may take for anything.
            version: its version, if it is not one that has everything.
            is_main_last: the main channel connects after all others; else it is the first.
        """
        if options.is_mirror_deferred:
            raise NotObservable("which mirror it has, a receiver does not show")
        if options.blocks != 1 and not isinstance(receiver, WithGuest):
            raise NotObservable("the RAM of more than one block is not seen")
        self.options = options
        self.moves: list[str] = [f"options {options}"]
        self.checked: dict[str, int] = {}
        """How often each guarantee was looked at."""
        self._receiver = receiver
        self._seconds = seconds
        self._committed: bytes | None = None
        self._points_like: str = ISOLATION
        self._arrivals: dict[int, Arrival] = {}
        self._checkpoint = 0
        self._version = version or Version()
        ends = [receiver.connect() for _ in range(is_main_last and 1 + options.channels)]
        self.peer = Primary(options, ends.pop if is_main_last else receiver.connect, seconds, self._version.dialect)
        self.peer.begin_ram()
        self.end_round()

    # What the primary does.

    def primary_writes(self, page: int, number: int) -> None:
        """The primary's guest writes content `number` into a page."""
        self._note(f"primary writes page {page}: content {number}")
        self.peer.write(page, page_content(number, self.options.page_size))

    def primary_writes_all(self, number: int) -> None:
        """The primary's guest writes content `number` into every page."""
        self._note(f"primary writes all {self.options.pages} pages: content {number}")
        for page in range(self.options.pages):
            self.peer.write(page, page_content(number, self.options.page_size))

    def send(self, channel: str, pages: Sequence[int]) -> None:
        """Put a packet (main channel: records) on a channel."""
        self._note(f"{channel} carries pages {listed(pages)}")
        self.note_arrivals(channel, pages)
        for together in self.peer.groups(channel, pages):
            self.peer.put_pages(channel, together)

    def note_arrivals(self, channel: str, pages: Sequence[int]) -> None:
        """Note how pages come, as the primary has them now."""
        zeros = bytes(self.options.page_size)
        self._arrivals |= {page: Arrival(channel, self.peer.ram[page] == zeros, self._checkpoint) for page in pages}

    def end_round(self, last: Sequence[int] = ()) -> None:
        """SYNC on every multifd channel, and MULTIFD_FLUSH on the main one; the first SYNC carries the pages `last`, as before 9.0."""
        self._note(f"the round ends, with pages {list(last)} in a SYNC packet" if last else "the round ends")
        for number, name in enumerate(self.peer.channels):
            if last and number == 0:
                self.note_arrivals(name, last)
                self.peer.put(name, self.peer.packet(name, self.peer.take(last), is_sync=True))
            else:
                self.peer.put_sync(name)
        self.peer.put_round_end()

    def end_round_without(self, silent: str) -> None:
        """End the round, but the SYNC of one channel never comes."""
        self._note(f"the round ends, without the SYNC of {silent}")
        self.peer.end_round(silent)

    def drain(self) -> None:
        """Nothing: a receiver that is not held reads by itself."""

    def send_rest(self) -> None:
        """Send everything that must still be sent, in new rounds where that is needed."""
        room = pages_per_packet(self.options.page_size)
        channels = self.peer.channels or [MAIN_CHANNEL]
        while self.peer.unsent:
            sendable = self.peer.sendable()
            for number, first in enumerate(range(0, len(sendable), room)):
                self.send(channels[number % len(channels)], sendable[first : first + room])
            self.end_round()

    def end_precopy(self) -> None:
        """Send the rest and end precopy: the destination enters COLO, or completes; it has the primary's RAM then."""
        self._note("precopy ends")
        self.send_rest()
        if self.peer.sent_in_round:
            self.end_round()
        self.peer.put_precopy_end()
        if self.options.colo:
            self._expect(self.peer.expect_colo, Step.START, *ROUND_ENDS, Step.ENTER_COLO)
            self._wait_until(self._receiver.is_in_colo, "enter COLO", Step.ENTER_COLO)
        else:
            self._wait_until(self._receiver.is_completed, "complete", Step.START, *ROUND_ENDS, Step.COMPLETE)
        self._compare_commit(Step.ENTER_COLO if self.options.colo else Step.COMPLETE)

    def end_precopy_in_a_round(self, channel: str, pages: Sequence[int]) -> None:
        """Send pages on a multifd channel and end precopy without the end of that round: nobody knows whether they are all there."""
        if self._version.accepts_open_round:
            raise NotObservable(self._version.accepts_open_round)
        self.send(channel, pages)
        self._note("precopy ends, and the round does not")
        self.peer.put_precopy_end()
        rule = Step.ENTER_COLO if self.options.colo else Step.COMPLETE
        end = time.monotonic() + self._seconds
        while not self._receiver.has_failed():
            if time.monotonic() > end or self._receiver.is_completed() or self._receiver.is_in_colo():
                raise self._violation(rule, f"pages {listed(pages)} came after the last end of a round, and it does not give up")
            time.sleep(_POLL_SECONDS)
        self.checked[Step.GIVE_UP] = 1

    def begin_checkpoint(self) -> None:
        """The primary stops its guest and asks for a checkpoint."""
        if not self.options.colo:
            raise NotObservable(self._version.why_not_colo(self.options) or "it was set up without COLO")
        self._note("a checkpoint begins")
        self._checkpoint += 1
        self.peer.put_request()
        self._expect(lambda: self.peer.expect(ColoMessage.CHECKPOINT_REPLY), Step.CHECKPOINT_BEGIN)
        self.peer.put_checkpoint_begin()
        self._compare_isolation()

    def receive_checkpoint(self) -> None:
        """The rest of a checkpoint is sent, up to its device state: nothing of it is in the guest."""
        self._note("the checkpoint is sent, but for its device state")
        self.send_rest()
        if self.peer.sent_in_round or not self.peer.channels:
            self.end_round()
        self.peer.put_pages_end()
        self._compare_isolation()

    def answer(self) -> None:
        """The device state is sent: the primary is told that the checkpoint was received."""
        self._note("the checkpoint is answered")
        self.peer.put_device_state()
        self._expect(lambda: self.peer.expect(ColoMessage.VMSTATE_RECEIVED), *ROUND_ENDS, Step.CHECKPOINT_RECEIVED, Step.ANSWER)
        self._promise()

    def commit(self) -> None:
        """The checkpoint is flushed into the guest."""
        self.answer()
        self._expect(lambda: self.peer.expect(ColoMessage.VMSTATE_LOADED), Step.FLUSH_BEGIN, Step.FLUSH_PAGE, Step.COMMIT)
        self._compare_commit(Step.COMMIT)

    def cut(self, channel: str, pages: Sequence[int], keep: float) -> None:
        """A channel dies in the middle of a packet: only the first part of its bytes arrives."""
        self._note(f"{channel} dies after {keep:.2f} of a packet with pages {list(pages)}")
        self.note_arrivals(channel, pages)
        content = self.peer.packet(channel, self.peer.take(pages))
        self.peer.put(channel, content[: int(keep * (len(content) - 1))])
        self.peer.ends[channel].close()
        if self._committed is None:
            self._wait_until(self._receiver.has_failed, "give up", Step.EXIT, Step.GIVE_UP)
            self.checked[Step.GIVE_UP] = 1

    def failover(self) -> None:
        """The secondary takes over: it has the last commit, and an answered checkpoint counts as one."""
        self._note(FAILOVER)
        self._fail_over()
        self._wait_until(lambda: not self._receiver.is_in_colo(), "leave COLO", Step.TAKE_OVER)
        self._compare_isolation()
        self.checked[Step.TAKE_OVER] = 1

    def race_to_the_answer(self, delay: float) -> int:
        """The device state is sent, and `delay` seconds later the secondary is told to take over: the answer says from which checkpoint.

        The delay may be negative. Returns how many replies to the checkpoint have come.
        """
        self._note(f"the device state is sent, and {delay:.4f} s later the secondary takes over")
        self._note(FAILOVER)
        sender = threading.Timer(max(0.0, -delay), self.peer.put_device_state)
        sender.start()
        try:
            time.sleep(max(0.0, delay))
            self._fail_over()
        finally:
            sender.join()
        heard = [message for message in (ColoMessage.VMSTATE_RECEIVED, ColoMessage.VMSTATE_LOADED) if self.peer.has_heard(message)]
        if heard:
            self._note("the checkpoint was answered")
            self._promise()
        self._compare_isolation()
        self.checked[Step.TAKE_OVER] = 1
        return len(heard)

    def _fail_over(self) -> None:
        try:
            self._receiver.failover()
        except TimeoutError as late:
            raise self._violation(PROGRESS, f"failover does not complete: {late}") from late

    def check_end(self) -> None:
        """Look at guest RAM once more, when nothing is left to do."""
        if self._committed is not None and self.options.colo:
            self._compare_isolation()

    def guest_writes(self, page: int, number: int, *, is_reported_at_once: bool) -> None:
        """The secondary's guest writes content `number` into a page. When its dirty log is read is the receiver's choice."""
        del is_reported_at_once
        if not isinstance(self._receiver, WithGuest):
            raise NotObservable("the guest cannot be made to write")
        self._note(f"the secondary's guest writes page {page}: content {number}")
        size = self.options.page_size
        content = page_content(number, size)
        self._receiver.write_guest(page, content)
        if self._committed is not None:
            self._committed = self._committed[: page * size] + content + self._committed[(page + 1) * size :]

    # Moves that cannot be made from outside.

    def begin_flush(self) -> None:
        """Not possible: the flush follows the answer at once."""
        raise NotObservable("a flush cannot be held")

    def __getattr__(self, name: str) -> object:
        raise NotObservable(f"threads cannot be held: there is no {name}")

    # How it is done.

    def _note(self, move: str) -> None:
        self.moves.append(move)

    def _violation(self, rule: str, why: str) -> Violation:
        return Violation(rule, why, self.moves)

    def _expect(self, action: Callable[[], None], *rules: Step) -> None:
        """Await a reply; the rules are those by which it comes."""
        try:
            action()
        except UnexpectedReply as reply:
            raise self._violation(PROGRESS, f"{reply}: see {', '.join(rules)}") from reply

    def _wait_until(self, holds: Callable[[], bool], what: str, *rules: Step) -> None:
        end = time.monotonic() + self._seconds
        while not holds():
            if time.monotonic() > end:
                raise self._violation(PROGRESS, f"it does not {what} within {self._seconds} s: see {', '.join(rules)}")
            time.sleep(_POLL_SECONDS)

    def _promise(self) -> None:
        """Note that a checkpoint was answered: from here on it is what must survive, and what it lacks is lost by other rules."""
        self._committed = b"".join(self.peer.ram)
        self._points_like = Step.ANSWER

    def _compare_commit(self, step: Step) -> None:
        self._committed = b"".join(self.peer.ram)
        self._points_like = ISOLATION
        self._compare(step, "the primary's RAM", step)

    def _compare_isolation(self) -> None:
        self._compare(ISOLATION, "what was committed last", self._points_like)

    def differing_pages(self) -> list[int]:
        """Return the pages of guest RAM that are not as the last commit left them."""
        size = self.options.page_size
        guest, committed = self._receiver.guest(), self._committed or b""
        starts = range(0, self.options.pages * size, size)
        return [at // size for at in starts if guest[at : at + size] != committed[at : at + size]]

    def _compare(self, rule: str, expected: str, points_like: str) -> None:
        """Compare guest RAM with the last commit; which rules a wrong page points to is that of `points_like`."""
        if differing := self.differing_pages():
            first = clue(differing[0], self._arrivals.get(differing[0]), points_like, self._checkpoint)
            raise self._violation(rule, f"pages {listed(differing)} of guest RAM are not {expected}; {first}")
        self.checked[rule] = self.checked.get(rule, 0) + 1


def listed(pages: Sequence[int]) -> str:
    """Return page numbers as text, runs of them as first-last."""
    numbers = np.asarray(pages)
    runs = np.split(numbers, np.flatnonzero(np.diff(numbers) != 1) + 1)
    return ", ".join(str(run[0]) if run.size == 1 else f"{run[0]}-{run[-1]}" for run in runs)
