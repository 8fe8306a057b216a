"""Cards of the faults of a receiver, and what other cards say of them."""

from collections.abc import Iterator

from colofd.conformance.card import Card, Section, filled, formula, references, words
from colofd.conformance.mutants_faults import Fault
from colofd.conformance.mutants_history import past_of
from colofd.conformance.mutants_known import faults_named_by


def shown_faults(identifier: str) -> tuple[Section, ...]:
    """Return the section with the faults that this id names, each with the mistakes of the past that it is."""
    return (references("faults of receivers that it names", *(_line(fault) for fault in faults_named_by(identifier))),)


def _line(fault: Fault) -> str:
    sources = "; ".join(each.source for each in past_of(fault.id))
    return f"{fault.id}: {fault.what}{f' (as {sources})' if sources else ''}"


def fault_card(fault: Fault) -> Card:
    """Return the card of a fault."""
    past = [f"{each.wrong} {each.source}." for each in past_of(fault.id)]
    sections = (
        words("mistakes of the past", *past),
        references("named by", *([fault.rule] if fault.rule else [])),
        formula("the change", *_edits(fault)),
        words("which cases show it", f"colofd mutants --only {fault.id}; of all faults: docs/mutants.md"),
    )
    return Card(fault.id, "fault of a receiver", f"A receiver that is wrong: {fault.what}.", filled(*sections))


def _edits(fault: Fault) -> Iterator[str]:
    for edit in fault.edits:
        yield edit.file
        yield from (f"- {line}" for line in edit.old.splitlines())
        yield from (f"+ {line}" for line in edit.new.splitlines())
