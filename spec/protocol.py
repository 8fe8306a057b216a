"""The specification as a whole: the receive path, the layer with both sides, the wire; and the hash that names it."""

from colofd.spec import wire
from colofd.spec.both_sides import BOTH_SIDES
from colofd.spec.language import canonical, sha256
from colofd.spec.receive_orders import RECEIVE_ORDERS
from colofd.spec.receive_path import SPEC

__all__ = ["BOTH_SIDES", "SPEC", "spec_sha256"]


def spec_sha256() -> str:
    """Return the SHA-256 (hex) of what the spec means: traced rules and clauses, and the wire tables. Prose does not count."""
    parts = {"receive path": SPEC, "receive orders": RECEIVE_ORDERS, "both sides": BOTH_SIDES}
    return sha256({**{name: canonical(spec) for name, spec in parts.items()}, "wire": wire.canonical()})
