"""What is said of the kill matrix: as text, and as the page docs/mutants.md with all of it in docs/mutants.json."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from colofd.conformance.mutants_history import PAST
from colofd.conformance.mutants_known import FAULTS
from colofd.conformance.mutants_matrix import Matrix, Row, minimal_suite, only_killers
from colofd.spec.protocol import spec_sha256

_KINDS: Final = """\
- *Faults of a receiver*: the built-in one with its source edited, in a process of its own. Most are mistakes that QEMU had, or its COLO
  series had in review, or that were seen of real QEMUs. They are put to the schedules and wire cases of `colofd check`, and to a few
  further cases about how a receiver begins and ends ([`further_cases.py`](../conformance/further_cases.py)). Nothing may be found of the
  source as it is: that is the control.
- *Mutants of the specification*: every rule changed in one place ([which, and what the proof makes of them](mutation-of-the-spec.md)).
  The model with the changed rule is the receiver. It is driven through the runs of the same schedules, through transition tours that
  search finds, and through a few shortest runs. It is noticed by what a receiver under gates shows: it is ready for a step that is not
  allowed, does not take one, or memory, maps, replies or the guest differ. What only hidden cells know is followed until it shows, or
  until a clause does not hold. Of the primary's and the guest's rules, it is a primary or a guest that does otherwise.

