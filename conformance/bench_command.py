"""`colofd bench`: the receiver against one in C, which hears the same bytes."""

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import click

from colofd.conformance.bench_extra import latencies, latency_lines, scaling, scaling_lines
from colofd.conformance.bench_report import HEADINGS, line, report_json, svg
from colofd.conformance.bench_rows import ROWS, Result, Row, exit_code, measure
from colofd.conformance.bench_run import BenchError, Workshop
from colofd.conformance.qemu.provision import VERSIONS, QemuUnavailable, at_path, get
from colofd.conformance.unknown_names import UnknownName

MOST_MEBIBYTES: Final = 8192


def _chosen(_context: click.Context, _parameter: click.Parameter, given: str | None) -> list[Row]:
    """Return the rows of a list of names; a name may be the beginning of several."""
    if given is None:
        return list(ROWS.values())
    rows: dict[str, Row] = {}
    for name in given.split(","):
        found = {row: ROWS[row] for row in ROWS if row == name or row.startswith(f"{name}-")}
        if not found:
            raise UnknownName("row", name, list(ROWS))
        rows |= found
    return list(rows.values())


@click.command()
@click.option("--rows", metavar="NAME,...", callback=_chosen, help="Only these rows; `random` is all whose names begin so.")
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True, help="Rounds of each row; the median of the ratios counts.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.option("--svg", "plot", type=click.Path(dir_okay=False, path_type=Path), help="Write a plot of the rows into this file.")
@click.option("--latency", is_flag=True, help="In place of the rows: how long a checkpoint takes, by number of channels.")
@click.option("--scaling", "scales", is_flag=True, help="In place of the rows: how cost grows with RAM, channels and dirty pages.")
@click.option(
    "--most",
    type=click.IntRange(64),
    default=MOST_MEBIBYTES,
    show_default=True,
    help="With --scaling: largest RAM in MiB; most stays untouched.",
)
@click.option("--rival", metavar="qemu:VERSION|PATH", help="In place of the rows: against a real QEMU, which is provisioned if need be.")
@click.option("--compiler", default="cc", show_default=True, help="The C compiler that builds the reference.")
def bench(
    rows: Sequence[Row],
    rounds: int,
    as_json: bool,
    plot: Path | None,
    latency: bool,
    scales: bool,
    most: int,
    rival: str | None,
    compiler: str,
) -> None:
    """Measure the built-in receiver against a receiver in C.

    Both are an ordinary process that hears the same bytes of a sender in C. A ratio of 1 is as fast as C, 2 is twice as fast.
    In each round the reference runs before and after ours; where it differs too much from itself, the row has no number.

    Exit codes: 0 all musts are met (--rival: ours is faster in every row, at less CPU), 1 one is missed, 2 it could not be run or measured.

    Examples: colofd bench --rows random,flush; colofd bench --rival qemu:11.1 --rounds 3
    """
    try:
        with Workshop(compiler) as workshop:
            if rival is not None:
                sys.exit(_rival(workshop, rival, rounds, as_json))
            if latency or scales:
                _extra(workshop, as_json, latency, most)
            else:
                sys.exit(_rows(workshop, rows, rounds, as_json, plot))
    except QemuUnavailable as error:
        click.echo(f"colofd: {error}\nhint: `colofd qemu list` says which versions there are", err=True)
        sys.exit(2)
    except BenchError as error:
        hint = "`--compiler` names another C compiler; a run that fails alone may have been too much for the machine"
        click.echo(f"colofd: {error}\nhint: {hint}", err=True)
        sys.exit(2)


def _rival(workshop: Workshop, subject: str, rounds: int, as_json: bool) -> int:
    # Only here, for the package qemu.qmp is an extra.
    from colofd.conformance.bench_rival import lines, rivalry  # noqa: PLC0415

    name = subject.removeprefix("qemu:")
    qemu = get(name) if name in VERSIONS else at_path(Path(name))
    rows: list[dict[str, Any]] = []
    for row in rivalry(workshop, qemu, rounds):
        if not as_json:
            click.echo("\n".join(lines(row, is_first=not rows)))
        rows.append(row)
    if as_json:
        click.echo(json.dumps({"rival": qemu.version, "rows": rows}, indent=2))
    return 0 if all(row["is_won"] for row in rows) else 1


def _extra(workshop: Workshop, as_json: bool, latency: bool, most: int) -> None:
    found: Iterator[dict[str, Any]] = latencies(workshop) if latency else scaling(workshop, most)
    if as_json:
        click.echo(json.dumps({"latency" if latency else "scaling": list(found)}, indent=2))
        return
    for each in latency_lines(found) if latency else scaling_lines(found):
        click.echo(each)


def _rows(workshop: Workshop, rows: Sequence[Row], rounds: int, as_json: bool, plot: Path | None) -> int:
    results: list[Result] = []
    if not as_json:
        click.echo(HEADINGS)
    for row in rows:
        results.append(measure(row, workshop, rounds))
        if not as_json:
            click.echo(line(results[-1]))
    if as_json:
        click.echo(json.dumps(report_json(results), indent=2))
    if plot is not None:
        plot.write_text(svg(results), encoding="utf-8")
    return exit_code(results)
