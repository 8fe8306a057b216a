"""The pages with drawings as Markdown (MyST): each is made from the rules, or from what was seen of them in a small instance."""

from collections.abc import Iterator
from typing import Final

from colofd.conformance import diagrams_channels, diagrams_memory, diagrams_sequence
from colofd.conformance.diagrams_channels import MULTIFD_NUMBER, Move, moves
from colofd.conformance.diagrams_sequence import SCENES, scene_run
from colofd.conformance.phase_machine import drawing, transitions
from colofd.conformance.site_pages import explorer_link, link, table, wide
from colofd.conformance.web_address import address
from colofd.model.finite_slices import MAIN_NUMBER, slice_of
from colofd.spec.protocol import SPEC

_SLICES: Final = {
    "main-channel": "With COLO, the mirror packet by packet",
    "deferred": "With COLO, the deferred mirror",
    "plain": "Without COLO",
}


def phases_page() -> str:
    """Return the page with the phases of the destination, drawn."""
    found = transitions(SPEC)
    rows = ([link(each.rule), ", ".join(phase.name for phase in each.before), each.after.name] for each in found)
    about = "Where the destination is, and the rules that lead from one phase to another: from the conditions and writes of the rules."
    frame = "The two rules below the dashed frame lead from each phase in it."
    return "\n".join([*wide("Phases"), about, frame, "", *_drawn(drawing(found)), *table(["rule", "from any of", "to"], rows)])


def channels_page() -> str:
    """Return the page with the steps of a thread, drawn."""
    about = (
        "Where the receive thread of a channel is, and the rules that lead from one place to another: as seen in every state of a small "
        "instance with COLO. Rules above a box leave the thread where it is; the one below the dashed frame leads from each place in it."
    )
    lines = [*wide("Steps of a channel"), about, ""]
    for title, channel in (("A multifd channel", MULTIFD_NUMBER), ("The main channel", MAIN_NUMBER)):
        found = moves(channel)
        lines += [f"## {title}", "", *_drawn(diagrams_channels.drawing(channel, found)), *table(["rule", "at", "then"], map(_move, found))]
    return "\n".join(lines)


def _move(move: Move) -> list[str]:
    return [link(move.rule), ", ".join(place.name for place in move.before), "stays" if move.after is None else move.after.name]


def memory_page() -> str:
    """Return the page that shows who changes which memory in which phase."""
    about = (
        "Who changes what a page holds, or what is known of it, in which phase: as seen in every state of small instances. A box is drawn "
        "where the memory exists, dashed where it may be released already; it is shaded where somebody changes it."
    )
    lines = [*wide("Memory over time"), about, "", "[Who writes what](who-writes-what.md) says it for all cells, without the phases.", ""]
    for name, title in _SLICES.items():
        lines += [f"## {title}", "", slice_of(name).doc, "", *_drawn(diagrams_memory.drawing(name, diagrams_memory.uses(name)))]
    return "\n".join(lines)


def sequences_page() -> str:
    """Return the page with a chart of a checkpoint and of each failover."""
    about = (
        "Runs of the model with both sides, one multifd channel and one page: each is the shortest one through the steps that its chart is "
        "about, from where both guests run. A dashed arrow is a message, from where it is sent to where it is read; numbers are contents."
    )
    lines = [*wide("A checkpoint and each failover"), about, ""]
    for scene in SCENES:
        instance, run, left_out = scene_run(scene)
        begin = address(instance, run.states[0], run.steps, None)
        step = explorer_link("Step through it", f"{begin}&at={left_out}")
        lines += [f"## {scene.title}", "", f"{scene.words} {step}.", "", *_drawn(diagrams_sequence.drawing(scene, instance, run, left_out))]
    return "\n".join(lines)


def _drawn(svg: str) -> Iterator[str]:
    # In a narrow window a drawing keeps a size in which it can be read, and is scrolled.
    yield from ("```{raw} html", '<div style="overflow-x: auto" tabindex="0">', svg, "</div>", "```", "")
