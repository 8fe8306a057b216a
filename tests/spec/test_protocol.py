"""What the specification consists of, and the hash that names it."""

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from enum import Enum

import pytest

from colofd.model.proof_sorts import cycle, sort_edges
from colofd.spec.constants import Step
from colofd.spec.invariants import clauses, initial_states
from colofd.spec.language import (
    Actor,
    ClauseBook,
    Expr,
    Index,
    Map,
    RuleBook,
    Scalar,
    Spec,
    State,
    canonical,
    canonical_claim,
    every,
    sha256,
)
from colofd.spec.progress import both_sides, receiver, waits
from colofd.spec.protocol import BOTH_SIDES, SPEC, spec_sha256
from colofd.spec.state import Channel, Page, World
from colofd.spec.steps import steps, steps_of_both


def test_the_number_of_rules_and_clauses_is_known() -> None:
    """Given the specification, then it has 33 rules and 23 clauses, and no id twice."""
    ids = [rule.id for rule in SPEC.rules] + [clause.id for clause in SPEC.clauses]
    assert (len(SPEC.rules), len(SPEC.clauses)) == (33, 23)
    assert len(set(ids)) == len(ids)


def test_every_step_is_a_rule() -> None:
    """Given the micro-steps, then each is the id of a rule of the receiver, the guest or the environment."""
    actors = {rule.id: rule.actor for rule in BOTH_SIDES.rules}
    assert {str(step): actors.get(step) for step in Step if actors.get(step) not in {Actor.RECEIVER, Actor.GUEST, Actor.ENVIRONMENT}} == {}


def test_every_rule_of_the_receiver_is_a_step() -> None:
    """Given the rules of the receiver, then each is a micro-step that a receiver can record."""
    assert {rule.id for rule in BOTH_SIDES.rules if rule.actor is Actor.RECEIVER} - {str(step) for step in Step} == set()


def test_the_hash_does_not_depend_on_the_process() -> None:
    """Given two processes with different hash seeds, then both name the specification by the same hash."""
    program = "from colofd.spec.protocol import spec_sha256; print(spec_sha256())"
    hashes = {
        subprocess.run(  # noqa: S603  # our own interpreter, our own text
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert hashes == {spec_sha256()}


class _Page(Index):
    """A page."""


class _Phase(Enum):
    OFF = 1
    ON = 2


class _Small(State):
    phase = Scalar(_Phase, "A phase.")
    dirty = Map(_Page, bool, "A bitmap.")


Rule = Callable[..., None]
Formula = Callable[[_Small], Expr[bool]]


def _hash(rule: Rule, formula: Formula) -> str:
    rules, formulas, initial = RuleBook(_Small), ClauseBook(_Small), ClauseBook(_Small)
    rules.rule("set", by=Actor.RECEIVER, source="file.c:function")(rule)
    formulas.clause("holds", source="file.c:function")(formula)
    initial.clause("initial", source="file.c:function")(formula)
    (start,) = initial
    return sha256(canonical(Spec(_Small, start, tuple(rules), tuple(formulas))))


def _rule(s: _Small, page: Expr[_Page]) -> None:
    """A page becomes dirty."""
    s.when(s.phase == _Phase.ON)
    s.dirty[page] = True


def _formula(s: _Small) -> Expr[bool]:
    """Dirty pages need the phase."""
    return every(_Page)(lambda page: s.dirty[page] >> (s.phase == _Phase.ON))


def _other_prose(s: _Small, which: Expr[_Page]) -> None:
    """Other words."""
    s.when(s.phase == _Phase.ON)
    s.dirty[which] = True


def _other_guard(s: _Small, page: Expr[_Page]) -> None:
    """A page becomes dirty."""
    s.when(s.phase == _Phase.OFF)
    s.dirty[page] = True


def _other_update(s: _Small, page: Expr[_Page]) -> None:
    """A page becomes dirty."""
    s.when(s.phase == _Phase.ON)
    s.dirty[page] = False


def _other_key(s: _Small, page: Expr[_Page]) -> None:
    """A page becomes dirty."""
    s.when(s.phase == _Phase.ON, s.dirty[page] | ~s.dirty[page])
    s.dirty[:] = True


def _other_formula_prose(s: _Small) -> Expr[bool]:
    """Other words."""
    return every(_Page)(lambda q: s.dirty[q] >> (s.phase == _Phase.ON))


def _other_formula(s: _Small) -> Expr[bool]:
    """Dirty pages need the phase."""
    return every(_Page)(lambda page: s.dirty[page] >> (s.phase == _Phase.OFF))


@pytest.mark.parametrize(("rule", "formula"), [(_other_prose, _formula), (_rule, _other_formula_prose)])
def test_prose_and_names_do_not_change_the_hash(rule: Rule, formula: Formula) -> None:
    """Given the same rule or clause with another docstring and other variables, then the hash is the same."""
    assert _hash(rule, formula) == _hash(_rule, _formula)


@pytest.mark.parametrize(
    ("rule", "formula"), [(_other_guard, _formula), (_other_update, _formula), (_other_key, _formula), (_rule, _other_formula)]
)
def test_a_change_of_meaning_changes_the_hash(rule: Rule, formula: Formula) -> None:
    """Given another guard, update or clause, then the hash is another one."""
    assert _hash(rule, formula) != _hash(_rule, _formula)


def test_the_graph_of_sorts_has_no_cycle() -> None:
    """Given all formulas of the specification, then the sorts are stratified: every proof obligation is decidable."""
    assert sort_edges(SPEC) == {("Page", "Channel"), ("Page", "Value")}
    assert cycle(SPEC) == ()


class _WithCarrier(World):
    carrying = Map(Channel, Page, "Which page a channel carries: a function, where the specification has a relation.")


def test_a_function_from_channels_to_pages_closes_a_cycle() -> None:
    """Control: given a cell from channels to pages, then the graph of sorts has a cycle and it is named."""
    (initial,) = initial_states
    assert cycle(Spec(_WithCarrier, initial, SPEC.rules, tuple(clauses))) == ("Channel", "Page", "Channel")


def test_what_is_claimed_of_progress_counts_and_its_prose_does_not() -> None:
    """Given a measure, when its goal or its prose is changed, then what the hash is taken of changes with the goal only."""
    measure = receiver.progress.measures[0]
    other = dataclasses.replace(measure, goal=~measure.goal)
    told = dataclasses.replace(measure, doc="Something else.", source="elsewhere", location="nowhere")
    assert canonical_claim(measure) == canonical_claim(told)
    assert canonical_claim(measure) != canonical_claim(other)


def test_every_claim_counts() -> None:
    """Given the claims of steps, abilities, measures, chains and waits, then no two of them are the same to the hash."""
    books = (receiver.progress, both_sides.progress, waits.waits)
    claims: list[object] = [claim for book in (steps, steps_of_both) for claim in (*book.claims, *book.abilities)]
    claims += [claim for book in books for claim in (*book.measures, *book.chains, *book.waits)]
    assert len({json.dumps(canonical_claim(claim)) for claim in claims}) == len(claims) > 50
