"""Both receive orders, both mirrors, with and without elision: what would make them differ is noticed, and what differs is shown.

That all obligations are proved, test_proof.py says.
"""

import dataclasses
from collections.abc import Callable

import pytest

from colofd.model.finite import Instance, Sizes
from colofd.model.finite_slices import slice_of
from colofd.model.proof import verdicts
from colofd.model.proof_asymmetries import ASYMMETRIES, Asymmetry
from colofd.model.proof_equivalence import ELISION_SET_UPS, equivalence_obligations, history_faults
from colofd.model.proof_gates import PAGES, gates, ghost_flows, named_members
from colofd.model.proof_obligations import Kind, TextObligation
from colofd.model.proof_runs import taken
from colofd.model.proof_sorts import cycle
from colofd.model.search_runs import shortest_run, steps_with
from colofd.model.solver import SolverName, solver
from colofd.spec.constants import Step
from colofd.spec.language import Actor, Constant, Expr, Rule, RuleBook, Spec, every, where
from colofd.spec.protocol import SPEC
from colofd.spec.receive_orders import RECEIVE_ORDERS, Sent
from colofd.spec.rules.receive import land
from colofd.spec.state import (
    MAIN,
    ZERO,
    At,
    Carried,
    Channel,
    Page,
    Phase,
    Value,
    World,
    all_sent,
    is_multifd,
    is_receiving,
    is_settled,
    receive_buffer,
)


def spec_with(changed: Rule) -> Spec:
    """Return the receive path with the history, and one rule changed."""
    return dataclasses.replace(RECEIVE_ORDERS, rules=tuple(changed if rule.id == changed.id else rule for rule in RECEIVE_ORDERS.rules))


def changed_rule(step: str, text: Callable[..., None]) -> Rule:
    """Return another text of a rule of the receive path, with the parameters and the history of the old one."""
    book = RuleBook(World)
    book.rule(step, by=Actor.RECEIVER, source="test")(text)
    (traced,) = book
    old = RECEIVE_ORDERS.rule(step)
    history = tuple(update for update in old.updates if update.cell not in World.cells())
    new = taken(traced, {parameter.name: parameter for parameter in old.parameters})
    return dataclasses.replace(old, guards=new.guards, updates=(*new.updates, *history))


def main_does_not_record(s: World) -> None:
    """The main channel forgets the dirty bitmap."""
    s.when(s.channel_at[MAIN] == At.READY, is_receiving(s))
    s.when(~every(Page)(lambda q: s.packet[MAIN, q] == Carried.NOTHING))
    s.channel_at[MAIN] = At.BODY
    s.mirror[MAIN] = s.colo & ~s.deferred & (s.phase == Phase.PRECOPY)


def fill_skips_zero_pages(s: World, channel: Expr[Channel]) -> None:
    """With the deferred mirror, zero pages are not recorded for the fill."""
    s.when(is_multifd(channel), s.channel_at[channel] == At.READY, is_receiving(s))
    s.channel_at[channel] = At.BODY
    s.mirror[channel] = s.colo & ~s.deferred & (s.phase == Phase.PRECOPY)
    s.peer_dirty[:] = lambda q: (
        s.peer_dirty[q]
        | (s.phase == Phase.RECEIVING) & (s.packet[channel, q] != Carried.NOTHING)
        | s.colo & s.deferred & (s.packet[channel, q] == Carried.NORMAL)
    )


def zero_pages_not_mirrored(s: World, channel: Expr[Channel], page: Expr[Page]) -> None:
    """Zero pages of precopy are not cleared in the guest (versions 1 and 2 of the series)."""
    s.when(is_multifd(channel), s.channel_at[channel] == At.PROCESSING)
    s.when(s.packet[channel, page].within(Carried.NORMAL_LANDED, Carried.ZERO_LANDED))
    is_copied = s.mirror[channel] & (s.packet[channel, page] == Carried.NORMAL_LANDED)
    s.guest[page] = where(is_copied, s.cache[page], s.guest[page])
    s.packet[channel, page] = Carried.NOTHING


def zero_page(s: World, channel: Expr[Channel], page: Expr[Page], is_elided: Expr[bool]) -> None:
    s.when(is_multifd(channel), s.channel_at[channel] == At.BODY, s.packet[channel, page] == Carried.ZERO)
    land(s, channel, page, where(is_elided, where(s.colo, s.cache[page], s.guest[page]), ZERO))
    s.packet[channel, page] = Carried.ZERO_LANDED


