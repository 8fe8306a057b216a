"""Negative controls: the specification with one rule that is known to be wrong, under its old id.

A proof that does not notice these would prove nothing. Some are bugs that QEMU had or has.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from colofd.spec.constants import Step
from colofd.spec.language import Clause, ClauseBook, Expr, Rule, RuleBook, Spec, every, where
from colofd.spec.protocol import SPEC
from colofd.spec.rules.receive import land
from colofd.spec.state import (
    MAIN,
    ZERO,
    At,
    Carried,
    Channel,
    Page,
    Phase,
    World,
    all_sent,
    carries_nothing,
    is_in_colo,
    is_multifd,
    is_receiving,
)


@dataclass(frozen=True)
class Control:
    """A change of the specification: `rules` take the place of those with the same ids, and `initial` that of the initial states."""

    name: str
    rules: tuple[Rule, ...]
    initial: Clause = SPEC.initial

    @property
    def spec(self) -> Spec:
        """The whole specification with the change."""
        changed = {rule.id: rule for rule in self.rules}
        return Spec(SPEC.state, self.initial, tuple(changed.get(rule.id, rule) for rule in SPEC.rules), SPEC.clauses)

    @property
    def changed_spec(self) -> Spec:
        """Only the changed rules: whatever is not proved of `spec` is among what is not proved of these."""
        return Spec(SPEC.state, self.initial, self.rules, SPEC.clauses)


def _rule(step: str, text: Callable[..., None]) -> Rule:
    book = RuleBook(World)
    replaced = SPEC.rule(step)
    book.rule(step, by=replaced.actor, source=f"instead of: {replaced.source}")(text)
    (rule,) = book
    return rule


# The latch.


def _mirror_decided_again(s: World, channel: Expr[Channel], page: Expr[Page]) -> None:
    """Whether to mirror is asked again when the page is processed, as QEMU does: failover may have come in between."""
    s.when(is_multifd(channel), s.channel_at[channel] == At.PROCESSING)
    s.when(s.packet[channel, page].within(Carried.NORMAL_LANDED, Carried.ZERO_LANDED))
    content = where(s.packet[channel, page] == Carried.ZERO_LANDED, ZERO, s.cache[page])
    s.guest[page] = where(s.colo & ~s.deferred & ~is_in_colo(s), content, s.guest[page])
    s.packet[channel, page] = Carried.NOTHING


def _prepare(s: World, channel: Expr[Channel], is_mirrored: Expr[bool], is_recorded: Callable[[Expr[Page]], Expr[bool]]) -> None:
    s.when(is_multifd(channel), s.channel_at[channel] == At.READY)
    s.channel_at[channel] = At.BODY
    s.mirror[channel] = s.colo & ~s.deferred & is_mirrored
    is_time = (s.phase == Phase.RECEIVING) | s.colo & s.deferred
    s.peer_dirty[:] = lambda q: s.peer_dirty[q] | is_time & is_recorded(q)


def _is_late(s: World) -> Expr[bool]:
    """Return whether a thread that was not stopped may still read a header."""
    return is_receiving(s) | s.phase.within(Phase.FAILOVER, Phase.STOPPED)


def _prepare_late(s: World, channel: Expr[Channel]) -> None:
    """A packet is prepared by a thread that failover did not stop; the latch reads the phase that never comes back."""
    s.when(_is_late(s))
    _prepare(s, channel, s.phase == Phase.PRECOPY, lambda q: s.packet[channel, q] != Carried.NOTHING)


def _prepare_late_outside_colo(s: World, channel: Expr[Channel]) -> None:
    """The same, but the latch reads "not in COLO state", which is true again after failover."""
    s.when(_is_late(s))
    _prepare(s, channel, ~is_in_colo(s), lambda q: s.packet[channel, q] != Carried.NOTHING)


def _prepare_without_zero_pages(s: World, channel: Expr[Channel]) -> None:
    """Zero pages of a checkpoint are not recorded in the dirty bitmap."""
    s.when(is_receiving(s))
    _prepare(s, channel, s.phase == Phase.PRECOPY, lambda q: s.packet[channel, q] == Carried.NORMAL)


# Zero pages.


def _zero_page(s: World, channel: Expr[Channel], page: Expr[Page], is_elided: Expr[bool]) -> None:
    s.when(is_multifd(channel), s.channel_at[channel] == At.BODY, s.packet[channel, page] == Carried.ZERO)
    buffer = where(s.colo, s.cache[page], s.guest[page])
    land(s, channel, page, where(is_elided, buffer, ZERO))
    s.packet[channel, page] = Carried.ZERO_LANDED


def _zero_page_always_elided(s: World, channel: Expr[Channel], page: Expr[Page]) -> None:
    """A zero page is never written to the buffer, whatever has arrived before."""
    _zero_page(s, channel, page, (s.phase == Phase.PRECOPY) | (s.phase != Phase.PRECOPY))


def _zero_page_elided_later(s: World, channel: Expr[Channel], page: Expr[Page]) -> None:
    """The receivedmap is read the wrong way round: the first zero page is written, a later one is not."""
    _zero_page(s, channel, page, s.received[page])


def _zero_page_never_elided(s: World, channel: Expr[Channel], page: Expr[Page]) -> None:
    """Every zero page is written: slower, and right."""
    _zero_page(s, channel, page, (s.phase == Phase.PRECOPY) & (s.phase != Phase.PRECOPY))


def _initial_buffer_of_anything(s: World) -> Expr[bool]:
    """The receive buffer holds anything at first."""
    is_fresh = every(Page)(lambda p: s.unsent[p] & ~s.sent[p] & ~s.received[p] & ~s.peer_dirty[p] & ~s.own_dirty[p])
    is_quiet = every(Channel)(lambda c: (s.channel_at[c] == At.READY) & ~s.mirror[c] & carries_nothing(s, c))
    return (s.phase == Phase.SETUP) & ~s.cache_allocated & ~s.receivedmap_allocated & ~s.guest_running & is_fresh & is_quiet


# Flush, failover, release.


def _flush_without_own_dirty(s: World) -> None:
    """The secondary's own dirty log is cleared without having joined the dirty bitmap."""
    s.when(s.phase == Phase.RECEIVED)
    s.phase = Phase.FLUSHING
    s.guest_running = False
    s.own_dirty[:] = False


