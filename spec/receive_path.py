"""The receive path as a whole: what a destination does with what arrives."""

from colofd.spec.invariants import clauses, initial_states
from colofd.spec.language import Spec
from colofd.spec.rules import main_channel, phases, primary, receive
from colofd.spec.state import World

(_initial,) = initial_states

SPEC = Spec(
    state=World,
    initial=_initial,
    rules=(*primary.rules, *receive.rules, *main_channel.rules, *phases.rules),
    clauses=tuple(clauses),
)
"""The receive path: rules and clauses, traced."""
