"""A receiver in C, which shares nothing with ours: it passes, its memory is clean, and what is planted in it is named by rule."""

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final

import pytest

from colofd.conformance.adapter_validation import validate
from colofd.conformance.black_box import Version
from colofd.conformance.black_box_cases import directed_cases, race_cases
from colofd.conformance.black_box_schedules import Findings, run_all_drawn, run_case
from colofd.conformance.black_box_wire import check_black_box_wire
from colofd.conformance.foreign import opened, smoke
from colofd.conformance.rulings import Outcome, Ruling
from colofd.conformance.vector_play import play
from colofd.conformance.vector_receivers import subject_for_vectors
from colofd.conformance.vector_schedules import schedule_vectors
from colofd.conformance.vector_wire import wire_vectors
from colofd.spec.profiles import STRICT
from colofd.spec.protocol import BOTH_SIDES
from colofd.spec.wire import CHECKS
from tests.conformance.c_receiver import SOURCES, built, rules_by_bug, subject

SECONDS: Final = 5.0
RACES: Final = 3


def found_of(name: str, drawn: int = 0, races: int = RACES) -> tuple[Findings, dict[str, Ruling]]:
    """Put the directed schedules, some races and drawn schedules, and all wire cases to a subject."""
    findings = Findings()
    with opened(name) as (make, _hello):
        for case in [*directed_cases(), *race_cases(races)]:
            findings.note(case.name, partial(run_case, make, case, SECONDS), case.set_up)
        if drawn:
            run_all_drawn(make, findings, drawn, 1, SECONDS)
        return findings, dict(check_black_box_wire(make, Version(), lambda _what: None).rulings)


def test_it_passes_the_suite() -> None:
    """Given the receiver in C, when schedules and wire cases are put to it, then nothing is violated, and all was observed."""
    findings, wire = found_of(subject(), drawn=60)
    assert (findings.violations, findings.errors) == ({}, [])
    assert set(findings.not_observable.values()) == {
        "a flush cannot be held",
        "threads cannot be held: there is no hold",
        "threads cannot be held: there is no owed",
    }
    outcomes = Counter(ruling.outcome for ruling in wire.values())
    assert set(outcomes) == {Outcome.HOLDS, Outcome.NOT_OBSERVABLE}
    assert outcomes[Outcome.HOLDS] > 70


def test_it_plays_vectors() -> None:
    """Given the first vectors of the wire and of schedules, when they are played on it, then each holds, with its reason and its offset."""
    vectors = [*(vector for vector, _ in islice(wire_vectors(), 150)), *islice(schedule_vectors(), 30)]
    with subject_for_vectors(subject(), STRICT) as played:
        rulings = {vector.id: play(vector, played.open_subject, played.seconds) for vector in vectors}
    assert {name: ruling.why for name, ruling in rulings.items() if ruling.outcome is not Outcome.HOLDS} == {}
    assert len(rulings) > 150


def test_its_adapter_answers_as_it_should() -> None:
    """Given its adapter, when it is validated, then each thing is right."""
    assert len(list(validate(str(built()), SECONDS))) > 20


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[str]:
    path = tmp_path / "adapter"
    with subprocess.Popen([built(), f"unix:{path}"]) as process:  # noqa: S603  # our own program
        end = time.monotonic() + SECONDS
        while not path.exists() and time.monotonic() < end:
            time.sleep(0.01)
        yield f"attach:unix:{path}"
        process.kill()


def test_it_is_attached_to(listening: str) -> None:
    """Given an adapter that runs already, when it is attached to more than once, then each connection has a receiver of its own."""
    for _ in range(2):
        with opened(listening) as (make, hello):
            smoke(make, lambda _what: None)
            assert hello.name == "c-receiver"


def test_migrations_come_by_tcp() -> None:
    """Given an adapter that says a TCP address when it starts, when the smoke case is run, then it goes there."""
    with opened(subject(option="--tcp")) as (make, _hello):
        smoke(make, lambda _what: None)


def test_memory_and_threads_are_clean(tmp_path: Path) -> None:
    """Given it built with sanitizers, when it is put to schedules and ended, then they have found nothing."""
    for sanitize in ("address,undefined", "thread"):
        log = tmp_path / sanitize.partition(",")[0]
        options = [f"{name}=log_path={log}" for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS")]
        findings, _ = found_of(f"exec:env {' '.join(options)} {built(sanitize=sanitize)}")
        assert (findings.violations, findings.errors) == ({}, [])
        ended = dict(option.split("=", 1) for option in options)
        questions = "".join(json.dumps({"id": number, "verb": verb}) + "\n" for number, verb in enumerate(("hello", "status", "stop")))
        again = subprocess.run([built(sanitize=sanitize)], input=questions, env=ended, capture_output=True, text=True, check=True)  # noqa: S603
        assert again.stderr == ""
        assert [path.read_text()[:2000] for path in tmp_path.iterdir()] == []


PLANTED: Final = ("zero-pages-elided", "own-writes-kept", "records-not-mirrored", "device-state-unchecked", "unaligned-accepted")
"""Some mistakes of several kinds, which need no race; `make planted` tries all."""


@pytest.mark.parametrize("bug", PLANTED)
def test_what_is_planted_is_named(bug: str) -> None:
    """Given a mistake that was planted, when the suite is put to it, then the rule that it breaks is named."""
    findings, wire = found_of(subject(bug), races=0)
    violations = [violation for its in findings.violations.values() for _, violation in its]
    named = [f"{violation.rule}: {violation.why}" for violation in violations] + findings.errors
    named += [check for check, ruling in wire.items() if ruling.outcome is Outcome.VIOLATED]
    assert any(rules_by_bug()[bug] in each for each in named), named


def test_every_mistake_can_be_planted() -> None:
    """Given the list of mistakes, then each is somewhere in the sources, and has a rule that there is."""
    listed = subprocess.run(["make", "--silent", "--directory", str(SOURCES), "bugs"], capture_output=True, text=True, check=True)  # noqa: S603, S607
    bugs = listed.stdout.split()
    text = "".join(path.read_text() for path in SOURCES.glob("*.c"))
    assert [bug for bug in bugs if f"BUG_{bug.upper().replace('-', '_')}" not in text] == []
    assert list(rules_by_bug()) == bugs
    ids = {
        *CHECKS,
        "wire.payload.corrupt",
        "wire.payload.short",
        "wire.truncated",
        *(rule.id for rule in BOTH_SIDES.rules),
        *(clause.id for clause in BOTH_SIDES.clauses),
    }
    assert set(rules_by_bug().values()) - ids == set()


def test_the_table_of_mistakes_is_made() -> None:
    """Given a mistake that the smoke case finds, when the table is asked for, then it has a row, and the rule is named."""
    command = [sys.executable, str(SOURCES / "planted.py"), "into-guest-in-colo"]
    made = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603  # our own
    assert made.returncode == 0, made.stdout + made.stderr
    assert "| into-guest-in-colo | receive.read-page |" in made.stdout
