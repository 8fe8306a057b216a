"""Runs the pieces of a check in other processes: there a subject is opened by its name."""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial

from colofd.conformance.black_box import Version
from colofd.conformance.black_box_schedules import Findings
from colofd.conformance.black_box_wire import WireFindings
from colofd.conformance.check_black_box import Piece, RunPieces
from colofd.conformance.check_schedule import from_outside
from colofd.conformance.diagnostic import Diagnostic
from colofd.conformance.spread import Spread


@contextlib.contextmanager
def _nowhere() -> Iterator[None]:
    yield None


def elsewhere(workers: int | None, scheduler: str) -> AbstractContextManager[Spread | None]:
    """Return what gives a spread over so many workers or over those of a scheduler, or None if neither is asked for.

    Diagnostic if the package for it is not installed, or there is no such scheduler.
    """
    if workers is None and not scheduler:
        return _nowhere()
    try:
        # Only here, for the package distributed is an extra.
        from colofd.conformance.cluster.spread import spread_over  # noqa: PLC0415
    except ImportError as error:
        raise Diagnostic("cluster-missing", "a check cannot be spread", str(error), "pip install 'colofd[cluster]'") from error
    return spread_over(workers, scheduler)


def from_outside_on(spread: Spread | None, subject: str) -> RunPieces | None:
    """Return what runs the pieces of a check from outside on a spread, or None without one."""
    if spread is None:
        return None

    def run(version: Version, pieces: Sequence[Piece]) -> Iterable[Findings | WireFindings]:
        return spread(partial(run_piece, subject, version), pieces)

    return run


def run_piece(subject: str, version: Version, piece: Piece) -> Findings | WireFindings:
    """Open a subject, and put a piece to it."""
    with from_outside(subject) as (make, _version):
        return piece.run(make, version)
