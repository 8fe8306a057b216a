"""The command `colofd check`."""

import importlib.metadata
import multiprocessing
import shlex
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path

import click
import msgspec

from colofd.conformance.adapter_transport import ATTACH
from colofd.conformance.adapter_validation import validate
from colofd.conformance.black_box import NotObservable
from colofd.conformance.black_box_built_in import BuiltInFromOutside
from colofd.conformance.captures import shipped
from colofd.conformance.check import PROFILES, Campaign, SmokeFailure
from colofd.conformance.check_black_box import MakeSubject, check_black_box
from colofd.conformance.check_captures import CaptureResult, check_capture
from colofd.conformance.check_report import CheckReport, check_text
from colofd.conformance.check_schedule import violation_of
from colofd.conformance.check_vectors import VectorsReport, check_vectors, vectors_text
from colofd.conformance.counterexample import Keeper
from colofd.conformance.diagnostic import Diagnostic
from colofd.conformance.elsewhere import elsewhere, from_outside_on
from colofd.conformance.exec_subject import EXEC
from colofd.conformance.exec_subject import PATIENCE as PATIENCE_OF_VALIDATION
from colofd.conformance.foreign import FOREIGN, check_foreign
from colofd.conformance.further_cases import check_further
from colofd.conformance.known_deviations import Known
from colofd.conformance.put_schedule import CannotMake
from colofd.conformance.qemu.provision import QemuUnavailable, named
from colofd.conformance.report import report_of
from colofd.conformance.report_page import write_report, writer_of
from colofd.conformance.rulings import CaseKind, Outcome, Ruling, with_kinds
from colofd.conformance.saved_schedule import load
from colofd.conformance.spread import Spread, alone
from colofd.conformance.subjects import SUBJECTS
from colofd.conformance.unknown_names import UnknownName
from colofd.conformance.wire_check import check_wire
from colofd.spec.profiles import PROFILES as PROFILES_OF_QEMU
from colofd.spec.profiles import STRICT
from colofd.spec.protocol import spec_sha256

DEFAULT_SEED = 1
QEMU = "qemu:"
"""What the name of a real QEMU as a subject begins with."""
FROM_OUTSIDE: Mapping[str, MakeSubject] = {"impl": BuiltInFromOutside}
"""The subjects that are looked at from outside, too."""
TROUBLE = (Outcome.VIOLATED, Outcome.ERRORED, Outcome.KNOWN_DEVIATION)
"""What a person needs to see."""


@click.command()
@click.argument("subject", default="impl")
@click.option("--profile", type=click.Choice(list(PROFILES)), default="quick", show_default=True, help="How many schedules are drawn.")
@click.option(
    "--against",
    metavar="NAME",
    help="Profile whose deviations are known, and not counted as violations: see `colofd profiles list`. [default: that of the subject]",
)
@click.option("--seed", type=click.IntRange(0), default=DEFAULT_SEED, show_default=True, help="Where the drawn schedules begin.")
@click.option("--validate", "is_validated", is_flag=True, help="Only try whether the adapter answers as it should.")
@click.option(
    "--vectors",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Play the vectors that `colofd fill DIR` has written, and nothing else.",
)
@click.option("--only", metavar="ID", default="", help="With --vectors: only those whose id begins with this, and their twins.")
@click.option(
    "--save",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Make each new violation short, and write it there: schedule, vector, pytest file, picture.",
)
@click.option(
    "--schedule", metavar="FILE", type=click.Path(path_type=Path), help="Put one schedule that --save has written, and nothing else."
)
@click.option(
    "--report",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write a report, too: .html, .md or .json. Without --save, what is found is kept beside it.",
)
@click.option("--workers", metavar="N", type=click.IntRange(1), help="Spread it over so many processes here (extra colofd[cluster]).")
@click.option("--scheduler", metavar="ADDRESS", default="", help="Spread it over the workers of this scheduler of Dask.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of text.")
def check(
    subject: str,
    profile: str,
    against: str | None,
    seed: int,
    is_validated: bool,
    vectors: Path | None,
    only: str,
    save: Path | None,
    schedule: Path | None,
    report: Path | None,
    workers: int | None,
    scheduler: str,
    as_json: bool,
) -> None:
    """Check whether a receiver obeys the spec.

    SUBJECT is impl, the built-in receiver. It is driven through schedules, one micro-step of one thread at a time, side by side with the
    reference model: guest RAM, cache, receivedmap and dirty bitmap must be equal after each. Then it reads streams that break one check of
    the wire format each, and recordings of real QEMU.

    Or SUBJECT is qemu:VERSION or qemu:PATH, a real QEMU, which is provisioned if need be. Schedules are sent to it over its migration
    channels; its guest RAM is looked at whenever it rests.

    Or SUBJECT is exec:COMMAND, any receiver behind an adapter process (see docs/adapter.md), attach:unix:PATH or attach:tcp:HOST:PORT,
    where such an adapter listens, or python:MODULE:FUNCTION, a function that makes receivers. They are looked at in the same way.

    Exit codes: 0 nothing is violated, 1 something is, 2 it could not be checked.

    Examples: colofd check impl --profile full --seed 7 --json; colofd check qemu:11.1;
    colofd check "exec:./my-adapter --fast" --vectors vectors
    """
    if is_validated:
        _validate(subject)
        return
    is_qemu = subject.startswith(QEMU)
    is_foreign = subject.startswith(FOREIGN)
    _require_names(subject, against)
    if report is not None:
        # An ending that is unknown is told before the work, not after it.
        writer_of(report)
        save = save or report.with_suffix(".found")
    try:
        if schedule is not None:
            _check_schedule(subject, schedule, as_json=as_json)
        with elsewhere(workers, scheduler) as spread:
            if vectors is not None:
                checked: CheckReport | VectorsReport = _check_vectors(subject, vectors, against, only, spread)
            else:
                keeper = None if save is None else Keeper(subject, save, _show_progress)
                run = run_qemu_check if is_qemu else run_foreign_check if is_foreign else run_check
                checked = run(subject, profile, seed, _show_progress, against, keeper, spread)
        if report is not None:
            _show_progress("report")
            write_report(report, report_of(checked, vectors))
    except QemuUnavailable as error:
        _show_progress("")
        click.echo(f"colofd: {error}\nhint: `colofd qemu list` says which versions there are", err=True)
        sys.exit(2)
    except SmokeFailure as failure:
        click.echo(f"colofd: the smoke case failed, so the rest was not run: {failure}\nhint: run the subject's own tests first", err=True)
        sys.exit(2)
    finally:
        _show_progress("")
    click.echo(msgspec.json.encode(checked) if as_json else "\n".join(_text(checked)))
    sys.exit(checked.exit_code)


