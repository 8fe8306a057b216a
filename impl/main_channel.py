"""The main channel: from the stream header to the end of precopy (migration/savevm.c:qemu_loadvm_state)."""

from typing import Final

from colofd.impl.barrier import Barrier
from colofd.impl.commands import ReturnPath
from colofd.impl.configuration import Configuration
from colofd.impl.device_state import DeviceSections
from colofd.impl.reception import Reception
from colofd.impl.records import RamSection
from colofd.impl.stream import MainStream
from colofd.spec.constants import RAM_INSTANCE, RAM_SECTION, RAM_VERSION, ReturnPathMessage, SectionType
from colofd.spec.reasons import Reason

DEVICE_STATE: Final = frozenset({bytes([SectionType.FULL]), bytes([SectionType.EOF])})
"""With either of these begins what is after RAM."""


class MainChannel:
    """Reads the main channel up to the end of precopy.

    Attributes:
        return_path: replies before COLO.
    """

    def __init__(self, stream: MainStream, reception: Reception, barrier: Barrier) -> None:
        self._stream = stream
        self._reception = reception
        self._ram = RamSection(stream, reception, barrier)
        self._ram_ids: set[int] = set()
        self.return_path = ReturnPath(stream)

    def read_precopy(self) -> bytes:
        """Read everything up to the device sections and their description; return the device sections. Raises Rejected, or EndedError."""
        Configuration(self._stream, self._reception.options, self._reception.layout).read()
        while self._stream.peek(1) not in DEVICE_STATE:
            self._read_section()
        limits = self._reception.options.limits
        return DeviceSections(self._stream, self._reception.layout.page_size, limits.device_state, limits.description).read()

    def read_checkpoint_ram(self) -> None:
        """Read the RAM sections of a checkpoint, and the EOF byte (migration/savevm.c:qemu_loadvm_state_main).

        Raises Rejected, or EndedError.
        """
        at = self._stream.begin_item()
        while (section := self._stream.be8()) != SectionType.EOF:
            if section not in {SectionType.PART, SectionType.END}:
                raise self._stream.rejected(Reason.SECTION_TYPE, at, f"{section:#04x}", "PART or END of ram, or EOF")
            self._continue_ram()
            at = self._stream.begin_item()

    def _read_section(self) -> None:
        at = self._stream.begin_item()
        section = self._stream.be8()
        if section == SectionType.COMMAND:
            self.return_path.obey()
        elif section == SectionType.START:
            self._start_ram()
        elif section in {SectionType.PART, SectionType.END}:
            self._continue_ram()
        else:
            raise self._stream.rejected(Reason.SECTION_TYPE, at, f"{section:#04x}", "a section of ram, a command, or device sections")

    def _start_ram(self) -> None:
        at = self._stream.offset
        number = self._stream.be32()
        if len(self._ram_ids) >= self._reception.options.limits.sections:
            raise self._stream.rejected(Reason.SECTION_ID, at, "another START", f"at most {self._reception.options.limits.sections}")
        if number in self._ram_ids:
            raise self._stream.rejected(Reason.SECTION_ID, at, f"section {number} again", "a START with an id of its own")
        name_at = self._stream.offset
        name = self._stream.text()
        if name != RAM_SECTION:
            raise self._stream.rejected(Reason.SECTION_UNKNOWN, name_at, repr(name), repr(RAM_SECTION))
        instance_at = self._stream.offset
        instance = self._stream.be32()
        if instance != RAM_INSTANCE:
            raise self._stream.rejected(Reason.SECTION_UNKNOWN, instance_at, f"instance {instance} of {name}", f"instance {RAM_INSTANCE}")
        version_at = self._stream.offset
        if (version := self._stream.be32()) != RAM_VERSION:
            raise self._stream.rejected(Reason.RAM_VERSION, version_at, version, RAM_VERSION)
        self._ram_ids.add(number)
        self._ram.read()
        self._footer(number)

    def _continue_ram(self) -> None:
        at = self._stream.offset
        number = self._stream.be32()
        if number not in self._ram_ids:
            raise self._stream.rejected(Reason.SECTION_ID, at, f"section {number}", "a START of it before")
        self._ram.read()
        self._footer(number)

    def _footer(self, number: int) -> None:
        at = self._stream.begin_item()
        if (mark := self._stream.be8()) != SectionType.FOOTER:
            raise self._stream.rejected(Reason.SECTION_FOOTER, at, f"{mark:#04x}", f"{SectionType.FOOTER:#04x}")
        if (named := self._stream.be32()) != number:
            raise self._stream.rejected(Reason.SECTION_FOOTER, at + 1, f"section {named}", f"section {number}")

    def shut_return_path(self) -> None:
        """Say that precopy has succeeded, if the source wants to hear."""
        if self.return_path.is_open:
            self.return_path.send(ReturnPathMessage.SHUT, 0)
