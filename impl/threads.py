"""How a receive thread ends: its error reported, its exit the last thing said."""

import threading
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from colofd.impl.reception import EndedError, Reception
from colofd.spec.constants import Step
from colofd.spec.reasons import Reason, Rejected

Result = TypeVar("Result")
Arguments = ParamSpec("Arguments")


class JoinableThread(threading.Thread):
    """A thread for which one can wait, be interrupted, and wait again.

    After KeyboardInterrupt in its `join`, Python 3.11 takes a thread for ended that is not (Lib/threading.py:_wait_for_tstate_lock).
    """

    def __init__(self, work: Callable[[], None], name: str) -> None:
        super().__init__(name=f"colofd {name}", daemon=True)
        self._work = work
        self._has_ended = threading.Event()

    def run(self) -> None:
        """Do the work."""
        try:
            self._work()
        finally:
            self._has_ended.set()

    def ends_by(self, until: float) -> bool:
        """Wait until the thread has ended, or never began, or it is `until` (time.monotonic); return whether it has ended."""
        if self.ident is None:
            return True
        if not self._has_ended.wait(max(0.0, until - time.monotonic())):
            return False
        self.join()
        return True


def start(thread: JoinableThread, reception: Reception) -> bool:
    """Start a thread, and return whether there was one to be had; otherwise the destination fails (EMBEDDER)."""
    try:
        thread.start()
    except RuntimeError as error:
        reception.fail(Rejected(Reason.EMBEDDER, read=f"{thread.name}: {error!r}", expected="a thread"), "")
        return False
    return True


def run_receiver(channel: str, reception: Reception, receive: Callable[[], None]) -> None:
    """Run the receive function of a channel in its thread, from start to EXIT."""

    def leave() -> None:
        reception.tracer.gate(Step.EXIT, channel)
        with reception.lock:
            reception.tracer.emit(Step.EXIT, channel)

    for work in (receive, leave):
        try:
            work()
        except EndedError:
            continue
        except Rejected as error:
            reception.fail(error, channel)
        except BaseException as error:  # noqa: BLE001  # an unforeseen failure, SystemExit too, must wake everybody as a foreseen one does
            reception.fail(Rejected(Reason.EMBEDDER, channel=channel, read=f"the receive thread raised {error!r}"), channel)


def call_hook(
    name: str, reason: Reason, hook: Callable[Arguments, Result], *arguments: Arguments.args, **named: Arguments.kwargs
) -> Result:
    """Return what a hook of the embedding program returns; whatever it raises becomes Rejected(reason)."""
    try:
        return hook(*arguments, **named)
    except BaseException as error:
        raise Rejected(reason, read=f"{name} raised {error!r}") from error
