"""Compares what the receivers made of a recorded migration with what its source had."""

from collections.abc import Mapping
from dataclasses import dataclass

from colofd.conformance.captures import Capture
from colofd.spec.reasons import Rejected

END = "end"

Digests = Mapping[str, str]
"""SHA-256 by the name of a RAM block."""


@dataclass(frozen=True)
class Reading:
    """What one receiver made of a capture."""

    checkpoints: tuple[Digests, ...]
    """Guest RAM at each commit, beginning with the one where COLO was entered; empty without COLO."""
    final: Digests | None
    """Guest RAM at the end of a migration without COLO; None if there is no end."""
    consumed: Mapping[str, int]
    """Bytes that were read of each channel."""
    replies: bytes | None
    """What was replied on the main channel; None from a receiver that does not reply."""
    refused: Rejected | None = None
    """Why the stream was refused."""


@dataclass(frozen=True)
class CheckpointVerdict:
    """Whether the recorded RAM block is equal at one checkpoint; the digest is None if the receiver did not get there."""

    index: int
    ok: bool
    sha256: str | None
    expected: str


@dataclass(frozen=True)
class FinalVerdict:
    """The same for the end of a migration without COLO."""

    ok: bool
    sha256: str | None
    expected: str


@dataclass(frozen=True)
class Verdict:
    """One reading, compared with the record."""

    checkpoints: tuple[CheckpointVerdict, ...]
    final: FinalVerdict | None
    bytes: Mapping[str, int]
    unaccounted_bytes: int
    """Bytes of the capture that were not read."""
    replies_equal: bool | None
    refused: str | None

    @property
    def holds(self) -> bool:
        """Whether all of it is as recorded."""
        digests = [each.ok for each in self.checkpoints] + ([self.final.ok] if self.final else [])
        return bool(digests) and all(digests) and not self.unaccounted_bytes and self.replies_equal is not False and self.refused is None


@dataclass(frozen=True)
class Disagreement:
    """A RAM block that two readings have with different contents, at a checkpoint or at the end."""

    at: str
    block: str
    sha256: Mapping[str, str | None]


@dataclass(frozen=True)
class Report:
    """All readings of one capture."""

    capture: str
    readings: Mapping[str, Verdict]
    disagreements: tuple[Disagreement, ...]
    """Between the readings, in blocks whose digest was recorded or was not."""

    @property
    def holds(self) -> bool:
        """Whether every reading is as recorded, and they agree about all RAM blocks."""
        return all(verdict.holds for verdict in self.readings.values()) and not self.disagreements


def judge(capture: Capture, readings: Mapping[str, Reading]) -> Report:
    """Compare the readings of a capture, by name, with the record and with each other."""
    return Report(
        capture=capture.name,
        readings={name: _verdict(capture, reading) for name, reading in readings.items()},
        disagreements=_disagreements(readings),
    )


def _verdict(capture: Capture, reading: Reading) -> Verdict:
    return Verdict(
        checkpoints=_checkpoints(capture, reading),
        final=_final(capture, reading),
        bytes=reading.consumed,
        unaccounted_bytes=sum(len(stream) - reading.consumed.get(channel, 0) for channel, stream in capture.streams.items()),
        replies_equal=None if reading.replies is None else reading.replies == capture.replies,
        refused=str(reading.refused) if reading.refused else None,
    )


def _checkpoints(capture: Capture, reading: Reading) -> tuple[CheckpointVerdict, ...]:
    verdicts = []
    for recorded in capture.checkpoints:
        digests = reading.checkpoints[recorded.index] if recorded.index < len(reading.checkpoints) else {}
        sha256 = digests.get(capture.ram_block)
        verdicts.append(CheckpointVerdict(recorded.index, sha256 == recorded.sha256, sha256, recorded.sha256))
    return tuple(verdicts)


def _final(capture: Capture, reading: Reading) -> FinalVerdict | None:
    if capture.final_sha256 is None:
        return None
    sha256 = (reading.final or {}).get(capture.ram_block)
    return FinalVerdict(sha256 == capture.final_sha256, sha256, capture.final_sha256)


def _states(reading: Reading) -> dict[tuple[str, str], str]:
    """Return every digest of a reading by where it was taken and by block."""
    states = {f"checkpoint {index}": digests for index, digests in enumerate(reading.checkpoints)}
    if reading.final is not None:
        states[END] = reading.final
    return {(at, block): sha256 for at, digests in states.items() for block, sha256 in digests.items()}


def _disagreements(readings: Mapping[str, Reading]) -> tuple[Disagreement, ...]:
    states = {name: _states(reading) for name, reading in readings.items()}
    places = dict.fromkeys(place for digests in states.values() for place in digests)
    found = []
    for at, block in places:
        sha256 = {name: digests.get((at, block)) for name, digests in states.items()}
        if len(set(sha256.values())) > 1:
            found.append(Disagreement(at, block, sha256))
    return tuple(found)
