"""Mutants of the specification: none survives, and whatever protects nothing is noticed."""

import dataclasses
import re
from pathlib import Path

import pytest

from colofd.conformance.mutants_page import page
from colofd.conformance.prove_mutants import CLAIMS, count_of_mutants, mutant_results, mutants_json
from colofd.model.solver import SolverName, solver
from colofd.model.spec_mutants import Mutant, mutants
from colofd.model.spec_mutants_proof import Claims, Jury, Outcome
from colofd.spec.language import ProgressBook, Rule, Spec, StepBook
from colofd.spec.protocol import BOTH_SIDES, SPEC
from colofd.spec.state import Phase, World

STEP = 9
"""Every so many-th mutant is decided in a test run; `colofd prove --mutants` decides all."""

ALL = {mutant.name: mutant for mutant in mutants(BOTH_SIDES, SPEC)}
JURY = Jury(CLAIMS, [solver(SolverName.Z3)])


def of_rule(rule: str) -> list[Mutant]:
    return [mutant for mutant in ALL.values() if mutant.rule.id == rule]


def test_no_mutant_survives() -> None:
    """Given every ninth mutant, when it is decided, then the proof or progress notices it, or it is proved to change nothing."""
    report = mutants_json(list(mutant_results([SolverName.Z3], step=STEP)))
    assert report["not_noticed"] == []
    assert report["total"] == len(range(0, len(ALL), STEP)) == report["by_proof"] + report["by_progress"] + report["equivalent"]
    assert min(report["by_proof"], report["by_progress"], report["equivalent"]) > 0


def test_all_kinds_of_changes_are_made() -> None:
    """Given a rule with alternatives, conjuncts and sets in a guard and in a value, then these are its mutants, each with its own name."""
    assert len(ALL) == count_of_mutants() == 842
    changes = {mutant.edit.doc for mutant in of_rule("barrier.park") + of_rule("receive.read-page") + of_rule("receive.prepare")}
    assert {
        "without the guard ∀q. packet[channel, q] = NOTHING",
        "guard without PRECOPY in phase = PRECOPY ∨ phase = RECEIVING",
        "guard with FAILOVER too in phase = PRECOPY ∨ phase = RECEIVING",
        "guard without the alternative unsent[page]",
        "does not write channel_at",
        "mirror is written with FAILED too in phase = PRECOPY",
    } <= changes


def test_a_change_of_the_base_is_one_of_the_whole() -> None:
    """Given a mutant of a rule that the layer extends, then both readings have it; one of what the layer adds is in the whole only."""
    of_base, of_layer = (ALL[f"failover.take-over: {change}"] for change in ("does not write phase", "without the guard ¬is_promised"))
    assert of_base.base is not None
    assert (len(of_base.base.updates), len(of_base.rule.updates)) == (1, 1)
    assert (of_layer.base, len(of_layer.original.guards) - len(of_layer.rule.guards)) == (None, 1)


@pytest.mark.parametrize(
    ("name", "outcome", "failed"),
    [
        ("failover.take-over: without the guard ¬is_promised", Outcome.BY_PROOF, "failover.take-over keeps output.commit"),
        ("barrier.park: guard with EXITED too in channel_at[channel] = READY", Outcome.BY_PROOF, "barrier.park keeps to order.thread"),
        ("thread.exit: guard with FLUSHING too in phase = SETUP", Outcome.BY_PROGRESS, "thread.exit can be taken"),
        ("checkpoint.flush-page: does not write peer_dirty", Outcome.BY_PROGRESS, "checkpoint.flush-page changes something"),
        ("receive.mirror: guard with READY too in channel_at[channel] = PROCESSING", Outcome.EQUIVALENT, ""),
        ("receive.read-part: without the guard channel ≠ main", Outcome.EQUIVALENT, ""),
    ],
)
def test_what_notices_a_mutant(name: str, outcome: Outcome, failed: str) -> None:
    """Given mutants of all kinds, then this obligation is the first that notices them; a step that another rule has, too, is equivalent."""
    found = JURY.decide(ALL[name])
    assert (found.outcome, found.failed) == (outcome, failed)


def unclaimed(base: Spec, whole: Spec) -> Jury:
    """Return a jury that knows clauses, but nothing of single steps and of progress."""
    every = tuple(rule.id for rule in whole.rules)
    books = (StepBook(base, World, may_idle=every), StepBook(whole, World, may_idle=every))
    return Jury(Claims(base, whole, *books, (ProgressBook(whole, World),)), [solver(SolverName.Z3)])


def test_what_only_claims_about_steps_notice() -> None:
    """Control: given no claims about steps, then threads that end less often are noticed by a count only."""
    mutant = ALL["thread.exit: guard with RECEIVED too in phase = SETUP"]
    assert unclaimed(SPEC, BOTH_SIDES).decide(mutant).outcome is Outcome.BY_COUNT


def test_a_guard_that_protects_nothing_survives() -> None:
    """Control: given a guard that forbids something, but nothing that matters, then the mutant without it is not noticed by the proof."""
    s = World()

    def stricter(rule: Rule) -> Rule:
        return dataclasses.replace(rule, guards=(*rule.guards, s.phase != Phase.IDLE)) if rule.id == "guest.secondary-write" else rule

    spec = dataclasses.replace(SPEC, rules=tuple(stricter(rule) for rule in SPEC.rules))
    (mutant,) = (each for each in mutants(spec, spec) if each.name == "guest.secondary-write: without the guard phase ≠ IDLE")
    assert unclaimed(spec, spec).decide(mutant).outcome is Outcome.BY_COUNT


def test_a_survivor_is_named() -> None:
    """Control: given a result with a survivor, then the report counts and names it, and so does the page."""
    (result,) = mutant_results([SolverName.Z3], step=count_of_mutants())
    survivor = dataclasses.replace(result, outcome=Outcome.SURVIVED)
    report = mutants_json([survivor])
    assert (report["total"], report["survived"], report["not_noticed"]) == (1, 1, [f"{survivor.rule}: {survivor.change}"])
    assert "| all 1 | 0 | 0 | 0 | 0 | 1 |" in page([survivor], ["z3 4"], "2026-01-01").splitlines()


def test_the_page_is_of_these_mutants() -> None:
    """Given the page in the docs, then it counts as many mutants as there are, and none of them survives.

    Where it does not: `python -m colofd.conformance.mutants_page > docs/mutation-of-the-spec.md`.
    """
    text = (Path(__file__).parents[2] / "docs" / "mutation-of-the-spec.md").read_text()
    (total,) = re.findall(r"^\| all (\d+) \| (\d+) \| (\d+) \| 0 \| (\d+) \| 0 \|$", text, re.MULTILINE)
    assert int(total[0]) == len(ALL) == sum(map(int, total[1:]))
