"""Holds a subject to the spec: runs schedules in lockstep with the model, and says what they mean for each rule."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from hypothesis.errors import HypothesisException

from colofd.conformance.drawn import run_drawn
from colofd.conformance.gates import STALL_SECONDS
from colofd.conformance.known_deviations import Again, Known, because
from colofd.conformance.lockstep import Lockstep
from colofd.conformance.rulings import CaseKind, Outcome, Ruling, with_kinds
from colofd.conformance.schedules import DIRECTED, SHAPES, VARIANTS, Tally, run_directed, run_shape
from colofd.conformance.spread import Spread, alone
from colofd.conformance.subjects import Factory
from colofd.conformance.violation import Violation
from colofd.spec.language import Actor, Spec
from colofd.spec.profiles import STRICT, Deviation
from colofd.spec.protocol import BOTH_SIDES


@dataclass(frozen=True)
class Profile:
    """How much is done: drawn schedules, and which set-ups the directed ones run in."""

    drawn: int
    variants: int


PROFILES: Final = {"quick": Profile(drawn=420, variants=4), "full": Profile(drawn=10_000, variants=4)}

WATCHED: Final = VARIANTS[:2]
"""Set-ups in which every clause is checked after every micro-step of a directed schedule, and counted where it says something."""

DRAWN_AT_ONCE: Final = 105
"""Schedules that are drawn from one seed: a piece of a campaign."""

Progress = Callable[[str], None]


class SmokeFailure(Exception):  # noqa: N818  # says what happened
    """The smoke case did not go through, so nothing that follows would mean anything."""


@dataclass(frozen=True)
class Piece:
    """A part of a campaign, which can be run by itself, anywhere.

    `run` takes a factory, how many seconds are a stall, a tally, where it counts what was taken, and a spec.
    """

    kind: CaseKind
    name: str
    run: Callable[..., None]


def pieces(profile: Profile, seed: int) -> list[Piece]:
    """Return the parts of a campaign: the directed schedules in every set-up, the plain one in other set-ups, then drawn ones."""
    directed = [
        Piece(
            CaseKind.DIRECTED, schedule.__name__, _counting(run_directed, schedule=schedule, options=options, is_watched=options in WATCHED)
        )
        for options in VARIANTS[: profile.variants]
        for schedule in DIRECTED
    ]
    shapes = [Piece(CaseKind.DIRECTED, "plain", _counting(run_shape, options=options)) for options in SHAPES]
    drawn = [
        Piece(CaseKind.DRAWN, "drawn schedules", partial(_drawn, count=count, seed=seed_of(seed, number)))
        for number, count in enumerate(shares(profile.drawn))
    ]
    return [*directed, *shapes, *drawn]


def shares(drawn: int) -> list[int]:
    """Return how many schedules are drawn in each piece."""
    return [min(DRAWN_AT_ONCE, drawn - begin) for begin in range(0, drawn, DRAWN_AT_ONCE)]


def seed_of(seed: int, number: int) -> int:
    """Return the seed of a piece of drawn schedules; that of the first is the seed of all."""
    return seed + (number << 32)


def _counting(run: Callable[..., Lockstep], **arguments: object) -> Callable[..., None]:
    return partial(_counted, partial(run, **arguments))


def _counted(
    run: Callable[..., Lockstep], factory: Factory, stall_seconds: float, tally: Tally, fired: dict[str, int], spec: Spec = BOTH_SIDES
) -> None:
    tally.add(run(factory, stall_seconds=stall_seconds, spec=spec), fired)


def _drawn(
    factory: Factory, stall_seconds: float, tally: Tally, fired: dict[str, int], spec: Spec = BOTH_SIDES, *, count: int, seed: int
) -> None:
    run_drawn(factory, count, seed, tally, fired, stall_seconds, spec=spec)


@dataclass
class Found:
    """What some pieces have found, by rule where it is about one; `fired`: how often a rule was taken, or a clause said something."""

    tally: Tally = field(default_factory=Tally)
    fired: dict[str, int] = field(default_factory=dict)
    violations: dict[str, Violation] = field(default_factory=dict)
    known: dict[str, tuple[Violation, tuple[Deviation, ...]]] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)

    def add(self, other: "Found") -> None:
        """Add what other pieces have found. Of two violations of a rule the first one stays."""
        self.tally.add_all(other.tally)
        for identifier, count in other.fired.items():
            self.fired[identifier] = self.fired.get(identifier, 0) + count
        for rule, violation in other.violations.items():
            self.violations.setdefault(rule, violation)
        for rule, known in other.known.items():
            self.known.setdefault(rule, known)
        self.errors += other.errors


@dataclass(frozen=True)
class Runner:
    """Runs pieces of a campaign; `against` is the profile whose deviations are known."""

    factory: Factory
    stall_seconds: float
    against: str

    def found(self, piece: Piece) -> Found:
        """Run a piece, and say what it finds; whatever the subject does, this returns."""
        found = Found()
        run = partial(piece.run, self.factory, self.stall_seconds)
        try:
            run(found.tally, found.fired)
        except Violation as violation:
            self._judge(found, violation, piece.name, lambda spec: run(Tally(), {}, spec=spec))
        except HypothesisException as error:
            found.errors.append(f"{piece.name}: {error}")
        except Exception as error:  # noqa: BLE001  # a subject may fail in any way; the rest is still checked
            found.errors.append(f"{piece.name}: {type(error).__name__}: {error}")
        return found

    def _judge(self, found: Found, violation: Violation, schedule: str, again: Again) -> None:
        try:
            some = Known(self.against).explaining(violation, schedule, again)
        except Exception as error:  # noqa: BLE001  # a subject may fail in any way; then nothing is explained
            found.errors.append(f"{schedule}, run again: {type(error).__name__}: {error}")
            some = ()
        if some:
            found.known[violation.rule] = (violation, some)
        else:
            found.violations[violation.rule] = violation


@dataclass
class Campaign:
    """Everything that one check of a subject finds out; `against` is the profile whose deviations are known."""

    factory: Factory
    seed: int
    progress: Progress
    stall_seconds: float = STALL_SECONDS
    against: str = STRICT
    spread: Spread = alone
    found: Found = field(default_factory=Found)
    of_kind: dict[CaseKind, Found] = field(default_factory=dict)

    def smoke(self) -> None:
        """Run the simplest schedule; SmokeFailure if it does not go through."""
        self.progress("smoke case")
        try:
            self.found.tally.add(run_directed(self.factory, DIRECTED[0], VARIANTS[0]), self.found.fired)
        except Exception as error:
            raise SmokeFailure(f"{type(error).__name__}: {error}") from error

    def run(self, profile: Profile) -> None:
        """Run the directed schedules in every set-up, then the drawn ones, up to the first piece of those that finds something."""
        its = pieces(profile, self.seed)
        runner = Runner(self.factory, self.stall_seconds, self.against)
        for number, (piece, found) in enumerate(zip(its, self.spread(runner.found, its), strict=True), 1):
            self.found.add(found)
            self.of_kind.setdefault(piece.kind, Found()).add(found)
            self.progress(f"{number} of {len(its)} pieces of the campaign, the last: {piece.name}")
            if piece.kind is CaseKind.DRAWN and (found.violations or found.known or found.errors):
                break

    def rulings(self) -> dict[str, Ruling]:
        """Return what was found out about every rule and clause, and about progress, in all and by each kind of cases."""
        by_kind = {kind: Judge(found, self.against).rulings() for kind, found in self.of_kind.items()}
        return with_kinds(Judge(self.found, self.against).rulings(), by_kind)


@dataclass(frozen=True)
class Judge:
    """Says what was found means for each rule."""

    found: Found
    against: str

    def rulings(self) -> dict[str, Ruling]:
        """Return a ruling on every rule and clause, and on progress if it was violated."""
        rulings = {rule.id: self._ruling(rule.id, rule.actor) for rule in BOTH_SIDES.rules}
        rulings |= {clause.id: self._clause(clause.id) for clause in BOTH_SIDES.clauses}
        for identifier in sorted((self.found.violations.keys() | self.found.known.keys()) - rulings.keys()):
            rulings[identifier] = self._violated(identifier)
        if self.found.errors:
            rulings["harness"] = Ruling(Outcome.ERRORED, "a schedule failed for another reason than a rule", {"errors": self.found.errors})
        return rulings

    def _violated(self, identifier: str) -> Ruling:
        if identifier in self.found.violations:
            violation = self.found.violations[identifier]
            return Ruling(Outcome.VIOLATED, violation.why, {"schedule": list(violation.moves)})
        violation, some = self.found.known[identifier]
        return Ruling(Outcome.KNOWN_DEVIATION, f"{violation.why}; {because(self.against, some)}", {"schedule": list(violation.moves)})

    def _ruling(self, identifier: str, actor: Actor) -> Ruling:
        if identifier in self.found.violations or identifier in self.found.known:
            return self._violated(identifier)
        if actor in (Actor.PRIMARY, Actor.GUEST):
            return Ruling(Outcome.SKIPPED, f"a step of the {actor}: what the schedules do, not what the subject does")
        count = self.found.fired.get(identifier, 0)
        if not count and actor is Actor.ENVIRONMENT:
            return Ruling(
                Outcome.SKIPPED, "a fault of the peer that the receiver is not told: the model alone has it, and the proof covers it"
            )
        if not count:
            return Ruling(Outcome.SKIPPED, "no schedule got there")
        return Ruling(Outcome.HOLDS, "every time it was taken, the spec allowed it and memory was as it says", {"taken": count})

    def _clause(self, identifier: str) -> Ruling:
        if identifier in self.found.violations or identifier in self.found.known:
            return self._violated(identifier)
        count = self.found.fired.get(identifier, 0)
        if not count:
            return Ruling(Outcome.SKIPPED, "no schedule got to a state of which it says anything")
        return Ruling(
            Outcome.HOLDS, "memory and maps were the model's after every micro-step, and it held in each state", {"states": count}
        )
