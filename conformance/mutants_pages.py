"""Faults about pages: zero pages, the latch, the dirty bitmap, the mirror and the flush."""

from typing import Final

from colofd.conformance.mutants_faults import Edit, fault

_PREPARE_OLD: Final = """\
                self.require_running()
                ruling = self._ruling = self._rule()
"""
_PREPARE_NEW: Final = """\
                ruling = self._ruling = self._rule()
"""
_RULE_OLD: Final = "        precopy, receiving = np.bool_(self.phase is Phase.PRECOPY), np.bool_(self.phase is Phase.RECEIVING)\n"
_RULE_NEW: Final = """\
        in_colo = {Phase.IDLE, Phase.RECEIVING, Phase.RECEIVED, Phase.FLUSHING}
        precopy, receiving = np.bool_(self.phase not in in_colo), np.bool_(self.phase is Phase.RECEIVING)
"""
_ACCEPTS_OLD: Final = "            decisions.accepts_pages(precopy, np.bool_(self.block_list_known), receiving),\n"
_ACCEPTS_NEW: Final = "            np.bool_(self.phase is not Phase.SETUP),\n"

_MIRROR_OLD: Final = """\
        if mirrored:
            self._guest.pages[packet.where]"""
_MIRROR_AGAIN: Final = """\
        if self._reception.colo & ~self._reception.deferred and self._reception.phase not in {"idle", "receiving", "received", "flushing"}:
            self._guest.pages[packet.where]"""

_READ_OLD: Final = """\
            self._read(packet)
        if self._is_watched:
            self._tracer.gate(Step.PAYLOAD_COMPLETE, self._name)
"""
_READ_AND_MIRROR: Final = """\
            if mirrored:
                self._guest.pages[packet.where] = self._buffer.pages[packet.where]
            self._read(packet)
        if self._is_watched:
            self._tracer.gate(Step.PAYLOAD_COMPLETE, self._name)
"""

_ZERO_PAGES: Final = (
    fault(
        "zero.not-recorded",
        "zero pages are not recorded dirty",
        "impl/reception.py",
        "                if zero.size:\n                    dirty[zero] = True\n",
        "",
        rule="mirror.dirty-covers",
    ),
    fault(
        "zero.not-mirrored",
        "a zero page of precopy is not cleared in the guest",
        "impl/channel.py",
        "            if packet.zero.size:\n                self._guest.rows[packet.zero] = ZERO_BYTE\n",
        "",
        rule="receive.mirror",
    ),
    fault(
        "zero.later-elided",
        "a later zero page is elided, the first one is not",
        "impl/decisions.py",
        "    _require_bits(received)\n    return received\n",
        "    return ~received\n",
        rule="receive.zero-page",
    ),
    fault(
        "zero.all-elided",
        "every zero page is elided",
        "impl/decisions.py",
        "    _require_bits(received)\n    return received\n",
        "    return received & ~received\n",
        rule="receive.zero-page",
    ),
    fault(
        "zero.not-received",
        "zero pages do not count as received",
        "impl/channel.py",
        "        self._maps.received[packet.zero] = True\n",
        "",
        rule="receive.untouched-buffer-zero",
    ),
    fault(
        "zero.wrong-half",
        "zero pages are looked for among the normal ones",
        "impl/packet.py",
        "return Packet(room.pages[:normal], room.pages[normal:],",
        "return Packet(room.pages[:normal], room.pages[:zero],",
        rule="receive.prepare",
    ),
    fault(
        "main.zero-elided",
        "a zero record of the main channel is elided",
        "impl/decisions.py",
        "return received | ~received",
        "return received & ~received",
        rule="main.zero-page",
    ),
    fault(
        "main.zero-not-mirrored",
        "a zero record of precopy is not mirrored",
        "impl/records.py",
        "            self._cache.pages[zero] = self._guest.pages[zero]\n",
        "",
        rule="main.mirror",
    ),
)

