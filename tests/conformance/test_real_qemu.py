"""The receiver against a real QEMU as source and as COLO primary. Skipped, with the reason, where no QEMU can be had."""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from mmap import mmap
from pathlib import Path
from typing import Final

import numpy as np
import pytest

from colofd.conformance.incoming import Incoming
from colofd.conformance.qemu.guest_rom import Work, rom
from colofd.conformance.qemu.machine import Machine, QemuFailed
from colofd.conformance.qemu.provision import Qemu, QemuUnavailable, get
from colofd.impl import Block, Commit, Destination
from colofd.model.decode import Context

CHECKPOINTS: Final = 100
BUSY: Final = rom(Work(idle_loops=2000))


@pytest.fixture(params=["11.1"])
def qemu(request: pytest.FixtureRequest) -> Qemu:
    try:
        return get(request.param)
    except QemuUnavailable as unavailable:
        pytest.skip(f"no QEMU {request.param} here: {unavailable}")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose path is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="colofd-") as path:
        yield Path(path)


def fill(ram: mmap) -> None:
    ram[0x400000:0x500000] = np.random.default_rng(5).bytes(1 << 20)


def source(qemu: Qemu, folder: Path, *, is_stopped: bool = False) -> Machine:
    return Machine(qemu, folder, "source", rom=BUSY, fill=fill, is_stopped=is_stopped)


def prepare(machine: Machine, *, colo: bool, channels: int = 2) -> None:
    machine.enable("events", "multifd", *(["x-colo", "return-path"] if colo else []))
    machine.command("migrate-set-parameters", max_bandwidth=1 << 40, multifd_channels=channels)
    if colo:
        machine.command("migrate-set-parameters", x_checkpoint_delay=1)


def test_a_hundred_checkpoints_of_a_real_primary(qemu: Qemu, folder: Path) -> None:
    """Given a real primary whose guest writes, when it sends 100 checkpoints, then at each commit RAM is what the stopped primary has."""
    differing: list[int] = []
    address = f"unix:{folder / 'migration'}"
    # COLO starts the guest. One that has written in precopy would lose writes afterwards: see lost_writes.
    with source(qemu, folder, is_stopped=True) as primary, Incoming(address) as incoming:
        prepare(primary, colo=True)
        primary.command("migrate", uri=address)

        def compare(commit: Commit) -> None:
            if bytes(primary.ram) != commit.blocks["ram0"].tobytes():
                differing.append(commit.index)

        found = incoming.source(Context(channels=2, colo=True), 20.0)
        with Destination([Block(*block) for block in found.blocks], 2, colo=True, on_commit=compare) as destination:
            for each in found.sockets:
                destination.attach(each)
            for _ in range(3 - len(found.sockets)):
                destination.attach(incoming.accept(20.0))
            destination.wait_checkpoint(CHECKPOINTS, 60.0)
            destination.failover()
    assert differing == []


def test_the_command_receives_what_the_source_has(qemu: Qemu, folder: Path) -> None:
    """Given a real source, when `colofd receive` takes its guest, then the digest of RAM is that of the stopped source."""
    address = f"unix:{folder / 'migration'}"
    command = [sys.executable, "-m", "colofd.conformance", "receive", address, "--channels", "2", "--digests", "--json"]
    with source(qemu, folder) as machine, subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as receiver:  # noqa: S603  # ours
        prepare(machine, colo=False)
        machine.wait_until((folder / "migration").exists)
        machine.command("migrate", uri=address)
        said, _ = receiver.communicate(timeout=60)
        expected = machine.digest()
    report = json.loads(said)
    assert (receiver.returncode, report["phase"], report["sha256"]["ram0"]) == (0, "completed", expected)
    assert min(report["bytes"].values()) > 10_000, "each channel must have carried pages"


def test_a_refused_command_says_why(qemu: Qemu, folder: Path) -> None:
    """Given a QEMU, when it is asked what it does not know, then the error names the command and QEMU's words; nothing is left behind."""
    with source(qemu, folder) as machine, pytest.raises(QemuFailed, match="no-such-command was refused: The command no-such-command"):
        machine.command("no-such-command")
    assert list(folder.iterdir()) == []


def test_a_qemu_that_does_not_start_says_what_it_printed(qemu: Qemu, folder: Path) -> None:
    """Given arguments that QEMU does not know, when it is started, then the error holds what it printed."""
    with pytest.raises(QemuFailed, match="no-such-option"):
        Machine(qemu, folder, "source", arguments=["-no-such-option"])
    assert list(folder.iterdir()) == []


def test_progress_is_shown_while_checkpoints_come(qemu: Qemu, folder: Path) -> None:
    """Given a terminal, when `colofd receive` takes checkpoints of a real primary, then it shows how far it is."""
    address = f"unix:{folder / 'migration'}"
    command = [sys.executable, "-m", "colofd.conformance", "receive", address, "--channels", "2", "--colo", "--checkpoints", "40"]
    ours, theirs = os.openpty()
    with source(qemu, folder, is_stopped=True) as machine, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs) as receiver:  # noqa: S603  # ours
        os.close(theirs)
        prepare(machine, colo=True)
        machine.wait_until((folder / "migration").exists)
        machine.command("migrate", uri=address)
        said, _ = receiver.communicate(timeout=60)
    shown = os.read(ours, 1 << 16).decode()
    os.close(ours)
    assert re.search(r"\d+ pages, \d+ rounds, \d+\.\d+ GiB, \d+\.\d+ GiB/s, commit \d+: \d+ dirty pages, flush \d+\.\d+ ms", shown), shown
    assert b" rounds by 3 channels" in said
