"""Promela text of a finite instance, for SPIN: a second explorer, which must find as many states and transitions."""

from collections.abc import Iterator, Mapping

from colofd.model.finite import Instance, State, Step
from colofd.model.finite_terms import Both, Choice, Either, Holds, Negation, Number, Same, Slot, Term, Truth, parts

SPIN_OPTIONS = ("-o1", "-o2", "-o3")
"""What `spin -a` must be told besides: its own reductions merge states, so that counts would differ."""


def promela(instance: Instance, initial: State) -> str:
    """Return a model whose states and transitions are those of the instance that can be reached from one initial state.

    SPIN counts one transition more, into the initial state.
    """
    names = [place.name for place in instance.places]
    variables = [
        f"{'bit' if place.values == 2 else 'byte'} {name} = {value};"
        for place, name, value in zip(instance.places, names, initial, strict=True)
    ]
    steps = [f"  :: d_step {{ {_text(step.guard, names)} -> {_assignments(step, names)} }} /* {step.name} */" for step in instance.steps]
    return "\n".join([*variables, "active proctype receive_path() {", "end: do", *steps, "  od", "}", ""])


def _text(term: Term, names: list[str]) -> str:
    match term:
        case Truth(holds=holds):
            return str(int(holds))
        case Number(value=value):
            return str(value)
        case Slot(slot=slot):
            return names[slot]
        case Holds(slot=slot, value=value):
            return f"({names[slot]} == {value})"
        case Same(left=one, right=two):
            return f"({names[one]} == {names[two]})"
        case Both(left=left, right=right):
            return f"({_text(left, names)} && {_text(right, names)})"
        case Either(left=left, right=right):
            return f"({_text(left, names)} || {_text(right, names)})"
        case Negation(operand=operand):
            return f"!{_text(operand, names)}"
        case Choice(condition=condition, then=then, otherwise=otherwise):
            return f"({_text(condition, names)} -> {_text(then, names)} : {_text(otherwise, names)})"
    raise AssertionError(term)


def _assignments(step: Step, names: list[str]) -> str:
    return "; ".join(f"{names[slot]} = {_text(term, names)}" for slot, term in _in_order(dict(step.writes))) or "skip"


def _in_order(writes: Mapping[int, Term]) -> Iterator[tuple[int, Term]]:
    """Yield all writes, each before what it reads is written: in the spec they happen at once, in Promela one after the other."""
    waiting = dict(writes)
    while waiting:
        slot = next((each for each in waiting if not any(each in _slots(term) for other, term in waiting.items() if other != each)), None)
        if slot is None:
            raise ValueError(f"these slots are exchanged in one step: {sorted(waiting)}")
        yield slot, waiting.pop(slot)


def _slots(term: Term) -> set[int]:
    """Return the slots that a term reads."""
    match term:
        case Slot(slot=slot) | Holds(slot=slot):
            return {slot}
        case Same(left=one, right=two):
            return {one, two}
    return {slot for part in parts(term) for slot in _slots(part)}
