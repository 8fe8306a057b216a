"""Kills real primaries at random moments: our secondary loses no checkpoint that it had committed."""

import random
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from colofd.conformance.qemu.ends import SECONDS, Setting, sending
from colofd.conformance.qemu.failovers import Moment, Outcome, Pair, Result, Scenario, Side, take_over
from colofd.conformance.qemu.machine import Machine
from colofd.conformance.qemu.provision import Qemu

_LONGEST_LIFE: Final = 0.5
"""Seconds that a primary lives in COLO at most."""


@dataclass(frozen=True)
class Kill:
    """A primary killed at a random moment: how long it lived in COLO, what our end was doing, and what it has."""

    seconds: float
    phase: str
    commits: int
    is_right: bool
    why: str


def kill_primaries(qemu: Qemu, count: int, seed: int, progress: Callable[[str], None] = lambda _what: None) -> list[Kill]:
    """Kill a real primary under a writing guest at `count` random moments; our secondary must have its last commit each time."""
    draw = random.Random(seed)  # noqa: S311  # not a secret
    kills = []
    for number in range(count):
        progress(f"primary {number + 1} of {count}")
        kills.append(_kill(qemu, draw.uniform(0, _LONGEST_LIFE), draw.choice((0,) if qemu.needs_enable_colo else (0, 2, 4))))
    return kills


def _primary(qemu: Qemu, folder: Path, setting: Setting) -> Machine:
    return sending(qemu, folder, setting, accelerator=qemu.accelerator_of_primary)


def _kill(qemu: Qemu, seconds: float, channels: int) -> Kill:
    scenario = Scenario(channels, Side.SECONDARY, Moment.CHECKPOINT, Side.SECONDARY)
    setting = scenario.setting(qemu)
    result = Result(scenario, qemu.version)
    with tempfile.TemporaryDirectory(prefix="colofd-") as folder, _primary(qemu, Path(folder), setting) as machine:
        pair = Pair(machine, Path(folder), setting)
        try:
            pair.destination.wait_checkpoint(0, SECONDS)
            time.sleep(seconds)
            phase = str(pair.destination.phase)
            machine.kill()
            take_over(pair, result)
        finally:
            pair.close()
    return Kill(round(seconds, 3), phase, result.commits, result.outcome is Outcome.SURVIVED, result.why)
