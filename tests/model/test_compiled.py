"""The compiled machine takes the same steps as the machine, with the same effect, and refuses the same with the same words."""

import random
from collections.abc import Callable
from enum import Enum
from typing import Any, Final

import numpy as np
import pytest

from colofd.model import compiled
from colofd.model.compiled import CompiledMachine
from colofd.model.machine import Machine, NotEnabled
from colofd.spec.language import Rule
from colofd.spec.protocol import BOTH_SIDES
from colofd.spec.state import Channel, Page, Value

PAGES: Final = 4
CHANNELS: Final = 2
VALUES: Final = 2


def machine(kind: type[Machine], draw: random.Random) -> Machine:
    """Return a machine in a state that need not be reachable, with the same cells for the same draw."""
    made = kind(PAGES, CHANNELS, colo=True, page_size=16, spec=BOTH_SIDES)
    for cell in BOTH_SIDES.state.cells():
        members = len(cell.to) if issubclass(cell.to, Enum) else 2
        array = made.cells[cell.name]
        array[...] = np.array([draw.randrange(members) for _ in range(array.size)]).reshape(array.shape).astype(array.dtype)
    return made


def outcome(made: Machine, rule: Rule, draw: random.Random) -> tuple[str, dict[str, list[Any]]]:
    """Fire a rule with drawn arguments; return why it was refused, and the cells."""
    sorts = {parameter.sort for parameter in rule.parameters}
    pages = draw.sample(range(PAGES), draw.choice((1, 1, 2, 3))) if Page in sorts else []
    values = [draw.randrange(VALUES) for _ in pages] if Value in sorts else []
    others = dict.fromkeys(sorts - {Page, Value, Channel}, 0)
    why = ""
    try:
        made.fire(rule.id, channel=draw.randrange(CHANNELS + 1), pages=pages, values=values, others=others)
    except NotEnabled as refusal:
        why = str(refusal)
    return why, {name: cell.tolist() for name, cell in made.cells.items()}


def both(rule: Rule, seed: int) -> list[tuple[str, dict[str, list[Any]]]]:
    outcomes = []
    for kind in (Machine, CompiledMachine):
        draw = random.Random(seed)  # noqa: S311  # states, not secrets
        outcomes.append(outcome(machine(kind, draw), rule, draw))
    return outcomes


@pytest.mark.parametrize("rule", BOTH_SIDES.rules, ids=lambda rule: rule.id)
def test_a_compiled_rule_is_the_rule(rule: Rule, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given any states, when a rule is fired on both machines, then refusal and cells are equal; without its guards, too."""
    for seed in range(150):
        plain, fast = both(rule, seed)
        assert plain == fast, f"seed {seed}"
    guards, free = object.__getattribute__(rule, "guards"), ()
    monkeypatch.setitem(vars(rule), "guards", free)
    taken = 0
    for seed in range(60):
        plain, fast = both(rule, seed)
        assert plain == fast, f"seed {seed}, without {len(guards)} guards"
        taken += not plain[0]
    assert taken == 60


def test_a_wrong_update_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: given a compiler that takes `and` for `or`, when all rules are compared, then some differ."""
    right: Callable[..., tuple[str, bool]] = compiled._Writing._both

    def wrong(self: compiled._Writing, left: Any, right_side: Any, scalar: str, array: str) -> tuple[str, bool]:
        return right(self, left, right_side, "or" if scalar == "and" else scalar, "|" if array == "&" else array)

    monkeypatch.setattr(compiled._Writing, "_both", wrong)

    def differs(rule: Rule) -> bool:
        try:
            return any(len({repr(each) for each in both(rule, seed)}) > 1 for seed in range(40))
        except AssertionError:
            return True

    assert any(differs(rule) for rule in BOTH_SIDES.rules)
