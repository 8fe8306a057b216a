"""What can be wrong with a store."""


class StoreError(Exception):
    """A store cannot be used: why, and what to do."""


class StoreMismatch(StoreError):  # noqa: N818  # says what is the case
    """A folder that is no store, or the store of another machine, or one that others may read."""


class StoreBusy(StoreError):  # noqa: N818  # says what is the case
    """Somebody else uses the store."""


class StoreDamaged(StoreError):  # noqa: N818  # says what is the case
    """What is in the store is not what was written to it."""


class StoreFailed(StoreError):  # noqa: N818  # says what is the case
    """A checkpoint could not be made durable; the one before is as it was."""
