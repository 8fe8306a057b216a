"""`colofd explore`: every reachable state of a finite instance, or a shortest run."""

import json
import os
import sys
from dataclasses import dataclass
from typing import Any, Final

import click

from colofd.conformance.run_text import run_text
from colofd.conformance.unknown_names import UnknownName
from colofd.model.controls import HARMLESS, WRONG
from colofd.model.finite import Instance, Sizes
from colofd.model.finite_slices import SLICES, slice_of
from colofd.model.search import Exploration
from colofd.model.search import explore as explore_all
from colofd.model.search_estimate import estimated_bytes
from colofd.model.search_runs import Goal, broken_clause, shortest_run, taken_rule
from colofd.model.search_table import TooLarge
from colofd.spec.language import Spec
from colofd.spec.protocol import SPEC, spec_sha256

SMALL: Final = 1 << 28
"""Bytes of an exploration that need no estimate: whatever takes less fits everywhere."""


EXAMPLES: Final = """\b
Examples:
  colofd explore
  colofd explore --slice whole --channels 1 --pages 1
  colofd explore --until checkpoint.commit --channels 1 --pages 1
  colofd explore --control "mirror decided again" --until isolation.guest --channels 1 --pages 1
"""


@click.command(epilog=EXAMPLES)
@click.option("--slice", "part", default=SLICES[0].name, show_default=True, help=f"Which part: {', '.join(each.name for each in SLICES)}.")
@click.option("--channels", type=click.IntRange(0, 8), default=2, show_default=True, help="Number of multifd channels.")
@click.option("--pages", type=click.IntRange(1, 8), default=2, show_default=True, help="Number of pages.")
@click.option("--values", type=click.IntRange(2, 8), default=2, show_default=True, help="Number of page contents, zeros among them.")
@click.option("--until", metavar="CLAUSE|RULE", help="Print a shortest run that breaks this clause, or that takes this rule.")
@click.option("--control", metavar="NAME", help="Explore the specification with this known mistake in it, see `colofd prove --controls`.")
@click.option("--symmetry/--no-symmetry", default=True, show_default=True, help="Visit one of the states that differ in order only.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def explore(
    part: str, channels: int, pages: int, values: int, until: str | None, control: str | None, symmetry: bool, as_json: bool
) -> None:
    """Visit every reachable state of a small instance of the receive path, and check every clause in each.

    States that differ only in the order of pages or channels are visited once and counted as often as they are; a run is searched
    without that.

    Exit codes: 0 all clauses hold everywhere (or the rule was reached), 1 one does not (or it was not), 2 it could not be explored.
    """
    instance = _instance(_spec(control), part, Sizes(channels, pages, values))
    try:
        _check_memory(instance, symmetric=symmetry and until is None)
        if until is None:
            _report_states(instance, _explored(instance, symmetric=symmetry), as_json=as_json)
        else:
            _report_run(instance, until, as_json=as_json)
    except TooLarge as large:
        click.echo(f"colofd: this instance is too large: {large}\nhint: fewer pages or channels", err=True)
        sys.exit(2)


def _spec(control: str | None) -> Spec:
    if control is None:
        return SPEC
    by_name = {each.name: each for each in (*WRONG, *HARMLESS)}
    if control not in by_name:
        raise UnknownName("control", control, list(by_name))
    return by_name[control].spec


def _instance(spec: Spec, part: str, sizes: Sizes) -> Instance:
    names = [each.name for each in SLICES]
    if part not in names:
        raise UnknownName("slice", part, names)
    return Instance(spec, slice_of(part), sizes)


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


def _report_states(instance: Instance, found: Exploration, *, as_json: bool) -> None:
    click.echo(json.dumps(_states_json(instance, found), indent=2) if as_json else _states_text(instance, found))
    sys.exit(1 if found.violations or found.stuck else 0)


def _states_json(instance: Instance, found: Exploration) -> dict[str, Any]:
    return {
        **_what(instance),
        "states": found.states,
        "visited": found.representatives,
        "edges": found.edges,
        "depth": found.depth,
        "violations": found.violations,
        "rules_taken": found.taken,
        "ends": found.ends,
        "stuck": found.stuck,
        "seconds": round(found.seconds, 3),
        "states_per_second": found.states_per_second,
    }


def _what(instance: Instance) -> dict[str, Any]:
    sizes = instance.sizes
    return {
        "spec_sha256": spec_sha256() if instance.spec is SPEC else None,
        "slice": instance.part.name,
        "channels": sizes.channels,
        "pages": sizes.pages,
        "values": sizes.values,
    }


def _states_text(instance: Instance, found: Exploration) -> str:
    ends = ", ".join(f"{count:,} in {phase}" for phase, count in sorted(found.ends.items()))
    lines = [
        f"slice {instance.part.name}: {instance.part.doc}",
        _sizes_text(instance.sizes),
        f"{found.states:,} states ({found.representatives:,} visited), {found.edges:,} edges, depth {found.depth}",
        f"{len(found.taken)} of {len(instance.spec.rules)} rules are taken, {len(instance.clauses)} clauses checked in each state",
        f"ends: {ends or 'none'}; stuck: {found.stuck}",
        f"{found.seconds:.1f} s, {found.states_per_second:,} visited a second",
    ]
    broken = [f"BROKEN: {identifier}, first at depth {depth}" for identifier, depth in found.violations.items()]
    return "\n".join([*lines, *(broken or ["all clauses hold in every state"])])


def _sizes_text(sizes: Sizes) -> str:
    return f"{sizes.channels} multifd channels, {sizes.pages} pages, {sizes.values} values"


@dataclass(frozen=True)
class _Wanted:
    goals: list[Goal]
    is_clause: bool


def _wanted(instance: Instance, name: str) -> _Wanted:
    rules = [rule.id for rule in instance.spec.rules]
    if name in rules:
        return _Wanted(taken_rule(instance, name), False)
    if name in instance.clauses:
        return _Wanted(broken_clause(instance, name), True)
    raise UnknownName("rule or clause", name, [*rules, *instance.clauses])


def _report_run(instance: Instance, name: str, *, as_json: bool) -> None:
    wanted = _wanted(instance, name)
    run = shortest_run(instance, wanted.goals)
    if as_json:
        steps = None if run is None else list(run.names)
        length = None if run is None else len(run)
        click.echo(json.dumps({**_what(instance), "until": name, "length": length, "run": steps}, indent=2))
    elif run is None:
        click.echo(f"no run {'breaks' if wanted.is_clause else 'takes'} {name} in the slice {instance.part.name}")
    else:
        click.echo("\n".join(run_text(instance, run)))
    sys.exit(0 if (run is None) == wanted.is_clause else 1)
