"""The explorer in a real browser: stepping, reasons, undo, addresses, files, keys, narrow and dark."""

import http.client
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner
from playwright.sync_api import Browser, Page, expect, sync_playwright

from colofd.conformance.explore_command import explore
from colofd.conformance.lockstep import Lockstep
from colofd.conformance.schedules import closed_between_checkpoints
from colofd.conformance.subjects import Options
from colofd.conformance.tour_file import write_tour
from colofd.conformance.trace_command import trace
from colofd.conformance.trace_file import FORMAT
from colofd.conformance.violation import Violation
from colofd.conformance.web_page import page
from colofd.conformance.web_run import NotingMachine, write_run
from colofd.conformance.web_server import LOOPBACK, serving
from colofd.model.controls import HARMLESS, WRONG
from colofd.model.finite import Instance, Sizes
from colofd.model.finite_slices import slice_of
from colofd.model.search_runs import shortest_run, taken_rule
from colofd.model.search_tours import Cover, Tour, TourRun
from colofd.spec.constants import Step
from colofd.spec.protocol import BOTH_SIDES, spec_sha256
from tests.conformance.fakes import saying

CHROMIUM: Final = shutil.which("chromium")

needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (Debian package chromium) to look at pages")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Return a headless Chromium."""
    with sync_playwright() as playwright:
        # Chromium's own sandbox does not work for the superuser, who runs tests in containers.
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the address of the page as a file: it needs no server."""
    path = tmp_path_factory.mktemp("explorer") / "index.html"
    path.write_text(page())
    return path.as_uri()


@pytest.fixture
def seen(browser: Browser, place: str) -> Iterator[Page]:
    """Return the open page. Whatever it logs or asks for elsewhere fails the test."""
    opened = browser.new_page()
    wrong: list[str] = []
    opened.on("console", lambda message: wrong.append(message.text))
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("request", lambda request: wrong.append(request.url) if not request.url.startswith(place) else None)
    opened.goto(place)
    yield opened
    opened.close()
    assert wrong == []


def press(seen: Page, *steps: str) -> None:
    """Take steps by their buttons."""
    for step in steps:
        seen.get_by_role("button", name=step, exact=True).and_(seen.locator(".step")).click()


@needs_browser
def test_steps_are_taken_and_undone(seen: Page) -> None:
    """Given the first state, When steps are taken and undone, Then pages, channels and run are those of the specification each time."""
    press(seen, "phase.start", "send.normal-page(channel mfd0, page 1)", "receive.prepare(channel mfd0)")
    press(seen, "receive.read-page(channel mfd0, page 1, value 1)")
    assert seen.locator("tr[data-cell=cache] td").all_inner_texts() == ["zeros", "1"]
    assert seen.locator("tr[data-cell=received] td").all_inner_texts() == ["no", "yes"]
    assert seen.locator("[data-channel=mfd0] [aria-current]").inner_text() == "BODY"
    assert "page 1: NORMAL_LANDED" in seen.locator("[data-channel=mfd0]").inner_text()
    seen.get_by_role("button", name="← undo").click()
    assert seen.locator("tr[data-cell=cache] td").all_inner_texts() == ["zeros", "zeros"]
    seen.get_by_role("button", name="forward →").click()
    assert seen.locator("tr[data-cell=cache] td").all_inner_texts() == ["zeros", "1"]
    assert seen.locator("#place").inner_text() == "step 4 of 4"
    assert seen.locator("#holds").inner_text() == "All 23 clauses hold."


@needs_browser
def test_what_is_not_possible_says_why(seen: Page) -> None:
    """Given a thread in the middle of a packet, When it is asked why it cannot park, Then the guard is named, in the spec's words."""
    press(seen, "phase.start", "send.normal-page(channel mfd0, page 0)", "receive.prepare(channel mfd0)")
    seen.locator("summary").click()
    why = seen.locator("[data-refused='barrier.park'] li", has_text="mfd0").inner_text()
    assert why == "mfd0 — barrier.park/2: channel_at[channel] = READY; barrier.park/3: ∀q. packet[channel, q] = NOTHING"
    press(seen, "thread.exit(channel main)")
    expect(seen.locator("[data-refused='barrier.park']")).to_be_visible()


@needs_browser
def test_an_address_is_a_run(seen: Page, browser: Browser) -> None:
    """Given a run from other contents that was undone by a step, When its address is opened, Then it is the same run at the same step."""
    seen.locator("[data-key='primary/0']").click()
    seen.get_by_label("colo", exact=False).first.click()
    press(seen, "phase.start", "send.zero-page(channel main, page 0)", "main.prepare")
    seen.keyboard.press("ArrowLeft")
    other = browser.new_page()
    other.goto(seen.url)
    assert other.locator("#place").inner_text() == "step 2 of 3"
    for part in ("#state", "#steps", "#run"):
        assert other.locator(part).inner_text() == seen.locator(part).inner_text()
    assert other.locator("tr[data-cell=primary] td").all_inner_texts() == ["zeros", "1"]
    other.close()


