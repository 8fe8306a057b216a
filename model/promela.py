"""Promela text of a finite instance, for SPIN: a second explorer, which must find as many states and transitions."""

from collections.abc import Mapping

from colofd.model.finite import Instance, State
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
    assigned = [_assignments(dict(step.writes), names) for step in instance.steps]
    steps = [
        f"  :: d_step {{ {_text(step.guard, names)} -> {'; '.join(texts) or 'skip'} }} /* {step.name} */"
        for step, texts in zip(instance.steps, assigned, strict=True)
    ]
    # What is hidden is no part of SPIN's states.
    kept = sorted({text.partition(" = ")[0] for texts in assigned for text in texts} - set(names))
    variables += [f"hidden byte {name};" for name in kept]
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


def _assignments(writes: Mapping[int, Term], names: list[str]) -> list[str]:
    """Return all writes, each before what it reads is written: in the spec they happen at once, in Promela one after the other.

    Where slots are exchanged, one of the new values is kept aside until the others are written.
    """
    waiting = dict(writes)
    texts: list[str] = []
    last: list[str] = []
    while waiting:
        free = [each for each in waiting if not any(each in _slots(term) for other, term in waiting.items() if other != each)]
        slot = (free or list(waiting))[0]
        value = _text(waiting.pop(slot), names)
        if free:
            texts.append(f"{names[slot]} = {value}")
        else:
            texts.append(f"new_{names[slot]} = {value}")
            last.append(f"{names[slot]} = new_{names[slot]}")
    return texts + last


def _slots(term: Term) -> set[int]:
    """Return the slots that a term reads."""
    match term:
        case Slot(slot=slot) | Holds(slot=slot):
            return {slot}
        case Same(left=one, right=two):
            return {one, two}
    return {slot for part in parts(term) for slot in _slots(part)}
