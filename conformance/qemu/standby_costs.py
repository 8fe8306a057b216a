"""What a standby costs, beside QEMU's own secondary: the pause of the primary, memory, and CPU, in one run on one machine."""

import json
import mmap
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import numpy as np

from colofd.conformance.qemu.counting_guest import BASE, Counting, counting_rom
from colofd.conformance.qemu.machine import MEBIBYTE, Machine, QemuFailed
from colofd.conformance.qemu.provision import Qemu
from colofd.spec.constants import TARGET_PAGE_SIZE

SHARES: Final = (0.01, 0.1, 0.5)
"""Of RAM, written between two checkpoints."""

_CHANNELS: Final = 2
_DELAY: Final = 300
"""Milliseconds between checkpoints; the guest writes all of its pages in that time."""

_SECONDS: Final = 120.0
_POLL_SECONDS: Final = 0.01


class Who(StrEnum):
    """Who has the checkpoints."""

    QEMU = "QEMU's secondary"
    STANDBY = "colofd standby"


@dataclass(frozen=True)
class Cost:
    """What one pair has cost.

    Attributes:
        who: the secondary.
        share: of RAM that was dirty at each checkpoint.
        pause: milliseconds for which the primary stood still for a checkpoint: the median.
        longest_pause: the longest one.
        memory: MiB of the secondary that were resident at most.
        cpu: milliseconds of CPU that the secondary took for a checkpoint, and from one to the next.
    """

    who: Who
    share: float
    pause: float
    longest_pause: float
    memory: float
    cpu: float


def standby_costs(
    qemu: Qemu, memory: int, checkpoints: int, store: Path, progress: Callable[[str], None] = lambda _what: None
) -> Iterator[Cost]:
    """Yield the costs of both kinds of secondary, one after the other for each share of RAM.

    Args:
        qemu: the primary, and one of the secondaries; its guests run under TCG, for they must write fast.
        memory: bytes of RAM; that of QEMUs lies in files, on a file system in memory where there is one.
        checkpoints: of each pair.
        store: a folder on the disk that is asked about; what is made in it is removed.
        progress: is told what goes on.
    """
    in_memory = Path("/dev/shm")  # noqa: S108  # a folder of our own is made in it
    for share in SHARES:
        for who in Who:
            progress(f"{who}, {share:.0%} dirty")
            with (
                tempfile.TemporaryDirectory(prefix="colofd-", dir=in_memory if in_memory.is_dir() else None) as folder,
                tempfile.TemporaryDirectory(prefix="colofd-", dir=store) as stored,
            ):
                yield _cost(qemu, Path(folder), Path(stored), memory, checkpoints, who, share)


def _cost(qemu: Qemu, folder: Path, stored: Path, memory: int, checkpoints: int, who: Who, share: float) -> Cost:
    work = Counting(pages=int(memory // TARGET_PAGE_SIZE * share), idle_loops=1)
    with ExitStack() as stack:
        secondary = stack.enter_context(_secondary(qemu, folder, stored, memory, work, who))
        primary = stack.enter_context(_machine(qemu, folder, "primary", memory, work))
        primary.command("migrate-set-parameters", x_checkpoint_delay=_DELAY)
        primary.command("migrate", uri=f"unix:{folder / 'migration'}")
        # The first checkpoint has what came up in the meantime.
        _wait_for_pauses(primary, 2)
        before = _cpu_seconds(secondary)
        begin = len(_pauses(primary.happened()))
        _wait_for_pauses(primary, begin + checkpoints)
        cpu = _cpu_seconds(secondary) - before
        pauses = _pauses(primary.happened())[begin:]
        memory_now = _peak_memory(secondary)
        primary.kill()
    return Cost(
        who,
        share,
        round(statistics.median(pauses) * 1000, 1),
        round(max(pauses) * 1000, 1),
        round(memory_now / MEBIBYTE, 1),
        round(cpu / len(pauses) * 1000, 1),
    )


def _machine(qemu: Qemu, folder: Path, name: str, memory: int, work: Counting, *, is_incoming: bool = False) -> Machine:
    def fill(ram: mmap.mmap) -> None:
        first = BASE + work.pages * TARGET_PAGE_SIZE
        ram[first:] = np.random.default_rng(1).bytes(memory - first)

    machine = Machine(
        qemu,
        folder,
        name,
        memory=memory,
        block="ram",
        rom=counting_rom(work),
        is_stopped=not is_incoming,
        is_incoming=is_incoming,
        fill=(lambda _ram: None) if is_incoming else fill,
        patience=_SECONDS,
    )
    try:
        machine.enable("events", "x-colo", "return-path", "multifd")
        machine.command("migrate-set-parameters", multifd_channels=_CHANNELS, max_bandwidth=1 << 40)
    except BaseException:
        machine.close()
        raise
    return machine


@contextmanager
def _secondary(qemu: Qemu, folder: Path, stored: Path, memory: int, work: Counting, who: Who) -> Iterator[int]:
    """Start a secondary that waits; yield the number of its process."""
    address = f"unix:{folder / 'migration'}"
    if who is Who.QEMU:
        with _machine(qemu, folder, "secondary", memory, work, is_incoming=True) as machine:
            machine.command("migrate-incoming", uri=address)
            try:
                yield machine.pid
            finally:
                machine.kill()
        return
    said = folder / "standby.log"
    command = [
        sys.executable,
        "-m",
        "colofd.conformance",
        "standby",
        address,
        "--store",
        str(stored / "store"),
        "--channels",
        str(_CHANNELS),
    ]
    with said.open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        end = time.monotonic() + _SECONDS
        while "waiting on" not in said.read_text():
            if process.poll() is not None or time.monotonic() > end:
                raise QemuFailed(f"the standby does not listen: {said.read_text()}")
            time.sleep(_POLL_SECONDS)
        yield process.pid
    finally:
        process.kill()
        process.wait()


def _wait_for_pauses(machine: Machine, count: int) -> None:
    machine.wait_until(lambda: len(_pauses(machine.happened())) >= count, _SECONDS)


def _pauses(events: Sequence[Mapping[str, Any]]) -> list[float]:
    """Return the seconds of each time from STOP to RESUME."""
    pauses = []
    stopped = None
    for event in events:
        at = event["timestamp"]["seconds"] + event["timestamp"]["microseconds"] / 1e6
        if event["event"] == "STOP":
            stopped = at
        elif event["event"] == "RESUME" and stopped is not None:
            pauses.append(at - stopped)
            stopped = None
    return pauses


def _cpu_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _peak_memory(process: int) -> int:
    """Return bytes: what was resident at most, shared memory too."""
    (line,) = (each for each in Path(f"/proc/{process}/status").read_text().splitlines() if each.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def costs_table(costs: Sequence[Cost]) -> str:
    """Return a table with both secondaries beside each other."""
    rows = ["| dirty | | primary's pause, median | longest | memory | CPU per checkpoint |", "| --- | --- | --- | --- | --- | --- |"]
    rows += [
        f"| {each.share:.0%} | {each.who} | {each.pause:.1f} ms | {each.longest_pause:.1f} ms | {each.memory:.0f} MiB | {each.cpu:.0f} ms |"
        for each in costs
    ]
    return "\n".join(rows)


def costs_json(costs: Sequence[Cost]) -> str:
    """Return the costs as JSON."""
    return json.dumps([vars(each) for each in costs], indent=1)
