"""A real QEMU as the receiver under test: a machine of RAM and nothing else, waiting for a migration."""

import socket
import tempfile
from pathlib import Path
from typing import Final

from colofd.conformance.qemu.machine import Machine, QemuFailed
from colofd.conformance.qemu.provision import Qemu
from colofd.conformance.subjects import BLOCK, Options

PATIENCE: Final = 3.0
"""Seconds that a command may take. QEMU answers within milliseconds, or never."""


class QemuReceiver:
    """The destination is a QEMU of machine type `none`: no CPU runs, so RAM changes by migration alone."""

    def __init__(self, qemu: Qemu, options: Options, patience: float = PATIENCE) -> None:
        # The machine is killed before its folder goes.
        self._folder = tempfile.TemporaryDirectory(prefix="colofd-")  # lives as long as the receiver
        folder = Path(self._folder.name)
        self._address = str(folder / "migration")
        memory = options.pages * options.page_size
        self._machine = Machine(
            qemu, folder, "destination", block=BLOCK, memory=memory, kind="none", is_incoming=True, is_stopped=True, patience=patience
        )
        try:
            self._prepare(options)
        except BaseException:
            self.close()
            raise

    def _prepare(self, options: Options) -> None:
        capabilities = ["events", *(["multifd"] if options.channels else []), *(["x-colo", "return-path"] if options.colo else [])]
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

    def failover(self) -> None:
        """Take over; TimeoutError if it does not answer."""
        try:
            self._machine.command("x-colo-lost-heartbeat")
        except QemuFailed as failed:
            raise TimeoutError(str(failed)) from failed

    def close(self) -> None:
        """Kill it: one that waits for ever does not quit."""
        self._machine.kill()
        self._machine.close()
        self._folder.cleanup()
