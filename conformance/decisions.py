"""What each decision of the receiver has to be: what the spec's rules do to the cells, and what the wire tables check.

A claim calls a decision with terms instead of arrays, so the function that is proved is the one that runs. The spec's side
is never written here: it is the traced rule, or the condition of the wire table, itself.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from colofd.conformance.smtlib_numbers import BITS, Natural, Truth, Unsigned, condition, literal
from colofd.impl import decisions
from colofd.model.proof_obligations import AnyObligation, Kind, Obligation, TextObligation
from colofd.model.proof_trees import after, cells_read
from colofd.spec.constants import Step
from colofd.spec.language import Expr, Parameter, Rule, where
from colofd.spec.protocol import SPEC
from colofd.spec.state import MAIN, ZERO, Carried, Channel, Page, Phase, Value, World, is_live
from colofd.spec.wire.fields import Check
from colofd.spec.wire.multifd import OFFSET_FITS, OFFSET_IS_ALIGNED
from colofd.spec.wire.ram import PAGE_FITS

Decision = Callable[..., Any]
Hypotheses = tuple[Expr[bool], ...]

_S: Final = World(is_read_only=True)
_ANY: Final[Parameter[Page]] = Parameter("any", Page)
"""Any page, in the packet or not."""

_PRECOPY: Final = _S.phase == Phase.PRECOPY
_RECEIVING: Final = _S.phase == Phase.RECEIVING
_ELISION: Final = ("receive.untouched-buffer-zero", "phase.capability")
"""The clauses that make it harmless to leave a page of zeros as it is."""


def accepts_pages(decision: Decision) -> Iterator[AnyObligation]:
    """The guard on the phase of both `prepare` rules, once the block list is known; before that pages are only refused more often."""
    known: Parameter[bool] = Parameter("known", bool)
    answer, given = _asked(decision, precopy=_PRECOPY, block_list_known=known, receiving=_RECEIVING)
    for rule in _rules(Step.PREPARE, Step.MAIN_PREPARE):
        guard = _all_of(guard for guard in rule.guards if cells_read(guard) == {World.phase.name})
        yield _obligation(f"{_name(decision)} is the guard of {rule.id}, given the block list", (*given, known), guard == answer)
        yield _obligation(f"{_name(decision)} implies the guard of {rule.id}", given, answer >> guard)


def is_mirrored(decision: Decision) -> Iterator[AnyObligation]:
    """The latch that both `prepare` rules write."""
    answer, given = _asked(decision, colo=_S.colo, precopy=_PRECOPY, deferred=_S.deferred)
    for rule, channel in _prepares():
        yield _obligation(f"{_name(decision)} is the latch of {rule.id}", given, after(rule, _S.mirror[channel]) == answer)


def is_recorded(decision: Decision) -> Iterator[AnyObligation]:
    """When both `prepare` rules record the pages that the channel carries."""
    answer, given = _asked(decision, colo=_S.colo, receiving=_RECEIVING, deferred=_S.deferred)
    for rule, channel in _prepares():
        recorded = _S.peer_dirty[_ANY] | answer & (_S.packet[channel, _ANY] != Carried.NOTHING)
        yield _obligation(f"{_name(decision)} is what {rule.id} records", given, after(rule, _S.peer_dirty[_ANY]) == recorded)


def packet_lands_in_guest(decision: Decision) -> Iterator[AnyObligation]:
    """Into which memory the rules of a multifd channel receive a page."""
    answer, given = _asked(decision, colo=_S.colo)
    yield from _lands(decision, _rules(Step.READ_PART, Step.READ_PAGE), answer, given)


def record_lands_in_guest(decision: Decision) -> Iterator[AnyObligation]:
    """Into which memory the rules of the main channel receive a page."""
    answer, given = _asked(decision, colo=_S.colo, mirrored=_S.mirror[MAIN])
    yield from _lands(decision, _rules(Step.MAIN_READ_PART, Step.MAIN_READ_PAGE), answer, given)


def packet_clears(decision: Decision) -> Iterator[AnyObligation]:
    """Where the rule of zero pages writes zeros; and by the clauses, what it leaves as it is holds zeros."""
    (rule,) = _rules(Step.ZERO_PAGE)
    page = _parameter(rule, "page")
    answer, given = _asked(decision, received=_S.received[page])
    yield from _clears(decision, rule, decisions.packet_lands_in_guest(_S.colo), answer, given)
    clauses = tuple(clause.formula for clause in SPEC.clauses if clause.id in _ELISION)
    buffer = where(_S.colo, _S.cache[page], _S.guest[page])
    hypotheses = (*given, *clauses, *rule.guards, is_live(_S))
    yield _obligation(f"{_name(decision)} leaves zeros only", hypotheses, where(answer, ZERO, buffer) == ZERO)


def record_clears(decision: Decision) -> Iterator[AnyObligation]:
    """Where the main channel's rule of zero pages writes zeros: everywhere."""
    (rule,) = _rules(Step.MAIN_ZERO_PAGE)
    answer, given = _asked(decision, received=_S.received[_parameter(rule, "page")])
    yield from _clears(decision, rule, decisions.record_lands_in_guest(_S.colo, _S.mirror[MAIN]), answer, given)


