"""Negative controls of the protocol between primary and secondary, as `model/controls.py` has them of the receive path."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from colofd.spec.both_sides import BOTH_SIDES, BothSides, Message, PrimaryAt
from colofd.spec.constants import Step
from colofd.spec.language import Expr, Layer, Rule, Spec
from colofd.spec.protocol import SPEC
from colofd.spec.state import Phase


@dataclass(frozen=True)
class ProtocolControl:
    """A wrong text for one rule of the layer, or for what the layer adds to a rule of the receive path."""

    name: str
    rule: Rule

    @property
    def changed_spec(self) -> Spec:
        """The specification with only the changed rule: what is not proved of it is not proved of the whole."""
        return Spec(BothSides, BOTH_SIDES.initial, (self.rule,), BOTH_SIDES.clauses)


def _extended(step: str, text: Callable[..., None]) -> Rule:
    layer = Layer(SPEC, BothSides)
    layer.extends(step, source="instead of what the layer adds")(text)
    return layer.extended[step]


def _own(identifier: str, text: Callable[..., None]) -> Rule:
    layer = Layer(SPEC, BothSides)
    replaced = BOTH_SIDES.rule(identifier)
    layer.rule(identifier, by=replaced.actor, source=f"instead of: {replaced.source}")(text)
    (rule,) = layer.added
    return rule


def _take(s: BothSides, message: Message) -> None:
    def left(m: Expr[Message]) -> Expr[bool]:
        return s.in_flight[m] & (m != message)

    s.in_flight[:] = left


def _send(s: BothSides, message: Message) -> None:
    def more(m: Expr[Message]) -> Expr[bool]:
        return s.in_flight[m] | (m == message)

    s.in_flight[:] = more


def _take_over_drops_the_answered(_s: BothSides) -> None:
    """A failover between VMSTATE_RECEIVED and the flush goes back behind what the primary has released, as in QEMU."""


def _answer_without_validating(s: BothSides) -> None:
    """VMSTATE_RECEIVED is sent for a device state that may not load, as in QEMU."""
    s.when(s.phase == Phase.RECEIVED, ~s.is_promised)
    s.is_promised = True
    _send(s, Message.VMSTATE_RECEIVED)


def _flush_unanswered(_s: BothSides) -> None:
    """The flush does not wait for the answer."""


def _release_when_sent(s: BothSides) -> None:
    """The primary lets its output go as soon as it has sent everything."""
    s.when(s.primary_at == PrimaryAt.SENT)
    s.primary_at = PrimaryAt.RELEASED
    s.is_ahead = ~s.has_committed
    _take(s, Message.VMSTATE_RECEIVED)


def _resume_when_released(s: BothSides) -> None:
    """The primary's guest runs again before the secondary has said that it has loaded."""
    s.when(s.primary_at == PrimaryAt.RELEASED)
    s.primary_at = PrimaryAt.RUNNING
    _take(s, Message.VMSTATE_LOADED)


def _receive_while_running(s: BothSides) -> None:
    """The device state is taken while the primary may still run."""
    s.arriving_device = s.primary_device


def _commit_without_device(s: BothSides) -> None:
    """The flush is a commit, but the guest keeps the device state that it had."""
    s.survivor_device = s.arriving_device
    s.is_promised = False
    s.has_committed = True
    s.is_ahead = False
    _send(s, Message.VMSTATE_LOADED)


def _begin_unasked(s: BothSides) -> None:
    """A checkpoint begins although none was requested."""
    s.has_committed = False
    _send(s, Message.CHECKPOINT_REPLY)


PROTOCOL_CONTROLS: Final = (
    ProtocolControl("take-over drops an answered checkpoint", _extended(Step.TAKE_OVER, _take_over_drops_the_answered)),
    ProtocolControl("answered without validating", _own("checkpoint.answer", _answer_without_validating)),
    ProtocolControl("flushed before the answer", _extended(Step.FLUSH_BEGIN, _flush_unanswered)),
    ProtocolControl("output released when sent", _own("colo.release-output", _release_when_sent)),
    ProtocolControl("primary resumed when released", _own("colo.resume", _resume_when_released)),
    ProtocolControl("device state taken from a running primary", _extended(Step.CHECKPOINT_RECEIVED, _receive_while_running)),
    ProtocolControl("commit without device state", _extended(Step.COMMIT, _commit_without_device)),
    ProtocolControl("checkpoint begun unasked", _extended(Step.CHECKPOINT_BEGIN, _begin_unasked)),
)
"""Each breaks at least one clause; the tests pin which."""
