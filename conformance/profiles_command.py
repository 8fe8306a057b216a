"""`colofd profiles`: what versions of QEMU do otherwise than the specification says, and what is lost by it."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from colofd.conformance.unknown_names import UnknownName
from colofd.model.controls import control
from colofd.model.controls_runs import run_of
from colofd.spec.profiles import PROFILES, Deviation, Evidence, deviations_of


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def profiles() -> None:
    """Show what versions of QEMU do otherwise than the specification says: each deviation with its source, and how it is known.

    Exit codes: 0 it was shown (diff: there is no difference), 1 there is a difference, 2 there is no such profile.

    Example: colofd profiles diff strict qemu-11.1
    """


_as_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")


@profiles.command("list")
@_as_json
def list_profiles(as_json: bool) -> None:
    """List the profiles.

    Example: colofd profiles list
    """
    if as_json:
        found = [{"name": name, "doc": doc, "deviations": [each.id for each in deviations_of(name)]} for name, doc in PROFILES.items()]
        click.echo(json.dumps(found, indent=2))
        return
    width = max(map(len, PROFILES))
    click.echo("\n".join(f"{name:{width}}  {_count(name)}  {doc}" for name, doc in PROFILES.items()))


def _count(name: str) -> str:
    found = deviations_of(name)
    unknown = sum(each.evidence[name] is Evidence.NOT_CHECKED for each in found)
    return f"{sum(each.is_known_of(name) for each in found):2} known, {unknown:2} not checked"


@profiles.command()
@click.argument("name")
@_as_json
def show(name: str, as_json: bool) -> None:
    """Show the deviations of one profile, what each of them loses, and the shortest run that shows it.

    Example: colofd profiles show qemu-11.1
    """
    found = _known(name)
    if as_json:
        described = [deviation_json(each, name) for each in found]
        click.echo(json.dumps({"name": name, "doc": PROFILES[name], "deviations": described}, indent=2))
    else:
        click.echo("\n".join([f"{name}: {PROFILES[name]}", *(line for each in found for line in _text(each, name))]))


@profiles.command()
@click.argument("one")
@click.argument("other")
@_as_json
def diff(one: str, other: str, as_json: bool) -> None:
    """Show what one profile does and another does not.

    Example: colofd profiles diff qemu-10.0 qemu-11.1
    """
    changes = differences(one, other)
    if as_json:
        click.echo(json.dumps({"one": one, "other": other, "differences": changes}, indent=2))
    else:
        width = max((len(identifier) for identifier in changes), default=0)
        lines = [f"{identifier:{width}}  {one}: {found[one]}; {other}: {found[other]}" for identifier, found in changes.items()]
        click.echo("\n".join(lines or [f"{one} and {other} do not differ"]))
    sys.exit(1 if changes else 0)


def differences(one: str, other: str) -> dict[str, dict[str, str]]:
    """Return how each deviation that only one of two profiles has, or of which less is known for one, is known for both."""
    known = {profile: {each.id: each.evidence[profile].value for each in _known(profile)} for profile in (one, other)}
    identifiers = dict.fromkeys([*known[one], *known[other]])
    said = {each: {profile: known[profile].get(each, "no") for profile in (one, other)} for each in identifiers}
    return {identifier: found for identifier, found in said.items() if found[one] != found[other]}


def _known(name: str) -> tuple[Deviation, ...]:
    if name not in PROFILES:
        raise UnknownName("profile", name, list(PROFILES))
    return deviations_of(name)


def deviation_json(deviation: Deviation, profile: str) -> dict[str, Any]:
    """Return what there is to say about a deviation of a profile, as JSON-able data."""
    run = shortest_run(deviation)
    return {
        "id": deviation.id,
        "instead": deviation.instead,
        "source": deviation.source,
        "evidence": deviation.evidence[profile].value,
        "loses": list(deviation.loses),
        "control": deviation.change or None,
        "unchecked": list(deviation.unchecked),
        "run_length": None if run is None else len(run),
        "run": run,
    }


def shortest_run(deviation: Deviation) -> list[str] | None:
    """Return the steps of the shortest run that shows what a deviation does, if it changes a text of the specification."""
    run = run_of(control(deviation.change)) if deviation.change else None
    return None if run is None else list(run.names)


def _text(deviation: Deviation, profile: str) -> Iterator[str]:
    yield f"\n{deviation.id} ({deviation.evidence[profile]})"
    yield f"  {deviation.instead}"
    yield f"  source: {deviation.source}"
    if deviation.unchecked:
        yield f"  not checked: {', '.join(deviation.unchecked)}"
    elif deviation.loses:
        yield f"  loses: {', '.join(deviation.loses)}"
    run = shortest_run(deviation)
    if run is not None:
        yield f"  shortest run: {len(run)} steps to {run[-1]} (colofd explore --control {json.dumps(deviation.change)})"


def profile_table() -> list[Sequence[str]]:
    """Return a row for each deviation: its id, what is lost, and for each profile how it is known."""
    found: Mapping[str, Deviation] = {each.id: each for profile in PROFILES for each in deviations_of(profile)}
    return [
        (each.id, ", ".join(each.loses) or "-", *(each.evidence[profile].value if profile in each.evidence else "" for profile in PROFILES))
        for each in found.values()
    ]
