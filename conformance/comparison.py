"""Compares what a receiver's memory holds with what the model says, wherever the rules define it."""

import numpy as np
import numpy.typing as npt

from colofd.conformance.subjects import Observed, Options
from colofd.model.contents import page_digest
from colofd.model.machine import Machine
from colofd.spec.state import At, Carried, Phase

ENDED = (Phase.FAILOVER, Phase.STOPPED, Phase.COMPLETED, Phase.FAILED)
"""Phases in which nothing is received any more, and the dirty bitmap means nothing."""

Difference = tuple[str, str]
"""The rule or clause that is concerned, and what differs."""


def first_difference(machine: Machine, seen: Observed, options: Options) -> Difference | None:
    """Return what differs between memory and model, or None.

    With the deferred mirror, guest RAM is undefined until COLO begins.
    """
    cells = machine.cells
    found: list[Difference | None] = []
    if not (options.is_mirror_deferred and machine.phase in (Phase.PRECOPY, Phase.FILLING)):
        found.append(_page_difference(machine, "guest", "isolation.guest", seen.guest))
    if seen.cache is not None:
        found.append(_page_difference(machine, "cache", "receive.clean-page-arrived", seen.cache))
    if cells["receivedmap_allocated"]:
        found.append(_map_difference(machine, "received", "receive.untouched-buffer-zero", seen.received))
        if options.colo and machine.phase not in ENDED:
            found.append(_map_difference(machine, "peer_dirty", "mirror.dirty-covers", seen.peer_dirty))
    return next((difference for difference in found if difference is not None), None)


def _defined_pages(machine: Machine) -> npt.NDArray[np.bool_]:
    """Return which pages hold something that is known: not those whose payload may be arriving (`receive.read-part`)."""
    cells = machine.cells
    is_arriving = (cells["packet"] == list(Carried).index(Carried.NORMAL)) & (cells["channel_at"] == list(At).index(At.BODY))[:, None]
    defined: npt.NDArray[np.bool_] = ~is_arriving.any(axis=0)
    return defined


def _page_difference(machine: Machine, cell: str, rule: str, image: bytes) -> Difference | None:
    size = machine.contents.page_size
    pages = np.flatnonzero(_defined_pages(machine)).tolist()
    digests = [page_digest(image[page * size : (page + 1) * size]) for page in pages]
    different = [page for page, want, have in zip(pages, machine.digests(cell, pages), digests, strict=True) if want != have]
    return (rule, f"{cell} differs from the model at pages {different}") if different else None


def _map_difference(machine: Machine, cell: str, rule: str, seen: npt.NDArray[np.bool_]) -> Difference | None:
    different = np.flatnonzero((machine.cells[cell] != seen) & _defined_pages(machine)).tolist()
    return (rule, f"{cell} differs from the model at pages {different}") if different else None
