"""`colofd bench --rival`: the same stream into a real QEMU and into ours. How fast either is, no test asks."""

import json
import sys

import pytest

from colofd.conformance import bench_rival, command
from colofd.conformance.bench_plan import Load
from colofd.conformance.bench_rival import Row, rivalry
from colofd.conformance.bench_run import Bench, BenchError, Setup, Workshop
from colofd.conformance.qemu.provision import Qemu, QemuUnavailable, get

ROWS = (
    Row("main only, tcp", Load(1024, 0, colo=True, has_device=False), Setup("tcp", prealloc=False)),
    Row("2 channels, unix", Load(1024, 2, has_device=False), Setup("unix", prealloc=False)),
)


@pytest.fixture
def qemu() -> Qemu:
    try:
        return get("11.1")
    except QemuUnavailable as unavailable:
        pytest.skip(f"no QEMU 11.1 here: {unavailable}")


def test_both_receive_the_same(qemu: Qemu) -> None:
    """Given small loads, when both have received them, then RAM was compared at both, and each has its seconds and its CPU."""
    with Workshop() as workshop:
        rows = list(rivalry(workshop, qemu, 1, ROWS))
    assert [(row["name"], row["mebibytes"], row["rounds"]) for row in rows] == [("main only, tcp", 4, 1), ("2 channels, unix", 4, 1)]
    assert all(row["seconds"][who] > 0 for row in rows for who in ("qemu", "ours"))


def test_wrong_ram_of_a_rival_is_no_number(qemu: Qemu, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: given a digest that RAM does not have, when QEMU has received, then there is no number."""
    monkeypatch.setattr(Bench, "expected", lambda _self, _pages: 1)
    with Workshop() as workshop, pytest.raises(BenchError, match=r"qemu: RAM is not what was sent, in the row main only, tcp"):
        list(rivalry(workshop, qemu, 1, ROWS))


def test_a_rival_that_cannot_be_had_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Given a path where no QEMU is, when it is to be the rival, then the command says so, and ends with 2."""
    monkeypatch.setattr(sys, "argv", ["colofd", "bench", "--rival", "qemu:/nowhere/qemu"])
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert ended.value.code == 2
    assert "hint: `colofd qemu list`" in capsys.readouterr().err


def test_who_wins_decides_the_exit_code(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Given a row that ours wins and one that it loses, when they are printed as JSON, then the code is 1, and both are there."""
    rows = [{"name": "one", "is_won": True}, {"name": "two", "is_won": False}]
    monkeypatch.setattr(bench_rival, "rivalry", lambda *_given: iter(rows))
    monkeypatch.setattr("colofd.conformance.bench_command.at_path", lambda path: Qemu(path, "0"))
    monkeypatch.setattr(sys, "argv", ["colofd", "bench", "--rival", "qemu:/bin/true", "--json"])
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert ended.value.code == 1
    assert [row["name"] for row in json.loads(capsys.readouterr().out)["rows"]] == ["one", "two"]
