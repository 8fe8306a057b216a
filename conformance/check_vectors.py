"""`colofd check SUBJECT --vectors DIR`: plays vectors on a subject, each a row with its id."""

import itertools
import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from colofd.conformance.check import SmokeFailure
from colofd.conformance.diagnostic import Diagnostic
from colofd.conformance.known_deviations import Known, because
from colofd.conformance.rulings import Outcome, Ruling
from colofd.conformance.spread import Spread
from colofd.conformance.vector_captures import FAMILY as CAPTURE
from colofd.conformance.vector_captures import why_not_as_recorded
from colofd.conformance.vector_format import Vector, index_of, slug
from colofd.conformance.vector_play import play, vectors_in
from colofd.conformance.vector_receivers import SubjectForVectors, subject_for_vectors
from colofd.conformance.violation import Violation

AT_ONCE: Final = 4
"""Receivers at the same time: most of the time is waited."""
_READ_AHEAD: Final = 64
"""Vectors that are in memory at a time."""
_NOT_PLAYED: Final = (Outcome.SKIPPED, Outcome.NOT_OBSERVABLE)


class VectorRow(msgspec.Struct, frozen=True):
    """What came of one vector; `rules` are the ids that it is about."""

    id: str
    rules: list[str]
    ruling: Ruling


class VectorsReport(msgspec.Struct, frozen=True):
    """What `colofd check SUBJECT --vectors DIR --json` prints. `spec_sha256` is that of the spec that the vectors were made of."""

    subject: str
    spec_sha256: str
    against: str
    vectors: list[VectorRow]
    rerun: str

    @property
    def exit_code(self) -> int:
        """0: nothing violated or errored, and something holds; 1: a violation; 2: an error, or nothing could be observed."""
        outcomes = {row.ruling.outcome for row in self.vectors}
        if Outcome.VIOLATED in outcomes:
            return 1
        return 0 if Outcome.HOLDS in outcomes and Outcome.ERRORED not in outcomes else 2


def check_vectors(
    subject: str, folder: Path, against: str, only: str, progress: Callable[[str], None], spread: Spread | None = None
) -> VectorsReport:
    """Play the vectors of a folder on a subject, the smoke case first.

    Args:
        subject: its name on the command line.
        folder: what `colofd fill` has written.
        against: profile whose deviations are known, and not counted as violations.
        only: play those only whose id begins with this, with their twins; empty: all.
        progress: is told what is going on.
        spread: runs pieces of it elsewhere; None: here.

    Raises SmokeFailure if the first valid stream is not received, Diagnostic if vectors cannot be read or the subject not be spoken to.
    """
    index = index_of(folder)
    wanted = _wanted(folder, only)
    if only and not wanted:
        raise Diagnostic("vectors-missing", f"no vector has an id that begins with {only!r}", str(folder), "index.json lists the ids")
    with subject_for_vectors(subject, against) as opened:
        _smoke(folder, opened, progress)
        pieces = _pieces(vector for vector in vectors_in(folder) if not only or vector.id in wanted)
        here, there = partial(_rows, opened, Known(against)), partial(_rows_of, subject, against)
        played = []
        for some in map(here, pieces) if spread is None else spread(there, list(pieces)):
            progress(some[-1][0].id)
            played += some
    outcomes = {row.id: row.ruling.outcome for row, _ in played}
    rows = [_with_twin(row, vector_twin, outcomes) for row, vector_twin in played]
    words = ["colofd", "check", subject, "--vectors", str(folder), "--against", against, *(["--only", only] if only else [])]
    return VectorsReport(subject, index.spec_sha256, against, rows, shlex.join(words))


def _wanted(folder: Path, only: str) -> set[str]:
    """Return the ids that begin with this, and those of their twins."""
    if not only:
        return set()
    chosen = [vector for vector in vectors_in(folder) if vector.id.startswith(only)]
    return {vector.id for vector in chosen} | {vector.twin for vector in chosen if vector.twin}


def _smoke(folder: Path, opened: SubjectForVectors, progress: Callable[[str], None]) -> None:
    """Play the first vector that is accepted and that the subject can be set up for: if that fails, nothing is said of the receiver."""
    progress("smoke case")
    valid = (vector for vector in vectors_in(folder) if vector.verdict.is_accepted and vector.script)
    for vector in valid:
        ruling = play(vector, opened.open_subject, opened.seconds)
        if ruling.outcome not in _NOT_PLAYED:
            if ruling.outcome is not Outcome.HOLDS:
                raise SmokeFailure(f"{vector.id}: {ruling.why}")
            return