_LATCH: Final = (
    fault(
        "latch.decided-again",
        "mirroring is decided again after the payload",
        "impl/channel.py",
        _MIRROR_OLD,
        _MIRROR_AGAIN,
        rule="receive.mirror",
    ),
    fault(
        "latch.after-failover",
        "a packet prepared after failover is mirrored",
        "impl/reception.py",
        _PREPARE_OLD,
        _PREPARE_NEW,
        also=(Edit("impl/reception.py", _RULE_OLD, _RULE_NEW), Edit("impl/reception.py", _ACCEPTS_OLD, _ACCEPTS_NEW)),
        rule="receive.prepare",
    ),
    fault(
        "latch.before-payload",
        "a packet is mirrored before its payload is complete",
        "impl/channel.py",
        _MIRROR_OLD + " = self._buffer.pages[packet.where]\n",
        "        if mirrored:\n",
        also=(Edit("impl/channel.py", _READ_OLD, _READ_AND_MIRROR),),
        rule="receive.mirror",
    ),
    fault(
        "mirror.one-page-missing",
        "one page of a packet is not mirrored",
        "impl/channel.py",
        "            self._guest.pages[packet.where] = self._buffer.pages[packet.where]\n",
        "            self._guest.pages[packet.normal[1:]] = self._buffer.pages[packet.normal[1:]]\n",
        rule="receive.mirror",
    ),
    fault(
        "dirty.always",
        "pages of precopy are recorded dirty",
        "impl/decisions.py",
        "return receiving | (colo & deferred)",
        "return receiving | colo",
        rule="mirror.dirty-covers",
    ),
    fault(
        "dirty.never",
        "pages of a checkpoint are not recorded dirty",
        "impl/decisions.py",
        "return receiving | (colo & deferred)",
        "return colo & deferred",
        rule="mirror.dirty-covers",
    ),
    fault(
        "received.after-payload",
        "a page counts as received only when it is complete",
        "impl/channel.py",
        "        self._maps.received[packet.where] = True\n        if isinstance",
        "        if isinstance",
        rule="receive.untouched-buffer-zero",
    ),
)

_FLUSH: Final = (
    fault(
        "flush.own-writes-kept",
        "the guest's own writes are not undone",
        "impl/decisions.py",
        "return peer_dirty | own_dirty",
        "return peer_dirty",
        rule="mirror.dirty-covers",
    ),
    fault(
        "flush.last-writes-forgotten",
        "what the guest wrote until it was stopped is forgotten",
        "impl/colo.py",
        "        maps.own_dirty[written] = True\n",
        "",
        rule="mirror.dirty-covers",
    ),
    fault(
        "flush.guest-runs",
        "a flush does not stop the guest",
        "impl/colo.py",
        "            written = self._guest.stop()\n",
        "            written = NO_PAGES\n",
        rule="phase.guest-runs",
    ),
    fault(
        "flush.guest-stays-stopped",
        "the guest does not run after a commit",
        "impl/colo.py",
        "            self._guest.run()\n        if failure",
        "        if failure",
        rule="phase.guest-runs",
    ),
    fault(
        "flush.one-page-missing",
        "one page is left out of a flush",
        "impl/colo.py",
        "    np.copyto(target.pages[half:], source.pages[half:], where=where[half:])\n",
        "    where = where.copy()\n    where[np.argmax(where)] = False\n"
        "    np.copyto(target.pages[half:], source.pages[half:], where=where[half:])\n",
        rule="checkpoint.flush-page",
    ),
    fault("flush.leaves-dirty", "a flush leaves pages dirty", "impl/colo.py", "        dirty[:] = False\n", "", rule="mirror.dirty-covers"),
    fault(
        "flush.nothing",
        "a flush copies nothing",
        "impl/colo.py",
        "        count = int(np.count_nonzero(dirty))\n",
        "        count = 0\n",
        rule="checkpoint.commit",
    ),
    fault(
        "fill.skipped",
        "COLO begins before the deferred mirror is filled",
        "impl/colo.py",
        "        self._copy_dirty()\n\n    def _enter",
        "\n    def _enter",
        rule="phase.enter-colo",
    ),
    fault(
        "flush.at-section-end",
        "the end of a section flushes",
        "impl/records.py",
        "            if flags == EOS:\n                return\n",
        "            if flags == EOS:\n"
        "                if self._cache is not None and not self._reception.deferred:\n"
        "                    self._guest.pages[self._maps.dirty] = self._cache.pages[self._maps.dirty]\n"
        "                return\n",
        rule="isolation.guest",
    ),
)

