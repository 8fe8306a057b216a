"""The receiving end of a migration, as an embedding program sees it."""

import copy
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Final, Literal, Self

import numpy as np
import numpy.typing as npt

from colofd.impl.ending import Ending
from colofd.impl.guest_control import GuestControl, written_pages
from colofd.impl.interface import Block, Commit, Deadlines, Guest, Limits, Outcome, Ownership, Store
from colofd.impl.maps import PageMap
from colofd.impl.memory import Layout
from colofd.impl.phases import Phase
from colofd.impl.reception import Options, Reception
from colofd.impl.session import Session
from colofd.impl.snapshot import Leases, Snapshot
from colofd.impl.trace import Event, Tracer
from colofd.spec.constants import TARGET_PAGE_SIZE, Compression, Step
from colofd.spec.reasons import Reason, Rejected

MAX_CHANNELS: Final = 255
"""The id of a multifd channel is one byte (migration/options.c:migrate_params_check)."""


class Destination:
    """Receives one migration: precopy, and then, with COLO, checkpoints. A context manager that closes at the end.

    Args:
        blocks: the RAM blocks of the guest, in the order that global page numbers follow.
        channels: number of multifd channels beside the main one; 0 is a migration without multifd.
        colo: the capability x-colo.
        compression: of the multifd channels.
        mirror: with COLO, whether precopy is copied to the guest packet by packet, or once when COLO begins.
        prealloc: whether RAM and cache are made resident before the stream is read. Otherwise a page becomes so when it first arrives:
            a stream is slower by that, but pages that never come take no memory (QEMU's memory backends have the same choice).
        guard: whether the receive threads have guest RAM in a mapping of their own, read-only once COLO has begun: whatever is wrong
            about a receiver then ends it (SIGSEGV, or an error with EFAULT), and does not corrupt the guest. For tests.
        page_size: bytes of a target page.
        machine: the machine type that the source must have; None accepts any.
        uuid: the 16 bytes that the source must name; None accepts any.
        guest: what runs on guest RAM, if anything does.
        store: where commits go in place of guest RAM, which takes no memory then: no guest can run, `guest` and `snapshot` have nothing
            to show, and the mirror is deferred. Needs COLO.
        on_commit: told of each commit, before the guest runs again; 0 is the end of precopy.
        validate: given the device state before it counts; if it raises, the device state is refused and guest RAM stays as it is.
        limits: how much a peer may make us hold.
        deadlines: how long to wait for what.
        trace: called after each micro-step, by the thread that makes it; must not call back.
        gate: called before each micro-step with its name and channel ("" for steps of the caller), outside of all locks; may block.
            A page that arrives in part was announced as one that arrives; releases and exits are announced, too.

    No hook may call a method that waits. Raises ValueError for blocks, a page size or a number of channels that cannot be.
    """

    def __init__(
        self,
        blocks: Sequence[Block],
        channels: int,
        *,
        colo: bool = False,
        compression: Compression = Compression.NONE,
        mirror: Literal["packet", "deferred"] = "packet",
        prealloc: bool = False,
        guard: bool = False,
        page_size: int = TARGET_PAGE_SIZE,
        machine: str | None = None,
        uuid: bytes | None = None,
        guest: Guest | None = None,
        store: Store | None = None,
        on_commit: Callable[[Commit], None] | None = None,
        validate: Callable[[bytes], None] | None = None,
        limits: Limits | None = None,
        deadlines: Deadlines | None = None,
        trace: Callable[[Event], None] | None = None,
        gate: Callable[[Step, str], None] | None = None,
    ) -> None:
        if not 0 <= channels <= MAX_CHANNELS:
            raise ValueError(f"channels must be 0 to {MAX_CHANNELS}, not {channels}")
        if store is not None and (guest is not None or guard or not colo):
            raise ValueError("a store is for COLO, in place of a guest")
        options = Options(
            channels,
            colo,
            compression,
            mirror if store is None else "deferred",
            machine,
            uuid,
            guest,
            on_commit,
            validate,
            limits or Limits(),
            deadlines or Deadlines(),
            prealloc,
            guard,
            store,
        )
        layout = Layout(blocks, page_size)
        self._tracer = Tracer(trace, gate)
        self._reception = Reception(layout, options, self._tracer)
        self._guest = GuestControl(guest, layout)
        self._leases = Leases(self._reception)
        self._session = Session(self._reception, self._guest, self._leases)
        self._ending = Ending(self._session, self._reception, self._guest, self._leases)

    def attach(self, sock: socket.socket) -> None:
        """Take over a connected socket, whichever channel it is; any order of arrival. Does not wait. The given object is closed.

        Raises Rejected (CHANNEL_REPEATED, CLOSED) if it comes too late; what is wrong with its first bytes, `wait` says,
        unless all channels are there by then. Raises ValueError for a socket that is closed.
        """
        self._session.begin().attach(sock)

    def listen(self, address: str) -> str:
        """Listen on unix:PATH or tcp:HOST:PORT for all channels, in the background. Return the address, with the real port.

        Only the owner may use the path; without a HOST, only this machine can connect.
        Raises ValueError for another kind of address, OSError if it cannot be had, Rejected (CLOSED) if the destination has ended.
        """
        return self._session.begin().listen(address)

    def wait(self, timeout: float | None = None) -> Outcome:
        """Wait until the migration has completed, failed over or been stopped; raises the error if one has ended it before.

        Raises Rejected, and TimeoutError if `timeout` seconds have passed. After an error in COLO, `failover` still works.
        """
        with self._reception.lock:
            if not self._reception.lock.wait_for(lambda: self._reception.is_ended, timeout):
                raise TimeoutError(f"still in phase {self._reception.phase} after {timeout} s")
        self._ending.join(time.monotonic() + self._reception.options.deadlines.progress)
        with self._reception.lock:
            outcome = Outcome(self._reception.phase, self._reception.commit, self._reception.error)
        if outcome.error is not None and outcome.phase not in {Phase.FAILOVER, Phase.STOPPED}:
            raise _to_raise(outcome.error)
        return outcome

    def wait_checkpoint(self, index: int, timeout: float | None = None) -> None:
        """Wait until commit `index` is there; 0 is the end of precopy.

        Raises Rejected if an error has ended the migration before, Rejected (CLOSED) if something else has, and TimeoutError.
        """
        with self._reception.lock:
            is_there = self._reception.lock.wait_for(lambda: self._reception.commit >= index or self._reception.is_ended, timeout)
            if self._reception.commit >= index:
                return
            if not is_there:
                raise TimeoutError(f"no commit {index} after {timeout} s, the last is {self._reception.commit}")
            if self._reception.error is not None:
                raise _to_raise(self._reception.error)
            last = self._reception.commit
        raise Rejected(Reason.CLOSED, read=f"phase {self._reception.phase} with commit {last}", expected=f"commit {index}")

    def guest_wrote(self, block: str, mask: npt.NDArray[np.bool_]) -> None:
        """Note that the running guest itself has written the pages of `mask` (bool, one per page of the block): the next flush undoes it.

        Raises Rejected: EMBEDDER for another block or shape, CLOSED without maps.
        """
        pages = written_pages(self._reception.layout, block, mask)
        with self._reception.lock:
            self._reception.require_maps().own_dirty[pages] = True

    def guest(self, block: str) -> npt.NDArray[np.uint8]:
        """Return a writable view of a block's guest RAM. Raises Rejected (CLOSED) before the start and after close, KeyError."""
        with self._reception.lock:
            return self._reception.layout.bytes_of(self._reception.require_guest_in_memory(), block, writable=True)

    def cache(self, block: str) -> npt.NDArray[np.uint8]:
        """Return a read-only view of a block's cache. Raises Rejected (CLOSED) if there is none (any more), KeyError."""
        with self._reception.lock:
            return self._reception.layout.bytes_of(self._reception.require_cache(), block)

    def received(self, block: str) -> PageMap:
        """Return a copy of a block's receivedmap. Raises Rejected (CLOSED) if there is none (any more), KeyError."""
        return self._reception.require_maps().received[self._reception.layout.pages_of(block)].copy()

    def dirty(self, block: str) -> PageMap:
        """Return a copy of a block's dirty bitmap: what the primary has sent since the last flush. Raises as `received`."""
        return self._reception.require_maps().dirty[self._reception.layout.pages_of(block)].copy()

    def own_dirty(self, block: str) -> PageMap:
        """Return a copy of what the guest itself has written since the last flush. Raises as `received`."""
        return self._reception.require_maps().own_dirty[self._reception.layout.pages_of(block)].copy()

    def consumed(self) -> Mapping[str, int]:
        """Return how many bytes of each channel were read."""
        with self._reception.lock:
            return {name: sock.offset for name, sock in self._reception.sockets.items()}

    @property
    def phase(self) -> Phase:
        """Where the destination is."""
        return self._reception.phase

    def snapshot(self, timeout: float = 30.0) -> Snapshot:
        """Return a lease on the last commit; waits for a flush that goes on. Raises Rejected (CLOSED) if there is no commit."""
        return self._leases.grant(timeout)

    def failover(self, timeout: float = 30.0) -> None:
        """Take over: the guest runs from the last commit and what it has written itself; a checkpoint half received is dropped.

        A checkpoint that was answered is committed first; once this is called, no other one is answered. Works after an error, too.
        All threads have ended and the cache is freed on return.
        Raises RuntimeError outside of COLO, Rejected (EMBEDDER) if a hook does not let it finish in `timeout` seconds.
        """
        self._ending.fail_over(timeout)

    def close(self, timeout: float = 30.0) -> Ownership:
        """End whatever goes on, join all threads, and free the memory; say which memory lives on because the caller holds views of it.

        Raises Rejected (EMBEDDER) if a hook does not let it finish in `timeout` seconds.
        """
        return self._ending.close(timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _to_raise(error: Rejected) -> Rejected:
    """Return a copy: an error that is kept must not keep the caller's frames, and with them views of memory to be freed."""
    raised = copy.copy(error)
    raised.__cause__ = error.__cause__
    return raised
