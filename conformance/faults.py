"""Drawn migrations in which something fails: a connection, a thread, memory, the caller; and what must be true all the same.

Every call returns in its time. The guest has one whole commit, and none that the primary was told of is lost. The first error is the one
that is reported. No thread, descriptor or mapping is left.
"""

import random
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from colofd.conformance.fault_kinds import Fault, Kind, Trap, draw_fault, draw_shortage, lacking
from colofd.conformance.fault_script import BLOCK, PAGES, Expect, Put, Script, draw_script
from colofd.conformance.stream import colo_message
from colofd.impl import Block, Deadlines, Destination, Event, Outcome, Phase
from colofd.spec.constants import MAIN_CHANNEL, ColoMessage, Step
from colofd.spec.reasons import Rejected

SECONDS: Final = 10.0
"""How long any call may take: only one that hangs gets there."""
SHORT: Final = 0.2
"""Deadline for a peer that falls silent."""
DRIPS: Final = 200
"""Bytes that come one by one."""
MORE: Final = (1 << 32) + 12_108
"""Added to a seed to draw something else."""
TOO_LONG: Final = 1 << 46
"""Bytes of a RAM block for which there is no memory."""


class Source:
    """The peer: says its script on channels of its own, as far as the fault lets it."""

    def __init__(self, script: Script, fault: Fault) -> None:
        self.ends: dict[str, socket.socket] = {}
        self.far: list[socket.socket] = []
        self.replies = b""
        self.is_felt = False
        self._script = script
        self._fault = fault
        self._sent: Counter[str] = Counter()
        self._silent: set[str] = set()
        for name in sorted({action.channel for action in script.actions if isinstance(action, Put)}):
            near, far = socket.socketpair()
            near.settimeout(SECONDS)
            self.ends[name] = near
            self.far.append(far)

    def speak(self) -> None:
        """Say everything. A receiver that hangs up, or says something else, ends it."""
        with suppress(OSError):
            for action in self._script.actions:
                if isinstance(action, Put):
                    self._put(action)
                elif not self._expect(action):
                    return

    def _put(self, action: Put) -> None:
        end, begin = self.ends[action.channel], self._sent[action.channel]
        self._sent[action.channel] += len(action.content)
        if action.channel in self._silent:
            return
        at = self._fault.offset - begin
        if self._fault.channel != action.channel or not 0 <= at < len(action.content):
            end.sendall(action.content)
            return
        self.is_felt = True
        end.sendall(action.content[:at])
        if self._fault.kind is Kind.DRIP:
            for byte in action.content[at : at + DRIPS]:
                end.sendall(bytes([byte]))
            end.sendall(action.content[at + DRIPS :])
            return
        self._silent |= set(self.ends) if self._fault.kind is Kind.SILENCE else {action.channel}
        if self._fault.kind is Kind.CUT:
            end.shutdown(socket.SHUT_RDWR)

    def _expect(self, action: Expect) -> bool:
        reply = self.ends[MAIN_CHANNEL].recv(4, socket.MSG_WAITALL)
        self.replies += reply
        return reply == colo_message(action.message)

    def told(self) -> int:
        """Read the rest, and return how many checkpoints the primary was told to be received."""
        with suppress(OSError):
            while more := self.ends[MAIN_CHANNEL].recv(1 << 12):
                self.replies += more
        whole = [self.replies[at : at + 4] for at in range(0, len(self.replies), 4)]
        return whole.count(colo_message(ColoMessage.VMSTATE_RECEIVED))

    def close(self) -> None:
        """Close all channels, and what was not taken over of them."""
        for end in (*self.ends.values(), *self.far):
            end.close()


class Guest:
    """The guest of the embedder: whether it runs."""

    is_running = False

    def stop(self) -> dict[str, npt.NDArray[np.bool_]]:
        """Stop."""
        self.is_running = False
        return {BLOCK: np.zeros(PAGES, np.bool_)}

    def run(self) -> None:
        """Run."""
        self.is_running = True


@dataclass
class Reached:
    """What faults have met: for each kind how often it was felt, and the different ends (kind, last step of the thread, reason)."""

    felt: Counter[Kind] = field(default_factory=Counter)
    ends: set[tuple[str, str, str]] = field(default_factory=set)
    commits: int = 0


