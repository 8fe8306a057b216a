"""A QEMU, and one of our ends for it to talk to: what the interop runs have in common."""

import mmap
import socket
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np

from colofd.conformance.incoming import Incoming
from colofd.conformance.outgoing import connector
from colofd.conformance.peer import page_content
from colofd.conformance.primary import Dialect, Primary, ZeroPages
from colofd.conformance.qemu.guest_rom import Work, rom
from colofd.conformance.qemu.machine import Machine
from colofd.conformance.qemu.old_primary import OldPrimary
from colofd.conformance.qemu.provision import Qemu
from colofd.conformance.subjects import Options
from colofd.impl import Block, Commit, Deadlines, Destination, Event
from colofd.model.decode import Context
from colofd.spec.constants import TARGET_PAGE_SIZE, Compression, Step

PAGES: Final = 4096
"""Pages of a machine's RAM: 16 MiB."""

FULL_PAGES: Final = 2560
"""How many of them have content: two packets for each of eight channels, and more."""

BLOCK: Final = "ram"
SECONDS: Final = 10.0
"""How long anything may take. QEMU needs milliseconds."""

_MIGRATION: Final = "migration"
_ONWARD: Final = "onward"
_BUSY: Final = rom(Work(pages=512, idle_loops=20_000))
_FIRST_FULL: Final = 0x400000 // TARGET_PAGE_SIZE
"""The guest writes below; what is here stays."""


@dataclass(frozen=True)
class Setting:
    """What both ends of a migration must agree on."""

    channels: int
    compression: Compression = Compression.NONE
    colo: bool = False
    enables_colo: bool = False
    """COLO is announced by ENABLE_COLO, as QEMU does before 11.0."""


KEPT: Final = slice(_FIRST_FULL * TARGET_PAGE_SIZE, (_FIRST_FULL + FULL_PAGES) * TARGET_PAGE_SIZE)
"""The bytes of RAM that have content from the beginning, and that the guest does not write."""


def kept() -> bytes:
    """Return what is in the bytes `KEPT`."""
    return np.random.default_rng(5).bytes(FULL_PAGES * TARGET_PAGE_SIZE)


def _fill(ram: mmap.mmap) -> None:
    ram[KEPT] = kept()


def sending(
    qemu: Qemu,
    folder: Path,
    setting: Setting,
    *,
    zero_pages: ZeroPages | None = None,
    delay: int = 1,
    is_running: bool = False,
    is_busy: bool | None = None,
    accelerator: str = "tcg",
) -> Machine:
    """Start a QEMU that is to send: with COLO one whose guest writes, and which makes a checkpoint each `delay` milliseconds.

    `is_busy`: it has a guest that writes; by default with COLO.
    The guest stands still in precopy unless it `is_running` from the beginning: see `lost_writes` for why. COLO starts it in any case.
    """
    is_busy = setting.colo if is_busy is None else is_busy
    machine = Machine(
        qemu,
        folder,
        "source",
        memory=PAGES * TARGET_PAGE_SIZE,
        block=BLOCK,
        kind="pc" if is_busy else "none",
        accelerator=accelerator,
        rom=_BUSY if is_busy else None,
        is_stopped=not is_running,
        fill=_fill,
        patience=SECONDS,
    )
    parameters: dict[str, Any] = {"max_bandwidth": 1 << 40}
    if zero_pages is not None:
        parameters["zero_page_detection"] = zero_pages.value
    if setting.colo:
        parameters["x_checkpoint_delay"] = delay
    return _prepared(machine, setting, parameters)


def receiving(
    qemu: Qemu,
    folder: Path,
    setting: Setting,
    *,
    pages: int = PAGES,
    patience: float = SECONDS,
    is_shared: bool = True,
    uri: str | None = None,
) -> Machine:
    """Start a QEMU that waits for a migration at `uri`, by default `address(folder)`; it has RAM and nothing else."""
    machine = Machine(
        qemu,
        folder,
        "destination",
        memory=pages * TARGET_PAGE_SIZE,
        block=BLOCK,
        kind="none",
        is_incoming=True,
        is_stopped=True,
        is_shared=is_shared,
        patience=patience,
    )
    _prepared(machine, setting, {}).command("migrate-incoming", uri=uri or address(folder))
    return machine


