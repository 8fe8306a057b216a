"""Our own guest that counts, and checks its own memory: no page of it may be older or newer than the number that it has come to.

Step N writes the number N to all words of page N mod PAGES. Before that it checks that each word of the page is N - PAGES, and that the
number in memory is the one in a register: RAM and the state of the processor must be of one moment. What is wrong is counted, and it stops.
"""

import struct
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from colofd.conformance.qemu.guest_rom import with_program
from colofd.spec.constants import TARGET_PAGE_SIZE

STATE: Final = 0x100000
"""Where the guest has its number, and after it how many errors it has found."""

BASE: Final = 0x200000
"""Where its pages begin."""

_WORDS: Final = TARGET_PAGE_SIZE // 4


@dataclass(frozen=True)
class Counting:
    """How many pages the guest writes in turns, and for how many loops it idles after each."""

    pages: int = 256
    idle_loops: int = 20_000


def counting_rom(work: Counting) -> bytes:
    """Return the ROM."""
    return with_program(0, _program(work))


def _dword(number: int) -> bytes:
    return struct.pack("<I", number & 0xFFFFFFFF)


def _fill_page() -> bytes:
    return bytes.fromhex("89d8 b9") + _dword(_WORDS) + bytes.fromhex("f3ab")  # eax := ebx; all words of the page at edi := eax


def _program(work: Counting) -> bytes:
    fill = bytes.fromhex("89df c1e70c 81c7") + _dword(BASE) + _fill_page()  # edi := base + ebx * 4096
    fill += bytes.fromhex("43 81fb") + _dword(work.pages)  # ebx += 1; until there are no more pages
    begin = bytes.fromhex("31db") + fill + b"\x72" + struct.pack("b", -(len(fill) + 2))
    begin += bytes.fromhex("891d") + _dword(STATE)  # the number in memory := ebx
    check = bytes.fromhex("89d8 31d2 b9") + _dword(work.pages) + bytes.fromhex("f7f1")  # edx := ebx mod pages
    check += bytes.fromhex("c1e20c 89d6 81c6") + _dword(BASE)  # esi := base + edx * 4096
    check += bytes.fromhex("89f7 89d8 2d") + _dword(work.pages) + b"\xb9" + _dword(_WORDS) + bytes.fromhex("f3af")  # is each ebx - pages?
    write = bytes.fromhex("89f7") + _fill_page() + bytes.fromhex("43 891d") + _dword(STATE)
    write += b"\xb9" + _dword(work.idle_loops) + bytes.fromhex("e2fe")  # idle
    compare = bytes.fromhex("3b1d") + _dword(STATE)  # is the number in memory that of the register?
    stop = bytes.fromhex("ff05") + _dword(STATE + 4) + bytes.fromhex("fa f4 ebfd")  # another error; halt for ever
    after_check = write + b"\xe9" + _dword(-(len(compare) + 6 + len(check) + 6 + len(write) + 5))
    second = check + b"\x0f\x85" + _dword(len(after_check))
    return begin + compare + b"\x0f\x85" + _dword(len(second) + len(after_check)) + second + after_check + stop


def state_of(ram: npt.NDArray[np.uint8]) -> tuple[int, int]:
    """Return the guest's number, and how many errors it has found; `ram` is all of its RAM, as bytes."""
    number, errors = ram[STATE : STATE + 8].view("<u4").tolist()
    return int(number), int(errors)


def what_is_wrong(ram: npt.NDArray[np.uint8], work: Counting) -> str:
    """Return what in RAM is not of the moment that the guest's number tells; nothing if all is."""
    number, errors = state_of(ram)
    if errors:
        return f"the guest has found {errors} errors"
    if number < work.pages:
        # It still fills its pages for the first time.
        return ""
    pages = ram[BASE : BASE + work.pages * TARGET_PAGE_SIZE].view("<u4").reshape(work.pages, _WORDS).astype(np.int64)
    numbers = np.arange(work.pages)
    expected = number - 1 - (number - 1 - numbers) % work.pages
    wrong = (pages != expected[:, None]).any(axis=1)
    # One page may be about to be written, or have just been.
    at_hand = number % work.pages
    words = pages[at_hand]
    done = int((words == number).sum())
    wrong[at_hand] = not ((words[:done] == number).all() and (words[done:] == number - work.pages).all())
    return f"pages {np.flatnonzero(wrong).tolist()} are not of step {number}" if wrong.any() else ""
