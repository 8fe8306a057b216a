"""What a check says about one rule."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum


class Outcome(StrEnum):
    """What a check says about one rule. They are never mixed up."""

    HOLDS = "holds"
    """It was exercised, and nothing contradicts it."""
    VIOLATED = "violated"
    KNOWN_DEVIATION = "known-deviation"
    """The subject breaks it in a way that is known of its version."""
    NOT_OBSERVABLE = "not-observable"
    """The subject does not show what would be needed to tell."""
    ERRORED = "errored"
    """The subject, or the check, failed before it could be told."""
    SKIPPED = "skipped"
    """It was not looked at; the reason is given."""


class CaseKind(StrEnum):
    """Kinds of cases, each of which says something of its own about a rule."""

    DIRECTED = "directed"
    """Schedules that go straight to where receivers were wrong."""
    DRAWN = "drawn"
    """Schedules that are drawn."""
    RACES = "races"
    """Failovers in full flow, many times."""
    OUTSIDE = "outside"
    """All of these again, on a receiver of which one sees guest RAM only."""
    WIRE = "wire"
    """Streams that break one check each, and their twins that do not."""
    FURTHER = "further"
    """How a receiver is begun, refused and ended."""
    VECTORS = "vectors"
    """What `colofd fill` has written."""


@dataclass(frozen=True)
class Ruling:
    """The outcome for one rule, clause or wire check, why, and the numbers behind it; `by_kind`: what each kind of cases says alone."""

    outcome: Outcome
    why: str
    evidence: dict[str, int | list[str]] = field(default_factory=dict)
    by_kind: dict[CaseKind, Outcome] = field(default_factory=dict)


def with_kinds(rulings: Mapping[str, Ruling], by_kind: Mapping[CaseKind, Mapping[str, Ruling]]) -> dict[str, Ruling]:
    """Return rulings with what each kind of cases says alone, where it says something."""
    silent = (Outcome.SKIPPED, Outcome.NOT_OBSERVABLE)

    def kinds(identifier: str) -> dict[CaseKind, Outcome]:
        its = {kind: some[identifier].outcome for kind, some in by_kind.items() if identifier in some}
        return {kind: outcome for kind, outcome in its.items() if outcome not in silent}

    return {identifier: replace(ruling, by_kind=ruling.by_kind | kinds(identifier)) for identifier, ruling in rulings.items()}
