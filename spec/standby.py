"""A standby without a second VM: the store of its checkpoints, and what is left in it if the power fails at any step.

A layer over both sides. On the disk are an image of RAM and two records, each with the pages that differ from the checkpoint before:

- the *older* record is of the last checkpoint but one, or of the last one; the image is that of the checkpoint before it, while the record
  is being merged with any part of it;
- the *newest* record is being written, or is of the last checkpoint.

What a write leaves on the disk is known only after a sync. So a page of the older record reaches the image at any time, in any order; a
name that was given or taken away is there or not until the folder is synced; and a record that is not synced is not read at all, for it
has no name. To keep more than one checkpoint, more records stand between the two, and none of these steps touches them.
"""

from enum import Enum, auto
from typing import Final

from colofd.spec.both_sides import BOTH_SIDES, BothSides, DeviceState, Message, PrimaryAt
from colofd.spec.constants import Step
from colofd.spec.language import Actor, ClauseBook, Expr, Layer, Map, Scalar, every, where
from colofd.spec.state import Page, Phase, Value

_WRITER: Final = "impl/store/writer.py:StoreWriter.keep"
_MERGER: Final = "impl/store/merger.py:Merger"


class RecordAt(Enum):
    """Where the newest record is."""

    NONE = auto()
    """There is none: the last checkpoint is the older record's."""
    WRITING = auto()
    """It has no name that is read: after a power cut it is nothing."""
    SYNCED = auto()
    """As before, and all of its content is on the disk."""
    NAMED = auto()
    """It has its name: after a power cut it is there, or not."""
    DURABLE = auto()
    """The name is on the disk, too."""


class Standby(BothSides):
    """The cells that the layer adds: what is on the disk, where the store is, and ghosts."""

    image = Map(Page, Value, "The image of RAM on the disk.")
    older_has = Map(Page, bool, "The older record has the page.")
    older = Map(Page, Value, "The page in the older record.")
    older_device = Scalar(DeviceState, "Device state in the older record.")
    newest_has = Map(Page, bool, "The newest record has the page.")
    newest = Map(Page, Value, "The page in the newest record.")
    newest_device = Scalar(DeviceState, "Device state in the newest record.")
    newest_at = Scalar(RecordAt, "Where the newest record is.")
    is_merged = Scalar(bool, "All of the older record is in the image, and on the disk.")
    is_removed = Scalar(bool, "The older record was removed: after a power cut it is there, or not.")
    has_checkpoint = Scalar(bool, "There is a checkpoint in the store.")
    is_kept = Scalar(bool, "The checkpoint at hand is durable.")
    kept = Map(Page, Value, "Ghost: RAM of the last durable checkpoint.", is_ghost=True)
    kept_device = Scalar(DeviceState, "Ghost: device state of the last durable checkpoint.", is_ghost=True)
    coming = Map(Page, Value, "Ghost: RAM of the checkpoint whose record was written last.", is_ghost=True)
    coming_device = Scalar(DeviceState, "Ghost: device state of the checkpoint whose record was written last.", is_ghost=True)


layer = Layer(BOTH_SIDES, Standby)


def before(s: Standby, page: Expr[Page]) -> Expr[Value]:
    """Return what a page is on the disk without the newest record."""
    return where(s.older_has[page], s.older[page], s.image[page])


def after(s: Standby, page: Expr[Page]) -> Expr[Value]:
    """Return what a page is on the disk with the newest record."""
    return where(s.newest_has[page], s.newest[page], before(s, page))


# A checkpoint is written.


@layer.extends(Step.ENTER_COLO, source=_WRITER)
def enter_colo(s: Standby) -> None:
    """The end of precopy is the first checkpoint: a record of all pages is durable before CHECKPOINT_READY is sent."""
    s.older_has[:] = True
    s.older[:] = lambda p: s.cache[p]
    s.older_device = s.primary_device
    s.has_checkpoint = True
    s.kept[:] = lambda p: s.cache[p]
    s.kept_device = s.primary_device


@layer.extends(Step.CHECKPOINT_BEGIN, source=_WRITER)
def checkpoint_begin(s: Standby) -> None:
    """Another checkpoint is at hand."""
    s.is_kept = False


@layer.rule("store.begin-record", by=Actor.RECEIVER, source=_WRITER)
def begin_record(s: Standby) -> None:
    """A new file, which has no name that is read. There is room for one: the record before has become the older one."""
    s.when(s.phase == Phase.RECEIVED, ~s.is_kept, s.newest_at == RecordAt.NONE)
    s.newest_at = RecordAt.WRITING
    s.newest_has[:] = False


@layer.rule("store.write-page", by=Actor.RECEIVER, source=_WRITER)
def write_page(s: Standby, page: Expr[Page]) -> None:
    """A page that the primary has sent since the checkpoint before is written to the record, from the cache."""
    s.when(s.phase == Phase.RECEIVED, s.newest_at == RecordAt.WRITING, s.peer_dirty[page])
    s.newest_has[page] = True
    s.newest[page] = s.cache[page]


