"""The command `colofd trace`."""

import sys
from typing import IO, Any

import click
import msgspec

from colofd.conformance.black_box import listed
from colofd.conformance.known_deviations import Known, deviating
from colofd.conformance.trace_check import TraceReport, check_trace
from colofd.conformance.trace_file import read_trace
from colofd.conformance.unknown_names import UnknownName
from colofd.spec.profiles import PROFILES, STRICT
from colofd.spec.protocol import BOTH_SIDES


@click.command()
@click.argument("file", type=click.File("rb"))
@click.option("--against", default=STRICT, show_default=True, metavar="NAME", help="Profile whose known deviations are the rule.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of text.")
def trace(file: IO[bytes], against: str, as_json: bool) -> None:
    """Accept or refuse the micro-steps of any receiver.

    FILE (- for standard input) has one JSON object a line: a header, what was sent, the events in the order in which their effects could be
    seen, and how many they were. docs/trace-file.schema.json is its schema. The first event that the spec does not allow is explained: what
    does not hold, which rules were enabled, and the nearest event that would have been accepted.

    Exit codes: 0 accepted, 1 refused, 2 it is no whole trace, or has no events.

    Example: colofd replay colo-mfd2-slow --on impl --trace run.ndjson; colofd trace run.ndjson
    """
    if against not in PROFILES:
        raise UnknownName("profile", against, list(PROFILES))
    changing = Known(against).changing
    report = check_trace(read_trace(file), deviating(changing) if changing else BOTH_SIDES)
    click.echo(msgspec.json.encode(report) if as_json else "\n".join(_text(report)))
    sys.exit(0 if report.refused_at is None else 1)


def _text(report: TraceReport) -> list[str]:
    if report.failing is None:
        return [f"accepted: all {report.events} events"]
    return [
        f"refused: event {report.refused_at} of {report.events}: {_event(report.refused)}",
        f"  {report.failing['id']} does not hold: {report.failing['why']}",
        "  enabled were: " + (", ".join(f"{each['rule']} {each['channel']}".rstrip() for each in report.enabled) or "no events"),
        f"  nearest event that would be accepted: {_event(report.nearest)}",
    ]


def _event(event: dict[str, Any] | None) -> str:
    """Return an event without its digests."""
    if event is None:
        return "none"
    normal, zero = (
        f" {name} {listed(event[key])}" if event[key] else "" for name, key in (("pages", "pages"), ("zero pages", "zero_pages"))
    )
    return f"{event['step']} {event['channel']}{normal}{zero}".rstrip()
