"""The rules as they stand: each can be taken, none can be taken too early, and no run that they allow violates a clause."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any, Final

import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from colofd.model.controls import WRONG
from colofd.model.controls_declared import Control
from colofd.model.machine import MAIN_NUMBER, Machine, NotEnabled
from colofd.spec.constants import Step
from colofd.spec.language import Rule, Spec
from colofd.spec.protocol import SPEC
from colofd.spec.state import Channel, Page, Phase, Value

PAGE: Final = 16
MFD: Final = 1
"""Number of the first multifd channel."""


@dataclass(frozen=True)
class Taken:
    """A rule that is taken: with page 0, a value and a channel where it has them."""

    rule: str
    channel: int = MAIN_NUMBER
    value: int = 0

    def on(self, machine: Machine) -> None:
        """Take it; NotEnabled if that is not allowed."""
        sorts = {parameter.sort for parameter in SPEC.rule(self.rule).parameters}
        pages, values = ((0,) if Page in sorts else ()), ((self.value,) if Value in sorts else ())
        machine.fire(self.rule, channel=self.channel, pages=pages, values=values)


@dataclass(frozen=True)
class Run:
    """The shortest way to a rule, which is the last one taken, on a RAM of one page."""

    steps: tuple[Taken, ...]
    channels: int = 1
    colo: bool = True
    deferred: bool = False

    def machine(self) -> Machine:
        """Return a machine on which nothing was taken yet."""
        machine = Machine(1, self.channels, colo=self.colo, deferred=self.deferred, page_size=PAGE)
        machine.contents.number(b"\x01" * PAGE)
        return machine


def take(run: Run, steps: tuple[Taken, ...]) -> Machine:
    """Return the machine of a run on which these steps were taken."""
    machine = run.machine()
    for taken in steps:
        taken.on(machine)
    return machine


def _steps(*rules: str | Taken) -> tuple[Taken, ...]:
    return tuple(rule if isinstance(rule, Taken) else Taken(rule) for rule in rules)


SEND_ZERO, SEND_NORMAL = Taken("send.zero-page", MFD), Taken("send.normal-page", MFD)
PREPARE, PAYLOAD_COMPLETE = Taken(Step.PREPARE, MFD), Taken(Step.PAYLOAD_COMPLETE, MFD)
ZERO_ON_MAIN: Final = _steps(Step.START, "send.zero-page", Step.MAIN_PREPARE, Step.MAIN_ZERO_PAGE, Step.MAIN_MIRROR)
ARRIVED: Final = (*ZERO_ON_MAIN, Taken(Step.RELEASE))
IN_COLO: Final = (*ARRIVED, Taken(Step.ENTER_COLO))
WRITTEN: Final = (*IN_COLO, Taken("guest.secondary-write", value=1))
TO_RECEIVED: Final = _steps(Step.CHECKPOINT_BEGIN, Step.CHECKPOINT_RECEIVED)
GIVEN_UP: Final = _steps(Step.START, Step.GIVE_UP, Step.EXIT)

SHORTEST: Final = [
    Run(_steps(Step.START)),
    Run(_steps(Step.START, Taken("guest.primary-write", value=1))),
    Run(WRITTEN, channels=0),
    Run(_steps(Step.START, SEND_NORMAL)),
    Run(_steps(Step.START, SEND_ZERO)),
    Run(_steps(Step.START, PREPARE)),
    Run(_steps(Step.START, SEND_ZERO, PREPARE, Taken(Step.ZERO_PAGE, MFD))),
    Run(_steps(Step.START, SEND_NORMAL, PREPARE, Taken(Step.READ_PART, MFD, 1))),
    Run(_steps(Step.START, SEND_NORMAL, PREPARE, Taken(Step.READ_PAGE, MFD))),
    Run(_steps(Step.START, PREPARE, PAYLOAD_COMPLETE)),
    Run(_steps(Step.START, SEND_ZERO, PREPARE, Taken(Step.ZERO_PAGE, MFD), PAYLOAD_COMPLETE, Taken(Step.MIRROR, MFD))),
    Run(_steps(Step.START, PREPARE, PAYLOAD_COMPLETE, Taken(Step.PACKET_DONE, MFD))),
    Run(_steps(Step.START, Taken(Step.PARK, MFD))),
    Run(_steps(Step.START, Taken(Step.PARK, MFD), Step.RELEASE)),
    Run(_steps(Step.START, Taken(Step.EXIT, MFD))),
    Run(_steps(Step.START, "send.zero-page", Step.MAIN_PREPARE)),
    Run(_steps(Step.START, "send.zero-page", Step.MAIN_PREPARE, Step.MAIN_ZERO_PAGE)),
    Run(_steps(Step.START, "send.normal-page", Step.MAIN_PREPARE, Taken(Step.MAIN_READ_PART, value=1))),
    Run(_steps(Step.START, "send.normal-page", Step.MAIN_PREPARE, Step.MAIN_READ_PAGE)),
    Run(ZERO_ON_MAIN),
    Run((*ARRIVED, Taken(Step.COMPLETE)), channels=0, colo=False),
    Run((*ARRIVED, Taken(Step.FILL_BEGIN)), channels=0, deferred=True),
    Run(IN_COLO, channels=0),
    Run(_steps(Step.START, Step.GIVE_UP)),
    Run((*IN_COLO, Taken(Step.CHECKPOINT_BEGIN)), channels=0),
    Run((*IN_COLO, *TO_RECEIVED), channels=0),
    Run((*IN_COLO, *TO_RECEIVED, Taken(Step.FLUSH_BEGIN)), channels=0),
    Run((*WRITTEN, *TO_RECEIVED, *_steps(Step.FLUSH_BEGIN, Step.FLUSH_PAGE)), channels=0),
    Run((*IN_COLO, *TO_RECEIVED, *_steps(Step.FLUSH_BEGIN, Step.COMMIT)), channels=0),
    Run((*IN_COLO, Taken(Step.TAKE_OVER)), channels=0),
    Run((*IN_COLO, Taken(Step.STOP)), channels=0),
    Run((*GIVEN_UP, Taken(Step.RELEASE_CACHE)), channels=0),
    Run((*GIVEN_UP, Taken(Step.RELEASE_RECEIVEDMAP)), channels=0, colo=False),
]


def _name(run: Run) -> str:
    return run.steps[-1].rule


def test_every_rule_is_reached() -> None:
    """Given the shortest runs, then there is one to each rule of the spec."""
    assert sorted(map(_name, SHORTEST)) == sorted(rule.id for rule in SPEC.rules)


@pytest.mark.parametrize("run", SHORTEST, ids=_name)
def test_a_rule_can_be_taken(run: Run) -> None:
    """Given the run to a rule, then each step is allowed and no clause is ever violated."""
    machine = run.machine()
    for taken in run.steps:
        taken.on(machine)
        assert machine.violated() == [], taken
    assert machine.steps == len(run.steps)


@pytest.mark.parametrize("run", SHORTEST, ids=_name)
def test_no_step_of_the_way_can_be_left_out(run: Run) -> None:
    """Control: given the run to a rule without any one of its steps before, then the spec refuses it."""
    for left_out in range(len(run.steps) - 1):
        with pytest.raises(NotEnabled):
            take(run, run.steps[:left_out] + run.steps[left_out + 1 :])


# Walks: whatever is allowed, in any order.

PAGES: Final = 3
CHANNELS: Final = 2
VALUES: Final = 2
STEPS: Final = 150
SET_UPS: Final = [(True, False), (True, True), (False, False)]
"""COLO or not, and with the mirror deferred or not."""

SELDOM: Final = {
    Step.EXIT: 0.01,
    Step.GIVE_UP: 0.002,
    Step.TAKE_OVER: 0.02,
    Step.STOP: 0.02,
    Step.READ_PART: 0.1,
    Step.MAIN_READ_PART: 0.1,
    "guest.primary-write": 0.05,
    "guest.secondary-write": 0.3,
    Step.CHECKPOINT_BEGIN: 0.3,
}
"""How likely a rule is tried first, where that is not 1: a walk in which all were alike would end in precopy."""


def applications(rule: Rule, draw: random.Random) -> list[dict[str, Any]]:
    """Return all that a rule can be fired with, in any order."""
    sorts = [parameter.sort for parameter in rule.parameters]
    ranges = {Channel: ("channel", range(CHANNELS + 1)), Page: ("pages", range(PAGES)), Value: ("values", range(VALUES))}
    names = [ranges[sort][0] for sort in sorts]
    found = [
        {name: number if name == "channel" else (number,) for name, number in zip(names, numbers, strict=True)}
        for numbers in product(*(ranges[sort][1] for sort in sorts))
    ]
    draw.shuffle(found)
    return found


def walk(draw: random.Random, spec: Spec) -> Iterator[tuple[str, Machine]]:
    """Take one allowed step after the other; yield the rule and the machine after each. Ends where nothing is allowed."""
    colo, deferred = draw.choice(SET_UPS)
    machine = Machine(PAGES, CHANNELS, colo=colo, deferred=deferred, page_size=PAGE, spec=spec)
    machine.contents.number(b"\x01" * PAGE)
    for _ in range(STEPS):
        order = sorted(spec.rules, key=lambda rule: draw.random() ** (1 / SELDOM.get(rule.id, 1)), reverse=True)
        allowed = ((rule, each) for rule in order for each in applications(rule, draw) if machine.why_not(rule.id, **each) is None)
        rule, chosen = next(allowed, (None, {}))
        if rule is None:
            return
        machine.fire(rule.id, **chosen)
        yield rule.id, machine


def test_no_walk_violates_a_clause() -> None:
    """Given any allowed steps with 2 multifd channels, 3 pages and 2 contents, then no clause is ever violated; all of COLO is seen."""
    seen: set[Phase] = set()

    @seed(1)
    @settings(max_examples=16)
    @given(st.integers(0, 2**32 - 1))
    def check(number: int) -> None:
        taken = []
        for rule, machine in walk(random.Random(number), SPEC):  # noqa: S311  # a walk, not a secret
            taken.append(rule)
            seen.add(machine.phase)
            assert machine.violated() == [], taken

    check()
    assert seen >= {Phase.FILLING, Phase.IDLE, Phase.RECEIVING, Phase.RECEIVED, Phase.FLUSHING}


def first_violation(spec: Spec, walks: int) -> set[str]:
    """Return the clauses that are violated first, in a number of walks."""
    for number in range(walks):
        for _, machine in walk(random.Random(number), spec):  # noqa: S311  # a walk, not a secret
            if violated := machine.violated():
                return set(violated)
    return set()


WALKED_INTO: Final = {
    "late packet latched outside COLO": "receive.latched",
    "zero pages not recorded": "receive.recorded",
    "flush without own dirty log": "mirror.dirty-covers",
    "cache released under threads": "own.cache-lifetime",
    "no barrier before COLO": "barrier.quiet-phases",
}


@pytest.mark.parametrize("control", [control for control in WRONG if control.name in WALKED_INTO], ids=lambda control: control.name)
def test_walks_find_what_is_wrong(control: Control) -> None:
    """Control: given the spec with a known mistake, then a walk violates the clause that this is about."""
    assert WALKED_INTO[control.name] in first_violation(control.spec, 20)


POKES: Final = [
    (IN_COLO, "guest", 0, 1, ["isolation.guest", "mirror.dirty-covers"]),
    (IN_COLO, "cache", 0, 1, ["receive.clean-page-arrived", "mirror.dirty-covers"]),
    (IN_COLO, "cache_allocated", (), False, ["own.cache-lifetime"]),
    (IN_COLO, "receivedmap_allocated", (), False, ["own.receivedmap-lifetime"]),
    (IN_COLO, "guest_running", (), True, []),
    (ARRIVED, "guest_running", (), True, ["phase.guest-runs"]),
    (ARRIVED, "own_dirty", 0, True, ["phase.own-dirty"]),
    (ARRIVED, "received", 0, False, ["receive.clean-page-arrived"]),
    (ARRIVED, "packet", (0, 0), 1, ["barrier.carried-this-round"]),
    ((*IN_COLO, *TO_RECEIVED), "unsent", 0, True, ["phase.all-sent"]),
]


@pytest.mark.parametrize(("steps", "cell", "key", "value", "violated"), POKES)
def test_a_wrong_cell_is_named(steps: tuple[Taken, ...], cell: str, key: Any, value: int, violated: list[str]) -> None:
    """Control: given a state of a run in which one cell is changed by hand, then the clauses that forbid that are named."""
    machine = take(Run(steps, channels=0), steps)
    machine.cells[cell][key] = value
    assert machine.violated() == violated
