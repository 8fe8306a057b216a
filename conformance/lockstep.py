"""Drives a receiver and the reference model through one schedule, micro-step by micro-step, and compares.

A schedule is a sequence of moves. Some belong to the peer (write, send, cut), some let one thread of the receiver
take its next micro-step. After each of those, the model must allow the step, and guest RAM, cache, receivedmap and
dirty bitmap must be what the model says, wherever the rules define them.
"""

import threading
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from colofd.conformance.comparison import first_difference
from colofd.conformance.gates import CONTROL, STALL_SECONDS, Gates, Stalled
from colofd.conformance.peer import Peer, ScheduledGuest, UnexpectedReply, page_content
from colofd.conformance.subjects import Factory, Options
from colofd.conformance.violation import Violation
from colofd.model.machine import Machine
from colofd.model.trace import Acceptor, Refused, TraceEvent
from colofd.spec.constants import MAIN_CHANNEL, ColoMessage, Step
from colofd.spec.language import Spec
from colofd.spec.protocol import BOTH_SIDES
from colofd.spec.state import Phase

T = TypeVar("T")

_PAGES_ARRIVE = (Phase.PRECOPY, Phase.RECEIVING)
_IN_COLO = (Phase.IDLE, Phase.RECEIVING, Phase.RECEIVED)


@dataclass
class Reached:
    """How far a schedule got."""

    checkpoints: int = 0
    is_taken_over: bool = False
    micro_steps: int = 0

    @property
    def is_conclusive(self) -> bool:
        """Whether a checkpoint was committed, or the secondary took over."""
        return self.checkpoints > 0 or self.is_taken_over


