"""The report of a check: what it says, and that it can be read in a real browser, narrow and wide, light and dark."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click.testing
import msgspec
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from colofd.conformance import check_command
from colofd.conformance.check_captures import CaptureResult
from colofd.conformance.check_command import check
from colofd.conformance.check_report import CheckReport
from colofd.conformance.check_vectors import VectorRow, VectorsReport
from colofd.conformance.counterexample import Keeper, Kept, picture, vector_of
from colofd.conformance.diagnostic import Diagnostic
from colofd.conformance.report import Report, report_of_check, report_of_vectors
from colofd.conformance.report_bytes import bytes_of_case, bytes_of_schedule
from colofd.conformance.report_page import html, linked, markdown, write_report
from colofd.conformance.rulings import CaseKind, Outcome, Ruling
from colofd.conformance.saved_schedule import Move, SavedSchedule, Seen
from colofd.conformance.subjects import Options
from colofd.conformance.vector_format import write_vectors
from colofd.spec.constants import MAIN_CHANNEL, Step
from colofd.spec.protocol import spec_sha256

CHROMIUM: Final = shutil.which("chromium")
RULE: Final = str(Step.ENTER_COLO)
WHY: Final = "pages 4 of guest RAM are not the primary's RAM; page 4 came last as a zero page on main: see main.zero-page & <b>more</b>"
WIRE: Final = "wire.packet.offset-repeated"
CASE: Final = f"{WIRE}.violated in precopy-none"
SCHEDULE: Final = SavedSchedule(
    Seen.OUTSIDE,
    Options(),
    [
        Move("primary_writes", [4, 1]),
        Move("send", [MAIN_CHANNEL, [4]]),
        Move("end_round"),
        Move("primary_writes", [4, 0]),
        Move("send", [MAIN_CHANNEL, [4]]),
        Move("end_precopy"),
    ],
    RULE,
    WHY,
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Return the report of a receiver that keeps a page of precopy that turned zero, and takes a page twice in a packet."""
    folder = tmp_path_factory.mktemp("found")
    file, drawing = folder / "found.json", folder / "found.svg"
    file.write_bytes(msgspec.json.encode(SCHEDULE))
    drawing.write_text(picture(SCHEDULE, ["options", "primary writes page 4: content 1", "main carries pages 4", "precopy ends"]))
    kept = Kept(RULE, [str(file), str(drawing)], 11, 6, 40, is_steady=True, rerun=f"colofd check exec:mine --schedule {file}")
    rules = {
        str(Step.MAIN_ZERO_PAGE): Ruling(Outcome.NOT_OBSERVABLE, "threads would have to be seen"),
        RULE: Ruling(Outcome.VIOLATED, WHY, {"broken": 3, "schedule": ["options", "precopy ends"]}, {CaseKind.DIRECTED: Outcome.VIOLATED}),
        "wire.main.magic": Ruling(Outcome.HOLDS, "refused", {"cases": 1}, {CaseKind.WIRE: Outcome.HOLDS}),
        WIRE: Ruling(Outcome.VIOLATED, f"{CASE}: accepted", {"cases": 2}, {CaseKind.WIRE: Outcome.VIOLATED}),
    }
    captures = [CaptureResult("colo-mfd2-slow", 14, 0, ok=True)]
    again = "colofd check exec:mine --profile quick --seed 7"
    return report_of_check(CheckReport("exec:mine", "1", spec_sha256(), 7, "strict", rules, captures, 0, 0, 0, 88, again, [kept]))


def test_a_report_says_which_rule_which_run_and_how_to_run_it_again(made: Report) -> None:
    """Given two violations, then each has its rule and its command, and the shrunk one its schedule, its timeline and its bytes."""
    assert [finding.rule for finding in made.findings] == [RULE, WIRE]
    shrunk, wire = made.findings
    assert shrunk.rerun.startswith("colofd check exec:mine --schedule ")
    assert (shrunk.moves[0], shrunk.moves[-1]) == ("primary_writes(4, 1)", "end_precopy()")
    assert shrunk.schedule == msgspec.to_builtins(SCHEDULE)
    assert shrunk.picture.startswith("<svg")
    assert [channel.name for channel in shrunk.channels] == [MAIN_CHANNEL, "mfd0", "mfd1"]
    assert wire.rerun == made.rerun
    assert "page-repeated" in wire.channels[-1].refused
    assert made.kinds == ["directed", "wire"]
    assert made.outcomes == {"violated": 2, "holds": 1, "not-observable": 1}


