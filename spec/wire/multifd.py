"""The multifd channels: a first packet of 64 bytes, then packets (migration/multifd.h, migration/multifd.c)."""

from typing import Final

from colofd.spec.constants import (
    BLOCK_NAME_SIZE,
    COMPRESSED_PAYLOAD_LIMIT,
    COMPRESSION_MASK,
    MULTIFD_MAGIC,
    MULTIFD_VERSION,
    UUID_SIZE,
    PacketFlag,
)
from colofd.spec.reasons import Reason
from colofd.spec.wire.expressions import Constant
from colofd.spec.wire.fields import BE32, BE64, U8, Array, Check, Field, PaddedText, Raw, Table, becomes, name

_HELLO: Final = "migration/multifd.c:multifd_recv_initial_packet"
_PACKET: Final = "migration/multifd.c:multifd_recv_unfill_packet"
_RAM_PACKET: Final = "migration/multifd-nocomp.c:multifd_ram_unfill_packet"

HELLO_MAGIC = Check(
    "wire.hello.magic",
    name("magic").equals(MULTIFD_MAGIC),
    Reason.CHANNEL_MAGIC,
    _HELLO,
    becomes("magic", MULTIFD_MAGIC + 1),
)
HELLO_VERSION = Check(
    "wire.hello.version",
    name("version").equals(MULTIFD_VERSION),
    Reason.HELLO_VERSION,
    _HELLO,
    becomes("version", MULTIFD_VERSION + 1),
)
HELLO_UUID = Check(
    "wire.hello.uuid",
    name("uuid").equals(name("local_uuid")),
    Reason.HELLO_UUID,
    _HELLO,
    becomes("uuid", b"\x01" * UUID_SIZE),
)
HELLO_ID = Check(
    "wire.hello.id",
    name("id") < name("channels"),
    Reason.CHANNEL_ID,
    _HELLO,
    becomes("id", name("channels")),
    qemu="checked; up to 10.0 id == channels was accepted and indexed one past the array",
)
HELLO = Table(
    "multifd.hello",
    (
        Field("magic", BE32, "what tells a multifd channel from the main channel", (HELLO_MAGIC,)),
        Field("version", BE32, "version of the packets", (HELLO_VERSION,)),
        Field("uuid", Raw(Constant(UUID_SIZE)), "uuid of the machine, zeros if it has none", (HELLO_UUID,)),
        Field("id", U8, "number of the channel", (HELLO_ID,)),
        Field("reserved", Raw(Constant(39)), "sent as zeros, not checked"),
    ),
    "migration/multifd.c:MultiFDInit_t",
    "The first packet of a multifd channel.",
)

_PAGES: Final = name("normal_pages") + name("zero_pages")

