"""The standby's store joins what is proved: its clauses hold at every step, so a power cut may come at every step."""

from colofd.model.proof_gates import need_obligations
from colofd.model.proof_obligations import TextObligation, layer_obligations
from colofd.model.smtlib import Writer
from colofd.spec.both_sides import BOTH_SIDES
from colofd.spec.language import Spec
from colofd.spec.receive_path import SPEC
from colofd.spec.standby import STANDBY


def standby_obligations(standby: Spec = STANDBY) -> tuple[TextObligation, ...]:
    """Return what the store owes beside both sides (or what a change of it does), and that none of its texts is vacuous."""
    known = {each.name for each in need_obligations(SPEC, BOTH_SIDES)}
    needs = (each for each in need_obligations(BOTH_SIDES, standby) if each.name not in known)
    writer = Writer(standby)
    return tuple(
        TextObligation(each.name, each.kind, writer.text(each), each.expected) for each in (*layer_obligations(standby, BOTH_SIDES), *needs)
    )
