"""`colofd send`: a capture or an image, into `colofd receive` and into a real QEMU; RAM is the same on both sides."""

import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from colofd.conformance.captures import find, load
from colofd.conformance.qemu.machine import Machine
from colofd.conformance.qemu.provision import Qemu, QemuUnavailable, get

COLOFD: Final = [sys.executable, "-m", "colofd.conformance"]
SECONDS: Final = 60
PAGES: Final = 300


@pytest.fixture
def qemu() -> Qemu:
    try:
        return get("11.1")
    except QemuUnavailable as unavailable:
        pytest.skip(f"no QEMU 11.1 here: {unavailable}")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose path is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="colofd-") as path:
        yield Path(path)


@pytest.fixture
def image(folder: Path) -> Path:
    """RAM: noise, and 100 pages of zeros at its end."""
    path = folder / "image"
    path.write_bytes(np.random.default_rng(7).bytes((PAGES - 100) * 4096) + bytes(100 * 4096))
    return path


class Receiving:
    """`colofd receive` in a process of its own."""

    def __init__(self, address: str, *options: str) -> None:
        command = [*COLOFD, "receive", address, "--json", "--digests", *options]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # noqa: S603  # ours
        assert self._process.stderr is not None
        assert "waiting on" in self._process.stderr.readline()

    def report(self) -> dict[str, Any]:
        """Return what it says at its end."""
        said, error = self._process.communicate(timeout=SECONDS)
        assert said, error
        report: dict[str, Any] = json.loads(said)
        return report


