"""A real QEMU as the receiver under test: a machine of RAM and nothing else, waiting for a migration."""

import contextlib
import socket
import tempfile
import time
from collections.abc import Callable
from mmap import mmap
from pathlib import Path
from typing import Final

from colofd.conformance.black_box_wire import State
from colofd.conformance.qemu.machine import Machine, QemuFailed
from colofd.conformance.qemu.provision import Qemu
from colofd.conformance.subjects import BLOCK, Options

PATIENCE: Final = 3.0
"""Seconds that a command may take. QEMU answers within milliseconds, or never."""

_ENDING_SECONDS: Final = 0.5
_POLL_SECONDS: Final = 0.01


class QemuReceiver:
    """The destination is a QEMU of machine type `none`: no CPU runs, so RAM changes by migration alone.

    `yanks`: before it takes over, the migration's connections are shut down, as management does with a primary that may be alive.
    `fill` is called with guest RAM before QEMU starts.
    """

    def __init__(
        self,
        qemu: Qemu,
        options: Options,
        patience: float = PATIENCE,
        *,
        yanks: bool = False,
        fill: Callable[[mmap], None] = lambda _ram: None,
    ) -> None:
        self._yanks = yanks
        self._needs_enable_colo = qemu.needs_enable_colo
        # The machine is killed before its folder goes.
        self._folder = tempfile.TemporaryDirectory(prefix="colofd-")  # lives as long as the receiver
        folder = Path(self._folder.name)
        self._address = str(folder / "migration")
        memory = options.pages * options.page_size
        self._machine = Machine(
            qemu,
            folder,
            "destination",
            block=BLOCK,
            memory=memory,
            kind="none",
            is_incoming=True,
            is_stopped=True,
            patience=patience,
            fill=fill,
            arguments=["-trace", "migrate_error", "-trace", "multifd_recv_thread_end"],
        )
        try:
            self._prepare(options)
        except BaseException:
            self.close()
            raise

    def _prepare(self, options: Options) -> None:
        capabilities = ["events", *(["multifd"] if options.channels else []), *(["x-colo"] if options.colo else [])]
        if options.colo and not self._needs_enable_colo:
            capabilities.append("return-path")
        self._machine.enable(*capabilities)
        if options.channels:
            self._machine.command(
                "migrate-set-parameters", multifd_channels=options.channels, multifd_compression=options.compression.value
            )
        self._machine.command("migrate-incoming", uri=f"unix:{self._address}")

    def connect(self) -> socket.socket:
        """Return our end of a new channel."""
        channel = socket.socket(socket.AF_UNIX)
        channel.connect(self._address)
        return channel

    def guest(self) -> bytes:
        """Return guest RAM as it is now."""
        return bytes(self._machine.ram)

    def is_in_colo(self) -> bool:
        """Return whether the migration is in COLO state."""
        return self._machine.migration().get("status") == "colo"

    def is_completed(self) -> bool:
        """Return whether the migration is complete."""
        return self._machine.migration().get("status") == "completed"

    def has_failed(self) -> bool:
        """Return whether it has given up: the migration has failed, or QEMU has ended, as it does by default."""
        try:
            return self._machine.migration().get("status") == "failed"
        except QemuFailed:
            return self._machine.has_ended

    def look(self) -> tuple[State, str]:
        """Return what it says of the migration, and of an error in it; a trace point tells what QEMU itself may not print."""
        try:
            migration = self._machine.migration()
        except QemuFailed:
            # A process that is ending closes its monitor first.
            end = time.monotonic() + _ENDING_SECONDS
            while not self._machine.has_ended:
                if time.monotonic() > end:
                    return State.SILENT, self._words()
                time.sleep(_POLL_SECONDS)
            return (State.CRASHED if self._machine.was_ended_by_a_signal else State.FAILED), self._words()
        words = str(migration.get("error-desc", "")) or self._words()
        state = {"completed": State.COMPLETED, "failed": State.FAILED}.get(migration.get("status", ""), State.BUSY)
        return state, words

    def failover(self) -> None:
        """Take over; TimeoutError if it does not answer."""
        try:
            if self._yanks:
                self._machine.command("yank", is_out_of_band=True, instances=[{"type": "migration"}])
            self._machine.command("x-colo-lost-heartbeat")
        except QemuFailed as failed:
            raise TimeoutError(str(failed)) from failed

    def thread(self, name: str) -> int | None:
        """Return the number of a thread of this name, or None if there is none."""
        for task in Path(f"/proc/{self._machine.pid}/task").iterdir():
            with contextlib.suppress(OSError):
                if (task / "comm").read_text().strip() == name:
                    return int(task.name)
        return None

    def close(self) -> None:
        """Kill it: one that waits for ever does not quit."""
        self._machine.kill()
        self._machine.close()
        self._folder.cleanup()

    def _words(self) -> str:
        """Return what QEMU has said of errors: lines of its own, and of the trace points; warnings are none."""
        lines = [
            line.rpartition("qemu-system-x86_64: ")[2].removeprefix("migrate_error error=") for line in self._machine.log().splitlines()
        ]
        return "; ".join(dict.fromkeys(line for line in lines if line and "warning: " not in line))
