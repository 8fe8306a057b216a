"""`colofd check SUBJECT --schedule FILE`: one saved schedule, put to a subject."""

import contextlib
from collections.abc import Iterator

from colofd.conformance.black_box import Version
from colofd.conformance.black_box_built_in import BuiltInFromOutside
from colofd.conformance.check_black_box import MakeSubject, version_of
from colofd.conformance.diagnostic import Diagnostic
from colofd.conformance.foreign import FOREIGN, opened
from colofd.conformance.known_deviations import Known
from colofd.conformance.put_schedule import put_outside, put_within
from colofd.conformance.qemu.provision import named
from colofd.conformance.saved_schedule import SavedSchedule, Seen
from colofd.conformance.subjects import SUBJECTS
from colofd.conformance.violation import Violation
from colofd.spec.profiles import PROFILES, STRICT


def violation_of(subject: str, schedule: SavedSchedule) -> Violation | None:
    """Put a schedule to a subject by its name on the command line; return what is found.

    Diagnostic if the subject cannot be looked at in this way, or not be spoken to; NotObservable or CannotMake at an impossible move.
    """
    if schedule.seen is Seen.WITHIN:
        if subject not in SUBJECTS:
            hint = f"give {', '.join(SUBJECTS)}"
            raise Diagnostic("schedule-within", "the schedule holds threads", f"those of {subject} cannot be held", hint)
        return put_within(SUBJECTS[subject], schedule, is_watched=True)
    with from_outside(subject) as (make, version):
        return put_outside(make, schedule, version)


@contextlib.contextmanager
def from_outside(subject: str) -> Iterator[tuple[MakeSubject, Version | None]]:
    """Give what makes receivers of a subject by its name on the command line, and what must be known of its version."""
    if subject.startswith(FOREIGN):
        with opened(subject) as (make, _hello):
            yield make, None
        return
    if subject in SUBJECTS:
        yield BuiltInFromOutside, None
        return
    # Only here, for the package qemu.qmp is an extra.
    from colofd.conformance.qemu.subject import QemuReceiver  # noqa: PLC0415

    name = subject.partition(":")[2]
    qemu = named(name)
    profile = f"qemu-{'.'.join(qemu.version.split('.')[:2])}"
    yield lambda options: QemuReceiver(qemu, options), version_of(Known(profile if profile in PROFILES else STRICT))
