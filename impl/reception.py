"""What all threads of a destination share: the phase, the first error, memory, and the one lock that orders them."""

import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import numpy as np

from colofd.impl import decisions
from colofd.impl.guard import GuardedRegion, map_twice
from colofd.impl.interface import Commit, Deadlines, Guest, Limits, Store
from colofd.impl.maps import PageMaps
from colofd.impl.memory import Layout, Region, Selection, numbers_of, untouched
from colofd.impl.phases import BEFORE_COLO, OVER, Phase
from colofd.impl.sockets import Activity, ChannelSocket
from colofd.impl.trace import PageNumbers, Tracer
from colofd.spec.constants import MAIN_CHANNEL, Compression, Step
from colofd.spec.reasons import Reason, Rejected

# A member of an enum is not found as quickly as a global.
PREPARE: Final = Step.PREPARE


@dataclass(frozen=True)
class Options:
    """What a destination was made with; see Destination."""

    channels: int
    colo: bool
    compression: Compression
    mirror: Literal["packet", "deferred"]
    machine: str | None
    uuid: bytes | None
    guest: Guest | None
    on_commit: Callable[[Commit], None] | None
    validate: Callable[[bytes], None] | None
    limits: Limits
    deadlines: Deadlines
    prealloc: bool = False
    guard: bool = False
    store: Store | None = None


class Ruling(NamedTuple):
    """What is done with pages that arrive in a phase: whether they are accepted, recorded dirty, and mirrored."""

    phase: Phase
    block_list_known: bool
    accepts: np.bool_
    recorded: np.bool_
    mirrored: np.bool_


class EndedError(Exception):
    """Nothing is received any more, by failover, close, or somebody else's error: the thread ends without one of its own."""


