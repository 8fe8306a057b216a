"""The sources of the documentation's site: `python -m colofd.conformance.site FOLDER`, which `make docs` builds with Sphinx.

The pages of docs/ are copied. The reference is made from the specification, and a page for each source that a page or a card speaks of.
"""

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from colofd.conformance.cards import groups
from colofd.conformance.site_diagrams import channels_page, memory_page, phases_page, sequences_page
from colofd.conformance.site_pages import (
    EXPLORER,
    Vectors,
    api_page,
    cards_page,
    commands_page,
    file_name,
    profiles_page,
    vectors_page,
    writes_page,
)
from colofd.conformance.vector_families import Needed, needed_vectors
from colofd.conformance.vector_tables import pages_about
from colofd.conformance.web_page import page

SUFFIXES: Final = {".py": "python", ".md": "markdown", ".json": "json"}
"""How files that a page shows are coloured."""

_OUTSIDE: Final = re.compile(r"\]\(\.\./([^)#]+?)/?(?:#[^)]*)?\)")
"""A link from docs/ to a file or folder of the checkout."""

EXTRA: Final = "extra"
"""The folder of what is no page; docs/conf.py names it, too."""

_LINK: Final = re.compile(r"\]\((?!https?:|#)([^)]+)\)")


def write_site(root: Path, folder: Path, needed: Needed) -> None:
    """Write the sources of the site into `folder`, which is emptied before; `root` is the checkout, the vectors `needed` are listed."""
    shutil.rmtree(folder, ignore_errors=True)
    about: dict[str, list[str]] = {}
    for vector in needed.vectors:
        for rule in vector.rules:
            about.setdefault(str(rule), []).append(vector.id)
    pages = dict(_pages(root, about))
    for name, text in pages_about(needed).items():
        if name.endswith(".md"):
            pages[f"reference/vectors-{name}"] = text
    for path in sorted((root / "docs").iterdir()):
        if path.suffix == ".md":
            pages[path.name] = path.read_text()
        elif path.is_file():
            _put(folder / path.name, path.read_text())
    wanted = {found for text in pages.values() for found in _OUTSIDE.findall(text)}
    pages |= dict(_sources(root, wanted | {_path_of(path, root) for path in (root / "spec").rglob("*.py")}))
    # Sphinx copies what is in this folder as it is.
    _put(folder / EXTRA / EXPLORER, page())
    for name, text in pages.items():
        _put(folder / name, _OUTSIDE.sub(lambda link: f"](/source/{link[1]}.md)", text))


def _pages(root: Path, vectors: Vectors) -> Iterator[tuple[str, str]]:
    """Yield name and text of each page that is made from the specification."""
    for group in groups():
        yield f"reference/{file_name(group.title)}", cards_page(group, vectors)
    yield "reference/vectors.md", vectors_page(vectors)
    yield "reference/versions.md", profiles_page()
    yield "reference/phases.md", phases_page()
    yield "reference/channels.md", channels_page()
    yield "reference/memory.md", memory_page()
    yield "reference/sequences.md", sequences_page()
    yield "reference/who-writes-what.md", writes_page()
    yield "reference/commands.md", commands_page()
    yield "reference/api.md", api_page()
    # These two stand beside docs/: their links get the form that those of docs/ have.
    for name in ("CHANGELOG.md", "CONTRIBUTING.md"):
        yield name.lower(), _LINK.sub(r"](../\1)", (root / name).read_text()).replace("](../docs/", "](")


def _sources(root: Path, wanted: set[str]) -> Iterator[tuple[str, str]]:
    """Yield a page for each file, and for each folder one that lists its files."""
    files = {_path_of(path, root) for each in wanted for path in ((root / each).rglob("*.py") if (root / each).is_dir() else [root / each])}
    for name in sorted(files):
        text = (root / name).read_text()
        fence = "`" * 6
        yield f"source/{name}.md", f"---\norphan: true\n---\n# {name}\n\n{fence}{SUFFIXES.get(Path(name).suffix, 'text')}\n{text}{fence}\n"
    for name in sorted(wanted - files):
        listed = "\n".join(f"- [{each}](/source/{each}.md)" for each in sorted(files) if each.startswith(f"{name}/"))
        yield f"source/{name}.md", f"---\norphan: true\n---\n# {name}\n\n{listed}\n"


def _path_of(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def _put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


if __name__ == "__main__":
    write_site(Path.cwd(), Path(sys.argv[1]), needed_vectors())
