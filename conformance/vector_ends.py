"""Vectors in which a channel ends before a field of what it says, or in the middle of a payload."""

from collections.abc import Iterator
from typing import Final

from colofd.conformance.vector_format import End, Send, Vector, Verdict, bytes_of, pieces_of, slug
from colofd.conformance.vector_places import PRECOPY, Place
from colofd.conformance.vector_script import ended_after
from colofd.spec.constants import HELLO_SIZE, Step

FAMILY: Final = "fault"


def end_vectors(base: Vector, place: Place) -> Iterator[tuple[Vector, list[str]]]:
    """Yield what differs from a valid vector by a channel that ends at a place, with what each covers."""
    # Before the hello is there, nobody knows which channel ends.
    if place.visit.offset < (HELLO_SIZE if place.kind == "multifd" else 1):
        return
    yield _ended(base, place, "before", place.visit.offset)
    if place.visit.field.payload:
        yield _ended(base, place, "within", place.visit.offset + place.visit.size // 2)


def _ended(base: Vector, place: Place, where: str, offset: int) -> tuple[Vector, list[str]]:
    before = base.script[: place.act]
    said = _said(base, place, offset)
    script = [*before, *([Send(place.channel, pieces_of(said))] if said else []), End(place.channel), *ended_after(before)]
    rule = str(Step.GIVE_UP if place.stage == PRECOPY else Step.TAKE_OVER)
    name = f"{base.id.rpartition('/')[2]} {place.channel} ends {where} {place.field} in {place.stage}, {base.setup.compression}"
    differs = f"{place.channel} ends at byte {offset}"
    vector = Vector(slug(rule, name), FAMILY, [rule], base.setup, Verdict(is_accepted=False), script, base.id, differs)
    return vector, [f"channel ends: {where} {place}"]


def _said(base: Vector, place: Place, offset: int) -> bytes:
    """Return what the act at a place says up to an offset of its channel."""
    act = base.script[place.act]
    return bytes_of(act.data)[: offset - place.start] if isinstance(act, Send) else b""
