"""Claims about single steps: they are proved, and wrong rules are noticed."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from colofd.model.proof import verdicts
from colofd.model.proof_sorts import question_cycle
from colofd.model.proof_steps import all_step_obligations, beginning_obligations, step_obligations
from colofd.model.solver import SolverName, solver
from colofd.spec.both_sides import BothSides, DeviceState
from colofd.spec.constants import Step
from colofd.spec.language import Expr, Not, RuleBook, Spec, SpecError, StepBook, every
from colofd.spec.protocol import BOTH_SIDES, SPEC
from colofd.spec.state import ZERO, At, Carried, Channel, Page, Phase, Value, World, is_multifd
from colofd.spec.steps import BEGINNINGS, steps, steps_of_both

SOLVERS = tuple(SolverName)


def not_proved(spec: Spec, book: StepBook[Any], name: SolverName = SolverName.Z3) -> set[str]:
    owed = step_obligations(spec, book)
    return {each.obligation.name for each in verdicts(spec, owed, [solver(name)]) if not each.is_proved}


def changed(step: str, text: Callable[..., None]) -> Spec:
    """Return only the rule with this id, with another text."""
    book = RuleBook(World)
    book.rule(step, by=SPEC.rule(step).actor, source="test")(text)
    return dataclasses.replace(SPEC, rules=tuple(book))


@pytest.mark.parametrize("name", SOLVERS)
def test_all_claims_are_proved(name: SolverName) -> None:
    """Given the receive path and both sides, when a solver is asked, then every claim about their steps is proved."""
    assert not_proved(SPEC, steps, name) == set()
    assert not_proved(BOTH_SIDES, steps_of_both, name) == set()


def test_claims_are_decidable() -> None:
    """Given all questions about steps, then no sort leads back to itself in any of them."""
    for each in all_step_obligations():
        assert question_cycle(BOTH_SIDES, (*each.hypotheses, Not(each.goal))) == (), each.name


@pytest.mark.parametrize("name", SOLVERS)
def test_a_step_that_is_not_allowed_is_found(name: SolverName) -> None:
    """Control: given a thread that parks in the middle of a packet, then the order of threads is not kept, and no other one is broken."""

    def park(s: World, channel: Expr[Channel]) -> None:
        """In the middle of a packet."""
        s.when(s.channel_at[channel] == At.BODY, s.phase == Phase.PRECOPY)
        s.channel_at[channel] = At.PARKED

    assert not_proved(changed(Step.PARK, park), steps, name) == {"barrier.park keeps to order.thread"}


def test_a_thread_that_does_not_wait_for_others_is_found() -> None:
    """Control: given a parked thread that goes on alone, then the barrier is not kept."""

    def release(s: World, channel: Expr[Channel]) -> None:
        """Alone."""
        s.when(s.channel_at[channel] == At.PARKED, s.phase == Phase.PRECOPY)
        s.channel_at[channel] = At.READY

    assert not_proved(changed(Step.RELEASE, release), steps) == {"barrier.release keeps to order.barrier"}


def _flushes_too_much(s: World) -> None:
    """All that has ever arrived is copied."""
    s.when(s.phase == Phase.RECEIVED)
    s.phase = Phase.FLUSHING
    s.guest_running = False
    s.peer_dirty[:] = lambda q: s.peer_dirty[q] | s.received[q]
    s.own_dirty[:] = False


def _reads_into_both(s: World, channel: Expr[Channel], page: Expr[Page], value: Expr[Value]) -> None:
    """Before COLO a page is read into the guest as well."""
    s.when(is_multifd(channel), s.channel_at[channel] == At.BODY, s.packet[channel, page] == Carried.NORMAL, s.phase == Phase.PRECOPY)
    s.guest[page] = value
    s.cache[page] = value


@pytest.mark.parametrize(
    ("step", "text", "broken"),
    [
        (Step.FLUSH_BEGIN, _flushes_too_much, "checkpoint.flush-begin keeps to write.dirty"),
        (Step.READ_PART, _reads_into_both, "receive.read-part keeps to write.guest"),
    ],
)
def test_memory_that_is_written_needlessly_is_found(step: str, text: Callable[..., None], broken: str) -> None:
    """Control: given a step that writes or records more than it has to, and leaves no wrong content, then the claim of who writes fails."""
    assert broken in not_proved(changed(step, text), steps)


def test_a_step_that_changes_nothing_is_found() -> None:
    """Control: given a thread that may park where it is parked, then it is named as one that idles."""

    def park(s: World, channel: Expr[Channel]) -> None:
        """A parked thread parks."""
        s.when(s.channel_at[channel] == At.PARKED)
        s.channel_at[channel] = At.PARKED

    assert not_proved(changed(Step.PARK, park), steps) == {"barrier.park changes something"}


def _refused(s: World, channel: Expr[Channel]) -> None:
    """A thread ends only in precopy."""
    s.when(s.channel_at[channel] != At.EXITED, s.phase == Phase.PRECOPY)
    s.channel_at[channel] = At.EXITED


def _without_effect(s: World, channel: Expr[Channel]) -> None:
    """A thread parks where it should end."""
    s.when(s.channel_at[channel] != At.EXITED, s.phase != Phase.SETUP)
    s.channel_at[channel] = At.PARKED


@pytest.mark.parametrize("text", [_refused, _without_effect])
@pytest.mark.parametrize("name", SOLVERS)
def test_what_is_refused_or_has_no_effect_is_found(text: Callable[..., None], name: SolverName) -> None:
    """Control: given that threads end only in precopy, or that ending one parks it, then it is not proved that they may end anywhere."""
    spec = changed(Step.EXIT, text)
    book = StepBook(spec, World, may_idle=(Step.EXIT,))

    @book.ability(Step.EXIT, source="test")
    def ends(now: World, then: World, channel: Expr[Channel]) -> tuple[Expr[bool], Expr[bool]]:
        """A thread may end at any micro-step."""
        return (now.phase != Phase.SETUP) & (now.channel_at[channel] != At.EXITED), then.channel_at[channel] == At.EXITED

    assert not_proved(spec, book, name) == {"thread.exit can be taken"}


def test_an_ability_that_is_never_asked_for_is_found() -> None:
    """Control: given an ability whose condition never holds, then it is proved, but there is no state that it speaks of."""
    book = StepBook(SPEC, World, may_idle=tuple(rule.id for rule in SPEC.rules))

    @book.ability(Step.COMMIT, source="test")
    def commits(now: World, then: World) -> tuple[Expr[bool], Expr[bool]]:
        """In a flush the guest runs."""
        return (now.phase == Phase.FLUSHING) & now.guest_running, then.phase == Phase.FAILED

    assert not_proved(SPEC, book) == {"checkpoint.commit can be taken somewhere"}


def test_a_claim_that_forbids_to_do_nothing_is_found() -> None:
    """Control: given a claim that is false where nothing changes, then that is said, whatever the rules do."""
    book = StepBook(SPEC, World, may_idle=tuple(rule.id for rule in SPEC.rules))

    @book.claim("restless", source="test")
    def restless(now: World, then: World, channel: Expr[Channel], page: Expr[Page]) -> Expr[bool]:
        """A packet changes with every step."""
        return then.packet[channel, page] != now.packet[channel, page]

    assert "restless allows no step at all" in not_proved(SPEC, book)


@pytest.mark.parametrize(
    ("also", "broken"),
    [
        (lambda s: every(Page)(lambda p: s.guest[p] == ZERO), {"begin.guest is anything"}),
        (lambda s: every(Page)(lambda p: s.primary[p] == s.guest[p]), {"begin.primary is anything", "begin.guest is anything"}),
        (lambda s: s.colo, {"begin.set-up is anything"}),
        (lambda s: every(DeviceState)(lambda d: s.is_loadable[d]), {"begin.loadable is anything"}),
        (lambda s: s.guest_running, {"initial is a state"}),
    ],
)
def test_a_beginning_with_fewer_states_is_found(also: Callable[[BothSides], Expr[bool]], broken: set[str]) -> None:
    """Control: given initial states of which more is demanded, when they are proved to be as free as they should be, then that fails."""
    initial = dataclasses.replace(BEGINNINGS.initial, formula=BEGINNINGS.initial.formula & also(BothSides()))
    owed = beginning_obligations(dataclasses.replace(BEGINNINGS, initial=initial))
    found = {each.obligation.name for each in verdicts(BOTH_SIDES, owed, [solver(SolverName.Z3)]) if not each.is_proved}
    assert broken <= found


def test_a_wrong_text_is_refused() -> None:
    """Given an ability of a rule that does not exist, or a claim with an unknown cell, then SpecError names the text and the line."""
    book = StepBook(SPEC, World)
    with pytest.raises(SpecError, match=r"no\.such\.rule: .*test_proof_steps"):

        @book.ability("no.such.rule", source="test")
        def nothing(now: World, then: World) -> tuple[Expr[bool], Expr[bool]]:
            """Nothing."""
            return now.colo, then.colo

    with pytest.raises(SpecError, match=r"wrong: no cell 'cash'"):

        @book.claim("wrong", source="test")
        def wrong(now: World, then: World) -> Expr[bool]:
            """A misspelt cell."""
            later: Expr[bool] = then.cash
            return now.colo | later


def test_later_cells_have_a_mark() -> None:
    """Given the cells after a step, then each has the name of the cell with a mark, so that none is taken for the other."""
    assert {cell.name: later.name for cell, later in steps.cells_after.items()}["packet"] == "packet'"
