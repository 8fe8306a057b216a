"""The main channel: stream header, configuration, sections, commands, description."""

from typing import Final

from colofd.spec.constants import (
    COMMAND_LENGTHS,
    RAM_INSTANCE,
    RAM_SECTION,
    RAM_VERSION,
    STREAM_MAGIC,
    STREAM_VERSION,
    STREAM_VERSION_OBSOLETE,
    UUID_SIZE,
    Command,
    SectionType,
)
from colofd.spec.reasons import Reason
from colofd.spec.wire.expressions import Constant
from colofd.spec.wire.fields import BE16, BE32, U8, Check, CountedText, Field, Raw, Table, becomes, name

PAGE_BITS_SUBSECTION: Final = "configuration/target-page-bits"
CAPABILITIES_SUBSECTION: Final = "configuration/capabilities"
UUID_SUBSECTION: Final = "configuration/uuid"
SUBSECTION_ORDER: Final = ((PAGE_BITS_SUBSECTION, 1), (CAPABILITIES_SUBSECTION, 2), (UUID_SUBSECTION, 3))
"""The subsections of the configuration, in the order of the stream."""

VALIDATED_CAPABILITIES: Final = ("x-ignore-shared", "mapped-ram")
"""The capabilities that the configuration names (migration/savevm.c:should_validate_capability)."""

POSTCOPY_COMMANDS: Final = (
    Command.POSTCOPY_ADVISE,
    Command.POSTCOPY_LISTEN,
    Command.POSTCOPY_RUN,
    Command.POSTCOPY_RAM_DISCARD,
    Command.PACKAGED,
    Command.POSTCOPY_RESUME,
    Command.RECV_BITMAP,
)
"""Commands of postcopy, and PACKAGED, which only postcopy uses."""

STREAM_SECTIONS: Final = (
    SectionType.EOF,
    SectionType.START,
    SectionType.PART,
    SectionType.END,
    SectionType.FULL,
    SectionType.COMMAND,
)
"""What may come after the configuration."""

CHECKPOINT_SECTIONS: Final = (SectionType.EOF, SectionType.PART, SectionType.END)
"""What may come in the RAM part of a checkpoint."""

_STREAM_HEADER: Final = "migration/savevm.c:qemu_loadvm_state_header"
_CONFIGURATION: Final = "migration/savevm.c:configuration_post_load"
_LOAD_STATE: Final = "migration/savevm.c:qemu_loadvm_state_main"
_SECTION_START: Final = "migration/savevm.c:qemu_loadvm_section_start_full"
_SECTION_PART: Final = "migration/savevm.c:qemu_loadvm_section_part_end"
_FOOTER: Final = "migration/savevm.c:check_section_footer"
_COMMAND: Final = "migration/savevm.c:loadvm_process_command"

MAGIC_IS_QEVM = Check(
    "wire.main.magic",
    name("magic").equals(STREAM_MAGIC),
    Reason.STREAM_MAGIC,
    _STREAM_HEADER,
    becomes("magic", STREAM_MAGIC + 1),
)
VERSION_IS_NOT_OBSOLETE = Check(
    "wire.main.version-obsolete",
    name("version").differs(STREAM_VERSION_OBSOLETE),
    Reason.STREAM_VERSION_OBSOLETE,
    _STREAM_HEADER,
    becomes("version", STREAM_VERSION_OBSOLETE),
)
VERSION_IS_KNOWN = Check(
    "wire.main.version",
    name("version").equals(STREAM_VERSION),
    Reason.STREAM_VERSION,
    _STREAM_HEADER,
    becomes("version", STREAM_VERSION + 1),
)
HEADER = Table(
    "main.header",
    (
        Field("magic", BE32, "the letters QEVM", (MAGIC_IS_QEVM,)),
        Field("version", BE32, "version of the stream format", (VERSION_IS_NOT_OBSOLETE, VERSION_IS_KNOWN)),
    ),
    "migration/savevm.c:qemu_savevm_send_header",
    "The first bytes of the main channel.",
)

