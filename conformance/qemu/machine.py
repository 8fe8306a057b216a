"""One running QEMU: its RAM as a file that is mapped here too, and QMP with a deadline on every command."""

import asyncio
import contextlib
import hashlib
import mmap
import os
import subprocess
import threading
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from colofd.conformance.qemu.provision import Qemu, QemuUnavailable

try:
    from qemu.qmp import EventListener, ExecuteError, QMPClient, QMPError
except ImportError as error:  # pragma: no cover  # the extra is installed wherever tests run
    raise QemuUnavailable("the package qemu.qmp is not installed: pip install 'colofd[qemu]'") from error

T = TypeVar("T")

MEBIBYTE: Final = 1 << 20
_START_SECONDS: Final = 30.0
_QUIT_SECONDS: Final = 5.0
_POLL_SECONDS: Final = 0.02


class QemuFailed(Exception):  # noqa: N818  # says what is the case
    """A QEMU refused a command, said nothing within the deadline, or died: which one, and what its log says."""


class Machine:
    """A QEMU process. Use it in a `with` statement: at its end the process is gone and its files are removed.

    Args:
        qemu: the program.
        folder: a folder of the caller's for sockets and RAM; short, for a path of a socket has at most 107 bytes.
        name: distinguishes machines in one folder.
        memory: bytes of RAM.
        block: name of its RAM block.
        kind: the machine type; `none` has RAM and nothing else.
        accelerator: `tcg`, `kvm`, or `qtest`, whose CPUs never run.
        rom: the guest, or None.
        is_incoming: wait for a migration.
        is_stopped: begin with stopped CPUs.
        is_shared: RAM is a file that is mapped here, too; otherwise it is QEMU's own, and `ram` is nothing.
        fill: is called with RAM before the process starts.
        arguments: more of the command line.
        patience: seconds that a command may take.

    Raises:
        QemuFailed: it does not start.
    """

    def __init__(
        self,
        qemu: Qemu,
        folder: Path,
        name: str,
        *,
        memory: int = 16 * MEBIBYTE,
        block: str = "ram0",
        kind: str = "pc",
        accelerator: str = "tcg",
        rom: bytes | None = None,
        is_incoming: bool = False,
        is_stopped: bool = False,
        is_shared: bool = True,
        fill: Callable[[mmap.mmap], None] = lambda _ram: None,
        arguments: Sequence[str] = (),
        patience: float = 30.0,
    ) -> None:
        self.name = name
        self.patience = patience
        self.events: list[Mapping[str, Any]] = []
        self._log = folder / f"{name}.log"
        self._files = [self._log, folder / f"{name}.ram", folder / f"{name}.qmp"]
        _, ram_file, qmp_path = self._files
        self.ram = _shared_memory(ram_file, memory) if is_shared else mmap.mmap(-1, mmap.PAGESIZE)
        fill(self.ram)
        command = [str(qemu.program), "-name", name, "-nodefaults", "-nographic", "-accel", accelerator, "-m", f"{memory // 1024}K"]
        backend = f"memory-backend-file,mem-path={ram_file},share=on" if is_shared else "memory-backend-ram"
        command += ["-object", f"{backend},id={block},size={memory}"]
        command += ["-M", f"{kind},memory-backend={block}", "-qmp", f"unix:{qmp_path}"]
        if rom is not None:
            rom_file = folder / f"{name}.rom"
            rom_file.write_bytes(rom)
            self._files.append(rom_file)
            command += ["-bios", str(rom_file)]
        command += ["-incoming", "defer"] * is_incoming + ["-S"] * is_stopped
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"qmp-{name}", daemon=True)
        self._thread.start()
        self._client = QMPClient(name)
        self._listener = EventListener()
        self._client.register_listener(self._listener)
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._await(self._client.start_server(str(qmp_path)), _START_SECONDS, "start")
            with self._log.open("wb") as log:
                self._process = subprocess.Popen([*command, *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            self._await(self._accept(), _START_SECONDS, "start")
        except BaseException:
            self.close()
            raise
        self.pid: int = self._process.pid

    async def _accept(self) -> None:
        """Wait for QMP, and no longer than the process lives."""
        accepting = asyncio.ensure_future(self._client.accept())
        try:
            while not (await asyncio.wait([accepting], timeout=_POLL_SECONDS))[0]:
                if self._process is not None and self._process.poll() is not None:
                    raise EOFError
            await accepting
        finally:
            accepting.cancel()
            await asyncio.wait([accepting])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def command(self, name: str, /, *, is_out_of_band: bool = False, **arguments: Any) -> Any:
        """Return what QEMU answers to a QMP command; underscores in the names of arguments are dashes. QemuFailed otherwise."""
        given = {key.replace("_", "-"): value for key, value in arguments.items()}
        message = QMPClient.make_execute_msg(name, given or None, oob=is_out_of_band)
        return self._await(self._client.execute_msg(message), self.patience, name)

    def enable(self, *capabilities: str) -> None:
        """Switch on migration capabilities."""
        self.command("migrate-set-capabilities", capabilities=[{"capability": name, "state": True} for name in capabilities])

    def status(self) -> str:
        """Return the run state."""
        return str(self.command("query-status")["status"])

    def migration(self) -> Mapping[str, Any]:
        """Return what `query-migrate` says; it is empty before a migration."""
        return dict(self.command("query-migrate"))

    def wait_for_migration(self, *states: str, within: float = 120.0) -> Mapping[str, Any]:
        """Wait until the migration is in one of these states, and return what is said of it. QemuFailed after `within` seconds."""
        self.wait_until(lambda: self.migration().get("status") in states, within)
        return self.migration()

    def wait_until(self, holds: Callable[[], bool], within: float = 30.0) -> None:
        """Wait until something holds. QemuFailed after `within` seconds."""
        end = time.monotonic() + within
        while not holds():
            if time.monotonic() > end:
                raise QemuFailed(f"{self.name}: waited {within} s in vain: {self.log() or 'it printed nothing'}")
            time.sleep(_POLL_SECONDS)

    def digest(self) -> str:
        """Return the SHA-256 of RAM as it is now."""
        return hashlib.sha256(self.ram).hexdigest()

    def happened(self) -> Sequence[Mapping[str, Any]]:
        """Return all events up to now."""
        self._await(self._take_events(), self.patience, "events")
        return tuple(self.events)

    async def _take_events(self) -> None:
        self.events += [dict(event) for event in self._listener.clear()]

    @property
    def cpu_seconds(self) -> float:
        """User and system time of the process until now."""
        fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def peak_kib(self) -> int:
        """The most memory that the process has had so far."""
        lines = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))

    @property
    def has_ended(self) -> bool:
        """Whether the process is gone."""
        return self._process is not None and self._process.poll() is not None

    @property
    def was_ended_by_a_signal(self) -> bool:
        """Whether the process is gone, and did not end by itself."""
        return self._process is not None and (self._process.poll() or 0) < 0

    def log(self) -> str:
        """Return the end of what it has printed."""
        return self._log.read_bytes()[-2000:].decode(errors="replace").strip() if self._log.exists() else ""

    def kill(self) -> None:
        """Kill the process, as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def close(self) -> None:
        """End the process, by force if it does not quit, and remove its files. Does nothing a second time."""
        if self._loop.is_closed():
            return
        if self._process is not None and self._process.poll() is None:
            with contextlib.suppress(QemuFailed):
                self._await(self._client.execute("quit"), _QUIT_SECONDS, "quit")
            try:
                self._process.wait(_QUIT_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()
        with contextlib.suppress(QemuFailed):
            self._await(self._client.disconnect(), _QUIT_SECONDS, "disconnect")
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_QUIT_SECONDS)
        if not self._loop.is_running():
            self._loop.close()
        self.ram.close()
        for file in self._files:
            file.unlink(missing_ok=True)

    def _await(self, what: Coroutine[Any, Any, T], seconds: float, name: str) -> T:
        waiting = asyncio.run_coroutine_threadsafe(asyncio.wait_for(what, seconds), self._loop)
        try:
            return waiting.result(seconds + 1.0)
        except ExecuteError as error:
            raise QemuFailed(f"{self.name}: {name} was refused: {error}") from error
        except (QMPError, OSError, TimeoutError, EOFError) as error:
            raise QemuFailed(f"{self.name}: {name}: {self._what_happened(error, seconds)}") from error

    def _what_happened(self, error: BaseException, seconds: float) -> str:
        code = None if self._process is None else self._process.poll()
        if code is not None:
            return f"QEMU has ended with {code}: {self.log() or 'it printed nothing'}"
        return f"no answer within {seconds} s" if isinstance(error, TimeoutError) else str(error)


def _shared_memory(path: Path, size: int) -> mmap.mmap:
    with path.open("w+b") as file:
        file.truncate(size)
        return mmap.mmap(file.fileno(), size)
