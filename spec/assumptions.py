"""What is assumed and not proved: a closed list. Where one of these is false, the proof says nothing."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Assumption:
    """One assumption.

    `needed_by` says what rests on it: ids of rules and clauses, the first words of such ids ("send" for all of `send.*`), or kinds of
    obligations ("progress"). What rests on clauses rests on what these need, too.
    """

    id: str
    text: str
    needed_by: tuple[str, ...]


_EVERY_STEP: Final = (
    "initiation",
    "consecution",
    "isolation",
    "ownership",
    "commit",
    "progress",
    "vacuity",
    "step",
    "ability",
    "need",
    "equivalence",
)
_EVERYTHING: Final = (*_EVERY_STEP, "decision")

ASSUMPTIONS: Final = (
    Assumption(
        "sender.once",
        "Between two barriers the sender sends a page at most once, and by one channel.",
        ("send.normal-page", "send.zero-page", "receive.one-carrier"),
    ),
    Assumption(
        "sender.honest",
        "A page with content is sent as it is in the primary's RAM when it is taken up, and only a page of zeros is flagged as one. "
        "What is written to it later is sent again before the barrier counts as the last one.",
        ("send.normal-page", "send.zero-page", "send.zero-flag-honest", "receive.landed-content", "receive.read-page"),
    ),
    Assumption(
        "sender.synchronises",
        "The sender ends a round on every multifd channel with a SYNC, after all its pages, and tells the main channel after that.",
        ("barrier", "phase.complete", "phase.enter-colo", "checkpoint.received"),
    ),
    Assumption(
        "channels.ordered",
        "A channel delivers its bytes in order, unchanged, and none twice, until it ends; it may end after any byte. "
        "Nothing is assumed of the order between channels.",
        ("receive", "main", "colo"),
    ),
    Assumption(
        "wire.decoded",
        "What a channel carries is what its bytes mean by the tables of spec/wire, and a codec gives back the pages that were packed. "
        "Both are tested, on recordings and on damaged input; a rule speaks of pages only.",
        ("receive.prepare", "receive.read-page", "main.prepare", "main.read-page"),
    ),
    Assumption(
        "steps.atomic",
        "A rule is one indivisible step, and memory is sequentially consistent between steps. "
        "Only a payload that is being read may be seen half done: `receive.read-part` and `main.read-part` leave anything in the page.",
        _EVERY_STEP,
    ),
    Assumption(
        "memory.fresh-is-zero",
        "Memory that was just allocated for RAM and cache reads as zeros. Only the elision of zero pages needs it.",
        ("receive.untouched-buffer-zero", "receive.zero-page"),
    ),
    Assumption(
        "guest.logged",
        "The dirty log misses no write of the secondary's guest, and the guest writes nothing while it is stopped.",
        ("guest.secondary-write", "mirror.dirty-covers", "isolation.guest"),
    ),
    Assumption(
        "devices.opaque",
        "The state of all devices is one value. Whether it can be loaded is known when it is validated, does not change, "
        "and loading it then cannot fail.",
        ("guest.primary-device", "guest.secondary-device", "checkpoint.answer", "checkpoint.commit", "isolation.device", "output"),
    ),
    Assumption(
        "scope",
        "There is no postcopy, blocks of RAM keep their sizes, and a round does not end after each section "
        "(multifd-flush-after-each-section, machine types up to 8.0).",
        _EVERY_STEP,
    ),
    Assumption("progress.finite", "Pages, channels and threads are finitely many, and so is what a packet carries.", ("progress",)),
    Assumption(
        "progress.fair",
        "Where some helpful step of a measure can be taken for ever, one is taken at last (weak fairness). "
        "For a page of a packet, that means that the peer goes on sending what it has announced; what a measure excuses does not happen.",
        ("progress",),
    ),
    Assumption(
        "disk.sync",
        "What was written to a file is on the disk after a sync of the file, and names are after a sync of the folder; a name is given to "
        "another file at once or not at all. Nothing is assumed of what was written since, nor of its order. What the disk has it keeps: "
        "that is not proved but checked, page by page, when a checkpoint is read.",
        ("store", "standby"),
    ),
    Assumption(
        "trust.trace",
        "The trees that are proved are what the texts in Python mean: the tracer of spec/language, which refuses a condition that "
        "it cannot see; and for the receiver's decisions, that numpy computes on arrays of bool and uint64 what is traced.",
        _EVERYTHING,
    ),
    Assumption(
        "trust.obligations",
        "What is asked is what is claimed: the rewriting of a clause to what it says after a step, the check that a layer adds guards and "
        "writes only its own cells, and the writer of the SMT-LIB text.",
        _EVERYTHING,
    ),
    Assumption(
        "trust.solvers",
        'Z3 and cvc5 are not wrong about the same text at the same time. cvc5\'s answers "unsat" can be exported with proofs, '
        "which a checker of its own reads (`--export DIR --proofs`).",
        _EVERYTHING,
    ),
)
"""All of them, those of the world first and those of the tools last."""