CONFIGURATION_IS_SENT = Check(
    "wire.configuration.present",
    name("type").equals(SectionType.CONFIGURATION),
    Reason.CONFIGURATION_MISSING,
    _STREAM_HEADER,
    becomes("type", SectionType.START),
)
MACHINE_IS_OURS = Check(
    "wire.configuration.machine",
    name("machine").equals(name("local_machine")),
    Reason.MACHINE_MISMATCH,
    _CONFIGURATION,
    becomes("machine", "isapc"),
)
CONFIGURATION = Table(
    "main.configuration",
    (
        Field("type", U8, "section type CONFIGURATION", (CONFIGURATION_IS_SENT,)),
        Field("machine", CountedText(4), "machine type of the source", (MACHINE_IS_OURS,)),
    ),
    "migration/savevm.c:vmstate_configuration",
    "The configuration section, without its subsections; it has no footer.",
)

SUBSECTION_IN_ORDER = Check(
    "wire.configuration.subsection-order",
    Constant(SUBSECTION_ORDER).at(name("previous_subsection")) < Constant(SUBSECTION_ORDER).at(name("name")),
    Reason.CONFIGURATION_SUBSECTION,
    "migration/vmstate.c:vmstate_subsection_load",
    becomes("name", "configuration/other"),
    qemu="not checked: order and repetition are free; an unknown subsection is refused",
)
SUBSECTION_VERSION = Check(
    "wire.configuration.subsection-version",
    name("version").equals(1),
    Reason.CONFIGURATION_SUBSECTION,
    "migration/vmstate.c:vmstate_load_state",
    becomes("version", 2),
)
SUBSECTION = Table(
    "main.configuration-subsection",
    (
        Field("type", U8, "section type SUBSECTION, which is what tells that there is one"),
        Field("name", CountedText(1), "which one", (SUBSECTION_IN_ORDER,)),
        Field("version", BE32, "version of the subsection", (SUBSECTION_VERSION,)),
    ),
    "migration/vmstate.c:vmstate_subsection_save",
    "The head of a subsection of the configuration.",
)

PAGE_SIZE_IS_OURS = Check(
    "wire.configuration.page-bits",
    name("bits").equals(name("page_bits")),
    Reason.PAGE_SIZE_MISMATCH,
    _CONFIGURATION,
    becomes("bits", name("page_bits") + 1),
)
PAGE_BITS = Table(
    "main.configuration-page-bits",
    (Field("bits", BE32, "binary logarithm of the size of a target page", (PAGE_SIZE_IS_OURS,)),),
    "migration/savevm.c:vmstate_target_page_bits",
    "Sent by targets whose page size differs from their smallest one.",
    follows="main.configuration-subsection",
)

CAPABILITIES_ARE_AS_MANY = Check(
    "wire.configuration.capability-count",
    name("count").equals(name("capabilities").length()),
    Reason.CAPABILITY_MISMATCH,
    "migration/savevm.c:configuration_validate_capabilities",
    becomes("count", name("capabilities").length() + 1),
)
CAPABILITIES = Table(
    "main.configuration-capabilities",
    (Field("count", BE32, "number of names that follow", (CAPABILITIES_ARE_AS_MANY,)),),
    "migration/savevm.c:get_validatable_capabilities_count",
    "Sent if a validated capability is on.",
    follows="main.configuration-subsection",
)

CAPABILITY_IS_ON = Check(
    "wire.configuration.capability",
    name("name").among(name("capabilities")),
    Reason.CAPABILITY_MISMATCH,
    "migration/savevm.c:configuration_validate_capabilities",
    becomes("name", "mapped-ram"),
)
CAPABILITY = Table(
    "main.configuration-capability",
    (Field("name", CountedText(1), "name of a validated capability that is on at the source", (CAPABILITY_IS_ON,)),),
    "migration/savevm.c:vmstate_info_capability",
    "One name in the list of capabilities.",
)

