"""The command `colofd trace`."""

import sys
from pathlib import Path
from typing import IO, Any

import click
import msgspec

from colofd.conformance.black_box import listed
from colofd.conformance.known_deviations import Known
from colofd.conformance.trace_check import TraceReport, check_trace_against, new_acceptor, take
from colofd.conformance.trace_file import TraceFile, read_trace
from colofd.conformance.unknown_names import UnknownName
from colofd.conformance.web_run import NotingMachine, write_run
from colofd.model.trace import Refused
from colofd.spec.language import Spec
from colofd.spec.profiles import PROFILES, STRICT


@click.command()
@click.argument("file", type=click.File("rb"))
@click.option("--against", default=STRICT, show_default=True, metavar="NAME", help="Profile whose known deviations are allowed, too.")
@click.option("--run", "run_path", type=click.Path(dir_okay=False, path_type=Path), help="Write the run of the model for the explorer.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of text.")
def trace(file: IO[bytes], against: str, run_path: Path | None, as_json: bool) -> None:
    """Accept or refuse the micro-steps of any receiver.

    FILE (- for standard input) has one JSON object a line: a header, what was sent, the events in the order in which their effects could be
    seen, and how many they were. docs/trace-file.schema.json is its schema. The first event that the spec does not allow is explained: what
    does not hold, which rules were enabled, and the nearest event that would have been accepted.

    Exit codes: 0 accepted, 1 refused, 2 it is no whole trace, or has no events.

    With --run, the steps up to there are written to a file, which the page of `colofd explore --web` opens.

    Example: colofd replay colo-mfd2-slow --on impl --trace run.ndjson; colofd trace run.ndjson
    """
    if against not in PROFILES:
        raise UnknownName("profile", against, list(PROFILES))
    read = read_trace(file)
    report, spec = check_trace_against(read, Known(against).readings())
    if run_path is not None:
        write_run(run_path, *noted(read, spec))
    click.echo(msgspec.json.encode(report) if as_json else "\n".join(_text(report)))
    sys.exit(0 if report.refused_at is None else 1)


def noted(read: TraceFile, spec: Spec) -> tuple[NotingMachine, str]:
    """Return the machine that has taken a trace as far as it is allowed, and why not further."""
    acceptor = new_acceptor(read, spec, NotingMachine)
    why = "The trace was accepted."
    try:
        take(acceptor, read.happened)
    except Refused as refusal:
        why = f"The trace was refused: {refusal}."
    if not isinstance(acceptor.machine, NotingMachine):
        raise TypeError("the acceptor has another machine than it was given")
    return acceptor.machine, why


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
