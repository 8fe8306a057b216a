"""What `colofd check` says of a receiver: as data, and as text."""

from collections import Counter
from collections.abc import Mapping
from typing import Final

import msgspec

from colofd.conformance.check_captures import CaptureResult
from colofd.conformance.counterexample import Kept, kept_text
from colofd.conformance.rulings import Outcome, Ruling
from colofd.spec.profiles import STRICT

_FEW: Final = 4
"""How many ids of what cannot be seen are listed."""


class CheckReport(msgspec.Struct, frozen=True):
    """What `colofd check --json` prints."""

    subject: str
    version: str
    spec_sha256: str
    seed: int
    against: str
    rules: dict[str, Ruling]
    captures: list[CaptureResult]
    schedules: int
    micro_steps: int
    conclusive_schedules: int
    schedules_from_outside: int
    rerun: str
    kept: list[Kept] = []

    @property
    def exit_code(self) -> int:
        """0: nothing violated or errored, and something was checked; 1: a violation; 2: an error, or nothing could be observed."""
        outcomes = {ruling.outcome for ruling in self.rules.values()}
        if Outcome.VIOLATED in outcomes or not all(capture.ok for capture in self.captures):
            return 1
        is_observed = self.micro_steps or self.schedules_from_outside
        return 0 if Outcome.HOLDS in outcomes and Outcome.ERRORED not in outcomes and is_observed else 2


def check_text(report: CheckReport) -> list[str]:
    """Return what a person reads of a check."""
    shown = {
        identifier: ruling
        for identifier, ruling in report.rules.items()
        if not _is_about_wire(identifier) and ruling.outcome is not Outcome.NOT_OBSERVABLE
    }
    width = max(len(identifier) for identifier in shown)
    known = f", against {report.against}" if report.against != STRICT else ""
    lines = [f"subject {report.subject} {report.version}, spec {report.spec_sha256[:16]}, seed {report.seed}{known}", ""]
    lines += [f"  {identifier:{width}}  {_outcome(ruling)}" for identifier, ruling in shown.items()]
    lines += ["", _wire_checks(report)]
    if report.captures:
        lines += ["", *(_capture(capture) for capture in report.captures)]
    lines += ["", *_not_observable(report.rules), _schedules(report), _counted(report.rules)]
    lines += [line for identifier, ruling in report.rules.items() for line in _finding(identifier, ruling)]
    lines += [line for kept in report.kept for line in ["", *kept_text(kept)]]
    lines.append(f"again: {report.rerun}")
    return lines


def _not_observable(rules: Mapping[str, Ruling]) -> list[str]:
    """Return why something cannot be seen, each reason once, with the ids of a few."""
    ids: dict[str, list[str]] = {}
    for identifier, ruling in rules.items():
        if ruling.outcome is Outcome.NOT_OBSERVABLE:
            ids.setdefault(ruling.why, []).append(identifier)
    shown = {why: ", ".join(its if len(its) <= _FEW else [*its[:_FEW], f"and {len(its) - _FEW} more"]) for why, its in ids.items()}
    return [f"  not observable: {what}: {why}" for why, what in shown.items()]


def _schedules(report: CheckReport) -> str:
    from_outside = f"{report.schedules_from_outside} schedules seen from outside"
    if not report.micro_steps:
        return from_outside
    conclusive = f"{report.conclusive_schedules} with a commit or a failover"
    return f"{report.schedules} schedules ({conclusive}), {report.micro_steps} micro-steps; {from_outside}"


def _is_about_wire(identifier: str) -> bool:
    return identifier.startswith("wire.")


def _wire_checks(report: CheckReport) -> str:
    """Return one line about all wire checks: with each on a line of its own nobody would see the others."""
    wire = {identifier: ruling for identifier, ruling in report.rules.items() if _is_about_wire(identifier)}
    skipped = [f"{identifier} ({ruling.why})" for identifier, ruling in wire.items() if ruling.outcome is Outcome.SKIPPED]
    return "\n    skipped: ".join([f"  {len(wire)} wire checks: {_counted(wire)}", *skipped])


def _counted(rules: Mapping[str, Ruling]) -> str:
    counts = Counter(ruling.outcome for ruling in rules.values())
    return ", ".join(f"{count} {outcome}" for outcome, count in counts.items())


def _outcome(ruling: Ruling) -> str:
    if ruling.outcome is Outcome.HOLDS:
        taken, states = ruling.evidence.get("taken"), ruling.evidence.get("states")
        return f"holds    {f'{taken} times' if taken else f'in {states} states'}"
    return f"{ruling.outcome}  {ruling.why}"


def _capture(capture: CaptureResult) -> str:
    verdict = "equal" if capture.ok else f"NOT as it should be: {capture.why}"
    return f"  {capture.name:24}  {capture.digests_checked:3} digests, {capture.micro_steps:6} micro-steps  {verdict}"


def _finding(identifier: str, ruling: Ruling) -> list[str]:
    """Return what a person needs to see of a violation or an error."""
    if ruling.outcome not in (Outcome.VIOLATED, Outcome.KNOWN_DEVIATION, Outcome.ERRORED):
        return []
    if ruling.outcome is Outcome.KNOWN_DEVIATION and _is_about_wire(identifier):
        return [f"{identifier}: {ruling.why}"]
    details = [line for lines in ruling.evidence.values() if isinstance(lines, list) for line in lines]
    return ["", f"{identifier}: {ruling.why}", *(f"    {line}" for line in details)]
