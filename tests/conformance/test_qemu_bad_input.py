"""QEMUs that cannot be had, that do not start, die or refuse: each has its own message, and nothing is left behind."""

import os
import socket
import stat
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from colofd.conformance.command import colofd
from colofd.conformance.outgoing import NotReached, tell_to_take_over
from colofd.conformance.qemu import machine as machine_module
from colofd.conformance.qemu.machine import Machine, QemuFailed
from colofd.conformance.qemu.provision import Qemu, QemuUnavailable, get, named

SAYS_ITS_VERSION = 'case "$*" in *--version*) echo "QEMU emulator version 11.1.3 (Debian)"; exit 0;; esac\n'


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose path is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="colofd-") as path:
        yield Path(path)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that nothing was provisioned into."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "colofd" / "qemu"


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(colofd, arguments)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("qemu", "latch", "--qemu", "9.9"), "9.9 is neither one of the versions 7.2, 10.0, 11.1 nor the path of a program"),
        (("qemu", "checkpoints", "--qemu", "/nowhere/qemu"), "/nowhere/qemu is neither one of the versions"),
        (("qemu", "failover", "--qemu", "/bin/true"), "/bin/true says no version of QEMU"),
        (("check", "qemu:9.9"), "9.9 is neither one of the versions"),
        (("qemu", "get", "9.9"), "9.9 is none of the versions"),
    ],
)
def test_no_such_qemu(arguments: tuple[str, ...], why: str) -> None:
    """Given a version or a path that is no QEMU, then the message says so and what there is, and the exit code is 2."""
    said = run(*arguments)
    assert (said.exit_code, why in said.output, "hint: " in said.output) == (2, True, True), said.output


def test_no_package_tools(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a machine without Debian's tools, when a version is wanted, then they are named, and so is the way without them."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(QemuUnavailable, match=r"apt-get, apt-cache, dpkg not found: .* give the path of a QEMU instead"):
        get("11.1")
    assert not cache.exists()


@pytest.mark.parametrize(
    ("mirror", "why"),
    [
        ("", "the host's apt names no Debian archive"),
        ("http://localhost:9/debian/", "none of Debian's suites has QEMU"),
    ],
)
def test_no_mirror(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mirror: str, why: str) -> None:
    """Given a machine whose apt has no archive, or one that cannot be reached, then that is said, and nothing is left in the cache."""
    bin_folder = tmp_path / "bin"
    program(bin_folder / "apt-get", f'case "$*" in indextargets*) echo "{mirror}";; *) echo "E: unreachable" >&2; exit 100;; esac\n')
    for tool in ("apt-cache", "dpkg"):
        program(bin_folder / tool, "exit 1\n")
    monkeypatch.setenv("PATH", f"{bin_folder}:{os.environ['PATH']}")
    monkeypatch.setattr("colofd.conformance.qemu.provision._KEYRING", "/dev/null")
    with pytest.raises(QemuUnavailable, match=why):
        get("7.2")
    assert list(cache.iterdir()) == []


def test_one_that_dies_at_its_start(folder: Path) -> None:
    """Given a QEMU that ends at once, then what it printed is told, by the commands too, and its files are removed."""
    dying = program(folder / "qemu", SAYS_ITS_VERSION + 'echo "no machine today" >&2; exit 3\n')
    with pytest.raises(QemuFailed, match="source: start: QEMU has ended with 3: no machine today"):
        Machine(named(str(dying)), folder, "source")
    assert list(folder.iterdir()) == [dying]
    said = run("qemu", "checkpoints", "--qemu", str(dying), "--count", "1")
    assert (said.exit_code, "QEMU has ended with 3: no machine today" in said.output) == (2, True), said.output


def test_one_that_says_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a QEMU that never opens QMP, then waiting for it ends, it is ended, and its files are removed."""
    monkeypatch.setattr(machine_module, "_START_SECONDS", 0.5)
    monkeypatch.setattr(machine_module, "_QUIT_SECONDS", 0.2)
    silent = program(folder / "qemu", f"{SAYS_ITS_VERSION}echo $$ > {folder / 'pid'}; exec sleep 100\n")
    with pytest.raises(QemuFailed, match=r"source: start: no answer within 0.5 s"):
        Machine(named(str(silent)), folder, "source")
    pid = (folder / "pid").read_text().strip()
    assert not Path(f"/proc/{pid}").exists()
    assert {path.name for path in folder.iterdir()} == {"qemu", "pid"}


@pytest.fixture
def real() -> Qemu:
    try:
        return get("11.1")
    except QemuUnavailable as unavailable:
        pytest.skip(f"no QEMU 11.1 here: {unavailable}")


def test_one_that_refuses_a_capability_and_dies(real: Qemu, folder: Path) -> None:
    """Given a real QEMU, when it refuses a capability, then in its words; when it is killed, then the next command says so."""
    with Machine(real, folder, "source", kind="none") as machine:
        with pytest.raises(QemuFailed, match="migrate-set-capabilities was refused: Capability 'x-colo' requires capability 'return-path'"):
            machine.enable("x-colo")
        machine.kill()
        with pytest.raises(QemuFailed, match="query-status: QEMU has ended with -9"):
            machine.status()
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("kind", ["unix", "tcp"])
def test_an_address_in_use(folder: Path, kind: str) -> None:
    """Given an address that somebody listens at, when `colofd receive` is to have it, then it says so, and what to do."""
    with socket.socket(socket.AF_UNIX if kind == "unix" else socket.AF_INET) as listener:
        listener.bind(str(folder / "m") if kind == "unix" else ("localhost", 0))
        listener.listen()
        address = f"unix:{folder / 'm'}" if kind == "unix" else f"tcp:localhost:{listener.getsockname()[1]}"
        said = run("receive", address, "--patience", "1")
    assert (said.exit_code, f"{address} cannot be listened on" in said.output, "give another address" in said.output) == (2, True, True)
    assert run("receive", "tcp:localhost:99999").exit_code == 2


def test_a_control_socket_that_is_no_qmp(folder: Path) -> None:
    """Given a socket that closes, or where somebody speaks no QMP, when a failover is told to it, then that is said."""
    path = str(folder / "control")
    for content, why in ((b"", "was closed before qmp_capabilities was answered"), (b"hello\n", "does not speak QMP")):
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen()
            with pytest.raises(NotReached, match=why), _Answering(listener, content):
                tell_to_take_over(path, 2.0)
        Path(path).unlink()


class _Answering:
    """Answers the first connection with some bytes, and closes it."""

    def __init__(self, listener: socket.socket, content: bytes) -> None:
        self._thread = threading.Thread(target=self._answer, args=(listener, content))

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._thread.join()

    def _answer(self, listener: socket.socket, content: bytes) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(content)
            connection.shutdown(socket.SHUT_WR)
            connection.recv(1 << 16)
