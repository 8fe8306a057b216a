"""Where the destination is. `PRECOPY` never comes back, which the latch relies on."""

from enum import StrEnum
from typing import Final


class Phase(StrEnum):
    """The phases of a destination, in the order in which they may follow each other."""

    SETUP = "setup"
    """Channels connect; nothing is allocated."""
    PRECOPY = "precopy"
    """Pages arrive, no guest runs here."""
    COMPLETED = "completed"
    """Plain migration: everything is here."""
    FILLING = "filling"
    """Only with the deferred mirror: the guest is filled from the cache, once."""
    IDLE = "idle"
    """COLO: between two checkpoints."""
    RECEIVING = "receiving"
    """COLO: a checkpoint arrives."""
    RECEIVED = "received"
    """COLO: a whole checkpoint is here, nothing of it in guest RAM."""
    FLUSHING = "flushing"
    """COLO: the checkpoint is copied to guest RAM."""
    FAILOVER = "failover"
    """The guest has taken over."""
    STOPPED = "stopped"
    """COLO was left without failover."""
    FAILED = "failed"
    """Precopy was given up."""


OVER: Final = frozenset({Phase.COMPLETED, Phase.FAILOVER, Phase.STOPPED, Phase.FAILED})
"""Nothing is received any more."""

BEFORE_COLO: Final = frozenset({Phase.PRECOPY, Phase.FILLING})
"""An error here fails the migration."""

CAN_LEAVE_COLO: Final = frozenset({Phase.IDLE, Phase.RECEIVING, Phase.RECEIVED})
"""Failover or a stop may happen here; from FLUSHING they wait."""
