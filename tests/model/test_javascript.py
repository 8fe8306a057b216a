"""The rules as JavaScript say the same as the compiled rules in Python, in thousands of random states."""

import dataclasses
import itertools
import json
import random
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from colofd.model.compiled import Compiled, compile_rule
from colofd.model.javascript import PUT, javascript, rule_text
from colofd.model.machine import Machine
from colofd.spec.constants import Step
from colofd.spec.language import Not, Spec, sort_name
from colofd.spec.protocol import BOTH_SIDES
from colofd.spec.state import Value

NODE = shutil.which("node")
VALUES = 3
RARE = ("fault.", "failover.", "guest.", Step.EXIT, Step.GIVE_UP)
"""Rules that end a walk, or lead nowhere."""

needs_node = pytest.mark.skipif(NODE is None, reason="needs the program node (Debian package nodejs)")

COMPARE = """
const walks = JSON.parse(require("fs").readFileSync(0, "utf8"));
const differences = [];
let compared = 0;
const differ = (what, mine, theirs) => {
  compared += 1;
  if (JSON.stringify(mine) !== JSON.stringify(theirs)) differences.push(`${what}: ${JSON.stringify(mine)}, not ${JSON.stringify(theirs)}`);
};
for (const { sizes, candidates, states } of walks) {
  const members = Object.fromEntries(Object.entries(sizes).map(([name, size]) => [name, [...Array(size).keys()]]));
  const rules = Object.fromEntries(spec.rules.map((rule) => [rule.id, rule]));
  for (const { state, enabled, taken, after, broken, begins } of states) {
    const possible = candidates.flatMap(([id, ...given], number) =>
      rules[id].guards.every((guard) => guard.holds(state, members, ...given)) ? [number] : []);
    if (enabled) differ("enabled", possible, enabled);
    if (after) {
      const [id, ...given] = candidates[taken];
      differ(`after ${id}`, rules[id].after(state, members, ...given), after);
    }
    if (broken) {
      differ("broken", spec.clauses.filter((clause) => !clause.holds(state, members)).map((clause) => clause.id), broken);
      differ("initial", spec.initial.holds(state, members), begins);
    }
  }
}
console.log(JSON.stringify({ compared, differences: differences.slice(0, 5) }));
"""


@dataclass
class Walker:
    """A machine, and every rule of it with every choice of arguments."""

    machine: Machine
    draw: random.Random

    def __post_init__(self) -> None:
        self.sizes = {sort_name(sort): count for sort, count in self.machine.sizes.items()} | {sort_name(Value): VALUES}
        for cell in self.machine.spec.state.cells():
            self.sizes |= {sort_name(sort): self.machine._size(sort) for sort in cell.key}
        self.members = {name: np.arange(count) for name, count in self.sizes.items()}
        compiled = [compile_rule(rule, is_many=False) for rule in self.machine.spec.rules]
        self.candidates = [(step, given) for step in compiled for given in itertools.product(*self._choices(step))]

    def _choices(self, step: Compiled) -> Iterator[range]:
        return (range(self.sizes[sort_name(each.sort)]) for each in step.rule.parameters)

    def scramble(self) -> None:
        """Put any value into every cell: hardly a state that can be reached."""
        for cell in self.machine.spec.state.cells():
            held = self.machine.cells[cell.name]
            count = 2 if cell.to is bool else self.machine._size(cell.to) if cell.to is not Value else VALUES
            held[...] = np.array([self.draw.randrange(count) for _ in range(held.size)], held.dtype).reshape(held.shape)

    def state(self) -> dict[str, Any]:
        """Return what all cells hold."""
        return {name: cell.tolist() for name, cell in self.machine.cells.items()}

    def look(self) -> dict[str, Any]:
        """Return what is broken in this state."""
        begins = bool(self.machine._evaluate(self.machine.spec.initial.formula, {}, 0))
        return {"state": self.state(), "broken": self.machine.violated(), "begins": begins}

    def step(self) -> dict[str, Any]:
        """Take any step that is possible."""
        cells = self.machine.cells
        state = self.state()
        enabled = [number for number, (step, given) in enumerate(self.candidates) if step.is_enabled(cells, self.members, *given)]
        usual = [number for number in enabled if not self.candidates[number][0].rule.id.startswith(RARE)]
        taken = self.draw.choice(usual if usual and self.draw.random() < 0.95 else enabled)
        step, given = self.candidates[taken]
        step.update(cells, self.members, *given)
        return {"state": state, "enabled": enabled, "taken": taken, "after": self.state()}


def walk(spec: Spec, seed: int, steps: int) -> dict[str, Any]:
    """Return a random walk with what is possible in each state; and what is broken, in states that can be anything, too."""
    draw = random.Random(seed)  # noqa: S311  # a test is to be repeated
    pages, channels = draw.choice([(2, 1), (2, 2), (3, 0)])
    machine = Machine(pages, channels, colo=draw.random() < 0.8, deferred=draw.random() < 0.5, page_size=16, spec=spec)
    walker = Walker(machine, draw)
    states = [walker.look()]
    for number in range(steps):
        states.append(walker.step())
        if number % 50 == 49:
            states.append(walker.look())
    for _ in range(5):
        walker.scramble()
        states.append(walker.look())
    candidates = [[step.rule.id, *given] for step, given in walker.candidates]
    return {"sizes": walker.sizes, "candidates": candidates, "states": states}


def compare(spec: Spec, walks: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what JavaScript says differently of some walks."""
    text = "\n".join([PUT, f"const spec = {javascript(spec)};", COMPARE])
    assert NODE is not None
    done = subprocess.run([NODE, "-e", text], input=json.dumps(walks), capture_output=True, text=True, timeout=60, check=False)  # noqa: S603  # ours
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@needs_node
def test_javascript_takes_the_same_steps() -> None:
    """Given thousands of random states, Then JavaScript has the same steps possible, the same effects, and the same clauses broken."""
    walks = [walk(BOTH_SIDES, seed, 160) for seed in range(24)]
    taken = {walk["candidates"][state["taken"]][0] for walk in walks for state in walk["states"] if "taken" in state}
    found = compare(BOTH_SIDES, walks)
    assert found["differences"] == []
    assert found["compared"] > 6000
    assert {rule.id for rule in BOTH_SIDES.rules} - taken == set()


@needs_node
def test_a_changed_guard_is_seen() -> None:
    """Given JavaScript of a specification with one guard turned round, Then the comparison says so (the control of the test above)."""
    rule = BOTH_SIDES.rule("receive.prepare")
    wrong = dataclasses.replace(rule, guards=(Not(rule.guards[0]), *rule.guards[1:]))
    changed = dataclasses.replace(BOTH_SIDES, rules=tuple(wrong if each is rule else each for each in BOTH_SIDES.rules))
    assert compare(changed, [walk(BOTH_SIDES, 1, 30)])["differences"]


def test_a_rule_says_what_it_demands_by_id() -> None:
    """Given a rule, Then each conjunct of its guards has the id of the guard and the words of the spec."""
    text = rule_text(BOTH_SIDES.rule("receive.prepare"))
    assert '{id: "receive.prepare/2", text: "channel_at[channel] = READY", holds: ' in text
    assert "</" not in text