class Lockstep:
    """One receiver, one model, one peer."""

    def __init__(
        self,
        factory: Factory,
        options: Options,
        stall_seconds: float = STALL_SECONDS,
        *,
        is_watched: bool = False,
        spec: Spec = BOTH_SIDES,
        machine_class: type[Machine] = Machine,
    ) -> None:
        """Make receiver, model and peer, and connect them; `is_watched`: every clause of `spec` is checked after every micro-step."""
        self.options = options
        self.is_watched = is_watched
        self.exercised: Counter[str] = Counter()
        self.moves: list[str] = [f"options {options}"]
        self.reached = Reached()
        self.peer = Peer(options)
        self.guest = ScheduledGuest(options)
        self.gates = Gates(stall_seconds)
        self.machine = machine_class(
            options.pages,
            options.channels,
            colo=options.colo,
            deferred=options.is_mirror_deferred,
            page_size=options.page_size,
            spec=spec,
        )
        self.acceptor = Acceptor(self.machine, {name: deque() for name in [*self.peer.channels, MAIN_CHANNEL]})
        self.owed: dict[str, int] = dict.fromkeys(self.acceptor.sent, 0)
        self.exited: set[str] = set()
        self.violation: Violation | None = None
        self.is_faulty = False
        self._is_closing = False
        self._is_closed = False
        self.receiver = factory(options, self.guest, self.gates.trace, self.gates.gate)
        try:
            self._check_clauses()
            self._connect()
        except BaseException:
            self.abandon()
            raise

    # Moves of the peer.

    def primary_writes(self, page: int, number: int) -> None:
        """The primary's guest writes content `number` into a page."""
        self._note(f"primary writes page {page}: content {number}")
        content = page_content(number, self.options.page_size)
        self.machine.fire("guest.primary-write", pages=(page,), values=self.machine.numbers([content]))
        self.peer.write(page, content)

    def can_primary_write(self) -> bool:
        """Whether the primary's guest runs."""
        return self.machine.phase in (Phase.PRECOPY, Phase.IDLE) and not self.is_faulty

    def is_waiting(self, page: int) -> bool:
        """Whether the page is on a channel, and the receiver has not prepared its packet: for the model, it is not sent yet."""
        return any(page in (*sent.pages, *sent.zero_pages) for waiting in self.acceptor.sent.values() for sent in waiting)

    def guest_writes(self, page: int, number: int, *, is_reported_at_once: bool) -> None:
        """The secondary's guest writes content `number` into a page; the receiver learns of it now, or when it stops the guest."""
        self._note(f"guest writes page {page}: content {number}")
        content = page_content(number, self.options.page_size)
        self.machine.fire("guest.secondary-write", pages=(page,), values=self.machine.numbers([content]))
        self.receiver.write_guest(page, content)
        self.guest.wrote(page)
        if is_reported_at_once:
            self.receiver.guest_wrote(self.guest.take_written())

    def can_guest_write(self) -> bool:
        """Whether the secondary's guest runs, for the model and for the receiver."""
        return self.guest.is_running and bool(self.machine.cells["guest_running"]) and not self._is_closed

    def can_send(self) -> bool:
        """Whether pages may be put on the channels."""
        return self.machine.phase in _PAGES_ARRIVE and not self.is_faulty and bool(self.peer.sendable())

    def send(self, channel: str, pages: Sequence[int]) -> None:
        """Put a packet (main channel: one record) on a channel."""
        self._note(f"{channel} carries pages {list(pages)}")
        self._put(channel, pages)

    def _put(self, channel: str, pages: Sequence[int], *, is_sync: bool = False) -> None:
        groups = self.peer.groups(channel, pages)
        for group in groups:
            sent = self.peer.take(group)
            self.acceptor.sent[channel].append(sent)
            self.peer.put(channel, self.peer.packet(channel, sent, is_sync=is_sync and group is groups[-1]))
            self.owed[channel] += 3 if channel == MAIN_CHANNEL else 4 + bool(sent.pages) + bool(sent.zero_pages)

    def end_round(self, last: Sequence[int] = ()) -> None:
        """SYNC on every multifd channel, and MULTIFD_FLUSH on the main channel; everybody goes on until the barrier is released.

        The SYNC packet of the first multifd channel carries the pages `last`, as it may in old versions.
        """
        self._note(f"the round ends, with pages {list(last)} in a SYNC packet" if last else "the round ends")
        for number, name in enumerate(self.peer.channels):
            if last and number == 0:
                self._put(name, last, is_sync=True)
            else:
                self.peer.put_sync(name)
            self.owed[name] += 1
        self.peer.put_round_end()
        self.drain()
        self.owed[MAIN_CHANNEL] += 1
        self.drain()

    def end_round_without(self, silent: str) -> None:
        """End the round, but the SYNC of one channel never comes; everybody does what can be done."""
        self._note(f"the round ends, without the SYNC of {silent}")
        for name in self.peer.channels:
            if name != silent:
                self.peer.put_sync(name)
                self.owed[name] += 1
        self.peer.put_round_end()
        self.drain()

    def hold(self, channel: str, step: Step) -> None:
        """Let the thread of a channel go on until it waits at `step`."""
        while self.gates.wait_for(channel) != step:
            self.step(channel)

    def drain(self) -> None:
        """Let every thread finish what is on its channel, one after the other."""
        while any(self.owed.values()):
            for name in [name for name, count in self.owed.items() if count]:
                self.step(name)

    def send_rest(self) -> None:
        """Send everything that must still be sent, in new rounds where that is needed."""
        while self.peer.unsent:
            channels = self.peer.channels or [MAIN_CHANNEL]
            sendable = self.peer.sendable()
            for number, channel in enumerate(channels):
                if share := sendable[number :: len(channels)]:
                    self._put(channel, share)
            self.drain()
            self.end_round()

    def end_precopy(self) -> None:
        """Send the rest and end precopy: the destination enters COLO, or completes."""
        self._note("precopy ends")
        self.send_rest()
        if self.peer.sent_in_round:
            self.end_round()
        self.peer.put_precopy_end()
        if not self.peer.channels:
            self._owe_steps(Step.RELEASE, Step.RELEASE)
        last = Step.ENTER_COLO if self.options.colo else Step.COMPLETE
        self._step_until(MAIN_CHANNEL, last)
        if self.options.colo:
            self._checked(self.peer.expect_return_path_replies)
            self._checked(lambda: self.peer.expect(ColoMessage.CHECKPOINT_READY))
            self._compare_guest_running()
        self._check_clauses()

    def begin_checkpoint(self) -> None:
        """The primary stops its guest and asks for a checkpoint."""
        self._note("a checkpoint begins")
        self.peer.put_request()
        self._step_until(MAIN_CHANNEL, Step.CHECKPOINT_BEGIN)
        self._checked(lambda: self.peer.expect(ColoMessage.CHECKPOINT_REPLY))
        self.peer.put_checkpoint_begin()

    def receive_checkpoint(self) -> None:
        """The rest of a checkpoint is sent, with its device state; it is received, not answered, and nothing of it is in the guest."""
        self._note("the checkpoint is received")
        self.send_rest()
        if self.peer.sent_in_round or not self.peer.channels:
            self.end_round()
        self.peer.put_checkpoint_end()
        if not self.peer.channels:
            self._owe_steps(Step.RELEASE)
        self._step_until(MAIN_CHANNEL, Step.CHECKPOINT_RECEIVED)
        # Whether the guest still runs is only certain while the receiver waits at its next step.
        self._wait_for(MAIN_CHANNEL)
        self._compare_guest_running()

    def answer(self) -> None:
        """The primary is told that the checkpoint was received, and lets its output go."""
        self._note("the checkpoint is answered")
        self._step_until(MAIN_CHANNEL, Step.ANSWER)
        self._checked(lambda: self.peer.expect(ColoMessage.VMSTATE_RECEIVED))
        self._wait_for(MAIN_CHANNEL)

    def is_answered(self) -> bool:
        """Whether the checkpoint at hand was answered, and is not committed yet."""
        return bool(self.machine.cells["is_promised"])

    def begin_flush(self) -> None:
        """The checkpoint is answered, if it was not, and its flush begins: the guest is stopped."""
        if not self.is_answered():
            self.answer()
        self._step_until(MAIN_CHANNEL, Step.FLUSH_BEGIN)
        self._compare_guest_running()

    def commit(self) -> None:
        """The checkpoint is flushed into the guest."""
        self.begin_flush()
        self._step_until(MAIN_CHANNEL, Step.COMMIT)
        self._checked(lambda: self.peer.expect(ColoMessage.VMSTATE_LOADED))
        self._compare_guest_running()
        self.reached.checkpoints += 1
        self._check_clauses()

    def cut(self, channel: str, pages: Sequence[int], keep: float) -> None:
        """A channel dies in the middle of a packet (main channel: of one page's record): only the first part of its bytes arrives."""
        self._note(f"{channel} dies after {keep:.2f} of a packet with pages {list(pages)}")
        self.drain()
        self.is_faulty = True
        sent = self.peer.take(pages)
        self.acceptor.sent[channel].append(sent)
        content = self.peer.packet(channel, sent)
        self.peer.put(channel, content[: int(keep * (len(content) - 1))])
        self.peer.ends[channel].close()
        self._run_freely(lambda: len(self.exited) == len(self.owed), None)

    # Moves of the receiver's threads.

    def step(self, channel: str) -> None:
        """Let the thread of a channel take its next micro-step."""
        step = self._wait_for(channel)
        self._note(f"{channel} takes {step}")
        self._release(channel)
        self.owed[channel] = max(0, self.owed[channel] - 1)
        self._look_for_surprises()

    def failover(self, order: Sequence[str] = ()) -> None:
        """The secondary takes over, wherever its threads are; they end in any order, those in `order` first."""
        self._note("failover")
        self._run_in_helper(self.receiver.failover, order)
        self._compare_guest_running()
        self.reached.is_taken_over = self.machine.phase is Phase.FAILOVER
        if not self.reached.is_taken_over:
            raise self._violation(str(Step.TAKE_OVER), f"failover has ended in phase {self.machine.phase.name}")

    def can_fail_over(self) -> bool:
        """Whether the destination is in COLO, and not in a flush."""
        return self.machine.phase in _IN_COLO

    def close(self) -> None:
        """End the receiver, and check that everything was freed."""
        if self._is_closed:
            return
        self._note("the receiver is closed")
        self._is_closing = True
        self._run_in_helper(self.receiver.close, ())
        self._is_closed = True
        self.peer.close()
        self.gates.open()
        self._compare_guest_running()
        self._check_clauses()
        for cell, step in (("cache_allocated", Step.RELEASE_CACHE), ("receivedmap_allocated", Step.RELEASE_RECEIVEDMAP)):
            if self.machine.cells[cell]:
                raise self._violation(str(step), "memory was not released")
        self.reached.micro_steps = self.acceptor.accepted

    def abandon(self) -> None:
        """Let everything run to its end without checking, after a violation."""
        self.gates.open()
        self.peer.close()
        helper = threading.Thread(target=self.receiver.close, daemon=True)
        helper.start()
        helper.join(5)

    # How it is done.

    def _note(self, move: str) -> None:
        self.moves.append(move)

    def _violation(self, rule: str, why: str) -> Violation:
        self.violation = Violation(rule, why, self.moves)
        return self.violation

    def _checked(self, action: Callable[[], T]) -> T:
        """Run what waits for the receiver; a thread that stalls, or answers wrongly, is a violation."""
        try:
            return action()
        except (Stalled, UnexpectedReply) as failure:
            raise self._violation("progress", str(failure)) from failure

    def _connect(self) -> None:
        ends = self.peer.connect()

        def attach() -> None:
            for end in ends:
                self.receiver.attach(end)

        helper = threading.Thread(target=attach, daemon=True)
        helper.start()
        self._step_until(MAIN_CHANNEL, Step.START)
        helper.join()
        self.peer.begin_ram()
        if not self.peer.channels:
            self._owe_steps(Step.RELEASE)
        # As a source does: no page leaves before the destination has read the list of blocks.
        self.end_round()

    def _owe_steps(self, *steps: Step) -> None:
        self.owed[MAIN_CHANNEL] += len(steps)
        self.drain()

    def _step_until(self, channel: str, last: Step) -> None:
        self._note(f"{channel} goes on until {last}")
        while last not in self._release_next(channel):
            pass

    def _wait_for(self, channel: str) -> Step:
        """Return the micro-step at which a thread waits that has work to do."""
        if channel in self.exited:
            raise self._violation("progress", f"the thread of {channel} has ended, and its work is not done")
        return self._checked(lambda: self.gates.wait_for(channel))

    def _release_next(self, channel: str) -> list[Step]:
        self._wait_for(channel)
        return [event.step for event in self._release(channel)]

    def _release(self, channel: str) -> list[TraceEvent]:
        events = self._checked(lambda: self.gates.release(channel))
        for event in events:
            self._accept(event)
        self._compare()
        if self.is_watched:
            self._check_clauses()
        return events

    def _accept(self, event: TraceEvent) -> None:
        try:
            self.acceptor.accept(event)
        except Refused as refusal:
            raise self._violation(refusal.rule, str(refusal)) from refusal
        if event.step == Step.EXIT:
            self.exited.add(event.channel)

    def _look_for_surprises(self) -> None:
        """Let whoever comes to a micro-step without being owed one go on, so that the model can refuse it."""
        for channel in self.gates.arrived():
            is_main_at_barrier = channel == MAIN_CHANNEL and self._all_parked()
            if channel in self.owed and not self.owed[channel] and not is_main_at_barrier and channel not in self.exited:
                self._release(channel)

    def _all_parked(self) -> bool:
        return all(self.owed[name] == 0 for name in self.peer.channels)

    def _run_in_helper(self, action: Callable[[], None], order: Sequence[str]) -> None:
        errors: list[BaseException] = []

        def run() -> None:
            try:
                action()
            except BaseException as error:  # noqa: BLE001  # handed to the thread that waits
                errors.append(error)

        helper = threading.Thread(target=run, daemon=True)
        helper.start()
        self._run_freely(lambda: False, helper, order)
        if errors:
            raise self._violation("failover", f"the call failed: {errors[0]!r}")

    def _run_freely(self, is_done: Callable[[], bool], helper: threading.Thread | None, order: Sequence[str] = ()) -> None:
        """Let whoever comes to a micro-step take it, those in `order` first, until it is done or the helper thread ends."""
        self.is_faulty = True
        while not is_done() and self._checked(lambda: self.gates.wait_for_any(helper)):
            arrived = self.gates.arrived()
            channel = next((name for name in (*order, CONTROL, *sorted(arrived)) if name in arrived), None)
            if channel is not None:
                self._note(f"{channel or 'the caller'} takes {arrived[channel]}")
                self._release_freely(channel)
        for event in self.gates.take_events():
            self._accept(event)

    def _release_freely(self, channel: str) -> None:
        if channel != CONTROL or not self.is_answered():
            self._release(channel)
            return
        # Who takes over, or closes, waits for the commit of what was answered.
        for event in self.gates.release_to_wait(channel):
            self._accept(event)

    def _check_clauses(self) -> None:
        violated = self.machine.violated()
        if self.is_watched:
            self.exercised.update(self.machine.exercised())
        if violated:
            raise self._violation(violated[0], f"the model's own state violates {', '.join(violated)}")

    def _compare_guest_running(self) -> None:
        """Compare whether the guest runs, after something that the receiver does only when it has stopped or run it."""
        expected = bool(self.machine.cells["guest_running"])
        if self.guest.is_running is not expected:
            seen = "does not run" if expected else "runs"
            raise self._violation("phase.guest-runs", f"the guest {seen} in phase {self.machine.phase.name}")

    def _compare(self) -> None:
        """Compare memory and maps with the model, where the rules define them."""
        cells = self.machine.cells
        if self._is_closing and not cells["receivedmap_allocated"]:
            return
        seen = self.receiver.observe(has_cache=bool(cells["cache_allocated"]), has_maps=bool(cells["receivedmap_allocated"]))
        difference = first_difference(self.machine, seen, self.options)
        if difference is not None:
            raise self._violation(*difference)
