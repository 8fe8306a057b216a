"""All vectors, family after family, and which of them are needed."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import msgspec

from colofd.conformance.vector_captures import capture_vectors
from colofd.conformance.vector_coverage import covered_by, needed
from colofd.conformance.vector_edits import field_vectors
from colofd.conformance.vector_format import Vector
from colofd.conformance.vector_pages import page_vectors
from colofd.conformance.vector_payloads import payload_vectors
from colofd.conformance.vector_rounds import round_vectors
from colofd.conformance.vector_runs import run_vectors
from colofd.conformance.vector_schedules import schedule_vectors
from colofd.conformance.vector_script import require_model
from colofd.conformance.vector_setups import setup_vectors
from colofd.conformance.vector_wire import wire_vectors


@dataclass(frozen=True)
class Needed:
    """The vectors that are needed, what each is the only one to cover, by its id, and how many others were dropped."""

    vectors: list[Vector]
    covers: dict[str, list[str]]
    dropped: int


def needed_vectors(progress: Callable[[str], None] = lambda _what: None) -> Needed:
    """Return the vectors that are needed, family after family; the model has read each. ValueError if it comes to other RAM.

    What says the same as an earlier one, in the same set-up, is that one: it covers what both cover.
    """
    vectors: dict[str, Vector] = {}
    covers: dict[str, list[str]] = {}
    first: dict[tuple[str, str, str], str] = {}
    same: dict[str, str] = {}
    for vector, its in _all_vectors():
        progress(vector.id)
        if vector.id in vectors or vector.id in same:
            raise ValueError(f"two vectors have the id {vector.id}")
        known = first.setdefault((repr(vector.setup), repr(vector.script) or vector.id, repr(vector.files)), vector.id)
        if known != vector.id:
            same[vector.id] = known
            covers[known] += its
            continue
        vectors[vector.id] = msgspec.structs.replace(vector, twin=same.get(vector.twin, vector.twin))
        covers[vector.id] = its
    kept = needed(covers, {vector.id: vector.twin for vector in vectors.values()})
    found = Needed([vector for vector in vectors.values() if vector.id in kept], kept, len(vectors) + len(same) - len(kept))
    for vector in found.vectors:
        progress(f"the model reads {vector.id}")
        require_model(vector)
    return found


def _all_vectors() -> Iterator[tuple[Vector, list[str]]]:
    yield from wire_vectors()
    yield from field_vectors()
    yield from page_vectors()
    yield from round_vectors()
    yield from setup_vectors()
    yield from payload_vectors()
    yield from run_vectors()
    for vector in schedule_vectors():
        yield vector, covered_by(vector)
    for vector in capture_vectors():
        yield vector, [f"recording: {vector.id}"]
