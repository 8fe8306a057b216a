"""Kills primaries and standbys at random moments, and starts the guest again from the store: nothing may be torn, nothing lost.

The primary is a real QEMU whose guest checks its own memory. What it had at each answer is noted at the primary itself, which stands still
then, by a tap on the line: so the standby is not asked what it has answered.
"""

import hashlib
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from colofd.conformance.qemu.counting_guest import Counting, counting_rom, state_of, what_is_wrong
from colofd.conformance.qemu.machine import MEBIBYTE, Machine, QemuFailed
from colofd.conformance.qemu.provision import Qemu
from colofd.conformance.qemu.tap import Tap
from colofd.conformance.resumption import NotResumed, Resumed
from colofd.impl.store import CheckpointReader, StoreError, open_store
from colofd.spec.constants import Compression

SECONDS: Final = 20.0
"""How long anything may take."""

_BLOCK: Final = "ram"
_MEMORY: Final = 8 * MEBIBYTE
_LONGEST_LIFE: Final = 0.6
"""Seconds from the first answer to the end, at most."""

_POLL_SECONDS: Final = 0.01
_WORK: Final = {"kvm": Counting(pages=64, idle_loops=1), "tcg": Counting(pages=256, idle_loops=20_000)}


class End(StrEnum):
    """What is ended."""

    PRIMARY = "kill -9 of the primary"
    STANDBY = "kill -9 of the standby"
    BOTH = "kill -9 of both"
    LINE = "all sockets cut"


@dataclass
class Trial:
    """One trial: how it was ended after how many seconds, how many checkpoints were answered, and which one the store has.

    Attributes:
        was_ahead: the store has one that was not answered yet.
        steps: by how much the guest has counted on, after it was started again.
        wrong: what went wrong; nothing, if all is well.
    """

    end: End
    seconds: float
    channels: int
    compression: str
    answered: int = -1
    found: int = -1
    was_ahead: bool = False
    number: int = 0
    steps: int = 0
    wrong: str = ""


@dataclass
class _Ledger:
    """Digests of the primary's RAM at each answer, the first one to CHECKPOINT_READY."""

    machine: Machine
    digests: list[str] = field(default_factory=list)

    def note(self) -> None:
        self.digests.append(self.machine.digest())


def standby_trials(
    qemu: Qemu, accelerator: str, count: int, seed: int, progress: Callable[[str], None] = lambda _what: None
) -> Iterator[Trial]:
    """Yield trials, with the ways to end in turns. The guest of a primary under `tcg` begins when COLO does: see `lost_writes` for why."""
    draw = random.Random(seed)  # noqa: S311  # not a secret
    ends = list(End)
    for number in range(count):
        progress(f"trial {number + 1} of {count}")
        compression = draw.choice(list(Compression)).value
        trial = Trial(ends[number % len(ends)], draw.uniform(0, _LONGEST_LIFE), draw.choice((0, 2, 4)), compression)
        with tempfile.TemporaryDirectory(prefix="colofd-") as folder:
            _try(qemu, accelerator, Path(folder), trial, draw.choice((1, 2, 4)), draw.choice((1, 10, 50)))
        yield trial


def _try(qemu: Qemu, accelerator: str, folder: Path, trial: Trial, keep: int, delay: int) -> None:
    try:
        digests, last = _end_it(qemu, accelerator, folder, trial, keep, delay)
        with open_store(folder / "store") as opened:
            trial.found = opened.saved[-1].id.index if opened.saved else -1
            for each in opened.saved[:-1]:
                with opened.checkpoint(each.id.index) as reader:
                    _require_equal(_ram_of(reader), digests[each.id.index], f"checkpoint {each.id.index}, which was kept,")
            with opened.checkpoint() as reader:
                _judge(trial, reader, digests, last, accelerator)
                _go_on(qemu, accelerator, folder, reader, trial)
    except (QemuFailed, NotResumed, StoreError, OSError, TimeoutError, _Wrong) as error:
        trial.wrong = str(error)


class _Wrong(Exception):  # noqa: N818  # says what is the case
    """The trial has shown something."""


def _end_it(qemu: Qemu, accelerator: str, folder: Path, trial: Trial, keep: int, delay: int) -> tuple[list[str], str]:
    """Run a pair and end it; return the primary's RAM at each answer, and at its end."""
    with _primary(qemu, accelerator, folder, trial, delay) as machine, _standby(folder, trial, keep) as standby:
        ledger = _Ledger(machine)
        with Tap(folder / "tap", folder / "migration", ledger.note, SECONDS) as tap:
            machine.command("migrate", uri=f"unix:{folder / 'tap'}")
            machine.wait_until(lambda: bool(ledger.digests) or standby.poll() is not None, SECONDS)
            time.sleep(trial.seconds)
            if trial.end is End.LINE:
                tap.cut()
            if trial.end in {End.STANDBY, End.BOTH}:
                standby.kill()
            if trial.end in {End.PRIMARY, End.BOTH}:
                machine.kill()
            if trial.end in {End.PRIMARY, End.LINE} and standby.wait(SECONDS):
                raise _Wrong(f"the standby ended with {standby.returncode}: {(folder / 'standby.log').read_text()}")
            standby.wait(SECONDS)
            machine.kill()
            tap.drain(SECONDS)
            last = machine.digest()
    trial.answered = len(ledger.digests) - 1
    return ledger.digests, last