def test_the_bytes_are_accounted_for_and_the_wrong_page_is_marked() -> None:
    """Given a schedule in which page 4 is sent twice on the main channel, then its records follow one another, and those two are marked."""
    main, *_ = bytes_of_schedule(SCHEDULE, 4)
    ends = [record.offset + record.size for record in main.records]
    assert [record.offset for record in main.records] == [0, *ends[:-1]]
    assert ends[-1] == main.size
    assert [record.name for record in main.records if record.is_about] == ["ram.page", "ram.zero"]
    header = next(record for record in main.records if record.name == "ram.zero").fields[0]
    assert (header.name, header.size, header.bytes, header.value) == ("header", 8, "00 00 00 00 00 00 40 02", "0x4002")


def test_a_page_in_a_packet_is_marked_and_other_packets_are_not() -> None:
    """Given page 4 in a packet, then that packet is marked, and no SYNC, whose list of offsets is zeros, is taken for page 0."""
    moves = [Move("primary_writes", [4, 1]), Move("send", ["mfd0", [4]]), Move("end_precopy")]
    schedule = msgspec.structs.replace(SCHEDULE, moves=moves)
    marked = [sum(record.is_about for record in channel.records) for channel in bytes_of_schedule(schedule, 4)]
    assert marked[:2] == [0, 1]
    assert sum(record.is_about for channel in bytes_of_schedule(schedule, 0) for record in channel.records) == 1


def test_the_bytes_of_a_schedule_that_holds_a_thread() -> None:
    """Given the latch, which holds a thread within a packet, then what the primary says is shown all the same."""
    moves = [
        Move("end_precopy"),
        Move("primary_writes", [0, 2]),
        Move("begin_checkpoint"),
        Move("send", ["mfd0", [0]]),
        Move("hold", ["mfd0", str(Step.MIRROR)]),
        Move("failover"),
    ]
    held = msgspec.structs.replace(SCHEDULE, seen=Seen.WITHIN, moves=moves)
    assert [channel.name for channel in bytes_of_schedule(held, 0)] == [MAIN_CHANNEL, "mfd0", "mfd1"]


@pytest.mark.parametrize(("name", "is_within"), [(CASE, False), (f"{WIRE}.violated", True)])
def test_the_bytes_of_a_wire_case_end_in_the_field_that_is_refused(name: str, is_within: bool) -> None:
    """Given a case that breaks a check, then the last record of its channel is the refused one, and the check is named."""
    channel = bytes_of_case(name, is_seen_within=is_within)[-1]
    assert channel.records[-1].is_refused
    assert channel.records[-1].fields[-1].name == "offsets"
    assert WIRE in channel.refused
    assert bytes_of_case("no such case", is_seen_within=is_within) == []


def test_what_a_receiver_says_cannot_become_markup(made: Report) -> None:
    """Given a text with markup in it, then it is shown as it stands, and ids of the ledger in it are links."""
    page = html(made)
    assert "<b>more</b>" not in page
    assert "&lt;b&gt;more&lt;/b&gt;" in page
    assert (
        str(linked("a < main.zero-page, not.here", {"main.zero-page"})) == 'a &lt; <a href="#main.zero-page">main.zero-page</a>, not.here'
    )


def test_markdown_and_json_say_the_same(made: Report, tmp_path: Path) -> None:
    """Given a report, when it is written by the ending of the name, then Markdown has a row for each rule, and JSON can be read back."""
    for ending in (".md", ".json", ".html"):
        write_report(tmp_path / f"report{ending}", made)
    rows = [line for line in markdown(made).splitlines() if line.startswith(("| wire.", f"| {RULE} "))]
    assert len(rows) == 3
    assert f"| {WIRE} | violated |  | violated |" in markdown(made)
    again = msgspec.json.decode((tmp_path / "report.json").read_bytes(), type=Report)
    assert msgspec.json.encode(again) == msgspec.json.encode(made)


def test_a_file_that_cannot_be_written_and_an_unknown_ending(made: Report, tmp_path: Path) -> None:
    """Given a folder that is not there, or a name without a known ending, then this is told as one diagnostic each."""
    with pytest.raises(Diagnostic, match="report-not-written"):
        write_report(tmp_path / "nowhere" / "report.html", made)
    with pytest.raises(Diagnostic, match="report-kind"):
        write_report(tmp_path / "report.pdf", made)


def test_the_report_of_vectors(tmp_path: Path) -> None:
    """Given two vectors about a rule, of which one is violated, then the rule is, with the command that plays that one, and its bytes."""
    vector = vector_of(SCHEDULE)
    assert vector is not None
    write_vectors(tmp_path, [vector], {vector.id: ["x"]}, spec_sha256())
    rows = [
        VectorRow(vector.id, [RULE], Ruling(Outcome.VIOLATED, "RAM differs")),
        VectorRow("other", [RULE], Ruling(Outcome.HOLDS, "fine")),
    ]
    made = report_of_vectors(VectorsReport("mine", spec_sha256(), "strict", rows, "colofd check mine --vectors x"), tmp_path)
    (finding,) = made.findings
    assert finding.rerun == f"colofd check mine --vectors x --only {vector.id}"
    assert [channel.name for channel in finding.channels] == [MAIN_CHANNEL, "mfd0", "mfd1"]
    assert [(line.id, line.outcome, line.times) for line in made.ledger] == [(RULE, Outcome.VIOLATED, 2)]


