"""A tour as a file: JSON that says how each run begins, and which step is taken with which arguments.

`initial` holds each cell of the spec: a truth, the name of a member, or the number of a page value or device state (value 0 is zeros);
a cell with keys is a list over the members of its key, lists in lists for two. Channel 0 is the main one.
A step is an object with the rule's id as `rule` and each of its arguments by name.
"""

import json
from enum import Enum
from pathlib import Path
from typing import Any, Final

from colofd.conformance.explore_report import tour_json, what_json
from colofd.model.finite import Instance, Step
from colofd.model.search_tours import Tour

FORMAT: Final = "colofd-tour/1"


def write_tour(path: Path, instance: Instance, tour: Tour, control: str | None) -> None:
    """Write a tour; one line for each run."""
    head = json.dumps({"format": FORMAT, **what_json(instance, control), **tour_json(tour), "runs": []})
    runs = [{"initial": instance.held(run.initial), "steps": [step_json(step) for step in run.steps]} for run in tour.runs]
    lines = ",\n".join(json.dumps(run) for run in runs)
    path.write_text(f"{head.removesuffix(']}')}\n{lines}\n]}}\n", encoding="utf-8")


def step_json(step: Step) -> dict[str, Any]:
    """Return a step: the rule and its arguments."""
    arguments = zip(step.rule.parameters, step.arguments, strict=True)
    named = {each.name: list(each.sort)[number].name if issubclass(each.sort, Enum) else number for each, number in arguments}
    return {"rule": step.rule.id, **named}
