"""The threads of a destination: the main one, which waits for the channels and starts the others, and one per multifd channel."""

import threading

from colofd.impl.barrier import Barrier
from colofd.impl.channel import MultifdChannel
from colofd.impl.colo import Secondary
from colofd.impl.commits import Commits
from colofd.impl.connections import Connections
from colofd.impl.guest_control import GuestControl
from colofd.impl.main_channel import MainChannel
from colofd.impl.phases import Phase
from colofd.impl.reception import EndedError, Reception
from colofd.impl.snapshot import Leases
from colofd.impl.stream import MainStream
from colofd.impl.threads import JoinableThread, run_receiver, start
from colofd.spec.constants import MAIN_CHANNEL, Step, channel_name
from colofd.spec.reasons import Reason, Rejected


class Session:
    """One migration, from the first connection on.

    Attributes:
        connections: where channels arrive.
    """

    def __init__(self, reception: Reception, guest: GuestControl, leases: Leases) -> None:
        self.connections = Connections(reception)
        self._reception = reception
        self._guest = guest
        self._leases = leases
        self._commits = Commits(reception)
        self._barrier = Barrier(reception)
        self._is_begun = False
        self._threads = [JoinableThread(self._run_main, "main")]

    def begin(self) -> Connections:
        """Start the main thread, and the time in which channels must connect, if that is not done; return where they arrive."""
        with self._reception.lock:
            if not self._is_begun and not self._reception.is_ended:
                self._is_begun = True
                self.connections.begin()
                start(self._threads[0], self._reception)
        return self.connections

    def is_own_thread(self) -> bool:
        """Return whether the caller is a hook in one of the receive threads."""
        return threading.current_thread() in self._threads

    def join(self, until: float) -> list[threading.Thread]:
        """Wait for all threads; return those that have not ended by `until` (time.monotonic)."""
        return [thread for thread in list(self._threads) if not thread.ends_by(until)]

    def _run_main(self) -> None:
        try:
            self.connections.wait_until_complete()
        except Rejected as error:
            self._reception.fail(error, MAIN_CHANNEL)
            return
        except EndedError:
            return
        run_receiver(MAIN_CHANNEL, self._reception, self._receive)

    def _receive(self) -> None:
        main = self._start_receiving()
        device_state = main.read_precopy()
        self._commits.validate(device_state)
        if self._reception.options.colo:
            secondary = Secondary(self._stream, main, self._reception, self._barrier, self._guest, self._leases, self._commits)
            secondary.receive(device_state)
        else:
            self._complete(main, device_state)

    def _start_receiving(self) -> MainChannel:
        """Allocate, then start the receive threads: the cache and the receivedmap are there before any of them."""
        reception = self._reception
        reception.allocate()
        reception.tracer.gate(Step.START, MAIN_CHANNEL)
        self._stream = MainStream(reception.sockets[MAIN_CHANNEL], reception)
        receivers = [self._receiver(channel_name(number)) for number in range(reception.options.channels)]
        with reception.lock:
            reception.require_running()
            self._threads.extend(receivers)
            reception.enter(Phase.PRECOPY, Step.START, of=frozenset({Phase.SETUP}))
        for receiver in receivers:
            if not start(receiver, reception):
                raise EndedError
        return MainChannel(self._stream, reception, self._barrier)

    def _receiver(self, name: str) -> JoinableThread:
        channel = MultifdChannel(name, self._reception.sockets[name], self._reception, self._barrier)
        return JoinableThread(lambda: run_receiver(name, self._reception, channel.receive), name)

    def _complete(self, main: MainChannel, device_state: bytes) -> None:
        reception = self._reception
        if self._stream.has_more():
            raise self._stream.rejected(Reason.TRAILING, self._stream.offset, "more bytes", "the end of the channel")
        reception.tracer.gate(Step.COMPLETE, MAIN_CHANNEL)
        with self._guest.lock:
            with reception.lock:
                reception.require_running()
                self._barrier.require_settled(self._stream.offset)
                reception.enter(Phase.COMPLETED, Step.COMPLETE, of=frozenset({Phase.PRECOPY}))
                self._commits.count(device_state)
            self._commits.tell()
            self._guest.run()
        try:
            main.shut_return_path()
        except (Rejected, EndedError):
            # Everything is here; a source that does not listen any more changes nothing.
            return
        finally:
            for name, sock in reception.sockets.items():
                if name != MAIN_CHANNEL:
                    sock.shut_down()
