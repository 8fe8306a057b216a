"""How much a peer may make the receiver hold, and who may connect to it."""

import socket
import stat
from pathlib import Path
from typing import Final

import pytest

from colofd.conformance import stream
from colofd.impl import Deadlines, Destination, Limits
from colofd.spec.constants import ColoMessage, SectionType
from colofd.spec.reasons import Reason, Rejected
from tests.impl.source import BLOCK, BLOCKS, PAGE, PAGES, SECONDS, Source, in_colo


def another_start(number: int) -> bytes:
    """Return a START section of RAM with an id of its own, and no block list."""
    head = bytes([SectionType.START]) + stream.be32(number) + stream.counted("ram") + stream.be32(0, 4)
    return head + stream.ram_close()[:8] + stream.footer(number)


def refusal(limits: Limits, *said: bytes) -> Rejected:
    with Destination(BLOCKS, 0, limits=limits, deadlines=Deadlines(progress=SECONDS)) as destination:
        source = Source(destination, 0)
        source.main(*said)
        source.close()
        with pytest.raises(Rejected) as caught:
            destination.wait(SECONDS)
    return caught.value


BEGIN: Final = stream.stream_header("none")
LISTED: Final = stream.ram_start([(BLOCK, PAGES * PAGE)]) + stream.ram_close()


@pytest.mark.parametrize(
    ("limits", "said", "reason", "expected"),
    [
        (Limits(machine=3), BEGIN, Reason.MACHINE_MISMATCH, "at most 3 bytes"),
        (Limits(sections=2), BEGIN + LISTED + another_start(7) + another_start(8), Reason.SECTION_ID, "at most 2"),
        (
            Limits(device_state=100),
            BEGIN + LISTED + b"\4" + bytes(70_000),
            Reason.DEVICE_STATE_SIZE,
            "at most 100 bytes",
        ),
        (
            Limits(description=10),
            BEGIN + LISTED + stream.device_sections(b"state") + stream.description(5, PAGE),
            Reason.DESCRIPTION_MISSING,
            "device sections and their vmdescription",
        ),
    ],
    ids=["machine", "sections", "device state", "description"],
)
def test_a_limit_of_the_main_channel_is_kept(limits: Limits, said: bytes, reason: Reason, expected: str) -> None:
    """Given a limit, when a peer goes over it, then it is refused, and the limit is named."""
    error = refusal(limits, said)
    assert (error.reason, error.expected) == (reason, expected)


def test_the_device_state_of_a_checkpoint_is_limited() -> None:
    """Given a limit of device state, when a checkpoint announces more, then it is refused before any byte of it is awaited."""
    with Destination(BLOCKS, 0, colo=True, limits=Limits(device_state=100)) as destination:
        source = Source(destination, 0)
        in_colo(source, {0: 1})
        source.begin_checkpoint()
        source.main(stream.ram_close(), b"\0", stream.be32(ColoMessage.VMSTATE_SIZE), stream.be64(101))
        with pytest.raises(Rejected) as caught:
            destination.wait(SECONDS)
        assert (caught.value.reason, caught.value.expected) == (Reason.DEVICE_STATE_SIZE, "1 to 100 bytes")
        source.close()


def test_within_the_limits_precopy_completes() -> None:
    """Control: given limits that just suffice, when precopy comes, then it completes."""
    with Destination(BLOCKS, 0, limits=Limits(device_state=1 << 16, description=1 << 12, machine=4, sections=1)) as destination:
        source = Source(destination, 0)
        source.begin()
        source.end_precopy()
        destination.wait(SECONDS)
        source.close()


def test_a_path_is_for_its_owner(tmp_path: Path) -> None:
    """Given a path to listen on, then its owner alone may connect, whatever the mask of the process is."""
    with Destination(BLOCKS, 0) as destination:
        destination.listen(f"unix:{tmp_path}/socket")
        assert stat.S_IMODE((tmp_path / "socket").stat().st_mode) == 0o600


def test_without_a_host_only_this_machine_can_connect() -> None:
    """Given no host to listen on, then it is the loopback address; with one (control), it is that."""
    with Destination(BLOCKS, 0) as destination:
        address = destination.listen("tcp::0")
        assert address.startswith("tcp:127.0.0.1:")
        socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2]))).close()
    # Another one, for a channel that is closed at once ends the first.
    with Destination(BLOCKS, 0) as destination:
        assert destination.listen("tcp:0.0.0.0:0").startswith("tcp:0.0.0.0:")


def test_the_limits_are_those_of_the_documents() -> None:
    """Given no limits, then they are those that the documents name; 255 channels are the most that there can be."""
    page = " ".join((Path(__file__).parents[2] / "docs" / "robustness.md").read_text(encoding="utf-8").split())
    limits = Limits()
    assert f"device state {limits.device_state >> 20} MiB, the vmdescription {limits.description >> 20} MiB" in page
    assert f"a name of a machine {limits.machine >> 10} KiB, {limits.sections} sections" in page
    with pytest.raises(ValueError, match="channels must be 0 to 255"):
        Destination(BLOCKS, 256)
