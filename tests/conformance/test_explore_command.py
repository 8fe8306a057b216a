"""`colofd explore`: what it prints, and how it ends."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from colofd.conformance.explore_command import explore

SMALL = ["--channels", "1", "--pages", "1"]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(explore, list(arguments))


def test_json_has_what_it_promises() -> None:
    """Given the smallest core, then the JSON has the counts, and nothing is broken."""
    done = run(*SMALL, "--json")
    said = json.loads(done.stdout)
    assert done.exit_code == 0
    assert (said["slice"], said["channels"], said["pages"], said["values"]) == ("core", 1, 1, 2)
    assert (said["states"], said["edges"], said["depth"], said["violations"]) == (7_572, 29_920, 28, {})
    assert said["seconds"] > 0
    assert said["states_per_second"] > 0
    assert said["control"] is None
    assert "devices" not in said


def test_json_of_both_sides_says_how_many_device_states() -> None:
    """Given both sides, then the JSON has the number of device states, too."""
    said = json.loads(run(*SMALL, "--slice", "both-sides", "--devices", "1", "--json").stdout)
    assert (said["slice"], said["devices"], said["states"]) == ("both-sides", 1, 46_336)


def test_a_control_is_named_and_explored_where_it_shows() -> None:
    """Given a known mistake of both sides and no slice, then it is explored in a slice of both sides, and the JSON names it."""
    done = run("--control", "commit without device state", "--until", "isolation.device", "--json")
    said = json.loads(done.stdout)
    assert (done.exit_code, said["control"], said["slice"]) == (1, "commit without device state", "both-sides")
    assert said["spec_sha256"] is None
    assert said["run"][-1] == "checkpoint.commit"


def test_a_control_has_only_slices_of_what_it_changes() -> None:
    """Given a known mistake of the receive path, When it is asked for in a slice of both sides, then the slices that it has are listed."""
    done = run("--control", "mirror decided again", "--slice", "both-sides")
    assert done.exit_code == 2
    assert "there is no slice for the control 'mirror decided again' 'both-sides'" in done.stderr


def test_a_tour_is_written(tmp_path: Path) -> None:
    """Given a file, then it holds the runs of a tour, and as many steps as is said."""
    path = tmp_path / "tour.json"
    done = run(*SMALL, "--tour", str(path), "--json")
    said, written = json.loads(done.stdout), json.loads(path.read_text(encoding="utf-8"))
    assert done.exit_code == 0
    assert (said["cover"], said["covered"], said["runs"], said["steps"]) == ("situations", 293, 127, 2_554)
    assert written["format"] == "colofd-tour/1"
    assert len(written["runs"]) == said["runs"]
    assert sum(len(each["steps"]) for each in written["runs"]) == said["steps"]
    first = written["runs"][0]
    assert (first["initial"]["phase"], first["initial"]["channel_at"]) == ("SETUP", ["READY", "READY"])
    assert first["steps"][0] == {"rule": "phase.start"}
    assert {"rule": "receive.mirror", "channel": 1, "page": 0} in first["steps"]


def test_a_run_or_a_tour() -> None:
    """Given both a run and a tour to search for, then it is refused."""
    done = run(*SMALL, "--until", "phase.start", "--tour", "tour.json")
    assert done.exit_code == 2
    assert "ask one after the other" in done.stderr


def test_text_says_what_was_left_out() -> None:
    """Given no JSON, then the text says what the slice leaves out, and that all clauses hold."""
    done = run(*SMALL)
    assert done.exit_code == 0
    assert "Left out: no COLO" in done.stdout
    assert "all clauses hold in every state" in done.stdout


def test_a_control_is_broken() -> None:
    """Given a known mistake, then the exit code is 1 and the broken clause is named."""
    done = run(*SMALL, "--control", "take-over in a flush")
    assert done.exit_code == 1
    assert "BROKEN: isolation.guest, first at depth 16" in done.stdout


def test_a_run_to_a_rule() -> None:
    """Given a rule, then its shortest run is printed, with what each step changes."""
    done = run(*SMALL, "--until", "own.release-cache")
    assert done.exit_code == 0
    assert done.stdout.splitlines()[-1].split() == ["5", "own.release-cache", "cache_allocated", ":=", "no"]


@pytest.mark.parametrize(
    ("arguments", "exit_code", "length"),
    [
        (["--until", "checkpoint.commit"], 0, 14),
        (["--until", "phase.complete"], 1, None),
        (["--until", "isolation.guest"], 0, None),
        (["--until", "isolation.guest", "--control", "mirror decided again"], 1, 18),
    ],
)
def test_the_exit_code_of_a_run(arguments: list[str], exit_code: int, length: int | None) -> None:
    """Given a rule that must be reached, or a clause that must not be broken, then the exit code says whether that is so."""
    done = run(*SMALL, "--json", *arguments)
    assert (done.exit_code, json.loads(done.stdout)["length"]) == (exit_code, length)


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["--slice", "cor"], "did you mean 'core'?"),
        (["--until", "checkpoint.begins"], "did you mean 'checkpoint.begin'"),
        (["--control", "mirror decided"], "did you mean 'mirror decided again'"),
        (["--slice", "###"], "there are: core,"),
    ],
)
def test_an_unknown_name_lists_the_nearest(arguments: list[str], hint: str) -> None:
    """Given a name that stands for nothing, then the exit code is 2 and the nearest names are listed, or all if none is near."""
    done = run(*SMALL, *arguments)
    assert done.exit_code == 2
    assert hint in done.stderr


def test_what_is_too_large_is_refused() -> None:
    """Given many pages, then it is refused with the memory that it would take, before anything is explored."""
    done = run("--channels", "2", "--pages", "6")
    assert done.exit_code == 2
    assert "bytes are needed" in done.stderr
    assert "hint:" in done.stderr
