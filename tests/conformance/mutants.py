"""Mutants: changes of the receiver and of the model that are wrong, and what must notice each of them.

Most are mistakes that QEMU had, or that its COLO series had in review.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Edit:
    """A change of one source; `old` occurs in it exactly once."""

    file: str
    old: str
    new: str


@dataclass(frozen=True)
class Mutant:
    """A change that is wrong.

    Attributes:
        name: what the changed program does.
        edits: the change.
        rule: id of the rule or clause that the first violation names, when `colofd check` runs its directed schedules; or
        test: name of the test that fails, where only bad input, or a wrong receiver, shows the difference.
    """

    name: str
    edits: tuple[Edit, ...]
    rule: str = ""
    test: str = ""


def _mutant(name: str, file: str, old: str, new: str, *, also: tuple[Edit, ...] = (), rule: str = "", test: str = "") -> Mutant:
    return Mutant(name, (Edit(file, old, new), *also), rule, test)


def _hurried(deadline: str, seconds: int) -> Edit:
    """Return an edit that shortens a deadline, where a mutant waits for it: what it does is wrong all the same."""
    return Edit("impl/interface.py", f"    {deadline}: float = {seconds}.0\n", f"    {deadline}: float = 1.0\n")


_PREPARE_OLD: Final = """\
            self.require_running()
            maps = self.require_maps()
"""
_PREPARE_NEW: Final = """\
            maps = self.require_maps()
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

_PARKED: Final = """\
            reception.lock.wait_for(lambda: self._round != current or reception.is_ended)
            if self._round == current:
                reception.require_running()
"""

_JOIN_AND_RELEASE: Final = """\
        self.join(until)
        if reception.cache is not None:
            reception.tracer.gate(Step.RELEASE_CACHE, "")
            with reception.lock:
                cache, reception.cache = reception.cache, None
                self._is_cache_held = cache.release()
                reception.tracer.emit(Step.RELEASE_CACHE)
"""
_RELEASE_AND_JOIN: Final = "".join([*_JOIN_AND_RELEASE.splitlines(keepends=True)[1:], _JOIN_AND_RELEASE.splitlines(keepends=True)[0]])

_TAKE_OVER: Final = """\
                with self._reception.lock:
                    phase = self._reception.phase
"""

_RECEIVEDMAP: Final = """\
        if reception.maps is not None:
            reception.tracer.gate(Step.RELEASE_RECEIVEDMAP, "")
            with reception.lock:
                reception.maps = None
                reception.tracer.emit(Step.RELEASE_RECEIVEDMAP)
"""

_ZERO_PAGES: Final = (
    _mutant(
        "zero pages are not recorded dirty",
        "impl/reception.py",
        "                maps.dirty[zero] = True\n",
        "",
        rule="mirror.dirty-covers",
    ),
    _mutant(
        "a zero page of precopy is not cleared in the guest",
        "impl/channel.py",
        "            self._guest.rows[packet.zero] = ZERO_BYTE\n",
        "",
        rule="receive.mirror",
    ),
    _mutant(
        "a later zero page is elided, the first one is not",
        "impl/decisions.py",
        "    _require_bits(received)\n    return received\n",
        "    return ~received\n",
        rule="receive.zero-page",
    ),
    _mutant(
        "every zero page is elided",
        "impl/decisions.py",
        "    _require_bits(received)\n    return received\n",
        "    return received & ~received\n",
        rule="receive.zero-page",
    ),
    _mutant(
        "zero pages do not count as received",
        "impl/channel.py",
        "        self._maps.received[packet.zero] = True\n",
        "",
        rule="receive.untouched-buffer-zero",
    ),
    _mutant(
        "zero pages are looked for among the normal ones",
        "impl/packet.py",
        "return Packet(pages[:normal], pages[normal:], pages[:normal]",
        "return Packet(pages[:normal], pages[:zero], pages[:normal]",
        rule="receive.prepare",
    ),
    _mutant(
        "a zero record of the main channel is elided",
        "impl/decisions.py",
        "return received | ~received",
        "return received & ~received",
        rule="main.zero-page",
    ),
    _mutant(
        "a zero record of precopy is not mirrored",
        "impl/records.py",
        "            self._cache.pages[zero] = self._guest.pages[zero]\n",
        "",
        rule="main.mirror",
    ),
)