def test_the_command_writes_it_and_keeps_what_was_found_beside_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Given --report, when a check has ended, then the report is written, and what was found was kept beside it."""
    kept: list[Path] = []

    def run_check(
        subject: str, _profile: str, seed: int, _progress: object, against: str | None, keeper: Keeper | None, _spread: object
    ) -> CheckReport:
        assert keeper is not None
        kept.append(keeper.folder)
        rules = {WIRE: Ruling(Outcome.VIOLATED, f"{CASE}: accepted")}
        return CheckReport(subject, "1", spec_sha256(), seed, against or "strict", rules, [], 0, 0, 0, 1, "colofd check impl")

    monkeypatch.setattr(check_command, "run_check", run_check)
    for arguments, folder in [([], "report.found"), (["--save", str(tmp_path / "mine")], "mine")]:
        ended = click.testing.CliRunner().invoke(check, ["impl", "--report", str(tmp_path / "report.json"), *arguments])
        assert ended.exit_code == 1, ended.output
        assert kept.pop() == tmp_path / folder
        said = json.loads((tmp_path / "report.json").read_text())
        assert [finding["rule"] for finding in said["findings"]] == [WIRE]
    refused = click.testing.CliRunner().invoke(check, ["impl", "--report", str(tmp_path / "report.pdf")])
    assert (refused.exit_code, kept) == (2, [])


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Return a headless Chromium."""
    if CHROMIUM is None:
        pytest.skip("needs Chromium (Debian package chromium) to look at pages")
    with sync_playwright() as playwright:
        # Chromium's own sandbox does not work for the superuser, who runs tests in containers.
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(params=[(1300, "light"), (360, "dark")], ids=["wide", "narrow"])
def seen(request: pytest.FixtureRequest, browser: Browser, made: Report, tmp_path: Path) -> Iterator[Page]:
    """Return the open page. Whatever it logs or asks for elsewhere fails the test."""
    width, scheme = request.param
    file = tmp_path / "report.html"
    write_report(file, made)
    opened = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    wrong: list[str] = []
    opened.on("console", lambda message: wrong.append(message.text))
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("request", lambda asked: wrong.append(asked.url) if not asked.url.startswith(file.as_uri()) else None)
    opened.goto(file.as_uri())
    yield opened
    opened.close()
    assert wrong == []


def test_three_clicks_answer_which_rule_which_run_and_how_again(seen: Page) -> None:
    """Given the page, when the first finding, its rule and its command are clicked, then run, ledger line and command are in sight."""
    assert seen.evaluate("document.documentElement.scrollWidth <= innerWidth")
    seen.get_by_label("findings").get_by_role("link", name=RULE).click()
    expect(seen.get_by_role("img", name=RULE)).to_be_in_viewport()
    article = seen.locator("article").first
    article.get_by_role("button", name="Copy").click()
    expect(article.get_by_role("button").first).to_have_text("Selected" if seen.evaluate("!navigator.clipboard") else "Copied")
    article.get_by_role("link", name="main.zero-page").click()
    line = seen.locator("details[id='main.zero-page']")
    expect(line).to_have_attribute("open", "")
    expect(line.get_by_text("possible where")).to_be_in_viewport()


def test_the_bytes_that_matter_are_open(seen: Page) -> None:
    """Given the page, then the records of the wrong page, and the refused one, are open, and others are closed."""
    expect(seen.locator("details.record[open]")).to_have_count(3)
    expect(seen.locator("details.record[open] summary").first).to_contain_text("ram.page")


def test_it_is_used_with_the_keyboard_alone(seen: Page) -> None:
    """Given the page, when a word is typed into the filter that Tab comes to, then the rows that have it are left."""
    seen.locator("#wanted").focus()
    seen.keyboard.type("violated enter")
    expect(seen.locator("tr[data-words]:visible")).to_have_count(1)
    expect(seen.locator("#shown")).to_have_text("1 of 4")
    seen.keyboard.press("Tab")
    seen.keyboard.press("Tab")
    assert seen.evaluate("document.activeElement.textContent") == RULE
    seen.keyboard.press("Enter")
    expect(seen.locator(f"details[id='{RULE}']")).to_have_attribute("open", "")


def test_paper_shows_it_without_buttons(seen: Page) -> None:
    """Given the page on paper, then there are no buttons, and the command is there."""
    seen.emulate_media(media="print")
    expect(seen.locator("button:visible")).to_have_count(0)
    expect(seen.locator("article .again code").first).to_be_visible()
