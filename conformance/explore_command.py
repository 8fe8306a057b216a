"""`colofd explore`: every reachable state of a finite instance, a shortest run, or a tour."""

import json
import os
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, Final

import click

from colofd.conformance.explore_report import run_json, states_json, states_text, tour_json, tour_text, what_json
from colofd.conformance.run_picture import picture as picture_of
from colofd.conformance.run_text import run_text
from colofd.conformance.tour_file import write_tour
from colofd.conformance.unknown_names import UnknownName
from colofd.conformance.web_address import address
from colofd.conformance.web_page import page
from colofd.conformance.web_server import serving
from colofd.model.controls import HARMLESS, WRONG
from colofd.model.controls_declared import Control
from colofd.model.controls_runs import goals_of
from colofd.model.finite import Instance, Sizes
from colofd.model.finite_slices import SLICES, Slice, slice_of
from colofd.model.search import Exploration
from colofd.model.search import explore as explore_all
from colofd.model.search_estimate import estimated_bytes
from colofd.model.search_graph import graph
from colofd.model.search_runs import Goal, broken_clause, shortest_run, taken_rule
from colofd.model.search_table import TooLarge
from colofd.model.search_tours import Cover, tour

SMALL: Final = 1 << 28
"""Bytes of an exploration that need no estimate: whatever takes less fits everywhere."""

USUAL: Final = Sizes(2, 2, 2)
"""Sizes if none are given."""

COVERS: Final = "What a tour takes at least once: every rule in every situation, or every step in every state (for the smallest sizes)."

EXAMPLES: Final = """\b
Examples:
  colofd explore
  colofd explore --slice both-sides --channels 1
  colofd explore --until checkpoint.commit --channels 1 --pages 1
  colofd explore --control "mirror decided again" --until isolation.guest
  colofd explore --control "failover waits for the barrier" --picture
  colofd explore --slice both-sides --channels 1 --pages 1 --tour tour.json
  colofd explore --web --until checkpoint.commit  # step through it in a browser
"""


@dataclass(frozen=True)
class Asked:
    """How the question was put. `control` is the name of a known mistake; `is_drawn`: a run is shown as a picture."""

    control: str | None
    is_symmetric: bool
    is_drawn: bool
    as_json: bool

    def say(self, result: dict[str, Any], text: Callable[[], str], instance: Instance) -> None:
        """Print a result as it was asked for."""
        click.echo(json.dumps({**what_json(instance, self.control), **result}, indent=2) if self.as_json else text())


