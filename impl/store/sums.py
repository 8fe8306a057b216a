"""Checksums: 64 bits for a page, and 64 bits for the whole of RAM, which follow a change at the cost of the pages that changed.

A sum is linear modulo 2^64 in the words of a page and in their upper halves, with odd weights: it finds every change of one word, and
misses others with a chance of 2^-33 at most. It is to find damage, and keeps nobody from forging. The sum of a page of zeros is 0.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

Sums = npt.NDArray[np.uint64]

_LARGEST_PAGE: Final = 65536
_HALF: Final = np.uint64(32)


def _weights(numbers: Sums) -> Sums:
    """Return an odd weight for each number: the finaliser of SplitMix64 (Steele, Lea and Flood, 2014)."""
    mixed = (numbers + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    odd: Sums = (mixed ^ (mixed >> np.uint64(31))) | np.uint64(1)
    return odd


_OF_WORDS: Final = _weights(np.arange(_LARGEST_PAGE // 8, dtype=np.uint64))
_OF_UPPER_HALVES: Final = _weights(np.arange(1 << 20, (1 << 20) + _LARGEST_PAGE // 8, dtype=np.uint64))
_FIRST_PAGE: Final = np.uint64(1 << 32)


def page_sums(rows: npt.NDArray[np.uint8]) -> Sums:
    """Return the sum of each page; `rows` has the shape (pages, page size) and is contiguous."""
    words = rows.view(np.dtype("<u8"))
    count = words.shape[1]
    sums: Sums = np.einsum("ij,j->i", words, _OF_WORDS[:count])
    sums += np.einsum("ij,j->i", words >> _HALF, _OF_UPPER_HALVES[:count])
    return sums


def ram_sum(pages: npt.NDArray[np.int64], sums: Sums) -> int:
    """Return what these pages, with these sums, add to the sum of RAM: modulo 2^64, as a number from 0 on."""
    return int((_weights(pages.astype(np.uint64) + _FIRST_PAGE) * sums).sum(dtype=np.uint64))
