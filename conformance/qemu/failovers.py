"""QEMU's own COLO scenarios, with one of our ends on either side: who survives has the last commit, and goes on from it."""

import hashlib
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import product
from pathlib import Path
from typing import Final

from colofd.conformance.incoming import NobodyCame
from colofd.conformance.peer import UnexpectedReply
from colofd.conformance.primary_schedule import (
    Checkpoint,
    DeviceState,
    EndPages,
    EndRound,
    Failover,
    Move,
    Rest,
    Send,
    Write,
    generated,
    play,
)
from colofd.conformance.qemu.ends import (
    BLOCK,
    KEPT,
    PAGES,
    SECONDS,
    OurSecondary,
    Setting,
    address,
    kept,
    our_primary,
    receiving,
    sending,
)
from colofd.conformance.qemu.machine import Machine, QemuFailed
from colofd.conformance.qemu.provision import Qemu
from colofd.impl import Commit, Destination, Phase
from colofd.spec.constants import MAIN_CHANNEL, Step
from colofd.spec.reasons import Rejected

CHECKPOINTS: Final = 3
"""Checkpoints before one side goes, as in QEMU's tests."""

_IDLE_MILLISECONDS: Final = 300
_WATCHED_SECONDS: Final = 0.2
_ANSWER_SECONDS: Final = 2.0
"""How long a secondary may take to take over. It needs milliseconds, or does not come back."""


class Side(StrEnum):
    """A side of the pair."""

    PRIMARY = "primary"
    SECONDARY = "secondary"


class Moment(StrEnum):
    """When the other side dies."""

    IDLE = "idle"
    CHECKPOINT = "during a checkpoint"
    SYNC_MISSING = "before one SYNC"
    """As above, with all pages sent and MULTIFD_FLUSH, too. This is not among QEMU's scenarios."""


class Outcome(StrEnum):
    """What became of the survivor."""

    SURVIVED = "survived"
    KNOWN = "known deviation"
    NEW = "new"


@dataclass(frozen=True)
class Scenario:
    """Which side is ours, which one survives, and when the other one dies."""

    channels: int
    survivor: Side
    moment: Moment
    ours: Side

    def setting(self, qemu: Qemu) -> Setting:
        """Return what both ends agree on."""
        return Setting(self.channels, colo=True, enables_colo=qemu.needs_enable_colo)


@dataclass
class Result:
    """What became of a scenario: whether RAM is right, what else was seen, and the number of the last commit that both sides had."""

    scenario: Scenario
    version: str
    outcome: Outcome = Outcome.NEW
    why: str = ""
    commits: int = 0


@dataclass
class Commits:
    """Digests of RAM at each commit, on both sides."""

    primary: list[str] = field(default_factory=list)
    secondary: list[str] = field(default_factory=list)


def scenarios(*, multifd: bool = True) -> tuple[Scenario, ...]:
    """Return QEMU's eight scenarios with our end on either side, and the one that is known to go wrong; without `multifd` four."""
    eight = [Scenario(*each) for each in product((0, 2), Side, (Moment.IDLE, Moment.CHECKPOINT), Side)]
    if not multifd:
        return tuple(each for each in eight if not each.channels)
    return (*eight, Scenario(2, Side.SECONDARY, Moment.SYNC_MISSING, Side.PRIMARY))


def run_scenario(qemu: Qemu, scenario: Scenario) -> Result:
    """Run a scenario on a QEMU; what goes wrong is an outcome."""
    result = Result(scenario, qemu.version)
    actions: dict[tuple[Side, Side], Callable[[Qemu, Path, Scenario, Result], None]] = {
        (Side.SECONDARY, Side.SECONDARY): _our_secondary_survives,
        (Side.SECONDARY, Side.PRIMARY): _real_primary_survives,
        (Side.PRIMARY, Side.SECONDARY): _real_secondary_survives,
        (Side.PRIMARY, Side.PRIMARY): _our_primary_survives,
    }
    try:
        with tempfile.TemporaryDirectory(prefix="colofd-") as folder:
            actions[scenario.ours, scenario.survivor](qemu, Path(folder), scenario, result)
    except (QemuFailed, NobodyCame, Rejected, UnexpectedReply, TimeoutError) as error:
        result.why = str(error)
    return result


class Pair:
    """A real primary, and our secondary; both RAMs are hashed at each commit, while the primary waits."""

    def __init__(self, machine: Machine, folder: Path, setting: Setting) -> None:
        self.commits = Commits()
        self.began = threading.Event()
        """Set when pages of a checkpoint after the wanted ones arrive."""
        self.machine = machine
        self._ours = OurSecondary(folder, setting, self._note, self._look)
        machine.command("migrate", uri=address(folder))
        self.destination: Destination = self._ours.take()

    def _note(self, commit: Commit) -> None:
        self.commits.primary.append(self.machine.digest())
        self.commits.secondary.append(hashlib.sha256(commit.blocks[BLOCK].data).hexdigest())

    def _look(self, step: Step) -> None:
        if step in (Step.READ_PAGE, Step.MAIN_READ_PAGE, Step.ZERO_PAGE, Step.MAIN_ZERO_PAGE) and len(self.commits.secondary) > CHECKPOINTS:
            self.began.set()

    def close(self) -> None:
        """End our side."""
        self._ours.close()

    def guest_digest(self) -> str:
        """Return the digest of what our guest has now."""
        return hashlib.sha256(self.destination.guest(BLOCK).data).hexdigest()


