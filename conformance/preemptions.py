"""Every interleaving of a scene with at most so many preemptions, in lockstep with the model.

A scene puts packets on channels and lets the caller fail over or close beside them. From then on a scheduler lets one thread at a time take
one micro-step. It preempts where it lets another thread go on although the last one could have; what happens when that one waits, or has
ended, is free. Nearly all races show with two preemptions (Musuvathi and Qadeer, "Iterative context bounding", PLDI 2007).
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Final

from colofd.conformance.gates import CONTROL, STALL_SECONDS
from colofd.conformance.lockstep import Lockstep
from colofd.conformance.scenes import Ending, Scene
from colofd.conformance.subjects import Factory
from colofd.spec.constants import MAIN_CHANNEL, Step
from colofd.spec.state import Phase

_OVER: Final = (Phase.FAILOVER, Phase.STOPPED, Phase.FAILED)


@dataclass(frozen=True)
class Decision:
    """Who could take the next micro-step, and who took it."""

    runnable: tuple[str, ...]
    taken: str


def preemptions(decisions: Sequence[Decision]) -> int:
    """Return how often a thread was kept from going on although it could have."""
    return sum(before.taken != after.taken and before.taken in after.runnable for before, after in pairwise(decisions))


class Race(Lockstep):
    """A receiver whose threads a scheduler lets go on one by one."""

    def begin(self, work: Mapping[str, Sequence[Step]], ending: Ending | None) -> None:
        """Say which micro-steps each thread will come to as long as nothing ends, and let the caller come to its first one."""
        self._work = {name: list(work.get(name, ())) for name in (*self.peer.channels, MAIN_CHANNEL)}
        self._parked: set[str] = set()
        self._is_over = False
        self._has_ended_by_call = self._waits_for_commit = False
        self._ending = ending
        self._failed: list[BaseException] = []
        self._caller = threading.Thread(target=self._call, daemon=True)
        if ending is not None:
            self._is_closing = ending is Ending.CLOSE
            self._caller.start()

    def _call(self) -> None:
        try:
            (self.receiver.close if self._ending is Ending.CLOSE else self.receiver.failover)()
        except BaseException as error:  # noqa: BLE001  # handed to the thread that waits
            self._failed.append(error)

    def runnable(self) -> tuple[str, ...]:
        """Return who waits at a micro-step now; nobody else will come to one before somebody has taken a step."""
        names = self._coming()
        arrived = {name: self._checked(partial(self.gates.wait_for, name)) for name in names}
        if not self._is_over and Step.EXIT in arrived.values():
            # An error has ended it for all.
            self._is_over = True
            return self.runnable()
        for surprise in sorted(self.gates.arrived().keys() - set(names)):
            # Nothing lets it be here: the model will say why it must not.
            self._release(surprise)
        return tuple(names)

    def _coming(self) -> list[str]:
        return [name for name in (*self._work, CONTROL) if (self._comes_as_caller() if name == CONTROL else self._comes(name))]

    def _comes(self, name: str) -> bool:
        if name in self.exited or self._is_over:
            return name not in self.exited
        work = self._work[name]
        if not work or name in self._parked:
            return False
        return work[0] is not Step.RELEASE or self._parked == set(self.peer.channels)

    def _comes_as_caller(self) -> bool:
        if self._ending is None or self._waits_for_commit:
            return False
        if not self._has_ended_by_call:
            return True
        return self.exited == set(self._work) and bool(self.machine.cells["receivedmap_allocated"])

    def take(self, name: str) -> None:
        """Let one thread take its micro-step."""
        step = self.gates.arrived()[name]
        self._note(f"{name or 'the caller'} takes {step}")
        if name == CONTROL:
            self._take_as_caller()
        else:
            self._release(name)
            self._account(name, step)
        self._is_over = self._is_over or self.machine.phase in _OVER

    def _take_as_caller(self) -> None:
        self._has_ended_by_call = True
        if self.is_answered():
            # What was answered is committed first.
            self._waits_for_commit = True
            self.gates.permit(CONTROL)
        else:
            self._release(CONTROL)

    def _account(self, name: str, step: Step) -> None:
        if self._work[name]:
            del self._work[name][0]
        if step is Step.PARK:
            self._parked.add(name)
        elif step is Step.RELEASE:
            self._parked.clear()
        elif step is Step.COMMIT and self._waits_for_commit:
            self._waits_for_commit = False
            if self.machine.phase not in _OVER:
                for event in self._checked(lambda: self.gates.events_up_to(CONTROL)):
                    self._accept(event)
                self._compare()

    def end(self) -> None:
        """Check that everybody has done what it had to do, and end the receiver."""
        left = {name: steps for name, steps in self._work.items() if steps}
        if left and not self._is_over:
            raise self._violation("progress", f"nobody goes on, and these steps were not taken: {left}")
        if self._ending is not None:
            self._caller.join(STALL_SECONDS)
            if self._caller.is_alive() or self._failed:
                raise self._violation("failover", f"the call did not end well: {self._failed or 'it still goes on'}")
            self.reached.is_taken_over = self._ending is Ending.FAIL_OVER
            self._compare_guest_running()
        if self._ending is Ending.CLOSE:
            # It is closed already; what was freed is checked all the same.
            self._is_closing = True
        self.close()


def run_race(factory: Factory, scene: Scene, choices: Sequence[str]) -> tuple[list[Decision], Race]:
    """Run a scene: the first steps are taken as `choices` say, then whoever was at work goes on as long as it can.

    Violation if the receiver is wrong; ValueError if the choices cannot be followed.
    """
    race = Race(factory, scene.options)
    decisions: list[Decision] = []
    try:
        race.begin(scene.set(race), scene.ending)
        while runnable := race.runnable():
            taken = _next(choices, decisions, runnable)
            decisions.append(Decision(runnable, taken))
            race.take(taken)
        race.end()
    except BaseException:
        race.abandon()
        raise
    return decisions, race


def _next(choices: Sequence[str], decisions: Sequence[Decision], runnable: tuple[str, ...]) -> str:
    if len(decisions) < len(choices):
        wanted = choices[len(decisions)]
        if wanted not in runnable:
            raise ValueError(f"{wanted!r} cannot go on after {[decision.taken for decision in decisions]}, only {runnable}")
        return wanted
    last = decisions[-1].taken if decisions else None
    return last if last in runnable else runnable[0]


def run_all(factory: Factory, scene: Scene, bound: int, count: Callable[[Race], None]) -> int:
    """Run every interleaving of a scene with at most `bound` preemptions, each once; return how many there are.

    `count` is called with each that went through. Violation at the first one in which the receiver is wrong.
    """
    number = 0
    waiting: list[tuple[str, ...]] = [()]
    while waiting:
        choices = waiting.pop()
        decisions, race = run_race(factory, scene, choices)
        number += 1
        count(race)
        waiting.extend(_others(decisions, len(choices), bound))
    return number


def _others(decisions: Sequence[Decision], begin: int, bound: int) -> list[tuple[str, ...]]:
    """Return the beginnings that differ from a run in its last step only, which comes after the first `begin` ones."""
    taken = tuple(decision.taken for decision in decisions)
    return [
        (*taken[:at], name)
        for at in range(begin, len(decisions))
        for name in decisions[at].runnable
        if name != taken[at] and preemptions([*decisions[:at], Decision(decisions[at].runnable, name)]) <= bound
    ]
