"""What the embedder is asked and told about the states that guest RAM reaches."""

from types import MappingProxyType

from colofd.impl.interface import Commit
from colofd.impl.reception import Reception
from colofd.impl.threads import call_hook
from colofd.spec.reasons import Reason


class Commits:
    """Counts commits: 0 is the end of precopy, then one per checkpoint."""

    def __init__(self, reception: Reception) -> None:
        self._reception = reception

    def validate(self, device_state: bytes) -> None:
        """Ask whether device state could be loaded, before anything depends on it. Raises Rejected (DEVICE_STATE_REFUSED)."""
        hook = self._reception.options.validate
        if hook is not None:
            call_hook("validate", Reason.DEVICE_STATE_REFUSED, hook, device_state)

    def count(self, device_state: bytes) -> None:
        """Note a commit. Hold the lock."""
        self._reception.commit += 1
        self._reception.device_state = device_state
        self._reception.lock.notify_all()

    def tell(self) -> None:
        """Tell about the last commit, while guest RAM is exactly that. Raises Rejected (EMBEDDER)."""
        hook = self._reception.options.on_commit
        if hook is None:
            return
        layout, memory = self._reception.layout, self._reception.require_committed()
        views = {name: layout.bytes_of(memory, name) for name in layout.blocks}
        commit = Commit(self._reception.commit, self._reception.device_state, MappingProxyType(views))
        call_hook("on_commit", Reason.EMBEDDER, hook, commit)
