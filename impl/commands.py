"""Commands inside the main channel (migration/savevm.c:loadvm_process_command)."""

import struct
from typing import Final

from colofd.impl.stream import MainStream
from colofd.spec.constants import COMMAND_LENGTHS, Command, ReturnPathMessage
from colofd.spec.reasons import Reason

KNOWN: Final = {command.value: command for command in Command if command is not Command.INVALID}


class ReturnPath:
    """What is sent back before COLO begins (migration/migration.c:migrate_send_rp_message)."""

    def __init__(self, stream: MainStream) -> None:
        self._stream = stream
        self.is_open = False

    def send(self, message: ReturnPathMessage, value: int) -> None:
        """Send a message with a be32."""
        self._stream.send(struct.pack(">HHI", message, 4, value))

    def obey(self) -> None:
        """Read and obey the command after its type byte. Raises Rejected."""
        at = self._stream.offset
        number = self._stream.be16()
        command = KNOWN.get(number)
        if command is None:
            raise self._stream.rejected(Reason.COMMAND_UNKNOWN, at, number, "a known command")
        if command is Command.ENABLE_COLO:
            raise self._stream.rejected(Reason.COMMAND_DEPRECATED, at, command.name, "no such command: COLO is agreed beforehand")
        if command not in COMMAND_LENGTHS:
            raise self._stream.rejected(Reason.POSTCOPY, at, command.name, "no postcopy")
        length, expected = self._stream.be16(), COMMAND_LENGTHS[command]
        if length != expected:
            raise self._stream.rejected(Reason.COMMAND_LENGTH, at + 2, f"{length} bytes of {command.name}", f"{expected} bytes")
        if command is Command.OPEN_RETURN_PATH:
            self.is_open = True
        elif command is Command.PING:
            value = self._stream.be32()
            if not self.is_open:
                raise self._stream.rejected(Reason.RETURN_PATH_MISSING, at, "PING", "OPEN_RETURN_PATH before it")
            self.send(ReturnPathMessage.PONG, value)
