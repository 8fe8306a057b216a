"""The receiver in C, built once for each mistake that is planted in it."""

import functools
import runpy
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

import pytest

SOURCES: Final = Path(__file__).parents[2] / "examples" / "c-receiver"


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="c-receiver-")


@functools.cache
def built(bug: str = "", sanitize: str = "") -> Path:
    """Return the program, which is built at first; pytest skips where there is no compiler, or none with this sanitizer."""
    compiler = shutil.which("cc")
    if not (compiler and shutil.which("make")):
        pytest.skip("no C compiler, or no make: the receiver in C cannot be built")
    program = Path(_folder().name) / f"c-receiver-{bug}-{sanitize}"
    if sanitize and not _has_sanitizer(compiler, sanitize):
        pytest.skip(f"this C compiler has no sanitizer {sanitize}")
    command = ["make", "--silent", "--directory", str(SOURCES), f"OUT={program}", "CFLAGS=-O1 -g", f"BUG={bug}", f"SANITIZE={sanitize}"]
    made = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)  # noqa: S603  # our own Makefile
    assert made.returncode == 0, made.stdout + made.stderr
    return program


def _has_sanitizer(compiler: str, sanitize: str) -> bool:
    probe = [compiler, f"-fsanitize={sanitize}", "-x", "c", "-", "-o", str(Path(_folder().name) / "probe")]
    code = "int main(void) { return 0; }"
    return subprocess.run(probe, input=code, capture_output=True, text=True, timeout=60, check=False).returncode == 0  # noqa: S603  # as above


def subject(bug: str = "", option: str = "") -> str:
    """Return its name as a subject."""
    return f"exec:{shlex.quote(str(built(bug)))} {option}".strip()


def rules_by_bug() -> dict[str, str]:
    """Return the mistakes that can be planted, each with the id of the rule that it breaks."""
    found: dict[str, str] = runpy.run_path(str(SOURCES / "planted.py"))["rules_by_bug"]()
    return found
