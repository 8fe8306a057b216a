"""A real QEMU as the rival: the same stream into a QEMU that waits for a migration, and into ours.

Both have memory as it is by default: their own, and not resident, so that the first touch of each page is on the clock. Under a hypervisor
that takes back what is free, a first touch costs much or little by who had the memory before: so as much is touched and freed before
each run, and who begins changes with each round.
"""

import mmap
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from colofd.conformance.bench_plan import Clock, Load
from colofd.conformance.bench_receiver import digest
from colofd.conformance.bench_run import Bench, BenchError, Run, Setup, Workshop
from colofd.conformance.qemu.ends import Setting, address, receiving
from colofd.conformance.qemu.machine import Machine, QemuFailed
from colofd.conformance.qemu.provision import Qemu
from colofd.spec.constants import TARGET_PAGE_SIZE, Compression

MEBIBYTE: Final = 1 << 20
RAM: Final = 2048 * MEBIBYTE // TARGET_PAGE_SIZE
LESS: Final = 128 * MEBIBYTE // TARGET_PAGE_SIZE
"""Pages of the compressed row: making them costs more than all the rest."""
LOOKED_AT: Final = 64 * MEBIBYTE // TARGET_PAGE_SIZE
"""Pages of QEMU's RAM that are compared with what was sent."""
SECONDS: Final = 60.0
_POPULATE_WRITE: Final = 23
"""MADV_POPULATE_WRITE (Linux 5.14); the module mmap has no name for it."""


@dataclass(frozen=True)
class Row:
    """What is received, and by which transport."""

    name: str
    load: Load
    setup: Setup


def _row(name: str, channels: int, transport: Any = "unix", *, colo: bool = False, compression: Compression = Compression.NONE) -> Row:
    pages = RAM if compression is Compression.NONE else LESS
    load = Load(pages, channels, pattern="sequential", colo=colo, compression=compression, has_device=False)
    return Row(name, load, Setup(transport, prealloc=False))


ROWS: Final = (
    _row("2 channels, unix", 2),
    _row("2 channels, tcp", 2, "tcp"),
    _row("2 channels, unix, COLO", 2, colo=True),
    _row("main only, unix", 0),
    _row("main only, unix, COLO", 0, colo=True),
    _row("2 channels, unix, zstd", 2, compression=Compression.ZSTD),
    _row("4 channels, unix", 4),
)
"""A source's pages are in order; with COLO, up to where the first checkpoint could begin."""


@dataclass(frozen=True)
class Result:
    """Both sides of a row, a run for each round: seconds on the sender's clock, and the receiver's CPU seconds."""

    row: Row
    qemu: Sequence[Run]
    ours: Sequence[Run]

    @property
    def ratios(self) -> list[float]:
        """How many times as fast ours is, in each round."""
        return [_seconds(theirs) / _seconds(our) for theirs, our in zip(self.qemu, self.ours, strict=True)]

    @property
    def is_won(self) -> bool:
        """Whether ours takes less time, and less CPU."""
        return statistics.median(self.ratios) > 1 and _median_cpu(self.ours) < _median_cpu(self.qemu)

    def json(self) -> dict[str, Any]:
        """Return the row as JSON has it."""
        return {
            "name": self.row.name,
            "mebibytes": self.row.load.precopy_bytes // MEBIBYTE,
            "ratio": round(statistics.median(self.ratios), 2),
            "low": round(min(self.ratios), 2),
            "high": round(max(self.ratios), 2),
            "rounds": len(self.ratios),
            "seconds": {"qemu": _median_seconds(self.qemu), "ours": _median_seconds(self.ours)},
            "cpu_seconds": {"qemu": _median_cpu(self.qemu), "ours": _median_cpu(self.ours)},
            "is_won": self.is_won,
        }


def _seconds(run: Run) -> float:
    (seconds,) = run.spans(Clock.BEGIN, Clock.END)
    return seconds


def _median_seconds(runs: Sequence[Run]) -> float:
    return round(statistics.median(map(_seconds, runs)), 3)


def _median_cpu(runs: Sequence[Run]) -> float:
    return round(statistics.median(run.cpu_seconds for run in runs), 2)


def rivalry(workshop: Workshop, qemu: Qemu, rounds: int, rows: Sequence[Row] = ROWS) -> Iterator[dict[str, Any]]:
    """Yield what each row comes to, as JSON has it. Raises BenchError if RAM is not what was sent, or QEMU does not do its part."""
    for row in rows:
        bench = Bench(workshop, row.load)
        runs: dict[str, list[Run]] = {"qemu": [], "ours": []}
        for number in range(rounds):
            for who in ("qemu", "ours") if number % 2 == 0 else ("ours", "qemu"):
                _touch(row.load)
                runs[who].append(_run_of_qemu(bench, row, qemu) if who == "qemu" else bench.run("ours", row.setup))
        yield Result(row, runs["qemu"], runs["ours"]).json()


def _touch(load: Load) -> None:
    """Touch and free as much memory as a receiver takes."""
    with mmap.mmap(-1, load.pages * TARGET_PAGE_SIZE * (2 if load.colo else 1), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        memory.madvise(mmap.MADV_HUGEPAGE)
        memory.madvise(_POPULATE_WRITE)


def _run_of_qemu(bench: Bench, row: Row, qemu: Qemu) -> Run:
    """Let a QEMU receive a load, and compare the beginning of its RAM with what was sent."""
    setting = Setting(row.load.channels, row.load.compression, colo=row.load.colo)
    with tempfile.TemporaryDirectory(prefix="colofd-") as name:
        folder = Path(name)
        uri = address(folder) if row.setup.transport == "unix" else "tcp:127.0.0.1:0"
        try:
            with receiving(qemu, folder, setting, pages=row.load.pages, patience=SECONDS, is_shared=False, uri=uri) as machine:
                before = machine.cpu_seconds
                clocks = bench.send(_listening(machine, uri))
                run = Run(clocks, machine.cpu_seconds - before, machine.peak_kib)
                _compare(bench, row, machine, folder)
        except QemuFailed as error:
            raise BenchError(str(error)) from error
    return run


def _listening(machine: Machine, uri: str) -> str:
    """Return where QEMU listens: it chooses a port of TCP by itself."""
    if uri.startswith("unix:"):
        return uri
    (where,) = machine.migration()["socket-address"]
    return f"tcp:127.0.0.1:{where['port']}"


def _compare(bench: Bench, row: Row, machine: Machine, folder: Path) -> None:
    if row.load.compression is not Compression.NONE:
        return
    path, pages = folder / "ram", min(LOOKED_AT, row.load.pages)
    machine.command("pmemsave", val=0, size=pages * TARGET_PAGE_SIZE, filename=str(path))
    if digest(np.fromfile(path, np.uint8)) != bench.expected(pages):
        raise BenchError(f"qemu: RAM is not what was sent, in the row {row.name}; the run is worth nothing")


def lines(row: dict[str, Any], *, is_first: bool) -> Iterator[str]:
    """Yield the lines of a table for one row."""
    if is_first:
        yield f"{'row':26} {'MiB':>5} {'s QEMU':>8} {'ours':>7} {'times as fast':>18} {'CPU s QEMU':>11} {'ours':>6}"
    seconds, cpu = row["seconds"], row["cpu_seconds"]
    ratio = f"{row['ratio']:.2f} ({row['low']:.2f}-{row['high']:.2f})"
    times = f"{seconds['qemu']:8.3f} {seconds['ours']:7.3f} {ratio:>18} {cpu['qemu']:11.2f} {cpu['ours']:6.2f}"
    yield f"{row['name']:26} {row['mebibytes']:5} {times}"