@needs_browser
def test_every_known_mistake_shows_what_it_breaks(seen: Page) -> None:
    """Given the address of each counter-example, Then all its steps are possible, and the clause that it breaks is broken at the end."""
    found = seen.evaluate(
        """() => colofd.controls.filter((each) => each.address).map((each) => {
          openAddress(each.address);
          const asked = new URLSearchParams(each.address).get("run").split(";").length;
          return { name: each.name, asked, at: shown.at, said: shown.message, broken: shown.broken[shown.at].map((clause) => clause.id) };
        })"""
    )
    is_clause = {clause.id for clause in BOTH_SIDES.clauses}
    assert [each["name"] for each in found] == [control.name for control in WRONG]
    for control, each in zip(WRONG, found, strict=True):
        assert (each["at"], each["said"]) == (each["asked"], " ".join(control.doc.split())), each
        assert control.shows is not None
        assert str(control.shows.breaks) in each["broken"] or str(control.shows.breaks) not in is_clause, each


@needs_browser
def test_a_counter_example_is_chosen_from_the_menu(seen: Page) -> None:
    """Given the menu of known mistakes, When the latch is chosen, Then its run is shown, with what it breaks."""
    seen.locator("#control").select_option("mirror decided again")
    assert seen.locator(".bad strong").inner_text() == "isolation.guest does not hold"
    assert seen.locator("#place").inner_text() == "step 18 of 18"
    seen.locator("#control").select_option(HARMLESS[0].name)
    assert seen.locator("#place").inner_text() == "step 0 of 0"
    assert seen.locator("#holds").is_visible()


@needs_browser
def test_a_run_is_loaded_from_a_file(seen: Page, tmp_path: Path) -> None:
    """Given a tour and a run with a step that is not allowed, When they are loaded, Then each is shown, up to there."""
    tour = tmp_path / "tour.json"
    part = slice_of("both-sides")
    instance = Instance(part.spec, part, Sizes(1, 1, 2))
    runs = [shortest_run(instance, taken_rule(instance, rule)) for rule in ("checkpoint.commit", "fault.message-lost")]
    write_tour(tour, instance, Tour(Cover.STEPS, 2, tuple(TourRun(run.states[0], run.steps) for run in runs if run)), None)
    seen.locator("#file").set_input_files(tour)
    expect(seen.locator("#place")).to_have_text("step 20 of 20")
    expect(seen.locator("#state")).to_contain_text("VMSTATE_LOADED: yes")
    seen.locator("[data-key=which]").select_option("1")
    expect(seen.locator("#place")).to_have_text("step 1 of 1")
    refused: dict[str, Any] = json.loads(tour.read_text())
    steps = [{"rule": "phase.start"}, {"rule": "checkpoint.commit"}]
    refused["runs"] = [{**refused["runs"][0], "steps": steps, "why": "so it was."}]
    assert refused["spec_sha256"] == spec_sha256()
    drop(seen, json.dumps({**refused, "spec_sha256": "0" * 64}))
    said = "so it was. Step 2 of the run, checkpoint.commit, is not possible. checkpoint.commit/1 does not hold: phase = FLUSHING"
    expect(seen.locator("#said")).to_contain_text(said)
    expect(seen.locator("#said")).to_contain_text("The file was made for another specification.")
    drop(seen, "{")
    expect(seen.locator("#said")).to_contain_text("This file is no JSON")


@needs_browser
def test_a_violation_of_a_receiver_is_loaded(seen: Page, tmp_path: Path) -> None:
    """Given a receiver that commits twice, When its run is written, Then the explorer shows it up to there, and why it goes no further."""
    run = Lockstep(saying(lambda event: [event] * (2 if event.step is Step.COMMIT else 1)), Options(pages=4), machine_class=NotingMachine)
    with pytest.raises(Violation) as caught:
        closed_between_checkpoints(run)
    run.abandon()
    assert isinstance(run.machine, NotingMachine)
    write_run(tmp_path / "run.json", run.machine, str(caught.value.why))
    seen.locator("#file").set_input_files(tmp_path / "run.json")
    expect(seen.locator("#said")).to_contain_text("checkpoint.commit, is not possible. checkpoint.commit/1 does not hold: phase = FLUSHING")
    expect(seen.locator("#run [aria-current]")).to_contain_text("colo.resume")
    steps = len(run.machine.noted) - 1
    expect(seen.locator("#place")).to_have_text(f"step {steps} of {steps}")
    seen.reload()
    expect(seen.locator("#place")).to_have_text(f"step {steps} of {steps}")