@layer.rule("store.sync-record", by=Actor.RECEIVER, source=_WRITER)
def sync_record(s: Standby) -> None:
    """All dirty pages and the device state are in the record, and its content is on the disk."""
    s.when(s.phase == Phase.RECEIVED, s.newest_at == RecordAt.WRITING)
    s.when(every(Page)(lambda p: s.peer_dirty[p] >> s.newest_has[p]))
    s.newest_at = RecordAt.SYNCED
    s.newest_device = s.arriving_device
    s.coming[:] = lambda p: s.cache[p]
    s.coming_device = s.arriving_device


@layer.rule("store.name-record", by=Actor.RECEIVER, source=_WRITER)
def name_record(s: Standby) -> None:
    """The record gets its name: from here on it may be found."""
    s.when(s.newest_at == RecordAt.SYNCED)
    s.newest_at = RecordAt.NAMED


@layer.rule("store.sync-name", by=Actor.RECEIVER, source=_WRITER)
def sync_name(s: Standby) -> None:
    """The folder is synced: the checkpoint is durable."""
    s.when(s.newest_at == RecordAt.NAMED)
    s.newest_at = RecordAt.DURABLE
    s.is_kept = True
    s.kept[:] = lambda p: s.coming[p]
    s.kept_device = s.coming_device


@layer.extends(Step.ANSWER, source=_WRITER)
def answer(s: Standby) -> None:
    """Nothing is answered that is not durable."""
    s.when(s.is_kept)


# The older record is merged.


@layer.rule("store.merge-page", by=Actor.RECEIVER, source=_MERGER)
def merge_page(s: Standby, page: Expr[Page]) -> None:
    """A page of the older record reaches the image on the disk, at any time after the newest record is durable."""
    s.when(s.newest_at == RecordAt.DURABLE, s.older_has[page])
    s.image[page] = s.older[page]


@layer.rule("store.sync-image", by=Actor.RECEIVER, source=_MERGER)
def sync_image(s: Standby) -> None:
    """All of the older record is in the image, and on the disk."""
    s.when(s.newest_at == RecordAt.DURABLE, every(Page)(lambda p: s.older_has[p] >> (s.image[p] == s.older[p])), ~s.is_merged)
    s.is_merged = True


@layer.rule("store.remove-record", by=Actor.RECEIVER, source=_MERGER)
def remove_record(s: Standby) -> None:
    """The older record is removed; a power cut may bring it back."""
    s.when(s.is_merged, ~s.is_removed)
    s.is_removed = True


@layer.rule("store.sync-removal", by=Actor.RECEIVER, source=_MERGER)
def sync_removal(s: Standby) -> None:
    """The folder is synced: the older record is gone for good, and the newest one is the older one from here on."""
    s.when(s.is_removed)
    s.older_has[:] = lambda p: s.newest_has[p]
    s.older[:] = lambda p: s.newest[p]
    s.older_device = s.newest_device
    s.newest_at = RecordAt.NONE
    s.is_merged = False
    s.is_removed = False


# What is claimed, and what carries the proof.

clauses = ClauseBook(Standby)
initial_states = ClauseBook(Standby)

_AT_HAND = (Phase.RECEIVED, Phase.FLUSHING)
_IN_COLO = (Phase.IDLE, Phase.RECEIVING, *_AT_HAND)
_OURS: Final = "colofd: found from counter-examples to induction"


@initial_states.clause("standby.initial", source=_WRITER)
def initial(s: Standby) -> Expr[bool]:
    """The store is empty."""
    return (s.newest_at == RecordAt.NONE) & ~s.is_merged & ~s.is_removed & ~s.has_checkpoint & ~s.is_kept


@clauses.clause("standby.last-checkpoint", source="issue: all-or-nothing checkpoints, failover at any moment")
def last_checkpoint(s: Standby) -> Expr[bool]:
    """At every step, a store that finds no newer record is exactly the last durable checkpoint: RAM and device state."""
    is_old = s.has_checkpoint & (s.newest_at != RecordAt.DURABLE)
    old = every(Page)(lambda p: is_old >> (before(s, p) == s.kept[p])) & (is_old >> (s.older_device == s.kept_device))
    is_new = s.newest_at == RecordAt.DURABLE
    new = every(Page)(lambda p: is_new >> (after(s, p) == s.kept[p])) & (is_new >> (s.newest_device == s.kept_device))
    return old & new


