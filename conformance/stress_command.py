"""`colofd stress`: what the built-in receiver makes of threads in any order, memory it may not touch, faults, and damaged input."""

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

import click
import msgspec

from colofd.conformance.fault_kinds import Kind
from colofd.conformance.fault_sweeps import SWEPT, cut_everywhere, moments, sweep
from colofd.conformance.faults import Reached, run_fault
from colofd.conformance.fuzz import Tally, run_damaged
from colofd.conformance.fuzz_jobs import STRETCH, Found, search
from colofd.conformance.guarded import check_guarded
from colofd.conformance.preemptions import run_all
from colofd.conformance.rulings import Outcome, Ruling
from colofd.conformance.scenes import MOST_PREEMPTIONS, SCENES
from colofd.conformance.subjects import BuiltIn
from colofd.conformance.violation import Violation

SHOWN: Final = 20
"""How many findings of one kind are kept."""
MEMORY: Final = 64 << 20
"""Bytes that may be held more after many inputs than after the first ones."""


class StressReport(msgspec.Struct, frozen=True):
    """What `colofd stress --json` prints."""

    seed: int
    rulings: dict[str, Ruling]

    @property
    def exit_code(self) -> int:
        """0: nothing was found; 1: something was; 2: it could not be told."""
        outcomes = {ruling.outcome for ruling in self.rulings.values()}
        return 1 if Outcome.VIOLATED in outcomes else 2 if Outcome.ERRORED in outcomes else 0


def stress_preemptions(bound: int) -> Ruling:
    """Run every interleaving of the scenes with at most `bound` preemptions; with the most, as many as stated."""
    numbers: dict[str, int] = {}
    for scene in SCENES:
        try:
            numbers[scene.name] = run_all(BuiltIn, scene, bound, lambda _race: None)
        except Violation as violation:
            return Ruling(Outcome.VIOLATED, f"{scene.name}: {violation.rule}: {violation.why}", {"schedule": list(violation.moves)})
        except ValueError as error:
            return Ruling(Outcome.ERRORED, f"{scene.name}: {error}")
    evidence: dict[str, int | list[str]] = {"interleavings": sum(numbers.values()), **numbers}
    stated = {scene.name: scene.interleavings for scene in SCENES}
    if bound == MOST_PREEMPTIONS and numbers != stated:
        return Ruling(Outcome.ERRORED, f"there are not as many interleavings as stated: {stated}", evidence)
    text = f"{sum(numbers.values())} interleavings of {len(numbers)} scenes, with at most {bound} preemptions"
    return Ruling(Outcome.HOLDS, text, evidence)


def stress_faults(count: int, seed: int) -> Ruling:
    """Run drawn faults, from number `seed` on."""
    reached = Reached()
    wrong = [f"fault {number}: {why}" for number in range(seed, seed + count) for why in run_fault(number, reached)]
    evidence: dict[str, int | list[str]] = {"schedules": count, "commits": reached.commits, "different ends": len(reached.ends)}
    evidence |= {f"felt: {kind}": felt for kind, felt in sorted(reached.felt.items())}
    if wrong:
        return Ruling(Outcome.VIOLATED, wrong[0], {**evidence, "found": wrong[:SHOWN]})
    text = f"{count} schedules, {sum(reached.felt.values())} faults felt, {len(reached.ends)} different ends, {reached.commits} commits"
    return Ruling(Outcome.HOLDS, text, evidence)


def stress_moments() -> Ruling:
    """Let each thing that can fail do so at each of its moments, in a few migrations."""
    reached = Reached()
    wrong: list[str] = []
    for number in SWEPT:
        found = [*cut_everywhere(number, reached), *(why for fault in moments() for why in sweep(number, fault, reached))]
        wrong += [f"migration {number}: {why}" for why in found]
    killed_after = sorted({step for kind, step, _ in reached.ends if kind is Kind.KILL} - {""})
    evidence: dict[str, int | list[str]] = {f"felt: {kind}": felt for kind, felt in sorted(reached.felt.items())}
    evidence["reached"] = killed_after
    if wrong:
        return Ruling(Outcome.VIOLATED, wrong[0], {**evidence, "found": wrong[:SHOWN]})
    text = (
        f"{len(SWEPT)} migrations, {sum(reached.felt.values())} moments; threads were killed after {len(killed_after)} kinds of micro-steps"
    )
    return Ruling(Outcome.HOLDS, text, evidence)