def test_a_trace_is_written_as_a_run(tmp_path: Path) -> None:
    """Given a small trace that is refused, and a large one, When a run is asked for, Then it ends there, or is too large."""
    lines = [
        {"format": FORMAT, "pages": 2, "channels": 1, "colo": True},
        {"step": "phase.start"},
        {"step": "checkpoint.commit"},
        {"end": 2},
    ]
    place, file = tmp_path / "trace.ndjson", tmp_path / "run.json"
    place.write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = CliRunner().invoke(trace, [str(place), "--run", str(file)])
    assert done.exit_code == 1
    (run,) = json.loads(file.read_text())["runs"]
    assert run["steps"] == [{"rule": "phase.start"}, {"rule": "checkpoint.commit"}]
    assert run["initial"]["phase"] == "SETUP"
    assert run["why"].startswith("The trace was refused: event 1, checkpoint.commit")
    place.write_text(place.read_text().replace('"pages": 2', '"pages": 17'))
    large = CliRunner().invoke(trace, [str(place), "--run", str(file)])
    assert large.exit_code == 2
    assert "run-too-large" in large.output


def drop(seen: Page, text: str) -> None:
    """Drop a file onto the page."""
    seen.evaluate(
        """(text) => {
          const files = new DataTransfer();
          files.items.add(new File([text], "run.json"));
          document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: files, bubbles: true, cancelable: true }));
        }""",
        text,
    )


@needs_browser
def test_the_keyboard_is_enough(seen: Page) -> None:
    """Given no mouse, When Tab goes to a step and Enter takes it, Then the focus stays at the steps; arrows go along the run."""
    for _ in range(30):
        seen.keyboard.press("Tab")
        if seen.evaluate("document.activeElement.classList.contains('step')"):
            break
    for _ in range(4):
        seen.keyboard.press("Enter")
        assert seen.evaluate("document.activeElement.classList.contains('step')")
    assert seen.locator("#place").inner_text() == "step 4 of 4"
    for key, shown in (("ArrowLeft", 3), ("Home", 0), ("ArrowRight", 1), ("End", 4)):
        seen.keyboard.press(key)
        assert seen.locator("#place").inner_text() == f"step {shown} of 4"
    nameless = (
        "[...document.querySelectorAll('button, select, input')].filter((each) => !each.labels?.length && !each.innerText.trim()).length"
    )
    assert seen.evaluate(nameless) == 0


@needs_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1000, 1800])
def test_it_fits_and_can_be_read(browser: Browser, place: str, scheme: Any, width: int) -> None:
    """Given a narrow or a wide window, light or dark, Then nothing sticks out, and text stands out from what is behind it."""
    opened = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    opened.goto(f"{place}#control=mirror+decided+again")
    opened.locator("summary").click()
    assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth")
    for selector in ("body", ".words", ".step", ".bad", ".changed", "#run .later, #run [aria-current]"):
        assert opened.evaluate(CONTRAST, selector) >= 4.5, selector
    opened.close()


CONTRAST: Final = """(selector) => {
  const numbers = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([red, green, blue]) => [red, green, blue].map((part) => part / 255)
    .map((part) => (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
    .reduce((sum, part, place) => sum + part * [0.2126, 0.7152, 0.0722][place], 0);
  const element = document.querySelector(selector);
  let behind = element;
  while (numbers(getComputedStyle(behind).backgroundColor)[3] === 0) behind = behind.parentElement;
  const [ink, paper] = [getComputedStyle(element).color, getComputedStyle(behind).backgroundColor].map((text) => light(numbers(text)));
  return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
}"""


def test_the_server_has_one_page_and_is_on_this_machine_only() -> None:
    """Given the server, When it is asked, Then it sends the page, with a policy that allows nothing from elsewhere, and nothing else."""
    with serving("<p>page</p>", 0) as url:
        parts = urlsplit(url)
        assert parts.hostname == LOOPBACK
        assert parts.port
        for path, status in (("/", 200), ("/etc/passwd", 404), ("/../x", 404)):
            connection = http.client.HTTPConnection(LOOPBACK, parts.port, timeout=5)
            connection.request("GET", path)
            answer = connection.getresponse()
            assert answer.status == status
            assert (answer.read() == b"<p>page</p>") is (status == 200)
            connection.close()
            assert status != 200 or "default-src 'none'" in (answer.getheader("Content-Security-Policy") or "")


def test_web_takes_nothing_that_is_printed() -> None:
    """Given --web with a picture, Then it is refused: it shows its run in a browser."""
    done = CliRunner().invoke(explore, ["--web", "--picture", "--control", WRONG[0].name])
    assert done.exit_code == 2
    assert "--web shows a run in a browser" in done.output


def test_the_page_is_whole() -> None:
    """Given the page, Then every rule and known mistake is in it, no placeholder is left, and it loads nothing."""
    text = page()
    assert [rule.id for rule in BOTH_SIDES.rules if f'id: "{rule.id}"' not in text] == []
    assert [each.name for each in (*WRONG, *HARMLESS) if json.dumps(each.name) not in text] == []
    assert re.findall(r"/\*[A-Z]+\*/|https?:|\bsrc=|\bimport\b\(", text) == []
    assert len(text) < 400_000
