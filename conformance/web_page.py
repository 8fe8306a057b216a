"""The explorer: one HTML file in which a small instance of the specification is stepped through, without a network and without a server."""

import json
from functools import cache
from importlib.resources import files
from typing import Any

from colofd.conformance.web_address import address, beginning, specification_name
from colofd.model.controls import HARMLESS, WRONG
from colofd.model.controls_declared import Control
from colofd.model.controls_runs import instance_of, run_of
from colofd.model.javascript import PUT, clause_text, javascript, rule_text
from colofd.spec.protocol import BOTH_SIDES, SPEC, spec_sha256


@cache
def page() -> str:
    """Return the page."""
    template = _text("web_explorer.html")
    script = _text("web_explorer_run.js") + "\n" + _text("web_explorer_view.js")
    parts = {"/*STYLE*/": _text("web_explorer.css"), "/*SPECIFICATION*/": specification(), "/*SCRIPT*/": script}
    for place, part in parts.items():
        head, _, rest = template.partition(place)
        template = f"{head}{part.rstrip()}{rest}"
    return template


def specification() -> str:
    """Return all that the page knows, as JavaScript: both specifications, known mistakes with their runs, and how a run begins."""
    known = {"sha256": spec_sha256(), "beginning": beginning()}
    texts = {
        "specifications": f"{{receive: {javascript(SPEC)},\nboth: {javascript(BOTH_SIDES)}}}",
        "controls": "[\n" + ",\n".join(_control(each) for each in (*WRONG, *HARMLESS)) + "]",
        **{name: json.dumps(value) for name, value in known.items()},
    }
    return "\n".join([PUT, "const colofd = {", *(f"{name}: {text}," for name, text in texts.items()), "};"])


def _control(control: Control) -> str:
    """Return a known mistake as JavaScript: the changed texts, and the address of the run that shows it."""
    said: dict[str, Any] = {
        "name": control.name,
        "doc": " ".join(control.doc.split()),
        "specification": specification_name(control.spec),
        "breaks": str(control.shows.breaks) if control.shows else "",
        "address": control_address(control),
    }
    texts = {name: json.dumps(value) for name, value in said.items()}
    texts["rules"] = f"[{', '.join(map(rule_text, control.rules))}]"
    texts["clauses"] = f"[{', '.join(map(clause_text, control.supporting))}]"
    if control.initial is not control.base.initial:
        texts["initial"] = clause_text(control.initial)
    return f"{{{', '.join(f'{name}: {text}' for name, text in texts.items())}}}"


def control_address(control: Control) -> str:
    """Return the address of the shortest run that shows what a wrong text does; empty for one that does nothing."""
    run = run_of(control)
    if run is None or control.shows is None:
        return ""
    return address(instance_of(control, control.shows), run.states[0], run.steps, control.name)


def _text(name: str) -> str:
    return files("colofd.conformance").joinpath(name).read_text(encoding="utf-8")
