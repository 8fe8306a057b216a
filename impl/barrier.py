"""The barrier at the end of a round: no page of the next round overtakes one of this.

multifd channels park at SYNC; the main thread lets them go when MULTIFD_FLUSH was read and all are parked
(migration/multifd.c:multifd_recv_sync_main). Unlike there, a channel that dies wakes everybody.
"""

import time

from colofd.impl.phases import Phase
from colofd.impl.reception import Reception
from colofd.spec.constants import MAIN_CHANNEL, Step, channel_name
from colofd.spec.reasons import Reason, Rejected


class Barrier:
    """Who is parked, and who has ended, and at which byte of its channel. Uses the lock of the reception."""

    def __init__(self, reception: Reception) -> None:
        self._reception = reception
        self._all = {channel_name(number) for number in range(reception.options.channels)}
        self._parked: dict[str, int] = {}
        self._gone: dict[str, int] = {}
        self._round = 0

    def park(self, channel: str, offset: int) -> None:
        """Wait at SYNC until the main thread ends the round.

        Raises Rejected (PACKET_OUT_OF_PHASE) where no round can be, EndedError if nothing is received any more.
        """
        reception = self._reception
        reception.tracer.gate(Step.PARK, channel)
        with reception.lock:
            reception.require_running()
            if reception.phase not in {Phase.PRECOPY, Phase.RECEIVING}:
                raise _out_of_phase(channel, offset, f"SYNC in phase {reception.phase}")
            reception.tracer.emit(Step.PARK, channel)
            reception.sockets[channel].boundary = reception.sockets[channel].offset
            self._parked[channel] = offset
            reception.lock.notify_all()
            current = self._round
            reception.lock.wait_for(lambda: self._round != current or reception.is_ended)
            if self._round == current:
                reception.require_running()

    def leave(self, channel: str, offset: int) -> None:
        """Note that a channel has come to its end, so that nobody waits for it."""
        with self._reception.lock:
            self._gone[channel] = offset
            self._reception.lock.notify_all()

    def end_round(self, offset: int) -> None:
        """Wait until every channel is parked, and let all go; without channels, only say that the round ends.

        Raises Rejected: CHANNEL_LOST if a channel that is not parked has ended, DEADLINE if the peer falls silent.
        """
        reception = self._reception
        self._wait_for_all(offset)
        reception.tracer.gate(Step.RELEASE, MAIN_CHANNEL)
        with reception.lock:
            reception.require_running()
            reception.tracer.emit(Step.RELEASE, MAIN_CHANNEL)
            reception.is_round_open = False
            self._parked.clear()
            self._round += 1
            reception.lock.notify_all()

    def _wait_for_all(self, offset: int) -> None:
        reception = self._reception
        since = time.monotonic()
        with reception.lock:
            while self._parked.keys() != self._all:
                reception.require_running()
                lost = min(self._gone.keys() - self._parked.keys(), default=None)
                if lost is not None:
                    raise Rejected(
                        Reason.CHANNEL_LOST, channel=lost, offset=self._gone[lost], read="the end of the channel", expected="SYNC"
                    )
                left = reception.silence_left(since)
                if left <= 0:
                    missing = ", ".join(sorted(self._all - self._parked.keys()))
                    raise Rejected(
                        Reason.DEADLINE,
                        channel=MAIN_CHANNEL,
                        offset=offset,
                        read=f"MULTIFD_FLUSH, then no SYNC on {missing}",
                        expected="a SYNC packet on every channel",
                    )
                reception.lock.wait(left)

    def require_settled(self, offset: int) -> None:
        """Require that the round which ends at byte `offset` of the main channel is closed. Hold the lock.

        Raises Rejected: FLUSH_MISSING if packets came after the last MULTIFD_FLUSH, PACKET_OUT_OF_PHASE if a channel waits
        although there is no round left to end.
        """
        late = self._late()
        if self._reception.is_round_open or (late and not self._parked):
            raise Rejected(
                Reason.FLUSH_MISSING,
                channel=MAIN_CHANNEL,
                offset=offset,
                read=f"the end of the pages, and more on {late}" if late else "the end of the pages",
                expected="MULTIFD_FLUSH after the last packet",
            )
        if self._parked:
            channel = min(self._parked)
            raise _out_of_phase(channel, self._parked[channel], "SYNC without its MULTIFD_FLUSH")

    def _late(self) -> str:
        """Return the channels on which something has arrived that is not read, so that nobody has prepared it yet. Hold the lock."""
        return ", ".join(sorted(name for name in self._all if self._reception.sockets[name].has_begun_packet()))


def _out_of_phase(channel: str, offset: int, read: str) -> Rejected:
    return Rejected(Reason.PACKET_OUT_OF_PHASE, channel=channel, offset=offset, read=read, expected="none now")
