"""Anybody's receiver behind an adapter process, as a subject that is seen from outside."""

import socket
import tempfile
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from colofd.conformance.adapter import Adapter, Hello, Refusal, Status
from colofd.conformance.black_box import NotObservable
from colofd.conformance.black_box_wire import State
from colofd.conformance.diagnostic import Diagnostic
from colofd.conformance.outgoing import NotReached, connector
from colofd.conformance.subjects import Options

EXEC: Final = "exec:"
PATIENCE: Final = 5.0
"""Seconds that a receiver may take for a reply; failover included."""

_STATES: Final = {"completed": State.COMPLETED, "failed": State.FAILED}


class AdapterPool:
    """Adapters of one kind: each has one receiver after the other, and is replaced when it misbehaves. A context manager.

    `where` is the command that starts one, or attach:ADDRESS where one listens.
    """

    def __init__(self, where: str, patience: float = PATIENCE) -> None:
        self._where = where
        self._patience = patience
        self._idle: list[Adapter] = []
        self._lock = threading.Lock()
        self._folder = tempfile.TemporaryDirectory(prefix="colofd-")
        self._started = 0

    def hello(self) -> Hello:
        """Start an adapter, and return what it says of itself."""
        adapter = self.take()
        self.give_back(adapter)
        return adapter.hello

    def make(self, options: Options) -> "ExecReceiver":
        """Start a receiver that waits for a migration."""
        return ExecReceiver(self, options, self.new_folder())

    def new_folder(self) -> Path:
        """Return an empty folder for one receiver: a socket's path is short."""
        with self._lock:
            self._started += 1
            folder = Path(self._folder.name) / str(self._started)
        folder.mkdir()
        return folder

    def take(self) -> Adapter:
        """Return an adapter that has no receiver."""
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return Adapter(self._where, self._patience)

    def give_back(self, adapter: Adapter) -> None:
        """Keep an adapter for the next receiver."""
        with self._lock:
            self._idle.append(adapter)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for adapter in self._idle:
            adapter.kill()
        self._folder.cleanup()


class ExecReceiver:
    """One receiver of an adapter."""

    def __init__(self, pool: AdapterPool, options: Options, folder: Path) -> None:
        self._pool = pool
        self._options = options
        self._size = options.pages * options.page_size
        self._address = f"unix:{folder / 's'}"
        self._ram = folder / "ram"
        self._is_lost = False
        self._adapter = pool.take()
        try:
            self._start(options)
        except BaseException:
            self._adapter.kill()
            raise

    def _start(self, options: Options) -> None:
        reply = self._ask(
            "start",
            address=self._address.removeprefix("unix:"),
            blocks=[{"name": name, "length": (its.stop - its.start) * options.page_size} for name, its in options.pages_of_blocks.items()],
            channels=options.channels,
            colo=options.colo,
            compression=options.compression.value,
            page_size=options.page_size,
            machine=options.machine,
            uuid=options.uuid.hex(),
            devices=list(options.devices),
        )
        self._address = str(reply.get("address", self._address))

    def _ask(self, verb: str, **arguments: object) -> dict[str, Any]:
        """Ask for what any adapter can do. Diagnostic if it cannot."""
        try:
            return self._adapter.ask(verb, **arguments)
        except Refusal as refusal:
            raise _refuses(verb, refusal) from refusal

    def connect(self) -> socket.socket:
        """Return our end of a new channel. Diagnostic if nobody listens."""
        try:
            return connector(self._address, PATIENCE)()
        except (NotReached, ValueError) as error:
            if self._adapter.has_ended:
                self._adapter.status()
            cause = f"connecting to the address of `start`: {error}"
            raise Diagnostic("adapter-lies", "the adapter does not listen", cause, "listen before you answer `start`") from error

    def guest(self) -> bytes:
        """Return guest RAM as it is now: zeros if it went with the process. Diagnostic if the file is not as long as RAM is."""
        self._ram.unlink(missing_ok=True)
        if self._is_lost:
            return bytes(self._size)
        self._ask("guest", file=str(self._ram))
        try:
            content = self._ram.read_bytes()
        except OSError as error:
            raise Diagnostic(
                "adapter-lies", "guest RAM is not in the file", str(error), "write the file of `guest`, then answer"
            ) from error
        if len(content) != self._size:
            cause = f"{len(content)} bytes, and the blocks of `start` have {self._size}"
            raise Diagnostic("adapter-lies", "the file is not guest RAM", cause, "write all blocks in order, and nothing else")
        return content

    def write_guest(self, page: int, content: bytes) -> None:
        """Let the guest write a page; NotObservable if the adapter says that it has none that can."""
        block, number = self._options.block_of(page)
        self._ram.write_bytes(content)
        try:
            self._adapter.ask("guest", file=str(self._ram), write={"block": block, "offset": number * self._options.page_size})
        except Refusal as refusal:
            raise NotObservable(f"the guest cannot be made to write: {refusal}") from refusal
        # Who ignores the key has answered another question.
        if self._ram.read_bytes() != content:
            raise NotObservable("the guest cannot be made to write: the adapter does not know `write`")

    def is_in_colo(self) -> bool:
        """Return whether it is in COLO state."""
        return self.status().state == "colo"

    def is_completed(self) -> bool:
        """Return whether a migration without COLO is complete."""
        return self.status().state == "completed"

    def has_failed(self) -> bool:
        """Return whether it has given up."""
        return self.status().state == "failed"

    def look(self) -> tuple[State, str]:
        """Return its state, and what it has said of an error."""
        try:
            status = self.status()
        except Diagnostic as trouble:
            if not self._adapter.has_ended and trouble.code != "adapter-hangs":
                raise
            self._is_lost = True
            return State.CRASHED if self._adapter.has_ended else State.SILENT, str(trouble)
        return _STATES.get(status.state, State.BUSY), " ".join(filter(None, [status.reason, status.error]))

    def failover(self) -> None:
        """Take over; TimeoutError if it does not answer, or cannot."""
        try:
            self._adapter.ask("failover")
        except Refusal as refusal:
            raise TimeoutError(str(refusal)) from refusal
        except Diagnostic as trouble:
            if trouble.code != "adapter-hangs":
                raise
            raise TimeoutError(str(trouble)) from trouble

    def close(self) -> None:
        """End it; an adapter that does not let go of a receiver is ended with it."""
        try:
            self._adapter.ask("stop")
        except (Diagnostic, Refusal):
            self._adapter.kill()
        else:
            self._pool.give_back(self._adapter)

    def status(self) -> Status:
        """Return its state, and what it has refused. Diagnostic if it does not say."""
        try:
            return self._adapter.status()
        except Refusal as refusal:
            raise _refuses("status", refusal) from refusal


def _refuses(verb: str, refusal: Refusal) -> Diagnostic:
    hint = "with a receiver, only `failover` may be answered by `cannot`"
    return Diagnostic("adapter-refuses", f"the adapter cannot answer {verb}", str(refusal), hint)
