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
from colofd.conformance.rulings import Outcome, Ruling
from colofd.conformance.schedules import DIRECTED, SHAPES, VARIANTS, Tally, run_directed, run_shape
from colofd.conformance.subjects import Factory
from colofd.conformance.violation import Violation
from colofd.spec.language import Actor
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

Progress = Callable[[str], None]


class SmokeFailure(Exception):  # noqa: N818  # says what happened
    """The smoke case did not go through, so nothing that follows would mean anything."""


@dataclass
class Campaign:
    """Everything that one check of a subject finds out; `against` is the profile whose deviations are known."""

    factory: Factory
    seed: int
    progress: Progress
    stall_seconds: float = STALL_SECONDS
    against: str = STRICT
    tally: Tally = field(default_factory=Tally)
    fired: dict[str, int] = field(default_factory=dict)
    violations: dict[str, Violation] = field(default_factory=dict)
    known: dict[str, tuple[Violation, tuple[Deviation, ...]]] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)

    def smoke(self) -> None:
        """Run the simplest schedule; SmokeFailure if it does not go through."""
        self.progress("smoke case")
        try:
            self.tally.add(run_directed(self.factory, DIRECTED[0], VARIANTS[0]), self.fired)
        except Exception as error:
            raise SmokeFailure(f"{type(error).__name__}: {error}") from error

    def run(self, profile: Profile) -> None:
        """Run the directed schedules in every set-up, then the drawn ones."""
        for options in VARIANTS[: profile.variants]:
            for schedule in DIRECTED:
                self.progress(f"schedule {schedule.__name__}, compression {options.compression}")
                is_watched = options in WATCHED
                run = partial(run_directed, self.factory, schedule, options, self.stall_seconds, is_watched=is_watched)
                self._count(schedule.__name__, run)
        for options in SHAPES:
            self.progress(f"set-up with {options.channels} channels")
            self._count("plain", partial(run_shape, self.factory, options, self.stall_seconds))
        self.progress(f"{profile.drawn} drawn schedules")
        drawn = partial(run_drawn, self.factory, profile.drawn, self.seed)
        self._guarded("drawn schedules", lambda: drawn(self.tally, self.fired), again=lambda spec: drawn(Tally(), {}, spec=spec))

    def _count(self, name: str, run: Callable[..., Lockstep]) -> None:
        def counted() -> None:
            self.tally.add(run(), self.fired)

        self._guarded(name, counted, again=lambda spec: run(spec=spec))

    def _guarded(self, name: str, action: Callable[[], None], again: Again) -> None:
        try:
            action()
        except Violation as violation:
            self._judge(violation, name, again)
        except HypothesisException as error:
            self.errors.append(f"{name}: {error}")
        except Exception as error:  # noqa: BLE001  # a subject may fail in any way; the rest is still checked
            self.errors.append(f"{name}: {type(error).__name__}: {error}")

    def _judge(self, violation: Violation, schedule: str, again: Again) -> None:
        try:
            some = Known(self.against).explaining(violation, schedule, again)
        except Exception as error:  # noqa: BLE001  # a subject may fail in any way; then nothing is explained
            self.errors.append(f"{schedule}, run again: {type(error).__name__}: {error}")
            some = ()
        if some:
            self.known.setdefault(violation.rule, (violation, some))
        else:
            self.violations.setdefault(violation.rule, violation)

    def rulings(self) -> dict[str, Ruling]:
        """Return what was found out about every rule and clause, and about progress."""
        rulings = {rule.id: self._ruling(rule.id, rule.actor) for rule in BOTH_SIDES.rules}
        rulings |= {clause.id: self._clause(clause.id) for clause in BOTH_SIDES.clauses}
        for identifier in (self.violations.keys() | self.known.keys()) - rulings.keys():
            rulings[identifier] = self._violated(identifier)
        if self.errors:
            rulings["harness"] = Ruling(Outcome.ERRORED, "a schedule failed for another reason than a rule", {"errors": self.errors})
        return rulings

    def _violated(self, identifier: str) -> Ruling:
        if identifier in self.violations:
            violation = self.violations[identifier]
            return Ruling(Outcome.VIOLATED, violation.why, {"schedule": list(violation.moves)})
        violation, some = self.known[identifier]
        return Ruling(Outcome.KNOWN_DEVIATION, f"{violation.why}; {because(self.against, some)}", {"schedule": list(violation.moves)})

    def _ruling(self, identifier: str, actor: Actor) -> Ruling:
        if identifier in self.violations or identifier in self.known:
            return self._violated(identifier)
        if actor in (Actor.PRIMARY, Actor.GUEST):
            return Ruling(Outcome.SKIPPED, f"a step of the {actor}: what the schedules do, not what the subject does")
        count = self.fired.get(identifier, 0)
        if not count and actor is Actor.ENVIRONMENT:
            return Ruling(
                Outcome.SKIPPED, "a fault of the peer that the receiver is not told: the model alone has it, and the proof covers it"
            )
        if not count:
            return Ruling(Outcome.SKIPPED, "no schedule got there")
        return Ruling(Outcome.HOLDS, "every time it was taken, the spec allowed it and memory was as it says", {"taken": count})

    def _clause(self, identifier: str) -> Ruling:
        if identifier in self.violations or identifier in self.known:
            return self._violated(identifier)
        count = self.fired.get(identifier, 0)
        if not count:
            return Ruling(Outcome.SKIPPED, "no schedule got to a state of which it says anything")
        return Ruling(
            Outcome.HOLDS, "memory and maps were the model's after every micro-step, and it held in each state", {"states": count}
        )
