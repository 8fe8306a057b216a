"""The house itself: what is packaged, what may import what, what is locked, and what no file may say."""

import ast
import importlib.metadata
import importlib.util
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PARTS = ("spec", "model", "impl", "conformance")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCK = (ROOT / "requirements.lock").read_text()

MODULES_OF = {"crosshair-tool": "crosshair", "qemu.qmp": "qemu", "z3-solver": "z3"}
"""Names to import, where they are not the distribution's."""

GIVEN = {"z3-solver", "hypothesis", "crosshair-tool", "pytest", "numpy"}
"""The libraries that colofd was asked to build on; all others must be used to be there."""


def sources() -> list[Path]:
    return sorted(path for part in PARTS for path in (ROOT / part).rglob("*.py"))


def packages() -> list[str]:
    return sorted(".".join(("colofd", *path.relative_to(ROOT).parts[:-1])) for path in sources() if path.name == "__init__.py")


def imported_modules(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")


def requirement_name(requirement: str) -> str:
    match = re.match(r"[a-z0-9.-]+", requirement)
    assert match, f"{requirement} names no distribution"
    return match.group()


def locked() -> dict[str, str]:
    """Return each entry of the lock, with all that belongs to it."""
    entries = re.split(r"^(?=[a-z0-9])", LOCK, flags=re.MULTILINE)
    return {entry.partition("==")[0]: entry for entry in entries if "==" in entry}


def test_every_package_is_installed_and_typed() -> None:
    """Given the folders of the checkout, then each one is installed as a package, and each part carries py.typed where it is imported."""
    for package in packages():
        found = importlib.util.find_spec(package)
        assert found, f"{package} is not installed"
        assert found.origin, f"{package} has no __init__.py"
        if package.count(".") == 1:
            assert (Path(found.origin).parent / "py.typed").is_file(), f"{package} has no py.typed"


def test_every_source_stands_in_a_package() -> None:
    """Given the sources of the checkout, then none stands in a folder that is no package, and would not be installed."""
    assert {str(path.relative_to(ROOT)) for path in sources() if not (path.parent / "__init__.py").is_file()} == set()


def test_every_source_is_importable_only_under_colofd() -> None:
    """Given all sources, then none imports a part by its bare name or relatively: a file is one module only."""
    bare = {
        f"{path.relative_to(ROOT)}: {module}"
        for path in [*sources(), *sorted((ROOT / "tests").rglob("*.py"))]
        for module in imported_modules(path)
        if module.partition(".")[0] in {*PARTS, ""}
    }
    assert not bare


@pytest.mark.parametrize(
    ("part", "allowed"),
    [
        ("spec", {"colofd.spec"}),
        ("model", {"colofd.spec", "colofd.model"}),
        ("impl", {"colofd.spec.constants", "colofd.spec.reasons", "colofd.impl"}),
    ],
)
def test_no_part_imports_what_it_must_not_know(part: str, allowed: set[str]) -> None:
    """Given a part's sources, then they import only these of ours (`make layers` checks chains of imports, too)."""
    broken = {
        f"{path.relative_to(ROOT)}: {module}"
        for path in (ROOT / part).rglob("*.py")
        for module in imported_modules(path)
        if module.startswith("colofd") and not any(module == name or module.startswith(name + ".") for name in allowed)
    }
    assert not broken


def test_the_layers_hold_through_chains_of_imports() -> None:
    """Given the contracts of pyproject.toml, when import-linter follows all chains, then none is broken."""
    linter = Path(sys.executable).parent / "lint-imports"
    finished = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)  # noqa: S603  # our own tool
    assert finished.returncode == 0, finished.stdout + finished.stderr


def test_every_locked_distribution_has_a_hash() -> None:
    """Given the lock, then each entry is one exact version with at least one SHA-256."""
    entries = locked()
    assert len(entries) > 20
    without = [name for name, entry in entries.items() if not re.search(r"--hash=sha256:[0-9a-f]{64}\b", entry)]
    assert not without


