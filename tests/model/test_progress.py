"""Progress: that it is proved, test_proof.py says; here, that every measure, chain and wait notices when it is wrong."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from colofd.model.finite import Instance, Sizes
from colofd.model.finite_slices import slice_of
from colofd.model.proof import verdicts
from colofd.model.proof_obligations import Answer, Kind, Obligation
from colofd.model.proof_progress import all_progress_obligations, measure_obligations, progress_obligations
from colofd.model.proof_sorts import question_cycle
from colofd.model.proof_values import excludes
from colofd.model.search_runs import broken_state, shortest_run
from colofd.model.smtlib import Writer
from colofd.model.solver import SolverName, solver
from colofd.spec import both_sides
from colofd.spec.both_sides import BOTH_SIDES, BothSides, Message, PrimaryAt
from colofd.spec.constants import Step
from colofd.spec.language import Except, Expr, Literal, Not, Progress, ProgressBook, RuleBook, Spec, SpecError, every, some
from colofd.spec.language.progress_prose import chain_prose, measure_prose, wait_prose
from colofd.spec.progress import both_sides as measures_of_both_sides
from colofd.spec.progress import receiver, waits
from colofd.spec.rules import phases, primary
from colofd.spec.state import At, Channel, Page, Phase, carries_nothing, is_multifd, is_receiving, is_settled

HELPS = "a step that helps is possible"


@dataclass(frozen=True)
class Wrong:
    """A wrong text in place of a rule of both sides, and the obligations that must not be proved any more."""

    rule: str
    text: Callable[..., None]
    must_fail: tuple[str, ...]

    def spec(self) -> Spec:
        """Return both sides with the wrong text."""
        book = RuleBook(BothSides)
        book.rule(self.rule, by=BOTH_SIDES.rule(self.rule).actor, source="test")(self.text)
        (wrong,) = book
        rules = tuple(wrong if rule.id == self.rule else rule for rule in BOTH_SIDES.rules)
        return Spec(BothSides, BOTH_SIDES.initial, rules, BOTH_SIDES.clauses)


def take_over_after_the_barrier(s: BothSides) -> None:
    """Failover waits until every channel has read its SYNC, as in QEMU 11.1.3."""
    s.when((s.phase != Phase.RECEIVING) | is_settled(s))
    phases.take_over(s)
    both_sides.take_over(s)


def flush_without_clearing(s: BothSides, page: Expr[Page]) -> None:
    """A page that is flushed stays dirty."""
    s.when(s.phase.within(Phase.FILLING, Phase.FLUSHING), s.peer_dirty[page])
    s.guest[page] = s.cache[page]


def prepare_in_a_flush(s: BothSides, channel: Expr[Channel]) -> None:
    """Packets are recorded dirty while the flush goes on."""
    s.when(is_multifd(channel), s.channel_at[channel] == At.READY, is_receiving(s) | (s.phase == Phase.FLUSHING))
    s.channel_at[channel] = At.BODY
    s.peer_dirty[:] = True


def exit_unless_parked(s: BothSides, channel: Expr[Channel]) -> None:
    """Nobody wakes a thread that waits at the barrier."""
    s.when(~s.channel_at[channel].within(At.EXITED, At.PARKED), s.phase != Phase.SETUP)
    s.channel_at[channel] = At.EXITED


def park_not_remembered(s: BothSides, channel: Expr[Channel]) -> None:
    """SYNC is read, and the thread goes on."""
    s.when(is_multifd(channel), s.channel_at[channel] == At.READY, carries_nothing(s, channel), is_receiving(s))
    s.channel_at[channel] = At.READY


def packet_begins_again(s: BothSides, channel: Expr[Channel]) -> None:
    """A packet that is done is read once more."""
    s.when(is_multifd(channel), s.channel_at[channel] == At.PROCESSING, carries_nothing(s, channel))
    s.channel_at[channel] = At.BODY


def release_with_main_parked(s: BothSides) -> None:
    """The barrier waits for the main channel to park, which it never does."""
    s.when(is_receiving(s), every(Channel)(lambda c: s.channel_at[c] == At.PARKED))
    s.channel_at[:] = At.READY
    s.sent[:] = False


def commit_when_released(s: BothSides) -> None:
    """The commit waits for the primary."""
    phases.commit(s)
    both_sides.commit(s)
    s.when(s.primary_at == PrimaryAt.RELEASED)


def flush_when_released(s: BothSides) -> None:
    """The flush waits for the primary."""
    phases.flush_begin(s)
    both_sides.flush_begin(s)
    s.when(s.primary_at == PrimaryAt.RELEASED)


def give_up_after_threads(s: BothSides) -> None:
    """Precopy is given up only when all threads have ended."""
    phases.give_up(s)
    s.when(every(Channel)(lambda c: s.channel_at[c] == At.EXITED))


def begin_without_reply(s: BothSides) -> None:
    """CHECKPOINT_REQUEST is read, and never answered."""
    phases.checkpoint_begin(s)
    s.when(s.in_flight[Message.CHECKPOINT_REQUEST])
    s.in_flight[:] = False
    s.has_committed = False


def answer_without_message(s: BothSides) -> None:
    """The checkpoint is promised, but the primary is not told."""
    s.when(s.phase == Phase.RECEIVED, ~s.is_promised, s.is_loadable[s.arriving_device])
    s.is_promised = True


def enter_colo_without_ready(s: BothSides) -> None:
    """COLO begins, and CHECKPOINT_READY is not sent."""
    phases.enter_colo(s)
    s.when(s.primary_at == PrimaryAt.SENT)
    s.has_committed = True


def start_without_running(s: BothSides) -> None:
    """CHECKPOINT_READY is read, and the primary stays as it is."""
    s.when(s.primary_at == PrimaryAt.SENT, s.in_flight[Message.CHECKPOINT_READY])
    s.in_flight[:] = False


def received_when_released(s: BothSides) -> None:
    """The checkpoint is received only when the primary has released its output, which waits for that."""
    phases.checkpoint_received(s)
    s.when(s.primary_at == PrimaryAt.RELEASED)
    s.arriving_device = s.primary_device


def send_by_multifd_only(s: BothSides, channel: Expr[Channel], page: Expr[Page]) -> None:
    """The main channel carries no page."""
    primary.send_normal_page(s, channel, page)
    both_sides.send_normal_page(s)
    s.when(is_multifd(channel))


WRONG = (
    Wrong(Step.TAKE_OVER, take_over_after_the_barrier, (f"failover.takes-over: {HELPS}",)),
    Wrong(
        Step.FLUSH_PAGE,
        flush_without_clearing,
        ("flush.commits: {} helps", "fill.ends: {} helps", "checkpoint.is-committed: {} helps"),
    ),
    Wrong(Step.PREPARE, prepare_in_a_flush, ("flush.commits: {} does not harm",)),
    Wrong(Step.EXIT, exit_unless_parked, (f"shutdown.releases: {HELPS}",)),
    Wrong(Step.PARK, park_not_remembered, ("barrier.is-released: {} helps", "barrier.ends-last-round: {} helps")),
    Wrong(Step.PACKET_DONE, packet_begins_again, ("packet.is-done: {} helps", "barrier.is-released: {} helps")),
    Wrong(Step.RELEASE, release_with_main_parked, (f"barrier.is-released: {HELPS}", "somebody goes on")),
    Wrong(Step.COMMIT, commit_when_released, (f"flush.commits: {HELPS}",)),
    Wrong(Step.FLUSH_BEGIN, flush_when_released, (f"answer.flushes: {HELPS}", f"checkpoint.is-flushed: {HELPS}")),
    Wrong(Step.GIVE_UP, give_up_after_threads, (f"precopy.fails: {HELPS}", "wait.channel: it can be ended")),
    Wrong(Step.CHECKPOINT_BEGIN, begin_without_reply, ("checkpoint.is-asked-for: {} helps",)),
    Wrong(Step.ANSWER, answer_without_message, ("checkpoint.is-answered: {} helps",)),
    Wrong(Step.ENTER_COLO, enter_colo_without_ready, ("precopy.closes: {} helps", "fill.ends: {} helps")),
    Wrong("colo.start", start_without_running, ("colo.starts: {} helps",)),
    Wrong(Step.CHECKPOINT_RECEIVED, received_when_released, (f"checkpoint.is-received: {HELPS}", "somebody goes on")),
    Wrong("send.normal-page", send_by_multifd_only, (f"checkpoint.is-sent: {HELPS}",)),
)


def refuted(spec: Spec, obligations: tuple[Obligation, ...]) -> set[str]:
    """Return the names of the obligations that Z3 finds a state against."""
    asked = verdicts(spec, obligations, [solver(SolverName.Z3)])
    return {each.obligation.name for each in asked if each.answers[SolverName.Z3] is Answer.SOME and not each.is_proved}


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.text.__name__)
def test_a_wrong_rule_is_noticed(wrong: Wrong) -> None:
    """Control: given a rule that does not help any more, harms or waits, then the measures that need it are refuted."""
    must_fail = {name.format(wrong.rule) for name in wrong.must_fail}
    spec = wrong.spec()
    assert refuted(spec, tuple(each for each in all_progress_obligations(spec) if each.name in must_fail)) == must_fail


def test_every_measure_has_a_control() -> None:
    """Given all measures, then each is refuted by one of the wrong rules at least."""
    measures = {measure.id for book in (receiver.progress, measures_of_both_sides.progress) for measure in book.measures}
    assert measures == {name.partition(":")[0] for wrong in WRONG for name in wrong.must_fail} - {"somebody goes on", "wait.channel"}


def test_the_deadlock_of_11_1_3_is_shown() -> None:
    """Given that failover waits for the barrier, then it is stuck while a checkpoint comes in."""
    import z3  # noqa: PLC0415  # only this test looks into a counter-model

    wrong = WRONG[0].spec()
    (stuck,) = (each for each in all_progress_obligations(wrong) if each.name == f"failover.takes-over: {HELPS}")
    question = z3.Solver(ctx=z3.Context())
    question.from_string(Writer(wrong).text(stuck))
    assert question.check() == z3.sat
    cells = {cell.name(): str(question.model()[cell]) for cell in question.model().decls()}
    assert (cells["phase"], cells["is_promised"]) == ("Phase.RECEIVING", "False")


EXAMPLES = [each for each in all_progress_obligations(BOTH_SIDES) if each.expected is Answer.SOME]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_what_is_waited_for_is_reached(example: Obligation) -> None:
    """Given that some state satisfying all clauses has something to wait for, then a run from an initial state leads to such a state."""
    instance = Instance(BOTH_SIDES, slice_of("whole-both-sides"), Sizes(1, 1, 2, 1))
    assert shortest_run(instance, broken_state(instance, example)) is not None


def test_every_question_is_decidable() -> None:
    """Given all that is asked of progress, then no question's sorts lead back to themselves; a clause that would is not assumed."""
    asked = all_progress_obligations(BOTH_SIDES)
    assert {each.kind for each in asked} == {Kind.PROGRESS}
    assert [each.name for each in asked if question_cycle(BOTH_SIDES, (*each.hypotheses, Not(each.goal)))] == []
    s = BothSides()
    back = every(Channel)(lambda c: some(Page)(lambda p: s.packet[c, p] == s.packet[c, p]))
    forth = every(Page)(lambda p: some(Channel)(lambda c: s.packet[c, p] == s.packet[c, p]))
    assert question_cycle(BOTH_SIDES, (back, forth)) == ("Channel", "Page", "Channel")


