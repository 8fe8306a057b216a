"""What `colofd send` breaks in a schedule, on a real secondary: its RAM is always the last commit, as the primary had it."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from colofd.conformance.qemu.machine import Machine, QemuFailed
from colofd.conformance.qemu.provision import Qemu, QemuUnavailable, get

PAGES: Final = 300
SECONDS: Final = 60

Moves = list[dict[str, Any]]
CLOSE: Final[Moves] = [{"do": "end-pages"}, {"do": "device-state"}]
FIRST: Final[Moves] = [{"do": "write", "pages": [0, 1, 5], "content": 9}, {"do": "checkpoint"}, {"do": "rest"}, *CLOSE]
BEGIN: Final[Moves] = [
    {"do": "rest"},
    {"do": "end-precopy"},
    *FIRST,
    {"do": "write", "pages": [0, 1, 5], "content": 4},
    {"do": "checkpoint"},
]
"""Precopy, a whole checkpoint, and the beginning of another one."""
TAKE_OVER: Final[Moves] = [{"do": "die"}, {"do": "failover"}]
LATE: Final[Moves] = [{"do": "send", "channel": "mfd1", "pages": [5]}, {"do": "round", "silent": "mfd0"}]
"""A round whose SYNC of the first channel has not come, though the main channel has ended it."""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose path is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="colofd-") as path:
        yield Path(path)


@pytest.fixture
def secondary(folder: Path) -> Iterator[Machine]:
    """A real secondary that waits for two channels, and for QMP from somebody else, too."""
    with Machine(
        provisioned(),
        folder,
        "destination",
        block="ram",
        memory=PAGES * 4096,
        kind="none",
        is_incoming=True,
        is_stopped=True,
        arguments=["-qmp", f"unix:{folder / 'control'},server=on,wait=off"],
        patience=2.0,
    ) as machine:
        machine.enable("events", "multifd", "x-colo", "return-path")
        machine.command("migrate-set-parameters", multifd_channels=2)
        machine.command("migrate-incoming", uri=f"unix:{folder / 'm'}")
        yield machine


def provisioned() -> Qemu:
    try:
        return get("11.1")
    except QemuUnavailable as unavailable:
        pytest.skip(f"no QEMU 11.1 here: {unavailable}")


def send(folder: Path, moves: Moves, patience: float = 10.0) -> tuple[int, dict[str, Any]]:
    """Send a file with RAM, and make the moves; return the exit code and the report."""
    image = folder / "image"
    image.write_bytes(np.random.default_rng(7).bytes((PAGES - 100) * 4096) + bytes(100 * 4096))
    (folder / "schedule").write_text(json.dumps(moves))
    options = ["--channels", "2", "--colo", "--schedule", str(folder / "schedule"), "--qmp", str(folder / "control")]
    finished = subprocess.run(  # noqa: S603  # ours
        [
            sys.executable,
            "-m",
            "colofd.conformance",
            "send",
            f"unix:{folder / 'm'}",
            str(image),
            "--json",
            "--patience",
            str(patience),
            *options,
        ],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert finished.stdout, finished.stderr
    return finished.returncode, json.loads(finished.stdout)


@pytest.mark.parametrize(
    "moves",
    [
        [{"do": "cut", "channel": "mfd0", "pages": [0], "keep": 0.7}, *TAKE_OVER],
        [{"do": "cut", "channel": "main"}, *TAKE_OVER],
        [{"do": "send", "channel": "mfd1", "pages": [1]}, {"do": "silence", "seconds": 0.2}, *TAKE_OVER],
        [{"do": "rest"}, {"do": "failover", "yanks": True}],
        [{"do": "rest"}, {"do": "end-pages"}, *TAKE_OVER],
    ],
    ids=["a channel is cut in a payload", "the main channel is cut", "it dies", "yank", "it dies before its device state"],
)
def test_a_checkpoint_that_is_broken_off_leaves_the_last_one(secondary: Machine, folder: Path, moves: Moves) -> None:
    """Given a checkpoint that is broken off in some way, when the secondary takes over, then its RAM is the last commit."""
    moves = [*BEGIN, *moves]
    code, sent = send(folder, moves)
    assert (code, sent["ended_by"], sent["moves"], len(sent["commits"])) == (0, "", len(moves), 2)
    secondary.wait_for_migration("completed", within=5.0)
    assert secondary.digest() == sent["commits"][-1] != sent["commits"][0]


@pytest.mark.parametrize(
    "moves",
    [
        [{"do": "send", "channel": "mfd1", "pages": [0, 1]}, {"do": "silence", "seconds": 0.3}, {"do": "rest"}],
        [*LATE, {"do": "silence", "seconds": 0.1}, {"do": "send", "channel": "mfd0", "pages": [0, 1]}, {"do": "sync", "channel": "mfd0"}],
        [{"do": "send", "channel": "mfd0", "pages": [0, 1], "times": 2}, {"do": "rest"}],
    ],
    ids=["a stall", "one channel behind the other ones", "a packet twice"],
)
def test_a_checkpoint_that_comes_otherwise_is_the_same(secondary: Machine, folder: Path, moves: Moves) -> None:
    """Given a checkpoint that stalls, whose channels are out of step, or with a packet twice, then the secondary's RAM is the primary's."""
    moves = [*BEGIN, *moves, *CLOSE]
    code, sent = send(folder, moves)
    assert (code, sent["ended_by"], len(sent["commits"])) == (0, "", 3)
    assert secondary.digest() == sent["commits"][-1] != sent["commits"][-2]
    assert secondary.migration()["status"] == "colo"


def test_a_corrupt_packet_is_refused_and_changes_nothing(secondary: Machine, folder: Path) -> None:
    """Given a checkpoint with a packet whose magic is wrong, then the secondary says so, and its RAM is the last commit."""
    code, sent = send(folder, [*BEGIN, {"do": "send", "channel": "mfd0", "pages": [0, 1], "flipped": 0}, {"do": "silence", "seconds": 0.2}])
    assert (code, len(sent["commits"])) == (0, 2)
    secondary.wait_until(lambda: "magic" in secondary.migration().get("error-desc", ""), 5.0)
    assert secondary.digest() == sent["commits"][-1]


def test_a_failover_that_is_not_answered_is_told(secondary: Machine, folder: Path) -> None:
    """Given a round that lacks one SYNC, when the secondary is told to take over, then it hangs as is known, and that is said in time."""
    code, sent = send(folder, [*BEGIN, *LATE, {"do": "silence", "seconds": 0.2}, *TAKE_OVER], patience=2.0)
    assert (code, len(sent["commits"])) == (1, 2)
    assert "x-colo-lost-heartbeat: no answer within 2.0 s" in sent["ended_by"]
    with pytest.raises(QemuFailed, match="query-status: no answer within"):
        secondary.status()
    secondary.kill()
    assert secondary.digest() == sent["commits"][-1]