def _wait_for_moment(pair: Pair, scenario: Scenario) -> None:
    if scenario.moment is Moment.CHECKPOINT:
        if not pair.began.wait(SECONDS):
            raise TimeoutError("no page of a checkpoint came")
        return
    pair.destination.wait_checkpoint(CHECKPOINTS, SECONDS)
    pair.machine.wait_until(lambda: len(pair.commits.secondary) > CHECKPOINTS and pair.destination.phase is Phase.IDLE, SECONDS)


def _real_primary(qemu: Qemu, folder: Path, scenario: Scenario) -> Machine:
    delay = _IDLE_MILLISECONDS if scenario.moment is Moment.IDLE else 1
    return sending(qemu, folder, scenario.setting(qemu), delay=delay, accelerator=qemu.accelerator_of_primary)


def _our_secondary_survives(qemu: Qemu, folder: Path, scenario: Scenario, result: Result) -> None:
    with _real_primary(qemu, folder, scenario) as machine:
        pair = Pair(machine, folder, scenario.setting(qemu))
        try:
            _wait_for_moment(pair, scenario)
            machine.kill()
            take_over(pair, result)
        finally:
            pair.close()


def take_over(pair: Pair, result: Result) -> None:
    """Let our secondary take over; it must have the last commit, and each commit must have been the primary's RAM."""
    pair.destination.failover(SECONDS)
    result.commits = len(pair.commits.secondary) - 1
    if pair.commits.primary != pair.commits.secondary:
        result.why = "a commit was not the primary's RAM"
    elif pair.guest_digest() != pair.commits.secondary[-1]:
        result.why = "RAM is not the last commit"
    else:
        result.outcome, result.why = Outcome.SURVIVED, f"RAM is commit {result.commits}, as the primary had it"


def _real_primary_survives(qemu: Qemu, folder: Path, scenario: Scenario, result: Result) -> None:
    with _real_primary(qemu, folder, scenario) as machine:
        pair = Pair(machine, folder, scenario.setting(qemu))
        try:
            _wait_for_moment(pair, scenario)
            result.commits = len(pair.commits.secondary) - 1
        finally:
            pair.close()
        machine.command("x-colo-lost-heartbeat")
        machine.wait_until(lambda: machine.status() == "running", SECONDS)
        before = machine.digest()
        machine.wait_until(lambda: machine.digest() != before, SECONDS)
        machine.command("stop")
        if machine.ram[KEPT] != kept():
            result.why = "pages that its guest does not write have changed"
        else:
            result.outcome, result.why = Outcome.SURVIVED, "it runs, its guest writes, and the other pages are as they were"


def _real_secondary_survives(qemu: Qemu, folder: Path, scenario: Scenario, result: Result) -> None:
    with receiving(qemu, folder, scenario.setting(qemu), patience=_ANSWER_SECONDS) as machine:
        primary = our_primary(folder, scenario.setting(qemu))
        try:
            sent = play(primary, (*generated(PAGES, CHECKPOINTS, 100, 1), *_end(scenario)))
        finally:
            primary.close()
        result.commits = len(sent.commits) - 1
        if sent.ended_by:
            result.why = sent.ended_by
            return
        try:
            machine.command("x-colo-lost-heartbeat")
            machine.wait_until(lambda: machine.migration().get("status") != "colo", SECONDS)
        except QemuFailed as failed:
            result.outcome = Outcome.KNOWN if scenario.moment is Moment.SYNC_MISSING else Outcome.NEW
            result.why = f"failover.waits-for-sync: {failed}"
            machine.kill()
        _compare_with_last(machine, sent.commits[-1], scenario, result)


def _compare_with_last(machine: Machine, sha256: str, scenario: Scenario, result: Result) -> None:
    time.sleep(_WATCHED_SECONDS)
    is_right = machine.digest() == sha256
    if not is_right:
        # Pages may still have been on their way when it took over.
        result.outcome = Outcome.KNOWN if scenario.moment is Moment.CHECKPOINT and scenario.channels else Outcome.NEW
        result.why = f"{result.why}; mirror.decided-again: RAM is not the last commit".removeprefix("; ")
    elif not result.why:
        result.outcome, result.why = Outcome.SURVIVED, f"RAM is commit {result.commits}, as the primary had it"
    else:
        result.why += "; RAM is the last commit"


def _end(scenario: Scenario) -> Sequence[Move]:
    if scenario.moment is Moment.IDLE:
        return ()
    channel = "mfd1" if scenario.channels else MAIN_CHANNEL
    begun = (Write(tuple(range(50)), 7), Checkpoint(), Send(channel, tuple(range(40))))
    return begun if scenario.moment is Moment.CHECKPOINT else (*begun, EndRound("mfd0"))


def _our_primary_survives(qemu: Qemu, folder: Path, scenario: Scenario, result: Result) -> None:
    with receiving(qemu, folder, scenario.setting(qemu)) as machine:
        primary = our_primary(folder, scenario.setting(qemu))
        try:
            begun = generated(PAGES, CHECKPOINTS, 100, 1)
            if scenario.moment is Moment.IDLE:
                sent = play(primary, (*begun, Failover(), Checkpoint()), lambda _: machine.kill())
            else:
                sent = play(primary, (*begun, *_end(scenario), Failover(), Rest(), EndPages(), DeviceState()), lambda _: machine.kill())
            before = list(primary.ram)
        finally:
            primary.close()
        result.commits = len(sent.commits) - 1
        if result.commits == CHECKPOINTS and sent.ended_by and primary.ram == before:
            result.outcome, result.why = Outcome.SURVIVED, f"it knows: {sent.ended_by}"
        else:
            result.why = "our primary did not notice"
