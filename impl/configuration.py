"""The stream header and the configuration section (migration/savevm.c:vmstate_configuration)."""

from colofd.impl.memory import Layout
from colofd.impl.reception import Options
from colofd.impl.stream import MainStream
from colofd.spec.constants import STREAM_VERSION, STREAM_VERSION_OBSOLETE, UUID_SIZE, SectionType
from colofd.spec.reasons import Reason


class Configuration:
    """Reads and checks what stands before the first section."""

    def __init__(self, stream: MainStream, options: Options, layout: Layout) -> None:
        self._stream = stream
        self._options = options
        self._page_size = layout.page_size

    def read(self) -> None:
        """Read the header and the configuration. Raises Rejected."""
        self._header()
        at = self._stream.begin_item()
        if (section := self._stream.be8()) != SectionType.CONFIGURATION:
            raise self._stream.rejected(Reason.CONFIGURATION_MISSING, at, f"section type {section:#04x}", "the configuration section")
        self._machine()
        self._subsections()

    def _header(self) -> None:
        at = self._stream.begin_item()
        # The magic: by it the channel was told to be this one.
        self._stream.be32()
        version = self._stream.be32()
        if version == STREAM_VERSION_OBSOLETE:
            raise self._stream.rejected(Reason.STREAM_VERSION_OBSOLETE, at + 4, version, STREAM_VERSION)
        if version != STREAM_VERSION:
            raise self._stream.rejected(Reason.STREAM_VERSION, at + 4, version, STREAM_VERSION)

    def _machine(self) -> None:
        at = self._stream.offset
        size = self._stream.be32()
        if size > self._options.limits.machine:
            limit = self._options.limits.machine
            raise self._stream.rejected(Reason.MACHINE_MISMATCH, at, f"a name of {size} bytes", f"at most {limit} bytes")
        name = self._stream.take(size).decode("latin-1")
        if self._options.machine is not None and name != self._options.machine:
            raise self._stream.rejected(Reason.MACHINE_MISMATCH, at, repr(name), repr(self._options.machine))

    def _subsections(self) -> None:
        readers = {
            "configuration/target-page-bits": self._target_page_bits,
            "configuration/capabilities": self._capabilities,
            "configuration/uuid": self._uuid,
        }
        while self._stream.peek(1) == bytes([SectionType.SUBSECTION]):
            at = self._stream.begin_item()
            self._stream.be8()
            name = self._stream.text()
            if name not in readers:
                raise self._stream.rejected(Reason.CONFIGURATION_SUBSECTION, at + 1, repr(name), f"one of {sorted(readers)}, in order")
            version_at = self._stream.offset
            if (version := self._stream.be32()) != 1:
                raise self._stream.rejected(Reason.CONFIGURATION_SUBSECTION, version_at, f"version {version}", "version 1")
            # They come in one order, so whatever stands before this one may not come any more.
            while name in readers:
                read = readers.pop(next(iter(readers)))
            read()

    def _target_page_bits(self) -> None:
        at = self._stream.offset
        bits, expected = self._stream.be32(), self._page_size.bit_length() - 1
        if bits != expected:
            raise self._stream.rejected(Reason.PAGE_SIZE_MISMATCH, at, f"{bits} bits", f"{expected} bits")

    def _capabilities(self) -> None:
        at = self._stream.offset
        count = self._stream.be32()
        if count:
            raise self._stream.rejected(Reason.CAPABILITY_MISMATCH, at, f"{count} validated capabilities", "none: not received here")

    def _uuid(self) -> None:
        at = self._stream.offset
        uuid = self._stream.take(UUID_SIZE)
        if self._options.uuid not in {None, uuid}:
            raise self._stream.rejected(Reason.MACHINE_MISMATCH, at, uuid.hex(), "the UUID of this machine")
