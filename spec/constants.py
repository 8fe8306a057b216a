"""Numbers and names that both writings share: the spec's tables and the receiver.

Sources are QEMU files and functions as of 11.0; every integer on the wire is big-endian.
"""

from enum import IntEnum, IntFlag, StrEnum
from typing import Final

TARGET_PAGE_SIZE: Final = 4096
"""Bytes of a target page when nothing else is said (x86)."""

MAIN_CHANNEL: Final = "main"
"""Name of the main channel; multifd channel N is named by `channel_name(N)`."""


def channel_name(channel: int) -> str:
    """Return the name of multifd channel `channel`, as recordings call it: `mfd0`, `mfd1`, ..."""
    return f"mfd{channel}"


# Main channel (migration/savevm.c, migration/qemu-file-types.h).

STREAM_MAGIC: Final = 0x5145564D
"""First four bytes of the main channel, "QEVM"."""

STREAM_VERSION: Final = 3
STREAM_VERSION_OBSOLETE: Final = 2


class SectionType(IntEnum):
    """The byte that opens a section of the main channel (savevm.c:qemu_loadvm_state_main)."""

    EOF = 0x00
    START = 0x01
    PART = 0x02
    END = 0x03
    FULL = 0x04
    SUBSECTION = 0x05
    VMDESCRIPTION = 0x06
    CONFIGURATION = 0x07
    COMMAND = 0x08
    FOOTER = 0x7E


class Command(IntEnum):
    """Commands inside the main channel (savevm.c:enum qemu_vm_cmd)."""

    INVALID = 0
    OPEN_RETURN_PATH = 1
    PING = 2
    POSTCOPY_ADVISE = 3
    POSTCOPY_LISTEN = 4
    POSTCOPY_RUN = 5
    POSTCOPY_RAM_DISCARD = 6
    PACKAGED = 7
    ENABLE_COLO = 8
    POSTCOPY_RESUME = 9
    RECV_BITMAP = 10
    SWITCHOVER_START = 11


COMMAND_LENGTHS: Final = {
    Command.OPEN_RETURN_PATH: 0,
    Command.PING: 4,
    Command.SWITCHOVER_START: 0,
}
"""Bytes after each command that is received here (savevm.c:mig_cmd_args)."""


class ReturnPathMessage(IntEnum):
    """Messages from the destination to the source (migration.c:enum mig_rp_message_type)."""

    SHUT = 1
    PONG = 2
    REQ_PAGES_ID = 3
    REQ_PAGES = 4
    RECV_BITMAP = 5
    RESUME_ACK = 6
    SWITCHOVER_ACK = 7


RETURN_PATH_LENGTHS: Final = {
    ReturnPathMessage.SHUT: 4,
    ReturnPathMessage.PONG: 4,
    ReturnPathMessage.SWITCHOVER_ACK: 0,
}
"""Bytes after each return-path message outside of postcopy (migration.c:rp_cmd_args)."""

RAM_SECTION: Final = "ram"
RAM_INSTANCE: Final = 0
RAM_VERSION: Final = 4


class RecordFlag(IntFlag):
    """Low bits of the be64 that opens a RAM record (ram.c:RAM_SAVE_FLAG_*)."""

    FULL = 0x001
    ZERO = 0x002
    MEM_SIZE = 0x004
    PAGE = 0x008
    EOS = 0x010
    CONTINUE = 0x020
    XBZRLE = 0x040
    HOOK = 0x080
    COMPRESS_PAGE = 0x100
    MULTIFD_FLUSH = 0x200


# Multifd channels (migration/multifd.h, multifd.c).

MULTIFD_MAGIC: Final = 0x11223344
MULTIFD_VERSION: Final = 1
HELLO_SIZE: Final = 64
"""Bytes of MultiFDInit_t, the first packet of a multifd channel."""

UUID_SIZE: Final = 16
PACKET_HEAD_SIZE: Final = 12
"""Bytes of magic, version and flags, read before the rest since 10.0."""

PACKET_FIXED_SIZE: Final = 320
"""Bytes of a packet header before its array of offsets."""

BLOCK_NAME_SIZE: Final = 256
DEVICE_STATE_PACKET_SIZE: Final = 276
MULTIFD_PACKET_BYTES: Final = 512 * 1024
"""Bytes of page data that one packet may carry (multifd.h:MULTIFD_PACKET_SIZE)."""