MACHINE_UUID_IS_OURS = Check(
    "wire.configuration.uuid",
    name("uuid").equals(name("local_uuid")),
    Reason.MACHINE_MISMATCH,
    "migration/savevm.c:vmstate_uuid_post_load",
    becomes("uuid", b"\x01" * UUID_SIZE),
)
CONFIGURATION_UUID = Table(
    "main.configuration-uuid",
    (Field("uuid", Raw(Constant(UUID_SIZE)), "uuid of the source", (MACHINE_UUID_IS_OURS,)),),
    "migration/savevm.c:vmstate_uuid",
    "Sent with the capability validate-uuid.",
    follows="main.configuration-subsection",
)

SECTION_MAY_COME = Check(
    "wire.section.type",
    name("type").among(name("level")),
    Reason.SECTION_TYPE,
    _LOAD_STATE,
    becomes("type", 9),
)
SECTION_TYPE = Table(
    "main.end",
    (Field("type", U8, "section type; 0 ends the sections and stands alone", (SECTION_MAY_COME,)),),
    _LOAD_STATE,
    "The byte that opens every section or command, and the byte 0 that ends a level.",
)

SECTION_IS_NEW = Check(
    "wire.section.id-reused",
    name("section_id").not_among(name("sections")),
    Reason.SECTION_ID,
    _SECTION_START,
    None,
    qemu="not checked: the later section takes over the id",
)
SECTION_IS_RAM = Check(
    "wire.section.name",
    name("name").equals(RAM_SECTION),
    Reason.SECTION_UNKNOWN,
    _SECTION_START,
    becomes("name", "rom"),
)
INSTANCE_EXISTS = Check(
    "wire.section.instance",
    name("instance_id").equals(RAM_INSTANCE),
    Reason.SECTION_UNKNOWN,
    _SECTION_START,
    becomes("instance_id", RAM_INSTANCE + 1),
)
RAM_VERSION_IS_KNOWN = Check(
    "wire.section.ram-version",
    name("version").equals(RAM_VERSION),
    Reason.RAM_VERSION,
    "migration/ram.c:ram_load",
    becomes("version", RAM_VERSION - 1),
)
SECTION_START = Table(
    "main.section-start",
    (
        Field("section_id", BE32, "id by which PART and END name this section", (SECTION_IS_NEW,)),
        Field("name", CountedText(1), "id string of the device", (SECTION_IS_RAM,)),
        Field("instance_id", BE32, "which one of several", (INSTANCE_EXISTS,)),
        Field("version", BE32, "version of the payload", (RAM_VERSION_IS_KNOWN,)),
    ),
    "migration/savevm.c:save_section_header",
    "Head of a START section; the only device with START, PART and END that is received here is ram.",
    follows="main.end",
)

SECTION_WAS_OPENED = Check(
    "wire.section.id",
    name("section_id").among(name("sections")),
    Reason.SECTION_ID,
    _SECTION_PART,
    becomes("section_id", 0x7FFFFFFF),
)
SECTION_PART = Table(
    "main.section-part",
    (Field("section_id", BE32, "id that a START gave", (SECTION_WAS_OPENED,)),),
    "migration/savevm.c:save_section_header",
    "Head of a PART or END section.",
    follows="main.end",
)

FOOTER_IS_THERE = Check(
    "wire.footer.present",
    name("type").equals(SectionType.FOOTER),
    Reason.SECTION_FOOTER,
    _FOOTER,
    becomes("type", 0x7F),
)
FOOTER_NAMES_SECTION = Check(
    "wire.footer.id",
    name("section_id").equals(name("open_section")),
    Reason.SECTION_FOOTER,
    _FOOTER,
    becomes("section_id", name("open_section") + 1),
)
SECTION_FOOTER = Table(
    "main.section-footer",
    (
        Field("type", U8, "section type FOOTER", (FOOTER_IS_THERE,)),
        Field("section_id", BE32, "id of the section that ends here", (FOOTER_NAMES_SECTION,)),
    ),
    "migration/savevm.c:save_section_footer",
    "End of every section.",
)

