"""The command `colofd replay`."""

import importlib
import sys
from collections.abc import Mapping
from typing import IO, Final

import click
import msgspec

from colofd.conformance import replay_impl
from colofd.conformance.captures import Capture, find, load
from colofd.conformance.replay import Reading, Report, Verdict, judge
from colofd.conformance.trace_file import writer_for

READINGS: Final = ("impl", "model")
"""Each one is the function `read` in the module `colofd.conformance.replay_NAME`, imported when it is asked for."""


@click.command()
@click.argument("capture", metavar="DIR")
@click.option("--on", "on", type=click.Choice([*READINGS, "both"]), default="both", show_default=True, help="Which receiver reads it.")
@click.option("--trace", "trace_to", metavar="FILE", type=click.File("wb"), help="Write the micro-steps of impl, for `colofd trace`.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of text.")
def replay(capture: str, on: str, trace_to: IO[bytes] | None, as_json: bool) -> None:
    """Play a recorded migration and compare RAM with what its source had.

    DIR is the name of a shipped capture, or the folder of one: meta.json, events.json.xz and the bytes of each channel, NAME.fwd.xz to the
    destination and NAME.rev.xz back. RAM is compared at every checkpoint, or at the end if the migration is not COLO; the replies of impl
    are compared byte for byte; RAM blocks without a recorded digest are compared between the receivers.

    Exit codes: 0 all is equal, 1 something differs or was refused, 2 it could not be run.

    Example: colofd replay colo-mfd4-zstd
    """
    recorded = load(find(capture))
    names = READINGS if on == "both" else (on,)
    if trace_to is not None and "impl" not in names:
        raise click.BadParameter("only impl has micro-steps to trace", param_hint="--trace")
    report = judge(recorded, {name: _read(name, recorded, trace_to) for name in names})
    click.echo(msgspec.json.encode(report) if as_json else "\n".join(_text(recorded, report)))
    sys.exit(0 if report.holds else 1)


def _read(name: str, capture: Capture, trace_to: IO[bytes] | None) -> Reading:
    read = importlib.import_module(f"colofd.conformance.replay_{name}").read
    if trace_to is None or name != "impl":
        reading: Reading = read(capture)
        return reading
    with writer_for(capture, trace_to) as writer:
        return replay_impl.read(capture, writer.note)


def _text(capture: Capture, report: Report) -> list[str]:
    kind = "COLO" if capture.colo else "precopy"
    lines = [f"{capture.name}: {kind} of QEMU {capture.qemu}, {capture.channels} multifd channels, compression {capture.compression}"]
    for name, verdict in report.readings.items():
        lines += [f"  {name:5} {line}" for line in _lines(verdict)]
    for each in report.disagreements:
        lines.append(f"  block {each.block} differs at {each.at}: {_named(each.sha256)}")
    lines.append("  all equal" if report.holds else "  NOT equal")
    return lines


def _lines(verdict: Verdict) -> list[str]:
    digests = [(f"checkpoint {each.index}", each.ok, each.sha256, each.expected) for each in verdict.checkpoints]
    if verdict.final:
        digests.append(("end", verdict.final.ok, verdict.final.sha256, verdict.final.expected))
    lines = [
        f"{at:14}{'equal' if ok else 'DIFFERS'}  {sha256 or 'not reached'}" + ("" if ok else f", expected {expected}")
        for at, ok, sha256, expected in digests
    ]
    if verdict.replies_equal is not None:
        lines.append(f"{'replies':14}{'equal' if verdict.replies_equal else 'DIFFER'}")
    lines.append(f"{'bytes':14}{sum(verdict.bytes.values())} read, {verdict.unaccounted_bytes} unaccounted for")
    if verdict.refused:
        lines.append(f"{'refused':14}{verdict.refused}")
    return lines


def _named(sha256: Mapping[str, str | None]) -> str:
    return ", ".join(f"{name} has {digest or 'nothing'}" for name, digest in sha256.items())
