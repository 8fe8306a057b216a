"""The closed list of reasons to refuse an input, and the one error that carries them.

The names are language-neutral: vectors, reports and subjects in any language use the values.
"""

from enum import StrEnum


class Reason(StrEnum):
    """Why an input is refused."""

    # Which channel is this?
    CHANNEL_MAGIC = "channel-magic"
    """The first four bytes of a connection belong to no kind of channel."""
    CHANNEL_REPEATED = "channel-repeated"
    """A second main channel, or a second channel with this id."""
    CHANNEL_ID = "channel-id"
    """A multifd channel id which is not below the number of channels."""
    HELLO_VERSION = "hello-version"
    """The first packet of a multifd channel has another version than 1."""
    HELLO_UUID = "hello-uuid"
    """The first packet of a multifd channel names another machine."""

    # Stream header and configuration section.
    STREAM_MAGIC = "stream-magic"
    """The main channel does not begin with QEVM."""
    STREAM_VERSION = "stream-version"
    """The stream has a version that nobody knows."""
    STREAM_VERSION_OBSOLETE = "stream-version-obsolete"
    """The stream has version 2, which is no longer read."""
    CONFIGURATION_MISSING = "configuration-missing"
    """The configuration section does not follow the stream header."""
    CONFIGURATION_SUBSECTION = "configuration-subsection"
    """A subsection of the configuration that is unknown, malformed, repeated or out of order."""
    MACHINE_MISMATCH = "machine-mismatch"
    """The source runs another machine type."""
    PAGE_SIZE_MISMATCH = "page-size-mismatch"
    """Source and destination disagree about the size of a target page."""
    CAPABILITY_MISMATCH = "capability-mismatch"
    """The source has a validated capability on that the destination has not, or the reverse."""

    # Sections and commands.
    SECTION_TYPE = "section-type"
    """A byte that opens no section, or a section where it may not stand."""
    SECTION_UNKNOWN = "section-unknown"
    """A section for a device or an instance that does not exist here."""
    SECTION_ID = "section-id"
    """A section that continues what no START opened, or reuses a section id."""
    SECTION_VERSION = "section-version"
    """A section in a newer version than is known here."""
    SECTION_FOOTER = "section-footer"
    """The footer of a section is missing or names another section."""
    COMMAND_UNKNOWN = "command-unknown"
    """A command number which is 0 or unknown."""
    COMMAND_LENGTH = "command-length"
    """A command with another length than its kind has."""
    COMMAND_DEPRECATED = "command-deprecated"
    """The command ENABLE_COLO, which nobody sends any more."""
    RETURN_PATH_MISSING = "return-path-missing"
    """A command asks for an answer before OPEN_RETURN_PATH."""
    POSTCOPY = "postcopy"
    """A command of postcopy: colofd does not receive postcopy."""

    # RAM section.
    RAM_VERSION = "ram-version"
    """The RAM section has another version than 4."""
    RECORD_FLAGS = "record-flags"
    """A RAM record with an unknown combination of flags."""
    RECORD_UNSUPPORTED = "record-unsupported"
    """A RAM record which exists but is not received here: XBZRLE, HOOK, COMPRESS_PAGE, FULL."""
    RECORD_ADDRESS = "record-address"
    """A record without a page (EOS, MULTIFD_FLUSH) carries an address."""
    CONTINUE_WITHOUT_BLOCK = "continue-without-block"
    """A record continues the block of the record before, and there is none."""
    FLUSH_WITHOUT_MULTIFD = "flush-without-multifd"
    """MULTIFD_FLUSH in a stream without multifd channels."""
    FLUSH_MISSING = "flush-missing"
    """Pages of a round were not followed by a MULTIFD_FLUSH."""
    ZERO_FILL = "zero-fill"
    """A zero record asks for another byte than 0."""
    BLOCK_LIST_MISSING = "block-list-missing"
    """Pages before the list of RAM blocks."""
    BLOCK_LIST_REPEATED = "block-list-repeated"
    """A second list of RAM blocks."""
    BLOCK_LIST_LENGTH = "block-list-length"
    """The lengths of the listed blocks do not add up to the announced total, or one is zero."""
    BLOCK_UNKNOWN = "block-unknown"
    """A RAM block that does not exist here, or an empty or unterminated name."""
    BLOCK_REPEATED = "block-repeated"
    """A RAM block is listed twice."""
    BLOCK_LENGTH = "block-length"
    """A RAM block has another length here."""
    PAGE_RANGE = "page-range"
    """A page lies outside of its block."""
    PAGE_ALIGNMENT = "page-alignment"
    """An offset is not a multiple of the page size."""
    PAGE_REPEATED = "page-repeated"
    """A page stands twice in one packet."""

    # Multifd packets.
    PACKET_MAGIC = "packet-magic"
    """A packet does not begin with the multifd magic."""
    PACKET_VERSION = "packet-version"
    """A packet has another version than 1."""
    PACKET_COMPRESSION = "packet-compression"
    """A packet is compressed by another method than agreed."""
    PACKET_DEVICE_STATE = "packet-device-state"
    """A packet of device state, which is not received here."""
    PACKET_PAGES_ALLOC = "packet-pages-alloc"
    """A packet claims room for more pages than one may hold."""
    PACKET_NORMAL_PAGES = "packet-normal-pages"
    """More normal pages than the packet has room for."""
    PACKET_ZERO_PAGES = "packet-zero-pages"
    """More zero pages than the packet has room for."""
    PACKET_OUT_OF_PHASE = "packet-out-of-phase"
    """Pages or SYNC at a time when the receiver expects none: before the block list, between checkpoints."""
    PAYLOAD_SIZE = "payload-size"
    """The announced size of the payload cannot be right."""
    PAYLOAD_CORRUPT = "payload-corrupt"
    """The payload does not decompress."""
    PAYLOAD_LENGTH = "payload-length"
    """The payload decompresses to another length than its pages have, or leaves bytes over."""

    # COLO messages and device state.
    COLO_MESSAGE_UNKNOWN = "colo-message-unknown"
    """A COLO message with an unknown number."""
    COLO_MESSAGE_UNEXPECTED = "colo-message-unexpected"
    """A COLO message that may not come now."""
    DEVICE_STATE_SIZE = "device-state-size"
    """Device state larger than allowed, or empty."""
    DEVICE_STATE_REFUSED = "device-state-refused"
    """The embedder refuses the device state of a checkpoint."""
    DESCRIPTION_MISSING = "description-missing"
    """No vmdescription confirms where the device sections end."""
    DESCRIPTION_MISMATCH = "description-mismatch"
    """The vmdescription does not describe the device sections before it."""

    # Ends.
    TRUNCATED = "truncated"
    """A channel ends inside a record or a packet."""
    CHANNEL_LOST = "channel-lost"
    """A channel ended, or failed, while it was still needed."""
    TRAILING = "trailing"
    """Bytes after the end of a channel."""
    DEADLINE = "deadline"
    """The peer said nothing for too long."""
    EMBEDDER = "embedder"
    """A hook of the embedding program failed."""
    CLOSED = "closed"
    """The destination was closed, or failover took over, while this was going on."""


class Rejected(Exception):  # noqa: N818  # the field says "rejected", and a reader of a report does not care that it is an exception
    """An input was refused. The only error that bad input raises, on every path.

    Attributes:
        reason: one of `Reason`.
        channel: name of the channel ("main", "mfd0", ...), or "" if no channel is concerned.
        offset: bytes of that channel before the thing that was refused, counted from its first byte; -1 if none.
        read: what was read, as text.
        expected: what was expected, as text.
    """

    def __init__(self, reason: Reason, *, channel: str = "", offset: int = -1, read: object = "", expected: object = "") -> None:
        self.reason = reason
        self.channel = channel
        self.offset = offset
        self.read = str(read)
        self.expected = str(expected)
        where = f" on {channel} at byte {offset}" if channel and offset >= 0 else f" on {channel}" if channel else ""
        what = f": read {self.read}, expected {self.expected}" if self.expected else f": {self.read}" if self.read else ""
        super().__init__(f"{reason}{where}{what}")
