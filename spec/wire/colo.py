"""The messages of COLO, on the main channel in both directions (migration/colo.c:colo_send_message)."""

from typing import Final

from colofd.spec.constants import ColoMessage
from colofd.spec.reasons import Reason
from colofd.spec.wire.expressions import Constant
from colofd.spec.wire.fields import BE32, BE64, U8, Check, Field, Raw, Table, becomes, name

_RECEIVE: Final = "migration/colo.c:colo_receive_message"

CHECKPOINT_MESSAGES: Final = (ColoMessage.CHECKPOINT_REQUEST, ColoMessage.VMSTATE_SEND, ColoMessage.VMSTATE_SIZE)
"""What the primary sends for a checkpoint, in this order."""

CHECKPOINT_REPLIES: Final = (ColoMessage.CHECKPOINT_REPLY, ColoMessage.VMSTATE_RECEIVED, ColoMessage.VMSTATE_LOADED)
"""What the secondary sends for a checkpoint, in this order, after one CHECKPOINT_READY."""

MESSAGE_IS_KNOWN = Check(
    "wire.colo.message",
    name("message") < len(ColoMessage),
    Reason.COLO_MESSAGE_UNKNOWN,
    _RECEIVE,
    becomes("message", len(ColoMessage)),
)
MESSAGE_IS_EXPECTED = Check(
    "wire.colo.message-order",
    name("message").equals(name("expected_message")),
    Reason.COLO_MESSAGE_UNEXPECTED,
    "migration/colo.c:colo_receive_check_message",
    becomes("message", (name("message") + 1) % len(ColoMessage)),
)
STATE_HAS_BYTES = Check(
    "wire.colo.size-zero",
    Constant(0) < name("size"),
    Reason.DEVICE_STATE_SIZE,
    "migration/colo.c:colo_incoming_process_checkpoint",
    becomes("size", 0),
    qemu="not checked: loading fails later, after guest RAM has been changed",
)
STATE_IS_BOUNDED = Check(
    "wire.colo.size-limit",
    name("size") <= name("device_state_limit"),
    Reason.DEVICE_STATE_SIZE,
    "migration/colo.c:colo_incoming_process_checkpoint",
    becomes("size", name("device_state_limit") + 1),
    qemu="not checked: a buffer of any size is allocated",
)
MESSAGE = Table(
    "colo.message",
    (
        Field("message", BE32, "one of ColoMessage", (MESSAGE_IS_KNOWN, MESSAGE_IS_EXPECTED)),
        Field(
            "size",
            BE64,
            "bytes of device state that follow",
            (STATE_HAS_BYTES, STATE_IS_BOUNDED),
            when=name("message").equals(ColoMessage.VMSTATE_SIZE),
        ),
    ),
    "migration/colo.c:colo_send_message",
    "One message.",
)

STATE_ENDS = Check(
    "wire.colo.state-end",
    name("end").equals(0),
    Reason.SECTION_TYPE,
    "migration/savevm.c:qemu_load_device_state",
    becomes("end", 1),
    qemu="found while loading, after guest RAM has been changed",
)
DEVICE_STATE = Table(
    "colo.device-state",
    (
        Field("state", Raw(name("state_size")), "device sections (main.device-section), without a description", payload=True),
        Field("end", U8, "section type EOF", (STATE_ENDS,)),
    ),
    "migration/savevm.c:qemu_save_device_state",
    "The device state of a checkpoint: as many bytes as VMSTATE_SIZE said.",
)

TABLES: Final = (MESSAGE, DEVICE_STATE)
"""All tables of this module."""