DEVICE_SECTION = Table(
    "main.device-section",
    (
        Field("type", U8, "section type FULL"),
        Field("section_id", BE32, "id, repeated in the footer"),
        Field("name", CountedText(1), "id string of the device"),
        Field("instance_id", BE32, "which one of several"),
        Field("version", BE32, "version of the payload"),
        Field("state", Raw(name("state_size")), "state of the device, without a length of its own", payload=True),
        Field("footer_type", U8, "section type FOOTER"),
        Field("footer_id", BE32, "id of this section"),
    ),
    "migration/savevm.c:vmstate_save",
    "A FULL section. Its size is known only from the description that follows all of them; what does not fit is refused with "
    "description-mismatch by the reader of the description, since no single field is wrong.",
)

COMMAND_IS_KNOWN = Check(
    "wire.command.known",
    name("command").among(tuple(command for command in Command if command is not Command.INVALID)),
    Reason.COMMAND_UNKNOWN,
    _COMMAND,
    becomes("command", max(Command) + 1),
)
COMMAND_IS_NOT_DEPRECATED = Check(
    "wire.command.deprecated",
    name("command").differs(Command.ENABLE_COLO),
    Reason.COMMAND_DEPRECATED,
    _COMMAND,
    becomes("command", Command.ENABLE_COLO),
)
COMMAND_IS_NOT_POSTCOPY = Check(
    "wire.command.postcopy",
    name("command").not_among(POSTCOPY_COMMANDS),
    Reason.POSTCOPY,
    _COMMAND,
    becomes("command", Command.POSTCOPY_LISTEN),
    qemu="received: QEMU does postcopy",
)
COMMAND_LENGTH_FITS = Check(
    "wire.command.length",
    name("length").equals(Constant(tuple(COMMAND_LENGTHS.items())).at(name("command"))),
    Reason.COMMAND_LENGTH,
    _COMMAND,
    becomes("length", name("length") + 1),
)
COMMAND_CAN_BE_ANSWERED = Check(
    "wire.command.return-path",
    name("return_path").equals(1),
    Reason.RETURN_PATH_MISSING,
    _COMMAND,
    None,
    at="command",
)
COMMAND = Table(
    "main.command",
    (
        Field("command", BE16, "number of the command", (COMMAND_IS_KNOWN, COMMAND_IS_NOT_DEPRECATED, COMMAND_IS_NOT_POSTCOPY)),
        Field("length", BE16, "bytes that follow", (COMMAND_LENGTH_FITS,)),
        Field("value", BE32, "what a PONG must answer", (COMMAND_CAN_BE_ANSWERED,), when=name("command").equals(Command.PING)),
    ),
    "migration/savevm.c:qemu_savevm_command_send",
    "A command to the destination.",
    follows="main.end",
)

DESCRIPTION = Table(
    "main.description",
    (
        Field("type", U8, "section type VMDESCRIPTION"),
        Field("length", BE32, "bytes that follow"),
        Field("text", Raw(name("length")), "JSON: every device section with its fields and their sizes", payload=True),
    ),
    "migration/savevm.c:qemu_savevm_state_complete_precopy_non_iterable",
    "The description of the device sections. QEMU reads and drops it; here it confirms where they end, and its absence is refused "
    "with description-missing.",
)

TABLES: Final = (
    HEADER,
    CONFIGURATION,
    SUBSECTION,
    PAGE_BITS,
    CAPABILITIES,
    CAPABILITY,
    CONFIGURATION_UUID,
    SECTION_TYPE,
    SECTION_START,
    SECTION_PART,
    SECTION_FOOTER,
    DEVICE_SECTION,
    COMMAND,
    DESCRIPTION,
)
"""All tables of this module."""