class PacketFlag(IntFlag):
    """Flags of a multifd packet (multifd.h:MULTIFD_FLAG_*)."""

    SYNC = 0x01
    ZLIB = 0x02
    ZSTD = 0x04
    QPL = 0x08
    UADK = 0x10
    QATZIP = 0x20
    DEVICE_STATE = 0x40


COMPRESSED_PAYLOAD_LIMIT: Final = 2 * MULTIFD_PACKET_BYTES
"""Largest payload of a compressed packet; QEMU's buffer is this large (multifd-zlib.c:multifd_zlib_recv_setup)."""

ZSTD_WINDOW_LIMIT: Final = 1 << 25
"""Bytes of the largest window that a source may ask for: level 20 does, the highest (options.c:migrate_params_check; zstd 1.5).

Each channel holds as much. QEMU itself takes what zstd takes by default, 128 MiB (ZSTD_WINDOWLOG_LIMIT_DEFAULT).
"""

COMPRESSION_MASK: Final = 0x3E
"""Bits of the packet flags that name the compression method; none of them set: uncompressed."""


class Compression(StrEnum):
    """The multifd-compression methods that colofd reads."""

    NONE = "none"
    ZLIB = "zlib"
    ZSTD = "zstd"


COMPRESSION_FLAGS: Final = {
    Compression.NONE: 0,
    Compression.ZLIB: int(PacketFlag.ZLIB),
    Compression.ZSTD: int(PacketFlag.ZSTD),
}


def pages_per_packet(page_size: int) -> int:
    """Return how many offsets a packet header holds: 128 for 4 KiB pages (multifd-nocomp.c:multifd_ram_page_count)."""
    return MULTIFD_PACKET_BYTES // page_size


def packet_size(page_size: int) -> int:
    """Return the bytes of a packet header: 1344 for 4 KiB pages. It is never carried on the wire."""
    return PACKET_FIXED_SIZE + 8 * pages_per_packet(page_size)


# COLO (qapi/migration.json:COLOMessage, migration/colo.c).


class ColoMessage(IntEnum):
    """Control messages of COLO, one be32 each; VMSTATE_SIZE is followed by a be64."""

    CHECKPOINT_READY = 0
    CHECKPOINT_REQUEST = 1
    CHECKPOINT_REPLY = 2
    VMSTATE_SEND = 3
    VMSTATE_SIZE = 4
    VMSTATE_RECEIVED = 5
    VMSTATE_LOADED = 6


DEVICE_STATE_LIMIT: Final = 256 * 1024 * 1024
"""Largest device state of a checkpoint that is accepted when nothing else is said; QEMU has no limit."""


class Step(StrEnum):
    """The micro-steps of a receiver. Each is the id of a rule; a recorded run is a list of them."""

    START = "phase.start"
    PREPARE = "receive.prepare"
    ZERO_PAGE = "receive.zero-page"
    READ_PART = "receive.read-part"
    READ_PAGE = "receive.read-page"
    PAYLOAD_COMPLETE = "receive.payload-complete"
    MIRROR = "receive.mirror"
    PACKET_DONE = "receive.packet-done"
    MAIN_PREPARE = "main.prepare"
    MAIN_ZERO_PAGE = "main.zero-page"
    MAIN_READ_PART = "main.read-part"
    MAIN_READ_PAGE = "main.read-page"
    MAIN_MIRROR = "main.mirror"
    PARK = "barrier.park"
    RELEASE = "barrier.release"
    EXIT = "thread.exit"
    COMPLETE = "phase.complete"
    FILL_BEGIN = "phase.fill-begin"
    ENTER_COLO = "phase.enter-colo"
    GIVE_UP = "phase.give-up"
    CHECKPOINT_BEGIN = "checkpoint.begin"
    CHECKPOINT_RECEIVED = "checkpoint.received"
    ANSWER = "checkpoint.answer"
    FLUSH_BEGIN = "checkpoint.flush-begin"
    FLUSH_PAGE = "checkpoint.flush-page"
    COMMIT = "checkpoint.commit"
    TAKE_OVER = "failover.take-over"
    STOP = "failover.stop"
    RELEASE_CACHE = "own.release-cache"
    RELEASE_RECEIVEDMAP = "own.release-receivedmap"
