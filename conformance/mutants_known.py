"""All faults of a receiver, and what shows them."""

from typing import Final

from colofd.conformance import mutants_pages, mutants_threads, mutants_wire
from colofd.conformance.mutants_faults import Fault

FAULTS: Final = (*mutants_pages.FAULTS, *mutants_threads.FAULTS, *mutants_wire.FAULTS)
"""All of them, in the order in which they are put to the suite."""


def faults_named_by(identifier: str) -> tuple[Fault, ...]:
    """Return the faults of which the first violation names this rule, clause, check or reason."""
    return tuple(fault for fault in FAULTS if fault.rule == identifier)
