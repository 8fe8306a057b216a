"""Vectors of schedules: what the black-box moves say to a receiver, written down while the built-in receiver takes it.

The RAM that is expected is the primary's: a run in which the built-in receiver differs ends with a violation, and gives no vector. Where
the run comes to a commit, the model reads what was sent up to there, and must have the same RAM.
"""

import hashlib
import random
import socket
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from colofd.conformance.black_box import ISOLATION, BlackBoxRun, NotObservable
from colofd.conformance.black_box_built_in import BuiltInFromOutside
from colofd.conformance.black_box_schedules import ENDS, MOVES, Move, play_moves
from colofd.conformance.schedules import DIRECTED, SHAPES, VARIANTS, plain
from colofd.conformance.stream import colo_message
from colofd.conformance.subjects import Options
from colofd.conformance.vector_format import (
    Act,
    Await,
    Connect,
    End,
    Failover,
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
from colofd.conformance.wire_streams import MACHINE
from colofd.model.receiver import receive
from colofd.spec.constants import MAIN_CHANNEL, UUID_SIZE, ColoMessage, Compression, Step

SECONDS: Final = 10.0
DRAWN: Final = 400
"""Schedules that are drawn; those that cover nothing of their own are dropped."""

_KEEPS: Final = (0.0, 0.1, 0.3, 0.7, 1.0)
"""How much of a packet arrives before its channel dies."""

_LOADED: Final = colo_message(ColoMessage.VMSTATE_LOADED).hex()
_COMMITS: Final = (Step.ENTER_COLO, Step.COMMIT, Step.COMPLETE)

Schedule = Callable[[Any], None]


class _Noted:
    """Our end of a channel, with a note of what is said on it."""

    def __init__(self, connection: socket.socket, script: list[Act], channel: str) -> None:
        self._connection = connection
        self._script = script
        self._channel = channel

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def sendall(self, data: bytes) -> None:
        self._script.append(Send(self._channel, pieces_of(data)))
        self._connection.sendall(data)

    def recv(self, count: int) -> bytes:
        said = self._connection.recv(count)
        if said:
            self._script.append(Reply(said.hex()))
        return said

    def close(self) -> None:
        if self._connection.fileno() >= 0:
            self._script.append(End(self._channel))
        self._connection.close()


class _NotedReceiver:
    """The built-in receiver, with a note of what is asked of it."""

    def __init__(self, options: Options) -> None:
        self._receiver = BuiltInFromOutside(options)
        self._names = iter([MAIN_CHANNEL, *(f"mfd{number}" for number in range(options.channels))])
        self.script: list[Act] = []

    def connect(self) -> Any:
        """Return our end of a new channel; the main one is the first."""
        name = next(self._names)
        self.script.append(Connect(name))
        return _Noted(self._receiver.connect(), self.script, name)

    def guest(self) -> bytes:
        """Return guest RAM, and note it: a run in which it is not as it should be gives no vector."""
        ram = self._receiver.guest()
        if not isinstance(self.script[-1], Ram):
            self.script.append(Ram(hashlib.sha256(ram).hexdigest(), _rule_after(self.script[-1])))
        return ram

    def is_in_colo(self) -> bool:
        """Return whether it is in COLO."""
        is_in_colo = self._receiver.is_in_colo()
        self._wait("colo" if is_in_colo else "not-colo")
        return is_in_colo

    def is_completed(self) -> bool:
        """Return whether it is complete."""
        self._wait("completed")
        return self._receiver.is_completed()

    def has_failed(self) -> bool:
        """Return whether it has given up."""
        self._wait("refused")
        return self._receiver.has_failed()

    def failover(self) -> None:
        """Take over."""
        self.script.append(Failover())
        self._receiver.failover()

    def close(self) -> None:
        """End it."""
        self._receiver.close()

    def _wait(self, state: Any) -> None:
        """Note what is waited for: the last one of the answers while it is waited is how it ends."""
        if self.script and isinstance(self.script[-1], Await):
            self.script.pop()
        self.script.append(Await(state))


def _rule_after(act: Act) -> str:
    """Return the id of what is looked at behind an act: a commit, or that nothing else gets into the guest."""
    match act:
        case Await(state="colo"):
            return Step.ENTER_COLO
        case Await(state="completed"):
            return Step.COMPLETE
        case Reply(bytes=digits) if digits.endswith(_LOADED):
            return Step.COMMIT
    return ISOLATION


def schedule_vectors() -> Iterator[Vector]:
    """Yield the vectors of the directed schedules, of faults and of drawn schedules."""
    for options in [each for each in VARIANTS if not each.is_mirror_deferred]:
        for schedule in DIRECTED:
            yield from recorded("schedule", f"schedule.{schedule.__name__} with {options.compression}", options, schedule)
    for options in SHAPES:
        name = f"{options.channels} channels {options.compression} {'colo' if options.colo else 'precopy'}"
        yield from recorded("schedule", f"schedule.plain with {name}", options, plain)
    for number in range(DRAWN):
        yield from recorded("schedule", f"schedule.drawn {number}", *_drawn(random.Random(number)))  # noqa: S311  # a schedule, no secret
    yield from _fault_vectors()


def _fault_vectors() -> Iterator[Vector]:
    for method in Compression:
        options = Options(compression=method)
        for channel in (MAIN_CHANNEL, "mfd0", "mfd1"):
            for stage, before in (("precopy", None), ("first checkpoint", 0), ("second checkpoint", 1)):
                for keep in _KEEPS:
                    name = f"fault.{channel} dies after {keep} of a packet in {stage} with {method}"
                    yield from recorded("fault", name, options, _dying(channel, before, keep))


def _dying(channel: str, checkpoints: int | None, keep: float) -> Schedule:
    """Return a schedule in which a channel dies in precopy, or after so many whole checkpoints."""

    def schedule(run: BlackBoxRun) -> None:
        run.primary_writes(0, 1)
        run.primary_writes(1, 2)
        if checkpoints is None:
            run.cut(channel, [0, 1, 2], keep)
            return
        run.end_precopy()
        for number in range(checkpoints):
            run.primary_writes(2, number + 1)
            run.begin_checkpoint()
            run.receive_checkpoint()
            run.commit()
        run.primary_writes(0, 3)
        run.primary_writes(1, 0)
        run.begin_checkpoint()
        run.cut(channel, [0, 1], keep)
        run.failover()

    return schedule


def _drawn(chance: random.Random) -> tuple[Options, Schedule]:
    set_ups = [each for each in (*VARIANTS, *SHAPES) if each.colo and not each.is_mirror_deferred and each.blocks == 1]
    options = chance.choice(set_ups)
    precopy, checkpoints = _moves(chance), _moves(chance)
    end = chance.choice(ENDS)
    return options, lambda run: play_moves(run, precopy, checkpoints, end)


def _moves(chance: random.Random) -> list[Move]:
    return [(chance.choice(MOVES), chance.randrange(100), chance.randrange(100)) for _ in range(chance.randrange(10))]


def recorded(family: str, name: str, options: Options, schedule: Schedule) -> Iterator[Vector]:
    """Run a schedule on the built-in receiver, and yield it as a vector, if it can be run from outside."""
    receiver = _NotedReceiver(options)
    try:
        run = BlackBoxRun(receiver, options, SECONDS)
        try:
            schedule(run)
            run.check_end()
        finally:
            run.peer.close()
    except NotObservable:
        return
    finally:
        receiver.close()
    script = _tidied(receiver.script)
    rules = sorted({act.rule for act in script if isinstance(act, Ram)} | ({"failover.take-over"} if Failover() in script else set()))
    is_cut = any(isinstance(act, Await) and act.state == "refused" for act in script)
    verdict = Verdict(is_accepted=not is_cut and not any(isinstance(act, End) for act in script))
    vector = Vector(name, family, rules or ["phase.give-up"], _setup(options), verdict, script)
    _require_model(vector)
    yield vector


def _tidied(script: Sequence[Act]) -> list[Act]:
    """Join what is said one after the other on one channel, and drop the ends of channels that close with the schedule."""
    tidy: list[Act] = []
    for act in script:
        last = tidy[-1] if tidy else None
        if isinstance(act, Reply) and isinstance(last, Reply):
            tidy[-1] = Reply(last.bytes + act.bytes)
        else:
            tidy.append(act)
    while tidy and isinstance(tidy[-1], End):
        tidy.pop()
    return tidy


def _setup(options: Options) -> Setup:
    blocks = [VectorBlock(name, (its.stop - its.start) * options.page_size) for name, its in options.pages_of_blocks.items()]
    return Setup(blocks, options.channels, options.colo, options.compression, options.page_size, MACHINE, bytes(UUID_SIZE).hex())


def _require_model(vector: Vector) -> None:
    """Let the model read what was sent up to each commit; ValueError if its RAM is another."""
    sent: dict[str, bytes] = {}
    for act in vector.script:
        if isinstance(act, Send):
            sent[act.channel] = sent.get(act.channel, b"") + bytes_of(act.data)
        elif isinstance(act, Ram) and act.rule in _COMMITS:
            setup = vector.setup
            reading = receive(sent, channels=setup.channels, compression=setup.compression, colo=setup.colo, page_size=setup.page_size)
            if [act.sha256] != list(reading.final.values()):
                raise ValueError(f"{vector.id}: the model has other RAM at {act.rule}")
