"""What each control must break: which obligations of the proof, and in a shortest run from an initial state."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from colofd.model.controls import WRONG, Control
from colofd.model.finite import Instance, Sizes
from colofd.model.finite_slices import slice_of
from colofd.model.proof_obligations import Kind
from colofd.model.search_runs import Run, broken_clause, broken_promise, shortest_run

_SMALLEST: Final = Sizes(1, 1, 2)


@dataclass(frozen=True)
class Expected:
    """What a control breaks.

    `must_fail` are the obligations that are not proved, `breaks` is what a run breaks: the id of a clause, or a kind of obligation.
    The run is searched in the slice `part` with these `sizes`.
    """

    must_fail: tuple[str, ...]
    breaks: str | Kind
    part: str = "core"
    sizes: Sizes = _SMALLEST


EXPECTED: Final[Mapping[str, Expected]] = {
    "mirror decided again": Expected(
        ("receive.mirror keeps isolation.guest", "receive.mirror leaves the guest"),
        "isolation.guest",
    ),
    "late packet latched outside COLO": Expected(
        ("receive.prepare keeps receive.latched",),
        "isolation.guest",
    ),
    "zero pages not recorded": Expected(
        ("receive.prepare keeps receive.recorded",),
        Kind.COMMIT,
    ),
    "elision always": Expected(
        ("receive.zero-page keeps receive.landed-content",),
        "receive.clean-page-arrived",
    ),
    "elision on a later arrival": Expected(
        ("receive.zero-page keeps receive.landed-content",),
        "receive.clean-page-arrived",
    ),
    "flush without own dirty log": Expected(
        ("checkpoint.flush-begin keeps mirror.dirty-covers",),
        Kind.COMMIT,
    ),
    "commit while dirty": Expected(
        ("checkpoint.commit has the primary's RAM",),
        Kind.COMMIT,
    ),
    "flush after failover": Expected(
        ("checkpoint.flush-page keeps isolation.guest", "checkpoint.flush-page owns cache, touch 1"),
        "isolation.guest",
    ),
    "take-over in a flush": Expected(
        ("failover.take-over keeps isolation.guest",),
        "isolation.guest",
    ),
    "cache released under threads": Expected(
        ("own.release-cache keeps own.cache-lifetime",),
        Kind.OWNERSHIP,
    ),
    "receivedmap released under threads": Expected(
        ("own.release-receivedmap keeps own.receivedmap-lifetime",),
        Kind.OWNERSHIP,
        "plain",
    ),
    "no barrier before COLO": Expected(
        (
            "phase.enter-colo keeps mirror.dirty-covers",
            "phase.enter-colo keeps receive.latched",
            "phase.enter-colo keeps barrier.quiet-phases",
            "phase.enter-colo has the primary's RAM",
        ),
        Kind.COMMIT,
    ),
    "no barrier before received": Expected(
        ("checkpoint.received keeps receive.latched", "checkpoint.received keeps barrier.quiet-phases"),
        Kind.COMMIT,
    ),
    "page sent twice in a round": Expected(
        (
            "send.normal-page keeps receive.one-carrier",
            "send.normal-page keeps receive.landed-content",
            "send.normal-page keeps send.zero-flag-honest",
        ),
        "receive.clean-page-arrived",
        sizes=Sizes(2, 1, 2),
    ),
    "initial buffer of anything": Expected(
        ("initially receive.untouched-buffer-zero",),
        "receive.clean-page-arrived",
    ),
}
"""By the name of the control."""


def run_to_what_breaks(control: Control) -> Run | None:
    """Return a shortest run in which a wrong control breaks what it should, or None if it does not."""
    expected = EXPECTED[control.name]
    instance = Instance(control.spec, slice_of(expected.part), expected.sizes)
    if isinstance(expected.breaks, Kind):
        return shortest_run(instance, broken_promise(instance, expected.breaks))
    return shortest_run(instance, broken_clause(instance, expected.breaks))


def wrong_controls() -> tuple[tuple[Control, Expected], ...]:
    """Return all wrong controls with what they break, in the order in which they are shown: the latch first."""
    return tuple((control, EXPECTED[control.name]) for control in WRONG)
