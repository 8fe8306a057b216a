"""What a fault is: a change of the sources of the built-in receiver that makes it wrong."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Edit:
    """A change of one source; `old` occurs in it exactly once."""

    file: str
    old: str
    new: str


@dataclass(frozen=True)
class Fault:
    """A receiver that is wrong.

    Attributes:
        id: its name, which never changes.
        what: what it does.
        edits: the change that makes it do so.
        rule: id of the rule or clause that the first violation names, where the schedules show it; empty: something else shows it.
    """

    id: str
    what: str
    edits: tuple[Edit, ...]
    rule: str = ""


def fault(identifier: str, what: str, file: str, old: str, new: str, *, also: tuple[Edit, ...] = (), rule: str = "") -> Fault:
    """Return a fault of one edit, and of those that it needs beside it."""
    return Fault(identifier, what, (Edit(file, old, new), *also), rule)
