"""Subjects for tests of the suite: the built-in receiver, with one thing wrong about what it does, shows or says."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from colofd.conformance.subjects import BuiltIn, Factory, Guest, Observed, Options, Receiver
from colofd.model.trace import TraceEvent
from colofd.spec.constants import Step

Trace = Callable[[TraceEvent], None]
Gate = Callable[[Step, str], None]


@dataclass(frozen=True)
class Said:
    """An event that a subject says has happened."""

    step: Step
    channel: str = ""
    pages: tuple[int, ...] = ()
    zero_pages: tuple[int, ...] = ()
    digests: tuple[str, ...] = ()


def copy_of(event: TraceEvent) -> Said:
    """Return an event as one that can be changed with `replace`."""
    return Said(event.step, event.channel, event.pages, event.zero_pages, event.digests)


def saying(change: Callable[[Said], list[Said]]) -> Factory:
    """Return a subject that says other events than happen."""

    def make(options: Options, guest: Guest, trace: Trace, gate: Gate) -> Receiver:
        def say(event: TraceEvent) -> None:
            for said in change(copy_of(event)):
                trace(said)

        return BuiltIn(options, guest, say, gate)

    return make


def recording(events: list[Said]) -> Factory:
    """Return a subject without fault, whose events are noted."""

    def noted(event: Said) -> list[Said]:
        events.append(event)
        return [event]

    return saying(noted)


def showing(change: Callable[[Observed], Observed]) -> Factory:
    """Return a subject that shows other memory than it has."""

    class Showing(BuiltIn):
        def observe(self, *, has_cache: bool, has_maps: bool) -> Observed:
            return change(super().observe(has_cache=has_cache, has_maps=has_maps))

    return Showing


class FailsOver(BuiltIn):
    """Raises when it is to take over."""

    def failover(self) -> None:
        """Do nothing."""
        raise RuntimeError("no failover today")


class Keeps(BuiltIn):
    """Frees nothing when it is closed for the first time."""

    is_closed = False

    def close(self) -> None:
        """Free everything, the second time."""
        if self.is_closed:
            super().close()
        self.is_closed = True


def dying_after(step: Step) -> Factory:
    """Return a subject whose threads end after a step, as its trace hook fails."""

    def make(options: Options, guest: Guest, trace: Trace, gate: Gate) -> Receiver:
        def say(event: TraceEvent) -> None:
            trace(event)
            if event.step is step:
                raise RuntimeError("a hook that fails")

        return BuiltIn(options, guest, say, gate)

    return make


def wrong_digests(step: Step) -> Factory:
    """Return a subject that says that something else is in memory after a step."""

    def changed(event: Said) -> list[Said]:
        return [replace(event, digests=("0123456789abcdef",) * len(event.digests)) if event.step is step else event]

    return saying(changed)