def _pieces(vectors: Iterator[Vector]) -> Iterator[list[Vector]]:
    """Yield vectors as pieces, each of which can be played by itself."""
    while some := list(itertools.islice(vectors, _READ_AHEAD)):
        yield some


def _rows(opened: SubjectForVectors, known: Known, vectors: Sequence[Vector]) -> list[tuple[VectorRow, str]]:
    """Return the row of each vector, and the id of its twin."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        rulings = pool.map(lambda vector: _ruling(vector, opened, known), vectors)
        return [
            (VectorRow(vector.id, vector.rules, ruling), "" if vector.verdict.is_accepted else vector.twin)
            for vector, ruling in zip(vectors, rulings, strict=True)
        ]


def _rows_of(subject: str, against: str, vectors: Sequence[Vector]) -> list[tuple[VectorRow, str]]:
    """Open a subject in another process, and play vectors on it."""
    with subject_for_vectors(subject, against) as opened:
        return _rows(opened, Known(against), vectors)


def _ruling(vector: Vector, opened: SubjectForVectors, known: Known) -> Ruling:
    if vector.family != CAPTURE:
        return _as_known(vector, play(vector, opened.open_subject, opened.seconds), known)
    if not opened.replays_recordings:
        return Ruling(Outcome.SKIPPED, "a recording is replayed on the built-in receiver")
    why = why_not_as_recorded(vector)
    return Ruling(Outcome.VIOLATED, why) if why else Ruling(Outcome.HOLDS, "RAM and replies are as recorded")


def _as_known(vector: Vector, ruling: Ruling, known: Known) -> Ruling:
    """Return a ruling, as a known deviation if that is what the versions of the profile do with this check, or in this schedule."""
    if ruling.outcome is not Outcome.VIOLATED:
        return ruling
    rule = ruling.why.partition(":")[0]
    ruling = known.ruling(vector.rules[0], ruling)
    schedules = {schedule for each in known.deviations for schedule in each.seen_in if slug("", schedule) in f"/{vector.id}"}
    explained = [each for schedule in schedules for each in known.shown_by(Violation(rule, ruling.why, []), schedule)]
    if ruling.outcome is Outcome.VIOLATED and explained:
        return replace(ruling, outcome=Outcome.KNOWN_DEVIATION, why=f"{ruling.why}; {because(known.profile, tuple(explained))}")
    return ruling


def _with_twin(row: VectorRow, twin: str, outcomes: Mapping[str, Outcome]) -> VectorRow:
    """Return a row: a refusal tells something only if the same is accepted without the one fact that is wrong."""
    seen = outcomes.get(twin, Outcome.HOLDS)
    if row.ruling.outcome is not Outcome.HOLDS or seen is Outcome.HOLDS:
        return row
    why = f"{row.ruling.why}; but of its twin {twin}, which is to be accepted, is said: {seen}"
    return msgspec.structs.replace(row, ruling=Ruling(Outcome.NOT_OBSERVABLE, why))


def vectors_text(report: VectorsReport) -> list[str]:
    """Return what a person needs to see: how many of which outcome, and each row that is violated or errored."""
    lines = [f"subject {report.subject}, vectors of spec {report.spec_sha256[:16]}, against {report.against}", ""]
    addresses = Counter((row.id.partition(".")[0], row.ruling.outcome) for row in report.vectors)
    for address in dict.fromkeys(address for address, _ in addresses):
        counts = ", ".join(f"{count} {outcome}" for (name, outcome), count in addresses.items() if name == address)
        lines.append(f"  {address + '.*':14}  {counts}")
    whys = Counter((row.ruling.outcome, row.ruling.why) for row in report.vectors if row.ruling.outcome is Outcome.SKIPPED)
    lines += ["", *(f"  {count} {outcome}: {why}" for (outcome, why), count in whys.items())]
    for row in report.vectors:
        if row.ruling.outcome not in (Outcome.HOLDS, *_NOT_PLAYED):
            details = [line for each in row.ruling.evidence.values() if isinstance(each, list) for line in each[1:]]
            lines += ["", f"{row.id}: {row.ruling.outcome}: {row.ruling.why}", *(f"    {line}" for line in details)]
    outcomes = Counter(row.ruling.outcome for row in report.vectors)
    total = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items())
    return [*lines, "", f"{len(report.vectors)} vectors: {total}", f"again: {report.rerun}", "one: the same with --only ID"]