PACKET_MAGIC = Check(
    "wire.packet.magic",
    name("magic").equals(MULTIFD_MAGIC),
    Reason.PACKET_MAGIC,
    _PACKET,
    becomes("magic", MULTIFD_MAGIC + 1),
)
PACKET_VERSION = Check(
    "wire.packet.version",
    name("version").equals(MULTIFD_VERSION),
    Reason.PACKET_VERSION,
    _PACKET,
    becomes("version", MULTIFD_VERSION + 1),
)
PACKET_IS_RAM = Check(
    "wire.packet.device-state",
    (name("flags") & PacketFlag.DEVICE_STATE).equals(0),
    Reason.PACKET_DEVICE_STATE,
    "migration/multifd.c:multifd_device_state_recv",
    becomes("flags", PacketFlag.DEVICE_STATE),
    qemu="received since 10.0, with a size of up to 4 GiB",
)
ROOM_FITS_PACKET = Check(
    "wire.packet.pages-alloc",
    name("pages_alloc") <= name("page_count"),
    Reason.PACKET_PAGES_ALLOC,
    _RAM_PACKET,
    becomes("pages_alloc", name("page_count") + 1),
)
NORMAL_PAGES_FIT = Check(
    "wire.packet.normal-pages",
    name("normal_pages") <= name("pages_alloc"),
    Reason.PACKET_NORMAL_PAGES,
    _RAM_PACKET,
    becomes("normal_pages", name("pages_alloc") + 1),
)
PAYLOAD_IS_PAGES = Check(
    "wire.packet.payload-size",
    name("compression").differs(0) | name("next_packet_size").equals(name("normal_pages") * name("page_size")),
    Reason.PAYLOAD_SIZE,
    "migration/multifd-nocomp.c:multifd_nocomp_recv",
    becomes("next_packet_size", name("next_packet_size") + 1),
    qemu="not checked: without compression the size is ignored",
)
PAYLOAD_FITS_BUFFER = Check(
    "wire.packet.payload-bound",
    name("compression").equals(0) | (name("next_packet_size") <= COMPRESSED_PAYLOAD_LIMIT),
    Reason.PAYLOAD_SIZE,
    "migration/multifd-zlib.c:multifd_zlib_recv",
    becomes("next_packet_size", COMPRESSED_PAYLOAD_LIMIT + 1),
    qemu="checked since 10.0.13 at the latest; in 7.2 a larger payload is waited for, and its buffer is not that long",
)
PAYLOAD_BELONGS_TO_PAGES = Check(
    "wire.packet.payload-without-pages",
    name("compression").equals(0) | (Constant(0) < name("normal_pages")) | name("next_packet_size").equals(0),
    Reason.PAYLOAD_SIZE,
    "migration/multifd-zlib.c:multifd_zlib_recv",
    becomes("next_packet_size", 1),
    qemu="checked since 10.0.13 at the latest; ignored in 7.2",
)
PAYLOAD_IS_THERE = Check(
    "wire.packet.payload-missing",
    name("compression").equals(0) | name("normal_pages").equals(0) | (Constant(0) < name("next_packet_size")),
    Reason.PAYLOAD_SIZE,
    "migration/multifd-zlib.c:multifd_zlib_recv",
    becomes("next_packet_size", 0),
)
ZERO_PAGES_FIT = Check(
    "wire.packet.zero-pages",
    name("zero_pages") <= name("pages_alloc") - name("normal_pages"),
    Reason.PACKET_ZERO_PAGES,
    _RAM_PACKET,
    becomes("zero_pages", name("pages_alloc") - name("normal_pages") + 1),
)
COMPRESSION_IS_AGREED = Check(
    "wire.packet.compression",
    _PAGES.equals(0) | (name("flags") & COMPRESSION_MASK).equals(name("compression")),
    Reason.PACKET_COMPRESSION,
    "migration/multifd-nocomp.c:multifd_nocomp_recv",
    becomes("flags", name("flags") ^ PacketFlag.QATZIP),
    at="flags",
)
PAGES_COME_AFTER_SYNC = Check(
    "wire.packet.before-first-sync",
    _PAGES.equals(0) | (Constant(0) < name("syncs")),
    Reason.PACKET_OUT_OF_PHASE,
    "migration/ram.c:ram_save_setup",
    None,
    qemu="not checked: the first SYNC holds a channel until the block list is there; pages before it find no receivedmap",
    at="magic",
)
BLOCK_IS_TERMINATED = Check(
    "wire.packet.block-terminated",
    _PAGES.equals(0) | (name("block").length() < BLOCK_NAME_SIZE),
    Reason.BLOCK_UNKNOWN,
    _RAM_PACKET,
    becomes("block", "x" * BLOCK_NAME_SIZE),
    qemu="not checked: the last byte is made a NUL, and that name is looked up",
)
BLOCK_IS_NOT_EMPTY = Check(
    "wire.packet.block-empty",
    _PAGES.equals(0) | (Constant(0) < name("block").length()),
    Reason.BLOCK_UNKNOWN,
    _RAM_PACKET,
    becomes("block", ""),
)
BLOCK_EXISTS = Check(
    "wire.packet.block",
    _PAGES.equals(0) | name("block").among(name("blocks")),
    Reason.BLOCK_UNKNOWN,
    _RAM_PACKET,
    becomes("block", "nowhere"),
)
OFFSET_IS_ALIGNED = Check(
    "wire.packet.offset-alignment",
    (name("element") % name("page_size")).equals(0),
    Reason.PAGE_ALIGNMENT,
    _RAM_PACKET,
    becomes("offsets", 1),
    qemu="not checked: the page is written across two pages",
)
OFFSET_FITS = Check(
    "wire.packet.offset-range",
    name("element") + name("page_size") <= name("blocks").at(name("block")),
    Reason.PAGE_RANGE,
    _RAM_PACKET,
    becomes("offsets", name("blocks").at(name("block"))),
    qemu="checked as offset > length - page_size, which wraps around for a block shorter than a page",
)
OFFSET_IS_NEW = Check(
    "wire.packet.offset-repeated",
    name("element").not_among(name("earlier")),
    Reason.PAGE_REPEATED,
    _RAM_PACKET,
    becomes("offsets", name("offsets").element(0), index=1),
    qemu="not checked: the last one in the packet wins; with COLO guest RAM and cache can differ",
)

