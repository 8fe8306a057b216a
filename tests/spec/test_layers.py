"""A layer adds to a specification, and cannot take anything away."""

import pytest

from colofd.spec.both_sides import BOTH_SIDES, BothSides
from colofd.spec.constants import Step
from colofd.spec.language import Actor, Expr, Layer, SpecError
from colofd.spec.protocol import SPEC
from colofd.spec.state import Page, Phase


def test_a_layer_keeps_every_guard_and_update_of_the_base() -> None:
    """Given the receive path, When both sides are laid over it, Then each of its rules is still there, guards and updates first."""
    for rule in SPEC.rules:
        whole = BOTH_SIDES.rule(rule.id)
        assert whole.guards[: len(rule.guards)] == rule.guards, rule.id
        assert whole.updates[: len(rule.updates)] == rule.updates, rule.id


def test_a_layer_writes_no_cell_of_the_base() -> None:
    """Given the rules of both sides, When the updates that the layer adds are looked at, Then none is of a cell of the receive path."""
    base = {rule.id: len(rule.updates) for rule in SPEC.rules}
    added = {update.cell.name for rule in BOTH_SIDES.rules for update in rule.updates[base.get(rule.id, 0) :]}
    assert added
    assert not added & {cell.name for cell in SPEC.state.cells()}


def test_the_size_of_both_sides_is_pinned() -> None:
    """Given both sides, When counted, Then there are 46 rules and 38 clauses."""
    assert (len(BOTH_SIDES.rules), len(BOTH_SIDES.clauses)) == (46, 38)


def test_an_extension_that_writes_the_base_is_refused() -> None:
    """Given a layer, When an extension writes the phase, Then SpecError names the rule, the cell and the place."""

    def text(s: BothSides) -> None:
        """It changes the phase."""
        s.phase = Phase.IDLE

    with pytest.raises(SpecError, match=rf"checkpoint\.begin: (phase is written twice|a layer may not write phase).*{__file__}:\d+"):
        Layer(SPEC, BothSides).extends(Step.CHECKPOINT_BEGIN, source="test")(text)


def test_a_rule_of_the_layer_that_writes_the_base_is_refused() -> None:
    """Given a layer, When a rule of its own writes guest RAM, Then SpecError names it."""

    def text(s: BothSides, page: Expr[Page]) -> None:
        """It writes guest RAM."""
        s.guest[page] = s.cache[page]

    with pytest.raises(SpecError, match=r"test\.own: a layer may not write guest"):
        Layer(SPEC, BothSides).rule("test.own", by=Actor.RECEIVER, source="test")(text)


def test_an_unknown_rule_cannot_be_extended() -> None:
    """Given a layer, When it extends what the base does not have, Then SpecError says so."""

    def text(_s: BothSides) -> None:
        """Nothing."""

    with pytest.raises(SpecError, match=r"no\.such: the base has no such rule"):
        Layer(SPEC, BothSides).extends("no.such", source="test")(text)


def test_a_rule_is_extended_once() -> None:
    """Given a layer that extends a rule, When it extends it again, Then SpecError says so."""

    def text(s: BothSides) -> None:
        """A guard."""
        s.when(s.is_promised)

    layer = Layer(SPEC, BothSides)
    layer.extends(Step.COMMIT, source="test")(text)
    with pytest.raises(SpecError, match="it is extended twice"):
        layer.extends(Step.COMMIT, source="test")(text)