def elision_of_what_is_not_dirty(s: World, channel: Expr[Channel], page: Expr[Page]) -> None:
    """The dirty bitmap is asked in place of the receivedmap."""
    zero_page(s, channel, page, ~s.peer_dirty[page])


def elision_never(s: World, channel: Expr[Channel], page: Expr[Page]) -> None:
    """Every zero page is written: right, but no elision."""
    zero_page(s, channel, page, s.received[page] & ~s.received[page])


def colo_before_the_fill_is_through(s: World) -> None:
    """COLO begins with pages that still lie in the cache only."""
    is_mirrored = (s.phase == Phase.PRECOPY) & s.colo & ~s.deferred & all_sent(s) & is_settled(s)
    s.when(is_mirrored | (s.phase == Phase.FILLING))
    s.phase = Phase.IDLE
    s.guest_running = True
    s.survivor[:] = lambda q: s.guest[q]


def main_reads_into_the_guest(s: World, page: Expr[Page], value: Expr[Value]) -> None:
    """The main channel reads into the guest in precopy whatever the mirror is."""
    s.when(s.channel_at[MAIN] == At.BODY, s.packet[MAIN, page] == Carried.NORMAL)
    s.when((value == s.primary[page]) | s.unsent[page])
    in_guest = ~s.colo | (s.phase == Phase.PRECOPY)
    s.guest[page] = where(in_guest, value, s.guest[page])
    s.cache[page] = where(in_guest, s.cache[page], value)
    s.received[page] = True
    s.packet[MAIN, page] = Carried.NORMAL_LANDED
    s.channel_at[MAIN] = At.PROCESSING


CONTROLS: dict[Callable[..., None], tuple[str, set[str]]] = {
    main_does_not_record: (
        Step.MAIN_PREPARE,
        {
            "a normal page by main or by multifd leaves the same: peer_dirty",
            "a zero page by main or by multifd leaves the same: peer_dirty",
        },
    ),
    fill_skips_zero_pages: (Step.PREPARE, {"a zero page by main or by multifd leaves the same: peer_dirty"}),
    zero_pages_not_mirrored: (Step.MIRROR, {"a zero page by main or by multifd leaves the same: guest"}),
    elision_of_what_is_not_dirty: (
        Step.ZERO_PAGE,
        {
            "receive.zero-page keeps orders.buffer",
            "a zero page by main or by multifd leaves the same: guest",
            "a zero page by main or by multifd leaves the same: cache",
            "receive.zero-page leaves the same guest as without elision",
            "receive.zero-page leaves the same cache as without elision",
            "orders.main-never-elides: receive.zero-page never, 2",
            "orders.main-never-elides: receive.zero-page never, 6",
        },
    ),
    elision_never: (
        Step.ZERO_PAGE,
        {"orders.main-never-elides: receive.zero-page never, 2", "orders.main-never-elides: receive.zero-page never, 6"},
    ),
    colo_before_the_fill_is_through: (
        Step.ENTER_COLO,
        {
            "phase.enter-colo keeps orders.dirty",
            "phase.enter-colo goes on from what arrived",
            "phase.enter-colo has the same guest with either mirror",
            "phase.enter-colo has the same peer_dirty with either mirror",
            "phase.enter-colo has the same survivor with either mirror",
        },
    ),
    main_reads_into_the_guest: (
        Step.MAIN_READ_PAGE,
        {
            "main.read-page keeps orders.buffer",
            "main.read-page keeps orders.guest-untouched",
            "main.read-page leaves the guest to the fill, touch 1",
            "a normal page by main or by multifd leaves the same: guest",
            "a normal page by main or by multifd leaves the same: cache",
        },
    ),
}
"""What cannot be proved with each change of a rule."""


@pytest.mark.parametrize("text", CONTROLS, ids=lambda text: text.__name__)
def test_a_change_that_makes_them_differ_is_noticed(text: Callable[..., None]) -> None:
    """Given a changed rule, When what it changes is asked, Then exactly these obligations cannot be proved."""
    step, expected = CONTROLS[text]
    as_they_are = {each.text for each in equivalence_obligations() if isinstance(each, TextObligation)}
    asked = [each for each in equivalence_obligations(spec_with(changed_rule(step, text))) if isinstance(each, TextObligation)]
    different = [each for each in asked if each.text not in as_they_are]
    answered = verdicts(RECEIVE_ORDERS, different, [solver(SolverName.Z3)])
    assert {verdict.obligation.name for verdict in answered if not verdict.is_proved} == expected


