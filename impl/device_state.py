"""Where the device sections end.

FULL sections carry no length. A boundary is a candidate until the EOF byte and the vmdescription behind it
account for every byte: sizes, names, instances, versions and ids (migration/savevm.c:vmstate_save_vmsd_v, qemu_savevm_state_vmdesc).
"""

import json
import struct
from dataclasses import dataclass
from typing import Any, Final

from colofd.impl.stream import MainStream
from colofd.spec.constants import SectionType
from colofd.spec.reasons import Reason, Rejected

MARK: Final = bytes([SectionType.EOF, SectionType.VMDESCRIPTION])
LENGTH_SIZE: Final = 4
HEAD_SIZE: Final = len(MARK) + LENGTH_SIZE
TRIES: Final = 256
"""Candidates that are looked into. More do not come by chance, and each costs time."""


class _MismatchError(Exception):
    """The description does not describe the sections; arguments: offset of the disagreement, what was read, what was expected."""


@dataclass(frozen=True)
class _Candidate:
    """An EOF byte at `end`, if the description in text[start:stop] confirms it; all relative to the first section."""

    end: int
    start: int
    stop: int


class DeviceSections:
    """Finds the end of the device sections at the end of precopy."""

    def __init__(self, stream: MainStream, page_size: int, device_limit: int, description_limit: int) -> None:
        self._stream = stream
        self._page_size = page_size
        self._device_limit = device_limit
        self._description_limit = description_limit
        self._pending: list[_Candidate] = []
        self._searched = 0
        self._tries = 0
        self._refusal: Rejected | None = None

    def read(self) -> bytes:
        """Return the sections with their EOF byte; the description is read, too, and nothing after it.

        Raises Rejected: DESCRIPTION_MISSING, DESCRIPTION_MISMATCH, DEVICE_STATE_SIZE, TRUNCATED, and what the stream raises.
        """
        while True:
            self._search()
            confirmed = self._confirmed()
            if confirmed is not None:
                sections = self._stream.take(confirmed.end + 1)
                self._stream.take(confirmed.stop - confirmed.end - 1)
                return sections
            self._require_within_limits()
            self._read_ahead()

    def _search(self) -> None:
        ahead = self._stream.ahead
        at = ahead.find(MARK, self._searched)
        while 0 <= at <= len(ahead) - HEAD_SIZE - 1:
            start = at + HEAD_SIZE
            size = int.from_bytes(ahead[at + len(MARK) : start])
            if ahead[start] == ord("{") and size <= self._description_limit:
                self._pending.append(_Candidate(at, start, start + size))
            at = ahead.find(MARK, at + 1)
        self._searched = at if at >= 0 else max(0, len(ahead) - len(MARK) + 1)

    def _confirmed(self) -> _Candidate | None:
        for candidate in list(self._pending):
            if candidate.stop <= len(self._stream.ahead):
                self._pending.remove(candidate)
                if self._stream.ahead[candidate.stop - 1] == ord("}") and self._is_confirmed(candidate):
                    return candidate
        return None

    def _is_confirmed(self, candidate: _Candidate) -> bool:
        ahead = self._stream.ahead
        self._tries += 1
        if self._tries > TRIES:
            raise self._refusal or self._stream.rejected(
                Reason.DESCRIPTION_MISSING, self._stream.offset, f"{TRIES} texts that could be one", "a vmdescription"
            )
        try:
            description = json.loads(ahead[candidate.start : candidate.stop])
        except (ValueError, RecursionError):
            return False
        try:
            _Walk(bytes(ahead[: candidate.end]), self._page_size).check(description)
        except _MismatchError as mismatch:
            offset, read, expected = mismatch.args
            if self._refusal is None:
                self._refusal = self._stream.rejected(Reason.DESCRIPTION_MISMATCH, self._stream.offset + offset, read, expected)
            return False
        return True

    def _require_within_limits(self) -> None:
        size = len(self._stream.ahead)
        if not self._pending and size > self._device_limit:
            if self._refusal is not None:
                raise self._refusal
            limit = f"at most {self._device_limit} bytes"
            raise self._stream.rejected(Reason.DEVICE_STATE_SIZE, self._stream.offset, f"more than {size} bytes", limit)
        if size > self._device_limit + self._description_limit + HEAD_SIZE:
            raise self._refusal or self._stream.rejected(
                Reason.DESCRIPTION_MISSING, self._stream.offset, f"{size} bytes", "device sections and their vmdescription"
            )

    def _read_ahead(self) -> None:
        try:
            if self._stream.read_ahead():
                return
        except Rejected as error:
            if error.reason is Reason.DEADLINE and self._refusal is not None:
                raise self._refusal from None
            raise
        size = len(self._stream.ahead)
        if self._refusal is not None:
            raise self._refusal
        if self._pending:
            raise self._stream.rejected(
                Reason.TRUNCATED, self._stream.offset + self._pending[0].start, "the end of the channel", "the whole vmdescription"
            )
        raise self._stream.rejected(
            Reason.DESCRIPTION_MISSING, self._stream.offset + size, "the end of the channel", "a vmdescription after the device sections"
        )


