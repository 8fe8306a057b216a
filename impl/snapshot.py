"""Leases on a commit: guest RAM as of the last commit, which a flush leaves alone until the lease is given back or has lapsed."""

import time
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from colofd.impl.phases import Phase
from colofd.impl.reception import EndedError, Reception
from colofd.spec.reasons import Reason, Rejected

HAS_COMMIT = frozenset({Phase.COMPLETED, Phase.IDLE, Phase.RECEIVING, Phase.RECEIVED})


class Snapshot:
    """A leased commit; a context manager.

    What a running guest writes itself shows in it. A view that was taken out of it stays readable after the lease has
    ended, and then shows the next commit coming: look at `ended` when done.

    Attributes:
        index: number of the commit.
        device_state: its device sections.
        ended: why the lease has ended: "" while it lasts, then "returned", "lapsed" (a flush had waited long enough) or "closed".
    """

    def __init__(self, leases: "Leases", reception: Reception) -> None:
        self._leases = leases
        self._reception = reception
        self.index = reception.commit
        self.device_state = reception.device_state
        self.ended = ""

    def block(self, name: str) -> npt.NDArray[np.uint8]:
        """Return a read-only view of a block. Raises Rejected (CLOSED) once the lease has ended, KeyError for an unknown block."""
        with self._reception.lock:
            if self.ended:
                raise Rejected(Reason.CLOSED, read=f"the lease of commit {self.index} has {self.ended}", expected="a lease that lasts")
            return self._reception.layout.bytes_of(self._reception.require_guest_in_memory(), name)

    def release(self) -> None:
        """Give the lease back."""
        self._leases.end(self, "returned")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.release()


class Leases:
    """All leases of a destination. Uses the lock of the reception."""

    def __init__(self, reception: Reception) -> None:
        self._reception = reception
        self._held: list[Snapshot] = []
        self._flush_waits = False

    def grant(self, timeout: float) -> Snapshot:
        """Return a new lease; waits for a flush that goes on, or has waited for others. Raises Rejected (CLOSED) if there is no commit."""
        with self._reception.lock:
            self._reception.lock.wait_for(lambda: not self._is_flushing(), timeout)
            if self._is_flushing() or self._reception.phase not in HAS_COMMIT:
                raise Rejected(Reason.CLOSED, read=f"no commit to read in phase {self._reception.phase}", expected="a commit")
            snapshot = Snapshot(self, self._reception)
            self._held.append(snapshot)
            return snapshot

    def _is_flushing(self) -> bool:
        return self._reception.phase is Phase.FLUSHING or (self._flush_waits and not self._reception.is_ended)

    def end(self, snapshot: Snapshot, why: str) -> None:
        """End one lease."""
        with self._reception.lock:
            if snapshot in self._held:
                self._held.remove(snapshot)
                snapshot.ended = why
                self._reception.lock.notify_all()

    def end_all(self, why: str) -> None:
        """End every lease. Hold the lock."""
        for snapshot in self._held:
            snapshot.ended = why
        self._held.clear()
        self._reception.lock.notify_all()

    def wait_until_returned(self) -> None:
        """Before a flush: wait until all leases are given back; those that are not in time have lapsed. Raises EndedError."""
        until = time.monotonic() + self._reception.options.deadlines.lease
        with self._reception.lock:
            self._flush_waits = True
            self._reception.lock.wait_for(
                lambda: not self._held or self._reception.phase is not Phase.RECEIVED, max(0.0, until - time.monotonic())
            )
            if self._reception.phase is not Phase.RECEIVED:
                raise EndedError
            self.end_all("lapsed")

    def flush_is_done(self) -> None:
        """After a flush: leases are granted again. Hold the lock."""
        self._flush_waits = False
        self._reception.lock.notify_all()