def test_a_chain_with_a_gap_is_refuted() -> None:
    """Control: given the failover without the flush in between, then what follows an answer leads nowhere."""
    book = ProgressBook(BOTH_SIDES, BothSides, list(receiver.progress.measures))
    released = ("shutdown.releases", {"phase": Phase.FAILOVER})
    book.chain("gap", source="test", links=["answer.flushes", "failover.takes-over", released])(receiver.failover_completes)
    gap = tuple(each for each in progress_obligations(BOTH_SIDES, book) if each.name.startswith("gap"))
    assert refuted(BOTH_SIDES, gap) == {"gap: the end of answer.flushes leads on"}


def test_a_measure_that_says_nothing_is_noticed() -> None:
    """Control: given a measure of states that cannot be, then it is proved, and yet there is nothing to wait for."""
    book = ProgressBook(BOTH_SIDES, BothSides)

    @book.measure("nothing", source="test", helpful=[Step.COMMIT])
    def nothing(s: BothSides) -> Progress:
        """A flush whose guest runs."""
        return Progress((s.phase == Phase.FLUSHING) & s.guest_running, s.phase == Phase.IDLE)

    (measure,) = book.measures
    asked = verdicts(BOTH_SIDES, measure_obligations(BOTH_SIDES, measure), [solver(SolverName.Z3)])
    failing = [each.obligation.name for each in asked if not each.is_proved]
    assert failing == ["nothing: there is something to wait for"]


