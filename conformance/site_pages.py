"""The pages of the reference as Markdown (MyST), made from the specification, the command line and the receiver's face."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import Final
from urllib.parse import urlencode

import click

from colofd import impl
from colofd.conformance.card import Card, Section, Style
from colofd.conformance.cards import Group, makers
from colofd.conformance.cards_of_proof import BREAKS, RUN
from colofd.conformance.command import colofd
from colofd.model.controls import WRONG
from colofd.model.proof_trees import cells_read
from colofd.spec.both_sides import BothSides
from colofd.spec.language import Rule, sort_name
from colofd.spec.language.cells import Cell
from colofd.spec.profiles import DEVIATIONS, PROFILES, STRICT
from colofd.spec.protocol import BOTH_SIDES, SPEC
from colofd.spec.reasons import Rejected
from colofd.spec.state import World

ABOUT: Final = {
    "Questions": "What was asked in the thread when multifd learnt COLO, with the answers of the specification.",
    "Rules": "A rule is a step: where all its conditions hold, all that it does may happen at once.",
    "Clauses": "A clause holds in every state that can be reached, for any number of pages, channels and checkpoints.",
    "Initial states": "Where every run begins.",
    "Ends": "Where a run has come to its end.",
    "Claims about every step": "Every step keeps to these; x' is what x is after the step.",
    "Measures of progress": "From its first states, a measure comes to its last ones, if steps that help are taken when they can be.",
    "Chains of measures": "What is reached by one measure after another.",
    "Waits": "Nobody goes on by himself here, and these steps end it.",
    "Records": "The wire format. Integers are unsigned and big-endian; a check is made as soon as its field is read.",
    "Checks": "Who reads a field must refuse the input with this reason if the check does not hold.",
    "Reasons": "The closed list of reasons to refuse an input.",
    "Deviations": "What versions of QEMU do otherwise; see also [the profiles](/profiles.md).",
    "Known mistakes": "The specification with a text changed, and the shortest run that shows what comes of it.",
    "Faults of receivers": "Receivers that are wrong, most of them as one was or is, and the rules that tell.",
    "Assumptions": "What is assumed and not proved. Where one of these is false, the proof says nothing.",
}
"""What stands above the cards of each kind."""


EXPLORER: Final = "explorer/index.html"
"""Where the explorer is in the site."""


def explorer_link(words: str, run: str) -> str:
    """Return a link from a page of the reference to the explorer with a run in it."""
    # It is no page that Sphinx knows.
    return f'<a href="../{EXPLORER}#{escape(run)}">{escape(words)}</a>'


def file_name(title: str) -> str:
    """Return the name of the page with this title."""
    return f"{_slug(title)}.md"


Vectors = Mapping[str, Sequence[str]]
"""The ids of the vectors that are about an id."""

NO_VECTORS: Final[Vectors] = {}


def cards_page(group: Group, vectors: Vectors = NO_VECTORS) -> str:
    """Return a page with all cards of one kind, each with how many vectors are about it."""
    cards = (line for name, make in group.cards.items() for line in (*card_markdown(make()), *_vectors(name, vectors.get(name, ()))))
    return "\n".join([f"# {group.title}", "", ABOUT[group.title], "", *cards])


def card_markdown(card: Card) -> Iterator[str]:
    """Yield the lines of a card."""
    yield from (f"({_target(card.id)})=", f"## {card.id}", "", _marked(card.words), "")
    for section in card.sections:
        yield from (f"**{_marked(section.title)}**", "", *_section(section), "")
        shown = card.id if section.title == RUN else section.title.partition(BREAKS)[2]
        if shown in {each.name for each in WRONG}:
            yield from (explorer_link("Step through the run", urlencode({"control": shown})), "")


def _vectors(identifier: str, names: Sequence[str]) -> Iterator[str]:
    if names:
        yield from (
            "**vectors**",
            "",
            f"[{len(names)} vectors are about it](vectors.md#{_vectors_target(identifier)}), `{names[0]}` for one.",
            "",
        )


def _vectors_target(identifier: str) -> str:
    return f"vectors-{_target(identifier)}"


def vectors_page(vectors: Vectors) -> str:
    """Return the page with the vectors by what they are about."""
    about = (
        "What to say to a receiver, and what must come of it: `colofd fill DIR` writes them, `colofd check SUBJECT --vectors DIR` plays "
        "them. A vector looks from outside, so it is about a check of the wire, or about what is in guest RAM after a commit or a failover."
    )
    lines = ["# Vectors", "", about, ""]
    for identifier, names in vectors.items():
        card = (link(identifier), "") if identifier in makers() else ()
        lines += [f"({_vectors_target(identifier)})=", f"## {identifier}", "", *card, "```text", *names, "```", ""]
    return "\n".join(lines)


def profiles_page() -> str:
    """Return the page that says for each deviation which versions have it, and how that is known."""
    about = "What each version does otherwise, and how that is known. An empty field: it does what the specification says."
    versions = [name for name in PROFILES if name != STRICT]
    rows = ([link(each.id), *(str(each.evidence.get(name, "")) for name in versions), _marked(each.instead)] for each in DEVIATIONS)
    names = "`colofd profiles diff ONE OTHER` prints what two columns differ in; [what a profile is](/profiles.md)."
    return "\n".join([*wide("Versions side by side"), about, names, "", *table(["deviation", *versions, "instead"], rows)])


def _section(section: Section) -> Iterator[str]:
    match section.style:
        case Style.FORMULA:
            yield from ("```text", *section.lines, "```")
        case Style.REFERENCES:
            yield from (f"- {_reference(*line.partition(': '))}" for line in section.lines)
        case Style.PLACE:
            yield from (f"[{line}](../{line.rpartition(':')[0]})" for line in section.lines)
        case Style.WORDS:
            yield "\n\n".join(map(_marked, section.lines))


def _reference(identifier: str, colon: str, remark: str) -> str:
    return f"{link(identifier)}{colon}{_marked(remark)}"


def link(identifier: str) -> str:
    """Return a link to the card of an id, or the id where it has none."""
    return f"[{identifier}](#{_target(identifier)})" if identifier in makers() else f"`{identifier}`"


def _target(identifier: str) -> str:
    return f"card-{re.sub(r'[^a-z0-9.]+', '-', identifier.lower())}"


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _marked(words: str) -> str:
    """Return words as Markdown: signs stand for themselves, and an id in backticks is a link."""
    parts = re.split(r"(`[^`]+`)", words)
    return "".join(link(part.strip("`")) if part.startswith("`") else re.sub(r"([\\*_<>\[\]#|])", r"\\\1", part) for part in parts)


def wide(title: str, style: str = "") -> tuple[str, ...]:
    """Return the first lines of a page that takes all the room there is, as a drawing needs it; with CSS, if more is to be said."""
    css = f"<style>@media (min-width: 80em) {{.content {{width: 68em}}}} {style}</style>"
    return ("---", "hide-toc: true", "---", f"# {title}", "", "```{raw} html", css, "```", "")


def writes_page() -> str:
    """Return the page that says for each rule and cell whether the rule reads it (r) or writes it (w)."""
    lines = [
        *wide("Who writes what", "th code {writing-mode: vertical-rl} td, th {padding: 1px 4px !important; font-size: 0.8rem}"),
        "`r`: the step reads the cell, in a condition or for what it writes. `w`: it writes the cell.",
        "",
    ]
    for title, cells, rules in (
        ("The receive path", World.cells(), SPEC.rules),
        ("The layer with both sides", tuple(cell for cell in BothSides.cells() if cell not in World.cells()), BOTH_SIDES.rules),
    ):
        rows = ([link(rule.id), rule.actor.value, *(marks(rule, cell) for cell in cells)] for rule in rules)
        lines += [f"## {title}", "", *table(["rule", "by", *(f"`{cell.name}`" for cell in cells)], rows)]
        lines += table(["cell", "of", "what it is"], ([f"`{cell.name}`", _sorts(cell), _marked(cell.doc)] for cell in cells))
    return "\n".join(lines)


def marks(rule: Rule, cell: Cell) -> str:
    """Return whether a rule reads (r) and writes (w) a cell."""
    expressions = [*rule.guards, *(part for update in rule.updates for part in (*update.key, update.value))]
    is_read = cell.name in cells_read(*expressions)
    is_written = any(update.cell is cell for update in rule.updates)
    return "r" * is_read + "w" * is_written


def _sorts(cell: Cell) -> str:
    key = f"{', '.join(map(sort_name, cell.key))} → " if cell.key else ""
    return f"{key}{sort_name(cell.to)}"


def table(head: list[str], rows: Iterable[list[str]]) -> Iterator[str]:
    """Yield the lines of a table."""
    yield f"| {' | '.join(head)} |"
    yield f"|{' --- |' * len(head)}"
    yield from (f"| {' | '.join(row)} |" for row in rows)
    yield ""


def commands_page() -> str:
    """Return the page with the help of every command."""
    begin = click.Context(colofd, info_name="colofd", max_content_width=110)
    return "\n".join(["# Commands", "", *_help(colofd, begin)])


def _help(command: click.Command, context: click.Context) -> Iterator[str]:
    yield from (f"## {context.command_path}", "", "```text", command.get_help(context), "```", "")
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            if found is not None:
                yield from _help(found, click.Context(found, info_name=name, parent=context, max_content_width=110))


def api_page() -> str:
    """Return the page of what an embedding program imports."""
    about = "What a program imports that embeds the receiver: `from colofd.impl import ...`. Bad input raises `Rejected` and nothing else."
    directives = (
        line for name in impl.__all__ for line in _documented(f"colofd.impl.{name}", is_class=isinstance(getattr(impl, name), type))
    )
    rejected = _documented(f"{Rejected.__module__}.{Rejected.__name__}", is_class=True)
    return "\n".join(["# The receiver in Python", "", about, "", "```{eval-rst}", *directives, *rejected, "```", ""])


def _documented(name: str, *, is_class: bool) -> Iterator[str]:
    yield from ((f".. autoclass:: {name}", "   :members:", "") if is_class else (f".. autofunction:: {name}", ""))
