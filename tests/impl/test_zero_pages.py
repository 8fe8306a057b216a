"""Which pages are zero."""

import numpy as np
import pytest

from colofd.impl import zero_pages

PAGE = 4096


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_zero_pages_are_found(share: float) -> None:
    """Given pages of which some hold one byte, anywhere, when zero pages are looked for, then it is all the others."""
    random = np.random.default_rng(1)
    memory = np.zeros((1000, PAGE), np.uint8)
    is_zero = random.random(len(memory)) < share
    written = np.flatnonzero(~is_zero)
    memory[written, random.integers(0, PAGE, len(written))] = 1
    assert (zero_pages(memory) == is_zero).all()


@pytest.mark.parametrize("memory", [np.zeros(PAGE, np.uint8), np.zeros((4, 12), np.uint8), np.zeros((4, 2 * PAGE), np.uint8)[:, ::2]])
def test_memory_of_another_shape_is_refused(memory: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> None:
    """Given memory that is not whole pages in one piece, when zero pages are looked for, then it is refused."""
    with pytest.raises(ValueError, match="not of shape"):
        zero_pages(memory)