def test_the_history_knows_no_channel() -> None:
    """Given the ghosts, Then none of them depends on a channel or on what the receiver holds; one that does is named."""
    assert history_faults(RECEIVE_ORDERS) == ()
    book = RuleBook(Sent)

    @book.rule(Step.MAIN_READ_PAGE, by=Actor.RECEIVER, source="test")
    def from_the_guest(s: Sent, page: Expr[Page], value: Expr[Value]) -> None:
        """What arrived is read from the guest."""
        s.arrived[page] = where(s.guest[page] == value, value, s.guest[page])

    (changed,) = book
    assert history_faults(spec_with(changed)) == (str(Step.MAIN_READ_PAGE),)


def test_pages_cannot_be_told_apart() -> None:
    """Given all texts, Then no page has a name, so nothing depends on its block or its place; a text that names one is found."""
    assert named_members(RECEIVE_ORDERS, Page) == ()
    assert (named_members(RECEIVE_ORDERS, Channel), named_members(RECEIVE_ORDERS, Value)) == (("main",), ("zero",))
    first: Constant[Page] = Constant("first", Page)
    book = RuleBook(World)

    @book.rule(Step.GIVE_UP, by=Actor.RECEIVER, source="test")
    def give_up(s: World) -> None:
        """It is asked whether the first page has arrived."""
        s.when(s.received[first])

    (changed,) = book
    assert gates(SPEC, spec_with(changed), {})[PAGES] == ("a text names the page first",)


def test_the_history_is_decidable_too() -> None:
    """Given the receive path with its history, Then its sorts have no cycle, and its ghosts decide nothing."""
    assert (cycle(RECEIVE_ORDERS), ghost_flows(RECEIVE_ORDERS)) == ((), ())


RUNS = {"orders.main-guest-first": 4, "orders.main-never-elides": 4, "orders.multifd-records-packets": 19}


@pytest.mark.parametrize("asymmetry", [each for each in ASYMMETRIES if each.slice], ids=lambda each: each.id)
def test_what_differs_has_a_shortest_run(asymmetry: Asymmetry) -> None:
    """Given an asymmetry, Then a shortest run from an initial state ends with the step that shows it."""
    instance = Instance(SPEC, slice_of(asymmetry.slice), Sizes(1, 2, 2))
    run = shortest_run(instance, asymmetry.goals(instance))
    assert run is not None
    assert run.steps[-1].rule.id == asymmetry.once
    assert len(run) == RUNS[asymmetry.id], run.names


def test_what_differs_is_named() -> None:
    """Given all asymmetries, Then each has a text, a source and a witness: a run, or a clause without which it would be one."""
    assert [(bool(each.slice), bool(each.dropped)) for each in ASYMMETRIES] == [(False, True), (True, False), (True, False), (True, False)]
    assert all(each.doc.endswith(".") and each.source.startswith("migration/") for each in ASYMMETRIES)


ELISION_RUNS = {
    "without COLO": ("plain", "guest_0", 13),
    "mirrored precopy": ("core", "cache_0", 13),
    "deferred precopy": ("deferred", "cache_0", 13),
    "a checkpoint": ("core", "cache_0", 15),
}


@pytest.mark.parametrize("name", ELISION_SET_UPS)
def test_a_page_that_has_arrived_must_not_be_elided(name: str) -> None:
    """Given all that a receiver knows beside its receivedmap, Then a run leads to a zero page that has arrived, and is not zero now."""
    part, buffer, length = ELISION_RUNS[name]
    instance = Instance(SPEC, slice_of(part), Sizes(1, 1, 2))
    s = World(is_read_only=True)
    _, page = SPEC.rule(Step.ZERO_PAGE).parameters
    wrong = [s.received[page], receive_buffer(s, page) != ZERO, ELISION_SET_UPS[name]]
    run = shortest_run(instance, list(steps_with(instance, Step.ZERO_PAGE, wrong)))
    assert run is not None
    assert len(run) == length, run.names
    before, after = (instance.described(state)[buffer] for state in run.states[-2:])
    assert (before, after) == ("1", "0")


def test_every_kind_is_there() -> None:
    """Given all obligations of equivalence, Then these many are of each kind, with different names."""
    every_one = equivalence_obligations()
    assert len({each.name for each in every_one}) == len(every_one)
    counts = {kind: sum(each.kind is kind for each in every_one) for kind in Kind}
    assert {kind: count for kind, count in counts.items() if count} == {
        Kind.INITIATION: 6,
        Kind.CONSECUTION: 198,
        Kind.VACUITY: 8,
        Kind.EQUIVALENCE: 136,
    }
