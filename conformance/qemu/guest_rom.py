"""Our own guest: a 64 KiB ROM for x86 that writes pages of its RAM for ever.

Flat protected mode, no firmware, no interrupts, no devices: nothing of the machine changes but RAM. The guest picks pages by a
linear congruence, fills the start of each with a running pattern, and clears one in eight.
"""

import struct
from dataclasses import dataclass
from typing import Final

SIZE: Final = 0x10000
"""Bytes of the ROM; it ends where the address space of 32 bits does."""

_CODE: Final = 0xFE00
_GDT: Final = _CODE + 0x100
_GDT_POINTER: Final = _CODE + 0x120
_RESET: Final = 0xFFF0
_TOP: Final = (1 << 32) - SIZE
_DESCRIPTORS: Final = bytes(8) + bytes.fromhex("ffff0000009bcf00") + bytes.fromhex("ffff00000093cf00")
"""None, code and data: all of the 4 GiB."""


@dataclass(frozen=True)
class Work:
    """What the guest does: from `seed` on, write `words` 32-bit words of one of `pages` pages above byte `base`, and idle for a while."""

    seed: int = 1
    base: int = 0x100000
    pages: int = 256
    words: int = 64
    idle_loops: int = 200_000


def rom(work: Work) -> bytes:
    """Return the ROM."""
    return with_program(work.seed, _write_for_ever(work))


def with_program(seed: int, program: bytes) -> bytes:
    """Return the ROM that sets esi to `seed` and goes on with a program of 32 bits, which stands anywhere and has at most 200 bytes."""
    code = _to_protected_mode() + _set_segments(seed) + program
    image = bytearray(SIZE)
    image[_CODE : _CODE + len(code)] = code
    image[_GDT : _GDT + len(_DESCRIPTORS)] = _DESCRIPTORS
    image[_GDT_POINTER : _GDT_POINTER + 6] = struct.pack("<HI", len(_DESCRIPTORS) - 1, _TOP + _GDT)
    image[_RESET : _RESET + 3] = b"\xe9" + struct.pack("<h", _CODE - _RESET - 3)
    return bytes(image)


def _dword(number: int) -> bytes:
    return struct.pack("<I", number & 0xFFFFFFFF)


def _to_protected_mode() -> bytes:
    code = bytes.fromhex("fa e492 0c02 e692")  # no interrupts; address line 20 on, by port 0x92
    code += b"\x66\x2e\x0f\x01\x16" + struct.pack("<H", _GDT_POINTER)  # lgdt cs:[pointer]
    code += bytes.fromhex("0f20c0 0c01 0f22c0")  # cr0.PE := 1
    return code + b"\x66\xea" + _dword(_TOP + _CODE + len(code) + 8) + b"\x08\x00"  # jmp 8:next


def _set_segments(seed: int) -> bytes:
    return bytes.fromhex("66b81000 8ed8 8ec0 8ed0") + b"\xbe" + _dword(seed)  # ds, es, ss := 16; esi := seed


def _write_for_ever(work: Work) -> bytes:
    code = b"\x69\xf6" + _dword(1664525) + b"\x81\xc6" + _dword(1013904223)  # esi := esi * a + c
    code += bytes.fromhex("89f0 c1e808 31d2") + b"\xb9" + _dword(work.pages) + b"\xf7\xf1"  # edx := (esi >> 8) mod pages
    code += b"\xc1\xe2\x0c\x8d\xba" + _dword(work.base)  # edi := base + edx * 4096
    code += b"\x31\xc0\x31\xdb\xb9" + _dword(1024)  # zeros, for the whole page
    code += b"\xf7\xc6" + _dword(0x70000000) + b"\x74\x09"  # unless three bits of esi are zero:
    code += b"\x89\xf0\x89\xf3\xb9" + _dword(work.words)  # esi, for some words
    code += bytes.fromhex("ab 01d8 e2fb")  # write eax; eax += ebx; again
    code += b"\xb9" + _dword(work.idle_loops) + b"\xe2\xfe"  # idle
    return code + b"\xe9" + _dword(-(len(code) + 5))
