"""What a check says about one rule."""

from dataclasses import dataclass, field
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


@dataclass(frozen=True)
class Ruling:
    """The outcome for one rule, clause or wire check, why, and the numbers behind it."""

    outcome: Outcome
    why: str
    evidence: dict[str, int | list[str]] = field(default_factory=dict)
