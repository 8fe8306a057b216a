"""Writes a report as one HTML file that needs no network, as Markdown, or as JSON: the ending of the file's name says which."""

import re
from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Final

import jinja2
import msgspec
from markupsafe import Markup, escape

from colofd.conformance.diagnostic import Diagnostic
from colofd.conformance.report import Report

_MARKS: Final = {
    "holds": "✓",
    "violated": "✗",
    "known-deviation": "≈",
    "errored": "!",
    "not-observable": "–",
    "skipped": "–",
}
"""What stands beside an outcome, so that nobody needs to see colours."""
_ID: Final = re.compile(r"[a-z][a-z-]*(?:\.[a-z0-9-]*[a-z0-9])+")


def write_report(path: Path, report: Report) -> None:
    """Write a report. Diagnostic if the ending of the name is unknown, or the file cannot be written."""
    text = writer_of(path)(report)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Diagnostic("report-not-written", f"{path} cannot be written", str(error), "give a file in a folder that exists") from error


def writer_of(path: Path) -> Callable[[Report], str]:
    """Return what makes the text of a report for a file of this name. Diagnostic if its ending is unknown."""
    if path.suffix not in WRITERS:
        raise Diagnostic("report-kind", f"{path} has an unknown ending", path.suffix or "it has none", f"give {', '.join(WRITERS)}")
    return WRITERS[path.suffix]


def html(report: Report) -> str:
    """Return a report as HTML."""
    return _rendered("report_page.html", report)


def markdown(report: Report) -> str:
    """Return a report as Markdown."""
    return _rendered("report_page.md", report)


def as_json(report: Report) -> str:
    """Return a report as JSON."""
    return msgspec.json.format(msgspec.json.encode(report)).decode() + "\n"


WRITERS: Final[Mapping[str, Callable[[Report], str]]] = {".html": html, ".md": markdown, ".json": as_json}
"""By the ending of a file's name."""


def _rendered(name: str, report: Report) -> str:
    ids = {line.id for line in report.ledger}
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_text),
        autoescape=jinja2.select_autoescape(["html"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"linked": lambda text: linked(text, ids), "cell": lambda text: " ".join(text.replace("|", "\\|").split())}
    drawn = {"style": Markup(_text("report_page.css")), "script": Markup(_text("report_page.js"))}  # noqa: S704  # they are ours
    pictures = {finding.rule: Markup(finding.picture) for finding in report.findings}  # noqa: S704  # our drawing escapes its texts
    return environment.get_template(name).render(report=report, marks=_MARKS, pictures=pictures, **drawn)


def linked(text: str, ids: set[str]) -> Markup:
    """Return a text in which each id is a link to its line in the ledger."""
    parts, at = [], 0
    for found in _ID.finditer(text):
        if found[0] in ids:
            parts += [escape(text[at : found.start()]), Markup('<a href="#{0}">{0}</a>').format(found[0])]
            at = found.end()
    return Markup("").join([*parts, escape(text[at:])])


def _text(name: str) -> str:
    return files("colofd.conformance").joinpath(name).read_text(encoding="utf-8")
