"""Writes scripts: what a primary says, which replies come, and what guest RAM must be, without a receiver.

A `ScriptWriter` has the moves of a schedule seen from outside. The RAM that is expected is the primary's; what a schedule has sent up to
each commit is read by the model, too, which must come to the same.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, Final

from colofd.conformance.black_box import ISOLATION, NotObservable
from colofd.conformance.peer import page_content
from colofd.conformance.primary import Primary
from colofd.conformance.subjects import Options
from colofd.conformance.vector_format import (
    Act,
    Await,
    Connect,
    End,
    Failover,
    GuestWrites,
    Ram,
    Reply,
    Send,
    Setup,
    Vector,
    VectorBlock,
    Verdict,
    bytes_of,
    pieces_of,
)
from colofd.model.receiver import receive
from colofd.spec.constants import MAIN_CHANNEL, ColoMessage, Step, pages_per_packet

COMMITS: Final = (Step.ENTER_COLO, Step.COMMIT, Step.COMPLETE)
"""Where the guest has the primary's RAM."""

Schedule = Callable[[Any], None]
"""Makes the moves of a `ScriptWriter`."""


class _End:
    """Our end of a channel that is not there: whatever is said on it is written down."""

    def __init__(self, script: list[Act], channel: str) -> None:
        self._script = script
        self._channel = channel
        self._is_open = True

    def settimeout(self, _seconds: float) -> None:
        """Do nothing: nothing is waited for."""

    def fileno(self) -> int:
        """Return whether it is open, as a socket does."""
        return 0 if self._is_open else -1

    def sendall(self, data: bytes) -> None:
        """Write down what is said, joined to what was said just before on the same channel."""
        last = self._script[-1]
        if isinstance(last, Send) and last.channel == self._channel:
            data = bytes_of(last.data) + data
            self._script.pop()
        self._script.append(Send(self._channel, pieces_of(data)))

    def close(self) -> None:
        """Close the channel."""
        if self._is_open:
            self._script.append(End(self._channel))
        self._is_open = False


class _Writing(Primary):
    """A primary that gets the replies it waits for."""

    def __init__(self, options: Options, script: list[Act]) -> None:
        self._script = script
        names = iter([MAIN_CHANNEL, *(f"mfd{number}" for number in range(options.channels))])

        def connect() -> Any:
            name = next(names)
            script.append(Connect(name))
            return _End(script, name)

        super().__init__(options, connect, 0.0)

    def _expect(self, content: bytes, name: str) -> None:
        del name
        said = content.hex()
        if isinstance(last := self._script[-1], Reply):
            said = last.bytes + said
            self._script.pop()
        self._script.append(Reply(said))


class ScriptWriter:
    """The moves of a schedule, written down. NotObservable at a move that cannot be made from outside."""

    def __init__(self, options: Options) -> None:
        if options.is_mirror_deferred:
            raise NotObservable("which mirror it has, a receiver does not show")
        self.options = options
        self.script: list[Act] = []
        self.peer = _Writing(options, self.script)
        self._committed: bytes | None = None
        self._is_cut = False
        self.peer.begin_ram()
        self.end_round()

    def primary_writes(self, page: int, number: int) -> None:
        """The primary's guest writes content `number` into a page."""
        self.peer.write(page, page_content(number, self.options.page_size))

    def send(self, channel: str, pages: Sequence[int]) -> None:
        """Put pages on a channel: a packet for each RAM block, or records on the main channel."""
        for group in self.peer.groups(channel, pages):
            self.peer.put_pages(channel, group)

    def end_round(self, last: Sequence[int] = ()) -> None:
        """SYNC on every multifd channel, and MULTIFD_FLUSH on the main one; the first SYNC carries the pages `last`, as before 9.0."""
        for number, name in enumerate(self.peer.channels):
            if last and number == 0:
                self.peer.put(name, self.peer.packet(name, self.peer.take(last), is_sync=True))
            else:
                self.peer.put_sync(name)
        self.peer.put_round_end()

    def end_round_without(self, silent: str) -> None:
        """End the round, but the SYNC of one channel never comes."""
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
        """Send the rest and end precopy: the destination enters COLO, or completes."""
        self.send_rest()
        if self.peer.sent_in_round:
            self.end_round()
        self.peer.put_precopy_end()
        if self.options.colo:
            self.peer.expect_colo()
        self.script.append(Await("colo" if self.options.colo else "completed"))
        self._commit(Step.ENTER_COLO if self.options.colo else Step.COMPLETE)

    def begin_checkpoint(self) -> None:
        """The primary stops its guest and asks for a checkpoint."""
        if not self.options.colo:
            raise NotObservable("it is set up without COLO")
        self.peer.put_request()
        self.peer.expect(ColoMessage.CHECKPOINT_REPLY)
        self.peer.put_checkpoint_begin()
        self._look(ISOLATION)

    def receive_checkpoint(self) -> None:
        """The rest of a checkpoint is sent, up to its device state: nothing of it is in the guest."""
        self.send_rest()
        if self.peer.sent_in_round or not self.peer.channels:
            self.end_round()
        self.peer.put_pages_end()
        self._look(ISOLATION)

    def answer(self) -> None:
        """The device state is sent, and the checkpoint answered: it is what must survive."""
        self.peer.put_device_state()
        self.peer.expect(ColoMessage.VMSTATE_RECEIVED)
        self._committed = b"".join(self.peer.ram)

    def commit(self) -> None:
        """The checkpoint is flushed into the guest."""
        self.answer()
        self.peer.expect(ColoMessage.VMSTATE_LOADED)
        self._commit(Step.COMMIT)

    def cut(self, channel: str, pages: Sequence[int], keep: float) -> None:
        """A channel dies in the middle of a packet: only the first part of its bytes arrives."""
        content = self.peer.packet(channel, self.peer.take(pages))
        if part := content[: int(keep * (len(content) - 1))]:
            self.peer.put(channel, part)
        self.close(channel)

    def close(self, channel: str) -> None:
        """A channel ends."""
        self.peer.ends[channel].close()
        self._is_cut = True
        if self._committed is None:
            self.script.append(Await("refused"))

    def failover(self) -> None:
        """The secondary takes over: it has the last commit, and an answered checkpoint counts as one."""
        self.script += [Failover(), Await("not-colo")]
        self._look(ISOLATION)

    def check_end(self) -> None:
        """Look at guest RAM once more, when nothing is left to do."""
        if self._committed is not None and self.options.colo and not isinstance(self.script[-1], Ram):
            self._look(ISOLATION)

    def guest_writes(self, page: int, number: int, *, is_reported_at_once: bool) -> None:
        """The secondary's guest writes a page of its own: it keeps that until the next commit. When it is reported is the receiver's."""
        del is_reported_at_once
        if self._committed is None or not self.options.colo:
            raise NotObservable("the guest runs in COLO only")
        size = self.options.page_size
        content = page_content(number, size)
        self.script.append(GuestWrites(page, pieces_of(content)))
        self._committed = self._committed[: page * size] + content + self._committed[(page + 1) * size :]

    def begin_flush(self) -> None:
        """Not possible: the flush follows the answer at once."""
        raise NotObservable("a flush cannot be held")

    def __getattr__(self, name: str) -> object:
        raise NotObservable(f"threads cannot be held: there is no {name}")

    @property
    def verdict(self) -> Verdict:
        """Whether all is accepted: not where a channel ends that is still needed, and it depends on the receiver what it notices first."""
        return Verdict(is_accepted=not self._is_cut)

    def _commit(self, step: Step) -> None:
        self._committed = b"".join(self.peer.ram)
        self._look(step)

    def _look(self, rule: str) -> None:
        ram = self._committed or b""
        self.script.append(ram_act(rule, ram))


