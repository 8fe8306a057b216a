"""What is found of a receiver that shows guest RAM only, as a ruling on every rule and clause."""

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from colofd.conformance.black_box import ISOLATION, BlackBox, Version
from colofd.conformance.black_box_schedules import Findings, run_all_directed, run_all_drawn, run_race
from colofd.conformance.black_box_wire import Witness, check_black_box_wire
from colofd.conformance.counterexample import Keeper
from colofd.conformance.known_deviations import Known, because
from colofd.conformance.primary import Dialect, RoundEnd, ZeroPages
from colofd.conformance.rulings import Outcome, Ruling
from colofd.conformance.subjects import Options
from colofd.conformance.violation import Violation
from colofd.spec.constants import Step
from colofd.spec.profiles import STRICT
from colofd.spec.protocol import BOTH_SIDES

RACES: Final = 30
"""How often a secondary takes over while pages flow."""

SECONDS: Final = 3.0
"""How long a receiver may take for one thing. A real one needs milliseconds."""


SEEN_IN_COLO: Final = {Step.ENTER_COLO, Step.COMMIT, Step.TAKE_OVER, ISOLATION}
"""What could be seen from outside if the receiver's version had COLO."""


class Subject(BlackBox, Witness, Protocol):
    """A receiver for schedules and for wire cases."""


MakeSubject = Callable[[Options], Subject]


def check_black_box(
    make: MakeSubject, profile: str, drawn: int, seed: int, progress: Callable[[str], None], keeper: Keeper | None = None
) -> tuple[dict[str, Ruling], int]:
    """Run the directed schedules, the race, drawn schedules and the wire cases; `profile` says what is known of the receiver's version.

    What is new goes to the keeper, too.
    Returns the rulings by the id of a rule, of a clause, of a wire check or of what else is claimed, and how much was put to it.
    """
    findings, known = Findings(), Known(profile)
    version = version_of(known)
    run_all_directed(make, findings, SECONDS, progress, version)
    progress(f"{RACES} failovers in full flow")
    run_race(make, findings, RACES, SECONDS, version)
    progress(f"{drawn} drawn schedules")
    run_all_drawn(make, findings, drawn, seed, SECONDS, version)
    if keeper is not None:
        for identifier in findings.violations:
            if new := _new(findings.violations[identifier], known):
                keeper.outside(make, new[0], version)
    wire = check_black_box_wire(make, version, progress)
    for name, violation in wire.hangs:
        findings.violations.setdefault(violation.rule, []).append((name, violation))
    wire_rulings = {identifier: known.ruling(identifier, ruling) for identifier, ruling in wire.rulings.items()}
    return _rulings(findings, known, version) | wire_rulings, findings.schedules + wire.played


def version_of(known: Known) -> Version:
    """Return what a schedule must know of the versions of a profile: what they lack, and so how they are spoken to."""
    ids = {each.id for each in known.deviations}
    dialect = Dialect(
        zero_pages=ZeroPages.LEGACY if "lacks.zero-pages-in-packets" in ids else ZeroPages.MULTIFD,
        round_end=RoundEnd.SECTION if "lacks.multifd-flush" in ids else RoundEnd.FLUSH,
        enables_colo="needs.enable-colo" in ids,
    )
    with_multifd = [f"{each.id}: {each.instead}" for each in known.deviations if each.id == "lacks.multifd-with-colo"]
    nobody_looked = "" if known.profile == STRICT else f"nobody has looked what {known.profile} does with a round that is left open"
    return Version(dialect, lacks_multifd_with_colo="; ".join(with_multifd), accepts_open_round=nobody_looked)


def _rulings(findings: Findings, known: Known, version: Version) -> dict[str, Ruling]:
    every = [*(rule.id for rule in BOTH_SIDES.rules), *(clause.id for clause in BOTH_SIDES.clauses)]
    rulings = {identifier: _ruling(findings, known, version, identifier) for identifier in every}
    others = [identifier for identifier in findings.violations if identifier not in rulings]
    rulings |= {identifier: _ruling(findings, known, version, identifier) for identifier in others}
    if findings.errors:
        rulings["harness"] = Ruling(Outcome.ERRORED, "a schedule failed for another reason than a rule", {"errors": findings.errors})
    return rulings


def _ruling(findings: Findings, known: Known, version: Version, identifier: str) -> Ruling:
    if broken := findings.violations.get(identifier):
        return _broken(broken, known)
    if times := findings.held.get(identifier, 0):
        return Ruling(Outcome.HOLDS, "guest RAM was what it says, each time that the receiver rested", {"taken": times})
    if identifier in SEEN_IN_COLO and (why := "; ".join(filter(None, [version.lacks_multifd_with_colo, version.lacks_colo]))):
        return Ruling(Outcome.NOT_OBSERVABLE, why)
    return Ruling(Outcome.NOT_OBSERVABLE, "guest RAM and replies do not tell: threads, cache and maps would have to be seen")


def _broken(broken: Sequence[tuple[str, Violation]], known: Known) -> Ruling:
    new = _new(broken, known)
    shown = new[0] if new else broken[0][1]
    evidence: dict[str, int | list[str]] = {"broken": len(broken), "schedule": list(shown.moves)}
    if new:
        return Ruling(Outcome.VIOLATED, shown.why, evidence)
    some = {each.id: each for name, violation in broken for each in known.shown_by(violation, name)}
    return Ruling(Outcome.KNOWN_DEVIATION, f"{shown.why}; {because(known.profile, tuple(some.values()))}", evidence)


def _new(broken: Sequence[tuple[str, Violation]], known: Known) -> list[Violation]:
    """Return what is not known of the versions."""
    return [violation for name, violation in broken if not known.shown_by(violation, name)]
