"""docs/proved.md is what the proof says today: all of it is proved here, and compared with the page."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from colofd.conformance.prove_command import prove
from colofd.conformance.prove_mutants import count_of_mutants
from colofd.conformance.proved_page import ABOUT, page
from colofd.model.controls import WRONG
from colofd.model.proof_obligations import Kind
from colofd.spec.assumptions import ASSUMPTIONS
from colofd.spec.protocol import STANDBY, spec_sha256

DOCS = Path(__file__).parents[2] / "docs"
AGAIN = "`make proved` writes the page again"


@pytest.fixture(scope="module")
def kept() -> dict[str, Any]:
    """Return what the page was written from."""
    report: dict[str, Any] = json.loads((DOCS / "proved.json").read_text())
    return report


@pytest.fixture(scope="module")
def today() -> dict[str, Any]:
    """Return what is proved today, by both solvers."""
    result = CliRunner().invoke(prove, ["--json"])
    assert result.exit_code == 0, result.output
    report: dict[str, Any] = json.loads(result.stdout)
    return report


def without_seconds(report: dict[str, Any]) -> dict[str, Any]:
    """Return what does not depend on the machine and the day."""
    solvers = {name: {key: value for key, value in said.items() if key != "seconds"} for name, said in report["solvers"].items()}
    same = ("spec_sha256", "holds", "only", "obligations", "counts", "unproved", "gates", "gate_faults", "assumptions")
    return {**{key: report[key] for key in same}, "solvers": solvers}


def test_everything_is_proved_by_two_solvers(today: dict[str, Any]) -> None:
    """Given the specification, When both solvers are asked, Then all obligations are proved, and no gate is closed."""
    assert today["holds"]
    assert set(today["solvers"]) == {"z3", "cvc5"}
    assert {(said["unsat"] + said["sat"], said["unknown"]) for said in today["solvers"].values()} == {(today["obligations"], 0)}
    assert today["spec_sha256"] == spec_sha256()
    assert set(today["counts"]) == set(Kind)
    assert len(today["gates"]) >= 5
    assert all(today["gates"].values())


def test_the_page_is_about_this_specification(kept: dict[str, Any], today: dict[str, Any]) -> None:
    """Given what the page was written from, Then it is what is proved today, but for date and seconds."""
    assert without_seconds(kept) == without_seconds(today), AGAIN


def test_the_page_is_what_is_generated(kept: dict[str, Any]) -> None:
    """Given what the page was written from, Then the page is what is generated from it."""
    assert (DOCS / "proved.md").read_text() == page(kept), AGAIN


def test_controls_and_mutants_on_the_page_are_those_there_are(kept: dict[str, Any]) -> None:
    """Given the declared controls and all mutants, Then the page has each control, noticed, and as many mutants."""
    assert [each["name"] for each in kept["controls"]] == [each.name for each in WRONG], AGAIN
    assert [each["must_fail"] for each in kept["controls"]] == [list(each.must_fail) for each in WRONG], AGAIN
    assert kept["mutants"]["total"] == count_of_mutants(), AGAIN
    assert (kept["mutants"]["survived"], kept["mutants"]["by_count"]) == (0, 0)


def test_the_page_tells_of_failure(kept: dict[str, Any]) -> None:
    """Control: Given a report in which something is not proved, and a gate is closed, Then the page says so."""
    failure = {"name": "receive.mirror keeps isolation.guest"}
    wrong = page({**kept, "holds": False, "unproved": [failure], "gates": {"ghosts decide nothing": False}, "mutants": None})
    assert "**Not everything holds: see below.**" in wrong
    assert "Not proved: receive.mirror keeps isolation.guest." in wrong
    assert "| ghosts decide nothing | NOT PASSED |" in wrong
    assert "Not asked about." in wrong


def test_every_kind_is_explained() -> None:
    """Given all kinds of obligations, Then the page says of each what it is about."""
    assert set(ABOUT) == set(Kind)


def test_assumptions_say_what_needs_them() -> None:
    """Given all assumptions, Then ids differ, and each names rules, clauses or kinds that there are."""
    assert len({each.id for each in ASSUMPTIONS}) == len(ASSUMPTIONS)
    ids = {each.id for each in (*STANDBY.rules, *STANDBY.clauses)}  # type: ignore[attr-defined]
    known = {*ids, *(identifier.partition(".")[0] for identifier in ids), *(kind.value for kind in Kind)}
    assert {name for each in ASSUMPTIONS for name in each.needed_by} - known == set()


def test_proof_rests_on_the_tools(kept: dict[str, Any]) -> None:
    """Given the kinds of obligations, Then each needs the solvers, the tracer and the writer."""
    for identifier in ("trust.solvers", "trust.trace", "trust.obligations"):
        (trust,) = (each for each in kept["assumptions"] if each["id"] == identifier)
        assert set(trust["needed_by"]) >= {kind.value for kind in Kind}, identifier