def test_an_excuse_is_of_its_steps_only() -> None:
    """Given the round without the excuses for empty packets, more pages and leaving COLO, then exactly those steps harm."""
    book = ProgressBook(BOTH_SIDES, BothSides)
    excused = [Except(step, "test") for step in (Step.EXIT, Step.GIVE_UP)]
    book.measure("strict", source="test", helpful=[Step.RELEASE], excused=excused)(receiver.barrier_is_released)
    harm = tuple(each for each in progress_obligations(BOTH_SIDES, book) if each.name.endswith("does not harm"))
    harmful = (Step.PREPARE, "send.normal-page", "send.zero-page", Step.TAKE_OVER, Step.STOP)
    assert refuted(BOTH_SIDES, harm) == {f"strict: {step} does not harm" for step in harmful}


@pytest.mark.parametrize(
    ("declare", "complaint"),
    [
        (lambda book: book.measure("m", source="t", helpful=["no-rule"])(receiver.flush_commits), "m: there is no rule no-rule"),
        (lambda book: book.measure("m", source="t", helpful=[], excused=[Except("none", "t")])(receiver.flush_commits), "no rule none"),
        (lambda book: book.chain("c", source="t", links=["no-measure"])(receiver.failover_completes), "c: there is no measure no-measure"),
        (lambda book: book.wait("w", source="t", ended_by=["nobody"])(waits.waits_for_primary), "w: there is no rule nobody"),
        (lambda book: book.measure("m", source="", helpful=[])(receiver.flush_commits), "m: it has no source"),
    ],
)
def test_what_does_not_exist_is_named(declare: Callable[[ProgressBook[BothSides]], object], complaint: str) -> None:
    """Given a text that names what there is not, then it fails where it is declared, with its id."""
    with pytest.raises(SpecError, match=complaint):
        declare(ProgressBook(BOTH_SIDES, BothSides))