Every change of a rule that nothing shows is proved to change nothing, by Z3 and by cvc5: the clauses exclude what it adds, or two more
clauses do, which are proved for this alone ([`spec_mutants_reachable.py`](../model/spec_mutants_reachable.py)). Three that the proof
counts as equivalent, as each step that they add is a step of another rule or changes nothing, are shown here: by the name of the step.
"""

_SUITES: Final = """\
Few cases that show all that any case shows: those that are the only ones to show something, then whatever shows most of what is left.
`colofd check impl` puts all cases of the first suite to the receiver, in the profile `quick`, too, and many more. The second suite is one
for texts: what tells a wrong rule from the right one.
"""

_SHOWN: Final = 3
_HOW: Final = 90


def text_lines(found: Matrix, *, is_all: bool) -> Iterator[str]:
    """Yield the matrix as text: each fault with its first killer, the only killers, and the minimal suite."""
    shown = found.rows if not is_all else [row for row in found.rows if row.id in _ids() or row.has_survived]
    width = min(44, max(len(row.id) for row in shown))
    for row in shown:
        yield f"  {row.id:{width}}  {_verdict(row)}"
    yield ""
    yield from _only(found)
    for what, suite in suites(found):
        yield f"minimal suite for {what}: {len(suite)} of {len(found.cases)} cases show all that any of them shows"
        yield from (f"  {case}" for case in suite)
        yield ""
    yield counted(found)


def _ids() -> set[str]:
    return {fault.id for fault in FAULTS}


def _verdict(row: Row) -> str:
    if row.killed_by:
        more = f" and {len(row.killed_by) - 1} more" if len(row.killed_by) > 1 else ""
        return f"{row.seconds:5.1f} s  {row.killed_by[0]}{more}; {row.rule}: {_short(row.how)}"
    return f"{row.seconds:5.1f} s  {f'equivalent: {row.equivalent}' if row.equivalent else 'SURVIVED'}"


def _short(text: str) -> str:
    line = text.partition("\n")[0]
    return line if len(line) <= _HOW else f"{line[: _HOW - 3]}..."


def _only(found: Matrix) -> Iterator[str]:
    only = only_killers(found.rows)
    yield f"only killers: {len(only)} cases, each of which alone shows some faults"
    for case, faults in only.items():
        more = f" and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        yield f"  {case}: {'; '.join(faults[:_SHOWN])}{more}"
    yield ""


def counted(found: Matrix) -> str:
    """Return one line of counts."""
    rows = found.rows
    killed, equivalent, survived = (
        sum(bool(row.killed_by) for row in rows),
        sum(bool(row.equivalent) for row in rows),
        sum(row.has_survived for row in rows),
    )
    return f"{len(rows)} faults: {killed} shown, {equivalent} proved to be none, {survived} survived; {found.seconds:.0f} s"


def write_page(path: Path, found: Matrix) -> None:
    """Write the page, and the whole matrix beside it: cases by their numbers."""
    path.write_text("\n".join(_page(found)) + "\n", encoding="utf-8")
    number = {case: place for place, case in enumerate(found.cases)}
    rows = [
        json.dumps(
            {"id": row.id, "source": row.source, "killed_by": [number[case] for case in row.killed_by], "equivalent": row.equivalent}
        )
        for row in found.rows
    ]
    lines = ",\n".join(rows)
    head: dict[str, Any] = {"spec_sha256": spec_sha256(), "cases": found.cases}
    text = json.dumps(head).removesuffix("}")
    path.with_suffix(".json").write_text(f'{text}, "faults": [\n{lines}\n]}}\n', encoding="utf-8")


def _page(found: Matrix) -> Iterator[str]:
    of_receiver = [row for row in found.rows if row.id in _ids()]
    of_spec = [row for row in found.rows if row.id not in _ids()]
    today = datetime.now(UTC).date().isoformat()
    yield from (
        "# What the suite notices",
        "",
        f"Written on {today} by `colofd mutants --page docs/mutants.md`, for the specification `{spec_sha256()}`: {counted(found)}.",
        "",
        "A suite is as good as the faults that it shows. Two kinds are put to it.",
        "",
        *_KINDS.splitlines(),
        "",
        "## Faults of a receiver",
        "",
        "| fault | what it does | first shown by | cases | names | seconds |",
        "| --- | --- | --- | ---: | --- | ---: |",
    )
    for row in of_receiver:
        first = row.killed_by[0] if row.killed_by else row.equivalent or "**survived**"
        rest = f"{len(row.killed_by)}{f', {row.not_run} not run' if row.not_run else ''}"
        yield f"| `{row.id}` | {row.what} | {first} | {rest} | {f'`{row.rule}`' if row.rule else ''} | {row.seconds:.1f} |"
    yield from _past()
    yield from _texts(of_spec)
    yield from _suite(found)


def _past() -> Iterator[str]:
    yield from ("", "## Mistakes of the past", "", "| mistake | what was wrong | source | faults |", "| --- | --- | --- | --- |")
    for each in PAST:
        faults = ", ".join(f"`{fault}`" for fault in each.faults) or f"none: {each.why_not}"
        yield f"| `{each.id}` | {each.wrong} | {each.source} | {faults} |"


def _texts(rows: Sequence[Row]) -> Iterator[str]:
    yield from (
        "",
        "## Mutants of the specification",
        "",
        "| rule | by a schedule | by a shortest run | by a tour only | equivalent | survived |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    )
    counts = Counter((row.source, _kind(row)) for row in rows)
    kinds = ("schedule", "run", "tour", "equivalent", "survived")
    for rule in dict.fromkeys(row.source for row in rows):
        yield f"| `{rule}` | {' | '.join(str(counts[rule, kind] or '') for kind in kinds)} |"
    totals = Counter(_kind(row) for row in rows)
    yield f"| all {len(rows)} | {' | '.join(str(totals[kind]) for kind in kinds)} |"


def _kind(row: Row) -> str:
    if not row.killed_by:
        return "equivalent" if row.equivalent else "survived"
    kinds = {case.partition(" ")[0].removesuffix(":") for case in row.killed_by}
    return next(kind for kind in ("schedule", "run", "tour") if kind in kinds)


def suites(found: Matrix) -> Iterator[tuple[str, list[str]]]:
    """Yield minimal suites: for the faults of a receiver, and for the mutants of the specification."""
    of_receiver = [row for row in found.rows if row.id in _ids()]
    of_texts = [row for row in found.rows if row.id not in _ids()]
    for what, rows in (("faults of a receiver", of_receiver), ("mutants of the specification", of_texts)):
        if rows:
            yield what, minimal_suite(rows, found.cases)


def _suite(found: Matrix) -> Iterator[str]:
    only = only_killers(found.rows)
    yield from ("", "## Minimal suites", "", *_SUITES.splitlines())
    yield from ("", f"{len(only)} cases are the only ones to show some fault; they are marked with how many.")
    for what, suite in suites(found):
        yield from ("", f"For {what}, {len(suite)} of {len(found.cases)} cases:", "")
        yield from (f"- {case}{f' ({len(only[case])})' if case in only else ''}" for case in suite)
