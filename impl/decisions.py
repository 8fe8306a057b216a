"""Every decision of the receiver, each a pure function on bits or offsets.

The receive path calls these objects themselves, so what is proved about them is proved about what runs.
They are written with `& | ~` and comparisons only, so that an array, a numpy scalar or a traced term may go in.
A Python bool may not: `~True` is -2, which is true.
"""

from typing import Any, Final, Protocol

import numpy as np


class Bits(Protocol):
    """Truth values: `np.bool_`, an array of them, or a traced term."""

    def __and__(self, _other: Any, /) -> Any: ...

    def __or__(self, _other: Any, /) -> Any: ...

    def __invert__(self) -> Any: ...


class Numbers(Protocol):
    """Unsigned 64-bit integers: an array of np.uint64, or a traced term (unsigned comparison)."""

    def __and__(self, _other: Any, /) -> Any: ...

    def __sub__(self, _other: Any, /) -> Any: ...

    def __le__(self, _other: Any, /) -> Any: ...


_BITS: Final = np.dtype(np.bool_)
_NUMBERS: Final = np.dtype(np.uint64)


def _require_bits(*values: object) -> None:
    for value in values:
        if getattr(value, "dtype", None) is not _BITS and not _is_of(value, _BITS):
            raise TypeError("only np.bool_ or an array of it is a truth value here: `~` means something else for a Python bool or a number")


def _require_numbers(*values: object) -> None:
    for value in values:
        if getattr(value, "dtype", None) is not _NUMBERS and not _is_of(value, _NUMBERS):
            raise TypeError("only np.uint64 or an array of it is a number here: other integers do not wrap around as it does")


def _is_of(value: object, dtype: np.dtype[Any]) -> bool:
    """Return whether NumPy made the value with this dtype; a traced term has none, but sorts of its own."""
    made_with = getattr(value, "dtype", None)
    return made_with is dtype or made_with == dtype or (made_with is None and not isinstance(value, int))


def accepts_pages(precopy: Bits, block_list_known: Bits, receiving: Bits) -> Any:
    """Return whether pages may arrive: in precopy once the block list is known, and while a checkpoint is received."""
    _require_bits(precopy, block_list_known, receiving)
    return (precopy & block_list_known) | receiving


def is_mirrored(colo: Bits, precopy: Bits, deferred: Bits) -> Any:
    """Return whether the pages of a packet are copied to the other side: the latch, asked once, when the packet is prepared."""
    _require_bits(colo, precopy, deferred)
    return colo & precopy & ~deferred


def is_recorded(colo: Bits, receiving: Bits, deferred: Bits) -> Any:
    """Return whether the pages of a packet are recorded in the dirty bitmap: in a checkpoint, or where the mirror is deferred."""
    _require_bits(colo, receiving, deferred)
    return receiving | (colo & deferred)


def packet_lands_in_guest(colo: Bits) -> Any:
    """Return whether a multifd packet is received into guest RAM: only without COLO, else into the cache."""
    _require_bits(colo)
    return ~colo


def record_lands_in_guest(colo: Bits, mirrored: Bits) -> Any:
    """Return whether a page record of the main channel is received into guest RAM: without COLO, or if it is mirrored."""
    _require_bits(colo, mirrored)
    return ~colo | mirrored


def packet_clears(received: Bits) -> Any:
    """Return which zero pages of a multifd packet are written: the first arrival trusts the fresh zeros of the receive buffer."""
    _require_bits(received)
    return received


def record_clears(received: Bits) -> Any:
    """Return whether a zero record of the main channel is written: always, whatever has arrived before."""
    _require_bits(received)
    return received | ~received


def is_flushed(peer_dirty: Bits, own_dirty: Bits) -> Any:
    """Return which pages a flush copies from the cache to the guest: all that either side has written."""
    _require_bits(peer_dirty, own_dirty)
    return peer_dirty | own_dirty


def is_aligned(offset: Numbers, page_mask: Numbers) -> Any:
    """Return which byte offsets are multiples of the page size; `page_mask` is the page size (a power of two) less one."""
    _require_numbers(offset, page_mask)
    return (offset & page_mask) <= (page_mask - page_mask)


def fits(offset: Numbers, length: Numbers, page_size: Numbers) -> Any:
    """Return which pages lie wholly inside a block of `length` bytes, without wrap-around."""
    _require_numbers(offset, length, page_size)
    return (offset <= length) & (page_size <= length - offset)
