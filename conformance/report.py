"""What a report of a check says: the same for a person who reads HTML or Markdown, and for a program that reads JSON."""

import importlib.metadata
import platform
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from colofd.conformance.card import card_json
from colofd.conformance.cards import makers
from colofd.conformance.check_captures import CaptureResult
from colofd.conformance.check_report import CheckReport
from colofd.conformance.check_vectors import VectorRow, VectorsReport
from colofd.conformance.counterexample import Kept
from colofd.conformance.report_bytes import ChannelBytes, bytes_of_case, bytes_of_schedule, bytes_of_vector
from colofd.conformance.rulings import CaseKind, Outcome, Ruling
from colofd.conformance.saved_schedule import load
from colofd.conformance.vector_format import read_vectors

FORMAT_VERSION: Final = 1
PROVED: Final = Path("docs/proved.json")
"""Where a checkout keeps what was proved."""

_WORST: Final = (Outcome.VIOLATED, Outcome.ERRORED, Outcome.KNOWN_DEVIATION, Outcome.HOLDS, Outcome.NOT_OBSERVABLE, Outcome.SKIPPED)
"""What is said of a rule of which cases say different things: the first of these."""
_TROUBLE: Final = (Outcome.VIOLATED, Outcome.ERRORED, Outcome.KNOWN_DEVIATION)
_PAGE: Final = re.compile(r"page (\d+) came last")
"""How a violation names the page that it looked at first."""
_PACKAGES: Final = ("colofd", "hypothesis", "numpy", "zstandard")


class Finding(msgspec.Struct, frozen=True):
    """A violation, a known deviation or an error, and the run that shows it.

    Attributes:
        rule: the id of what is broken, which has a line in the ledger.
        why: how it was seen.
        moves: the schedule in words.
        rerun: the command that runs it again.
        kept: the files of the shrunk schedule, if it was kept.
        schedule: the shrunk schedule as JSON.
        picture: its timeline as SVG.
        channels: what each channel says in it.
    """

    rule: str
    outcome: Outcome
    why: str
    moves: list[str]
    rerun: str
    kept: Kept | None = None
    schedule: dict[str, Any] | None = None
    picture: str = ""
    channels: list[ChannelBytes] = []


class LedgerLine(msgspec.Struct, frozen=True):
    """What is known of one rule, clause or check, and what was found of it; `sections` are those of its card (`colofd explain ID`)."""

    id: str
    kind: str
    words: str
    outcome: Outcome
    why: str
    times: int
    by_kind: dict[str, Outcome]
    sections: list[dict[str, Any]]


class Report(msgspec.Struct, frozen=True):
    """A whole report; `proof` says what was proved of this specification, `rerun` is the command that makes it again."""

    subject: str
    version: str
    spec_sha256: str
    seed: int | None
    against: str
    exit_code: int
    said: str
    rerun: str
    proof: str
    kinds: list[str]
    outcomes: dict[str, int]
    findings: list[Finding]
    ledger: list[LedgerLine]
    captures: list[CaptureResult]
    versions: dict[str, str]
    made: str
    format_version: int = FORMAT_VERSION


def report_of(check: CheckReport | VectorsReport, vectors: Path | None) -> Report:
    """Return the report of a check, by schedules or by the vectors of a folder."""
    if isinstance(check, VectorsReport):
        return report_of_vectors(check, vectors or Path())
    return report_of_check(check)


def report_of_check(check: CheckReport) -> Report:
    """Return the report of a check by schedules."""
    findings = [_finding(check, rule, ruling) for rule, ruling in check.rules.items() if ruling.outcome in _TROUBLE]
    within = f"{check.schedules} schedules one micro-step at a time, {check.micro_steps} micro-steps; " if check.micro_steps else ""
    said = f"{within}{check.schedules_from_outside} schedules and wire cases seen from outside"
    return _report(check.rules, findings, check, said=said, captures=check.captures, seed=check.seed, version=check.version)


