"""A clause that is true for want of what it speaks of says nothing."""

from colofd.model.machine import Machine
from colofd.model.premises import premise
from colofd.spec.constants import Step
from colofd.spec.language import every
from colofd.spec.language.prose import prose
from colofd.spec.protocol import BOTH_SIDES
from colofd.spec.state import Page, World


def machine() -> Machine:
    return Machine(2, 1, colo=True, page_size=64, spec=BOTH_SIDES)


def test_an_implication_says_something_where_its_premise_holds() -> None:
    """Given a quantified implication, when its premise is asked for, then it is that some instance has it."""
    s = World()
    assert prose(premise(every(Page)(lambda p: s.received[p] >> s.peer_dirty[p]))) == "∃p. received[p] ∧ yes"


def test_what_is_no_implication_always_says_something() -> None:
    """Given a plain formula, when its premise is asked for, then it is true."""
    assert prose(premise(World().guest_running)) == "yes"


def test_clauses_are_exercised_where_they_speak() -> None:
    """Given a machine before and after its start, then the clause of the setup speaks before it only, and isolation not yet."""
    run = machine()
    assert "phase.setup" in run.exercised()
    run.fire(Step.START)
    assert not {"phase.setup", "isolation.guest", "output.commit"} & set(run.exercised())
    assert "own.cache-lifetime" in run.exercised()
