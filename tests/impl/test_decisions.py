"""The decisions, each against its meaning in words, for all inputs; and what may not go in."""

from collections.abc import Callable
from itertools import product
from typing import Any, Final

import numpy as np
import pytest

from colofd.impl import decisions

BOTH: Final = (np.bool_(False), np.bool_(True))
BIT_DECISIONS: Final[list[tuple[Callable[..., Any], int, Callable[..., bool]]]] = [
    (decisions.accepts_pages, 3, lambda precopy, listed, receiving: (precopy and listed) or receiving),
    (decisions.is_mirrored, 3, lambda colo, precopy, deferred: colo and precopy and not deferred),
    (decisions.is_recorded, 3, lambda colo, receiving, deferred: receiving or (colo and deferred)),
    (decisions.packet_lands_in_guest, 1, lambda colo: not colo),
    (decisions.record_lands_in_guest, 2, lambda colo, mirrored: not colo or mirrored),
    (decisions.packet_clears, 1, lambda received: received),
    (decisions.record_clears, 1, lambda _received: True),
    (decisions.is_flushed, 2, lambda peer, own: peer or own),
]


@pytest.mark.parametrize(("decision", "arity", "meaning"), BIT_DECISIONS, ids=lambda value: getattr(value, "__name__", ""))
def test_a_decision_means_what_it_says(decision: Callable[..., Any], arity: int, meaning: Callable[..., bool]) -> None:
    """Given all truth values, when a decision is made of them, alone or in arrays, then it is its meaning in words."""
    for values in product(BOTH, repeat=arity):
        assert decision(*values) == meaning(*map(bool, values)), values
        assert isinstance(decision(*values), np.bool_)
        assert (decision(*(np.array([value, value]) for value in values)) == meaning(*map(bool, values))).all()


@pytest.mark.parametrize(("decision", "arity", "meaning"), BIT_DECISIONS, ids=lambda value: getattr(value, "__name__", ""))
def test_a_python_bool_is_refused(decision: Callable[..., Any], arity: int, meaning: Callable[..., bool]) -> None:
    """Given a Python bool, whose negation is always true, when a decision is asked, then it refuses."""
    del meaning
    with pytest.raises(TypeError, match=r"np\.bool_"):
        decision(*[True] * arity)


@pytest.mark.parametrize(("decision", "arity", "meaning"), BIT_DECISIONS, ids=lambda value: getattr(value, "__name__", ""))
def test_an_array_of_numbers_is_no_truth_value(decision: Callable[..., Any], arity: int, meaning: Callable[..., bool]) -> None:
    """Given an array of bytes, when a decision is asked, then it refuses; an empty array of bits is fine."""
    del meaning
    with pytest.raises(TypeError, match=r"np\.bool_"):
        decision(*[np.ones(2, np.uint8)] * arity)
    assert decision(*[np.zeros(0, np.bool_)] * arity).size == 0


EDGES: Final = [0, 1, 4095, 4096, 4097, 8191, 8192, 12288, (1 << 63) - 1, (1 << 64) - 4096, (1 << 64) - 1]


def test_a_page_fits_without_wrap_around() -> None:
    """Given offsets and lengths at all edges of 64 bits, when asked whether a page fits, then it is what unbounded numbers say."""
    size = 4096
    for offset, length in product(EDGES, repeat=2):
        answer = decisions.fits(np.array([offset], np.uint64), np.array([length], np.uint64), np.array([size], np.uint64))
        assert answer[0] == (offset + size <= length), (offset, length)


def test_alignment() -> None:
    """Given offsets at all edges, when asked whether they are aligned, then it is the remainder that decides; a Python int is refused."""
    offsets, mask = np.array(EDGES, np.uint64), np.array([4095], np.uint64)
    assert decisions.is_aligned(offsets, mask).tolist() == [offset % 4096 == 0 for offset in EDGES]
    with pytest.raises(TypeError, match=r"np\.uint64"):
        decisions.is_aligned(offsets, 4095)


def test_offsets_of_another_type_are_refused() -> None:
    """Given signed offsets, which do not wrap around, when asked about them, then it refuses; an empty packet is fine."""
    signed, page, none = np.array([0], np.int64), np.array([4096], np.uint64), np.zeros(0, np.uint64)
    with pytest.raises(TypeError, match=r"np\.uint64"):
        decisions.fits(signed, page, page)
    with pytest.raises(TypeError, match=r"np\.uint64"):
        decisions.is_aligned(signed, page)
    assert decisions.fits(none, page, page).size == decisions.is_aligned(none, page).size == 0
