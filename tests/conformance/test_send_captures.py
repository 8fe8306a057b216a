"""Every shipped capture, sent by `colofd send` into a real QEMU of the version that it was recorded from: RAM is what its source had."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from colofd.conformance.captures import Capture, load, shipped
from colofd.conformance.outgoing import connector
from colofd.conformance.qemu.guest_rom import Work, rom
from colofd.conformance.qemu.machine import Machine
from colofd.conformance.qemu.provision import VERSIONS, Qemu, QemuUnavailable, get
from colofd.conformance.send_command import send_capture


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose path is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="colofd-") as path:
        yield Path(path)


def recorded_from(capture: Capture) -> Qemu:
    version = next((each for each in VERSIONS if capture.qemu.startswith(each)), VERSIONS[-1])
    try:
        return get(version)
    except QemuUnavailable as unavailable:
        pytest.skip(f"no QEMU {version} here: {unavailable}")


def destination(qemu: Qemu, folder: Path, capture: Capture) -> Machine:
    """Start a machine of the capture's type whose CPUs do not run, in COLO neither, so that RAM changes by migration only."""
    has_devices = capture.machine != "none"
    return Machine(
        qemu,
        folder,
        "destination",
        block=capture.ram_block,
        memory=capture.ram_bytes,
        kind=capture.machine,
        rom=rom(Work()) if has_devices else None,
        accelerator="qtest" if has_devices and capture.colo else "tcg",
        is_incoming=True,
        is_stopped=True,
    )


@pytest.mark.parametrize("path", shipped(), ids=lambda path: path.name)
def test_a_real_qemu_takes_every_capture(folder: Path, path: Path) -> None:
    """Given a capture, when it is sent into a QEMU of its version, then it replies as recorded, and its RAM is what the source had."""
    capture = load(path)
    with destination(recorded_from(capture), folder, capture) as machine:
        machine.enable("events", *["multifd"] * bool(capture.channels), *["x-colo", "return-path"] * capture.colo)
        if capture.channels:
            machine.command("migrate-set-parameters", multifd_channels=capture.channels, multifd_compression=capture.compression.value)
        machine.command("migrate-incoming", uri=f"unix:{folder / 'm'}")
        sent = send_capture(connector(f"unix:{folder / 'm'}", 10.0), capture, 10.0)
        assert sent["ended_by"] == ""
        assert machine.digest() == sent["commits"][-1]
        assert machine.migration()["status"] == ("colo" if capture.colo else "completed")
