"""The receiver's decisions join what is proved: all obligations, and the inputs for which a wrong decision differs."""

from typing import Any

from colofd.conformance.decisions import CLAIMS
from colofd.model.proof_equivalence import equivalence_obligations
from colofd.model.proof_gates import need_obligations
from colofd.model.proof_obligations import AnyObligation, TextObligation, layer_obligations
from colofd.model.proof_obligations import obligations as obligations_of_spec
from colofd.model.proof_progress import all_progress_obligations
from colofd.model.proof_standby import standby_obligations
from colofd.model.proof_steps import all_step_obligations
from colofd.model.smtlib import Writer
from colofd.spec.language import Spec
from colofd.spec.protocol import BOTH_SIDES, SPEC


def obligations(spec: Spec) -> tuple[AnyObligation, ...]:
    """Return all obligations of the receive path (or of a change of it), of both sides, of a standby, and of the receiver's decisions."""
    return (
        *obligations_of_spec(spec),
        *layer_obligations(BOTH_SIDES, SPEC),
        *equivalence_obligations(),
        *all_progress_obligations(BOTH_SIDES),
        *all_step_obligations(),
        *need_obligations(SPEC, BOTH_SIDES),
        *standby_obligations(),
        *decision_obligations(),
    )


def decision_obligations() -> tuple[AnyObligation, ...]:
    """Return what has to be proved of the decisions that the receiver calls."""
    return tuple(obligation for decision, claim in CLAIMS.items() for obligation in claim(decision))


def counterexample(obligation: AnyObligation) -> dict[str, bool | int]:
    """Return inputs by name for which an obligation of a decision does not hold, as Z3 finds them; nothing if there are none."""
    import z3  # noqa: PLC0415  # loaded when it is asked for

    question = z3.Solver(ctx=z3.Context())
    question.from_string(Writer(SPEC).text(obligation))
    if question.check() != z3.sat:
        return {}
    model = question.model()
    # Inputs that are bits are written with a number, beside the cells that they were read from.
    mark = "" if isinstance(obligation, TextObligation) else "!"
    inputs = {name.name().partition("!")[0]: model[name] for name in model.decls() if not name.arity() and mark in name.name()}
    return {name: _plain(value) for name, value in inputs.items() if z3.is_bool(value) or z3.is_bv(value)}


def _plain(value: Any) -> bool | int:
    text = str(value)
    return text == "True" if text in {"True", "False"} else int(text)
