"""The questions that were asked when multifd learnt COLO, each with an answer and the texts that say it: a closed list.

A rule names the questions that it answers by their ids. The questions are put in our own words; the mails were read for facts.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Question:
    """One question.

    Attributes:
        id: its name, which never changes.
        text: the question.
        source: where it was asked.
        answer: in a few sentences.
        texts: ids of the rules, clauses, claims, wire checks and deviations that say the same.
    """

    id: str
    text: str
    source: str
    answer: str
    texts: tuple[str, ...]


_SEED: Final = "review of version 3 of the series, 2026-01-28"

QUESTIONS: Final = (
    Question(
        "question.which-predicate",
        "How do migration_incoming_in_colo_state() and migration_incoming_colo_enabled() relate?",
        _SEED,
        "The second was the capability x-colo, which never changes while a migration runs; the first is a phase, which comes and goes. "
        "The second is gone in 11.0, where the command ENABLE_COLO is refused. Memory goes by the capability, recording by the phase, and "
        "mirroring by neither alone.",
        ("phase.capability", "receive.prepare", "wire.command.deprecated", "colo.uninvited", "needs.enable-colo"),
    ),
    Question(
        "question.threads-past-colo",
        "Receive threads run past the point where COLO is disabled. Does that matter?",
        _SEED,
        "For memory it does not: that goes by the capability, and is freed when the threads have ended. For the guest it does: a "
        "packet may be between payload and processing when failover comes, so whether it is mirrored is decided once, at its header, by "
        "a phase that never comes back. QEMU asks again after the payload, and half a checkpoint gets into the guest that has taken over.",
        ("receive.prepare", "failover.take-over", "receive.latched", "isolation.guest", "thread.exit", "mirror.decided-again"),
    ),
    Question(
        "question.cache-alive",
        "Is the cache alive until the receive threads have ended?",
        _SEED,
        "It must be, and before 11.0 it was not. It is allocated before the first thread runs and freed when the last one has ended, "
        "before the receivedmap.",
        ("phase.start", "own.release-cache", "own.cache-lifetime", "colo.cache-comes-and-goes"),
    ),
    Question(
        "question.write-order",
        "The main channel writes guest then cache, multifd cache then guest, and without COLO it is unclear: is that intended?",
        _SEED,
        "It is allowed. Without COLO pages go to the guest directly. With it, both orders leave the same at every barrier, which is "
        "proved; between barriers they differ, for instance in where half a page lies after a failed read.",
        ("receive.mirror", "main.mirror", "mirror.precopy", "orders.buffer", "main.guest-first"),
    ),
    Question(
        "question.zero-on-cache",
        "Zero pages are processed on the cache, and set the receivedmap: is that intended?",
        _SEED,
        "Yes. The receivedmap is not for postcopy only: it tells whether the buffer is still fresh zeros, and the fresh cache is. "
        "The first zero page of a page may leave the cache alone; the guest is cleared all the same, as it may hold anything.",
        ("receive.zero-page", "receive.mirror", "receive.untouched-buffer-zero", "zero.elided-in-cache-only", "zero.buffer-not-zero"),
    ),
    Question(
        "question.same-zero-checks",
        "Are zero pages checked alike in multifd and in the legacy path?",
        _SEED,
        "No, and it makes no difference at a barrier: the main channel clears the buffer whatever has arrived, a multifd channel elides "
        "the first clearing by the receivedmap.",
        ("main.zero-page", "receive.zero-page", "orders.received", "main.receivedmap-in-precopy-only"),
    ),
    Question(
        "question.hook-place",
        "Should the hook be inside the receive method of one compression?",
        _SEED,
        "No. What is recorded and what is mirrored depends on the packet and not on its codec. The two places are the accepted header "
        "and the end of the payload, and no rule knows a codec.",
        ("receive.prepare", "receive.payload-complete", "receive.mirror"),
    ),
    Question(
        "question.host-address",
        "Why is the address of the pages (p->host) set when the header is unfilled?",
        _SEED,
        "So that one place decides where a packet lands: in the cache with COLO, in the guest without. Every codec then writes there.",
        ("receive.prepare", "receive.read-page", "receive.landed-content"),
    ),
    Question(
        "question.ram-state-recv",
        "Is a step of its own needed between receiving and processing (multifd_ram_state_recv)?",
        _SEED,
        "Yes. Nothing may be mirrored before the whole payload has landed, and a thread may end between the two.",
        ("receive.payload-complete", "receive.landed-where", "thread.exit"),
    ),
    Question(
        "question.channel-mutex",
        "What does p->mutex protect?",
        _SEED,
        "Only the packet number, of which a synchronisation keeps the largest, for traces. No rule reads it. What orders channel and main "
        "thread is the barrier: a parked channel reads nothing of the next round before it is released.",
        ("barrier.park", "barrier.release", "barrier.carried-this-round"),
    ),
    Question(
        "question.without-replication",
        "What of a build without replication: are there stubs?",
        _SEED,
        "There are, and COLO is refused there. For the specification it is the same as a migration without the capability: no phase of "
        "COLO can be entered.",
        ("phase.capability", "phase.enter-colo", "phase.complete"),
    ),
    Question(
        "question.zero-recorded",
        "Are the zero pages of a packet recorded as dirty, too?",
        "review of version 2 of the series, 2026-01-20",
        "They must be: a page that has become zero on the primary is not the same in guest and cache any more. All pages of a packet are "
        "recorded when its header is accepted.",
        ("receive.prepare", "receive.recorded", "mirror.dirty-covers", "dirty.before-payload"),
    ),
    Question(
        "question.all-or-nothing",
        "Does a failover ever leave part of a checkpoint in the guest?",
        "the thread of the series, 2026-01-20 and 2026-01-21",
        "It must not: RAM and device state are the last commit and what the guest has made of it since. That is the first clause here. "
        "QEMU 11.1.3 breaks it for RAM (observed) and, by the source of its time, for device state.",
        (
            "isolation.guest",
            "isolation.device",
            "checkpoint.commit",
            "failover.take-over",
            "mirror.decided-again",
            "commit.no-way-back",
        ),
    ),
    Question(
        "question.receivedmap-race",
        "May the receivedmap be freed while receive threads still run?",
        '"migration/multifd: Fix rb->receivedmap cleanup race", 2024-09-17',
        "No. It is freed after the cache, once every receive thread has ended.",
        ("own.release-receivedmap", "own.receivedmap-lifetime", "receivedmap.freed-early"),
    ),
)
"""All of them, the line-by-line questions first."""