def _text(checked: CheckReport | VectorsReport) -> list[str]:
    return vectors_text(checked) if isinstance(checked, VectorsReport) else check_text(checked)


def _require_names(subject: str, against: str | None) -> None:
    if subject not in SUBJECTS and not subject.startswith((QEMU, *FOREIGN)):
        known = [*SUBJECTS, f"{QEMU}VERSION", f"{QEMU}PATH", "exec:COMMAND", "attach:ADDRESS"]
        raise click.BadParameter(f"{subject!r} is no subject: give {', '.join(known)} or python:MODULE:FUNCTION", param_hint="SUBJECT")
    if against is not None and against not in PROFILES_OF_QEMU:
        raise UnknownName("profile", against, list(PROFILES_OF_QEMU))


def _show_progress(what: str) -> None:
    """Show what is going on in one line, where somebody watches."""
    if sys.stderr.isatty():
        click.echo(f"\r\x1b[K{what}", nl=False, err=True)


def _check_vectors(subject: str, folder: Path, against: str | None, only: str, spread: Spread | None) -> VectorsReport:
    number = f"qemu-{subject.removeprefix(QEMU)}"
    against = against or (number if number in PROFILES_OF_QEMU else STRICT)
    return check_vectors(subject, folder, against, only, _show_progress, spread)


def _check_schedule(subject: str, path: Path, *, as_json: bool) -> None:
    schedule = load(path)
    try:
        violation = violation_of(subject, schedule)
    except (NotObservable, CannotMake) as reason:
        hint = "a schedule says with `seen` how the receiver is looked at"
        raise Diagnostic("schedule-not-possible", f"{subject} cannot be put through it", str(reason), hint) from reason
    rule, why = (violation.rule, violation.why) if violation else ("", "")
    text = str(violation) if violation else f"holds: {len(schedule.moves)} moves, and nothing is violated"
    click.echo(msgspec.json.encode({"subject": subject, "schedule": str(path), "violated": rule, "why": why}) if as_json else text)
    sys.exit(1 if violation else 0)