def report_of_vectors(check: VectorsReport, folder: Path) -> Report:
    """Return the report of a check by the vectors of a folder."""
    about: dict[str, list[VectorRow]] = {}
    for row in check.vectors:
        for rule in row.rules:
            about.setdefault(rule, []).append(row)
    rules = {rule: _together(rows) for rule, rows in about.items()}
    broken = {row.id: row for row in check.vectors if row.ruling.outcome in _TROUBLE}
    channels = {vector.id: bytes_of_vector(vector) for vector in read_vectors(folder) if vector.id in broken} if broken else {}
    findings = [
        Finding(
            rule=row.rules[0],
            outcome=row.ruling.outcome,
            why=f"{row.id}: {row.ruling.why}",
            moves=_lines(row.ruling),
            rerun=f"{check.rerun} --only {row.id}",
            channels=channels[row.id],
        )
        for row in broken.values()
    ]
    return _report(rules, findings, check, said=f"{len(check.vectors)} vectors of {folder}")


def _together(rows: Sequence[VectorRow]) -> Ruling:
    worst = min((row.ruling for row in rows), key=lambda ruling: _WORST.index(ruling.outcome))
    why = f"{len(rows)} vectors are about it; {worst.why}"
    return Ruling(worst.outcome, why, {"cases": len(rows)}, {CaseKind.VECTORS: worst.outcome})


def _report(
    rules: Mapping[str, Ruling],
    findings: Sequence[Finding],
    check: CheckReport | VectorsReport,
    *,
    said: str,
    captures: Sequence[CaptureResult] = (),
    seed: int | None = None,
    version: str = "",
) -> Report:
    used = {kind for ruling in rules.values() for kind in ruling.by_kind}
    return Report(
        subject=check.subject,
        version=version,
        spec_sha256=check.spec_sha256,
        seed=seed,
        against=check.against,
        exit_code=check.exit_code,
        said=said,
        rerun=check.rerun,
        proof=_proof(check.spec_sha256),
        kinds=[kind for kind in CaseKind if kind in used],
        outcomes={outcome: count for outcome in _WORST if (count := sum(ruling.outcome is outcome for ruling in rules.values()))},
        findings=sorted(findings, key=lambda finding: _WORST.index(finding.outcome)),
        ledger=[_line(rule, ruling) for rule, ruling in rules.items()],
        captures=list(captures),
        versions={name: importlib.metadata.version(name) for name in _PACKAGES}
        | {"python": platform.python_version(), "system": platform.platform()},
        made=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _line(rule: str, ruling: Ruling) -> LedgerLine:
    make = makers().get(rule)
    card: dict[str, Any] = card_json(make()) if make else {"kind": "", "words": "", "sections": []}
    times = next((count for count in ruling.evidence.values() if isinstance(count, int)), 0)
    by_kind = {str(kind): outcome for kind, outcome in ruling.by_kind.items()}
    return LedgerLine(rule, card["kind"], card["words"], ruling.outcome, ruling.why, times, by_kind, card["sections"])


def _finding(check: CheckReport, rule: str, ruling: Ruling) -> Finding:
    kept = next((kept for kept in check.kept if kept.rule == rule), None)
    plain = Finding(rule, ruling.outcome, ruling.why, _lines(ruling), check.rerun, kept)
    if kept is None:
        name = ruling.why.partition(": ")[0]
        return msgspec.structs.replace(plain, channels=bytes_of_case(name, is_seen_within=bool(check.micro_steps)))
    schedule = load(Path(kept.files[0]))
    found = _PAGE.search(ruling.why) or _PAGE.search(schedule.why)
    return msgspec.structs.replace(
        plain,
        why=schedule.why,
        moves=[f"{move.do}({', '.join(map(str, [*move.arguments, *move.named.values()]))})" for move in schedule.moves],
        rerun=kept.rerun,
        schedule=msgspec.to_builtins(schedule),
        picture="".join(Path(file).read_text(encoding="utf-8") for file in kept.files if file.endswith(".svg")),
        channels=bytes_of_schedule(schedule, int(found[1]) if found else None),
    )


def _lines(ruling: Ruling) -> list[str]:
    return [line for lines in ruling.evidence.values() if isinstance(lines, list) for line in lines]


def _proof(spec_sha256: str) -> str:
    """Return what was proved of this specification, where a checkout has it; how to prove it, where it has not."""
    try:
        proved = msgspec.json.decode(PROVED.read_bytes())
    except (OSError, msgspec.MsgspecError):
        proved = {}
    if proved.get("spec_sha256") != spec_sha256 or not proved.get("holds"):
        return "what was proved of this specification is not here: colofd prove proves it"
    solvers = " and ".join(f"{name} {solver['version']}" for name, solver in proved["solvers"].items())
    return f"all {proved['obligations']} obligations of this specification proved by {solvers}, {proved['date']}"