_LATCH: Final = (
    _mutant(
        "mirroring is decided again after the payload",
        "impl/channel.py",
        _MIRROR_OLD,
        _MIRROR_AGAIN,
        rule="receive.mirror",
    ),
    _mutant(
        "a packet prepared after failover is mirrored",
        "impl/reception.py",
        _PREPARE_OLD,
        _PREPARE_NEW,
        also=(Edit("impl/reception.py", _RULE_OLD, _RULE_NEW), Edit("impl/reception.py", _ACCEPTS_OLD, _ACCEPTS_NEW)),
        rule="receive.prepare",
    ),
    _mutant(
        "a packet is mirrored before its payload is complete",
        "impl/channel.py",
        _MIRROR_OLD + " = self._buffer.pages[packet.where]\n",
        "        if mirrored:\n",
        also=(Edit("impl/channel.py", _READ_OLD, _READ_AND_MIRROR),),
        rule="receive.mirror",
    ),
    _mutant(
        "one page of a packet is not mirrored",
        "impl/channel.py",
        "            self._guest.pages[packet.where] = self._buffer.pages[packet.where]\n",
        "            self._guest.pages[packet.normal[1:]] = self._buffer.pages[packet.normal[1:]]\n",
        rule="receive.mirror",
    ),
    _mutant(
        "pages of precopy are recorded dirty",
        "impl/decisions.py",
        "return receiving | (colo & deferred)",
        "return receiving | colo",
        rule="mirror.dirty-covers",
    ),
    _mutant(
        "pages of a checkpoint are not recorded dirty",
        "impl/decisions.py",
        "return receiving | (colo & deferred)",
        "return colo & deferred",
        rule="mirror.dirty-covers",
    ),
    _mutant(
        "a page counts as received only when it is complete",
        "impl/channel.py",
        "        self._maps.received[packet.where] = True\n        if isinstance",
        "        if isinstance",
        rule="receive.untouched-buffer-zero",
    ),
)

_BARRIER: Final = (
    _mutant(
        "the main thread does not wait for the last channel",
        "impl/barrier.py",
        "            while self._parked.keys() != self._all:\n",
        "            while len(self._parked) < len(self._all) - 1:\n",
        rule="barrier.release",
    ),
    _mutant(
        "a parked channel goes on",
        "impl/barrier.py",
        _PARKED,
        "",
        rule="receive.prepare",
    ),
    _mutant(
        "a round ends with the section, and not with MULTIFD_FLUSH",
        "impl/records.py",
        "return self._has_channels == (flags == MULTIFD_FLUSH)",
        "return flags == EOS",
        rule="progress",
    ),
    _mutant(
        "the pages of a SYNC packet are dropped",
        "impl/channel.py",
        "            if packet.has_pages:\n",
        "            if packet.has_pages and not packet.is_sync:\n",
        rule="progress",
    ),
)