def stress_inputs(count: int, seed: int) -> Ruling:
    """Put drawn damage to decoder and receiver."""
    tally, wrong = Tally(), list[str]()

    def found(why: str, data: bytes) -> None:
        wrong.append(f"{why}: {data.hex() if len(data) < 1 << 10 else f'{len(data)} bytes'}")

    run_damaged(count, seed, tally, found)
    evidence: dict[str, int | list[str]] = {"inputs": count, "different ends": len(tally.reached), "inconclusive": tally.inconclusive}
    evidence |= {f"reason: {reason}": number for reason, number in sorted(tally.reasons.items())}
    if wrong:
        return Ruling(Outcome.VIOLATED, wrong[0], {**evidence, "found": wrong[:SHOWN]})
    text = f"{count} inputs, {len(tally.reasons)} verdicts at {len(tally.reached)} places, {tally.inconclusive} not told by one channel"
    return Ruling(Outcome.HOLDS, text, evidence)


def stress_parsers(count: int, seed: int, jobs: int) -> Ruling:
    """Search for damage that leads to new states, each search in one thread; an interruption ends it with what was reached."""

    def progress(found: Found) -> None:
        if count > STRETCH:
            so_far = found.reached
            click.echo(f"{so_far.inputs} inputs, {len(so_far.states)} states, {len(found.wrong)} findings", err=True)

    found = search(count, seed, jobs, progress)
    reached = found.reached
    evidence: dict[str, int | list[str]] = {
        "inputs": reached.inputs,
        "states": len(reached.states),
        "reasons": reached.reasons,
        "bytes held more": reached.grown,
        "bytes held at most": reached.peak,
        "reached": [
            f"{state.phase} / {state.step or '-'} / {state.reason or 'accepted'}: {number}"
            for state, number in sorted(reached.states.items())
        ],
    }
    if found.wrong:
        return Ruling(Outcome.VIOLATED, found.wrong[0], {**evidence, "found": found.wrong})
    if reached.grown > MEMORY:
        return Ruling(Outcome.VIOLATED, f"{reached.grown >> 20} MiB of memory are held more than after the first inputs", evidence)
    text = f"{reached.inputs} inputs, {len(reached.states)} states with {reached.reasons} reasons"
    return Ruling(Outcome.HOLDS, f"{text}, {reached.grown >> 20} MiB more held than at first", evidence)


KINDS: Final = ("preemptions", "guard", "moments", "faults", "inputs", "parsers")


@click.command()
@click.option("--only", type=click.Choice(KINDS), multiple=True, help="Only this kind; may be given several times.")
@click.option(
    "--preemptions",
    "bound",
    type=click.IntRange(0, 3),
    default=MOST_PREEMPTIONS,
    show_default=True,
    help="At most so many in an interleaving.",
)
@click.option("--faults", type=click.IntRange(1), default=1000, show_default=True, help="How many schedules with a fault.")
@click.option("--inputs", type=click.IntRange(1), default=20_000, show_default=True, help="How many damaged streams.")
@click.option("--parsers", type=click.IntRange(1), default=100_000, show_default=True, help="How many damaged migrations in one thread.")
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True, help="In how many processes migrations are damaged.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Where faults and damages begin.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of text.")
def stress(only: Sequence[str], bound: int, faults: int, inputs: int, parsers: int, jobs: int, seed: int, as_json: bool) -> None:
    """Put the built-in receiver under stress, which takes minutes.

    preemptions: stated packet sequences in every interleaving with few preemptions, side by side with the model.
    guard: schedules on guest RAM that the receive threads cannot write in COLO.
    moments: connections, threads, memory or the caller fail at each moment of a few migrations, one after the other.
    faults: connections, threads, memory or the caller fail at drawn moments.
    inputs: streams with drawn damage, which the slow decoder and the receiver must refuse alike.
    parsers: the same for all channels together, a thousand in a second, without sockets and threads (SIGINT: ends early).

    Exit codes: 0 nothing was found, 1 something was, 2 it could not be told.

    Example: colofd stress --only faults --faults 100000 --seed 7
    """
    runs: Mapping[str, Callable[[], Ruling]] = {
        "preemptions": partial(stress_preemptions, bound),
        "guard": check_guarded,
        "moments": stress_moments,
        "faults": partial(stress_faults, faults, seed),
        "inputs": partial(stress_inputs, inputs, seed),
        "parsers": partial(stress_parsers, parsers, seed, jobs),
    }
    rulings = {}
    for kind in only or KINDS:
        rulings[kind] = runs[kind]()
        if not as_json:
            click.echo("\n".join(_text(kind, rulings[kind])))
    report = StressReport(seed, rulings)
    if as_json:
        click.echo(msgspec.json.encode(report))
    sys.exit(report.exit_code)


def _text(kind: str, ruling: Ruling) -> list[str]:
    # What was reached is long, and in the JSON only.
    found = [line for name, lines in ruling.evidence.items() if isinstance(lines, list) and name != "reached" for line in lines]
    return [f"{kind:12} {ruling.outcome:9} {ruling.why}", *(f"    {line}" for line in found)]
