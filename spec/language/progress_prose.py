"""Measures, chains and waits as text for people."""

from collections.abc import Iterator

from colofd.spec.language.expressions import Literal
from colofd.spec.language.progress import Chain, Excuse, Measure, Remaining, Wait
from colofd.spec.language.prose import prose


def measure_prose(measure: Measure) -> str:
    """Return a measure as some lines: what it says, from where to where, what remains, which steps help, and of which it does not speak."""
    lines = [f"{measure.id}: {measure.doc.splitlines()[0]}", f"  from: {prose(measure.during)}", f"  to: {prose(measure.goal)}"]
    lines += [f"  remaining: {_set(part)}" for part in measure.remaining]
    lines += [f"  helps: {', '.join(rule.id for rule in measure.helpful)}"]
    return "\n".join([*lines, *_excused(measure.excuses)])


def chain_prose(chain: Chain) -> str:
    """Return a chain as some lines: what it says, and its links with the values of their parameters."""
    links = (
        link.measure.id + "".join(f", {parameter.name} = {prose(value)}" for parameter, value in link.values.items())
        for link in chain.links
    )
    ends = (f"  from: {prose(chain.start)}", f"  to: {prose(chain.end)}")
    return "\n".join([f"{chain.id}: {chain.doc.splitlines()[0]}", *ends, f"  by: {'; '.join(links)}"])


def wait_prose(wait: Wait) -> str:
    """Return a wait as some lines: what it is, and who ends it."""
    ended_by = ", ".join(rule.id for rule in wait.ended_by)
    return f"{wait.state.id}: {wait.state.doc.splitlines()[0]}\n  in: {prose(wait.state.formula)}\n  ended by: {ended_by}"


def _set(part: Remaining) -> str:
    members = ", ".join(f"{member.name}" for member in part.members)
    return f"{{{members} | {prose(part.formula)}}}" if members else prose(part.formula)


def _excused(excuses: tuple[Excuse, ...]) -> Iterator[str]:
    for excuse in excuses:
        where = "" if isinstance(excuse.where, Literal) else f" where {prose(excuse.where)}"
        yield f"  not {excuse.rule.id}{where}: {excuse.because}"