def test_the_lock_holds_all_that_is_asked_for() -> None:
    """Given the dependencies of colofd and of its development, then each is locked."""
    project = PROJECT["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"]["dev"], *PROJECT["build-system"]["requires"]]
    assert {requirement_name(each) for each in asked} <= set(locked())


def test_what_is_installed_is_what_is_locked() -> None:
    """Given this environment, then the dependencies have the locked versions: tests speak about those."""
    for name in map(requirement_name, PROJECT["project"]["dependencies"]):
        assert locked()[name].startswith(f"{name}=={importlib.metadata.version(name)} "), f"{name} is installed in another version"


def test_no_dependency_is_there_for_show() -> None:
    """Given the dependencies, then our code imports each that we chose ourselves."""
    used = {module.partition(".")[0] for path in sources() for module in imported_modules(path)}
    chosen = {requirement_name(each) for each in PROJECT["project"]["dependencies"]} - GIVEN
    assert {name for name in chosen if MODULES_OF.get(name, name) not in used} == set()


def test_every_import_is_a_declared_dependency() -> None:
    """Given our code, then what it imports is Python's own, ours, or declared; an extra is imported by the package of its name only."""
    for path in sources():
        extra = PROJECT["project"]["optional-dependencies"].get(path.parent.name, [])
        declared = {MODULES_OF.get(name, name) for name in map(requirement_name, [*PROJECT["project"]["dependencies"], *extra])}
        used = {module.partition(".")[0] for module in imported_modules(path)}
        assert used - set(sys.stdlib_module_names) - {"colofd"} <= declared, path


def test_the_given_libraries_are_dependencies() -> None:
    """Given the libraries that colofd was asked to build on, then it depends on each."""
    assert {requirement_name(each) for each in PROJECT["project"]["dependencies"]} >= GIVEN


def test_the_lock_names_no_host() -> None:
    """Given the lock, then it says what to install, and not from where."""
    assert not re.search(r"://|index-url|find-links|trusted-host", LOCK)


UNFINISHED = re.compile(r"\b(TO" + "DO|FIX" + r"ME|NotImplemented" + r"Error)\b")
ELSEWHERE = re.compile(r"(?<!no-emit-)index" + r"-url|https?://[^\s)>\"]*(/simple\b|//registry\.)|(?<![\w.$/])/(work|root|home)/")


@pytest.mark.parametrize("pattern", [UNFINISHED, ELSEWHERE], ids=["unfinished", "elsewhere"])
def test_no_file_says_what_it_must_not(pattern: re.Pattern[str]) -> None:
    """Given all text of ours, then nothing is marked unfinished, and nothing names a registry or a folder of one machine."""
    folders = [*PARTS, "tests", "docs", "benchmarks", ".ci"]
    paths = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    texts = [
        path
        for path in [*paths, *ROOT.iterdir()]
        if path.suffix in {".py", ".md", ".toml", ".json", ".lock"} or path.name in {"run", "Makefile"}
    ]
    found = {
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in texts
        if path.is_file() and path != Path(__file__)
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if pattern.search(line)
    }
    assert not found


@pytest.mark.parametrize(
    ("pattern", "line"),
    [
        (UNFINISHED, "# TO" + "DO: later"),
        (UNFINISHED, "raise NotImplemented" + "Error"),
        (ELSEWHERE, "pip install --index" + "-url x"),
        (ELSEWHERE, "see /wo" + "rk/main"),
        (ELSEWHERE, "https://pypi.example" + "/simple/numpy"),
    ],
)
def test_what_must_not_be_said_is_recognised(pattern: re.Pattern[str], line: str) -> None:
    """Given a line of the kind that is looked for (the control of the test above), then it is found."""
    assert pattern.search(line)


def test_no_module_is_long() -> None:
    """Given our sources, then none has more than 450 lines."""
    assert {path.name: count for path in sources() if (count := len(path.read_text().splitlines())) > 450} == {}
