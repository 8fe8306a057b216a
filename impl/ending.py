"""How a destination ends: failover and close. Whoever calls them joins all threads, and only then frees what they used."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from colofd.impl.guest_control import GuestControl
from colofd.impl.interface import LONGEST, Ownership
from colofd.impl.phases import BEFORE_COLO, CAN_LEAVE_COLO, Phase
from colofd.impl.reception import Reception
from colofd.impl.session import Session
from colofd.impl.snapshot import Leases
from colofd.spec.constants import Step
from colofd.spec.reasons import Reason, Rejected


class Ending:
    """Ends a destination, once."""

    def __init__(self, session: Session, reception: Reception, guest: GuestControl, leases: Leases) -> None:
        self._reception = reception
        self._guest = guest
        self._leases = leases
        self._session = session
        self._caller = threading.Lock()
        self._is_guest_held = False
        self._is_cache_held = False

    def fail_over(self, timeout: float) -> None:
        """See Destination.failover."""
        until = time.monotonic() + min(timeout, LONGEST)
        with self._called(until):
            self._reception.tracer.gate(Step.TAKE_OVER, "")
            with self._reception.lock:
                # Before the guest is waited for: from here on no other checkpoint is answered, even if the caller gives up.
                self._reception.is_failover_asked = True
            with self._guest_lock(until):
                with self._reception.lock:
                    phase = self._reception.phase
                    if phase not in CAN_LEAVE_COLO | {Phase.FAILOVER}:
                        # There is no checkpoint yet that could have been held up by it.
                        self._reception.is_failover_asked = False
                        raise RuntimeError(f"failover in phase {phase}: it needs COLO to have begun")
                    # Another time it only ends what the time before could not, because of a hook.
                    if phase is not Phase.FAILOVER:
                        self._leave(Phase.FAILOVER, Step.TAKE_OVER)
                failure = self._run_guest()
            self._join_and_release(until)
        if failure is not None:
            raise failure

    def close(self, timeout: float) -> Ownership:
        """See Destination.close."""
        until = time.monotonic() + min(timeout, LONGEST)
        with self._called(until):
            if self._reception.phase in CAN_LEAVE_COLO | {Phase.FLUSHING}:
                self._reception.tracer.gate(Step.STOP, "")
            elif self._reception.phase in BEFORE_COLO:
                self._reception.tracer.gate(Step.GIVE_UP, "")
            with self._guest_lock(until):
                with self._reception.lock:
                    is_stopped = self._reception.phase in CAN_LEAVE_COLO
                    if is_stopped:
                        self._leave(Phase.STOPPED, Step.STOP)
                    elif self._reception.phase is Phase.SETUP or self._reception.phase in BEFORE_COLO:
                        closed = Rejected(Reason.CLOSED, read="close", expected="the end of precopy before it")
                        self._reception.error = self._reception.error or closed
                        self._reception.give_up("")
                    self._leases.end_all("closed")
                failure = self._stop_guest() if is_stopped else None
            self._join_and_release(until)
            self._release_guest()
        if failure is not None:
            raise failure
        return Ownership(guest=self._is_guest_held, cache=self._is_cache_held)

    def join(self, until: float) -> None:
        """Wait for all threads, which have been told to end. Raises Rejected (EMBEDDER) if one has not ended by `until`."""
        left = [*self._session.connections.close(until), *self._session.join(until)]
        if left:
            names = ", ".join(thread.name for thread in left)
            raise Rejected(Reason.EMBEDDER, read=f"{names} still in a hook", expected="hooks that return")

    @contextmanager
    def _called(self, until: float) -> Iterator[None]:
        if self._session.is_own_thread():
            raise RuntimeError("a hook may neither fail over nor close: it runs in a thread that is to be joined")
        if not self._caller.acquire(timeout=max(0.0, until - time.monotonic())):
            raise Rejected(Reason.EMBEDDER, read="another failover or close goes on", expected="one at a time")
        try:
            yield
        finally:
            self._caller.release()

    @contextmanager
    def _guest_lock(self, until: float) -> Iterator[None]:
        if not self._guest.lock.acquire(timeout=max(0.0, until - time.monotonic())):
            raise Rejected(
                Reason.EMBEDDER, read="a flush still goes on, or guest.stop, guest.run or on_commit", expected="hooks that return"
            )
        try:
            yield
        finally:
            self._guest.lock.release()

    def _leave(self, phase: Phase, step: Step) -> None:
        self._reception.phase = phase
        self._reception.tracer.emit(step)
        self._leases.end_all("closed")

    def _run_guest(self) -> Rejected | None:
        try:
            self._guest.run()
        except Rejected as error:
            return error
        return None

    def _stop_guest(self) -> Rejected | None:
        try:
            self._guest.stop()
        except Rejected as error:
            return error
        return None

    def _join_and_release(self, until: float) -> None:
        reception = self._reception
        reception.shut_down()
        self.join(until)
        if reception.cache is not None:
            reception.tracer.gate(Step.RELEASE_CACHE, "")
            with reception.lock:
                cache, reception.cache = reception.cache, None
                self._is_cache_held = cache.release()
                reception.tracer.emit(Step.RELEASE_CACHE)
        if reception.maps is not None:
            reception.tracer.gate(Step.RELEASE_RECEIVEDMAP, "")
            with reception.lock:
                reception.maps = None
                reception.tracer.emit(Step.RELEASE_RECEIVEDMAP)
        for sock in reception.attached:
            sock.close()

    def _release_guest(self) -> None:
        with self._reception.lock:
            guest, self._reception.guest = self._reception.guest, None
            guarded, self._reception.guarded_guest = self._reception.guarded_guest, None
            if guarded is not None:
                guarded.release()
            if guest is not None:
                self._is_guest_held = guest.release()