def run_qemu_check(
    subject: str,
    profile: str,
    seed: int,
    progress: Callable[[str], None],
    against: str | None = None,
    keeper: Keeper | None = None,
    spread: Spread | None = None,
) -> CheckReport:
    """Check a real QEMU, by default against the profile of its version. QemuUnavailable if it cannot be had."""
    # Only here, for the package qemu.qmp is an extra.
    from colofd.conformance.qemu.subject import QemuReceiver  # noqa: PLC0415

    name = subject.removeprefix(QEMU)
    qemu = named(name, progress)
    number = ".".join(qemu.version.split(".")[:2])
    against = against or (f"qemu-{number}" if f"qemu-{number}" in PROFILES_OF_QEMU else STRICT)
    rules, schedules = check_black_box(
        lambda options: QemuReceiver(qemu, options),
        against,
        PROFILES[profile].drawn,
        seed,
        progress,
        keeper,
        from_outside_on(spread, subject),
    )
    return CheckReport(
        subject=subject,
        version=qemu.version,
        spec_sha256=spec_sha256(),
        seed=seed,
        against=against,
        rules=rules,
        captures=[],
        schedules=0,
        micro_steps=0,
        conclusive_schedules=0,
        schedules_from_outside=schedules,
        kept=keeper.kept if keeper else [],
        rerun=f"colofd check {subject} --profile {profile} --seed {seed} --against {against}",
    )


def run_foreign_check(
    subject: str,
    profile: str,
    seed: int,
    progress: Callable[[str], None],
    against: str | None = None,
    keeper: Keeper | None = None,
    spread: Spread | None = None,
) -> CheckReport:
    """Check anybody's receiver. Diagnostic if it cannot be spoken to, SmokeFailure if nothing works."""
    against = against or STRICT
    found = check_foreign(subject, profile, seed, against, progress, keeper, from_outside_on(spread, subject))
    return CheckReport(
        subject=f"{subject} ({found.hello.name})",
        version=found.hello.version,
        spec_sha256=spec_sha256(),
        seed=seed,
        against=against,
        rules=found.rules,
        captures=[],
        schedules=0,
        micro_steps=0,
        conclusive_schedules=0,
        schedules_from_outside=found.schedules,
        kept=keeper.kept if keeper else [],
        rerun=f"colofd check {shlex.quote(subject)} --profile {profile} --seed {seed} --against {against}",
    )


def _validate(subject: str) -> None:
    if not subject.startswith((EXEC, ATTACH)):
        raise click.BadParameter("only an adapter (exec:COMMAND or attach:ADDRESS) can be validated", param_hint="SUBJECT")
    for what in validate(subject.removeprefix(EXEC), PATIENCE_OF_VALIDATION):
        click.echo(f"  ok  {what}")
    click.echo("the adapter answers as it should")


def run_check(
    subject: str,
    profile: str,
    seed: int,
    progress: Callable[[str], None],
    against: str | None = None,
    keeper: Keeper | None = None,
    spread: Spread | None = None,
) -> CheckReport:
    """Run a whole check; a second process tries the wire cases and replays recordings meanwhile. SmokeFailure if nothing works."""
    against = against or STRICT
    campaign = Campaign(SUBJECTS[subject], seed, progress, against=against, spread=spread or alone)
    campaign.smoke()
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        wire: Future[dict[str, Ruling]] = pool.submit(check_wire)
        further: Future[dict[str, Ruling]] = pool.submit(check_further)
        replays: list[Future[CaptureResult]] = [pool.submit(check_capture, folder) for folder in shipped()]
        campaign.run(PROFILES[profile])
        if keeper is not None:
            for violation in campaign.found.violations.values():
                keeper.within(campaign.factory, violation)
        progress("wire checks")
        known = Known(against)
        of_wire = {identifier: known.ruling(identifier, ruling) for identifier, ruling in wire.result().items()}
        rules = campaign.rulings() | with_kinds(of_wire, {CaseKind.WIRE: of_wire})
        rules |= with_kinds(further.result(), {CaseKind.FURTHER: further.result()})
        from_outside = 0
        if subject in FROM_OUTSIDE:
            there = from_outside_on(spread, subject)
            seen, from_outside = check_black_box(FROM_OUTSIDE[subject], against, PROFILES[profile].drawn, seed, progress, keeper, there)
            # What holds from outside was seen better from within.
            rules |= {identifier: ruling for identifier, ruling in seen.items() if ruling.outcome in TROUBLE}
            rules = with_kinds(rules, {CaseKind.OUTSIDE: seen})
        captures = []
        for number, replay in enumerate(replays):
            progress(f"recording {number + 1} of {len(replays)}")
            captures.append(replay.result())
    return CheckReport(
        subject=subject,
        version=importlib.metadata.version("colofd"),
        spec_sha256=spec_sha256(),
        seed=seed,
        against=against,
        rules=rules,
        captures=captures,
        schedules=campaign.found.tally.schedules,
        micro_steps=campaign.found.tally.micro_steps + sum(capture.micro_steps for capture in captures),
        conclusive_schedules=campaign.found.tally.conclusive,
        schedules_from_outside=from_outside,
        kept=keeper.kept if keeper else [],
        rerun=f"colofd check {subject} --profile {profile} --seed {seed}{f' --against {against}' if against != STRICT else ''}",
    )
