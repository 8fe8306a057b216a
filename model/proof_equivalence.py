"""Ways to receive that come to the same: by either channel, with either mirror, with or without elision of zero pages.

Beside the clauses of `spec/receive_orders.py`, which say what a receiver holds at a barrier in terms of what was sent, these are claims
about two states, or about several steps, and so have no place in a rule or a clause.
"""

from collections.abc import Iterator
from typing import Any, Final

from colofd.model.proof_asymmetries import ASYMMETRIES
from colofd.model.proof_obligations import Answer, AnyObligation, Kind, Obligation, TextObligation, layer_obligations
from colofd.model.proof_runs import after_all, are_possible, taken
from colofd.model.proof_touches import touches
from colofd.model.proof_trees import cells_read, walk
from colofd.model.proof_worlds import Worlds
from colofd.spec.constants import Step
from colofd.spec.language import Actor, Expr, Literal, Parameter, Read, Rule, RuleBook, Spec
from colofd.spec.receive_orders import RECEIVE_ORDERS, Sent
from colofd.spec.receive_path import SPEC
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
    carries_nothing,
    is_multifd,
    is_receiving,
    is_settled,
    receive_buffer,
)

_S: Final = Sent(is_read_only=True)
_ANY: Final[Parameter[Page]] = Parameter("any", Page)
"""The page that is looked at: one that is carried, or another."""

_FALSE: Final[Literal[bool]] = Literal(False, bool)

_AT_BARRIERS: Final = (Phase.PRECOPY, Phase.IDLE, Phase.RECEIVING, Phase.RECEIVED)
"""Where a barrier can be the last thing that happened."""

_HISTORY: Final = (_S.phase, _S.colo, _S.deferred, *(each[_ANY] for each in (_S.ever_sent, _S.sent_since_commit, _S.arrived, _S.at_start)))
"""What was sent, and how the receiver is set up: no channel, and nothing that the receiver holds."""

_MAPS: Final[dict[str, Expr[Any]]] = {each.cell.name: each[_ANY] for each in (_S.guest, _S.cache, _S.received, _S.peer_dirty)}
"""What a receiver holds of a page."""

_BARRIER_CLAUSES: Final = (
    "orders.received",
    "orders.dirty",
    "orders.buffer",
    "orders.guest-untouched",
    "isolation.guest",
    "mirror.precopy",
    "barrier.carried-this-round",
)
"""They pin what a receiver holds at a barrier."""


def equivalence_obligations(orders: Spec = RECEIVE_ORDERS) -> tuple[AnyObligation, ...]:
    """Return all obligations of this kind, for the receive path with the history of what was sent (or a change of it)."""
    worlds = Worlds(orders)
    layer = layer_obligations(orders, SPEC)
    own = (*_history(orders), *_one_page(orders), *_untouched(orders), *_elision(orders), *_asymmetries(orders))
    in_text: list[TextObligation] = [worlds.text(each) for each in (*layer, *own)]
    return (*in_text, *_barriers(orders, worlds), *_mirrors(orders, worlds))


# The two receive orders.


def _barriers(orders: Spec, worlds: Worlds) -> Iterator[TextObligation]:
    """Two receivers that were sent the same hold the same at every barrier, by whatever channels the pages came."""
    clauses = [clause.formula for clause in orders.clauses if clause.id in _BARRIER_CLAUSES]
    here = (*clauses, is_settled(_S), _S.phase.within(*_AT_BARRIERS))
    given = (*here, *map(worlds.other, here), *map(worlds.agree, (*_HISTORY, _S.survivor[_ANY])))
    for name, held in _MAPS.items():
        # Without COLO there is no cache.
        goal = _S.colo >> worlds.agree(held) if name == World.cache.name else worlds.agree(held)
        yield worlds.text(Obligation(f"at a barrier {name} is what was sent, by any channel", Kind.EQUIVALENCE, given, goal))
    example = (*given, _S.sent_since_commit[_ANY], _S.phase == Phase.RECEIVING)
    yield worlds.text(Obligation("there are two such receivers at a barrier", Kind.EQUIVALENCE, example, _FALSE, Answer.SOME))


