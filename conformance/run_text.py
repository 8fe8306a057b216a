"""A run of a finite instance as lines: where it begins, and what each step changes."""

from colofd.model.finite import Instance, State
from colofd.model.search_runs import Run


def run_text(instance: Instance, run: Run) -> list[str]:
    """Return a line with where the run begins, and one for each step."""
    width = max((len(name) for name in run.names), default=0)
    lines = [f"begins with {', '.join(_holding(instance, run.states[0]))}"]
    for number, (name, before, after) in enumerate(zip(run.names, run.states, run.states[1:], strict=False), 1):
        lines.append(f"{number:3}  {name:{width}}  {changes(instance, before, after)}")
    return lines


def _holding(instance: Instance, state: State) -> list[str]:
    """Return the choices of a run, and what the pages hold."""
    chosen = {"colo", "deferred", "guest", "cache", "primary", "primary_device", "is_loadable"}
    described = instance.described(state)
    return [f"{place.name} = {described[place.name]}" for place in instance.places if place.cell in chosen]


def changes(instance: Instance, before: State, after: State) -> str:
    """Return what a step has written, by the names of the spec."""
    old, new = instance.described(before), instance.described(after)
    return ", ".join(f"{name} := {new[name]}" for name in new if new[name] != old[name]) or "changes nothing"
