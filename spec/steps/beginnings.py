"""What is anything at first: beginning in fewer states would prove less. Each text leads from one initial state to another."""

from typing import Final

from colofd.spec.both_sides import BOTH_SIDES, BothSides, DeviceState
from colofd.spec.language import Actor, Expr, RuleBook, Spec
from colofd.spec.state import ZERO, Page, Value

_rules = RuleBook(BothSides)


@_rules.rule("begin.primary", by=Actor.PRIMARY, source="migration may begin at any time of a guest's life")
def primary_holds_anything(s: BothSides, page: Expr[Page], value: Expr[Value], device: Expr[DeviceState]) -> None:
    """RAM and devices of the primary are anything."""
    s.primary[page] = value
    s.primary_device = device


@_rules.rule("begin.guest", by=Actor.GUEST, source="colofd: what the destination held before is not cleared")
def guest_holds_anything(s: BothSides, page: Expr[Page], value: Expr[Value], device: Expr[DeviceState]) -> None:
    """With COLO guest RAM of the secondary is anything, too; without, it is the receive buffer, which is fresh."""
    s.when(s.colo)
    s.guest[page] = value
    s.guest_device = device


@_rules.rule("begin.set-up", by=Actor.ENVIRONMENT, source="migration/options.c: x-colo; colofd: the deferred mirror")
def set_up_is_free(s: BothSides, colo: Expr[bool], deferred: Expr[bool]) -> None:
    """With COLO or without, and with either mirror, wherever all of the memory is fresh."""
    s.colo = colo
    s.deferred = deferred
    s.guest[:] = lambda _page: ZERO
    s.cache[:] = lambda _page: ZERO


@_rules.rule("begin.loadable", by=Actor.ENVIRONMENT, source="migration/savevm.c:qemu_load_device_state fails or not")
def anything_may_be_loadable(s: BothSides, device: Expr[DeviceState], loadable: Expr[bool]) -> None:
    """Which device states can be loaded is not known."""
    s.is_loadable[device] = loadable


BEGINNINGS: Final = Spec(BothSides, BOTH_SIDES.initial, tuple(_rules), ())
"""The initial states of both sides, and changes from one of them to another."""
