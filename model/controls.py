"""Negative controls: the specification with one rule that is known to be wrong, under its old id.

A proof that does not notice these would prove nothing. Some are bugs that QEMU had or has. Adding one is one declaration, in the
module `controls_*` of what it is about.
"""

from typing import Final

from colofd.model import controls_both_sides, controls_phases, controls_receive
from colofd.model.controls_declared import Control

_ALL: Final[tuple[Control, ...]] = (*controls_receive.controls, *controls_phases.controls, *controls_both_sides.controls)

WRONG: Final = tuple(control for control in _ALL if control.is_wrong)
"""Changes that break the specification: the latch first."""

HARMLESS: Final = tuple(control for control in _ALL if not control.is_wrong)
"""Changes that look alike and break nothing: why the specification's latch is the right one, and that elision is a choice."""


def control(name: str) -> Control:
    """Return a change by its name; KeyError if there is none."""
    return {each.name: each for each in _ALL}[name]