@dataclass
class _Run:
    script: Script
    fault: Fault
    source: Source
    guest: Guest
    trap: Trap
    ends_with_failover: bool
    ends_after: int
    destination: Destination
    outcome: Outcome | None = None
    memory: npt.NDArray[np.uint8] | None = None
    last_step: dict[str, str] = field(default_factory=dict)
    answered: int = 0
    failure: str = ""

    def drive(self) -> None:
        """Be the embedder: wait for a commit, or an error, and take over, or close. Begins again where it was interrupted."""
        while True:
            try:
                self._wait()
                self._end()
            except KeyboardInterrupt:
                continue
            except (RuntimeError, TimeoutError, Rejected) as error:
                self.failure = f"{type(error).__name__}: {error}"
                with suppress(Rejected):
                    self.destination.close(SECONDS)
            return

    def _wait(self) -> None:
        with suppress(Rejected):
            if self.script.colo:
                self._call(partial(self.destination.wait_checkpoint, self.ends_after, SECONDS))
            else:
                self._call(partial(self.destination.wait, SECONDS))

    def _end(self) -> None:
        if self.ends_with_failover and self.script.colo and self.destination.phase not in {Phase.SETUP, Phase.FAILED}:
            self._call(partial(self.destination.failover, SECONDS))
        with suppress(Rejected):
            self.memory = self.destination.guest(BLOCK)
        self._call(partial(self.destination.close, SECONDS))
        try:
            self.outcome = self.destination.wait(SECONDS)
        except Rejected as error:
            self.outcome = Outcome(self.destination.phase, -1, error)

    def _call(self, call: Callable[[], object]) -> None:
        self.trap.interruptible(call)

    def wrongs(self) -> Iterator[str]:
        """Yield what may not be."""
        outcome = self.outcome
        if outcome is None:
            yield f"it has not ended: {self.failure}"
            return
        is_last = outcome.commit == (len(self.script.commits) - 1 if self.script.colo else 0)
        if (
            outcome.phase is not Phase.FAILED
            and outcome.commit >= 0
            and self.memory is not None
            and self.memory.tobytes() != self.script.commits[outcome.commit]
        ):
            yield f"RAM is not commit {outcome.commit}"
        if self.answered > max(outcome.commit, 0):
            yield f"the primary was told of checkpoint {self.answered}, and the last commit is {outcome.commit}"
        # A source that is not told of the end runs its own guest: so after an error there may be none here.
        is_told = outcome.phase is not Phase.COMPLETED or outcome.error is None
        if is_told and self.guest.is_running is not (outcome.phase in {Phase.FAILOVER, Phase.COMPLETED}):
            yield f"the guest {'runs' if self.guest.is_running else 'does not run'} in phase {outcome.phase}"
        if outcome.error is None and outcome.commit < self.ends_after:
            yield f"an end without an error at commit {outcome.commit}"
        if outcome.error is not None and not self.fault.explains(outcome.error):
            yield f"another error than that of the fault: {outcome.error}"
        if self.fault.kind is Kind.DRIP and not is_last and outcome.error is not None:
            yield f"bytes that come one by one are refused: {outcome.error}"


def drawn_script(seed: int) -> Script:
    """Return what the source of a drawn migration says, if it is not one for which there is no memory."""
    chance = random.Random(seed)  # noqa: S311  # a schedule, not a secret
    _is_too_long(chance)
    return draw_script(chance)


def _is_too_long(chance: random.Random) -> bool:
    return chance.random() < 0.03


def run_fault(seed: int, reached: Reached, fault: Fault | None = None) -> list[str]:
    """Run one drawn migration with one fault, drawn if none is given, in the main thread; return what is wrong."""
    chance = random.Random(seed)  # noqa: S311  # a schedule, not a secret
    before = _resources()
    found = _run(chance, fault or draw_shortage(random.Random(seed + MORE)), reached)  # noqa: S311  # as above
    left = {name: count for name, count in _resources().items() if count > before[name]}
    return [*found, *(f"left: {count - before[name]} more {name}" for name, count in left.items())]


def _run(chance: random.Random, other: Fault | None, reached: Reached) -> list[str]:
    is_too_long = _is_too_long(chance)
    script = draw_script(chance, **({"length": TOO_LONG} if is_too_long else {}))
    fault = Fault(Kind.NO_MEMORY) if is_too_long else draw_fault(script, chance)
    if other is not None and not is_too_long:
        fault = other
    trap, guest, source = Trap(fault), Guest(), Source(script, fault)
    last_step: dict[str, str] = {}

    def trace(event: Event) -> None:
        if event.step not in {Step.GIVE_UP, Step.EXIT}:
            last_step[event.channel] = event.step

    is_silent = fault.kind in {Kind.STALL, Kind.SILENCE}
    deadlines = (
        Deadlines(connect=SHORT, progress=SHORT, idle=SHORT, lease=SHORT) if is_silent else Deadlines(SECONDS, SECONDS, SECONDS, SHORT)
    )
    destination = Destination(
        [Block(BLOCK, script.length)],
        script.channels,
        colo=script.colo,
        compression=script.compression,
        mirror=chance.choice(["packet", "deferred"]),
        guest=guest,
        deadlines=deadlines,
        trace=trace,
        gate=trap.gate,
    )
    last = len(script.commits) - 1
    run = _Run(script, fault, source, guest, trap, chance.random() < 0.75, chance.randint(0, last), destination, last_step=last_step)
    speaker = threading.Thread(target=source.speak, name="source")
    with ExitStack() as stack:
        stack.enter_context(trap)
        stack.enter_context(lacking(fault, trap))
        with suppress(Rejected):
            for far in source.far:
                destination.attach(far)
        speaker.start()
        run.drive()
    speaker.join(SECONDS)
    run.answered = source.told()
    source.close()
    _note(run, reached)
    return [f"{wrong}, after {fault}" for wrong in run.wrongs()]


def _note(run: _Run, reached: Reached) -> None:
    if run.source.is_felt or run.trap.is_felt or run.fault.kind is Kind.NO_MEMORY:
        reached.felt[run.fault.kind] += 1
    if run.outcome is not None:
        error = run.outcome.error
        reached.commits += run.outcome.commit + 1
        where = run.last_step.get(error.channel, "") if error is not None else ""
        reached.ends.add((run.fault.kind, where, error.reason if error is not None else ""))


def _resources() -> dict[str, int]:
    maps = Path("/proc/self/maps").read_text(encoding="utf-8")
    return {
        "threads of the receiver": sum(thread.name.startswith("colofd") for thread in threading.enumerate()),
        "descriptors": len(list(Path("/proc/self/fd").iterdir())),
        "mappings of guest RAM": maps.count("colofd guest"),
    }
