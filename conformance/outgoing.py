"""Connects to a destination that waits for a migration."""

import json
import socket
from collections.abc import Callable


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
    if kind == "tcp" and port.isdigit():
        return lambda: _connected(lambda: socket.create_connection((host or "localhost", int(port)), patience), address)
    raise ValueError(f"an address is unix:PATH or tcp:HOST:PORT, not {address}")


def tell_to_take_over(qmp: str, patience: float) -> None:
    """Tell a QEMU by its QMP socket (a path) that the primary is gone.

    Raises NotReached if nobody is there or it refuses, TimeoutError if it does not answer within `patience` seconds.
    """
    with _connected(lambda: _to_path(qmp, patience), qmp) as control, control.makefile("rwb") as lines:
        lines.readline()
        for command in ("qmp_capabilities", "x-colo-lost-heartbeat"):
            lines.write(json.dumps({"execute": command}).encode() + b"\n")
            lines.flush()
            answer: dict[str, object] = {}
            while not answer.keys() & {"return", "error"}:
                if not (line := lines.readline()):
                    raise NotReached(f"{qmp} was closed before {command} was answered")
                answer = json.loads(line)
            if "error" in answer:
                raise NotReached(f"{command} was refused: {answer['error']}")


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