class Reception:
    """Shared state. All attributes but the memory itself are read and written under `lock`, which is also the one condition.

    Attributes:
        phase: see Phase.
        error: the first error of any thread.
        commit: index of the last commit; -1 before COLO.
        device_state: device sections of the last commit, or of the end of a plain migration.
        block_list_known: the list of RAM blocks has been read, so pages may come.
        guarded_guest: in guard mode guest RAM as the receive threads have it, a second mapping.
        attached: all connections; `sockets`: those of which is known which channel they are.
        is_round_open: a packet was prepared since the last release of the barrier.
        is_failover_asked: a caller has asked for failover in COLO: no other checkpoint is answered.
    """

    def __init__(self, layout: Layout, options: Options, tracer: Tracer) -> None:
        # The lock of the condition, which by itself is taken and given back in half the time.
        self._mutex = threading.RLock()
        self.lock = threading.Condition(self._mutex)
        self.layout = layout
        self.options = options
        self.tracer = tracer
        self.activity = Activity()
        self.colo = np.bool_(options.colo)
        self.deferred = np.bool_(options.mirror == "deferred")
        self.phase = Phase.SETUP
        self.error: Rejected | None = None
        self.commit = -1
        self.device_state = b""
        self.block_list_known = False
        self.is_round_open = False
        self.is_failover_asked = False
        self.attached: list[ChannelSocket] = []
        self.sockets: dict[str, ChannelSocket] = {}
        self.guest: Region | None = None
        self.guarded_guest: GuardedRegion | None = None
        self.cache: Region | None = None
        self.maps: PageMaps | None = None
        self._ruling = Ruling(Phase.SETUP, False, np.False_, np.False_, np.False_)

    def allocate(self) -> tuple[Region, Region | None, PageMaps]:
        """Make guest RAM, the cache (with COLO) and the maps: fresh zeros, before any receive thread exists."""
        pages, prealloc = (self.layout.page_count, self.layout.page_size), self.options.prealloc
        guest: Region
        for_threads: GuardedRegion | None = None
        if self.options.store is not None:
            guest = untouched(*pages)
        elif self.options.guard:
            guest, for_threads = map_twice(*pages, prealloc=prealloc)
        else:
            guest = Region(*pages, prealloc=prealloc)
        cache = Region(*pages, prealloc=prealloc) if self.options.colo else None
        maps = PageMaps(self.layout.page_count)
        with self.lock:
            self.guest, self.guarded_guest, self.cache, self.maps = guest, for_threads, cache, maps
        return guest, cache, maps

    @property
    def is_ended(self) -> bool:
        """Whether threads should end: it is over, or somebody has failed. Hold the lock."""
        return self.error is not None or self.phase in OVER

    def require_running(self) -> None:
        """Raise EndedError if threads should end, or Rejected (EMBEDDER) if a trace or gate hook has failed. Hold the lock."""
        if self.is_ended:
            raise EndedError
        if self.tracer.failure is not None:
            raise Rejected(Reason.EMBEDDER, read=f"trace or gate raised {self.tracer.failure!r}") from self.tracer.failure

    def prepare(self, step: Step, channel: str, where: Selection, zero: PageNumbers, offset: int) -> np.bool_:
        """Accept pages, `where` those whose content follows: record them dirty where that is due, and return the latch.

        The latch is whether they will be mirrored.
        It is decided here, once, by a phase that never comes back, and is not asked again
        (migration/multifd-colo.c:multifd_colo_process_recv asks again after the payload, when failover may have changed the answer).
        Raises Rejected (PACKET_OUT_OF_PHASE), or EndedError: then the pages are dropped.
        """
        with self._mutex:
            ruling, tracer = self._ruling, self.tracer
            if (
                self.phase is not ruling.phase
                or self.block_list_known is not ruling.block_list_known
                or self.error is not None
                or tracer.failure is not None
            ):
                self.require_running()
                ruling = self._ruling = self._rule()
            if not ruling.accepts:
                raise Rejected(
                    Reason.PACKET_OUT_OF_PHASE, channel=channel, offset=offset, read=f"pages in phase {self.phase}", expected="none now"
                )
            if ruling.recorded:
                dirty = self.require_maps().dirty
                dirty[where] = True
                if zero.size:
                    dirty[zero] = True
            if step is PREPARE:
                self.is_round_open = True
            if tracer.is_on:
                tracer.emit(step, channel, numbers_of(where), zero)
            return ruling.mirrored

    def _rule(self) -> Ruling:
        """Decide what the phase means for pages: nothing else decides it, until the phase is another one. Hold the lock."""
        precopy, receiving = np.bool_(self.phase is Phase.PRECOPY), np.bool_(self.phase is Phase.RECEIVING)
        return Ruling(
            self.phase,
            self.block_list_known,
            decisions.accepts_pages(precopy, np.bool_(self.block_list_known), receiving),
            decisions.is_recorded(self.colo, receiving, self.deferred),
            decisions.is_mirrored(self.colo, precopy, self.deferred),
        )

    def enter(self, phase: Phase, step: Step, *, of: frozenset[Phase]) -> None:
        """Make a step of phase on the main thread: the change and its event are one. Hold the lock.

        Raises EndedError if the phase is not among `of` any more.
        """
        if self.phase not in of:
            raise EndedError
        self.phase = phase
        self.tracer.emit(step, MAIN_CHANNEL)
        self.lock.notify_all()

    def fail(self, error: Rejected, channel: str) -> None:
        """Report an error of a thread. The first one is kept; everybody is woken. Precopy fails; COLO stays, for failover."""
        with self.lock:
            gives_up = self.phase in BEFORE_COLO and self.error is None
        if gives_up:
            self.tracer.gate(Step.GIVE_UP, channel)
        with self.lock:
            # Late trouble with the peer is no news, but a hook's failure is.
            if self.error is None and (self.phase not in OVER or error.reason is Reason.EMBEDDER):
                _forget_frames(error)
                self.error = error
                self.give_up(channel)
            self.lock.notify_all()
        self.shut_down()

    def give_up(self, channel: str) -> None:
        """Leave precopy, or the time before it, as failed. Hold the lock."""
        if self.phase in BEFORE_COLO:
            self.phase = Phase.FAILED
            self.tracer.emit(Step.GIVE_UP, channel)
        elif self.phase is Phase.SETUP:
            self.phase = Phase.FAILED
        self.lock.notify_all()

    def shut_down(self) -> None:
        """End all connections, which wakes all readers."""
        with self.lock:
            sockets = list(self.attached)
        for sock in sockets:
            sock.shut_down()

    def silence_allowed(self) -> float:
        """Return for how many seconds the peer may be silent in this phase."""
        deadlines = self.options.deadlines
        return deadlines.idle if self.phase is Phase.IDLE else deadlines.progress

    def silence_left(self, since: float) -> float:
        """Return for how many seconds more the peer may be silent; `since`: when the waiting began (time.monotonic)."""
        return max(since, self.activity.last) + self.silence_allowed() - time.monotonic()

    def require_maps(self) -> PageMaps:
        """Return the maps. Raises Rejected (CLOSED) before the start and after their release."""
        if self.maps is None:
            raise Rejected(Reason.CLOSED, read="there are no page maps", expected="a destination that has started and is not closed")
        return self.maps

    def require_guest(self) -> Region:
        """Return guest RAM. Raises Rejected (CLOSED) before the start and after close."""
        if self.guest is None:
            raise Rejected(Reason.CLOSED, read="there is no guest RAM", expected="a destination that has started and is not closed")
        return self.guest

    def require_guest_in_memory(self) -> Region:
        """Return guest RAM for a reader. Raises Rejected (CLOSED) as `require_guest`, and if commits are in a store."""
        if self.options.store is not None:
            raise Rejected(Reason.CLOSED, read="commits are in a store", expected="guest RAM in memory")
        return self.require_guest()

    def require_committed(self) -> Region:
        """Return where a commit lies until pages arrive again. Raises as `require_guest`."""
        return self.require_guest() if self.options.store is None else self.require_cache()

    def require_guest_for_threads(self) -> Region:
        """Return guest RAM as the receive threads have it: in guard mode a mapping of their own. Raises as `require_guest`."""
        guest = self.require_guest()
        return self.guarded_guest or guest

    def make_guest_read_only(self) -> None:
        """In guard mode, let the receive threads write guest RAM no more. Raises OSError."""
        if self.guarded_guest is not None:
            self.guarded_guest.make_read_only()

    def require_cache(self) -> Region:
        """Return the cache. Raises Rejected (CLOSED) without COLO, before the start and after its release."""
        if self.cache is None:
            raise Rejected(Reason.CLOSED, read="there is no cache", expected="a destination in COLO")
        return self.cache


def _forget_frames(error: BaseException) -> None:
    """Empty the frames that an error came through, and those it was raised from: they hold views of memory to be freed."""
    cause: BaseException | None = error
    seen: list[BaseException] = []
    while cause is not None and cause not in seen:
        seen.append(cause)
        traceback.clear_frames(cause.__traceback__)
        cause = cause.__cause__ or cause.__context__
    error.__traceback__ = None
