"""The families of vectors: the built-in receiver takes them, each differs from its twin by one fact, and a wrong receiver fails."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import chain, islice
from typing import Final

import msgspec
import numpy as np
import pytest

from colofd.conformance.rulings import Outcome
from colofd.conformance.vector_edits import field_vectors
from colofd.conformance.vector_families import Needed
from colofd.conformance.vector_format import GuestWrites, Send, Setup, Vector, bytes_of
from colofd.conformance.vector_pages import page_vectors
from colofd.conformance.vector_payloads import payload_vectors
from colofd.conformance.vector_places import sent_on
from colofd.conformance.vector_play import CannotHave, play
from colofd.conformance.vector_receivers import BuiltInForVectors
from colofd.conformance.vector_rounds import round_vectors
from colofd.conformance.vector_runs import run_vectors
from colofd.conformance.vector_setups import setup_vectors
from colofd.conformance.vector_tables import WITHOUT, coverage_page, format_page, unexplained
from colofd.spec.reasons import Reason

Covered = tuple[Vector, list[str]]

FAMILIES: Final[dict[str, tuple[Callable[[], Iterator[Covered]], int, int]]] = {
    "field": (field_vectors, 572, 11),
    "page": (page_vectors, 60, 5),
    "payload": (payload_vectors, 49, 1),
    "round": (round_vectors, 48, 1),
    "run": (run_vectors, 40, 4),
    "set-up": (setup_vectors, 24, 3),
}
"""What makes each family, how many of its vectors are made here, and which share of them is played."""

LONGEST_FIELD: Final = 256


@pytest.fixture(scope="module")
def made() -> dict[str, list[Covered]]:
    """Return the first vectors of each family, with what they cover."""
    return {name: list(islice(make(), number)) for name, (make, number, _) in FAMILIES.items()}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_built_in_receiver_does_as_the_vectors_say(family: str, made: dict[str, list[Covered]]) -> None:
    """Given a family, When a share of its vectors is played from JSON, Then each holds, and all ids differ."""
    _, number, share = FAMILIES[family]
    vectors = [vector for vector, _ in made[family]]
    assert len({vector.id for vector in vectors}) == len(vectors) == number
    played = [msgspec.json.decode(msgspec.json.encode(vector), type=Vector) for vector in vectors[::share]]
    rulings = {vector.id: play(vector, BuiltInForVectors) for vector in played}
    assert {name: ruling.why for name, ruling in rulings.items() if ruling.outcome is not Outcome.HOLDS} == {}


def test_a_twin_differs_by_one_fact(made: dict[str, list[Covered]]) -> None:
    """Given vectors of fields and of channels that end, Then what is sent differs from the twin in one field, or ends earlier."""
    vectors = {vector.id: vector for vector, _ in made["field"]}
    for vector in (vector for vector in vectors.values() if vector.twin):
        channel = vector.differs.split()[0].rstrip(",")
        said, twin = sent_on(vector.script, channel), sent_on(vectors[vector.twin].script, channel)
        others = [at for at in range(len(said)) if said[at] != twin[at]]
        assert len(said) <= len(twin), vector.id
        assert not others or others[-1] - others[0] < LONGEST_FIELD, vector.id
        assert vector.family == "fault" or f"byte {others[0]}: " in vector.differs, vector.id
        assert vectors[vector.twin].verdict.is_accepted


def test_every_negative_vector_names_its_twin(made: dict[str, list[Covered]]) -> None:
    """Given all families, Then what is refused has a twin, of which it is said how it differs; those of this family are accepted."""
    vectors = {vector.id: vector for vector, _ in chain.from_iterable(made.values())}
    refused = [vector for vector in vectors.values() if not vector.verdict.is_accepted]
    assert len(refused) > 400
    assert [vector.id for vector in refused if not (vector.twin and vector.differs) and vector.family != "run"] == []
    assert [vector.id for vector in refused if vector.twin in vectors and not vectors[vector.twin].verdict.is_accepted] == []


class DeafToItsGuest(BuiltInForVectors):
    """A receiver that does not see what its guest writes: its dirty log is not read."""

    def write_guest(self, page: int, content: bytes) -> None:
        """Write a page, and say nothing of it."""
        self._destination.guest("ram")[page * 4096 : (page + 1) * 4096] = np.frombuffer(content, np.uint8)


class WithoutGuest(BuiltInForVectors):
    """A receiver that has no guest which can write."""

    def write_guest(self, page: int, content: bytes) -> None:
        """Cannot."""
        raise CannotHave(f"no guest writes page {page}, {len(content)} bytes")


def test_a_receiver_that_keeps_its_guests_writes_fails(made: dict[str, list[Covered]]) -> None:
    """Control: given a commit over a page that the guest has written, When the dirty log is not read, Then RAM differs, by rule."""
    vectors = [vector for vector, _ in made["page"] if "nothing-by-" in vector.id and GuestWrites in map(type, vector.script)]
    rulings = [play(vector, DeafToItsGuest) for vector in vectors]
    assert {(ruling.outcome, ruling.why.partition(":")[0]) for ruling in rulings} == {(Outcome.VIOLATED, "checkpoint.commit")}
    assert play(vectors[0], WithoutGuest).outcome is Outcome.NOT_OBSERVABLE


def test_a_receiver_of_another_set_up_fails(made: dict[str, list[Covered]]) -> None:
    """Control: given rounds that are left open, When the receiver has no multifd channels, Then that is not what the vector says."""
    ended = next(vector for vector, _ in made["round"] if "left" not in vector.id)

    def without_multifd(setup: Setup) -> BuiltInForVectors:
        return BuiltInForVectors(msgspec.structs.replace(setup, channels=0))

    assert play(ended, without_multifd).outcome is Outcome.VIOLATED


def test_what_no_vector_is_about_is_told(made: dict[str, list[Covered]]) -> None:
    """Given a part of the vectors, Then what it lacks is told; an excuse for what is covered all the same is told, too."""
    part = Needed([vector for vector, _ in made["payload"]], {vector.id: covers for vector, covers in made["payload"]}, 0)
    lacking = unexplained(part)
    assert "wire.main.magic" in lacking
    assert "mirror decided again" in lacking
    assert not set(WITHOUT) & set(lacking)
    verdict = msgspec.structs.replace(part.vectors[0].verdict, is_accepted=False, reason=Reason.DEADLINE.value)
    excused = Needed([msgspec.structs.replace(part.vectors[0], verdict=verdict)], {}, 0)
    assert Reason.DEADLINE in unexplained(excused)


def test_the_pages_say_what_there_is(made: dict[str, list[Covered]]) -> None:
    """Given vectors, Then the page of the format has each record and each act, and that of what is covered counts them."""
    vectors = [vector for vector, _ in made["round"]]
    text = format_page(vectors[0])
    assert [name for name in ("## Vector", "## Send", "## GuestWrites", "## Index", "`format_version`") if name not in text] == []
    covered = coverage_page(Needed(vectors, {vector.id: covers for vector, covers in made["round"]}, 7))
    assert "There are 48 vectors." in covered
    assert "7 others were dropped" in covered
    assert "| round | 48 | 42 |" in covered


_SUM: Final = """
import hashlib, msgspec
from tests.conformance.test_vectors import FAMILIES
from itertools import islice
sum = hashlib.sha256()
for make, number, _ in FAMILIES.values():
    for vector, covers in islice(make(), min(number, 16)):
        sum.update(msgspec.json.encode([vector, covers]))
print(sum.hexdigest())
"""


def test_vectors_are_the_same_under_another_hash_seed() -> None:
    """Given two hash seeds, When vectors of each family are made, Then they are the same, byte by byte."""
    command = [sys.executable, "-c", _SUM]
    sums = []
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        made = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=120)  # noqa: S603  # our own program
        sums.append(made.stdout)
    assert sums[0] == sums[1]
    assert len(sums[0].strip()) == hashlib.sha256().digest_size * 2


def test_what_is_sent_is_read_back(made: dict[str, list[Covered]]) -> None:
    """Given vectors of each family, Then no act sends nothing: a reader need not ask what that means."""
    acts = [act for vector, _ in chain.from_iterable(made.values()) for act in vector.script]
    assert [act for act in acts if isinstance(act, Send) and not bytes_of(act.data)] == []