def _take_over_while_flushing(s: World) -> None:
    """Failover does not wait for the end of a flush."""
    s.when(s.phase.within(Phase.IDLE, Phase.RECEIVING, Phase.RECEIVED, Phase.FLUSHING))
    s.phase = Phase.FAILOVER
    s.guest_running = True


def _release_cache_under_threads(s: World) -> None:
    """The cache is freed in the bottom half, while receive threads may still run."""
    s.when(s.cache_allocated, s.phase.within(Phase.FAILOVER, Phase.STOPPED, Phase.FAILED))
    s.cache_allocated = False


def _release_receivedmap_under_threads(s: World) -> None:
    """The receivedmap is freed while receive threads may still run, as before the fix of its cleanup race."""
    s.when(s.receivedmap_allocated, ~s.cache_allocated)
    s.when(s.phase.within(Phase.FAILOVER, Phase.STOPPED, Phase.COMPLETED, Phase.FAILED))
    s.receivedmap_allocated = False


def _commit_while_dirty(s: World) -> None:
    """The guest goes on before the flush is through."""
    s.when(s.phase == Phase.FLUSHING)
    s.phase = Phase.IDLE
    s.guest_running = True
    s.survivor[:] = lambda q: s.guest[q]


def _flush_after_failover(s: World, page: Expr[Page]) -> None:
    """A flush goes on after failover, when the cache may be gone."""
    s.when(s.phase.within(Phase.FILLING, Phase.FLUSHING, Phase.FAILOVER), s.peer_dirty[page])
    s.guest[page] = s.cache[page]
    s.peer_dirty[page] = False


# Barriers and the sender.


def _enter_colo_without_barrier(s: World) -> None:
    """COLO begins as soon as everything was sent, whatever is still on its way."""
    is_mirrored = (s.phase == Phase.PRECOPY) & s.colo & ~s.deferred & all_sent(s)
    is_filled = (s.phase == Phase.FILLING) & every(Page)(lambda q: ~s.peer_dirty[q])
    s.when(is_mirrored | is_filled)
    s.phase = Phase.IDLE
    s.guest_running = True
    s.survivor[:] = lambda q: s.guest[q]


def _received_without_barrier(s: World) -> None:
    """A checkpoint counts as received as soon as everything was sent."""
    s.when(s.phase == Phase.RECEIVING, all_sent(s))
    s.phase = Phase.RECEIVED


def _send_again(s: World, channel: Expr[Channel], page: Expr[Page]) -> None:
    """A page that was dirtied again is sent again before the barrier, by any channel."""
    s.when(is_receiving(s), s.channel_at[channel] == At.READY, s.unsent[page])
    s.when((channel != MAIN) | carries_nothing(s, channel))
    s.unsent[page] = False
    s.sent[page] = True
    s.packet[channel, page] = Carried.NORMAL


def _control(name: str, step: str, text: Callable[..., None]) -> Control:
    return Control(name, (_rule(step, text),))


def _initial(text: Callable[[World], Expr[bool]]) -> Clause:
    book = ClauseBook(World)
    book.clause(SPEC.initial.id, source=f"instead of: {SPEC.initial.source}")(text)
    (clause,) = book
    return clause


WRONG: Final = (
    _control("mirror decided again", Step.MIRROR, _mirror_decided_again),
    _control("late packet latched outside COLO", Step.PREPARE, _prepare_late_outside_colo),
    _control("zero pages not recorded", Step.PREPARE, _prepare_without_zero_pages),
    _control("elision always", Step.ZERO_PAGE, _zero_page_always_elided),
    _control("elision on a later arrival", Step.ZERO_PAGE, _zero_page_elided_later),
    _control("flush without own dirty log", Step.FLUSH_BEGIN, _flush_without_own_dirty),
    _control("commit while dirty", Step.COMMIT, _commit_while_dirty),
    _control("flush after failover", Step.FLUSH_PAGE, _flush_after_failover),
    _control("take-over in a flush", Step.TAKE_OVER, _take_over_while_flushing),
    _control("cache released under threads", Step.RELEASE_CACHE, _release_cache_under_threads),
    _control("receivedmap released under threads", Step.RELEASE_RECEIVEDMAP, _release_receivedmap_under_threads),
    _control("no barrier before COLO", Step.ENTER_COLO, _enter_colo_without_barrier),
    _control("no barrier before received", Step.CHECKPOINT_RECEIVED, _received_without_barrier),
    _control("page sent twice in a round", "send.normal-page", _send_again),
    Control("initial buffer of anything", (), _initial(_initial_buffer_of_anything)),
)
"""Changes that break the specification."""

HARMLESS: Final = (
    _control("late packet latched by the phase", Step.PREPARE, _prepare_late),
    _control("elision never", Step.ZERO_PAGE, _zero_page_never_elided),
)
"""Changes that look alike and break nothing: why the specification's latch is the right one, and that elision is a choice."""
