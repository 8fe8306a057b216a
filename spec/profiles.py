"""Profiles: what versions of QEMU do otherwise than the specification says, each deviation with its source and how it is known.

`strict` is the specification itself. A deviation either changes a text (a negative control of the proof has the changed one, under
the name `change`), or leaves out checks of the wire tables, or is a feature that is not there. Nothing is said of a version that was
not looked at: there, the evidence is NOT_CHECKED, and the deviation excuses nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Evidence(StrEnum):
    """How a deviation of a version is known."""

    OBSERVED = "observed"
    """A binary of that version did it."""
    READ = "read"
    """In the source of that version, or the nearest that was at hand."""
    TOLD = "told"
    """In the message of the commit that changed it, or in a mail."""
    INFERRED = "inferred"
    """It follows from what was read."""
    NOT_CHECKED = "not checked"
    """It may have it: nobody has looked."""
    AS_SPECIFIED = "as specified"
    """The specification does the same: an asymmetry, and no deviation."""


STRICT: Final = "strict"
Q72: Final = "qemu-7.2"
Q100: Final = "qemu-10.0"
Q111: Final = "qemu-11.1"

PROFILES: Final[Mapping[str, str]] = {
    STRICT: "The specification, without any deviation.",
    Q72: "QEMU 7.2: COLO by the main channel, multifd without zero pages; 7.2.22 was run.",
    Q100: "QEMU 10.0: multifd with zero pages, COLO by the main channel; 10.0.13 was run.",
    Q111: "QEMU 11.1: multifd with COLO; 11.1.3 was run. Source: the public tree around the merge, as 11.1.3's own was not at hand.",
}
"""The profiles by name, with what each stands for."""


@dataclass(frozen=True)
class Deviation:
    """What some versions do instead of what the specification says.

    Attributes:
        id: its name, which never changes.
        instead: what they do.
        source: QEMU's file and function, or the commit.
        evidence: for each profile that has it, how that is known.
        change: the negative control with the changed text, if there is one.
        unchecked: wire checks that are not made.
        loses: the guarantees that do not hold then: ids of clauses, or a kind of obligation; nothing if it is harmless.
        seen_in: schedules of `colofd check` that break what it loses, by their names.
    """

    id: str
    instead: str
    source: str
    evidence: Mapping[str, Evidence]
    change: str = ""
    unchecked: tuple[str, ...] = ()
    loses: tuple[str, ...] = ()
    seen_in: tuple[str, ...] = ()

    def is_known_of(self, profile: str) -> bool:
        """Return whether a version of this profile is known to do so."""
        return self.evidence.get(profile, Evidence.NOT_CHECKED) not in (Evidence.NOT_CHECKED, Evidence.AS_SPECIFIED)


_COLO_SINCE_2025: Final = {Q111: Evidence.READ, Q100: Evidence.READ, Q72: Evidence.NOT_CHECKED}
"""Read in colo.c as of the middle of 2025, between 10.0 and 11.0."""

_OBSERVED: Final = {Q111: Evidence.OBSERVED, Q100: Evidence.OBSERVED, Q72: Evidence.OBSERVED}

_RECEIVING: Final = (
    Deviation(
        "mirror.decided-again",
        "Whether to mirror is asked again after the payload: after a failover, pages of half a checkpoint reach the guest.",
        "migration/multifd-colo.c:multifd_colo_process_recv",
        {Q111: Evidence.OBSERVED},
        "mirror decided again",
        loses=("isolation.guest",),
        seen_in=("failover_in_full_flow", "failover_after_pages", "failover_before_device_state"),
    ),
    Deviation(
        "failover.waits-for-sync",
        "A SYNC that never comes is waited for: x-colo-lost-heartbeat does not answer, not even after yank.",
        "migration/multifd.c:multifd_recv_sync_main, which counts posts and is not woken by a thread that ends",
        _OBSERVED,
        "failover waits for the barrier",
        loses=("progress",),
        seen_in=("failover_with_one_sync_missing",),
    ),
    Deviation(
        "failover.waits-for-main-channel",
        "In a checkpoint whose primary is silent and still connected, x-colo-lost-heartbeat does not answer; after yank it does.",
        "migration/colo.c:colo_incoming_process_checkpoint, which reads with the big lock held before 11.0",
        {Q100: Evidence.OBSERVED, Q72: Evidence.OBSERVED},
        loses=("progress",),
        seen_in=("failover_after_pages", "failover_before_device_state", "drawn"),
    ),
    Deviation(
        "precopy.hangs-on-bad-packet",
        "A channel that fails in precopy, or a packet that is refused, ends its thread, and the destination waits for it for ever.",
        "migration/multifd.c:multifd_recv_sync_main",
        _OBSERVED,
        loses=("progress",),
        seen_in=("cut_in_precopy", "refused_packet_in_precopy"),
    ),
    Deviation(
        "zero.buffer-not-zero",
        "The first zero page of a page is not written, though without COLO the buffer is guest RAM, which may hold old content.",
        "migration/multifd-zero-page.c:multifd_recv_zero_page_process, commit 5ef7e26bdb (9.1)",
        {Q111: Evidence.OBSERVED, Q100: Evidence.OBSERVED},
        "initial buffer of anything",
        loses=("receive.clean-page-arrived",),
    ),
    Deviation(
        "packet.before-first-sync",
        "A packet that comes before the block list finds no receivedmap.",
        "migration/ram.c:ram_load_setup, migration/multifd.c:multifd_recv_new_channel",
        _OBSERVED,
        "receivedmap allocated late",
        loses=("own.receivedmap-lifetime",),
        unchecked=("wire.packet.before-first-sync",),
    ),
    Deviation(
        "colo.cache-comes-and-goes",
        "The cache is allocated when ENABLE_COLO is read, and freed before receive threads have ended.",
        "migration/colo.c:colo_incoming_co before 11.0",
        {Q100: Evidence.READ, Q72: Evidence.READ},
        "cache released under threads",
        loses=("own.cache-lifetime",),
    ),
    Deviation(
        "receivedmap.freed-early",
        "The receivedmap is freed while receive threads may still run.",
        '"migration/multifd: Fix rb->receivedmap cleanup race" (9.2)',
        {Q72: Evidence.TOLD},
        "receivedmap released under threads",
        loses=("own.receivedmap-lifetime",),
    ),
    Deviation(
        "colo.uninvited",
        "The source can switch the destination to COLO without the capability.",
        '"migration: block incoming colo when capability is disabled" (121ccedc2bf0, 8.1)',
        {Q72: Evidence.TOLD},
        "COLO without the capability",
        loses=("phase.capability",),
    ),
)

_CHECKPOINTS: Final = (
    Deviation(
        "answer.before-validation",
        "VMSTATE_RECEIVED is answered before it is known whether the device state can be loaded.",
        "migration/colo.c:colo_incoming_process_checkpoint",
        _COLO_SINCE_2025,
        "answered without validating",
        loses=("output.promise",),
    ),
    Deviation(
        "failover.drops-answered",
        "A failover between VMSTATE_RECEIVED and the flush goes back behind the output that the primary has released.",
        "migration/colo.c:secondary_vm_do_failover",
        _COLO_SINCE_2025,
        "take-over drops an answered checkpoint",
        loses=("output.commit",),
    ),
    Deviation(
        "commit.no-way-back",
        "A device state that fails to load after the flush leaves RAM of the new checkpoint with old devices, and a stopped guest.",
        "migration/colo.c:colo_incoming_process_checkpoint",
        _OBSERVED,
        "commit without device state",
        unchecked=("wire.colo.size-zero", "wire.colo.state-end"),
        loses=("isolation.device",),
    ),
)

_ASYMMETRIES: Final = (
    Deviation(
        "main.receivedmap-in-precopy-only",
        "In COLO the main channel leaves the receivedmap alone; multifd channels always set it. Every page has arrived by then.",
        "migration/ram.c:ram_load_precopy",
        {Q111: Evidence.READ, Q100: Evidence.NOT_CHECKED, Q72: Evidence.NOT_CHECKED},
        "main channel leaves the receivedmap alone in COLO",
    ),
    Deviation(
        "main.guest-first",
        "In precopy the main channel writes guest then cache, multifd cache then guest: after a failed read the half page lies elsewhere.",
        "migration/ram.c:ram_load_precopy, multifd-colo.c:multifd_colo_process_recv",
        {STRICT: Evidence.AS_SPECIFIED, Q111: Evidence.READ},
    ),
    Deviation(
        "zero.elided-in-cache-only",
        "The first zero page leaves the cache alone, and is cleared in the guest all the same.",
        "migration/multifd-zero-page.c:multifd_recv_zero_page_process, multifd-colo.c:multifd_colo_process_recv",
        {STRICT: Evidence.AS_SPECIFIED, Q111: Evidence.READ},
    ),
    Deviation(
        "dirty.before-payload",
        "A page is recorded dirty before its payload arrives; a flush may copy a page that has not changed.",
        "migration/multifd-colo.c:multifd_colo_prepare_recv, ram.c:colo_record_bitmap",
        {STRICT: Evidence.AS_SPECIFIED, Q111: Evidence.READ},
    ),
)

_UNCHECKED: Final = (
    Deviation(
        "unchecked.hello-id",
        "A channel whose id equals the number of channels is stored one past the array: 10.0.13 and 7.2.22 crash, 11.1.3 refuses it.",
        "migration/multifd.c:multifd_recv_initial_packet, which asked > and not >=",
        {Q100: Evidence.OBSERVED, Q72: Evidence.OBSERVED},
        unchecked=("wire.hello.id",),
    ),
    Deviation(
        "unchecked.payload-bound",
        "A compressed payload that is announced larger than its buffer is waited for; the overflow is inferred. 10.0.13 refuses it.",
        "migration/multifd-zlib.c:zlib_recv_pages, multifd-zstd.c:zstd_recv_pages",
        {Q72: Evidence.OBSERVED},
        unchecked=("wire.packet.payload-bound",),
    ),
    Deviation(
        "unchecked.payload-without-pages",
        "Of a compressed packet without pages the announced size of a payload is ignored; 10.0.13 and 11.1.3 refuse it.",
        "migration/multifd.c:multifd_recv_thread",
        {Q72: Evidence.OBSERVED},
        unchecked=("wire.packet.payload-without-pages",),
    ),
    Deviation(
        "unchecked.payload-rest",
        "Of a payload that decompresses to more than its pages the rest is ignored.",
        "migration/multifd-zlib.c:multifd_zlib_recv, multifd-zstd.c:multifd_zstd_recv",
        _OBSERVED,
        unchecked=("wire.payload.long",),
    ),
    Deviation(
        "unchecked.payload-size",
        "Without compression, the announced size of a payload is ignored.",
        "migration/multifd-nocomp.c:multifd_nocomp_recv",
        _OBSERVED,
        unchecked=("wire.packet.payload-size",),
    ),
    Deviation(
        "unchecked.offset-alignment",
        "A page may begin anywhere, and straddles two: RAM is wrong afterwards.",
        "migration/multifd-nocomp.c:multifd_ram_unfill_packet",
        _OBSERVED,
        unchecked=("wire.packet.offset-alignment",),
    ),
    Deviation(
        "unchecked.offset-repeated",
        "A page may be twice in a packet. In precopy with COLO, as content and as zero: guest and cache differ then.",
        "migration/multifd-nocomp.c:multifd_ram_unfill_packet",
        _OBSERVED,
        unchecked=("wire.packet.offset-repeated",),
    ),
    Deviation(
        "unchecked.block-list",
        "Pages may come before the block list, and it may be empty, come twice, or name a block twice.",
        "migration/ram.c:ram_load_precopy, parse_ramblocks",
        _OBSERVED,
        unchecked=(
            "wire.ram.block-list-missing",
            "wire.ram.block-list-repeated",
            "wire.ram.block-list-empty",
            "wire.block.name-repeated",
        ),
    ),
    Deviation(
        "unchecked.section-id",
        "A START may take the id of a section that is there.",
        "migration/savevm.c:qemu_loadvm_section_start_full",
        _OBSERVED,
        unchecked=("wire.section.id-reused",),
    ),
    Deviation(
        "unchecked.description",
        "The description of the device sections is skipped unread, may be missing or cut, and nothing looks at what follows it.",
        "migration/savevm.c:qemu_loadvm_state",
        _OBSERVED,
        unchecked=(
            "wire.description.missing",
            "wire.description.truncated",
            "wire.description.not-json",
            "wire.description.no-devices",
            "wire.description.page-size",
            "wire.trailing",
        ),
    ),
    Deviation(
        "unchecked.machine-prefix",
        "The machine type is compared over the length that was received: the beginning of its name is enough.",
        "migration/savevm.c:configuration_post_load",
        _OBSERVED,
        unchecked=("wire.configuration.machine",),
    ),
    Deviation(
        "received.xbzrle",
        "A page of the format XBZRLE is decoded, though the capability xbzrle is off.",
        "migration/ram.c:ram_load_precopy, load_xbzrle",
        _OBSERVED,
        unchecked=("wire.ram.supported",),
    ),
    Deviation(
        "unchecked.record-remains",
        "The flag CONTINUE and an address in a record that has no page, and (since 8.1) MULTIFD_FLUSH without multifd, are ignored.",
        "migration/ram.c:ram_load_precopy",
        _OBSERVED,
        unchecked=("wire.ram.continue-without-page", "wire.ram.address-without-page", "wire.ram.flush-without-multifd"),
    ),
    Deviation(
        "unchecked.device-state-size",
        "VMSTATE_SIZE may announce anything: a buffer of that size is allocated, and waited for.",
        "migration/colo.c:colo_incoming_process_checkpoint",
        _OBSERVED,
        unchecked=("wire.colo.size-limit",),
    ),
    Deviation(
        "unchecked.zero-fill",
        "A zero record may carry any byte, which is filled in.",
        "migration/ram.c:ram_handle_zero",
        {Q72: Evidence.OBSERVED},
        unchecked=("wire.zero.fill",),
    ),
)

_FEATURES: Final = (
    Deviation(
        "lacks.multifd-with-colo",
        "Multifd and COLO are accepted together, and pages of a checkpoint are in the guest before it is whole: do not use both.",
        '"multifd: Add COLO support" (dd67c149e2b1, 11.0)',
        {Q100: Evidence.OBSERVED, Q72: Evidence.OBSERVED},
        loses=("isolation.guest",),
    ),
    Deviation(
        "sends.switchover-in-checkpoint",
        "In each checkpoint the command SWITCHOVER_START comes before the section of RAM, which 11.1 does not send and we refuse.",
        "migration/savevm.c:qemu_savevm_state_complete_precopy, migration/colo.c:colo_do_checkpoint_transaction",
        {Q100: Evidence.OBSERVED},
    ),
    Deviation(
        "primary.hangs-under-tcg",
        "A COLO primary under TCG does not answer any more after its first checkpoint; under KVM it goes on.",
        "migration/colo.c:colo_do_checkpoint_transaction, between VMSTATE_LOADED and the start of the guest",
        {Q100: Evidence.OBSERVED, Q72: Evidence.OBSERVED},
        loses=("progress",),
    ),
    Deviation(
        "primary.loses-writes",
        "Under TCG, what a guest writes to a page whose dirty bit was looked up twice in a row may never be sent.",
        "system/physmem.c:physical_memory_sync_dirty_bitmap, migration/ram.c:ramblock_sync_dirty_bitmap",
        _OBSERVED,
        loses=("receive.clean-page-arrived",),
    ),
    Deviation(
        "lacks.zero-pages-in-packets",
        "Zero pages travel on the main channel only.",
        "migration/multifd.h:MultiFDPacket_t.zero_pages (9.0)",
        {Q72: Evidence.OBSERVED},
        unchecked=("wire.packet.zero-pages",),
    ),
    Deviation(
        "lacks.packet-flags",
        "Flag bits of a packet that later versions give a meaning, for device state and QATZIP, are ignored.",
        "migration/multifd.h:MULTIFD_FLAG_COMPRESSION_MASK, MULTIFD_FLAG_DEVICE_STATE (10.0)",
        {Q72: Evidence.OBSERVED},
        unchecked=("wire.packet.device-state", "wire.packet.compression"),
    ),
    Deviation(
        "lacks.multifd-flush",
        "A round ends with its section: every section needs one SYNC of each channel.",
        '"multifd: Only flush once each full round of memory" (294e5a4034e8, 8.1)',
        {Q72: Evidence.OBSERVED},
    ),
    Deviation(
        "lacks.channels-in-any-order",
        "The connection that is made first is taken for the main channel.",
        '"migration: check magic value for deciding the mapping of channels" (6720c2b32725, 8.0)',
        {Q72: Evidence.OBSERVED},
        loses=("progress",),
        seen_in=("plain",),
    ),
    Deviation(
        "needs.enable-colo",
        "COLO is announced by the command ENABLE_COLO, which 11.0 refuses as deprecated.",
        "migration/savevm.c:loadvm_process_enable_colo",
        {Q100: Evidence.OBSERVED, Q72: Evidence.OBSERVED},
    ),
    Deviation(
        "needs.no-return-path",
        "COLO with the capability return-path fails: the return path's thread reads CHECKPOINT_READY. 11.0 demands the capability.",
        "migration/migration.c:source_return_path_thread",
        {Q100: Evidence.OBSERVED, Q72: Evidence.OBSERVED},
    ),
)

DEVIATIONS: Final = (*_RECEIVING, *_CHECKPOINTS, *_ASYMMETRIES, *_UNCHECKED, *_FEATURES)
"""Every deviation, and the asymmetries that the specification keeps."""


def deviations_of(profile: str) -> tuple[Deviation, ...]:
    """Return what a profile has, in their order; KeyError if there is no such profile."""
    if profile not in PROFILES:
        raise KeyError(profile)
    return tuple(deviation for deviation in DEVIATIONS if profile in deviation.evidence)