_HISTORY: Final = (
    fault(
        "zero.count-ignored",
        "the zero pages of a packet are reserved space, as before 9.0",
        "impl/packet.py",
        "        is_sync = flags & SYNC != 0\n",
        "        is_sync = flags & SYNC != 0\n        zero = 0\n",
        rule="receive.prepare",
    ),
    fault(
        "dirty.of-packet-before",
        "the pages of the packet before are recorded dirty",
        "impl/reception.py",
        "                dirty[where] = True\n                if zero.size:\n                    dirty[zero] = True\n",
        "                before = vars(self).setdefault(channel, (zero[:0], zero[:0]))\n"
        "                vars(self)[channel] = (numbers_of(where).copy(), zero.copy())\n"
        "                dirty[before[0]] = True\n                dirty[before[1]] = True\n",
        rule="mirror.dirty-covers",
    ),
    fault(
        "cache.made-anew",
        "the cache is made a second time when COLO begins",
        "impl/colo.py",
        "        self._fill(device_state)\n        self._enter(device_state)\n",
        "        self._fill(device_state)\n        self._cache.rows[:] = 0\n        self._enter(device_state)\n",
        rule="receive.clean-page-arrived",
    ),
    fault(
        "colo.does-not-begin",
        "COLO expects another phase than precopy to begin in",
        "impl/colo.py",
        "self._reception.enter(Phase.IDLE, Step.ENTER_COLO, of=BEFORE_COLO)",
        "self._reception.enter(Phase.IDLE, Step.ENTER_COLO, of=frozenset({Phase.SETUP}))",
        rule="progress",
    ),
    fault(
        "colo.stops-in-fill",
        "COLO begins out of a fill only, as it did for want of another state",
        "impl/colo.py",
        "self._reception.enter(Phase.IDLE, Step.ENTER_COLO, of=BEFORE_COLO)",
        "self._reception.enter(Phase.IDLE, Step.ENTER_COLO, of=frozenset({Phase.FILLING}))",
        rule="progress",
    ),
    fault(
        "flush.first-of-run",
        "of pages that follow one another, a flush copies the first one",
        "impl/colo.py",
        "    half = len(where) // 2 if two_threads else 0\n",
        "    half = len(where) // 2 if two_threads else 0\n    where = where & ~np.concatenate([[False], where[:-1]])\n",
        rule="checkpoint.flush-page",
    ),
    fault(
        "flush.run-too-long",
        "a flush copies a page behind each run of dirty ones",
        "impl/colo.py",
        "    half = len(where) // 2 if two_threads else 0\n",
        "    half = len(where) // 2 if two_threads else 0\n    where = where | np.concatenate([[False], where[:-1]])\n"
        "    source.pages[np.flatnonzero(where)[-1]] = source.pages[0]\n",
        rule="isolation.guest",
    ),
    fault(
        "flush.first-bit-cleared",
        "a flush clears the first bit of the bitmap only",
        "impl/colo.py",
        "        dirty[:] = False\n",
        "        dirty[np.argmax(dirty)] = False\n",
        rule="mirror.dirty-covers",
    ),
    fault(
        "colo.pages-land-in-guest",
        "packets of COLO land in the guest, and not in the cache, as in 10.0",
        "impl/decisions.py",
        "    _require_bits(colo)\n    return ~colo\n",
        "    _require_bits(colo)\n    return ~colo | colo\n",
        rule="isolation.guest",
    ),
    fault(
        "ram.not-fresh",
        "RAM of the destination holds something before the first page arrives, and the first zero page trusts it",
        "impl/memory.py",
        "        if prealloc:\n",
        "        self.rows[:] = 0xA5\n        if prealloc:\n",
        rule="isolation.guest",
    ),
    fault(
        "main.own-order",
        "the main channel mirrors from the cache to the guest, and lands in the guest all the same",
        "impl/records.py",
        "            self._cache.pages[normal] = self._guest.pages[normal]\n",
        "            self._guest.pages[normal] = self._cache.pages[normal]\n",
        rule="main.mirror",
    ),
    fault(
        "pages.between-checkpoints",
        "pages are accepted between checkpoints, and beside a flush",
        "impl/reception.py",
        "            decisions.accepts_pages(precopy, np.bool_(self.block_list_known), receiving),\n",
        "            np.bool_(True),\n",
        rule="receive.prepare",
    ),
)

FAULTS: Final = (*_ZERO_PAGES, *_LATCH, *_FLUSH, *_HISTORY)
