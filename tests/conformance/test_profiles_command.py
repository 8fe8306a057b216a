"""`colofd profiles`: what it shows, how it ends, and that the page of the documentation is what it says."""

import json
from pathlib import Path

from click.testing import CliRunner, Result

from colofd.conformance.profiles_command import differences, profile_table, profiles
from colofd.spec.profiles import PROFILES, deviations_of

PAGE = Path(__file__).parents[2] / "docs" / "profiles.md"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(profiles, list(arguments))


def test_list_has_all_profiles() -> None:
    """Given no name, then every profile is listed, strict without a deviation."""
    said = run("list")
    assert said.exit_code == 0
    assert [line.split()[0] for line in said.stdout.splitlines()] == list(PROFILES)
    assert " 0 known,  0 not checked" in said.stdout.splitlines()[0]
    assert [each["name"] for each in json.loads(run("list", "--json").stdout)] == list(PROFILES)


def test_show_has_what_is_lost_and_the_shortest_run() -> None:
    """Given the profile of 11.1, then each deviation has its source and evidence; the latch loses isolation, by a run of 18 steps."""
    said = json.loads(run("show", "qemu-11.1", "--json").stdout)
    assert [each["id"] for each in said["deviations"]] == [each.id for each in deviations_of("qemu-11.1")]
    latch = said["deviations"][0]
    assert (latch["id"], latch["evidence"], latch["loses"]) == ("mirror.decided-again", "observed", ["isolation.guest"])
    assert (latch["run_length"], latch["run"][-1]) == (18, "receive.mirror(channel 1, page 0)")
    changed = [each for each in said["deviations"] if each["control"]]
    assert len(changed) >= 6
    assert all(bool(each["run_length"]) is bool(each["loses"]) for each in changed)
    text = run("show", "qemu-11.1").stdout
    assert "mirror.decided-again (observed)" in text
    assert "shortest run: 18 steps to receive.mirror(channel 1, page 0)" in text
    assert "not checked: wire.packet.offset-alignment" in text


def test_diff_ends_with_1_where_there_is_a_difference() -> None:
    """Given two profiles, then what only one has is shown, and the exit code says whether there is anything."""
    assert run("diff", "qemu-11.1", "qemu-11.1").exit_code == 0
    said = run("diff", "strict", "qemu-11.1", "--json")
    assert said.exit_code == 1
    found = json.loads(said.stdout)["differences"]
    assert found == differences("strict", "qemu-11.1")
    assert found["mirror.decided-again"] == {"strict": "no", "qemu-11.1": "observed"}
    assert "mirror.decided-again" in run("diff", "qemu-10.0", "qemu-11.1").stdout


def test_an_unknown_profile_ends_with_2_and_names_the_nearest() -> None:
    """Given a name that is none, then nothing is shown, and the nearest one is named."""
    for arguments in (("show", "qemu-11"), ("diff", "strict", "qemu-11")):
        said = run(*arguments)
        assert said.exit_code == 2
        assert not said.stdout
        assert "'qemu-11.1'" in said.stderr


def test_the_page_has_the_table() -> None:
    """Given the page of the documentation, then its table is the one of the profiles, and has a row for each deviation."""
    rows = [f"| `{row[0]}` | {' | '.join(row[1:])} |" for row in profile_table()]
    page = PAGE.read_text(encoding="utf-8")
    assert "\n".join(rows) in page
    assert sum(line.startswith("| `") for line in page.splitlines()) == len(rows)