def is_flushed(decision: Decision) -> Iterator[AnyObligation]:
    """Which pages the begin of a flush marks."""
    answer, given = _asked(decision, peer_dirty=_S.peer_dirty[_ANY], own_dirty=_S.own_dirty[_ANY])
    (rule,) = _rules(Step.FLUSH_BEGIN)
    yield _obligation(f"{_name(decision)} is what {rule.id} marks", given, after(rule, _S.peer_dirty[_ANY]) == answer)


def is_aligned(decision: Decision) -> Iterator[AnyObligation]:
    """The alignment check of a packet, for every power of two; one case for each, as solvers cannot divide by a variable in time."""
    offset, size, mask = (Unsigned(name) for name in ("offset", "page_size", "page_mask"))
    answer = decision(offset=offset, page_mask=mask)
    cases = []
    for exponent in range(BITS):
        power = 1 << exponent
        expected = condition(OFFSET_IS_ALIGNED.condition, {"element": Natural(offset.text), "page_size": literal(power)})
        cases.append(f"(=> (= {size.text} {_of_64_bits(power)}) (= {answer.text} {expected.text}))")
    is_power = f"(or {' '.join(f'(= {size.text} {_of_64_bits(1 << exponent)})' for exponent in range(BITS))})"
    is_mask = f"(= {mask.text} (bvsub {size.text} {_of_64_bits(1)}))"
    yield _numbers(_checks(decision, OFFSET_IS_ALIGNED), (offset, size, mask), (is_power, is_mask), f"(and {' '.join(cases)})")


def fits(decision: Decision) -> Iterator[AnyObligation]:
    """The range checks of packets and records; there the sum of offset and page size is unbounded."""
    offset, length, size = (Unsigned(name) for name in ("offset", "length", "page_size"))
    answer: Truth = decision(offset=offset, length=length, page_size=size)
    for check, name in ((OFFSET_FITS, "element"), (PAGE_FITS, "address")):
        values = {name: Natural(offset.text), "length": Natural(length.text), "page_size": Natural(size.text)}
        equal = f"(= {answer.text} {condition(check.condition, values).text})"
        yield _numbers(_checks(decision, check), (offset, length, size), (), equal)


