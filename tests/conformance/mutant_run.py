"""Runs the directed schedules, and a few drawn ones, on whatever `colofd` is first on the path. Prints one JSON object.

A program of its own, because a mutated tree must be imported from the start.
"""

import contextlib
import importlib
import json
import sys
from typing import Final

from colofd.conformance.check import Campaign, Profile
from colofd.conformance.subjects import SUBJECTS

BRIEF: Final = Profile(drawn=5, variants=4)
STALL_SECONDS: Final = 3.0


class Found(Exception):  # noqa: N818  # says why the run has ended
    """Something was found: the rest need not be run."""


def main(against: str, modules: list[str]) -> None:
    """Run until something is found that is not known of the profile; say what, and where the modules came from."""

    def progress(_what: str) -> None:
        if campaign.found.violations or campaign.found.errors:
            raise Found

    campaign = Campaign(SUBJECTS["impl"], 1, progress, STALL_SECONDS, against)
    with contextlib.suppress(Found):
        campaign.run(BRIEF)
    found = {
        "violations": {rule: str(violation) for rule, violation in campaign.found.violations.items()},
        "known": {rule: [each.id for each in some] for rule, (_, some) in campaign.found.known.items()},
        "errors": campaign.found.errors,
        "schedules": campaign.found.tally.schedules,
        "files": [importlib.import_module(module).__file__ for module in modules],
    }
    print(json.dumps(found))  # noqa: T201  # read by the test


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
