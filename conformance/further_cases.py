"""Cases about the built-in receiver that no schedule and no wire case asks of it: how it is begun, refused and ended.

Each raises Violation if it shows something. Some faults of receivers are shown by nothing else (docs/mutants.md).
"""

import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Final

import zstandard

from colofd.conformance import stream
from colofd.conformance.black_box import PROGRESS, BlackBoxRun
from colofd.conformance.black_box_built_in import BuiltInFromOutside
from colofd.conformance.black_box_wire import State
from colofd.conformance.rulings import Outcome, Ruling
from colofd.conformance.subjects import Options
from colofd.conformance.violation import Violation
from colofd.conformance.wire_cases import WireCase
from colofd.conformance.wire_check import try_case
from colofd.conformance.wire_streams import BLOCKS, MACHINE, PAGE, precopy
from colofd.impl import Block, Destination
from colofd.impl.phases import Phase
from colofd.model.decode import Context
from colofd.spec.constants import COMPRESSION_FLAGS, ColoMessage, Compression, SectionType, Step
from colofd.spec.reasons import Reason, Rejected
from colofd.spec.wire.main_channel import CAPABILITIES_SUBSECTION

SECONDS: Final = 1.0
"""How long a receiver may take for anything: it needs milliseconds."""

_BLOCKS: Final = [Block("ram", 12 * PAGE)]


@contextmanager
def _connected(destination: Destination, *said: bytes, has_more: bytes = b"") -> Iterator[None]:
    """Connect a channel for each thing that is said, and close the destination in the end, which must not take long.

    `has_more` is said on a channel that does not end there.
    """
    ends = []
    for data in [*said, *([has_more] if has_more else [])]:
        near, far = socket.socketpair()
        near.sendall(data)
        if data is not has_more:
            near.shutdown(socket.SHUT_WR)
        destination.attach(far)
        ends.append(near)
    try:
        yield
    finally:
        closing = threading.Thread(target=destination.close, daemon=True)
        closing.start()
        closing.join(SECONDS)
        for end in ends:
            end.close()
    if closing.is_alive():
        raise Violation(PROGRESS, f"close takes longer than {SECONDS} s", ())


def _refusal(destination: Destination) -> Rejected | None:
    begin, found = time.monotonic(), None
    try:
        destination.wait(SECONDS)
    except Rejected as rejected:
        found = rejected
    except TimeoutError:
        return None
    if time.monotonic() - begin > 2 * SECONDS:
        raise Violation(PROGRESS, f"the threads did not end at once after: {found}", ())
    return found


def _repeated_channel() -> None:
    """Two channels with the same id: the second one is an error, and at once."""
    destination = Destination(_BLOCKS, 2)
    with _connected(destination, stream.hello(0), stream.hello(0)):
        rejected = _refusal(destination)
        if rejected is None or rejected.reason is not Reason.CHANNEL_REPEATED:
            raise Violation(Reason.CHANNEL_REPEATED, f"a channel that is repeated ends with: {rejected}", ())


def _cancelled(*said: bytes) -> None:
    destination = Destination(_BLOCKS, 2)
    with _connected(destination, *said):
        try:
            destination.close(SECONDS)
        except (Rejected, RuntimeError) as error:
            raise Violation(PROGRESS, f"close before all channels are there: {error!r}", ()) from error


def _first_error() -> None:
    """Two channels die within their packets, one after the other: the first error is the one that is told."""
    is_there, may_read = threading.Event(), threading.Event()

    def gate(step: Step, channel: str) -> None:
        if step is Step.READ_PAGE and channel == "mfd0":
            is_there.wait(SECONDS)
        elif step is Step.READ_PAGE:
            is_there.set()
            may_read.wait(SECONDS)

    destination = Destination(_BLOCKS, 2, gate=gate)
    main = stream.stream_header(MACHINE) + stream.ram_start([("ram", 12 * PAGE)]) + stream.flush()
    with _connected(destination, *(_half_a_packet(number) for number in range(2)), has_more=main):
        end = time.monotonic() + SECONDS
        while destination.phase is not Phase.FAILED and time.monotonic() < end:
            time.sleep(0.005)
        may_read.set()
        rejected = _refusal(destination)
        if rejected is None or rejected.channel != "mfd0":
            raise Violation(Reason.TRUNCATED, f"the first error was on mfd0, and what is told is: {rejected}", ())


def _half_a_packet(number: int) -> bytes:
    writer = stream.PacketWriter(Compression.NONE, PAGE)
    return stream.hello(number) + writer.sync() + writer.pages("ram", [(number * PAGE, b"\7" * PAGE)], [])[:-1]


class _Refusing(BuiltInFromOutside):
    """Refuses the device state of every checkpoint, and takes that of precopy."""

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self.destination.close()
        blocks = [Block(name, (its.stop - its.start) * options.page_size) for name, its in options.pages_of_blocks.items()]
        self._states = 0
        self.destination = Destination(blocks, options.channels, colo=True, validate=self._validate)

    def _validate(self, _state: bytes) -> None:
        self._states += 1
        if self._states > 1:
            raise ValueError("this device state cannot be loaded")


