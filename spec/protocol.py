"""The specification as a whole: `SPEC`, and the hash that names it."""

from colofd.spec import wire
from colofd.spec.invariants import clauses, initial_states
from colofd.spec.language import Spec, canonical, sha256
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


def spec_sha256() -> str:
    """Return the SHA-256 (hex) of what the spec means: traced rules and clauses, and the wire tables. Prose does not count."""
    return sha256({"protocol": canonical(SPEC), "wire": wire.canonical()})