@contextmanager
def _primary(qemu: Qemu, accelerator: str, folder: Path, trial: Trial, delay: int) -> Iterator[Machine]:
    with Machine(
        qemu,
        folder,
        "primary",
        memory=_MEMORY,
        block=_BLOCK,
        accelerator=accelerator,
        rom=counting_rom(_WORK[accelerator]),
        is_stopped=accelerator == "tcg",
        patience=SECONDS,
    ) as machine:
        machine.enable("events", "x-colo", "return-path", *["multifd"] * bool(trial.channels))
        parameters: dict[str, Any] = {"max_bandwidth": 1 << 40, "x_checkpoint_delay": delay}
        if trial.channels:
            parameters |= {"multifd_channels": trial.channels, "multifd_compression": trial.compression}
        machine.command("migrate-set-parameters", **parameters)
        yield machine


@contextmanager
def _standby(folder: Path, trial: Trial, keep: int) -> Iterator["subprocess.Popen[bytes]"]:
    command = [sys.executable, "-m", "colofd.conformance", "standby", f"unix:{folder / 'migration'}", "--store", str(folder / "store")]
    command += ["--keep", str(keep), "--channels", str(trial.channels), "--compression", trial.compression if trial.channels else "none"]
    said = folder / "standby.log"
    with said.open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        end = time.monotonic() + SECONDS
        while "waiting on" not in said.read_text():
            if process.poll() is not None or time.monotonic() > end:
                raise _Wrong(f"the standby does not listen: {said.read_text()}")
            time.sleep(_POLL_SECONDS)
        yield process
    finally:
        process.kill()
        process.wait()


def _ram_of(reader: CheckpointReader) -> npt.NDArray[np.uint8]:
    """Return RAM of a checkpoint; each page is checked on the way."""
    rows = np.concatenate([np.array(rows) for _, rows in reader.pages()])
    flat: npt.NDArray[np.uint8] = rows[reader.identity.layout.pages_of(_BLOCK)].reshape(-1)
    return flat


def _require_equal(ram: npt.NDArray[np.uint8], digest: str, what: str) -> None:
    if hashlib.sha256(ram.data).hexdigest() != digest:
        raise _Wrong(f"{what} is not what the primary had")


def _judge(trial: Trial, reader: CheckpointReader, digests: list[str], last: str, accelerator: str) -> None:
    """Compare the last checkpoint in the store with what the primary had: it is the last one answered, or the one after."""
    if not trial.answered <= trial.found <= trial.answered + 1:
        raise _Wrong(f"lost: checkpoint {trial.answered} was answered, and the store has {trial.found}")
    trial.was_ahead = trial.found > trial.answered
    ram = _ram_of(reader)
    # One that was not answered is what the primary still had when it was ended: it was waiting for the answer.
    _require_equal(ram, last if trial.was_ahead else digests[trial.found], f"torn: checkpoint {trial.found}")
    trial.number, _ = state_of(ram)
    if wrong := what_is_wrong(ram, _WORK[accelerator]):
        raise _Wrong(f"torn: {wrong}")


def _go_on(qemu: Qemu, accelerator: str, folder: Path, reader: CheckpointReader, trial: Trial) -> None:
    """Start the guest from the checkpoint, and let it check all of its pages."""
    work = _WORK[accelerator]
    ram_file, rom_file = folder / "resumed.ram", folder / "resumed.rom"
    rom_file.write_bytes(counting_rom(work))
    command = [str(qemu.program), "-nodefaults", "-nographic", "-accel", accelerator, "-m", f"{_MEMORY // 1024}K"]
    command += ["-object", f"memory-backend-file,id={_BLOCK},size={_MEMORY},mem-path={ram_file},share=on"]
    command += ["-M", f"pc,memory-backend={_BLOCK}", "-bios", str(rom_file)]
    with Resumed(command, SECONDS) as resumed:
        resumed.load(reader)
        ram = np.memmap(ram_file, np.uint8, "r")
        begin, _ = state_of(ram)
        if begin != trial.number:
            raise _Wrong(f"the guest begins at {begin}, and the checkpoint has {trial.number}")
        resumed.run()
        end = time.monotonic() + SECONDS
        while (now := state_of(ram))[0] < begin + 2 * work.pages and not now[1] and time.monotonic() < end:
            time.sleep(_POLL_SECONDS)
    number, errors = state_of(ram)
    trial.steps = number - begin
    if errors or trial.steps < work.pages:
        raise _Wrong(f"the guest has counted from {begin} to {number}, and found {errors} errors")


def table(trials: list[Trial]) -> str:
    """Return a table: for each way to end, how many trials there were and what they have shown."""
    rows = ["| ended by | trials | checkpoints answered | goes on from the last answered | from the one after | torn or lost |"]
    rows += ["| --- | --- | --- | --- | --- | --- |"]
    for end in (*End, None):
        those = [each for each in trials if end in {None, each.end}]
        ahead = sum(each.was_ahead and not each.wrong for each in those)
        wrong = sum(bool(each.wrong) for each in those)
        cells = (end or "all", len(those), sum(each.answered + 1 for each in those), len(those) - ahead - wrong, ahead, wrong)
        rows.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(rows)
