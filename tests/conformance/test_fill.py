"""`colofd fill`: vectors are replayed, stable and complete; a wrong receiver fails them, and a damaged folder has its message."""

import itertools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
import pytest

from colofd.conformance import command, fill_command
from colofd.conformance.diagnostic import Diagnostic
from colofd.conformance.peer import page_content
from colofd.conformance.rulings import Outcome
from colofd.conformance.schedules import closed_between_checkpoints, cut_in_checkpoint, failover_when_received
from colofd.conformance.subjects import Options
from colofd.conformance.vector_coverage import covered_by, needed
from colofd.conformance.vector_families import Needed
from colofd.conformance.vector_format import (
    FORMAT_VERSION,
    INDEX,
    Hex,
    Noise,
    Ram,
    Run,
    Vector,
    bytes_of,
    pieces_of,
    read_vectors,
    schema,
    write_vectors,
)
from colofd.conformance.vector_play import play
from colofd.conformance.vector_receivers import BuiltInForVectors
from colofd.conformance.vector_script import ram_act, require_model, written
from colofd.conformance.vector_wire import wire_vectors
from colofd.spec.wire import CHECKS

NOT_READ: Final = ("wire.return-path.", "wire.configuration.capability", "wire.capabilities")
"""Checks of what the built-in receiver does not read, or of a capability that it has not."""


@pytest.fixture(scope="module")
def schedules() -> list[Vector]:
    """Return vectors of three directed schedules."""
    run: list[Callable[..., None]] = [closed_between_checkpoints, failover_when_received, cut_in_checkpoint]
    made = [written("schedule", f"checkpoint.commit/{each.__name__}", Options(), each) for each in run]
    return [vector for vector in made if vector is not None]


@pytest.fixture(scope="module")
def wire() -> list[tuple[Vector, list[str]]]:
    """Return all vectors of the wire, with what they cover."""
    return list(wire_vectors())


@pytest.fixture
def folder(schedules: list[Vector], tmp_path: Path) -> Path:
    """Return a folder with a few vectors."""
    write_vectors(tmp_path, schedules, {vector.id: covered_by(vector) for vector in schedules}, "00" * 32)
    return tmp_path


def test_every_vector_of_the_wire_is_as_the_built_in_receiver_does(wire: list[tuple[Vector, list[str]]]) -> None:
    """Given the vectors of the wire, when a share of them is played from JSON, then verdict and RAM are as they say."""
    assert len(wire) > 900
    for vector, _ in itertools.islice(wire, 0, None, 7):
        ruling = play(msgspec.json.decode(msgspec.json.encode(vector), type=Vector), BuiltInForVectors)
        assert ruling.outcome is Outcome.HOLDS, f"{vector.id}: {ruling.why}"


def test_each_check_has_a_negative_vector_and_its_twin(wire: list[tuple[Vector, list[str]]]) -> None:
    """Given the vectors of the wire that are needed, then each check is violated in one, and has a twin that is accepted."""
    vectors = {vector.id: vector for vector, _ in wire}
    kept = needed({vector.id: its for vector, its in wire}, {vector.id: vector.twin for vector, _ in wire})
    violated = {vectors[name].rules[0]: vectors[name] for name in kept if not vectors[name].verdict.is_accepted}
    assert {check for check in CHECKS if not check.startswith(NOT_READ)} - set(violated) == set()
    assert all(vectors[each.twin].verdict.is_accepted and each.twin in kept for each in violated.values() if each.twin)


def test_a_schedule_is_replayed(schedules: list[Vector]) -> None:
    """Given vectors of schedules, when they are played, then RAM and replies are as they say."""
    assert len(schedules) == 3
    assert [play(vector, BuiltInForVectors).outcome for vector in schedules] == [Outcome.HOLDS] * 3


class Leaky(BuiltInForVectors):
    """A receiver of which one byte of RAM is wrong in COLO."""

    def guest(self) -> bytes:
        """Return RAM with the first byte changed."""
        ram = super().guest()
        return bytes([ram[0] ^ 1]) + ram[1:] if self.is_in_colo() else ram


def test_a_wrong_receiver_fails(schedules: list[Vector], wire: list[tuple[Vector, list[str]]]) -> None:
    """Control: given a receiver with a wrong byte, and one that knows no machine type, when vectors are played, then they fail by rule."""
    leaky = play(schedules[0], Leaky)
    assert leaky.outcome is Outcome.VIOLATED
    assert leaky.why == "phase.enter-colo: 1 pages of guest RAM are not as they should be"
    assert "page 0 of ram: byte 0 is d8, not d9" in str(leaky.evidence["differs"])
    machine = next(vector for vector, _ in wire if vector.id == "wire.configuration.machine/precopy-bare")
    lax = play(machine, lambda setup: BuiltInForVectors(msgspec.structs.replace(setup, machine="isapc")))
    assert lax.why == "wire.configuration.machine: it does not come to refused within 10.0 s"


@pytest.mark.parametrize(
    "data",
    [b"", b"\0" * 5000, page_content(1, 4096) * 2 + b"ab" + page_content(2, 4096), bytes(range(256)) * 3, page_content(3, 4096)[:-1]],
)
def test_bytes_survive_as_pieces(data: bytes) -> None:
    """Given bytes, when they are written as pieces, then they come back."""
    assert bytes_of(pieces_of(data)) == data