CLAIMS: Final[Mapping[Decision, Callable[[Decision], Iterator[AnyObligation]]]] = {
    decisions.accepts_pages: accepts_pages,
    decisions.is_mirrored: is_mirrored,
    decisions.is_recorded: is_recorded,
    decisions.packet_lands_in_guest: packet_lands_in_guest,
    decisions.record_lands_in_guest: record_lands_in_guest,
    decisions.packet_clears: packet_clears,
    decisions.record_clears: record_clears,
    decisions.is_flushed: is_flushed,
    decisions.is_aligned: is_aligned,
    decisions.fits: fits,
}
"""The receiver's decisions, as it calls them, and what is claimed of each."""


def _name(decision: Decision) -> str:
    return decision.__name__


def _checks(decision: Decision, check: Check) -> str:
    return f"{_name(decision)} is the check {check.id}"


def _asked(decision: Decision, **meanings: Expr[bool]) -> tuple[Expr[bool], Hypotheses]:
    """Return the decision's term over inputs of its own names, and what these inputs mean in the state."""
    inputs: dict[str, Parameter[bool]] = {name: Parameter(name, bool) for name in meanings}
    return decision(**inputs), tuple(inputs[name] == meaning for name, meaning in meanings.items())


def _obligation(name: str, hypotheses: Hypotheses, goal: Expr[bool]) -> Obligation:
    return Obligation(name, Kind.DECISION, hypotheses, goal)


def _numbers(name: str, inputs: tuple[Unsigned, ...], hypotheses: tuple[str, ...], goal: str) -> TextObligation:
    head = [f"; {name} ({Kind.DECISION})", "; expected: unsat", "(set-logic QF_BV)"]
    declared = [f"(declare-const {each.text} (_ BitVec {BITS}))" for each in inputs]
    asserted = [f"(assert {formula})" for formula in (*hypotheses, f"(not {goal})")]
    return TextObligation(name, Kind.DECISION, "\n".join([*head, *declared, *asserted, "(check-sat)", ""]))


def _of_64_bits(value: int) -> str:
    return literal(value).widened(BITS)


def _rules(*steps: Step) -> tuple[Rule, ...]:
    return tuple(SPEC.rule(step) for step in steps)


def _parameter(rule: Rule, name: str) -> Parameter[Any]:
    (parameter,) = (each for each in rule.parameters if each.name == name)
    return parameter


def _prepares() -> tuple[tuple[Rule, Expr[Channel]], ...]:
    packet, record = _rules(Step.PREPARE, Step.MAIN_PREPARE)
    return (packet, _parameter(packet, "channel")), (record, MAIN)


def _all_of(formulas: Iterator[Expr[bool]]) -> Expr[bool]:
    first, *rest = formulas
    for formula in rest:
        first = first & formula
    return first


def _lands(decision: Decision, rules: tuple[Rule, ...], answer: Expr[bool], given: Hypotheses) -> Iterator[AnyObligation]:
    for rule in rules:
        page, value = _parameter(rule, "page"), _parameter(rule, "value")
        for memory, is_here in (("guest", answer), ("cache", ~answer)):
            goal = _holds_after(rule, memory, (page == _ANY) & is_here, value)
            yield _obligation(f"{_name(decision)} is what {rule.id} does to the {memory}", (*given, *rule.guards), goal)


def _clears(decision: Decision, rule: Rule, in_guest: Expr[bool], answer: Expr[bool], given: Hypotheses) -> Iterator[AnyObligation]:
    page = _parameter(rule, "page")
    for memory, is_here in (("guest", in_guest), ("cache", ~in_guest)):
        goal = _holds_after(rule, memory, (page == _ANY) & is_here & answer, ZERO)
        yield _obligation(f"{_name(decision)} is what {rule.id} does to the {memory}", (*given, *rule.guards), goal)


def _holds_after(rule: Rule, memory: str, is_written: Expr[bool], value: Expr[Value]) -> Expr[bool]:
    """Return whether, for any page, the rule writes `value` exactly where `is_written`, and leaves the rest of the memory."""
    before: Expr[Value] = getattr(_S, memory)[_ANY]
    expected = where(is_written, value, before)
    return after(rule, before) == expected
