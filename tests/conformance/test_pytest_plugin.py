"""`pytest --colofd-subject`: the suite as tests of a receiver, in a pytest of its own."""

import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Final

import pytest

from colofd.spec.protocol import BOTH_SIDES

SUBJECT: Final = "python:colofd.conformance.black_box_built_in:BuiltInFromOutside"
WRONG: Final = '''
from colofd.conformance.black_box_built_in import BuiltInFromOutside


class Forgetful(BuiltInFromOutside):
    """Shows the last byte of page 3 as another one, unless the page is zero."""

    def guest(self):
        ram, end = super().guest(), 4 * 4096 - 1
        return ram if not any(ram[3 * 4096 : end]) else ram[:end] + bytes([ram[end] ^ 1]) + ram[end + 1 :]
'''


def run(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run pytest in a folder where nothing else is."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)  # noqa: S603  # our own


def test_ids_are_addresses_in_the_specification(tmp_path: Path) -> None:
    """Given a subject, when its tests are collected, then each id begins with a rule, a clause, a check, or what else is claimed."""
    done = run(tmp_path, "--colofd-subject", SUBJECT, "--collect-only")
    assert done.returncode == 0, done.stdout
    ids = [line.removeprefix("colofd::") for line in done.stdout.splitlines() if line.startswith("colofd::")]
    known = {rule.id for rule in BOTH_SIDES.rules} | {clause.id for clause in BOTH_SIDES.clauses}
    addresses = {each.partition("/")[0] for each in ids}
    assert len(ids) > 100
    assert {each for each in addresses if not each.startswith("wire.")} <= known | {"progress", "drawn"}


def test_some_are_chosen_spread_and_written_as_junit(tmp_path: Path) -> None:
    """Given -k, two processes and --junitxml, when a right receiver is tested, then some tests pass, and each has its rule there."""
    done = run(tmp_path, "--colofd-subject", SUBJECT, "-k", "plain", "-n", "2", "--junitxml", "report.xml")
    assert done.returncode == 0, done.stdout
    cases = ET.parse(tmp_path / "report.xml").getroot().findall(".//testcase")  # noqa: S314  # written by this very run
    assert cases
    assert all(case.get("classname") == "colofd" and "plain" in str(case.get("name")) for case in cases)
    assert {str(each.get("value")) for each in cases[0].iter("property")} == {str(cases[0].get("name")).partition("/")[0]}


def test_a_wrong_receiver_fails_by_rule(tmp_path: Path) -> None:
    """Control: given a receiver with a wrong byte, when it is tested, then tests fail, and say which page of RAM is wrong."""
    (tmp_path / "wrong.py").write_text(WRONG)
    done = run(tmp_path, "--colofd-subject", "python:wrong:Forgetful", "-k", "plain")
    assert done.returncode == 1, done.stdout
    assert "FAILED colofd::phase.enter-colo/plain-2-channels-none" in done.stdout
    assert "pages 3 of guest RAM are not the primary's RAM" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), 5, "no tests ran"),
        (("--colofd-vectors", "vectors"), 4, "--colofd-vectors needs --colofd-subject"),
    ],
)
def test_without_a_subject_nothing_is_added(tmp_path: Path, arguments: tuple[str, ...], code: int, said: str) -> None:
    """Given no subject, when pytest runs, then there are no tests of ours; vectors without a subject are refused."""
    done = run(tmp_path, *arguments)
    assert done.returncode == code
    assert said in done.stdout + done.stderr