def test_formulas_that_exclude_each_other_are_seen() -> None:
    """Given formulas of a phase, then it is seen where they leave none, and nothing is concluded from what the tree does not say."""
    s = BothSides()
    flushing, live = s.phase == Phase.FLUSHING, s.phase.within(Phase.IDLE, Phase.FLUSHING)
    assert excludes(BOTH_SIDES, (flushing, s.phase == Phase.IDLE))
    assert excludes(BOTH_SIDES, (live & ~flushing, s.guest_running, s.phase != Phase.IDLE))
    assert excludes(BOTH_SIDES, (Not(Literal(True, bool)),))
    assert not excludes(BOTH_SIDES, (flushing, live))
    assert not excludes(BOTH_SIDES, (flushing | s.guest_running, s.phase == Phase.IDLE))
    assert not excludes(BOTH_SIDES, (flushing, s.primary_at == PrimaryAt.DEAD, Not(live & s.guest_running)))


def test_progress_can_be_read() -> None:
    """Given a measure, a chain and a wait, then their texts say from where to where, by what, and what they do not speak of."""
    measures = {measure.id: measure for measure in receiver.progress.measures}
    assert measure_prose(measures["flush.commits"]).splitlines() == [
        "flush.commits: A flush ends with its commit, whatever happens to channels, messages and the primary.",
        "  from: phase = FLUSHING",
        "  to: phase = IDLE",
        "  remaining: {p | peer_dirty[p]}",
        "  helps: checkpoint.flush-page, checkpoint.commit",
    ]
    barrier = measure_prose(measures["barrier.is-released"])
    assert "not receive.prepare where ∀q. packet[channel, q] = NOTHING: the peer sends packets with no pages, for ever" in barrier
    (failover,) = receiver.progress.chains
    assert chain_prose(failover).endswith("by: answer.flushes; flush.commits; failover.takes-over; shutdown.releases, phase = FAILOVER")
    wait = next(each for each in waits.waits.waits if each.state.id == "wait.device-state")
    assert wait_prose(wait).splitlines()[1:] == [
        "  in: phase = RECEIVED ∧ ¬is_promised ∧ ¬is_loadable[arriving_device]",
        "  ended by: failover.take-over, failover.stop",
    ]


def test_no_excuse_is_given_for_nothing() -> None:
    """Given each measure with all its excuses but one, then a step that is not excused any more harms, or does not help."""
    needless = set()
    for measure in (*receiver.progress.measures, *measures_of_both_sides.progress.measures):
        for excuse in measure.excuses:
            strict = dataclasses.replace(measure, excuses=tuple(each for each in measure.excuses if each is not excuse))
            asked = [each for each in measure_obligations(BOTH_SIDES, strict) if f": {excuse.rule.id} " in each.name]
            if not refuted(BOTH_SIDES, tuple(asked)):
                needless.add((measure.id, excuse.rule.id))
    assert needless == set()
