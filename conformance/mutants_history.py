"""What was wrong once, in QEMU, in reviews of its COLO series, or seen of real QEMUs; and the faults of a receiver that are the same.

A row without faults says why a receiver cannot have the mistake.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Past:
    """One mistake of the past.

    Attributes:
        id: its name, which never changes.
        wrong: what went wrong.
        source: the commit, mail or measurement that says so.
        faults: ids of the faults that are the same mistake.
        why_not: why there is none.
    """

    id: str
    wrong: str
    source: str
    faults: tuple[str, ...] = ()
    why_not: str = ""


_SENDER: Final = "a mistake of the source: what arrives is a valid stream of other pages"
_POSTCOPY: Final = "postcopy is refused"
_FILE: Final = "mapped-ram files are not received"
_BLOCK_LAYER: Final = "there is no block layer, and no coroutine"

_ZERO: Final = (
    Past(
        "first-zero-page-elided",
        "The first zero page is not written: right on a fresh buffer only, for the first time only, and if every page counts as received.",
        "5ef7e26bdb (9.1)",
        ("zero.later-elided", "zero.all-elided", "zero.not-received", "received.after-payload", "main.zero-elided"),
    ),
    Past(
        "receivedmap-freed-early",
        "The receivedmap was freed while receive threads ran.",
        '"migration/multifd: Fix rb->receivedmap cleanup race" (2024-09-17, 9.2)',
        ("release.receivedmap-early",),
    ),
    Past(
        "zero-pages-in-postcopy",
        "A zero page was not written, counted as received, and then never served to postcopy.",
        "249543d0c02d (10.1)",
        ("postcopy.accepted",),
    ),
    Past(
        "zero-pages-of-old-peers",
        "The count of zero pages is reserved space for old peers: without the compatible default they vanish.",
        "70c25c92e602 (9.0)",
        ("zero.count-ignored",),
    ),
    Past(
        "zero-pages-in-wrong-half",
        "Zero pages were looked up among the offsets of normal ones.",
        "8fa1a21c6edc (9.0)",
        ("zero.wrong-half",),
    ),
    Past(
        "absent-pages-kept",
        "Pages that a snapshot does not hold were left as they were.",
        "migration/ram.c:handle_zero_mapped_ram (10.2)",
        ("ram.not-fresh",),
    ),
    Past(
        "page-size-zero",
        "The page size in the head of a file was not checked, and divided by.",
        "patch of 2026-03-28",
        ("configuration.page-size",),
    ),
    Past(
        "zero-pages-not-dirty", "Only normal pages were recorded dirty.", "review by Peter Xu, 2026-01-20 (v1, v2)", ("zero.not-recorded",)
    ),
    Past(
        "zero-pages-not-mirrored",
        "Zero pages before COLO were not cleared in the guest.",
        "v1, v2 of the multifd series, 2025-12-30",
        ("zero.not-mirrored", "main.zero-not-mirrored", "mirror.one-page-missing"),
    ),
    Past(
        "recorded-before-parsed",
        "Pages were recorded before the header was parsed: those of the packet before.",
        "v1 of the multifd series, 2025-12-30",
        ("dirty.of-packet-before",),
    ),
)

_COLO: Final = (
    Past(
        "cache-freed-early", "The cache was freed before the receive threads had ended.", "the thread, 2026-01-28", ("release.cache-early",)
    ),
    Past(
        "mirror-of-precopy",
        "Mirroring in precopy came in; it must follow the whole page, and every kind of page.",
        "0393031a1673 (5.0)",
        ("latch.before-payload", "mirror.one-page-missing", "main.own-order"),
    ),
    Past(
        "precopy-recorded-dirty",
        "Every page of precopy was marked dirty, and copied again at the first checkpoint.",
        '"ram/colo: only record bitmap of dirty pages in COLO stage" (5.0)',
        ("dirty.always", "dirty.never"),
    ),
    Past(
        "flush-at-section-end",
        "The cache was flushed at the end of each section: part of a checkpoint was in the guest.",
        '"migration/colo: Only flush ram cache while do checkpoint" (5.0)',
        ("flush.at-section-end",),
    ),
    Past("cache-made-twice", "The cache was allocated twice.", "f51d0b417873 (5.0)", ("cache.made-anew",)),
    Past(
        "colo-broken",
        "COLO could not start.",
        '"migration: fix COLO broken caused by a previous commit" (2020-02)',
        ("colo.does-not-begin",),
    ),
    Past(
        "flush-without-lock",
        "The flush did not take the lock of the bitmap, and raced with who records.",
        "672159a97ce7, undone by 9d638407efa4 (8.1)",
        ("pages.between-checkpoints", "flush.leaves-dirty"),
    ),
    Past(
        "flush-by-runs",
        "Pages that follow one another are copied together: lengths and bits of a run must be right.",
        "a6a83cef9c58 (7.0)",
        ("flush.first-of-run", "flush.run-too-long", "flush.first-bit-cleared", "flush.one-page-missing", "flush.nothing"),
    ),
    Past(
        "colo-uninvited",
        "A source could switch a destination without the capability to COLO.",
        "121ccedc2bf0 (8.1)",
        ("colo.enabled-uninvited",),
    ),
    Past(
        "capability-changed-in-colo",
        "The capability could be taken away in COLO.",
        "d70178a88fe8 (8.1)",
        why_not="set-up is given once and cannot be changed; that nothing changes it is proved (`order.setup`)",
    ),
    Past("colo-expects-active", "COLO expected the state ACTIVE where it was DEVICE.", "0b5bf4ea7620 (11.0)", ("colo.stops-in-fill",)),
    Past("block-graph-assertion", "Block devices were activated inside a coroutine.", "gitlab 2277 (9.1)", why_not=_BLOCK_LAYER),
    Past(
        "device-state-crash",
        "A secondary crashed while it loaded a device state.",
        '"colo: Fix crash during device vmstate load" (v6, 2026-02)',
        ("device-state.not-validated", "device-state.end", "device-state.size"),
    ),
    Past(
        "failover-hangs",
        "Failover or power-off hung or crashed, for things ended in the wrong order.",
        "684bfd1820d4 (6.2), ac183dac9660",
        ("failover.not-woken", "failover.in-flush", "failover.guest-stays-stopped", "release.guest-early"),
    ),
    Past(
        "first-error-lost",
        "A second error was set over the first, which aborts.",
        "colo.c:colo_incoming_process_checkpoint, review of 2025",
        ("error.last-kept",),
    ),
    Past("devices-of-running-guest", "Devices were loaded into a running guest.", "gitlab 839 (qxl)", ("flush.guest-runs",)),
)

_THREADS: Final = (
    Past(
        "flush-each-round",
        "One MULTIFD_FLUSH a round; without multifd it must not be sent, and nobody may overtake it.",
        "294e5a4034e8 (8.1) and what followed",
        (
            "barrier.at-section-end",
            "barrier.one-not-waited-for",
            "barrier.not-parked",
            "barrier.none",
            "flush.ignored",
            "flush.without-multifd",
        ),
    ),
    Past(
        "pages-in-sync",
        "A SYNC packet may carry pages, as before 9.0.",
        "d7e58f412cf6 (9.2), b93d897ea2f0 (10.0), gitlab 2720",
        ("sync.pages-dropped",),
    ),
    Past("channels-ready", "A semaphore of the sender was not taken in a sync.", "d2026ee117 (8.2)", why_not=_SENDER),
    Past("packet-number-race", "Packets got the same number, or none.", "98ea497d8b (9.0)", why_not=_SENDER),
    Past(
        "packet-number-traced",
        "A wrong number of a packet was traced.",
        '"migration/multifd: Fix received packets tracepoint" (2025-04)',
        why_not="packets are told apart by their place in a channel: no rule reads their number, and no event carries it",
    ),
    Past("channels-by-order", "The connection that came first was taken for the main channel.", "6720c2b32725 (8.0)", ("hello.by-order",)),
    Past(
        "block-of-another-packet",
        "A packet was sent with the block of another one.",
        "ddbe628c97c3, ebfc57871506 (8.0)",
        ("packet.block-of-packet-before",),
    ),
    Past(
        "cancelled-early",
        "A migration that was cancelled early used what was not there yet.",
        '"fix nullptr access in terminating multifd threads" (5.0)',
        ("cancel.before-channels",),
    ),
    Past(
        "tls-handshake",
        "A handshake blocked, and a detached thread raced with the end.",
        "a1af605bd5 (5.2) and 9.0",
        why_not="there is no TLS; that a silent connection holds up nobody is `cancelled between channels`",
    ),
    Past("setup-cleanup", "Channels that could not be made were cleaned up all the same.", "0bd5b9284fa9 (9.1)", why_not=_SENDER),
    Past("joined-too-early", "Threads were joined that had not been made.", "farosas, 2024-02", ("cancel.joins-none",)),
    Past(
        "repeated-channel-error",
        "The error about a repeated channel was freed and reported.",
        "series of 2025-12-01",
        ("hello.repeated", "hello.repeated-silently"),
    ),
)

_WIRE: Final = (
    Past("compressed-while-written", "The guest wrote pages while they were compressed.", "007e179ef0e9 (7.1)", why_not=_SENDER),
    Past(
        "inflate-errors-ignored",
        "Errors of decompression were ignored.",
        "34ab9e9743ae (3.0)",
        (
            "zlib.errors-ignored",
            "zstd.errors-ignored",
            "zlib.anew-each-packet",
            "zlib.shared-stream",
            "payload.size-not-compared",
            "zlib.rest-ignored",
            "zlib.end-ignored",
            "zstd.end-ignored",
        ),
    ),
    Past("room-hundredfold", "A packet could claim a hundred times the room of one.", "before 7.0", ("packet.pages-alloc",)),
    Past(
        "channel-id-equal",
        "A channel id equal to the number of channels was accepted.",
        "every version before 11.0 that was read",
        ("hello.id",),
    ),
    Past(
        "payload-bound",
        "The size of a compressed payload was not looked at; one without pages hit an assertion.",
        "multifd-zlib.c, multifd-zstd.c",
        ("packet.payload-bound", "packet.payload-without-pages"),
    ),
    Past(
        "outside-of-block",
        "A page could lie outside of its block.",
        "CVE-2014-7840",
        ("offset.at-end", "record.offset-at-end", "block.length", "block.repeated"),
    ),
    Past(
        "savevm-capabilities",
        "Capabilities that do not go with a snapshot were accepted.",
        "112b55f0b012, gitlab 2881",
        ("configuration.capabilities",),
    ),
    Past(
        "flush-unknown-to-parser",
        "A parser of streams did not know MULTIFD_FLUSH, and knows neither XBZRLE nor HOOK.",
        "scripts/analyze-migration.py (8.2)",
        ("flush.unknown", "record.supported"),
    ),
)

_THREAD_OF_2026: Final = (
    Past(
        "mirroring-decided-again",
        "Whether to mirror is asked again after the payload: a failover in between lets half a checkpoint into the guest.",
        "multifd-colo.c:multifd_colo_process_recv (11.0), seen of 11.1.3",
        ("latch.decided-again", "latch.after-failover"),
    ),
    Past(
        "answered-goes-back",
        "A checkpoint is answered, and then lost by a failover or a device state that does not load.",
        "colo.c:colo_incoming_process_checkpoint",
        ("failover.goes-back", "answer.early", "loaded.early", "barrier.flush-missing"),
    ),
    Past(
        "own-writes",
        "What the secondary's guest wrote itself must be undone, to the last moment.",
        "ram.c:colo_incoming_start_dirty_log",
        ("flush.own-writes-kept", "flush.last-writes-forgotten", "flush.guest-stays-stopped", "fill.skipped"),
    ),
)

_SEEN: Final = (
    Past(
        "hang.failover",
        "Failover never answers if a channel's SYNC does not come.",
        "seen of 11.1.3: one SYNC was left out",
        ("failover.not-woken", "barrier.waits-for-ever"),
    ),
    Past(
        "hang.bad-packet",
        "A refused packet in precopy hangs the destination for good.",
        "seen of 11.1.3, 10.0.13, 7.2.22",
        ("error.lost", "barrier.waits-for-ever"),
    ),
    Past(
        "not-fresh",
        "A destination whose RAM is not zeros keeps it where the first page is zero.",
        "seen of 11.1.3, 10.0.13",
        ("ram.not-fresh",),
    ),
    Past(
        "page-in-both-lists", "A page may be normal and zero in one packet: guest and cache differ.", "seen of 11.1.3", ("offset.repeated",)
    ),
    Past("unaligned-offset", "A page may begin anywhere.", "seen of 11.1.3, 10.0.13, 7.2.22", ("offset.unaligned",)),
    Past(
        "primary-stays-in-colo",
        "The primary stays in COLO after the secondary took over.",
        "seen of 11.1.3",
        why_not="a mistake of the primary",
    ),
    Past(
        "multifd-with-colo",
        "10.0.13 accepts COLO and multifd together, and its packets do not land in the cache.",
        "seen of 10.0.13",
        ("colo.pages-land-in-guest",),
    ),
    Past(
        "packet-fields",
        "Fields of a packet that QEMU refuses, or does not look at.",
        "27 altered packets put to 11.1.3",
        (
            "packet.magic",
            "packet.version",
            "packet.compression",
            "packet.device-state",
            "packet.normal-pages",
            "packet.zero-pages",
            "packet.payload-size",
        ),
    ),
    Past(
        "unchecked-main-channel",
        "Main channel: what QEMU does not look at.",
        "altered streams put to 11.1.3 (docs/profiles.md)",
        (
            "block-list.missing",
            "block-list.repeated",
            "section.id-reused",
            "section.footer",
            "record.address",
            "record.zero-fill",
            "hello.version",
            "colo.message-unexpected",
            "trailing.ignored",
        ),
    ),
)

PAST: Final = (*_ZERO, *_COLO, *_THREADS, *_WIRE, *_THREAD_OF_2026, *_SEEN)
"""All rows: zero pages and maps, COLO, threads, the wire; what the mailing list thread is about; and what was seen of real QEMUs."""


def past_of(fault: str) -> tuple[Past, ...]:
    """Return the mistakes of the past that a fault is the same as."""
    return tuple(each for each in PAST if fault in each.faults)
