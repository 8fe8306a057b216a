"""What is found of a receiver that shows guest RAM only, as a ruling on every rule and clause."""

from collections.abc import Callable, Sequence
from typing import Final

from colofd.conformance.black_box_schedules import Findings, Make, run_all_directed, run_all_drawn, run_race
from colofd.conformance.known_deviations import Known, because
from colofd.conformance.rulings import Outcome, Ruling
from colofd.conformance.violation import Violation
from colofd.spec.protocol import BOTH_SIDES

RACES: Final = 30
"""How often a secondary takes over while pages flow."""

SECONDS: Final = 3.0
"""How long a receiver may take for one thing. A real one needs milliseconds."""


def check_black_box(make: Make, profile: str, drawn: int, seed: int, progress: Callable[[str], None]) -> tuple[dict[str, Ruling], int]:
    """Run the directed schedules, the race, and drawn schedules; `profile` says what is known of the receiver's version.

    Returns the rulings by the id of a rule, of a clause or of what else is claimed, and the number of schedules.
    """
    findings = Findings()
    run_all_directed(make, findings, SECONDS, progress)
    progress(f"{RACES} failovers in full flow")
    run_race(make, findings, RACES, SECONDS)
    progress(f"{drawn} drawn schedules")
    run_all_drawn(make, findings, drawn, seed, SECONDS)
    return _rulings(findings, Known(profile)), findings.schedules


def _rulings(findings: Findings, known: Known) -> dict[str, Ruling]:
    every = [*(rule.id for rule in BOTH_SIDES.rules), *(clause.id for clause in BOTH_SIDES.clauses)]
    rulings = {identifier: _ruling(findings, known, identifier) for identifier in every}
    rulings |= {identifier: _ruling(findings, known, identifier) for identifier in findings.violations if identifier not in rulings}
    if findings.errors:
        rulings["harness"] = Ruling(Outcome.ERRORED, "a schedule failed for another reason than a rule", {"errors": findings.errors})
    return rulings


def _ruling(findings: Findings, known: Known, identifier: str) -> Ruling:
    if broken := findings.violations.get(identifier):
        return _broken(broken, known)
    if times := findings.held.get(identifier, 0):
        return Ruling(Outcome.HOLDS, "guest RAM was what it says, each time that the receiver rested", {"taken": times})
    return Ruling(Outcome.NOT_OBSERVABLE, "guest RAM and replies do not tell: threads, cache and maps would have to be seen")


def _broken(broken: Sequence[tuple[str, Violation]], known: Known) -> Ruling:
    explained = [known.shown_by(violation, name) for name, violation in broken]
    new = [violation for (_, violation), deviations in zip(broken, explained, strict=True) if not deviations]
    shown = new[0] if new else broken[0][1]
    evidence: dict[str, int | list[str]] = {"broken": len(broken), "schedule": list(shown.moves)}
    if new:
        return Ruling(Outcome.VIOLATED, shown.why, evidence)
    some = {each.id: each for deviations in explained for each in deviations}
    return Ruling(Outcome.KNOWN_DEVIATION, f"{shown.why}; {because(known.profile, tuple(some.values()))}", evidence)