@clauses.clause("standby.next-checkpoint", source="issue: all-or-nothing checkpoints, failover at any moment")
def next_checkpoint(s: Standby) -> Expr[bool]:
    """A store that finds a record before its name is durable is exactly the checkpoint that is being written."""
    may_be_found = s.newest_at.within(RecordAt.SYNCED, RecordAt.NAMED)
    ram = every(Page)(lambda p: may_be_found >> (after(s, p) == s.coming[p]))
    return ram & (may_be_found >> (s.newest_device == s.coming_device))


@clauses.clause("standby.removed", source="impl/store/merger.py: the folder is synced before the next record is touched")
def removed(s: Standby) -> Expr[bool]:
    """Whether a removed record comes back or not, the store is the same."""
    without = every(Page)(lambda p: s.is_removed >> (where(s.newest_has[p], s.newest[p], s.image[p]) == after(s, p)))
    return without & (s.is_removed >> s.is_merged)


def _is_told(s: Standby) -> Expr[bool]:
    """Return whether the checkpoint was answered, and the primary's guest does not run again yet, as far as is known here."""
    return s.is_promised | s.in_flight[Message.VMSTATE_RECEIVED] | (s.primary_at == PrimaryAt.RELEASED)


@clauses.clause("standby.output", source="net/colo-compare.c; colo.c: VMSTATE_RECEIVED")
def output(s: Standby) -> Expr[bool]:
    """From the answer on, until its guest runs again, what the primary has is what is durable: so its output may go."""
    return every(Page)(lambda p: _is_told(s) >> (s.kept[p] == s.primary[p])) & (_is_told(s) >> (s.kept_device == s.primary_device))


@clauses.clause("standby.unanswered", source=_OURS)
def unanswered(s: Standby) -> Expr[bool]:
    """A checkpoint whose record is being written was not answered."""
    return s.newest_at.within(RecordAt.WRITING, RecordAt.SYNCED, RecordAt.NAMED) >> ~_is_told(s)


@clauses.clause("standby.clean-page-kept", source=_OURS)
def clean_page_kept(s: Standby) -> Expr[bool]:
    """A page that was not sent since the last durable checkpoint is in the cache as it is in that."""
    same = (s.phase == Phase.IDLE) | s.is_kept
    return every(Page)(lambda p: (s.phase.within(*_IN_COLO) & (same | ~s.peer_dirty[p])) >> (s.cache[p] == s.kept[p]))


@clauses.clause("standby.at-hand", source=_OURS)
def at_hand(s: Standby) -> Expr[bool]:
    """What is answered is durable, with the device state at hand; and a durable one is at hand until the next one begins."""
    device = (s.is_kept & s.phase.within(*_AT_HAND)) >> (s.kept_device == s.arriving_device)
    promised = (s.is_promised | (s.phase == Phase.FLUSHING)) >> s.is_kept
    return device & promised & ((s.phase == Phase.RECEIVING) >> ~s.is_kept)


@clauses.clause("standby.record-of-cache", source=_OURS)
def record_of_cache(s: Standby) -> Expr[bool]:
    """While a checkpoint is at hand, its record has what the cache has."""
    is_written = (s.phase == Phase.RECEIVED) & (s.newest_at == RecordAt.WRITING)
    is_whole = (s.phase == Phase.RECEIVED) & s.newest_at.within(RecordAt.SYNCED, RecordAt.NAMED)
    written = every(Page)(lambda p: (is_written & s.newest_has[p]) >> (s.newest[p] == s.cache[p]))
    whole = every(Page)(lambda p: is_whole >> (s.coming[p] == s.cache[p]))
    return written & whole & (is_whole >> (s.coming_device == s.arriving_device))


@clauses.clause("standby.records", source=_OURS)
def records(s: Standby) -> Expr[bool]:
    """A record is written only while its checkpoint is at hand, or when COLO has ended meanwhile; merging needs a newer durable one."""
    settled = s.newest_at.within(RecordAt.NONE, RecordAt.DURABLE)
    quiet = s.phase.within(Phase.IDLE, Phase.RECEIVING, Phase.FLUSHING) | s.is_kept
    empty = s.phase.within(Phase.SETUP, Phase.PRECOPY, Phase.FILLING, Phase.FAILED, Phase.COMPLETED)
    nothing = (s.newest_at == RecordAt.NONE) & ~s.is_kept
    begun = s.phase.within(*_IN_COLO) >> s.has_checkpoint
    return (quiet >> settled) & (empty >> nothing) & begun & ((s.newest_at != RecordAt.NONE) >> s.has_checkpoint)


@clauses.clause("standby.merged", source=_OURS)
def merged(s: Standby) -> Expr[bool]:
    """What is merged is in the image, and a newer record is durable."""
    in_image = every(Page)(lambda p: (s.is_merged & s.older_has[p]) >> (s.image[p] == s.older[p]))
    return in_image & (s.is_merged >> (s.newest_at == RecordAt.DURABLE))


(_initial,) = initial_states

STANDBY = layer.spec(_initial, clauses)
"""Both sides, with a store in place of the secondary's guest."""
