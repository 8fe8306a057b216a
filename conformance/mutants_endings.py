"""Live cases about how a receiver is begun and ended: what no schedule and no wire case asks of it. They say what is wrong as Violation."""

import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from colofd.conformance import stream
from colofd.conformance.black_box import PROGRESS, BlackBoxRun
from colofd.conformance.black_box_built_in import BuiltInFromOutside
from colofd.conformance.subjects import Options
from colofd.conformance.violation import Violation
from colofd.impl import Block, Destination
from colofd.spec.constants import ColoMessage, Step
from colofd.spec.reasons import Reason, Rejected

SECONDS: Final = 1.0
"""How long a receiver may take for anything: it needs milliseconds."""

_PAGES: Final = 12
_BLOCKS: Final = [Block("ram", _PAGES * 4096)]


@contextmanager
def _connected(*hellos: bytes) -> Iterator[Destination]:
    """Give a destination for two channels to which so much was said, each on a connection of its own."""
    with Destination(_BLOCKS, 2) as destination:
        ends = []
        for hello in hellos:
            near, far = socket.socketpair()
            near.sendall(hello)
            destination.attach(far)
            ends.append(near)
        try:
            yield destination
        finally:
            for end in ends:
                end.close()


def _repeated_channel() -> None:
    """Two channels with the same id: the second one is an error, and at once."""
    with _connected(stream.hello(0), stream.hello(0)) as destination:
        try:
            destination.wait(SECONDS)
        except Rejected as rejected:
            if rejected.reason is Reason.CHANNEL_REPEATED:
                return
            raise Violation("channel-repeated", f"a channel that is repeated is refused as {rejected}", ()) from rejected
        except TimeoutError as late:
            raise Violation("channel-repeated", "a channel that is repeated is no error", ()) from late


def _cancelled(*hellos: bytes) -> None:
    begin = time.monotonic()
    with _connected(*hellos) as destination:
        try:
            destination.close(SECONDS)
        except (Rejected, RuntimeError) as error:
            raise Violation(PROGRESS, f"close before all channels are there: {error!r}", ()) from error
    if time.monotonic() - begin > 2 * SECONDS:
        raise Violation(PROGRESS, "close before all channels are there takes too long", ())


def _cancelled_between_channels() -> None:
    """The migration is cancelled while a channel is missing."""
    _cancelled(stream.stream_header("none"), stream.hello(1))


def _cancelled_before_channels() -> None:
    """The migration is cancelled before anybody has connected."""
    _cancelled()


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
def _checkpoint(receiver: BuiltInFromOutside, options: Options) -> Iterator[BlackBoxRun]:
    """Give a run that is in the middle of a checkpoint."""
    try:
        run = BlackBoxRun(receiver, options, SECONDS)
        try:
            run.primary_writes(0, 1)
            run.end_precopy()
            run.primary_writes(1, 2)
            run.begin_checkpoint()
            yield run
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
    options = Options()
    with _checkpoint(_Refusing(options), options) as run:
        run.receive_checkpoint()
        if _is_answered(run):
            raise Violation(Step.ANSWER, "a device state that cannot be loaded was answered", run.moves)
        run.failover()


def _flush_missing() -> None:
    """The pages of a checkpoint that no MULTIFD_FLUSH follows are none: it is not answered."""
    options = Options()
    with _checkpoint(BuiltInFromOutside(options), options) as run:
        run.send("mfd0", [1])
        run.peer.put_pages_end()
        if _is_answered(run):
            raise Violation(Step.CHECKPOINT_RECEIVED, "a checkpoint without its MULTIFD_FLUSH was answered", run.moves)
        run.failover()


ENDINGS: Final[Mapping[str, Callable[[], None]]] = {
    "a channel is repeated": _repeated_channel,
    "cancelled before any channel": _cancelled_before_channels,
    "cancelled between channels": _cancelled_between_channels,
    "a device state is refused": _refused_device_state,
    "MULTIFD_FLUSH is missing": _flush_missing,
}
"""All of them, by name."""
