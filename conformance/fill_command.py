"""The command `colofd fill`."""

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import click

from colofd.conformance.captures import find
from colofd.conformance.check_captures import check_capture
from colofd.conformance.vector_captures import FAMILY as CAPTURE
from colofd.conformance.vector_captures import capture_vectors
from colofd.conformance.vector_coverage import covered_by, needed
from colofd.conformance.vector_format import Vector, write_vectors
from colofd.conformance.vector_play import BuiltInForVectors, VectorFailed, play
from colofd.conformance.vector_schedules import schedule_vectors
from colofd.conformance.vector_wire import wire_vectors
from colofd.spec.protocol import spec_sha256


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
def fill(folder: Path) -> None:
    """Write vectors: what to say to a receiver, and what must come of it, as lines of JSON.

    DIR gets one file for each family and index.json, which says what each vector is the only one to cover; docs/vectors.schema.json is the
    schema. The model says what is expected of each, and the built-in receiver takes each before it is written. Takes about a minute.

    Exit codes: 0 written; 1 model and built-in receiver disagree about a vector, and nothing was written; 2 it could not be written.

    Example: colofd fill vectors
    """
    vectors, covers = made(_show_progress)
    kept = needed(covers)
    wanted = [vector for vector in vectors if vector.id in kept]
    failed = [why for number, vector in enumerate(wanted) if (why := _failed(vector, number, len(wanted)))]
    _show_progress("")
    if failed:
        click.echo("\n".join(failed))
        sys.exit(1)
    write_vectors(folder, wanted, kept, spec_sha256())
    families = Counter(vector.family for vector in wanted)
    size = sum(path.stat().st_size for path in folder.iterdir())
    click.echo(
        f"{len(wanted)} vectors in {folder}, {size / 1e6:.1f} MB: " + ", ".join(f"{count} {name}" for name, count in families.items())
    )
    click.echo(f"each is the only one to cover something; {len(vectors) - len(wanted)} others were dropped, as they were not")


def made(progress: Callable[[str], None]) -> tuple[list[Vector], dict[str, list[str]]]:
    """Return all vectors, family after family, and what each covers, by its id."""
    vectors, covers = [], {}
    progress("the wire")
    for vector, its in wire_vectors():
        vectors.append(vector)
        covers[vector.id] = its
    for vector in schedule_vectors():
        progress(vector.id)
        vectors.append(vector)
        covers[vector.id] = covered_by(vector)
    for vector in capture_vectors():
        progress(vector.id)
        vectors.append(vector)
        covers[vector.id] = [f"recording {vector.id}"]
    return vectors, covers


def _failed(vector: Vector, number: int, count: int) -> str:
    """Play a vector on the built-in receiver; return what is wrong, empty if nothing is."""
    _show_progress(f"{number + 1} of {count}: {vector.id}")
    if vector.family == CAPTURE:
        played = check_capture(find(vector.id.removeprefix(f"{CAPTURE}.")))
        return played.why
    try:
        play(vector, BuiltInForVectors)
    except VectorFailed as failed:
        return str(failed)
    return ""


def _show_progress(what: str) -> None:
    """Show what is going on in one line, where somebody watches."""
    if sys.stderr.isatty():
        click.echo(f"\r\x1b[K{what}", nl=False, err=True)