@contextmanager
def _in_colo(make: Callable[[Options], BuiltInFromOutside]) -> Iterator[tuple[BlackBoxRun, BuiltInFromOutside]]:
    """Give a run that is in COLO, between two checkpoints."""
    options = Options()
    receiver = make(options)
    try:
        run = BlackBoxRun(receiver, options, SECONDS)
        try:
            run.primary_writes(0, 1)
            run.end_precopy()
            run.primary_writes(1, 2)
            yield run, receiver
        finally:
            run.peer.close()
    finally:
        receiver.close()


def _is_answered(run: BlackBoxRun) -> bool:
    run.peer.put_device_state()
    try:
        run.peer.expect(ColoMessage.VMSTATE_RECEIVED)
    except Exception:  # noqa: BLE001  # however it does not answer
        return False
    return True


def _refused_device_state() -> None:
    """A device state that cannot be loaded is not answered, and a failover keeps the last commit."""
    with _in_colo(_Refusing) as (run, _):
        run.begin_checkpoint()
        run.receive_checkpoint()
        if _is_answered(run):
            raise Violation(Step.ANSWER, "a device state that cannot be loaded was answered", run.moves)
        run.failover()


def _flush_missing() -> None:
    """The pages of a checkpoint that no MULTIFD_FLUSH follows are none: it is not answered."""
    with _in_colo(BuiltInFromOutside) as (run, _):
        run.begin_checkpoint()
        run.send("mfd0", [1])
        run.peer.put_pages_end()
        if _is_answered(run):
            raise Violation(Step.CHECKPOINT_RECEIVED, "a checkpoint without its MULTIFD_FLUSH was answered", run.moves)
        run.failover()


def _pages_between_checkpoints() -> None:
    """Pages that come between two checkpoints are refused, and a failover keeps the last commit."""
    with _in_colo(BuiltInFromOutside) as (run, receiver):
        run.send("mfd0", [1])
        end = time.monotonic() + SECONDS
        while receiver.look()[0] is not State.FAILED:
            if time.monotonic() > end:
                raise Violation(Step.PREPARE, "pages were accepted between two checkpoints", run.moves)
        run.failover()


def _wire(case: WireCase) -> None:
    finding = try_case(case)
    if finding.outcome is not Outcome.HOLDS:
        raise Violation(case.check_id, finding.why, ())


def _ended_stream(method: Compression, payload: bytes) -> WireCase:
    """A payload that inflates to its page, and ends the stream that should last as long as its channel."""
    writer = stream.PacketWriter(method, PAGE)
    head = stream.hello(0) + writer.sync() + writer.header("ram0", COMPRESSION_FLAGS[method], 1, 0, len(payload), [0])
    context = Context(channels=2, compression=method, blocks={"ram0": 4 * PAGE})
    return WireCase(f"wire.payload.ended-{method}", "wire.payload", "multifd", head + payload, context, Reason.PAYLOAD_CORRUPT, len(head))


def capability_case() -> WireCase:
    """Return a source that has a validated capability on, which the receiver has not."""
    header = stream.stream_header(MACHINE)
    name = bytes([SectionType.SUBSECTION]) + stream.counted(CAPABILITIES_SUBSECTION) + stream.be32(1)
    data = header + name + stream.be32(1) + stream.counted("x-ignore-shared") + precopy()[len(header) :]
    context = Context(machine=MACHINE, blocks=BLOCKS)
    check = "wire.configuration.capability-count"
    return WireCase(f"{check}.not-here", check, "main", data, context, Reason.CAPABILITY_MISMATCH, len(header) + len(name))


_CONTENT: Final = b"\x09" * PAGE

FURTHER: Final[Mapping[str, Callable[[], None]]] = {
    "further.channel-repeated": _repeated_channel,
    "further.cancelled-before-channels": _cancelled,
    "further.cancelled-between-channels": partial(_cancelled, stream.stream_header(MACHINE), stream.hello(1)),
    "further.first-error-told": _first_error,
    "further.device-state-refused": _refused_device_state,
    "further.flush-missing": _flush_missing,
    "further.pages-between-checkpoints": _pages_between_checkpoints,
    "further.zlib-stream-ends": partial(_wire, _ended_stream(Compression.ZLIB, zlib.compress(_CONTENT))),
    "further.zstd-frame-ends": partial(_wire, _ended_stream(Compression.ZSTD, zstandard.compress(_CONTENT))),
    "further.capability-not-here": partial(_wire, capability_case()),
}
"""All of them, by id."""


def check_further() -> dict[str, Ruling]:
    """Return a ruling for each further case. Takes less than a second."""
    return {name: _ruling(case) for name, case in FURTHER.items()}


def _ruling(case: Callable[[], None]) -> Ruling:
    try:
        case()
    except Violation as violation:
        return Ruling(Outcome.VIOLATED, f"{violation.rule}: {violation.why}")
    except Exception as error:  # noqa: BLE001  # a receiver may fail in any way; the other cases are still tried
        return Ruling(Outcome.ERRORED, f"{type(error).__name__}: {error}")
    return Ruling(Outcome.HOLDS, "it was as it should be", {"taken": 1})
