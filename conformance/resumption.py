"""Starts a QEMU from a checkpoint: the checkpoint is sent to it as an ordinary migration."""

import contextlib
import json
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import numpy as np
import numpy.typing as npt

from colofd.conformance import stream
from colofd.impl import Block
from colofd.impl.store import CheckpointReader
from colofd.spec.constants import RecordFlag, SectionType

T = TypeVar("T")

_POLL_SECONDS: Final = 0.01
_MACHINE_SUFFIX: Final = "-machine"


class NotResumed(Exception):  # noqa: N818  # says what is the case
    """The QEMU did not start from the checkpoint: why, as it says."""


def migration_of(checkpoint: CheckpointReader) -> Iterator[bytes]:
    """Yield the bytes of the main channel of a migration that brings a checkpoint. Raises StoreDamaged at a bad page, before it is sent."""
    identity = checkpoint.identity
    yield stream.stream_header(identity.machine) + stream.ram_start([(block.name, block.length) for block in identity.blocks])
    yield stream.ram_close() + stream.ram_continue(SectionType.END)
    yield from _records(checkpoint)
    yield stream.ram_close() + checkpoint.device_state + stream.no_devices(identity.page_size)[1:]


def _records(checkpoint: CheckpointReader) -> Iterator[bytes]:
    """Yield all pages; one of zeros too, for nobody knows what is in the memory that they go to."""
    layout = checkpoint.identity.layout
    for first, rows in checkpoint.pages():
        for block in checkpoint.identity.blocks:
            its = layout.pages_of(block.name)
            begin, end = max(first, its.start), min(first + len(rows), its.stop)
            if begin < end:
                yield from _of_block(block, begin - its.start, rows[begin - first : end - first])


def _of_block(block: Block, number: int, rows: npt.NDArray[np.uint8]) -> Iterator[bytes]:
    """Yield the records of pages that follow one another, from page `number` of a block on."""
    size = rows.shape[1]
    if not number:
        yield _first_record(block, rows[0])
        rows, number = rows[1:], 1
    is_zero = ~rows.any(axis=1)
    offsets = (np.arange(number, number + len(rows), dtype=np.uint64) * np.uint64(size)) | np.uint64(RecordFlag.CONTINUE)
    for flag, where, content in (
        (RecordFlag.PAGE, np.flatnonzero(~is_zero), rows),
        (RecordFlag.ZERO, np.flatnonzero(is_zero), np.zeros((len(rows), 1), np.uint8)),
    ):
        records = np.empty(len(where), np.dtype([("head", ">u8"), ("content", np.uint8, content.shape[1])]))
        records["head"] = offsets[where] | np.uint64(flag)
        records["content"] = content[where]
        yield records.tobytes()


def _first_record(block: Block, row: npt.NDArray[np.uint8]) -> bytes:
    return stream.page_record(block.name, 0, row.tobytes()) if row.any() else stream.zero_record(block.name, 0)


class Resumed:
    """A QEMU that was started to go on from a checkpoint. A context manager: at its end the process is gone.

    Args:
        command: the program and its arguments, without those of a migration.
        patience: seconds that it may take to answer.

    Raises NotResumed, OSError.
    """

    def __init__(self, command: Sequence[str], patience: float) -> None:
        self._patience = patience
        self._folder = tempfile.TemporaryDirectory(prefix="colofd-")
        self._qmp_path, self._migration_path = (Path(self._folder.name) / name for name in ("qmp", "migration"))
        self._qmp: socket.socket | None = None
        # Stopped: whether the guest runs then depends on what the primary's did, and on us.
        more = ["-S", "-incoming", "defer", "-qmp", f"unix:{self._qmp_path},server=on,wait=off"]
        try:
            self.process = subprocess.Popen([*command, *more])  # noqa: S603  # it is what the caller wants to run
        except BaseException:
            self._folder.cleanup()
            raise
        try:
            self._qmp = self._wait(lambda: _connected(self._qmp_path), "says nothing by QMP")
            self._qmp.settimeout(patience)
            self._lines = self._qmp.makefile("rwb")
            self._lines.readline()
            self.command("qmp_capabilities")
        except BaseException:
            self.close()
            raise

    def command(self, name: str, **arguments: object) -> Any:
        """Return what QEMU answers to a QMP command. Raises NotResumed."""
        try:
            self._lines.write(json.dumps({"execute": name, "arguments": arguments}).encode() + b"\n")
            self._lines.flush()
            while line := self._lines.readline():
                answer = json.loads(line)
                if "error" in answer:
                    raise NotResumed(f"{name} was refused: {answer['error']['desc']}")
                if "return" in answer:
                    return answer["return"]
        except OSError as error:
            raise NotResumed(f"{name} was not answered: {error}") from error
        raise NotResumed(f"QEMU has ended before it answered {name}")

    def load(self, checkpoint: CheckpointReader) -> None:
        """Send a checkpoint, and wait until it is loaded. Raises NotResumed, StoreDamaged."""
        self._require_machine(checkpoint.identity.machine)
        self.command("migrate-incoming", uri=f"unix:{self._migration_path}", **{"exit-on-error": False})
        with self._wait(lambda: _connected(self._migration_path), "waits for no migration") as connection:
            connection.settimeout(self._patience)
            try:
                for piece in migration_of(checkpoint):
                    connection.sendall(piece)
            except OSError as error:
                raise NotResumed(f"QEMU does not take the checkpoint: {self._complaint() or error}") from error
            self._wait(self._is_loaded, "does not load the checkpoint")

    def run(self) -> None:
        """Let the guest go on. Raises NotResumed."""
        self.command("cont")

    def _require_machine(self, machine: str) -> None:
        here = str(self.command("qom-get", path="/machine", property="type")).removesuffix(_MACHINE_SUFFIX)
        if here != machine:
            raise NotResumed(f"the checkpoint is of machine type {machine}, and this QEMU was started with {here}: give it -M {machine}")

    def _is_loaded(self) -> bool | None:
        status = self.command("query-migrate").get("status")
        if status == "failed":
            raise NotResumed(f"QEMU does not take the checkpoint: {self._complaint()}")
        return True if status == "completed" else None

    def _complaint(self) -> str:
        with contextlib.suppress(NotResumed):
            return str(self.command("query-migrate").get("error-desc", ""))
        return ""

    def _wait(self, ask: Callable[[], T | None], what: str) -> T:
        end = time.monotonic() + self._patience
        while (answer := ask()) is None:
            if self.process.poll() is not None:
                raise NotResumed(f"QEMU has ended with {self.process.returncode}: what it printed says why")
            if time.monotonic() > end:
                raise NotResumed(f"QEMU {what} within {self._patience} s")
            time.sleep(_POLL_SECONDS)
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the process. Does nothing a second time."""
        if self._qmp is not None:
            self._qmp.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._folder.cleanup()


def _connected(path: Path) -> socket.socket | None:
    made = socket.socket(socket.AF_UNIX)
    try:
        made.connect(str(path))
    except OSError:
        made.close()
        return None
    return made
