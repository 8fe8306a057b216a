"""The contract of `colofd check`: what its report has, and how it ends."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import click.testing
import msgspec
import numpy as np
import numpy.typing as npt
import pytest

from colofd.conformance import check_black_box, check_command
from colofd.conformance.captures import find
from colofd.conformance.check import Campaign, Profile
from colofd.conformance.check_captures import CaptureResult
from colofd.conformance.check_command import check
from colofd.conformance.check_report import CheckReport
from colofd.conformance.further_cases import FURTHER
from colofd.conformance.rulings import Outcome, Ruling
from colofd.conformance.subjects import SUBJECTS, BuiltIn, Factory, Observed
from colofd.conformance.wire_check import check_wire
from colofd.spec.constants import Step
from colofd.spec.protocol import BOTH_SIDES, spec_sha256
from tests.conformance.fakes import FailsOver, showing, wrong_digests

KEYS = {
    "subject",
    "version",
    "spec_sha256",
    "seed",
    "against",
    "rules",
    "captures",
    "schedules",
    "micro_steps",
    "conclusive_schedules",
    "schedules_from_outside",
    "kept",
    "rerun",
}
CAPTURE = "none-precopy-mfd2-none"

Run = Callable[..., click.testing.Result]


class Unable(BuiltIn):
    """Fails in a way that no rule is about."""

    def guest_wrote(self, mask: npt.NDArray[np.bool_]) -> None:
        """Do nothing."""
        del mask
        raise RuntimeError("cannot be told")


class Absent(BuiltIn):
    """Cannot be had at all."""

    def __init__(self, *_arguments: object) -> None:
        raise OSError("no such receiver")


def _forgets_cache(seen: Observed) -> Observed:
    return replace(seen, cache=seen.cache and bytes(len(seen.cache)))


FAKES: dict[str, Factory] = {
    "fails-over": FailsOver,
    "wrong-digests": wrong_digests(Step.MAIN_MIRROR),
    "wrong-at-once": showing(_forgets_cache),
    "unable": Unable,
    "absent": Absent,
}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command as a user does, with fakes among the subjects, few schedules, and the smallest recording only."""
    monkeypatch.setattr(check_command, "PROFILES", {"quick": Profile(drawn=2, variants=1)})
    monkeypatch.setattr(check_command, "SUBJECTS", {**SUBJECTS, **FAKES})
    monkeypatch.setattr(check_black_box, "RACES", 1)
    monkeypatch.setattr(check_command, "shipped", lambda: [find(CAPTURE)])

    def invoke(*arguments: str) -> click.testing.Result:
        return click.testing.CliRunner().invoke(check, arguments)

    return invoke


def report_of(result: click.testing.Result) -> dict[str, Any]:
    report: dict[str, Any] = msgspec.json.decode(result.stdout)
    return report


def test_the_report_of_the_built_in_receiver(run: Run) -> None:
    """Given the built-in receiver, when it is checked, then the report is one JSON object with these keys, and it ends with 0."""
    result = run("--json", "--seed", "7")
    assert result.exit_code == 0, result.output
    report = report_of(result)
    assert report.keys() == KEYS
    assert (report["subject"], report["seed"], report["spec_sha256"]) == ("impl", 7, spec_sha256())
    assert report["rerun"] == "colofd check impl --profile quick --seed 7"
    assert report["schedules"] > 10
    assert 0 < report["conclusive_schedules"] <= report["schedules"]
    assert report["schedules_from_outside"] > 60
    assert report["micro_steps"] > report["rules"]["isolation.guest"]["evidence"]["states"] > 10
    (capture,) = report["captures"]
    assert capture == {"name": CAPTURE, "digests_checked": 2, "micro_steps": capture["micro_steps"], "ok": True, "why": ""}


def test_every_rule_has_a_ruling_that_gives_its_reason(run: Run) -> None:
    """Given a report, then each rule, clause, wire check and further case has one of the known outcomes; one that was skipped says why."""
    rules = report_of(run("--json"))["rules"]
    of_spec = {rule.id for rule in BOTH_SIDES.rules} | {clause.id for clause in BOTH_SIDES.clauses}
    assert rules.keys() == of_spec | check_wire().keys() | FURTHER.keys()
    assert {ruling["outcome"] for ruling in rules.values()} == {Outcome.HOLDS, Outcome.SKIPPED}
    assert all(ruling["why"] for ruling in rules.values())
    assert all(rules[step]["outcome"] == Outcome.HOLDS for step in Step)
    assert rules["receive.mirror"]["evidence"]["taken"] > 0


