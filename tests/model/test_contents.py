"""Page contents have numbers and digests, and a content that is known by its digest only stays apart from its bytes."""

import hashlib
from typing import Final

import pytest

from colofd.model.contents import Contents, page_digest
from colofd.model.machine import Machine

PAGE: Final = 16


def test_zeros_have_number_zero_and_equal_contents_one_number() -> None:
    """Given several contents, then zeros have number 0, and each other content has one number of its own."""
    contents = Contents(PAGE)
    numbers = [contents.number(bytes([content]) * PAGE) for content in (0, 7, 8, 7, 0)]
    assert numbers == [0, 1, 2, 1, 0]
    assert contents.content(1) == b"\x07" * PAGE
    assert contents.digest(2) == page_digest(b"\x08" * PAGE)


def test_the_digest_is_what_traces_carry() -> None:
    """Given a page, then its digest is BLAKE2b of 8 bytes in hex."""
    assert page_digest(b"\x07" * PAGE) == hashlib.blake2b(b"\x07" * PAGE, digest_size=8).hexdigest()
    assert len(page_digest(b"")) == 16


def test_a_digest_without_bytes_has_a_number() -> None:
    """Given a digest of unknown bytes, then it has a number, and no bytes; the digest of known bytes has theirs."""
    contents = Contents(PAGE)
    known = contents.number(b"\x07" * PAGE)
    unknown = contents.opaque("00" * 8)
    assert contents.opaque(page_digest(b"\x07" * PAGE)) == known
    assert contents.opaque("00" * 8) == unknown != known
    assert contents.content(unknown) is None
    assert contents.digest(unknown) == "00" * 8


def test_a_page_is_whole() -> None:
    """Given more or fewer bytes than a page has, then they have no number."""
    for content in (b"", bytes(PAGE - 1), bytes(PAGE + 1)):
        with pytest.raises(ValueError, match="a page has 16 bytes"):
            Contents(PAGE).number(content)


def test_an_image_needs_all_bytes() -> None:
    """Given a page that is known by its digest only, then the image of its cell cannot be had, and the page is named."""
    machine = Machine(3, 1, colo=True, page_size=PAGE)
    machine.cells["cache"][1] = machine.contents.opaque("00" * 8)
    assert machine.page("cache", 1) is None
    assert machine.digests("cache", (1, 0)) == ["00" * 8, page_digest(bytes(PAGE))]
    assert machine.image("cache", 2, 1) == bytes(PAGE)
    with pytest.raises(ValueError, match="page 1 of cache is known by its digest only"):
        machine.image("cache", 0, 3)
