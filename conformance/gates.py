"""Holds the threads of a receiver at their micro-steps, so that a schedule decides who goes on."""

import threading
from collections import deque

from colofd.model.trace import TraceEvent
from colofd.spec.constants import Step

CONTROL = ""
"""Name of the thread that calls `failover()` or `close()`, beside the names of channels."""

STALL_SECONDS = 10.0
"""A thread that has work to do and does not come to its next micro-step in this time is stalled."""


MOMENT = 0.05
"""Seconds for a thread to do what it must not do."""


class Stalled(Exception):  # noqa: N818  # says what happened
    """A thread did not come to a micro-step that it owes."""


class Gates:
    """The `gate` and `trace` callbacks of one receiver.

    A thread that comes to a micro-step waits in `gate` until `release` lets it take that step.
    """

    def __init__(self, stall_seconds: float = STALL_SECONDS) -> None:
        self._stall_seconds = stall_seconds
        self._changed = threading.Condition()
        self._arrived: dict[str, Step] = {}
        self._arrivals: dict[str, int] = {}
        self._permitted: set[str] = set()
        self._events: deque[TraceEvent] = deque()
        self._is_open = False

    def gate(self, step: Step, channel: str) -> None:
        """Wait here until the schedule lets the thread take its step."""
        with self._changed:
            if self._is_open:
                return
            self._arrived[channel] = step
            self._arrivals[channel] = self._arrivals.get(channel, 0) + 1
            self._changed.notify_all()
            self._changed.wait_for(lambda: channel in self._permitted or self._is_open)
            self._permitted.discard(channel)
            self._arrived.pop(channel, None)

    def trace(self, event: TraceEvent) -> None:
        """Take an event of the receiver."""
        with self._changed:
            self._events.append(event)
            self._changed.notify_all()

    def open(self) -> None:
        """Let everybody run freely from now on."""
        with self._changed:
            self._is_open = True
            self._changed.notify_all()

    def arrived(self) -> dict[str, Step]:
        """Return who waits at which micro-step."""
        with self._changed:
            return dict(self._arrived)

    def wait_for(self, channel: str) -> Step:
        """Return the micro-step at which the thread waits; Stalled if it does not come to one."""
        with self._changed:
            if not self._changed.wait_for(lambda: channel in self._arrived, self._stall_seconds):
                raise Stalled(f"{channel or 'the calling thread'} came to no micro-step within {self._stall_seconds:g} s")
            return self._arrived[channel]

    def wait_for_any(self, helper: threading.Thread | None) -> bool:
        """Wait until somebody waits at a micro-step (True), or the helper thread has ended (False); Stalled if neither happens."""
        with self._changed:
            for _ in range(int(self._stall_seconds * 100)):
                if self._changed.wait_for(lambda: bool(self._arrived), 0.01):
                    return True
                if helper is not None and not helper.is_alive():
                    return bool(self._arrived)
        raise Stalled(f"nobody came to a micro-step within {self._stall_seconds:g} s")

    def release(self, channel: str) -> list[TraceEvent]:
        """Let the thread take the micro-step at which it waits; return the events until it is done with that."""
        with self._changed:
            before = self._arrivals[channel]
            self._permitted.add(channel)
            self._changed.notify_all()

            def is_done() -> bool:
                return any(event.channel == channel for event in self._events) or self._arrivals[channel] > before

            if not self._changed.wait_for(is_done, self._stall_seconds):
                raise Stalled(f"{channel or 'the calling thread'} did not finish a micro-step within {self._stall_seconds:g} s")
            events = list(self._events)
            self._events.clear()
            return events

    def permit(self, channel: str) -> None:
        """Let the thread go on, and do not wait for what it does."""
        with self._changed:
            self._permitted.add(channel)
            del self._arrived[channel]
            self._changed.notify_all()

    def events_up_to(self, channel: str) -> list[TraceEvent]:
        """Return the events until the thread has taken a step that it was permitted before; Stalled if it does not."""
        with self._changed:
            if not self._changed.wait_for(lambda: any(event.channel == channel for event in self._events), self._stall_seconds):
                raise Stalled(f"{channel or 'the calling thread'} took no step within {self._stall_seconds:g} s")
            return self.take_events()

    def release_to_wait(self, channel: str) -> list[TraceEvent]:
        """Let a thread go on that must then wait for others; return the events of a moment, of which there should be none of its own."""
        with self._changed:
            self._permitted.add(channel)
            self._changed.notify_all()
            self._changed.wait_for(lambda: bool(self._events), MOMENT)
        return self.take_events()

    def take_events(self) -> list[TraceEvent]:
        """Return the events that came without being waited for."""
        with self._changed:
            events = list(self._events)
            self._events.clear()
            return events
