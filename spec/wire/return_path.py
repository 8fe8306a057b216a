"""The return path: framed messages from the destination to the source (migration/migration.c:migrate_send_rp_message).

In COLO state the same direction carries bare COLO messages (`colofd.spec.wire.colo`), after the SHUT of the return path.
"""

from typing import Final

from colofd.spec.constants import RETURN_PATH_LENGTHS, ReturnPathMessage
from colofd.spec.reasons import Reason
from colofd.spec.wire.expressions import Constant
from colofd.spec.wire.fields import BE16, BE32, Check, Field, Table, becomes, name

POSTCOPY_MESSAGES: Final = (
    ReturnPathMessage.REQ_PAGES_ID,
    ReturnPathMessage.REQ_PAGES,
    ReturnPathMessage.RECV_BITMAP,
    ReturnPathMessage.RESUME_ACK,
)
"""Messages that only postcopy uses."""

_RECEIVE: Final = "migration/migration.c:source_return_path_thread"

MESSAGE_IS_KNOWN = Check(
    "wire.return-path.message",
    name("message").among(tuple(ReturnPathMessage)),
    Reason.COMMAND_UNKNOWN,
    _RECEIVE,
    becomes("message", 0),
)
MESSAGE_IS_NOT_POSTCOPY = Check(
    "wire.return-path.postcopy",
    name("message").not_among(POSTCOPY_MESSAGES),
    Reason.POSTCOPY,
    _RECEIVE,
    becomes("message", ReturnPathMessage.REQ_PAGES),
    qemu="received: QEMU does postcopy",
)
LENGTH_FITS = Check(
    "wire.return-path.length",
    name("length").equals(Constant(tuple(RETURN_PATH_LENGTHS.items())).at(name("message"))),
    Reason.COMMAND_LENGTH,
    _RECEIVE,
    becomes("length", name("length") + 1),
)
MESSAGE = Table(
    "return-path.message",
    (
        Field("message", BE16, "one of ReturnPathMessage", (MESSAGE_IS_KNOWN, MESSAGE_IS_NOT_POSTCOPY)),
        Field("length", BE16, "bytes that follow", (LENGTH_FITS,)),
        Field("value", BE32, "SHUT: 0 if all went well; PONG: the value of the PING", when=Constant(0) < name("length")),
    ),
    "migration/migration.c:migrate_send_rp_message",
    "One message of the return path; SHUT is the last.",
)

TABLES: Final = (MESSAGE,)
"""All tables of this module."""
