"""The specification as a whole: receive path, both sides, a standby, what is claimed of steps and of progress, the wire; and its hash."""

from colofd.spec import wire
from colofd.spec.both_sides import BOTH_SIDES
from colofd.spec.language import canonical, canonical_claim, sha256
from colofd.spec.progress import both_sides, receiver, waits
from colofd.spec.receive_orders import RECEIVE_ORDERS
from colofd.spec.receive_path import SPEC
from colofd.spec.standby import STANDBY
from colofd.spec.steps import BEGINNINGS, steps, steps_of_both

__all__ = ["BOTH_SIDES", "SPEC", "STANDBY", "spec_sha256"]


def spec_sha256() -> str:
    """Return the SHA-256 (hex) of what the spec means: traced rules, clauses and claims, and the wire tables. Prose does not count."""
    parts = {"receive path": SPEC, "receive orders": RECEIVE_ORDERS, "both sides": BOTH_SIDES, "standby": STANDBY, "beginnings": BEGINNINGS}
    books = (receiver.progress, both_sides.progress, waits.waits)
    claims = [
        *(claim for book in (steps, steps_of_both) for claim in (*book.claims, *book.abilities)),
        *(claim for book in books for claim in (*book.measures, *book.chains, *book.waits)),
    ]
    texts = {name: canonical(spec) for name, spec in parts.items()}
    return sha256({**texts, "claims": [canonical_claim(claim) for claim in claims], "wire": wire.canonical()})