def address(folder: Path) -> str:
    """Return where the migration goes."""
    return f"unix:{folder / _MIGRATION}"


def _prepared(machine: Machine, setting: Setting, parameters: dict[str, Any]) -> Machine:
    try:
        machine.enable("events", *["multifd"] * bool(setting.channels), *_capabilities(setting))
        if setting.channels:
            parameters = parameters | {"multifd_channels": setting.channels, "multifd_compression": setting.compression.value}
        if parameters:
            machine.command("migrate-set-parameters", **parameters)
    except BaseException:
        machine.close()
        raise
    return machine


def _capabilities(setting: Setting) -> list[str]:
    return ["x-colo", *["return-path"] * (not setting.enables_colo)] if setting.colo else []


def our_primary(folder: Path, setting: Setting, dialect: Dialect | None = None, *, pages: int = PAGES, full: int = FULL_PAGES) -> Primary:
    """Connect a source of ours to the QEMU that waits; `full` pages of its RAM have content."""
    options = Options(pages=pages, channels=setting.channels, colo=setting.colo, compression=setting.compression, block=BLOCK)
    primary = Primary(options, _connect(folder), SECONDS, replace(dialect or Dialect(), enables_colo=setting.enables_colo))
    primary.ram[:full] = [page_content(number + 1, TARGET_PAGE_SIZE) for number in range(full)]
    return primary


def _connect(folder: Path) -> Callable[[], socket.socket]:
    return connector(address(folder), SECONDS)


class OurSecondary:
    """The built-in receiver, waiting for a QEMU at `address(folder)`: counts the pages that come. A context manager."""

    def __init__(
        self,
        folder: Path,
        setting: Setting,
        at_commit: Callable[[Commit], None] = lambda _commit: None,
        at_step: Callable[[Step], None] = lambda _step: None,
        through: Callable[[socket.socket], socket.socket] = lambda channel: channel,
    ) -> None:
        self.normal_pages: Counter[str] = Counter()
        self._setting = setting
        self._at_commit = at_commit
        self._at_step = at_step
        self._through = through
        self._lock = threading.Lock()
        if setting.enables_colo:
            self._incoming = Incoming(f"unix:{folder / _ONWARD}")
            self._between: OldPrimary | None = OldPrimary(folder / _MIGRATION, folder / _ONWARD)
        else:
            self._incoming, self._between = Incoming(address(folder)), None
        self._destination: Destination | None = None

    def take(self, until: Callable[[], bool] = lambda: True) -> Destination:
        """Wait for the channels of the QEMU that was told to migrate; return what receives them. NobodyCame, Rejected."""
        setting = self._setting
        found = self._incoming.source(
            Context(channels=setting.channels, compression=setting.compression, colo=setting.colo), SECONDS, until
        )
        self._destination = Destination(
            [Block(*block) for block in found.blocks],
            setting.channels,
            colo=setting.colo,
            compression=setting.compression,
            on_commit=self._at_commit,
            trace=self._count,
            deadlines=Deadlines(connect=SECONDS, progress=SECONDS),
        )
        for each in found.sockets:
            self._destination.attach(self._through(each))
        for _ in range(setting.channels + 1 - len(found.sockets)):
            self._destination.attach(self._through(self._incoming.accept(SECONDS)))
        return self._destination

    def _count(self, event: Event) -> None:
        self._at_step(event.step)
        if event.step in (Step.READ_PAGE, Step.MAIN_READ_PAGE):
            with self._lock:
                self.normal_pages[event.channel] += len(event.pages)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End it: all channels close. Does nothing a second time."""
        self._incoming.close()
        if self._destination is not None:
            self._destination.close()
        if self._between is not None:
            self._between.close()
