"""The command `colofd fill`."""

import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click

from colofd.conformance.check_vectors import AT_ONCE
from colofd.conformance.rulings import Outcome
from colofd.conformance.vector_captures import FAMILY as CAPTURE
from colofd.conformance.vector_captures import why_not_as_recorded
from colofd.conformance.vector_families import needed_vectors
from colofd.conformance.vector_format import Vector, write_vectors
from colofd.conformance.vector_play import play
from colofd.conformance.vector_receivers import BuiltInForVectors
from colofd.conformance.vector_tables import pages_about, unexplained
from colofd.spec.protocol import spec_sha256


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
def fill(folder: Path) -> None:
    """Write vectors: what to say to a receiver, and what must come of it, as lines of JSON.

    DIR gets a file for each family; index.json, which says what each vector is the only one to cover; schema.json; and two pages, format.md
    and coverage.md. The model says what is expected of each, and the built-in receiver takes each before it is written, in about a minute.

    Exit codes: 0 written; 1 model and built-in receiver disagree about a vector, or no vector is about something that one should be about,
    and nothing was written; 2 it could not be written.

    Example: colofd fill vectors
    """
    found = needed_vectors(_show_progress)
    failed = [f"no vector is about {name}, or one is all the same" for name in unexplained(found)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        failed += filter(None, pool.map(_failed, found.vectors))
    _show_progress("")
    if failed:
        click.echo("\n".join(failed))
        sys.exit(1)
    write_vectors(folder, found.vectors, found.covers, spec_sha256())
    for name, text in pages_about(found).items():
        (folder / name).write_text(text, encoding="utf-8")
    families = Counter(vector.family for vector in found.vectors)
    size = sum(path.stat().st_size for path in folder.iterdir())
    click.echo(
        f"{len(found.vectors)} vectors in {folder}, {size / 1e6:.1f} MB: "
        + ", ".join(f"{count} {name}" for name, count in families.items())
    )
    click.echo(f"each is the only one to cover something; {found.dropped} others were dropped, as they were not")


def _failed(vector: Vector) -> str:
    """Play a vector on the built-in receiver; return what is wrong, empty if nothing is."""
    _show_progress(vector.id)
    if vector.family == CAPTURE:
        return why_not_as_recorded(vector)
    ruling = play(vector, BuiltInForVectors)
    return "" if ruling.outcome is Outcome.HOLDS else f"{vector.id}: {ruling.why}"


def _show_progress(what: str) -> None:
    """Show what is going on in one line, where somebody watches."""
    if sys.stderr.isatty():
        click.echo(f"\r\x1b[K{what}", nl=False, err=True)