def reordered(script: Sequence[Act], order: Sequence[str]) -> list[Act]:
    """Return a script in which channels connect in another order, and each says its first words before the next one connects."""
    first: dict[str, list[Act]] = {name: [Connect(name)] for name in order}
    rest: list[Act] = []
    for act in script:
        if isinstance(act, Send) and len(first[act.channel]) == 1:
            first[act.channel].append(act)
        elif not isinstance(act, Connect):
            rest.append(act)
    return [act for name in order for act in first[name]] + rest


def refused_after(before: Sequence[Act]) -> list[Act]:
    """Return how a run ends in which something is refused: in COLO with a failover, after which the guest has the last commit."""
    return [Await("refused"), *_taken_over(before)]


def ended_after(before: Sequence[Act]) -> list[Act]:
    """Return how a run ends in which a channel does: in COLO, what a receiver notices first is its own matter."""
    return _taken_over(before) or [Await("refused")]


def _taken_over(before: Sequence[Act]) -> list[Act]:
    last = next((act for act in reversed(before) if isinstance(act, Ram)), None)
    return [] if last is None else [Failover(), Await("not-colo"), last]


def ram_act(rule: str, ram: bytes) -> Ram:
    """Return the act that looks at guest RAM."""
    return Ram(hashlib.sha256(ram).hexdigest(), rule, pieces_of(ram))


def setup_of(options: Options) -> Setup:
    """Return how the receiver of a schedule is set up."""
    blocks = [VectorBlock(name, (its.stop - its.start) * options.page_size) for name, its in options.pages_of_blocks.items()]
    compression, uuid = options.compression, options.uuid.hex()
    return Setup(blocks, options.channels, options.colo, compression, options.page_size, options.machine, uuid, [])


def written(family: str, name: str, options: Options, schedule: Schedule, rules: Sequence[str] = ()) -> Vector | None:
    """Return a schedule as a vector; None if it cannot be run from outside.

    Args:
        family: of the vector.
        name: its id.
        options: how the receiver is set up.
        schedule: makes the moves.
        rules: what it is about, beside what is looked at.
    """
    try:
        run = ScriptWriter(options)
        schedule(run)
        run.check_end()
    except NotObservable:
        return None
    looked_at = {act.rule for act in run.script if isinstance(act, Ram)} | ({str(Step.TAKE_OVER)} if Failover() in run.script else set())
    about = list(dict.fromkeys([*rules, *sorted(looked_at)])) or [str(Step.GIVE_UP)]
    return Vector(name, family, about, setup_of(options), run.verdict, run.script)


def require_model(vector: Vector) -> None:
    """Let the model read what was sent up to each commit, as long as nothing fails; ValueError if its RAM is another."""
    sent: dict[str, bytes] = {}
    for act in vector.script:
        match act:
            case End() | Failover() | Await(state="refused"):
                return
            case Send():
                sent[act.channel] = sent.get(act.channel, b"") + bytes_of(act.data)
            case Ram() if act.rule in COMMITS:
                _require_ram(vector, act, sent)


def _require_ram(vector: Vector, act: Ram, sent: dict[str, bytes]) -> None:
    setup = vector.setup
    reading = receive(sent, channels=setup.channels, compression=setup.compression, colo=setup.colo, page_size=setup.page_size)
    ram, start = bytes_of(act.data), 0
    for block in setup.blocks:
        if hashlib.sha256(ram[start : start + block.length]).hexdigest() != reading.final[block.name]:
            raise ValueError(f"{vector.id}: the model has other RAM at {act.rule}")
        start += block.length
