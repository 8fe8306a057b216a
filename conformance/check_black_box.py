"""What is found of a receiver that shows guest RAM only, as a ruling on every rule and clause."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from colofd.conformance.black_box import ISOLATION, BlackBox, Version
from colofd.conformance.black_box_cases import directed_cases
from colofd.conformance.black_box_schedules import DRAWN, Findings, run_all_drawn, run_case, run_race
from colofd.conformance.black_box_wire import WireFindings, Witness, check_black_box_wire
from colofd.conformance.check import seed_of, shares
from colofd.conformance.counterexample import Keeper
from colofd.conformance.drawn import HANGS
from colofd.conformance.known_deviations import Known, because
from colofd.conformance.primary import Dialect, RoundEnd, ZeroPages
from colofd.conformance.rulings import CaseKind, Outcome, Ruling, with_kinds
from colofd.conformance.spread import alone
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

DIRECTED_AT_ONCE: Final = 12
"""Directed schedules of a piece: elsewhere, each piece starts an adapter."""


@dataclass(frozen=True)
class Piece:
    """A part of what a receiver is put to, which can be run by itself, anywhere."""

    kind: CaseKind
    name: str
    run: Callable[[MakeSubject, Version], Findings | WireFindings]


def pieces(drawn: int, seed: int) -> list[Piece]:
    """Return the directed schedules, the race, the wire cases, and drawn schedules, which end where the first of them is violated."""
    directed = [
        Piece(CaseKind.DIRECTED, "directed schedules", partial(_directed, first=first))
        for first in range(0, len(list(directed_cases())), DIRECTED_AT_ONCE)
    ]
    some = [
        Piece(CaseKind.DRAWN, f"{count} drawn schedules", partial(_drawn, count=count, seed=seed_of(seed, number)))
        for number, count in enumerate(shares(drawn))
    ]
    races = Piece(CaseKind.RACES, f"{RACES} failovers in full flow", partial(_races, count=RACES))
    return [*directed, races, Piece(CaseKind.WIRE, "wire cases", _wire), *some]


def _directed(make: MakeSubject, version: Version, *, first: int) -> Findings:
    findings = Findings()
    for case in list(directed_cases())[first : first + DIRECTED_AT_ONCE]:
        findings.note(case.name, partial(run_case, make, case, SECONDS, version), case.set_up)
    return findings


def _races(make: MakeSubject, version: Version, *, count: int) -> Findings:
    findings = Findings()
    run_race(make, findings, count, SECONDS, version)
    return findings


def _drawn(make: MakeSubject, version: Version, *, count: int, seed: int) -> Findings:
    findings = Findings()
    run_all_drawn(make, findings, count, seed, SECONDS, version)
    return findings


def _wire(make: MakeSubject, version: Version) -> WireFindings:
    return check_black_box_wire(make, version, lambda _what: None)


RunPieces = Callable[[Version, Sequence[Piece]], Iterable[Findings | WireFindings]]
"""Yields what comes of each piece, in their order."""


def run_here(make: MakeSubject, version: Version, piece: Piece) -> Findings | WireFindings:
    """Put a piece to a receiver."""
    return piece.run(make, version)


def check_black_box(
    make: MakeSubject,
    profile: str,
    drawn: int,
    seed: int,
    progress: Callable[[str], None],
    keeper: Keeper | None = None,
    run_pieces: RunPieces | None = None,
) -> tuple[dict[str, Ruling], int]:
    """Run the directed schedules, the race, drawn schedules and the wire cases; `profile` says what is known of the receiver's version.

    What is new goes to the keeper, too. `run_pieces` runs the pieces elsewhere.
    Returns the rulings by the id of a rule, of a clause, of a wire check or of what else is claimed, and how much was put to it.
    """
    known = Known(profile)
    version = version_of(known)
    its = pieces(drawn, seed)
    here = run_pieces or (lambda version, its: alone(partial(run_here, make, version), its))
    found: dict[CaseKind, Findings] = {}
    wire = WireFindings({}, [], 0)
    for number, (piece, some) in enumerate(zip(its, here(version, its), strict=True), 1):
        progress(f"{number} of {len(its)} pieces from outside, the last: {piece.name}")
        if isinstance(some, WireFindings):
            wire = some
            continue
        found.setdefault(piece.kind, Findings()).add(some)
        if piece.kind is CaseKind.DRAWN and (some.errors or any(name == DRAWN for each in some.violations.values() for name, _ in each)):
            break
    findings = Findings()
    for some in found.values():
        findings.add(some)
    if keeper is not None:
        for identifier in findings.violations:
            if new := _new(findings.violations[identifier], known):
                keeper.outside(make, new[0], version)
    for name, violation in wire.hangs:
        findings.violations.setdefault(violation.rule, []).append((name, violation))
    wire_rulings = {identifier: known.ruling(identifier, ruling) for identifier, ruling in wire.rulings.items()}
    of_kind = {kind: _rulings(its, known, version) for kind, its in found.items()}
    rulings = _rulings(findings, known, version) | wire_rulings
    return with_kinds(rulings, of_kind | {CaseKind.WIRE: wire_rulings}), findings.schedules + wire.played


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
    if findings.not_run:
        rulings["drawn"] = Ruling(
            Outcome.SKIPPED, f"schedules are not run to an end in which it has hung {HANGS} times", {**findings.not_run}
        )
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
