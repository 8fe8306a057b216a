"""Reads the main channel: header, configuration, sections, device sections, description, and the checkpoints of COLO."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from colofd.model.decode_ram import RamSection
from colofd.model.decode_tables import Channel, Context, Item, Observer, Record
from colofd.model.description import Confirmed, Device, DeviceSection, MismatchError, confirm, section_at
from colofd.spec.constants import MAIN_CHANNEL, Command, SectionType
from colofd.spec.reasons import Reason
from colofd.spec.wire import colo, main_channel
from colofd.spec.wire.expressions import Value, show


def decode_main(data: bytes, context: Context, *, observer: Observer | None = None) -> Iterator[Item]:
    """Yield the items of a main channel, source to destination, in order.

    Without `context.colo` the channel ends after the description; with it, after any complete checkpoint.

    Raises:
        Rejected: at the first bad byte, after the items before it.
    """
    yield from _MainChannel(Channel(MAIN_CHANNEL, data, observer), context).items()


@dataclass
class _MainChannel:
    channel: Channel
    context: Context
    sections: list[int] = field(default_factory=list)
    has_return_path: bool = False
    known_devices: dict[tuple[int, str], Device] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.ram = RamSection(self.channel, self.context)

    def items(self) -> Iterator[Item]:
        yield self._record().read(main_channel.HEADER).item(main_channel.HEADER.name)
        yield from self._configuration()
        yield from self._stream_sections()
        yield from self._devices_and_description()
        if self.context.colo:
            while not self.channel.at_end:
                yield from self._checkpoint()
        elif not self.channel.at_end:
            left = len(self.channel.data) - self.channel.position
            raise self.channel.rejected(Reason.TRAILING, self.channel.position, read=f"{left} bytes", expected="the end of the channel")

    def _record(self, **values: Value) -> Record:
        return Record(self.channel, self.context.values() | values)

    def _configuration(self) -> Iterator[Item]:
        yield self._record().read(main_channel.CONFIGURATION).item(main_channel.CONFIGURATION.name)
        previous = ""
        capabilities_came = False
        while self.channel.peek() == SectionType.SUBSECTION:
            record = self._record(previous_subsection=previous).read(main_channel.SUBSECTION)
            yield record.item(main_channel.SUBSECTION.name)
            previous = record.text("name")
            capabilities_came |= previous == main_channel.CAPABILITIES_SUBSECTION
            yield from self._subsection_body(previous)
        missing = self.context.values()["capabilities"]
        if missing and not capabilities_came:
            offset = self.channel.position
            raise self.channel.rejected(
                Reason.CAPABILITY_MISMATCH, offset, read="no capabilities", expected=f"capabilities {show(missing)}"
            )

    def _subsection_body(self, name: str) -> Iterator[Item]:
        if name == main_channel.PAGE_BITS_SUBSECTION:
            yield self._record().read(main_channel.PAGE_BITS).item(main_channel.PAGE_BITS.name)
        elif name == main_channel.UUID_SUBSECTION:
            yield self._record().read(main_channel.CONFIGURATION_UUID).item(main_channel.CONFIGURATION_UUID.name)
        else:
            record = self._record().read(main_channel.CAPABILITIES)
            yield record.item(main_channel.CAPABILITIES.name)
            for _ in range(record.integer("count")):
                yield self._record().read(main_channel.CAPABILITY).item(main_channel.CAPABILITY.name)

    def _stream_sections(self) -> Iterator[Item]:
        """Read up to the first FULL section, or the EOF byte if there is none."""
        while self.channel.peek() not in (SectionType.FULL, SectionType.EOF):
            record = self._record(level=main_channel.STREAM_SECTIONS).read(main_channel.SECTION_TYPE)
            if record.integer("type") == SectionType.COMMAND:
                record.values["return_path"] = int(self.has_return_path)
                yield record.read(main_channel.COMMAND).item(main_channel.COMMAND.name)
                self.has_return_path |= record.integer("command") == Command.OPEN_RETURN_PATH
            else:
                yield from self._ram_section(record)

    def _ram_section(self, record: Record) -> Iterator[Item]:
        table = main_channel.SECTION_START if record.integer("type") == SectionType.START else main_channel.SECTION_PART
        record.values["sections"] = tuple(self.sections)
        yield record.read(table).item(table.name)
        section_id = record.integer("section_id")
        if table is main_channel.SECTION_START:
            self.sections.append(section_id)
        yield from self.ram.items()
        yield self._record(open_section=section_id).read(main_channel.SECTION_FOOTER).item(main_channel.SECTION_FOOTER.name)

    def _devices_and_description(self) -> Iterator[Item]:
        confirmed = confirm(self.channel.data, self.channel.position, self.channel.name, self.context.page_size)
        yield from self._device_sections(confirmed)
        yield self._section_type((SectionType.EOF,)).item(main_channel.SECTION_TYPE.name)
        yield self._record().read(main_channel.DESCRIPTION).item(main_channel.DESCRIPTION.name)

    def _device_sections(self, confirmed: Confirmed) -> Iterator[Item]:
        for section in confirmed.sections:
            self.known_devices[section.section_id, section.device.name] = section.device
            yield self._device_section(section)

    def _device_section(self, section: DeviceSection) -> Item:
        record = self._record(state_size=section.device.size)
        return record.read(main_channel.DEVICE_SECTION).item(main_channel.DEVICE_SECTION.name)

    def _section_type(self, level: tuple[SectionType, ...]) -> Record:
        return self._record(level=level).read(main_channel.SECTION_TYPE)

    def _checkpoint(self) -> Iterator[Item]:
        request, send, size = colo.CHECKPOINT_MESSAGES
        yield self._message(request).item(colo.MESSAGE.name)
        yield self._message(send).item(colo.MESSAGE.name)
        record = self._section_type(main_channel.CHECKPOINT_SECTIONS)
        while record.integer("type") != SectionType.EOF:
            yield from self._ram_section(record)
            record = self._section_type(main_channel.CHECKPOINT_SECTIONS)
        yield record.item(main_channel.SECTION_TYPE.name)
        record = self._message(size)
        yield record.item(colo.MESSAGE.name)
        yield from self._device_state(record.integer("size"))

    def _message(self, expected: int) -> Record:
        return self._record(expected_message=expected).read(colo.MESSAGE)

    def _device_state(self, size: int) -> Iterator[Item]:
        start = self.channel.position
        record = self._record(state_size=size - 1).read(colo.DEVICE_STATE)
        sections = self._split(start, start + size - 1)
        if not sections:
            yield record.item(colo.DEVICE_STATE.name)
            return
        self.channel.position = start
        for section in sections:
            yield self._device_section(section)
        yield self._section_type((SectionType.EOF,)).item(main_channel.SECTION_TYPE.name)

    def _split(self, start: int, end: int) -> list[DeviceSection]:
        """Return the device sections in a device state, as far as sizes confirmed before say; none if they do not fit exactly."""
        sections: list[DeviceSection] = []
        data = self.channel.data
        while start < end:
            device = self.known_devices.get(_head(data, start, end))
            if device is None:
                return []
            try:
                sections.append(section_at(data, start, end, device))
            except MismatchError:
                return []
            start = sections[-1].end
        return sections


def _head(data: bytes, start: int, end: int) -> tuple[int, str]:
    """Return section id and id string of the section at `start`, whatever these bytes are."""
    length = data[start + 5] if start + 5 < end else 0
    return int.from_bytes(data[start + 1 : start + 5], "big"), data[start + 6 : start + 6 + length].decode("latin-1")
