"""The state of the receive path: what there is, before any rule says how it changes.

Pages, channels and page values are unbounded: nothing here depends on how many there are.
A packet is a relation (`packet[channel, page]`) and not a function, which keeps the graph of sorts
acyclic: Page and Channel lead to Value, never back. So every proof obligation is decidable.
"""

from enum import Enum, auto

from colofd.spec.language import Constant, Expr, Index, Map, Relation, Scalar, State, every, some, where


class Page(Index):
    """A target page of some RAM block."""


class Channel(Index):
    """A migration channel: the main one, or a multifd channel."""


class Value(Index):
    """What a page may contain."""


MAIN: Constant[Channel] = Constant("main", Channel)
"""The main channel; every other channel is a multifd channel."""

ZERO: Constant[Value] = Constant("zero", Value)
"""The content of a page of zeros."""


class Phase(Enum):
    """Where the destination is. `PRECOPY` never comes back, which the latch relies on."""

    SETUP = auto()
    """Nothing allocated, no thread runs."""
    PRECOPY = auto()
    """Pages arrive, no guest runs here."""
    FILLING = auto()
    """Only with the deferred mirror: the guest is filled from the cache, once."""
    IDLE = auto()
    """COLO: between two checkpoints, both guests run."""
    RECEIVING = auto()
    """COLO: the pages of a checkpoint arrive."""
    RECEIVED = auto()
    """COLO: the whole checkpoint is here, none of it in the guest."""
    FLUSHING = auto()
    """COLO: the checkpoint is being copied into the stopped guest."""
    FAILOVER = auto()
    """The secondary's guest has taken over."""
    STOPPED = auto()
    """COLO was left without taking over; the guest stays as it was."""
    COMPLETED = auto()
    """An ordinary migration has ended; the guest runs here."""
    FAILED = auto()
    """Precopy was given up."""


class At(Enum):
    """Where the receive thread of a channel is."""

    READY = auto()
    """Between two packets (main channel: between two records)."""
    BODY = auto()
    """The header is accepted and `prepare` is done; the payload arrives."""
    PROCESSING = auto()
    """The whole payload has landed; its pages are mirrored one by one."""
    PARKED = auto()
    """SYNC was read: waiting at the barrier."""
    EXITED = auto()
    """The thread has ended."""


class Carried(Enum):
    """What a channel carries for a page at the moment."""

    NOTHING = auto()
    NORMAL = auto()
    """The page is in the current packet, with its content."""
    ZERO = auto()
    """The page is in the current packet as one of zeros, without content."""
    NORMAL_LANDED = auto()
    """Its content is in the receive buffer."""
    ZERO_LANDED = auto()
    """The receive buffer holds zeros for it."""


class World(State):
    """All cells. A receiver owns `guest` to `channel_at`; the rest is the primary, the choices made, and a ghost."""

    colo = Scalar(bool, "The capability x-colo; never changes.")
    deferred = Scalar(bool, "A legal choice of the receiver, never changes: fill the guest once, when COLO begins, not packet by packet.")

    phase = Scalar(Phase, "Where the destination is.")
    guest_running = Scalar(bool, "The secondary's guest executes.")
    cache_allocated = Scalar(bool, "The cache (colo_cache) exists.")
    receivedmap_allocated = Scalar(bool, "The receivedmap exists.")

    guest = Map(Page, Value, "Guest RAM of the secondary.")
    cache = Map(Page, Value, "The mirror of the primary's RAM, colo_cache.")
    received = Map(Page, bool, "The receivedmap: this page has arrived at least once, by whatever channel.")
    peer_dirty = Map(Page, bool, "The dirty bitmap: the primary has sent this page since the last flush.")
    own_dirty = Map(Page, bool, "The dirty log: the secondary's guest has written this page since the last flush.")
    channel_at = Map(Channel, At, "Where each receive thread is.")
    mirror = Map(Channel, bool, "The latch: the current packet is copied to the other side once it has landed.")
    packet = Relation(Channel, Page, Carried, "What each channel carries.")

    primary = Map(Page, Value, "RAM of the primary.")
    unsent = Map(Page, bool, "The primary's dirty bitmap: this page must still be sent.")
    sent = Map(Page, bool, "The primary has sent this page in the current round.")

    survivor = Map(
        Page, Value, "Ghost: the last commit plus the secondary's own writes; what must be left if the primary dies now.", is_ghost=True
    )


def is_live(s: World) -> Expr[bool]:
    """Return whether the destination still receives, or may receive again."""
    return s.phase.within(Phase.PRECOPY, Phase.FILLING, Phase.IDLE, Phase.RECEIVING, Phase.RECEIVED, Phase.FLUSHING)


def is_receiving(s: World) -> Expr[bool]:
    """Return whether packets may arrive now."""
    return s.phase.within(Phase.PRECOPY, Phase.RECEIVING)


def is_in_colo(s: World) -> Expr[bool]:
    """Return whether the destination is in COLO state."""
    return s.phase.within(Phase.IDLE, Phase.RECEIVING, Phase.RECEIVED, Phase.FLUSHING)


def is_multifd(channel: Expr[Channel]) -> Expr[bool]:
    """Return whether this is not the main channel."""
    return channel != MAIN


def carries_nothing(s: World, channel: Expr[Channel]) -> Expr[bool]:
    """Return whether the channel is in the middle of nothing."""
    return every(Page)(lambda q: s.packet[channel, q] == Carried.NOTHING)


def is_flying(s: World, page: Expr[Page]) -> Expr[bool]:
    """Return whether some channel carries the page."""
    return some(Channel)(lambda c: s.packet[c, page] != Carried.NOTHING)


def all_sent(s: World) -> Expr[bool]:
    """Return whether the primary has nothing left to send."""
    return every(Page)(lambda q: ~s.unsent[q])


def is_settled(s: World) -> Expr[bool]:
    """Return whether a barrier was the last thing that happened: no page since, and every thread between packets, or gone from there."""
    quiet = every(Channel)(lambda c: s.channel_at[c].within(At.READY, At.EXITED))
    return quiet & every(Page)(lambda q: ~s.sent[q])


def lands_in_guest(s: World, channel: Expr[Channel]) -> Expr[bool]:
    """Return whether the channel's pages go to guest RAM first: always without COLO; with it, only the main channel's, in precopy."""
    return ~s.colo | (channel == MAIN) & s.mirror[channel]


def receive_buffer(s: World, page: Expr[Page]) -> Expr[Value]:
    """Return what the receive buffer of a page holds: where the page lies once no channel carries it."""
    return where(s.colo, s.cache[page], s.guest[page])


def landed_at(s: World, channel: Expr[Channel], page: Expr[Page]) -> Expr[Value]:
    """Return what lies, between payload and mirroring, where the channel's pages land."""
    return where(lands_in_guest(s, channel), s.guest[page], s.cache[page])
