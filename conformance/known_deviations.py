"""Whether a violation is one that a version of QEMU is known for: the same schedule goes through where its deviation is the rule."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from colofd.conformance.rulings import Outcome, Ruling
from colofd.conformance.violation import Violation
from colofd.model.controls import control
from colofd.model.proof_obligations import Kind
from colofd.spec.language import Rule, Spec
from colofd.spec.profiles import Deviation, deviations_of
from colofd.spec.protocol import BOTH_SIDES, SPEC

Again = Callable[[Spec], object]
"""Runs a schedule again beside a model of this specification; Violation if the receiver is wrong by that, too."""


@dataclass(frozen=True)
class Known:
    """What is known of the versions of one profile."""

    profile: str

    @cached_property
    def deviations(self) -> tuple[Deviation, ...]:
        """The deviations that the versions are known to have: what nobody has checked excuses nothing."""
        return tuple(each for each in deviations_of(self.profile) if each.is_known_of(self.profile))

    @cached_property
    def changing(self) -> tuple[Deviation, ...]:
        """The known deviations that change what a step does."""
        return tuple(each for each in self.deviations if each.change and control(each.change).rules and not _is_about_progress(each))

    def explaining(self, violation: Violation, schedule: str, again: Again) -> tuple[Deviation, ...]:
        """Return the deviations without which the violation would not be, or nothing if it is a new one.

        Args:
            violation: what was found.
            schedule: name of the schedule that found it.
            again: runs it again.
        """
        if shown := self.shown_by(violation, schedule):
            return shown
        for some in self._candidates():
            try:
                again(deviating(some))
            except Violation:
                continue
            return some
        return ()

    def shown_by(self, violation: Violation, schedule: str) -> tuple[Deviation, ...]:
        """Return the deviations that are known to break this guarantee in this schedule."""
        return tuple(each for each in self.deviations if violation.rule in each.loses and schedule in each.seen_in)

    def _candidates(self) -> Iterator[tuple[Deviation, ...]]:
        """Yield each deviation that changes what a step does, then all of them together."""
        yield from ((each,) for each in self.changing)
        if len(self.changing) > 1:
            yield self.changing

    def readings(self) -> Iterator[Spec]:
        """Yield the specification itself, then with what these versions do otherwise: a deviation can show, and need not in each run."""
        yield BOTH_SIDES
        yield from map(deviating, self._candidates())

    def ruling(self, identifier: str, ruling: Ruling) -> Ruling:
        """Return the ruling on a wire check, as a known deviation if these versions do not make the check."""
        for each in self.deviations:
            if ruling.outcome is Outcome.VIOLATED and identifier in each.unchecked:
                return replace(ruling, outcome=Outcome.KNOWN_DEVIATION, why=f"{ruling.why}; {because(self.profile, (each,))}")
        return ruling


def because(profile: str, some: tuple[Deviation, ...]) -> str:
    """Return which deviations of which profile a violation comes from."""
    return f"known of {profile}: {', '.join(each.id for each in some)}"


def _is_about_progress(deviation: Deviation) -> bool:
    """Return whether it only makes something impossible: then the specification allows whatever still happens."""
    return Kind.PROGRESS in deviation.loses


def deviating(some: tuple[Deviation, ...]) -> Spec:
    """Return both sides with the texts of some deviations, and without clauses: they need not hold any more."""
    changes = [control(each.change) for each in some]
    changed = {rule.id: rule if change.base is BOTH_SIDES else _with_layer(rule) for change in changes for rule in change.rules}
    return Spec(BOTH_SIDES.state, BOTH_SIDES.initial, tuple(changed.get(rule.id, rule) for rule in BOTH_SIDES.rules), ())


def _with_layer(rule: Rule) -> Rule:
    """Return a changed rule of the receive path with what the layer adds to the rule."""
    base, whole = SPEC.rule(rule.id), BOTH_SIDES.rule(rule.id)
    guards, updates = whole.guards[len(base.guards) :], whole.updates[len(base.updates) :]
    return replace(rule, guards=(*rule.guards, *guards), updates=(*rule.updates, *updates))