class _Walk:
    """Lays the described sections front to back over the bytes."""

    def __init__(self, data: bytes, page_size: int) -> None:
        self._data = data
        self._page_size = page_size
        self._at = 0

    def check(self, description: Any) -> None:
        """Raise _MismatchError unless the description accounts for every byte."""
        if not isinstance(description, dict) or not isinstance(description.get("devices"), list):
            raise _MismatchError(len(self._data), "JSON of another shape", "a description of devices")
        page_size = description.get("page_size")
        if page_size != self._page_size:
            raise _MismatchError(len(self._data), f"page size {page_size}", f"page size {self._page_size}")
        seen: set[int] = set()
        for device in description["devices"]:
            self._section(device, seen)
        if self._at != len(self._data):
            raise _MismatchError(self._at, f"{len(self._data) - self._at} bytes that no device describes", "none")

    def _section(self, device: Any, seen: set[int]) -> None:
        if not isinstance(device, dict):
            raise _MismatchError(self._at, "a device that is no JSON object", "a device")
        name, instance, version = _text(device, "name"), _number(device, "instance_id"), _number(device, "version")
        self._expect(bytes([SectionType.FULL]), f"the section of {name}")
        section = self._data[self._at : self._at + 4]
        self._at += 4
        number = int.from_bytes(section)
        if number in seen:
            raise _MismatchError(self._at - 4, f"section id {number} again", "an id of its own")
        seen.add(number)
        self._expect(_counted(name) + struct.pack(">II", instance, version), f"{name}, instance {instance}, version {version}")
        self._fields(device)
        self._expect(bytes([SectionType.FOOTER]) + section, f"the footer of {name}")

    def _fields(self, parent: dict[str, Any]) -> None:
        fields, subsections = parent.get("fields", []), parent.get("subsections", [])
        if not isinstance(fields, list) or not isinstance(subsections, list):
            raise _MismatchError(self._at, "fields that are no list", "a list")
        for field in fields:
            if not isinstance(field, dict):
                raise _MismatchError(self._at, "a field that is no JSON object", "a field")
            self._at += _number(field, "size") * _number(field, "array_len", 1)
        for subsection in subsections:
            if not isinstance(subsection, dict):
                raise _MismatchError(self._at, "a subsection that is no JSON object", "a subsection")
            name = _text(subsection, "vmsd_name")
            head = bytes([SectionType.SUBSECTION]) + _counted(name) + struct.pack(">I", _number(subsection, "version"))
            self._expect(head, f"subsection {name}")
            self._fields(subsection)

    def _expect(self, expected: bytes, what: str) -> None:
        read = self._data[self._at : self._at + len(expected)]
        if read != expected:
            raise _MismatchError(min(self._at, len(self._data)), read.hex(), f"{expected.hex()} ({what})")
        self._at += len(expected)


def _number(parent: dict[str, Any], key: str, default: int | None = None) -> int:
    value = parent.get(key, default)
    if type(value) is not int or not 0 <= value < 1 << 32:
        raise _MismatchError(0, f"{key} {value!r}", "a number of 32 bits")
    return value


def _text(parent: dict[str, Any], key: str) -> str:
    value = parent.get(key)
    if not isinstance(value, str) or not 0 < len(value.encode("utf-8", "surrogatepass")) < 256:
        raise _MismatchError(0, f"{key} {value!r}", "a text of 1 to 255 bytes")
    return value


def _counted(name: str) -> bytes:
    encoded = name.encode("utf-8", "surrogatepass")
    return bytes([len(encoded)]) + encoded
