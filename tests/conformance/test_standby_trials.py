"""Standbys and real QEMUs: a slice of the trials, a resume by the command, and what is counted. Skipped where no QEMU can be had."""

import hashlib
import json
import socket
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from colofd.conformance.qemu.counting_guest import BASE, STATE, Counting, what_is_wrong
from colofd.conformance.qemu.provision import Qemu, QemuUnavailable, get
from colofd.conformance.qemu.standby_costs import Cost, Who, _pauses, costs_table
from colofd.conformance.qemu.standby_trials import End, Trial, standby_trials, table
from colofd.conformance.qemu_standby_command import NEW, accelerator
from colofd.impl import Block
from colofd.impl.store import Identity, StoreWriter, claim_for_writing
from colofd.spec.constants import TARGET_PAGE_SIZE

PAGES = 300
SECONDS = 20.0
WORK = Counting(pages=4)


@pytest.fixture
def qemu() -> Qemu:
    try:
        return get(NEW)
    except QemuUnavailable as unavailable:
        pytest.skip(f"no QEMU {NEW} here: {unavailable}")


def test_a_guest_goes_on_from_what_was_answered(qemu: Qemu) -> None:
    """Given real primaries that are ended in every way, then each time the guest goes on from the last checkpoint, and finds no error."""
    trials = list(standby_trials(qemu, accelerator(), len(End), 11))
    assert [each.end for each in trials] == list(End)
    assert [each.wrong for each in trials] == [""] * len(End)
    assert all(each.answered >= 0 and each.steps > 0 for each in trials)


def quit_by_qmp(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as control:
        control.connect(str(path))
        with control.makefile("rwb") as lines:
            for name in ("qmp_capabilities", "quit"):
                lines.readline()
                lines.write(json.dumps({"execute": name}).encode() + b"\n")
                lines.flush()


def test_the_command_starts_a_qemu(qemu: Qemu) -> None:
    """Given a store, when `colofd resume` starts a QEMU whose RAM was dirty, then it has the checkpoint; with more RAM it is refused."""
    ram = np.random.default_rng(1).integers(0, 256, (PAGES, TARGET_PAGE_SIZE), np.uint8)
    ram[10:40] = 0
    with tempfile.TemporaryDirectory(prefix="colofd-") as name:
        folder = Path(name)
        identity = Identity("none", TARGET_PAGE_SIZE, (Block("ram", ram.nbytes),))
        with claim_for_writing(folder / "store") as claim, StoreWriter(claim, identity) as store:
            store.keep(0, b"\0", np.ones(PAGES, np.bool_), ram)
        file = folder / "ram"
        for more in (0, 8 * TARGET_PAGE_SIZE):
            size = ram.nbytes + more
            file.write_bytes(b"\xee" * size)
            command = [sys.executable, "-m", "colofd.conformance", "resume", str(folder / "store"), "--", str(qemu.program), "-nographic"]
            command += [
                "-nodefaults",
                "-object",
                f"memory-backend-file,id=ram,size={size},mem-path={file},share=on",
                "-m",
                f"{size // 1024}K",
            ]
            command += ["-M", "none,memory-backend=ram", "-qmp", f"unix:{folder / 'qmp'},server=on,wait=off"]
            with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as resumed:  # noqa: S603
                assert resumed.stderr is not None
                if not more:
                    said = iter(resumed.stderr.readline, "")
                    assert any("the guest runs" in line for line in said)
                    assert hashlib.sha256(file.read_bytes()).hexdigest() == hashlib.sha256(ram.data).hexdigest()
                    quit_by_qmp(folder / "qmp")
                _, error = resumed.communicate(timeout=SECONDS)
            assert resumed.returncode == bool(more), error
            assert not more or "does not take the checkpoint" in error


def event(name: str, seconds: float) -> dict[str, Any]:
    return {"event": name, "timestamp": {"seconds": int(seconds), "microseconds": round(seconds % 1 * 1e6)}}


def test_a_pause_is_from_stop_to_resume() -> None:
    """Given events of a primary, then a pause lasts from STOP to RESUME; a RESUME without a STOP is none."""
    events = [event("RESUME", 1.0), event("STOP", 2.0), event("MIGRATION", 2.1), event("RESUME", 2.25), event("STOP", 3.0)]
    assert _pauses(events) == [0.25]


def test_costs_stand_beside_each_other() -> None:
    """Given two costs, then the table has both."""
    lines = costs_table([Cost(Who.QEMU, 0.01, 10.0, 20.0, 600.0, 50.0), Cost(Who.STANDBY, 0.01, 9.0, 21.0, 300.0, 10.0)]).splitlines()
    assert lines[2:] == [
        "| 1% | QEMU's secondary | 10.0 ms | 20.0 ms | 600 MiB | 50 ms |",
        "| 1% | colofd standby | 9.0 ms | 21.0 ms | 300 MiB | 10 ms |",
    ]


def ram_at(number: int, written: int = 0) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    """Return RAM of a guest that has come to this number, and has written so many words of the page at hand."""
    ram = np.zeros(BASE + WORK.pages * TARGET_PAGE_SIZE, np.uint8)
    ram[STATE : STATE + 4].view("<u4")[:] = number
    pages = ram[BASE:].view("<u4").reshape(WORK.pages, -1)
    for step in range(number):
        pages[step % WORK.pages] = step
    pages[number % WORK.pages][:written] = number
    return ram


@pytest.mark.parametrize("written", [0, 1, 1023, 1024])
@pytest.mark.parametrize("number", [4, 5, 11])
def test_ram_of_one_moment_is_right(number: int, written: int) -> None:
    """Given RAM of a guest in the middle of any step, then nothing is wrong."""
    assert not what_is_wrong(ram_at(number, written), WORK)


def test_torn_ram_is_found() -> None:
    """Given RAM in which a page is of another step than the number, or half of one, or the guest has found an error, then that is said."""
    newer, older = ram_at(11), ram_at(9)
    for page in range(4):
        torn = newer.copy()
        its = slice(BASE + page * TARGET_PAGE_SIZE, BASE + (page + 1) * TARGET_PAGE_SIZE)
        torn[its] = older[its]
        assert bool(what_is_wrong(torn, WORK)) == bool((newer[its] != older[its]).any())
    newer[BASE + 5 * 4] ^= 1
    assert "pages [0] are not of step 11" in what_is_wrong(newer, WORK)
    newer[STATE + 4] = 2
    assert "found 2 errors" in what_is_wrong(newer, WORK)


def test_the_table_counts_what_went_wrong() -> None:
    """Given three trials, one ahead and one lost, then the table says so."""
    well = Trial(End.LINE, 0.1, 2, "none", answered=4, found=4)
    lines = table([well, replace(well, found=5, was_ahead=True), replace(well, found=3, wrong="lost")]).splitlines()
    assert lines[-1] == "| all | 3 | 15 | 1 | 1 | 1 |"
    assert lines[2] == "| kill -9 of the primary | 0 | 0 | 0 | 0 | 0 |"
