"""A standby: its commands, with a primary of ours; what it keeps can be sent as a migration. Real QEMUs are in test_standby_trials.py."""

import hashlib
import json
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import pytest
from click.testing import CliRunner, Result

from colofd.conformance.command import colofd
from colofd.conformance.outgoing import connector
from colofd.conformance.peer import page_content
from colofd.conformance.primary import Dialect, Primary
from colofd.conformance.primary_schedule import generated, play
from colofd.conformance.resumption import NotResumed, Resumed, migration_of
from colofd.conformance.standby import Committed
from colofd.conformance.standby_command import live_line
from colofd.conformance.subjects import Options
from colofd.impl import Block, Destination
from colofd.impl.store import Kept, open_store
from colofd.impl.store.record import RecordId
from colofd.spec.constants import TARGET_PAGE_SIZE

PAGES: Final = 64
SECONDS: Final = 20.0
SECRET: Final = b"nobody may read this in a log"


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short name, for sockets."""
    with tempfile.TemporaryDirectory(prefix="colofd-") as name:
        yield Path(name)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(colofd, [str(each) for each in arguments])


class Pair:
    """A primary of ours for `colofd standby`: what it had at each checkpoint, and what the standby says at the end."""

    def __init__(self, folder: Path, *options: object, checkpoints: int = 4, machine: str = "none", pages: int = PAGES) -> None:
        address = f"unix:{folder / 'm'}"
        self.digests: list[str] = []
        sender = threading.Thread(target=self._send, args=(address, checkpoints, machine, pages), daemon=True)
        sender.start()
        self.result = run("standby", address, "--store", folder / "store", "--channels", 2, *options)
        sender.join(SECONDS)

    def _send(self, address: str, checkpoints: int, machine: str, pages: int) -> None:
        end = time.monotonic() + SECONDS
        while not (primary := self._connected(address, machine, pages)):
            assert time.monotonic() < end, "nobody listens"
            time.sleep(0.01)
        primary.ram[: pages // 2] = [page_content(number + 1, TARGET_PAGE_SIZE) for number in range(pages // 2)]
        # Some of them are not written by the schedule.
        primary.ram[8:24] = [SECRET.ljust(TARGET_PAGE_SIZE, b"\0")] * 16
        try:
            self.digests = play(primary, generated(pages, checkpoints, 8, 1)).commits
        finally:
            primary.close()

    @staticmethod
    def _connected(address: str, machine: str, pages: int) -> Primary | None:
        try:
            return Primary(Options(pages=pages, channels=2, colo=True), connector(address, SECONDS), SECONDS, Dialect(machine=machine))
        except Exception:  # noqa: BLE001  # it does not listen yet
            return None


def ram_of(store: Path, index: int | None = None) -> str:
    with open_store(store) as opened, opened.checkpoint(index) as reader:
        return hashlib.sha256(b"".join(rows.tobytes() for _, rows in reader.pages())).hexdigest()


def test_a_standby_keeps_what_the_primary_had(folder: Path) -> None:
    """Given a primary that makes checkpoints and goes, then the store has the last ones, and the standby says so and ends with 0."""
    pair = Pair(folder, "--keep", 2)
    assert pair.result.exit_code == 0, pair.result.output
    assert "the primary is gone" in pair.result.output
    assert f"checkpoint 4 is in {folder / 'store'}" in pair.result.output
    assert len(pair.digests) == 5
    for index in (3, 4):
        assert ram_of(folder / "store", index) == pair.digests[index]


def test_what_is_kept_can_be_migrated(folder: Path) -> None:
    """Given a checkpoint, when it is sent as an ordinary migration, then a destination has the RAM that the primary had."""
    pair = Pair(folder)
    near, far = socket.socketpair()
    with Destination([Block("ram", PAGES * TARGET_PAGE_SIZE)], 0, machine="none") as destination:
        destination.attach(far)
        with open_store(folder / "store") as opened, opened.checkpoint() as reader, near:
            for piece in migration_of(reader):
                near.sendall(piece)
        destination.wait(SECONDS)
        assert hashlib.sha256(destination.guest("ram").data).hexdigest() == pair.digests[-1]


def test_the_log_tells_of_commits_and_nothing_of_ram(folder: Path) -> None:
    """Given --log, then each commit is a line of JSON, only the owner may read it, and nothing of RAM is in it, or printed."""
    log = folder / "log"
    pair = Pair(folder, "--log", log)
    events = [json.loads(line) for line in log.read_text().splitlines()]
    assert [each["event"] for each in events] == ["begin", *["commit"] * 5, "end"]
    assert [each["index"] for each in events[1:-1]] == list(range(5))
    assert all(each["durable_milliseconds"] > 0 and each["record_bytes"] > 0 for each in events[1:-1])
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert SECRET not in log.read_bytes() + pair.result.output.encode()
    assert SECRET in b"".join(each.read_bytes() for each in (folder / "store").iterdir())


def test_another_machine_is_refused(folder: Path) -> None:
    """Given a store, when a primary of another machine type or size comes, then it is refused with what differs, and the store stays."""
    kept = Pair(folder).digests[-1]
    for pair, differs in (
        (Pair(folder, machine="pc"), "machine type pc here and none in the store"),
        (Pair(folder, pages=2 * PAGES), "RAM ram of 524288 bytes here and ram of 262144 bytes in the store"),
    ):
        assert pair.result.exit_code == 2
        assert differs in pair.result.output
    assert ram_of(folder / "store") == kept


def test_a_foreign_folder_is_refused_before_anybody_connects(folder: Path) -> None:
    """Given a folder with other things, then the standby does not listen."""
    (folder / "store").mkdir()
    (folder / "store" / "letters").touch()
    result = run("standby", f"unix:{folder / 'm'}", "--store", folder / "store")
    assert (result.exit_code, "not empty: it has letters" in result.output) == (2, True)


def test_nobody_comes(folder: Path) -> None:
    """Given no primary, then the standby ends with 2, and says so; another kind of address is none."""
    result = run("standby", f"unix:{folder / 'm'}", "--store", folder / "store", "--patience", 0.1)
    assert (result.exit_code, "0 channels connected" in result.output) == (2, True)
    result = run("standby", "rdma:here", "--store", folder / "store")
    assert (result.exit_code, "an address is" in result.output) == (2, True)


def test_a_store_is_listed_verified_and_exported(folder: Path) -> None:
    """Given a store, then its checkpoints are listed, found well, and written as raw RAM and device state; a second export is refused."""
    store, out = folder / "store", folder / "out"
    pair = Pair(folder, "--keep", 3)
    listed = run("store", "list", store)
    assert listed.exit_code == 0
    assert [line.split(":")[0] for line in listed.output.splitlines()[-3:]] == ["checkpoint 2", "checkpoint 3", "checkpoint 4"]
    described = json.loads(run("store", "list", "--json", store).output)
    # Some may wait to be merged.
    count = len(described["checkpoints"])
    assert (described["machine"], count >= 3) == ("none", True)
    verified = run("store", "verify", store)
    assert (verified.exit_code, verified.output.count(f"{PAGES} pages are as they were written")) == (0, count)
    assert run("store", "export", store, out).exit_code == 0
    assert hashlib.sha256((out / "ram.ram").read_bytes()).hexdigest() == pair.digests[-1]
    assert (out / "device-state").read_bytes() == b"\0"
    assert {stat.S_IMODE(each.stat().st_mode) for each in out.iterdir()} == {0o600}
    assert isinstance(run("store", "export", store, out).exception, FileExistsError)


def test_damage_is_said(folder: Path) -> None:
    """Given a store with a damaged page, or record, then verify, export, list and resume say so, and export gives out nothing of it."""
    store = folder / "store"
    Pair(folder)
    record = max(store.glob("*.checkpoint"))
    whole = record.read_bytes()
    record.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
    assert (run("store", "verify", store).exit_code, run("store", "list", store).exit_code) == (1, 0)
    exported = run("store", "export", store, folder / "out")
    assert (exported.exit_code, "is damaged" in exported.output) == (1, True)
    record.write_bytes(whole[:-1])
    listed = run("store", "list", store)
    assert (listed.exit_code, "is damaged" in listed.output) == (1, True)
    resumed = run("resume", store, "--", "false")
    assert (resumed.exit_code, "is damaged" in resumed.output) == (2, True)


@pytest.mark.parametrize("arguments", [("list",), ("verify",), ("export", "out")])
def test_what_is_no_store_is_refused(folder: Path, arguments: Sequence[str]) -> None:
    """Given an empty folder, then the commands say that it is no store, and end with 2."""
    result = run("store", arguments[0], folder, *(folder / each for each in arguments[1:]))
    assert (result.exit_code, "is no store" in result.output) == (2, True)


def test_a_program_that_is_no_qemu_is_told(folder: Path) -> None:
    """Given a store, when something else than QEMU is started, or it does not answer, then resume ends with 1 and says what happened."""
    Pair(folder)
    ended = run("resume", folder / "store", "--", "false")
    assert (ended.exit_code, "QEMU has ended with 1" in ended.output) == (1, True)
    silent = run("resume", "--patience", 0.2, folder / "store", "--", sys.executable, "-c", "import time; time.sleep(60)")
    assert (silent.exit_code, "says nothing by QMP within 0.2 s" in silent.output) == (1, True)
    missing = run("resume", folder / "store", "--", folder / "nothing")
    assert isinstance(missing.exception, FileNotFoundError)


def test_a_standby_on_a_store_is_alone(folder: Path) -> None:
    """Given a standby that waits, then a second one and a resume are refused, and a list is not; when it is killed, all may."""
    store = folder / "store"
    Pair(folder)
    waiting = subprocess.Popen(  # noqa: S603  # it is ours
        [sys.executable, "-m", "colofd.conformance", "standby", f"unix:{folder / 'n'}", "--store", str(store)],
        stderr=subprocess.PIPE,
        text=True,
    )
    with waiting:
        assert waiting.stderr is not None
        assert "waiting on" in waiting.stderr.readline()
        for command in (
            ("standby", f"unix:{folder / 'm'}", "--store", store),
            ("resume", store, "--", "false"),
            ("store", "verify", store),
        ):
            refused = run(*command)
            assert (refused.exit_code, "is in use" in refused.output) == (2, True)
        assert run("store", "list", store).exit_code == 0
        waiting.kill()
    assert run("store", "verify", store).exit_code == 0


def test_a_full_disk_stops_replication(folder: Path) -> None:
    """Given a limit on the size of files, when a checkpoint does not fit, then the standby ends with 1 and says how old the last one is."""
    command = "import resource, signal; from colofd.conformance.command import main; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    command += f"resource.setrlimit(resource.RLIMIT_FSIZE, ({PAGES * TARGET_PAGE_SIZE},) * 2); main()"
    address = f"unix:{folder / 'm'}"
    arguments = [sys.executable, "-c", command, "standby", address, "--store", str(folder / "store")]
    with subprocess.Popen(  # noqa: S603  # it is ours
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as standby:
        assert standby.stderr is not None
        assert "waiting on" in standby.stderr.readline()
        options = Options(pages=PAGES, channels=0, colo=True)
        primary = Primary(options, connector(address, SECONDS), SECONDS, Dialect())
        # The first checkpoint has some pages; the second one all of them, and what is written beside the pages does not fit any more.
        primary.ram[:8] = [page_content(1, TARGET_PAGE_SIZE)] * 8
        try:
            sent = play(primary, generated(PAGES, 1, 8 * PAGES, 1))
        finally:
            primary.close()
        said, _ = standby.communicate(timeout=SECONDS)
    assert (len(sent.commits), standby.returncode) == (1, 1)
    assert "File too large; checkpoint 0 is intact, and" in said
    assert ram_of(folder / "store") == sent.commits[0]


def test_the_live_line_tells_how_it_goes() -> None:
    """Given the last checkpoint, then one line tells its age, its dirty pages, how long it took, the pause, and bytes per second."""
    assert live_line("precopy", None, 12.34, 0.0) == "precopy: no checkpoint yet, 12.3 MiB/s"
    last = Committed(Kept(RecordId(1, 7), 100.0, 20, 3, 1 << 20, 100, 0.0056), 0.0123)
    expected = "idle: checkpoint 7 is 1.5 s old, 23 dirty pages, 1.0 MiB durable in 5.6 ms, pause 12.3 ms, 3.0 MiB/s"
    assert live_line("idle", last, 3.0, 101.5) == expected


def test_a_qemu_that_is_none_leaves_nothing() -> None:
    """Given a program that ends at once, then what was made for it is removed."""
    before = set(Path(tempfile.gettempdir()).glob("colofd-*"))
    with pytest.raises(NotResumed):
        Resumed(["false"], 1.0)
    assert set(Path(tempfile.gettempdir()).glob("colofd-*")) <= before