@click.command(epilog=EXAMPLES)
@click.option("--slice", "part", metavar="NAME", help=f"Which part: {', '.join(each.name for each in SLICES)}.  [default: core]")
@click.option("--channels", type=click.IntRange(0, 8), help="Number of multifd channels.  [default: 2; of a control, what shows it]")
@click.option("--pages", type=click.IntRange(1, 8), help="Number of pages.  [default: as above]")
@click.option("--values", type=click.IntRange(2, 8), help="Number of page contents, zeros among them.  [default: as above]")
@click.option("--devices", type=click.IntRange(1, 8), help="Number of device states, in slices of both sides.  [default: as above]")
@click.option("--until", metavar="CLAUSE|RULE", help="Print a shortest run that breaks this clause, or that takes this rule.")
@click.option("--control", metavar="NAME", help="Explore the specification with this known mistake in it, see `colofd prove --controls`.")
@click.option("--picture", is_flag=True, help="Draw the run as lanes in plain text; of a control without --until, the run that shows it.")
@click.option("--tour", "tour_path", type=click.Path(dir_okay=False, path_type=Path), help="Write a tour, a set of runs, to this file.")
@click.option("--cover", default=Cover.SITUATIONS.value, type=click.Choice([each.value for each in Cover]), show_default=True, help=COVERS)
@click.option("--symmetry/--no-symmetry", default=True, show_default=True, help="Visit one of the states that differ in order only.")
@click.option("--web", is_flag=True, help="Step through it in a browser: serves a page on this machine, and prints its URL.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, show_default=True, help="Port of the page; 0 is any that is free.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def explore(
    part: str | None,
    channels: int | None,
    pages: int | None,
    values: int | None,
    devices: int | None,
    until: str | None,
    control: str | None,
    tour_path: Path | None,
    cover: str,
    picture: bool,
    symmetry: bool,
    web: bool,
    port: int,
    as_json: bool,
) -> None:
    """Visit every reachable state of a small instance of the protocol, and check every clause in each.

    States that differ only in the order of pages, channels or device states are visited once and counted as often as they are;
    runs are searched without that. With --web nothing is searched but the run that is asked for by --until or --control.

    Exit codes: 0 all clauses hold everywhere (or the rule was reached, or the tour written), 1 one does not (or it was not),
    2 it could not be explored.
    """
    if until and tour_path:
        raise click.UsageError("--until asks for one run, and --tour for a set of them: ask one after the other")
    if web and (tour_path or picture or as_json):
        raise click.UsageError("--web shows a run in a browser: not with --tour, --picture or --json")
    if picture and not (until or control):
        raise click.UsageError("--picture draws a run: say which with --until or --control")
    instance = _instance(control, part, (channels, pages, values, devices))
    asked = Asked(control, symmetry, picture, as_json)
    wants_run = bool(until or picture or web)
    try:
        _check_memory(instance, symmetric=symmetry and not wants_run and not tour_path)
        if web:
            _serve(instance, until, control, port)
        elif wants_run:
            _report_run(instance, until, asked)
        elif tour_path:
            _report_tour(instance, tour_path, Cover(cover), asked)
        else:
            _report_states(instance, asked)
    except TooLarge as large:
        click.echo(f"colofd: this instance is too large: {large}\nhint: fewer pages, channels or device states", err=True)
        sys.exit(2)


def _instance(control: str | None, part: str | None, given: Sequence[int | None]) -> Instance:
    changed = None if control is None else _control(control)
    shows = changed.shows if changed else None
    chosen = _slice(part or (shows.part if shows else SLICES[0].name))
    usual = shows.sizes if shows else USUAL
    sizes = Sizes(*(size if other is None else other for size, other in zip(astuple(usual), given, strict=True)))
    spec = changed.spec if changed else chosen.spec
    if spec.state is not chosen.spec.state:
        raise UnknownName(
            f"slice for the control {control!r}", chosen.name, [each.name for each in SLICES if each.spec.state is spec.state]
        )
    return Instance(spec, chosen, sizes)


def _control(name: str) -> Control:
    by_name = {each.name: each for each in (*WRONG, *HARMLESS)}
    if name not in by_name:
        raise UnknownName("control", name, list(by_name))
    return by_name[name]


def _slice(name: str) -> Slice:
    names = [each.name for each in SLICES]
    if name not in names:
        raise UnknownName("slice", name, names)
    return slice_of(name)


def _free_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")


def _check_memory(instance: Instance, *, symmetric: bool) -> None:
    free = _free_memory()
    needed = estimated_bytes(instance, symmetric=symmetric)
    if needed > max(free, SMALL):
        raise TooLarge(f"about {needed:,} bytes are needed, {free:,} are free")


def _explored(instance: Instance, *, symmetric: bool) -> Exploration:
    def show(depth: int, seen: int, waiting: int) -> None:
        if sys.stderr.isatty():
            click.echo(f"\r\x1b[Kdepth {depth}, {seen:,} states, {waiting:,} to expand", nl=False, err=True)

    try:
        return explore_all(instance, symmetric=symmetric, memory=_free_memory(), progress=show)
    finally:
        if sys.stderr.isatty():
            click.echo("\r\x1b[K", nl=False, err=True)


def _report_states(instance: Instance, asked: Asked) -> None:
    found = _explored(instance, symmetric=asked.is_symmetric)
    asked.say(states_json(found), lambda: states_text(instance, found), instance)
    sys.exit(1 if found.violations or found.stuck else 0)


@dataclass(frozen=True)
class _Wanted:
    goals: list[Goal]
    is_clause: bool


def _wanted(instance: Instance, name: str | None, control: str | None) -> _Wanted:
    if name is None:
        return _Wanted([] if control is None else goals_of(_control(control), instance), True)
    rules = [rule.id for rule in instance.spec.rules]
    if name in rules:
        return _Wanted(taken_rule(instance, name), False)
    if name in instance.clauses:
        return _Wanted(broken_clause(instance, name), True)
    raise UnknownName("rule or clause", name, [*rules, *instance.clauses])


def _report_run(instance: Instance, name: str | None, asked: Asked) -> None:
    wanted = _wanted(instance, name, asked.control)
    run = shortest_run(instance, wanted.goals) if wanted.goals else None
    none = f"no run {'breaks' if wanted.is_clause else 'takes'} {name or 'what it should'} in the slice {instance.part.name}"
    drawn = picture_of(instance, run) if run and asked.is_drawn else []
    said = run_json(name, run) | ({"picture": drawn} if asked.is_drawn else {})
    asked.say(said, lambda: none if run is None else "\n".join(drawn or run_text(instance, run)), instance)
    sys.exit(0 if (run is None) == wanted.is_clause else 1)


def _serve(instance: Instance, until: str | None, control: str | None, port: int) -> None:
    wanted = _wanted(instance, until, control).goals
    run = shortest_run(instance, wanted) if wanted else None
    first = run.states[0] if run else next(instance.initial_states())
    with serving(page(), port) as url:
        click.echo(f"{url}#{address(instance, first, run.steps if run else (), control)}")
        click.echo("Ctrl-C ends it", err=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            sys.exit(0)


def _report_tour(instance: Instance, path: Path, cover: Cover, asked: Asked) -> None:
    found = tour(graph(instance, memory=_free_memory()), cover)
    write_tour(path, instance, found, asked.control)
    asked.say(tour_json(found), lambda: tour_text(instance, found), instance)
