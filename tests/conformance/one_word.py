"""Says what is made of a rule and of a check: cards, formulas, pictures, texts for other programs, vectors. Prints one JSON object.

A program of its own, because a changed tree must be imported from the start.
"""

import json
from typing import Final

from colofd.conformance import diagrams_memory
from colofd.conformance.card import card_text
from colofd.conformance.cards import makers
from colofd.conformance.schedules import own_write_is_undone
from colofd.conformance.site_pages import card_markdown
from colofd.conformance.subjects import Options
from colofd.conformance.vector_script import require_model, written
from colofd.conformance.vector_wire import wire_vectors
from colofd.model.javascript import rule_text
from colofd.spec.language.prose import prose, update_prose
from colofd.spec.protocol import SPEC, spec_sha256

RULE: Final = "receive.prepare"
ANOTHER: Final = "receive.packet-done"
CHECK: Final = "wire.hello.version"


def readings() -> dict[str, str]:
    """Return all that is made of the rule and of the check."""
    rule = SPEC.rule(RULE)
    return {
        "sha256": spec_sha256(),
        "card": card_text(makers()[RULE]()),
        "page": "\n".join(card_markdown(makers()[RULE]())),
        "formula": "\n".join([*map(prose, rule.guards), *map(update_prose, rule.updates)]),
        "picture": diagrams_memory.drawing("core", diagrams_memory.uses("core")),
        "explorer": rule_text(rule),
        "another rule": card_text(makers()[ANOTHER]()) + rule_text(SPEC.rule(ANOTHER)),
        "vector of a schedule": _schedule(),
        "card of a check": card_text(makers()[CHECK]()),
        "vector of a check": next(vector.verdict.reason for vector, _ in wire_vectors() if vector.rules == [CHECK]),
    }


def _schedule() -> str:
    """Return a vector of a checkpoint, or why it cannot be written: what is expected of RAM is asked of the specification."""
    vector = written("schedule", "own-write-is-undone", Options(), own_write_is_undone)
    if vector is None:
        return "it cannot be run from outside"
    try:
        require_model(vector)
        return str(vector)
    except ValueError as error:
        return str(error)


if __name__ == "__main__":
    print(json.dumps(readings()))  # noqa: T201  # read by the test
