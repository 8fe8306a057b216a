"""Faults about threads: barriers, connections, failover, close, and who frees what when."""

from typing import Final

from colofd.conformance.mutants_faults import Edit, Fault, fault


def _hurried(deadline: str, seconds: int) -> Edit:
    """Return an edit that shortens a deadline, where a fault waits for it: what it does is wrong all the same."""
    return Edit("impl/interface.py", f"    {deadline}: float = {seconds}.0\n", f"    {deadline}: float = 1.0\n")


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


_BARRIER: Final = (
    fault(
        "barrier.one-not-waited-for",
        "the main thread does not wait for the last channel",
        "impl/barrier.py",
        "            while self._parked.keys() != self._all:\n",
        "            while len(self._parked) < len(self._all) - 1:\n",
        rule="barrier.release",
    ),
    fault(
        "barrier.not-parked",
        "a parked channel goes on",
        "impl/barrier.py",
        _PARKED,
        "",
        rule="receive.prepare",
    ),
    fault(
        "barrier.at-section-end",
        "a round ends with the section, and not with MULTIFD_FLUSH",
        "impl/records.py",
        "return self._has_channels == (flags == MULTIFD_FLUSH)",
        "return flags == EOS",
        rule="progress",
    ),
    fault(
        "sync.pages-dropped",
        "the pages of a SYNC packet are dropped",
        "impl/channel.py",
        "            if packet.has_pages:\n",
        "            if packet.has_pages and not packet.is_sync:\n",
        rule="progress",
    ),
)

_RELEASE: Final = (
    fault(
        "release.cache-early",
        "the cache is released before the threads have ended",
        "impl/ending.py",
        _JOIN_AND_RELEASE,
        _RELEASE_AND_JOIN,
        rule="own.release-cache",
    ),
    Fault(
        "release.receivedmap-early",
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

_FAILOVER_IN_FLUSH: Final = Fault(
    "failover.in-flush",
    "failover does not wait for a flush",
    (
        Edit("impl/phases.py", "CAN_LEAVE_COLO: Final = frozenset({", "CAN_LEAVE_COLO: Final = frozenset({Phase.FLUSHING, "),
        Edit("impl/ending.py", f"            with self._guest_lock(until):\n{_TAKE_OVER}", f"            if until:\n{_TAKE_OVER}"),
    ),
    rule="failover.take-over",
)

_HISTORY: Final = (
    fault(
        "failover.not-woken",
        "whoever is parked, or waits for a SYNC, is not woken by a failover",
        "impl/barrier.py",
        "            reception.lock.wait_for(lambda: self._round != current or reception.is_ended)\n",
        "            reception.lock.wait_for(lambda: self._round != current)\n",
        rule="progress",
    ),
    fault(
        "barrier.waits-for-ever",
        "a barrier waits for the SYNC of a channel whose thread has ended",
        "impl/barrier.py",
        "                reception.require_running()\n                lost",
        "                lost",
        also=(
            Edit("impl/barrier.py", "                if lost is not None:\n", "                if False:\n"),
            Edit("impl/barrier.py", "                if left <= 0:\n", "                if False:\n"),
            Edit("impl/barrier.py", "                reception.lock.wait(left)\n", "                reception.lock.wait(60)\n"),
        ),
        rule="progress",
    ),
    fault(
        "barrier.none",
        "nobody waits at a barrier: pages of the next round overtake those of this one",
        "impl/barrier.py",
        "        self._wait_for_all(offset)\n",
        "",
        rule="barrier.release",
    ),
    fault(
        "release.guest-early",
        "guest RAM is given back while the threads still run",
        "impl/ending.py",
        "        reception.shut_down()\n        self.join(until)\n",
        "        reception.shut_down()\n        guest, reception.guest = reception.guest, None\n        self.join(until)\n"
        "        reception.guest = guest\n",
    ),
    fault(
        "failover.guest-stays-stopped",
        "the guest does not run after a failover",
        "impl/ending.py",
        "                failure = self._run_guest()\n",
        "                failure = self._stop_guest()\n",
        rule="phase.guest-runs",
    ),
    fault(
        "failover.goes-back",
        "a failover between the answer and the flush goes back behind it",
        "impl/colo.py",
        "            failure: BaseException | None = self._answer()\n",
        "            failure: BaseException | None = self._answer()\n            raise EndedError\n",
        rule="progress",
    ),
    fault(
        "answer.early",
        "VMSTATE_RECEIVED is sent before everything is here",
        "impl/colo.py",
        "        self._main.read_checkpoint_ram()\n",
        "        self._answer()\n        self._main.read_checkpoint_ram()\n",
        rule="progress",
    ),
    fault(
        "loaded.early",
        "VMSTATE_LOADED is sent before the flush",
        "impl/colo.py",
        "            failure: BaseException | None = self._answer()\n",
        "            failure: BaseException | None = self._answer()\n"
        '            self._stream.send(struct.pack(">I", ColoMessage.VMSTATE_LOADED))\n',
        rule="progress",
    ),
    fault(
        "error.last-kept",
        "a later error takes the place of the first one",
        "impl/reception.py",
        "            if self.error is None and (self.phase not in OVER or error.reason is Reason.EMBEDDER):\n",
        "            if self.phase is not Phase.COMPLETED:\n",
        rule="truncated",
    ),
    fault(
        "error.lost",
        "the error of a channel is told to nobody",
        "impl/threads.py",
        "        except Rejected as error:\n            reception.fail(error, channel)\n",
        "        except Rejected:\n            continue\n",
        rule="progress",
    ),
    fault(
        "hello.by-order",
        "the connection that is made first is taken for the main channel",
        "impl/connections.py",
        "        if magic == STREAM_MAGIC.to_bytes(MAGIC_SIZE):\n",
        "        if len(self._reception.attached) == 1:\n",
        rule="progress",
    ),
    Fault(
        "hello.repeated",
        "a second channel with the same id takes the place of the first",
        (
            Edit("impl/connections.py", "            if name in self._reception.sockets:\n", "            if False:\n"),
            _hurried("connect", 30),
        ),
        rule="channel-repeated",
    ),
    fault(
        "hello.repeated-silently",
        "a second channel with the same id is turned away, and no error is told",
        "impl/connections.py",
        "                raise Rejected(Reason.CHANNEL_REPEATED, channel=name, offset=0, "
        'read=f"a second {name}", expected="one of each channel")\n',
        "                channel.shut_down()\n                return\n",
        also=(_hurried("connect", 30),),
        rule="channel-repeated",
    ),
    fault(
        "cancel.before-channels",
        "who waits for the channels is not told that the migration was cancelled",
        "impl/connections.py",
        "                reception.require_running()\n                left = self._until",
        "                left = self._until",
        rule="progress",
    ),
    fault(
        "cancel.joins-none",
        "threads that were never started are joined",
        "impl/threads.py",
        "        if self.ident is None:\n            return True\n",
        "        if self.ident is None:\n            self.join()\n",
        rule="progress",
    ),
    fault(
        "device-state.not-validated",
        "the device state of a checkpoint is answered, and loaded only then",
        "impl/colo.py",
        "        self._commits.validate(device_state)\n        self._keep(device_state)\n",
        "        self._keep(device_state)\n",
        rule="checkpoint.answer",
    ),
)

FAULTS: Final = (*_BARRIER, *_RELEASE, _FAILOVER_IN_FLUSH, *_HISTORY)
