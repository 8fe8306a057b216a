"""What `pytest --colofd-subject` runs: one test for each schedule, wire case and vector, named by the rule that it is about."""

import contextlib
from collections.abc import Callable, Iterator
from functools import cached_property, partial
from pathlib import Path
from typing import Final, Self

import pytest

from colofd.conformance.black_box_built_in import BuiltInFromOutside
from colofd.conformance.black_box_cases import ABOUT, Case, directed_cases, race_cases
from colofd.conformance.black_box_schedules import Findings, run_all_drawn, run_case
from colofd.conformance.black_box_streams import Conversation, conversations, violations
from colofd.conformance.black_box_wire import Seen, ruling_of
from colofd.conformance.black_box_wire import play as play_conversation
from colofd.conformance.check import PROFILES
from colofd.conformance.check_black_box import RACES, SECONDS
from colofd.conformance.diagnostic import Diagnostic
from colofd.conformance.foreign import FOREIGN, MakeSubject, opened, smoke
from colofd.conformance.rulings import Outcome, Ruling
from colofd.conformance.vector_format import Vector
from colofd.conformance.vector_play import play, vectors_in
from colofd.conformance.vector_receivers import SubjectForVectors, subject_for_vectors
from colofd.spec.profiles import STRICT

BUILT_IN: Final = "impl"
ROOT: Final = "colofd"
"""What all ids begin with."""

_DRAWN_AT_ONCE: Final = 42
"""Drawn schedules in one test."""


class Broken(Exception):  # noqa: N818  # says what was found
    """The receiver does not obey the spec."""


class Errored(Exception):  # noqa: N818  # says what happened
    """A schedule failed for another reason than a rule."""


class Subject:
    """The receiver that is tested, by its name. Nothing is started before it is asked for; `close` ends it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._open = contextlib.ExitStack()
        self._seen: dict[str, Seen] = {}

    @cached_property
    def make(self) -> MakeSubject:
        """What makes receivers, of which the simplest schedule was asked. SmokeFailure or Diagnostic if it does not go through."""
        make: MakeSubject = BuiltInFromOutside
        if self._name != BUILT_IN:
            make, _hello = self._open.enter_context(opened(self._name))
        smoke(make, lambda _what: None)
        return make

    @cached_property
    def for_vectors(self) -> SubjectForVectors:
        """What makes receivers for vectors."""
        return self._open.enter_context(subject_for_vectors(self._name, STRICT))

    def seen(self, case: Conversation) -> Seen:
        """Return what it does with a wire case, which is played once."""
        if case.id not in self._seen:
            self._seen[case.id] = play_conversation(self.make, case)
        return self._seen[case.id]

    def close(self) -> None:
        """End it."""
        self._open.close()


SUBJECT: Final = pytest.StashKey[Subject]()


class Rules(pytest.Collector):
    """All tests of a subject, in pytest's tree."""

    profile: str
    vectors: str | None

    def collect(self) -> "Iterator[RuleItem]":
        """Yield them. Diagnostic if the vectors cannot be read."""
        yield from self._schedules()
        valid = {each.id: each for each in conversations()}
        for broken in violations(list(valid.values())):
            yield RuleItem.of(self, broken.check_id, f"in {broken.twin}", partial(_play_wire, broken, valid[broken.twin]))
        for vector in vectors_in(Path(self.vectors)) if self.vectors else ():
            if vector.script:
                yield RuleItem.of(self, vector.rules[0], vector.id, partial(_play_vector, vector))

    def _schedules(self) -> "Iterator[RuleItem]":
        for case in directed_cases():
            yield RuleItem.of(self, case.about, f"{case.name}-{case.set_up.replace(',', '')}", partial(_run_cases, [case]))
        for name in dict.fromkeys(case.name for case in race_cases(1)):
            cases = [case for case in race_cases(RACES) if case.name == name]
            yield RuleItem.of(self, cases[0].about, name, partial(_run_cases, cases))
        for seed in range(1, 1 + PROFILES[self.profile].drawn // _DRAWN_AT_ONCE):
            yield RuleItem.of(self, ABOUT["drawn"], f"drawn-{seed}", partial(_run_drawn, seed))


class RuleItem(pytest.Item):
    """One test. `about` is the id of a rule, a clause or a wire check; `action` runs it."""

    @classmethod
    def of(cls, parent: Rules, about: str, name: str, action: Callable[[Subject], None]) -> Self:
        """Make a test whose id is an address in the spec: about/name."""
        made: Self = cls.from_parent(parent, name=f"{about}/{name.replace(' ', '-')}")
        made.action = action
        made.user_properties.append(("rule", str(about)))
        return made

    action: Callable[[Subject], None]

    def setup(self) -> None:
        """Start the subject, if no test has done so."""
        _ = self.config.stash[SUBJECT].make

    def runtest(self) -> None:
        """Run it."""
        self.action(self.config.stash[SUBJECT])

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: object = None) -> str:
        """Return what a person needs to see: where in colofd it was found is none of that."""
        del style
        error = excinfo.value
        if isinstance(error, Diagnostic):
            return f"{error.code}: {error.message}\ncause: {error.cause}\nhint: {error.hint}"
        return str(error) if isinstance(error, Broken | Errored) else str(super().repr_failure(excinfo))

    def reportinfo(self) -> tuple[Path, None, str]:
        """Return where this stands in a report."""
        return self.path, None, self.name


def collected(session: pytest.Session, subject: str, profile: str, vectors: str | None) -> Iterator[pytest.Item]:
    """Yield the tests of a subject. UsageError if it is none."""
    if subject != BUILT_IN and not subject.startswith(FOREIGN):
        raise pytest.UsageError(f"{subject!r} is no subject: give {', '.join(FOREIGN)}... or {BUILT_IN}")
    tested = session.config.stash[SUBJECT] = Subject(subject)
    session.config.add_cleanup(tested.close)
    rules: Rules = Rules.from_parent(session, name=ROOT, nodeid=ROOT)
    rules.profile, rules.vectors = profile, vectors
    yield from session.genitems(rules)


def _run_cases(cases: list[Case], subject: Subject) -> None:
    findings = Findings()
    for case in cases:
        findings.note(case.name, partial(run_case, subject.make, case, SECONDS), case.set_up)
    _judge(findings)


def _run_drawn(seed: int, subject: Subject) -> None:
    findings = Findings()
    run_all_drawn(subject.make, findings, _DRAWN_AT_ONCE, seed, SECONDS)
    _judge(findings)


def _judge(findings: Findings) -> None:
    for its in findings.violations.values():
        raise Broken(str(its[0][1]))
    if findings.errors:
        raise Errored(findings.errors[0])
    if findings.not_observable and not findings.held:
        pytest.skip("; ".join(findings.not_observable.values()))


def _play_wire(broken: Conversation, valid: Conversation, subject: Subject) -> None:
    _follow(ruling_of([broken], {case.id: subject.seen(case) for case in (broken, valid)}))


def _play_vector(vector: Vector, subject: Subject) -> None:
    _follow(play(vector, subject.for_vectors.open_subject, subject.for_vectors.seconds))


def _follow(ruling: Ruling) -> None:
    match ruling.outcome:
        case Outcome.HOLDS:
            return
        case Outcome.NOT_OBSERVABLE | Outcome.SKIPPED:
            pytest.skip(ruling.why)
        case Outcome.ERRORED:
            raise Errored(ruling.why)
        case _:
            details = [line for lines in ruling.evidence.values() if isinstance(lines, list) for line in lines]
            raise Broken("\n    ".join([ruling.why, *details]))
