"""Connects to a destination that waits for a migration."""

import json
import socket
from collections.abc import Callable, Iterable
from typing import Any

from colofd.conformance.incoming import is_port


class NotReached(Exception):  # noqa: N818  # says what is the case
    """Nobody waits for a migration there: what the system says of it."""


def connector(address: str, patience: float) -> Callable[[], socket.socket]:
    """Return what makes a new connection to unix:PATH or tcp:HOST:PORT; it raises NotReached if nobody listens.

    Raises ValueError for another kind of address.
    """
    kind, _, place = address.partition(":")
    host, _, port = place.rpartition(":")
    if kind == "unix" and place:
        return lambda: _connected(lambda: _to_path(place, patience), address)
    if kind == "tcp" and is_port(port):
        return lambda: _connected(lambda: socket.create_connection((host or "localhost", int(port)), patience), address)
    raise ValueError(f"an address is unix:PATH or tcp:HOST:PORT, not {address}")


def tell_to_take_over(qmp: str, patience: float, *, yanks: bool = False) -> None:
    """Tell a QEMU by its QMP socket (a path) that the primary is gone; if it is to yank, have its connections shut down first.

    Raises NotReached if nobody is there or it refuses, TimeoutError if it does not answer within `patience` seconds.
    """
    yank = {"exec-oob": "yank", "id": "yank", "arguments": {"instances": [{"type": "migration"}]}}
    messages: list[dict[str, Any]] = [{"execute": "qmp_capabilities", "arguments": {"enable": ["oob"] * yanks}}, *[yank] * yanks]
    with _connected(lambda: _to_path(qmp, patience), qmp) as control, control.makefile("rwb") as lines:
        for message in [*messages, {"execute": "x-colo-lost-heartbeat"}]:
            command = message.get("execute", "yank")
            lines.write(json.dumps(message).encode() + b"\n")
            lines.flush()
            try:
                answer = _answer(lines)
            except TimeoutError as late:
                raise TimeoutError(f"{qmp}: {command}: no answer within {patience} s") from late
            except ValueError as error:
                raise NotReached(f"{qmp} does not speak QMP: {error}") from error
            if answer is None:
                raise NotReached(f"{qmp} was closed before {command} was answered")
            if "error" in answer:
                raise NotReached(f"{command} was refused: {answer['error']}")


def _answer(lines: Iterable[bytes]) -> dict[str, object] | None:
    """Return the next answer, past the greeting and events; None at the end. ValueError if it is no QMP, TimeoutError."""
    for line in lines:
        said = json.loads(line)
        if isinstance(said, dict) and said.keys() & {"return", "error"}:
            return said
    return None


def _to_path(path: str, patience: float) -> socket.socket:
    made = socket.socket(socket.AF_UNIX)
    try:
        made.settimeout(patience)
        made.connect(path)
    except OSError:
        made.close()
        raise
    return made


def _connected(connect: Callable[[], socket.socket], address: str) -> socket.socket:
    try:
        return connect()
    except OSError as error:
        raise NotReached(f"{address} cannot be reached: {error}") from error