def test_pieces_are_short() -> None:
    """Given noise, a run and a few bytes, when they are written as pieces, then there is one of each."""
    assert pieces_of(page_content(2, 4096) + b"\7" * 99 + b"ab") == [Noise(2, 4096), Run(7, 99), Hex("6162")]


def test_what_covers_nothing_alone_is_dropped() -> None:
    """Given what vectors cover, then those are left of which each is the only one to cover something."""
    covers = {"a": ["1"], "b": ["1", "2"], "c": ["2"], "d": ["3", "1"]}
    assert needed(covers, {}) == {"b": ["2"], "d": ["3"]}
    assert needed(covers, {"d": "a"}) == {"a": ["twin: a"], "b": ["2"], "d": ["3"]}


def test_vectors_are_read_again(folder: Path, schedules: list[Vector]) -> None:
    """Given a folder, when it is read, then it has the same vectors, and the index what each covers."""
    assert list(read_vectors(folder)) == schedules
    index = json.loads((folder / INDEX).read_text())
    assert set(index) == {"format_version", "spec_sha256", "vectors"}
    assert set(index["vectors"][0]) == {"id", "rules", "covers", "file", "sha256"}


def newer(folder: Path) -> None:
    path = folder / INDEX
    path.write_text(path.read_text().replace(f'"format_version": {FORMAT_VERSION}', '"format_version": 9'))


def newer_vector(folder: Path) -> None:
    path = folder / "schedule.ndjson"
    path.write_text(path.read_text().replace(f'"format_version":{FORMAT_VERSION}', '"format_version":9'))


def cut(folder: Path) -> None:
    path = folder / "schedule.ndjson"
    path.write_bytes(path.read_bytes()[:-40])


def shortened(folder: Path) -> None:
    path = folder / "schedule.ndjson"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))


def changed(folder: Path) -> None:
    path = folder / "schedule.ndjson"
    path.write_bytes(path.read_bytes().replace(b'"count":4096', b'"count":4095', 1))


def without_file(folder: Path) -> None:
    (folder / "schedule.ndjson").unlink()


def without_index(folder: Path) -> None:
    (folder / INDEX).unlink()


def elsewhere(folder: Path) -> None:
    path = folder / INDEX
    path.write_text(path.read_text().replace('"schedule.ndjson"', '"../schedule.ndjson"'))


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (newer, "vectors-format"),
        (newer_vector, "vectors-format"),
        (cut, "vectors-damaged"),
        (shortened, "vectors-missing"),
        (changed, "vectors-damaged"),
        (without_file, "vectors-missing"),
        (without_index, "vectors-missing"),
        (elsewhere, "vectors-damaged"),
    ],
)
def test_a_damaged_folder_has_its_message(damage: Callable[[Path], None], code: str, folder: Path) -> None:
    """Given a folder that is damaged, or of a newer format, when it is read, then that is said."""
    damage(folder)
    with pytest.raises(Diagnostic) as refused:
        list(read_vectors(folder))
    assert refused.value.code == code


@pytest.mark.parametrize(("damage", "code"), [(newer, "vectors-format"), (cut, "vectors-damaged"), (without_file, "vectors-missing")])
def test_the_command_says_what_is_wrong_with_a_folder(
    damage: Callable[[Path], None], code: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Given a damaged folder, When a subject is checked with it, Then code, cause and hint are said, and the exit code is 2."""
    damage(folder)
    monkeypatch.setattr(sys, "argv", ["colofd", "check", "impl", "--vectors", str(folder)])
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert [each for each in (code, "cause:", "hint:") if each not in said] == []


def test_a_vector_with_other_ram_than_the_models_is_refused(schedules: list[Vector]) -> None:
    """Control: given a vector whose RAM at a commit is none of the primary's, When the model reads it, Then it says at which rule."""
    require_model(schedules[0])
    script = [ram_act(act.rule, b"\x01" * 12 * 4096) if isinstance(act, Ram) else act for act in schedules[0].script]
    with pytest.raises(ValueError, match=r"the model has other RAM at phase\.enter-colo"):
        require_model(msgspec.structs.replace(schedules[0], script=script))


def test_a_disagreement_writes_nothing(
    schedules: list[Vector], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Given a vector whose RAM is not what the receiver has, when vectors are filled, then nothing is written, and it is named."""
    script = [ram_act(act.rule, b"\x01" * 12 * 4096) if isinstance(act, Ram) else act for act in schedules[0].script]
    wrong = msgspec.structs.replace(schedules[0], script=script)
    monkeypatch.setattr(fill_command, "needed_vectors", lambda _progress: Needed([wrong], {wrong.id: ["something"]}, 0))
    monkeypatch.setattr(sys, "argv", ["colofd", "fill", str(tmp_path / "vectors")])
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert ended.value.code == 1
    assert "phase.enter-colo: 12 pages of guest RAM are not as they should be" in capsys.readouterr().out
    assert not (tmp_path / "vectors").exists()


def test_the_published_schema_is_that_of_the_code() -> None:
    """Given the format, when its JSON Schema is generated, then it is the published one."""
    published = Path(__file__).parents[2] / "docs" / "vectors.schema.json"
    assert json.loads(published.read_text()) == json.loads(json.dumps(schema()))
