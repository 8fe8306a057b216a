"""What `colofd explore` says: counts, a shortest run, or the size of a tour; as text and as JSON."""

from typing import Any

from colofd.model.finite import Instance
from colofd.model.search import Exploration
from colofd.model.search_runs import Run
from colofd.model.search_tours import Tour
from colofd.spec.protocol import spec_sha256


def what_json(instance: Instance, control: str | None) -> dict[str, Any]:
    """Return what was explored; `devices` only where there are device states. A control has no hash of the spec."""
    sizes = instance.sizes
    return {
        "spec_sha256": spec_sha256() if control is None else None,
        "control": control,
        "slice": instance.part.name,
        "channels": sizes.channels,
        "pages": sizes.pages,
        "values": sizes.values,
        **({"devices": sizes.devices} if instance.has_devices else {}),
    }


def states_json(found: Exploration) -> dict[str, Any]:
    """Return the counts of an exploration."""
    return {
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


def states_text(instance: Instance, found: Exploration) -> str:
    """Return the counts of an exploration in words."""
    ends = ", ".join(f"{count:,} in {phase}" for phase, count in sorted(found.ends.items()))
    lines = [
        *_about(instance),
        f"{found.states:,} states ({found.representatives:,} visited), {found.edges:,} edges, depth {found.depth}",
        f"{len(found.taken)} of {len(instance.spec.rules)} rules are taken, {len(instance.clauses)} clauses checked in each state",
        f"ends: {ends or 'none'}; stuck: {found.stuck}",
        f"{found.seconds:.1f} s, {found.states_per_second:,} visited a second",
    ]
    broken = [f"BROKEN: {identifier}, first at depth {depth}" for identifier, depth in found.violations.items()]
    return "\n".join([*lines, *(broken or ["all clauses hold in every state"])])


def _about(instance: Instance) -> list[str]:
    sizes = instance.sizes
    devices = f", {sizes.devices} device states" if instance.has_devices else ""
    return [
        f"slice {instance.part.name}: {instance.part.doc}",
        f"{sizes.channels} multifd channels, {sizes.pages} pages, {sizes.values} values{devices}",
    ]


def run_json(name: str | None, run: Run | None) -> dict[str, Any]:
    """Return a shortest run to a rule or a broken clause; without a name, to what a control breaks."""
    if run is None:
        return {"until": name, "length": None, "run": None}
    return {"until": name, "length": len(run), "run": list(run.names)}


def tour_json(tour: Tour) -> dict[str, Any]:
    """Return the size of a tour."""
    return {
        "cover": tour.cover.value,
        "covered": tour.covered,
        "steps": tour.steps,
        "longest": max((len(run.steps) for run in tour.runs), default=0),
        "runs": len(tour.runs),
    }


def tour_text(instance: Instance, tour: Tour) -> str:
    """Return the size of a tour in words."""
    said = tour_json(tour)
    what = f"{said['covered']:,} {said['cover']} in {said['runs']:,} runs with {said['steps']:,} steps, {said['longest']} in the longest"
    return "\n".join([*_about(instance), what])
