"""Two pages about the vectors: their format, made from its JSON Schema, and what they cover, made from the vectors."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from colofd.conformance.vector_families import Needed
from colofd.conformance.vector_format import Vector, schema
from colofd.model.controls import WRONG
from colofd.spec.constants import Step
from colofd.spec.reasons import Reason
from colofd.spec.wire import CHECKS

FAMILIES: Final = {
    "wire": "each check of the wire is broken in each kind of stream that has its field, and each channel is cut before each of its fields",
    "field": "a field has another value, in precopy or in a checkpoint: boundaries, neighbours, bits of flags, what stands elsewhere",
    "fault": "a channel ends before a field, or in the middle of a payload, in precopy or in a checkpoint",
    "page": "a page comes as content or as zeros after it had come before, by which channels, and what concludes it",
    "round": "rounds that are empty or left open, pages between checkpoints, and each COLO message at each stage",
    "set-up": "numbers of channels, page sizes, RAM blocks, compressions, full packets, and the order in which channels connect",
    "payload": "streams of zlib and zstd as they may be, and as they may not",
    "run": "the shortest run that shows each known mistake, and tours through what can follow what",
    "schedule": "the directed schedules, and drawn ones: packets that follow each other, channels that die, failover",
    "capture": "recordings of real QEMU, which the built-in receiver and the model are replayed on",
}
"""What the vectors of each family are about."""

_CAPABILITIES: Final = "a receiver is set up without validated capabilities, so that the number of them is refused first"
_THREADS: Final = "it needs a thread that is held while failover goes on; `colofd check` holds those of its own receiver"
_RETURN_PATH: Final = "the primary reads the return path, and a vector plays the primary"

WITHOUT: Final[Mapping[str, str]] = {
    "wire.configuration.capability": _CAPABILITIES,
    "wire.return-path.message": _RETURN_PATH,
    "wire.return-path.postcopy": _RETURN_PATH,
    "wire.return-path.length": _RETURN_PATH,
    Step.FILL_BEGIN: "when a receiver fills its cache is not seen from outside",
    "cache released under threads": _THREADS,
    "receivedmap released under threads": _THREADS,
    Reason.STREAM_MAGIC: "which channel begins with other bytes nobody knows: it is refused as channel-magic",
    Reason.SECTION_VERSION: "no check has it",
    Reason.FLUSH_MISSING: "whether pages are late or the end of the round is early, the order of reading decides: refused for any reason",
    Reason.DEVICE_STATE_REFUSED: "the embedder's reason, and the device state of a vector is opaque",
    Reason.DEADLINE: "a vector does not wait for a deadline, which is the receiver's",
    Reason.EMBEDDER: "it is the embedder's, not the input's",
    Reason.CLOSED: "it is the embedder's, not the input's",
}
"""Checks, rules, reasons and known mistakes that no vector is about, and why."""

_ROW: Final = "| {} | {} | {} |"


def pages_about(needed: Needed) -> dict[str, str]:
    """Return what stands beside the vectors, by the names of the files: the schema, and the two pages."""
    example = min(needed.vectors, key=lambda vector: len(msgspec.json.encode(vector)))
    return {
        "schema.json": json.dumps(schema(), indent=1, sort_keys=True) + "\n",
        "format.md": format_page(example),
        "coverage.md": coverage_page(needed),
    }


def format_page(example: Vector) -> str:
    """Return the page that says what each record has, as Markdown; `example` is shown whole."""
    definitions: dict[str, Any] = schema()["$defs"]
    shown = json.dumps(msgspec.to_builtins(example), indent=1, sort_keys=True)
    lines = ["# Format of the vectors", "", *_ABOUT_THE_FORMAT, "", f"One vector, `{example.id}`:", "", "```json", shown, "```", ""]
    for name, definition in definitions.items():
        about = [line.strip() for line in definition.get("description", "").splitlines()]
        lines += [f"## {name}", "", *about, "", *_fields(definition)]
    return "\n".join(lines)


_ABOUT_THE_FORMAT: Final = (
    "`colofd fill DIR` writes a folder: `index.json`, a file of lines of JSON for each family, `schema.json` with the JSON Schema of both,",
    "and `coverage.md`. A line is a vector, and needs nothing of colofd to be played. A reader refuses a `format_version` that it does not",
    "know.",
    "",
    "To play a vector, set a receiver up as `setup` says, and go through `script`: `do` says which act it is. An act is done when what it",
    "waits for is there, which takes milliseconds. At the end, `verdict` says what is refused, if anything. A guest that runs must write",
    "nothing but what `guest-writes` says.",
    "",
    "A vector with a `twin` differs from it by one fact. Play the twin, too: who refuses both has not found that fact.",
)


def _fields(definition: Mapping[str, Any]) -> Iterator[str]:
    if "enum" in definition:
        yield from (", ".join(f"`{each}`" for each in definition["enum"]), "")
        return
    required = definition.get("required", [])
    yield from ("| field | type | if it is left out |", "|---|---|---|")
    for name, its in definition["properties"].items():
        default = "" if name in required else f"`{json.dumps(its['default'])}`" if "default" in its else ""
        yield _ROW.format(f"`{name}`", _type(its), default)
    yield ""


def _type(its: Mapping[str, Any]) -> str:
    """Return a type of the schema in words."""
    if "$ref" in its:
        return str(its["$ref"]).rpartition("/")[2]
    if "anyOf" in its:
        return " or ".join(_type(each) for each in its["anyOf"])
    if "enum" in its:
        return " or ".join(f"`{json.dumps(each)}`" for each in its["enum"])
    if its["type"] == "array":
        return f"list of {_type(its['items'])}"
    return str(its["type"])


def coverage_page(needed: Needed) -> str:
    """Return the page that says how many vectors there are of what, what they cover, and what none covers, as Markdown."""
    vectors = needed.vectors
    refused = Counter(vector.family for vector in vectors if not vector.verdict.is_accepted)
    families = Counter(vector.family for vector in vectors)
    rows = (f"| {name} | {count} | {refused[name]} | {FAMILIES[name]} |" for name, count in families.items())
    lines = ["# What the vectors cover", "", _SUMMARY.format(len(vectors), needed.dropped), ""]
    lines += ["| family | vectors | of them refused | about |", "|---|---|---|---|", *rows, ""]
    lines += ["## What is covered by one vector alone", "", "| kind | number | for one |", "|---|---|---|", *_kinds(needed), ""]
    for title, its in about(needed).items():
        lines += [f"## {title}", "", "| id | vectors | for one |", "|---|---|---|"]
        lines += [_ROW.format(f"`{name}`", len(ids), f"`{ids[0]}`") for name, ids in its.items() if ids]
        without = [f"- `{name}`: {WITHOUT.get(name, _UNEXPLAINED)}" for name, ids in its.items() if not ids]
        lines += ["", "About these there is none:", "", *without, ""]
    return "\n".join(lines)


_SUMMARY: Final = (
    "There are {} vectors. Each is the only one to cover something, or the twin of one that is. {} others were dropped, as they were not."
)

_UNEXPLAINED: Final = "not among these"


def unexplained(needed: Needed) -> list[str]:
    """Return what no vector is about, and nobody says why: checks, rules, reasons, mistakes; and those that one is about all the same."""
    found = {name: bool(ids) for its in about(needed).values() for name, ids in its.items()}
    return [name for name, is_covered in found.items() if is_covered is (name in WITHOUT)]


def about(needed: Needed) -> dict[str, dict[str, list[str]]]:
    """Return the ids of the vectors that are about each check, rule, reason and known mistake, by what these are called."""
    of_rule: dict[str, list[str]] = {}
    of_reason: dict[str, list[str]] = {}
    for vector in needed.vectors:
        for rule in vector.rules:
            of_rule.setdefault(rule, []).append(vector.id)
        of_reason.setdefault(vector.verdict.reason, []).append(vector.id)
    return {
        "Checks of the wire": {check: of_rule.get(check, []) for check in CHECKS},
        "Rules of the receiver": {str(step): of_rule.get(step, []) for step in Step},
        "Reasons to refuse": {str(reason): of_reason.get(reason, []) for reason in Reason},
        "Shortest runs of known mistakes, as far as they are seen from outside": {
            control.name: _showing(control.name, needed) for control in WRONG
        },
    }


def _showing(mistake: str, needed: Needed) -> list[str]:
    """Return the vectors that make the shortest run that shows a mistake."""
    return [name for name, its in needed.covers.items() if any(each.startswith(f"known mistake: {mistake},") for each in its)]


def _kinds(needed: Needed) -> Iterator[str]:
    found: dict[str, list[str]] = {}
    for its in needed.covers.values():
        for each in its:
            found.setdefault(each.partition(":")[0], []).append(each.partition(": ")[2])
    return (_ROW.format(kind, len(its), its[0]) for kind, its in found.items())