def test_the_text_says_the_same(run: Run) -> None:
    """Given no --json, when the receiver is checked, then each rule has a line, and the last one says how to do it again."""
    lines = run().stdout.splitlines()
    assert lines[0].startswith("subject impl ")
    assert sum(line.startswith("  receive.mirror ") for line in lines) == 1
    assert lines[-1] == "again: colofd check impl --profile quick --seed 1"


@pytest.mark.parametrize(("subject", "rule"), [("fails-over", "failover"), ("wrong-digests", "main.mirror")])
def test_a_violation_ends_with_1_and_names_the_rule(run: Run, subject: str, rule: str) -> None:
    """Given a subject that breaks a rule, when it is checked, then that is said with the moves that lead there, and it ends with 1."""
    result = run(subject, "--json")
    assert result.exit_code == 1, result.output
    report = report_of(result)
    assert report["rules"][rule]["outcome"] == "violated"
    assert report["rules"][rule]["evidence"]["schedule"][0].startswith("options ")
    assert "harness" not in report["rules"]
    assert report["rerun"] == f"colofd check {subject} --profile quick --seed 1"


def test_the_text_of_a_violation_shows_the_moves(run: Run) -> None:
    """Given a subject that breaks a rule, when it is checked without --json, then rule, reason and moves can be read."""
    result = run("wrong-digests")
    assert result.exit_code == 1, result.output
    assert "\nmain.mirror: event " in result.stdout
    assert "\n    main takes main.mirror\n" in result.stdout


def test_another_failure_is_an_error_and_no_violation(run: Run) -> None:
    """Given a subject that fails in another way than by a rule, when it is checked, then this is said apart, and it ends with 2."""
    result = run("unable", "--json")
    assert result.exit_code == 2, result.output
    rules = report_of(result)["rules"]
    assert rules["harness"]["outcome"] == "errored"
    assert "RuntimeError: cannot be told" in rules["harness"]["evidence"]["errors"][0]
    assert not [name for name, ruling in rules.items() if ruling["outcome"] == "violated"]


@pytest.mark.parametrize(("subject", "said"), [("absent", "OSError: no such receiver"), ("wrong-at-once", "receive.clean-page-arrived")])
def test_a_smoke_failure_ends_with_2(run: Run, subject: str, said: str) -> None:
    """Given a subject with which nothing works, when it is checked, then the rest is not run, and it ends with 2 and without a report."""
    result = run(subject, "--json")
    assert result.exit_code == 2, result.output
    assert not result.stdout
    assert "the smoke case failed, so the rest was not run: " in result.stderr
    assert said in result.stderr


@pytest.mark.parametrize("arguments", [("nonsense",), ("--profile", "nonsense"), ("--seed", "-1"), ("--against", "nonsense")])
def test_wrong_usage_ends_with_2(run: Run, arguments: tuple[str, ...]) -> None:
    """Given an unknown subject or profile, or a seed that is none, then nothing is run, and it ends with 2."""
    result = run(*arguments)
    assert result.exit_code == 2
    assert not result.stdout
    assert "there are: strict, qemu-7.2" in result.stderr or "impl" in result.stderr or "Invalid value" in result.stderr


def report_with(*outcomes: Outcome, is_capture_ok: bool = True, micro_steps: int = 1) -> CheckReport:
    rules = {f"rule.{number}": Ruling(outcome, "why") for number, outcome in enumerate(outcomes)}
    return CheckReport("impl", "0", "", 1, "strict", rules, [CaptureResult("a", 1, 1, is_capture_ok)], 1, micro_steps, 1, 0, "")


@pytest.mark.parametrize(
    ("report", "code"),
    [
        (report_with(Outcome.HOLDS, Outcome.SKIPPED, Outcome.NOT_OBSERVABLE, Outcome.KNOWN_DEVIATION), 0),
        (report_with(Outcome.HOLDS, Outcome.VIOLATED), 1),
        (report_with(Outcome.ERRORED, Outcome.VIOLATED), 1),
        (report_with(Outcome.HOLDS, is_capture_ok=False), 1),
        (report_with(Outcome.HOLDS, Outcome.ERRORED), 2),
        (report_with(Outcome.SKIPPED), 2),
        (report_with(), 2),
        (report_with(Outcome.HOLDS, micro_steps=0), 2),
    ],
)
def test_the_exit_code_says_what_was_found(report: CheckReport, code: int) -> None:
    """Given outcomes, then 1 is a violation, and 2 that something failed or that nothing was checked."""
    assert report.exit_code == code


def test_a_campaign_that_ran_nothing_claims_nothing() -> None:
    """Given a campaign that has run no schedule, then it says of nothing that it holds."""
    rulings = Campaign(BuiltIn, 1, lambda _what: None).rulings()
    assert {ruling.outcome for ruling in rulings.values()} == {Outcome.SKIPPED}
