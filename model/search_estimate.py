"""How large an exploration would be, told from small ones."""

import math

from colofd.model.finite import Instance, Sizes
from colofd.model.finite_numpy import Reading
from colofd.model.finite_slices import Slice
from colofd.model.search_states import Levels
from colofd.model.search_symmetry import Symmetry
from colofd.model.search_table import FULLEST, TooLarge, table_bytes
from colofd.spec.language import Spec

_PROBE_BYTES = table_bytes(1, 23)
"""What a small exploration may take; where it does not suffice, the estimate is too small."""


def estimated_states(spec: Spec, part: Slice, sizes: Sizes) -> int:
    """Return about how many states an instance has: each channel, page, value and device state is taken to multiply them as the first do.

    It has said between a half and all of what there is, and less for a slice of which even the small instances are large;
    it is meant for refusing what is far too large.
    """
    first = min(sizes.channels, 1)
    base = _count(spec, part, Sizes(first, 1, 2, 1))
    by_channel = _count(spec, part, Sizes(first + 1, 1, 2, 1)) / base if sizes.channels > first else 1.0
    by_page = _count(spec, part, Sizes(first, 2, 2, 1)) / base if sizes.pages > 1 else 1.0
    exponent = math.log(_count(spec, part, Sizes(first, 1, 3, 1)) / base, 1.5) if sizes.values > 2 else 0.0
    by_device = _count(spec, part, Sizes(first, 1, 2, 2)) / base if sizes.devices > 1 else 1.0
    exact = (
        base
        * math.pow(by_channel, sizes.channels - first)
        * math.pow(by_page, sizes.pages - 1)
        * math.pow(sizes.values / 2, exponent * sizes.pages)
        * math.pow(by_device, sizes.devices - 1)
    )
    return round(exact)


def estimated_bytes(instance: Instance, *, symmetric: bool) -> int:
    """Return about how many bytes the exploration of an instance takes."""
    sizes = instance.sizes
    orders = Symmetry(instance, Reading(instance).packing).size if symmetric else 1
    kept = estimated_states(instance.spec, instance.part, sizes) / orders
    bits = max(16, math.ceil(math.log2(kept / FULLEST)))
    # While a table grows, the old one is there, too; the states of one or two levels are kept besides.
    return round(1.6 * table_bytes(Reading(instance).packing.words, bits))


def _count(spec: Spec, part: Slice, sizes: Sizes) -> int:
    """Return the number of states of a small instance, or how many were found before it took too much."""
    levels = Levels(Instance(spec, part, sizes), [], memory=_PROBE_BYTES)
    try:
        while levels.level.shape[1]:
            for evaluated in levels.chunks():
                levels.expand(evaluated)
            levels.advance()
    except TooLarge:
        pass
    return levels.seen.count