def _history(orders: Spec) -> Iterator[Obligation]:
    """Where a guest begins or goes on, it holds what arrived: so the last commit is part of what was sent, too."""
    for step in (Step.ENTER_COLO, Step.COMMIT):
        rule = orders.rule(step)
        goal = after_all([rule], _S.survivor[_ANY]) == _S.arrived[_ANY]
        yield Obligation(f"{rule.id} goes on from what arrived", Kind.EQUIVALENCE, _enabled(orders, rule), goal)


def _one_page(orders: Spec) -> Iterator[Obligation]:
    """One page, sent and received without a step of anybody else in between: both channels leave the same state."""
    channel: Parameter[Channel] = Parameter("channel", Channel)
    page: Parameter[Page] = Parameter("page", Page)
    value: Parameter[Value] = Parameter("value", Value)
    asked: Parameter[Channel] = Parameter("asked", Channel)
    by_main: dict[str, Expr[Any]] = {"channel": MAIN, "page": page, "value": value}
    by_multifd = {**by_main, "channel": channel}
    quiet = [_S.channel_at[each] == At.READY for each in (MAIN, channel)] + [carries_nothing(_S, each) for each in (MAIN, channel)]
    given = (*_invariant(orders), is_receiving(_S), is_multifd(channel), *quiet, _S.unsent[page], ~_S.sent[page], value == _S.primary[page])
    ends: dict[str, Expr[Any]] = {
        **_MAPS,
        "what is on its way": _S.packet[asked, _ANY],
        "every thread": _S.channel_at[asked],
        "what must be sent": _S.unsent[_ANY],
        "the round": _S.sent[_ANY],
    }
    for kind, send, main_lands, lands in (
        ("normal", "send.normal-page", Step.MAIN_READ_PAGE, Step.READ_PAGE),
        ("zero", "send.zero-page", Step.MAIN_ZERO_PAGE, Step.ZERO_PAGE),
    ):
        main = [taken(orders.rule(each), by_main) for each in (send, Step.MAIN_PREPARE, main_lands, Step.MAIN_MIRROR)]
        order = (send, Step.PREPARE, lands, Step.PAYLOAD_COMPLETE, Step.MIRROR, Step.PACKET_DONE)
        multifd = [taken(orders.rule(each), by_multifd) for each in order]
        hypotheses = (*given, value == ZERO) if kind == "zero" else given
        for name, steps in (("main", main), ("multifd", multifd)):
            for number, possible in enumerate(are_possible(steps), 1):
                yield Obligation(f"a {kind} page by {name} is received at once, guard {number}", Kind.EQUIVALENCE, hypotheses, possible)
        for what, end in ends.items():
            same = after_all(main, end) == after_all(multifd, end)
            yield Obligation(f"a {kind} page by main or by multifd leaves the same: {what}", Kind.EQUIVALENCE, hypotheses, same)


# The deferred mirror.


def _mirrors(orders: Spec, worlds: Worlds) -> Iterator[TextObligation]:
    """Where COLO begins, the deferred mirror has led to what mirroring packet by packet has."""
    rule = orders.rule(Step.ENTER_COLO)
    here = (*_enabled(orders, rule), _S.colo)
    given = (*here, ~_S.deferred, *map(worlds.other, (*here, _S.deferred)), worlds.agree(_S.arrived[_ANY]))
    for held in (*_MAPS.values(), _S.own_dirty[_ANY], _S.survivor[_ANY]):
        (name,) = cells_read(held)
        same = worlds.agree(after_all([rule], held))
        yield worlds.text(Obligation(f"{rule.id} has the same {name} with either mirror", Kind.EQUIVALENCE, given, same))