PACKET = Table(
    "multifd.packet",
    (
        Field("magic", BE32, "again in every packet", (PACKET_MAGIC,)),
        Field("version", BE32, "again in every packet", (PACKET_VERSION,)),
        Field("flags", BE32, "PacketFlag bits; unknown bits are accepted and reported", (PACKET_IS_RAM,)),
        Field(
            "pages_alloc", BE32, "pages that the sender's packet has room for; 0 in a packet that only carries SYNC", (ROOM_FITS_PACKET,)
        ),
        Field("normal_pages", BE32, "pages with data", (NORMAL_PAGES_FIT,)),
        Field(
            "next_packet_size",
            BE32,
            "bytes of payload after the header",
            (PAYLOAD_IS_PAGES, PAYLOAD_FITS_BUFFER, PAYLOAD_BELONGS_TO_PAGES, PAYLOAD_IS_THERE),
        ),
        Field("packet_num", BE64, "counted over all channels; not checked"),
        Field("zero_pages", BE32, "pages of zeros, since 9.0; before, reserved and 0", (ZERO_PAGES_FIT, COMPRESSION_IS_AGREED)),
        Field("reserved", Raw(Constant(28)), "sent as zeros, not checked", (PAGES_COME_AFTER_SYNC,)),
        Field(
            "block",
            PaddedText(BLOCK_NAME_SIZE),
            "id string of the one block of this packet",
            (BLOCK_IS_TERMINATED, BLOCK_IS_NOT_EMPTY, BLOCK_EXISTS),
        ),
        Field(
            "offsets",
            Array(BE64, name("page_count"), _PAGES),
            "bytes into the block of the normal pages, then of the zero pages; the rest of the array means nothing",
            (OFFSET_IS_ALIGNED, OFFSET_FITS, OFFSET_IS_NEW),
            parts=(
                ("normal_offsets", name("offsets").slice(0, name("normal_pages"))),
                ("zero_offsets", name("offsets").slice(name("normal_pages"), _PAGES)),
            ),
        ),
        Field(
            "payload", Raw(name("next_packet_size")), "the normal pages in the order of their offsets, compressed as agreed", payload=True
        ),
    ),
    "migration/multifd.h:MultiFDPacket_t",
    "A packet of pages, of SYNC, or (before 9.0) of both. Its header has the same length whatever it holds. A payload that does not "
    "decompress is refused with payload-corrupt, one of another length than its pages with payload-length.",
)

DEVICE_STATE_PACKET = Table(
    "multifd.device-state-packet",
    (
        Field("magic", BE32, "as in every packet"),
        Field("version", BE32, "as in every packet"),
        Field("flags", BE32, "with DEVICE_STATE, never with SYNC"),
        Field("name", PaddedText(BLOCK_NAME_SIZE), "id string of the device"),
        Field("instance_id", BE32, "which one of several"),
        Field("next_packet_size", BE32, "bytes of state, not 0"),
        Field("state", Raw(name("next_packet_size")), "state of the device", payload=True),
    ),
    "migration/multifd.h:MultiFDPacketDeviceState_t",
    "Device state on a multifd channel, since 10.0.",
    refused=Reason.PACKET_DEVICE_STATE,
)

TABLES: Final = (HELLO, PACKET, DEVICE_STATE_PACKET)
"""All tables of this module."""
