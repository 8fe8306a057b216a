"""The secondary's side of COLO: checkpoints, one after the other (migration/colo.c:colo_process_incoming_thread)."""

import socket
import struct
import threading
from typing import Final

import numpy as np

from colofd.impl import decisions
from colofd.impl.barrier import Barrier
from colofd.impl.commits import Commits
from colofd.impl.guest_control import GuestControl
from colofd.impl.main_channel import MainChannel
from colofd.impl.maps import PageMap
from colofd.impl.memory import Region
from colofd.impl.phases import BEFORE_COLO, Phase
from colofd.impl.reception import EndedError, Reception
from colofd.impl.snapshot import Leases
from colofd.impl.stream import MainStream
from colofd.impl.threads import call_hook
from colofd.impl.trace import NO_PAGES, PageNumbers
from colofd.spec.constants import MAIN_CHANNEL, ColoMessage, SectionType, Step
from colofd.spec.reasons import Reason, Rejected

TWO_THREADS_FROM: Final = 16 << 20
"""Bytes to flush from which on a second thread pays."""


class Secondary:
    """Receives checkpoints into the cache and flushes each to the guest as a whole."""

    def __init__(
        self,
        stream: MainStream,
        main: MainChannel,
        reception: Reception,
        barrier: Barrier,
        guest: GuestControl,
        leases: Leases,
        commits: Commits,
    ) -> None:
        self._stream = stream
        self._main = main
        self._reception = reception
        self._barrier = barrier
        self._guest = guest
        self._leases = leases
        self._commits = commits
        self._tracer = reception.tracer
        self._memory = reception.require_committed()
        self._cache = reception.require_cache()
        self._maps = reception.require_maps()

    def receive(self, device_state: bytes) -> None:
        """Enter COLO with the state at the end of precopy, then receive checkpoints until something ends it.

        Raises Rejected, or EndedError.
        """
        self._fill(device_state)
        self._enter(device_state)
        self._main.shut_return_path()
        self._send(ColoMessage.CHECKPOINT_READY)
        while True:
            self._checkpoint()

    def _fill(self, device_state: bytes) -> None:
        if not self._reception.deferred:
            return
        self._tracer.gate(Step.FILL_BEGIN, MAIN_CHANNEL)
        with self._reception.lock:
            self._barrier.require_settled(self._stream.offset)
            self._reception.enter(Phase.FILLING, Step.FILL_BEGIN, of=frozenset({Phase.PRECOPY}))
        self._keep(device_state)
        self._copy_dirty()

    def _enter(self, device_state: bytes) -> None:
        self._tracer.gate(Step.ENTER_COLO, MAIN_CHANNEL)
        with self._guest.lock:
            with self._reception.lock:
                self._reception.require_running()
                self._barrier.require_settled(self._stream.offset)
                self._reception.make_guest_read_only()
                self._reception.enter(Phase.IDLE, Step.ENTER_COLO, of=BEFORE_COLO)
                self._commits.count(device_state)
            self._commits.tell()
            self._guest.run()

    def _checkpoint(self) -> None:
        self._expect(ColoMessage.CHECKPOINT_REQUEST)
        self._change(Phase.IDLE, Phase.RECEIVING, Step.CHECKPOINT_BEGIN)
        self._send(ColoMessage.CHECKPOINT_REPLY)
        self._expect(ColoMessage.VMSTATE_SEND)
        self._main.read_checkpoint_ram()
        device_state = self._device_state()
        self._change(Phase.RECEIVING, Phase.RECEIVED, Step.CHECKPOINT_RECEIVED)
        self._commits.validate(device_state)
        self._keep(device_state)
        self._leases.wait_until_returned()
        if not self._commit(device_state):
            self._wait_for_failover()
        self._send(ColoMessage.VMSTATE_LOADED)

    def _keep(self, device_state: bytes) -> None:
        """Where there is a store, make the checkpoint durable: the primary lets its output go when it reads the answer."""
        store = self._reception.options.store
        if store is not None:
            index = self._reception.commit + 1
            call_hook("store.keep", Reason.EMBEDDER, store.keep, index, device_state, self._maps.dirty, self._cache.rows)

    def _expect(self, message: ColoMessage) -> None:
        at = self._stream.begin_item()
        read = self._stream.be32()
        if read > max(ColoMessage):
            raise self._stream.rejected(Reason.COLO_MESSAGE_UNKNOWN, at, read, message.name)
        if read != message:
            raise self._stream.rejected(Reason.COLO_MESSAGE_UNEXPECTED, at, ColoMessage(read).name, message.name)

    def _send(self, message: ColoMessage) -> None:
        with self._reception.lock:
            self._reception.require_running()
        self._stream.send(struct.pack(">I", message))

    def _device_state(self) -> bytes:
        self._expect(ColoMessage.VMSTATE_SIZE)
        at = self._stream.offset
        size = self._stream.be64()
        limit = self._reception.options.limits.device_state
        if not 0 < size <= limit:
            raise self._stream.rejected(Reason.DEVICE_STATE_SIZE, at, f"{size} bytes", f"1 to {limit} bytes")
        device_state = self._stream.take(size)
        if device_state[-1] != SectionType.EOF:
            end = self._stream.offset - 1
            raise self._stream.rejected(Reason.SECTION_TYPE, end, f"{device_state[-1]:#04x}", "EOF at the end of the device state")
        return device_state

    def _change(self, before: Phase, after: Phase, step: Step) -> None:
        self._tracer.gate(step, MAIN_CHANNEL)
        with self._reception.lock:
            self._reception.require_running()
            self._barrier.require_settled(self._stream.offset)
            self._reception.enter(after, step, of=frozenset({before}))

    def _wait_for_failover(self) -> None:
        """Wait for a failover that was asked for. Raises EndedError, or Rejected (EMBEDDER) if it does not come."""
        with self._reception.lock:
            self._reception.lock.wait_for(lambda: self._reception.is_ended, self._reception.options.deadlines.progress)
            self._reception.require_running()
        raise Rejected(Reason.EMBEDDER, read="failover was asked for, and was not waited for", expected="failover again, or close")

    def _commit(self, device_state: bytes) -> bool:
        """Answer that the checkpoint is received, copy it to the guest, and run it; return whether that was still to be done.

        The primary lets its output go when it reads the answer. So nothing goes back behind it: failover and close wait for the
        lock of the guest, and no trouble with channels keeps the flush from its end. on_commit sees the commit and nothing else.
        """
        self._tracer.gate(Step.ANSWER, MAIN_CHANNEL)
        with self._guest.lock:
            with self._reception.lock:
                self._require_received()
            written = self._guest.stop()
            with self._reception.lock:
                self._require_received()
                if self._reception.is_failover_asked:
                    return False
                self._tracer.emit(Step.ANSWER, MAIN_CHANNEL)
            failure: BaseException | None = self._answer()
            try:
                self._flush(written, device_state)
            except BaseException as error:  # noqa: BLE001  # whatever it is, what was answered must be committed
                failure = error
                self._flush(written, device_state)
            self._commits.tell()
            self._guest.run()
        if failure is not None:
            raise failure
        return True

    def _flush(self, written: PageNumbers, device_state: bytes) -> None:
        """Copy the checkpoint to the guest. If that fails anywhere, it can be done again, and then goes on from there."""
        if self._reception.phase is Phase.RECEIVED:
            self._tracer.gate(Step.FLUSH_BEGIN, MAIN_CHANNEL)
            with self._reception.lock:
                self._begin_flush(written)
        if self._reception.phase is Phase.FLUSHING:
            self._copy_dirty()
            self._tracer.gate(Step.COMMIT, MAIN_CHANNEL)
            with self._reception.lock:
                self._commits.count(device_state)
                self._leases.flush_is_done()
                self._reception.enter(Phase.IDLE, Step.COMMIT, of=frozenset({Phase.FLUSHING}))

    def _require_received(self) -> None:
        """Raise EndedError if something has ended the checkpoint meanwhile. Hold the lock."""
        self._reception.require_running()
        if self._reception.phase is not Phase.RECEIVED:
            raise EndedError

    def _answer(self) -> Rejected | EndedError | None:
        """Send VMSTATE_RECEIVED; return the error if the primary cannot be reached, for it may have heard it all the same."""
        try:
            # Failover waits for what follows, so this may not wait: there is always room for a primary that reads.
            self._stream.send(struct.pack(">I", ColoMessage.VMSTATE_RECEIVED), socket.MSG_DONTWAIT)
        except (Rejected, EndedError) as error:
            return error
        return None

    def _begin_flush(self, written: PageNumbers) -> None:
        maps = self._maps
        maps.own_dirty[written] = True
        maps.dirty[:] = decisions.is_flushed(maps.dirty, maps.own_dirty)
        maps.own_dirty[:] = False
        # After an error of another thread, leases were granted again.
        self._leases.end_all("lapsed")
        self._reception.enter(Phase.FLUSHING, Step.FLUSH_BEGIN, of=frozenset({Phase.RECEIVED}))

    def _copy_dirty(self) -> None:
        dirty = self._maps.dirty
        count = int(np.count_nonzero(dirty))
        if not count:
            return
        self._tracer.gate(Step.FLUSH_PAGE, MAIN_CHANNEL)
        if self._memory is not self._cache:
            copy_pages(self._memory, self._cache, dirty, two_threads=count * self._reception.layout.page_size >= TWO_THREADS_FROM)
        if self._tracer.is_on:
            self._tracer.emit(Step.FLUSH_PAGE, MAIN_CHANNEL, np.flatnonzero(dirty), NO_PAGES, self._memory)
        dirty[:] = False


def copy_pages(target: Region, source: Region, where: PageMap, *, two_threads: bool) -> None:
    """Copy the pages that `where` names, of shape (pages,)."""
    half = len(where) // 2 if two_threads else 0
    helper = threading.Thread(target=np.copyto, args=(target.pages[:half], source.pages[:half]), kwargs={"where": where[:half]})
    if half:
        try:
            helper.start()
        except RuntimeError:
            # There is no thread to be had: a flush that has begun ends all the same.
            half = 0
    np.copyto(target.pages[half:], source.pages[half:], where=where[half:])
    if half:
        helper.join()