def send(*arguments: str) -> tuple[int, dict[str, Any]]:
    finished = subprocess.run(  # noqa: S603  # ours
        [*COLOFD, "send", *arguments, "--json", "--patience", "10"], capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert finished.stdout, finished.stderr
    return finished.returncode, json.loads(finished.stdout)


@pytest.mark.parametrize("name", ["precopy-mfd2-none", "qtest-colo-mfd4-zlib", "colo-main-only"])
def test_a_capture_is_received_as_it_was(folder: Path, name: str) -> None:
    """Given a recorded migration, when it is sent into `colofd receive`, then RAM is at each commit as it was, and so are the replies."""
    capture = load(find(name))
    options = ["--channels", str(capture.channels), "--compression", capture.compression.value, *["--colo"] * capture.colo]
    receiving = Receiving(f"unix:{folder / 'm'}", *options)
    code, sent = send(f"unix:{folder / 'm'}", name)
    report = receiving.report()
    assert (code, sent["ended_by"]) == (0, "")
    if capture.colo:
        received = [each["sha256"][capture.ram_block] for each in report["checkpoints"]]
        assert received == sent["commits"] == [each.sha256 for each in capture.checkpoints]
    else:
        assert [report["sha256"][capture.ram_block]] == sent["commits"] == [capture.final_sha256]


def test_what_was_recorded_is_replayed_and_sent_again(folder: Path, image: Path) -> None:
    """Given checkpoints of our primary, when they are received and recorded, then the capture replays with RAM equal at each commit."""
    receiving = Receiving(f"unix:{folder / 'm'}", "--channels", "2", "--colo", "--record", str(folder / "recorded"))
    code, sent = send(f"unix:{folder / 'm'}", str(image), "--channels", "2", "--colo", "--checkpoints", "3", "--dirty", "5")
    report = receiving.report()
    assert (code, len(sent["commits"])) == (0, 4)
    assert [each["sha256"]["ram"] for each in report["checkpoints"]] == sent["commits"]
    capture = load(folder / "recorded")
    assert [each.sha256 for each in capture.checkpoints] == sent["commits"]
    replay = subprocess.run(  # noqa: S603  # ours
        [*COLOFD, "replay", str(folder / "recorded")], capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert replay.returncode == 0, replay.stdout + replay.stderr
    assert [path.suffix for path in (folder / "recorded").iterdir() if path.suffix not in (".xz", ".json")] == []


def test_a_folder_with_a_capture_is_not_recorded_into(folder: Path) -> None:
    """Given a folder that holds a capture, when it is to be recorded into, then this is refused before anybody is waited for."""
    (folder / "meta.json").write_text("{}")
    command = [*COLOFD, "receive", f"unix:{folder / 'm'}", "--record", str(folder)]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)  # noqa: S603  # ours
    assert finished.returncode == 2
    assert "holds a capture: give another folder" in finished.stderr
    assert [path.name for path in folder.iterdir()] == ["meta.json"]


def test_a_destination_that_hangs_up_is_told(folder: Path) -> None:
    """Given a destination that expects another compression, when a capture is sent to it, then both say what is wrong."""
    receiving = Receiving(f"unix:{folder / 'm'}", "--channels", "2", "--compression", "zlib")
    code, sent = send(f"unix:{folder / 'm'}", "precopy-mfd2-none")
    assert receiving.report()["phase"] == "failed"
    assert code == 1
    assert sent["ended_by"]


def test_a_schedule_breaks_off_in_a_checkpoint(folder: Path, image: Path) -> None:
    """Given a schedule that cuts a channel in the second checkpoint, then the receiver is left with the first one, and says so."""
    moves = [
        {"do": "rest"},
        {"do": "end-precopy"},
        *[{"do": "write", "pages": [0, 299], "content": 3}, {"do": "checkpoint"}, {"do": "rest"}, {"do": "end-pages"}],
        {"do": "device-state"},
        *[{"do": "write", "pages": [0, 1], "content": 4}, {"do": "checkpoint"}, {"do": "send", "channel": "mfd1", "pages": [1]}],
        *[{"do": "cut", "channel": "mfd0", "pages": [0], "keep": 0.7}, {"do": "die"}],
    ]
    (folder / "schedule").write_text(json.dumps(moves))
    receiving = Receiving(f"unix:{folder / 'm'}", "--channels", "2", "--colo")
    code, sent = send(f"unix:{folder / 'm'}", str(image), "--channels", "2", "--colo", "--schedule", str(folder / "schedule"))
    report = receiving.report()
    assert (code, sent["moves"], sent["ended_by"], report["phase"]) == (0, len(moves), "", "failover")
    assert report["sha256"]["ram"] == sent["commits"][1] != sent["commits"][0]


@pytest.mark.parametrize(
    ("schedule", "why"),
    [
        ('[{"do": "dance"}]', "Invalid value 'dance'"),
        ('[{"do": "write", "pages": [300], "content": 1}]', "names a page that is not among 0 to 299"),
        ('[{"do": "cut", "channel": "mfd7"}]', "names the channel mfd7; there are main, mfd0"),
        ('[{"do": "sync", "channel": "mfd1"}]', "names the channel mfd1; there are main, mfd0"),
        ('[{"do": "failover"}]', "needs --qmp: somebody must be told"),
        ("{", "the schedule is none"),
    ],
)
def test_a_bad_schedule_is_refused(folder: Path, image: Path, schedule: str, why: str) -> None:
    """Given a schedule that cannot be played, then the message says why before anybody is connected to, and the exit code is 2."""
    (folder / "schedule").write_text(schedule)
    arguments = [f"unix:{folder / 'm'}", str(image), "--channels", "1", "--colo", "--schedule", str(folder / "schedule")]
    finished = subprocess.run([*COLOFD, "send", *arguments], capture_output=True, text=True, timeout=SECONDS, check=False)  # noqa: S603  # ours
    assert finished.returncode == 2
    assert why in finished.stderr


def test_nobody_there(image: Path, folder: Path) -> None:
    """Given an address where nobody listens, then the message says so, and the exit code is 2."""
    finished = subprocess.run(  # noqa: S603  # ours
        [*COLOFD, "send", f"unix:{folder / 'none'}", str(image)], capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert finished.returncode == 2
    assert "cannot be reached" in finished.stderr


@pytest.mark.parametrize("name", ["none-precopy-mfd2-none", "none-colo-mfd2-none"])
def test_a_real_qemu_takes_a_capture(qemu: Qemu, folder: Path, name: str) -> None:
    """Given a recorded migration of a machine without devices, when it is sent to a QEMU, then QEMU's RAM is what the source had."""
    capture = load(find(name))
    with destination(qemu, folder, capture.ram_bytes, capture.ram_block, colo=capture.colo) as machine:
        code, sent = send(f"unix:{folder / 'm'}", name)
        assert (code, sent["ended_by"]) == (0, "")
        assert machine.digest() == sent["commits"][-1]
        assert machine.migration()["status"] == ("colo" if capture.colo else "completed")


def test_a_real_qemu_takes_an_image_and_checkpoints(qemu: Qemu, folder: Path, image: Path) -> None:
    """Given a file with RAM, when our primary sends it and checkpoints to a QEMU and has it take over, then it has the last commit."""
    moves = [*[{"do": "rest"}, {"do": "end-precopy"}], {"do": "write", "pages": [0, 5], "content": 9}, {"do": "checkpoint"}, {"do": "rest"}]
    moves += [{"do": "end-pages"}, {"do": "device-state"}, {"do": "die"}, {"do": "failover"}]
    (folder / "schedule").write_text(json.dumps(moves))
    control = folder / "control"
    with destination(qemu, folder, PAGES * 4096, "ram", colo=True, arguments=["-qmp", f"unix:{control},server=on,wait=off"]) as machine:
        options = ["--channels", "2", "--colo", "--schedule", str(folder / "schedule"), "--qmp", str(control)]
        code, sent = send(f"unix:{folder / 'm'}", str(image), *options)
        assert (code, sent["moves"], len(sent["commits"])) == (0, len(moves), 2)
        assert machine.digest() == sent["commits"][-1] != hashlib.sha256(image.read_bytes()).hexdigest()
        machine.wait_for_migration("completed", within=5.0)


def destination(qemu: Qemu, folder: Path, memory: int, block: str, *, colo: bool, arguments: tuple[str, ...] | list[str] = ()) -> Machine:
    machine = Machine(
        qemu, folder, "destination", block=block, memory=memory, kind="none", is_incoming=True, is_stopped=True, arguments=arguments
    )
    machine.enable("events", "multifd", *(["x-colo", "return-path"] if colo else []))
    machine.command("migrate-set-parameters", multifd_channels=2)
    machine.command("migrate-incoming", uri=f"unix:{folder / 'm'}")
    return machine
