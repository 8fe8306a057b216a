"""An adapter in a hundred lines: the built-in receiver behind the protocol of docs/adapter.md.

colofd check "exec:python -m colofd.conformance.example_adapter"
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Final

import numpy as np

from colofd.impl import Block, Compression, Deadlines, Destination, Phase
from colofd.spec.reasons import Rejected

PATIENCE: Final = 2.0
STATES: Final = {
    Phase.IDLE: "colo",
    Phase.RECEIVING: "colo",
    Phase.RECEIVED: "colo",
    Phase.FLUSHING: "colo",
    Phase.COMPLETED: "completed",
    Phase.FAILED: "failed",
    Phase.FAILOVER: "taken-over",
}
"""In all other phases a migration is being received."""


class Cannot(Exception):  # noqa: N818  # says what is the case
    """What was asked for cannot be done now."""


class Answers:
    """One receiver at a time, and the six verbs."""

    def __init__(self) -> None:
        self._destination: Destination | None = None
        self._lengths: dict[str, int] = {}

    def hello(self, _question: dict[str, Any]) -> dict[str, Any]:
        """Say who this is."""
        return {"name": "colofd impl", "version": "0.1.0", "protocol": 1}

    def start(self, question: dict[str, Any]) -> dict[str, Any]:
        """Make a receiver that listens for all channels of a migration."""
        self.stop({})
        self._lengths = {block["name"]: block["length"] for block in question["blocks"]}
        self._destination = Destination(
            [Block(name, length) for name, length in self._lengths.items()],
            question["channels"],
            colo=question["colo"],
            compression=Compression(question["compression"]),
            page_size=question["page_size"],
            machine=question["machine"],
            uuid=bytes.fromhex(question["uuid"]),
            deadlines=Deadlines(connect=PATIENCE, progress=60.0, idle=60.0, lease=PATIENCE),
        )
        self._destination.listen(f"unix:{question['address']}")
        return {}

    def status(self, _question: dict[str, Any]) -> dict[str, Any]:
        """Say how far it is, and what it has refused."""
        destination = self._running()
        state = {"state": STATES.get(destination.phase, "receiving")}
        try:
            error = destination.wait(0).error
        except Rejected as rejected:
            error = rejected
        except TimeoutError:
            error = None
        if error is None:
            return state
        return {**state, "reason": error.reason.value, "channel": error.channel, "offset": error.offset, "error": str(error)}

    def guest(self, question: dict[str, Any]) -> dict[str, Any]:
        """Write guest RAM into a file: all blocks, in the order of `start`. Before any stream there is none: zeros.

        With `write`, the other way around: the file is what the guest writes there.
        """
        destination = self._running()
        file = Path(question["file"])
        if "write" in question:
            self._write(destination, question["write"]["block"], question["write"]["offset"], file.read_bytes())
            return {}
        try:
            ram = b"".join(destination.guest(block).tobytes() for block in self._lengths)
        except Rejected:
            ram = bytes(sum(self._lengths.values()))
        file.write_bytes(ram)
        return {}

    def _write(self, destination: Destination, block: str, offset: int, content: bytes) -> None:
        """Let the guest write a page, and its dirty log say so."""
        destination.guest(block)[offset : offset + len(content)] = np.frombuffer(content, np.uint8)
        destination.guest_wrote(block, np.arange(self._lengths[block] // len(content)) == offset // len(content))

    def failover(self, _question: dict[str, Any]) -> dict[str, Any]:
        """Take over from the last checkpoint, and answer when that is done."""
        self._running().failover(PATIENCE)
        return {}

    def stop(self, _question: dict[str, Any]) -> dict[str, Any]:
        """End the receiver, if there is one, and free everything."""
        if self._destination is not None:
            self._destination.close()
            self._destination = None
        return {}

    def _running(self) -> Destination:
        if self._destination is None:
            raise Cannot("there is no receiver: start one")
        return self._destination


def unknown(question: dict[str, Any]) -> dict[str, Any]:
    """Refuse a verb of a newer protocol."""
    raise Cannot(f"there is no verb {question['verb']!r}")


def serve(questions: IO[str], replies: IO[str]) -> None:
    """Answer each line with one line, until there are no more."""
    answers = Answers()
    verbs: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
        name: getattr(answers, name) for name in ("hello", "start", "status", "guest", "failover", "stop")
    }
    for line in questions:
        question = json.loads(line)
        try:
            reply = verbs.get(question["verb"], unknown)(question)
        except (Cannot, Rejected, RuntimeError, TimeoutError, ValueError, OSError, KeyError) as error:
            reply = {"cannot": f"{type(error).__name__}: {error}"}
        replies.write(json.dumps({"id": question["id"], **reply}) + "\n")
        replies.flush()
    answers.stop({})


if __name__ == "__main__":
    serve(sys.stdin, sys.stdout)