_FLUSH: Final = (
    _mutant(
        "the guest's own writes are not undone",
        "impl/decisions.py",
        "return peer_dirty | own_dirty",
        "return peer_dirty",
        rule="mirror.dirty-covers",
    ),
    _mutant(
        "what the guest wrote until it was stopped is forgotten",
        "impl/colo.py",
        "        maps.own_dirty[written] = True\n",
        "",
        rule="mirror.dirty-covers",
    ),
    _mutant(
        "a flush does not stop the guest",
        "impl/colo.py",
        "            written = self._guest.stop()\n",
        "            written = NO_PAGES\n",
        rule="phase.guest-runs",
    ),
    _mutant(
        "the guest does not run after a commit",
        "impl/colo.py",
        "            self._guest.run()\n        if failure",
        "        if failure",
        rule="phase.guest-runs",
    ),
    _mutant(
        "one page is left out of a flush",
        "impl/colo.py",
        "    np.copyto(target.pages[half:], source.pages[half:], where=where[half:])\n",
        "    where = where.copy()\n    where[np.argmax(where)] = False\n"
        "    np.copyto(target.pages[half:], source.pages[half:], where=where[half:])\n",
        rule="checkpoint.flush-page",
    ),
    _mutant("a flush leaves pages dirty", "impl/colo.py", "        dirty[:] = False\n", "", rule="mirror.dirty-covers"),
    _mutant(
        "a flush copies nothing",
        "impl/colo.py",
        "        count = int(np.count_nonzero(dirty))\n",
        "        count = 0\n",
        rule="checkpoint.commit",
    ),
    _mutant(
        "COLO begins before the deferred mirror is filled",
        "impl/colo.py",
        "        self._copy_dirty()\n\n    def _enter",
        "\n    def _enter",
        rule="phase.enter-colo",
    ),
    _mutant(
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

_RELEASE: Final = (
    _mutant(
        "the cache is released before the threads have ended",
        "impl/ending.py",
        _JOIN_AND_RELEASE,
        _RELEASE_AND_JOIN,
        rule="own.release-cache",
    ),
    Mutant(
        "the receivedmap is released before the threads have ended",
        (
            Edit("impl/ending.py", _RECEIVEDMAP, ""),
            Edit(
                "impl/ending.py",
                "        self.join(until)\n        if reception.cache",
                _RECEIVEDMAP + "        self.join(until)\n        if reception.cache",
            ),
        ),
        rule="own.release-receivedmap",
    ),
)

_WIRE: Final = (
    _mutant(
        "zlib begins anew with each packet",
        "impl/payload.py",
        "            # One byte more than allowed: with exactly `size`, the flush marker would be left unread.\n",
        "            self._stream = zlib.decompressobj()\n",
        rule="progress",
    ),
    _mutant(
        "the size of what was inflated is not compared",
        "impl/payload.py",
        "    if read != size:\n",
        "    if read > size:\n",
        test="tests/conformance/test_wire_check.py::test_the_receiver_keeps_every_check",
    ),
    _mutant(
        "a page may begin where its block ends",
        "impl/decisions.py",
        "return (offset <= length) & (page_size <= length - offset)",
        "return offset <= length",
        test="tests/impl/test_decisions.py::test_a_page_fits_without_wrap_around",
    ),
    Mutant(
        "a second channel with the same id takes the place of the first",
        (
            Edit("impl/connections.py", "            if name in self._reception.sockets:\n", "            if False:\n"),
            _hurried("connect", 30),
        ),
        test="tests/impl/test_patience.py::test_connections_that_are_no_channel_are_refused[hellos0-channel-repeated]",
    ),
    _mutant(
        "a checkpoint counts as received without MULTIFD_FLUSH",
        "impl/barrier.py",
        "        if self._reception.is_round_open or (late and not self._parked):\n",
        "        if False:\n",
        also=(_hurried("idle", 300),),
        test="tests/impl/test_checkpoints.py::test_pages_that_no_flush_follows_are_refused",
    ),
    Mutant(
        "failover does not wait for a flush",
        (
            Edit("impl/phases.py", "CAN_LEAVE_COLO: Final = frozenset({", "CAN_LEAVE_COLO: Final = frozenset({Phase.FLUSHING, "),
            Edit("impl/ending.py", f"            with self._guest_lock(until):\n{_TAKE_OVER}", f"            if until:\n{_TAKE_OVER}"),
        ),
        rule="failover.take-over",
    ),
)

_MODEL: Final = (
    _mutant(
        "a step reads what it has just written",
        "model/machine.py",
        """\
        writes = [self._write(update.cell, update.key, update.bound, update.value, environment) for update in rule.updates]
        for cells, key, value in writes:
            cells[key] = value
""",
        """\
        for update in reversed(rule.updates):
            cells, key, value = self._write(update.cell, update.key, update.bound, update.value, environment)
            cells[key] = value
""",
        rule="mirror.dirty-covers",
    ),
    _mutant(
        "the model leaves one page out of a flush",
        "model/trace.py",
        """\
            case Step.FLUSH_PAGE:
                self._pages(event, event.pages, "guest")
""",
        """\
            case Step.FLUSH_PAGE:
                self.machine.fire(event.step, pages=event.pages[1:])
""",
        rule="mirror.dirty-covers",
    ),
    _mutant(
        "an arrived page does not count as received",
        "spec/rules/receive.py",
        "    s.received[page] = True\n",
        "",
        rule="receive.untouched-buffer-zero",
    ),
    _mutant(
        "the own dirty log is not joined",
        "spec/rules/phases.py",
        "    s.peer_dirty[:] = lambda q: s.peer_dirty[q] | s.own_dirty[q]\n",
        "",
        rule="mirror.dirty-covers",
    ),
    _mutant(
        "a replayed flush leaves one page out",
        "model/receiver.py",
        "self.machine.fire(Step.FLUSH_PAGE, pages=dirty)",
        "self.machine.fire(Step.FLUSH_PAGE, pages=dirty[1:])",
        test="tests/conformance/test_replay_shipped.py::test_a_shipped_capture_replays[colo-mfd2-slow]",
    ),
    _mutant(
        "digests are not compared",
        "model/trace.py",
        "        if list(event.digests) != expected:\n",
        "        if False:\n",
        test="tests/conformance/test_lockstep.py::test_a_digest_of_something_else_is_refused",
    ),
    _mutant(
        "guards are not asked",
        "model/machine.py",
        "            if not np.all(holds):\n",
        "            if False:\n",
        test="tests/conformance/test_lockstep.py::test_a_step_that_is_not_allowed_is_refused",
    ),
    _mutant(
        "guest RAM is not compared",
        "conformance/comparison.py",
        'found.append(_page_difference(machine, "guest", "isolation.guest", seen.guest))',
        "pass",
        test="tests/conformance/test_lockstep.py::test_memory_that_changes_between_events_is_noticed[guest]",
    ),
)

MUTANTS: Final = (*_ZERO_PAGES, *_LATCH, *_BARRIER, *_FLUSH, *_RELEASE, *_WIRE, *_MODEL)