def _untouched(orders: Spec) -> Iterator[Obligation]:
    """With the deferred mirror no step of precopy reads or writes guest RAM."""
    given = (_S.colo & _S.deferred, _S.phase == Phase.PRECOPY)
    for rule in orders.rules:
        if rule.actor is Actor.RECEIVER and not _runs_the_guest(rule):
            for number, path in enumerate(touches(rule, World.guest.name), 1):
                name = f"{rule.id} leaves the guest to the fill, touch {number}"
                yield Obligation(name, Kind.EQUIVALENCE, (*_enabled(orders, rule), *path, *given), _FALSE)


def _runs_the_guest(rule: Rule) -> bool:
    # Where the guest starts, the ghost of what must survive takes over all that it holds; no receiver reads RAM for that.
    return any(update.cell is World.survivor for update in rule.updates)


# Elision.

_always_written = RuleBook(World)


@_always_written.rule(Step.ZERO_PAGE, by=Actor.RECEIVER, source="colofd: to compare with; elision is a choice")
def zero_page_always_written(s: World, channel: Expr[Channel], page: Expr[Page]) -> None:
    """A zero page is written to the buffer, whatever has arrived before."""
    s.when(is_multifd(channel), s.channel_at[channel] == At.BODY, s.packet[channel, page] == Carried.ZERO)
    land(s, channel, page, ZERO)
    s.packet[channel, page] = Carried.ZERO_LANDED


def _elision(orders: Spec) -> Iterator[Obligation]:
    """A zero page may be elided exactly if it has never arrived, as far as a receiver can tell that knows its receivedmap and its phase."""
    rule = orders.rule(Step.ZERO_PAGE)
    (written,) = _always_written
    arguments = {parameter.name: parameter for parameter in rule.parameters}
    channel, page = rule.parameters
    here = _enabled(orders, rule)
    for held in (*_MAPS.values(), _S.packet[channel, _ANY]):
        (name,) = cells_read(held)
        same = after_all([rule], held) == after_all([taken(written, arguments)], held)
        yield Obligation(f"{rule.id} leaves the same {name} as without elision", Kind.EQUIVALENCE, here, same)
    elided = (*here, ~_S.received[page])
    yield Obligation(f"{rule.id} elides where zeros are", Kind.EQUIVALENCE, elided, receive_buffer(_S, page) == ZERO)
    for name, set_up in ELISION_SET_UPS.items():
        wrong = (*here, _S.received[page], receive_buffer(_S, page) != ZERO, set_up)
        yield Obligation(f"eliding a page that has arrived would be wrong: {name}", Kind.EQUIVALENCE, wrong, _FALSE, Answer.SOME)


ELISION_SET_UPS: Final[dict[str, Expr[bool]]] = {
    "without COLO": ~_S.colo,
    "mirrored precopy": _S.colo & ~_S.deferred & (_S.phase == Phase.PRECOPY),
    "deferred precopy": _S.colo & _S.deferred & (_S.phase == Phase.PRECOPY),
    "a checkpoint": _S.phase == Phase.RECEIVING,
}
"""All that a receiver knows beside its receivedmap. In each of them a page that has arrived must be written."""


# What differs between barriers.


def _asymmetries(orders: Spec) -> Iterator[Obligation]:
    for asymmetry in ASYMMETRIES:
        yield from asymmetry.obligations(orders)


# What can be told from the trees.


def history_faults(orders: Spec, base: Spec = SPEC) -> tuple[str, ...]:
    """Return the ids of rules in which the history of what was sent depends on a channel, or on anything that a receiver holds."""
    ghosts = set(orders.state.cells()) - set(base.state.cells())
    return tuple(
        rule.id
        for rule in orders.rules
        for update in rule.updates
        if update.cell in ghosts and any(_knows_receiver(node) for part in (*update.key, update.value) for node in walk(part))
    )


def _knows_receiver(node: Expr[Any]) -> bool:
    return isinstance(node, Read) or node.sort is Channel


def _invariant(spec: Spec) -> tuple[Expr[bool], ...]:
    return tuple(clause.formula for clause in spec.clauses)


def _enabled(spec: Spec, rule: Rule) -> tuple[Expr[bool], ...]:
    return (*_invariant(spec), *rule.guards)
