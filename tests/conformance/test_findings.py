"""Findings about real QEMUs: the streams are what they say, and the binaries show them; the latch with a held thread."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from colofd.conformance.black_box import Version
from colofd.conformance.black_box_built_in import BuiltInFromOutside
from colofd.conformance.black_box_wire import Verdict, play
from colofd.conformance.check_black_box import version_of
from colofd.conformance.command import colofd
from colofd.conformance.known_deviations import Known
from colofd.conformance.qemu.findings import findings, show, vector
from colofd.conformance.qemu.hold import Hold, HoldUnavailable
from colofd.conformance.qemu.latch import Try, held, summary
from colofd.conformance.qemu.provision import Qemu, QemuUnavailable, get
from colofd.conformance.qemu.subject import QemuReceiver
from colofd.spec.profiles import DEVIATIONS, Evidence

DOCUMENT = Path(__file__).parents[2] / "docs" / "findings.md"


def provisioned(version: str) -> Qemu:
    try:
        return get(version)
    except QemuUnavailable as unavailable:
        pytest.skip(f"no QEMU {version} here: {unavailable}")


def test_a_vector_is_the_stream() -> None:
    """Given the vector of each finding, then its pieces are the bytes of the stream, and it is much shorter."""
    for found in findings().values():
        told = json.loads(json.dumps(vector(found)))
        for name, data in found.conversation.channels.items():
            assert b"".join(bytes.fromhex(piece) * times for piece, times in told["streams"][name]) == data
        assert len(json.dumps(told)) < sum(map(len, found.conversation.channels.values()))


def test_each_finding_is_a_deviation_and_in_the_documentation() -> None:
    """Given the findings, then each names a deviation that was observed, and the document says how to show it."""
    observed = {each.id for each in DEVIATIONS if Evidence.OBSERVED in each.evidence.values()}
    text = DOCUMENT.read_text(encoding="utf-8")
    for found in findings().values():
        assert found.deviation in observed
        assert f"`{found.deviation}`" in text
        assert f"colofd qemu finding {found.id}" in text


def test_the_built_in_receiver_shows_none() -> None:
    """Control: given the built-in receiver, then it refuses what a real one accepts wrongly, and hangs in nothing."""
    for found in findings().values():
        if not found.takes_over and not found.is_filled:
            seen = play(BuiltInFromOutside, found.conversation)
            assert (seen.verdict, seen.wrong_pages) == (Verdict.REFUSED, []), found.id


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("11.1", ["failover-deadlock", "precopy-hang", "precopy-hang-on-cut", "old-content", "unaligned-offset", "page-in-both-lists"]),
        ("10.0", ["precopy-hang", "precopy-hang-on-cut", "old-content", "unaligned-offset"]),
        ("7.2", ["precopy-hang", "precopy-hang-on-cut", "unaligned-offset"]),
    ],
)
def test_a_real_qemu_shows_them(version: str, expected: list[str]) -> None:
    """Given a real QEMU, when the findings that it can be asked about are put to it, then it shows each."""
    qemu = provisioned(version)
    askable = findings(version_of(Known(f"qemu-{version}")))
    assert [found.id for found in askable.values() if show(qemu, found).is_shown] == expected == list(askable)


def test_memory_that_was_zero_is_right() -> None:
    """Control: given RAM without old content, when the stream of zero pages is put to QEMU 11.1, then RAM is right."""
    qemu = provisioned("11.1")
    found = findings()["old-content"]
    seen = play(lambda options: QemuReceiver(qemu, options), found.conversation)
    assert (seen.verdict, seen.wrong_pages) == (Verdict.ACCEPTED, [])


@pytest.mark.parametrize("yanks", [False, True])
def test_the_latch_with_a_held_thread(*, yanks: bool) -> None:
    """Given QEMU 11.1 with one thread held after a payload, when it takes over and the thread goes on, then 128 pages change."""
    qemu = provisioned("11.1")
    try:
        assert held(qemu, yanks=yanks) == Try(before=0, after=128, is_answered=True)
    except HoldUnavailable as unavailable:
        pytest.skip(str(unavailable))


def test_a_thread_that_is_not_there_cannot_be_held() -> None:
    """Given a thread that is not there, when it is to be held, then it is said, and nothing hangs."""
    with pytest.raises(HoldUnavailable, match=r"cannot be held by ptrace: .*No such process"):
        Hold(2**22 - 1, 1)


def test_rates_are_counted() -> None:
    """Given tries, then those that changed RAM, that did so too early, and that were not answered are counted apart."""
    tries = [Try(0, 0, is_answered=True), Try(0, 128, is_answered=True), Try(3, 256, is_answered=False)]
    assert summary(tries) == {"failovers": 3, "changed": 2, "changed_before_release": 1, "unanswered": 1, "pages": [128, 256, 256]}


def test_the_command_refuses_what_it_does_not_know() -> None:
    """Given a finding or a version that is none, then nothing is run, and the exit code is 2."""
    assert CliRunner().invoke(colofd, ["qemu", "finding", "old-contents"]).exit_code == 2
    assert CliRunner().invoke(colofd, ["qemu", "finding", "--qemu", "/nowhere"]).exit_code == 2
    assert list(findings(Version(lacks_colo="none"))) == ["precopy-hang", "precopy-hang-on-cut", "old-content", "unaligned-offset"]
