"""A QEMU of a wanted version beside the host: Debian's packages of it and of all it needs, unpacked and run by their own dynamic loader.

Nothing of the host is changed: apt works on a package database of its own, which is empty, so libc comes along too.
"""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

VERSIONS: Final = ("7.2", "10.0", "11.1")
"""The versions that have a profile."""

_SUITES: Final = {
    "7": (("bookworm",),),
    "10": (("trixie",), ("bookworm", "bookworm-backports")),
    "11": (("trixie", "trixie-backports"), ("sid",)),
}
"""Where Debian has them, by the first number of the version: sets of suites, best first; packages come from the last of a set."""

_FIRST_WITHOUT_ENABLE_COLO: Final = 11

_KEYRING: Final = "/usr/share/keyrings/debian-archive-keyring.gpg"
_PACKAGE: Final = "qemu-system-x86"
_BINARY: Final = "qemu-system-x86_64"
_APT_SECONDS: Final = 300
"""How long one call of apt may take."""

_START: Final = f"""\
#!/bin/sh
root=$(CDPATH= cd -- "$(dirname -- "$0")/../root" && pwd)
usr=$root/usr/lib/x86_64-linux-gnu
old=$root/lib/x86_64-linux-gnu
loader=$usr/ld-linux-x86-64.so.2
[ -e "$loader" ] || loader=$old/ld-linux-x86-64.so.2
export QEMU_MODULE_DIR="$usr/qemu"
exec "$loader" --inhibit-cache --library-path "$usr:$old:$root/usr/lib:$root/lib:$usr/systemd" "$root/usr/bin/{_BINARY}" \\
    -L "$root/usr/share/qemu" -L "$root/usr/share/seabios" "$@"
"""
"""Starts the program by the loader that came with it; up to bookworm libc is not below /usr."""

Progress = Callable[[str], None]


class QemuUnavailable(Exception):  # noqa: N818  # says what is the case
    """There is no such QEMU here, and it cannot be had: why, and what to do."""


@dataclass(frozen=True)
class Qemu:
    """A QEMU that can be started: the program, and what it says of its version."""

    program: Path
    version: str

    @property
    def needs_enable_colo(self) -> bool:
        """Whether COLO is announced by the command ENABLE_COLO, and without a return path: before 11.0 (deviation `needs.enable-colo`)."""
        return int(self.version.partition(".")[0]) < _FIRST_WITHOUT_ENABLE_COLO

    @property
    def accelerator_of_primary(self) -> str:
        """What a COLO primary's guest runs by: TCG, where it does not hang (deviation `primary.hangs-under-tcg`)."""
        return "kvm" if self.needs_enable_colo else "tcg"


def has_kvm() -> bool:
    """Return whether this process may use KVM."""
    return os.access("/dev/kvm", os.R_OK | os.W_OK)


def cache_folder() -> Path:
    """Return the folder that provisioned versions are kept in."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "colofd" / "qemu"


def at_path(program: Path) -> Qemu:
    """Return the QEMU that a program is; QemuUnavailable if it does not say so."""
    try:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True, timeout=30).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise QemuUnavailable(f"{program} cannot be run: {error}") from error
    found = re.match(r"QEMU emulator version (\d+\.\S+ ?(?:\(.*?\))?)", said)
    if found is None:
        raise QemuUnavailable(f"{program} says no version of QEMU: {said[:80]!r}")
    return Qemu(program, found.group(1).strip())


def find(version: str) -> Qemu | None:
    """Return a version that was provisioned before, or None."""
    program = cache_folder() / version / "bin" / _BINARY
    return at_path(program) if program.exists() else None


def get(version: str, progress: Progress = lambda _what: None) -> Qemu:
    """Return a version, and provision it first where need be.

    Raises:
        QemuUnavailable: no profile has this version, this is no Debian on x86-64, or its packages cannot be reached.
    """
    if version not in VERSIONS:
        raise QemuUnavailable(f"{version} is none of the versions that colofd knows: {', '.join(VERSIONS)}")
    if (found := find(version)) is not None:
        return found
    _require_tools()
    cache_folder().mkdir(parents=True, exist_ok=True)
    # Made beside its place and renamed: what has the name is whole.
    with tempfile.TemporaryDirectory(dir=cache_folder(), prefix=f"{version}-") as scratch:
        made = Path(scratch) / "made"
        _provision(version, Path(scratch) / "apt", made, progress)
        at_path(made / "bin" / _BINARY)
        try:
            made.rename(cache_folder() / version)
        except OSError:
            # Another process was faster, or the folder there is broken.
            if find(version) is None:
                raise
    provisioned = find(version)
    if provisioned is None:
        raise QemuUnavailable(f"{version} was unpacked and is not there: is somebody emptying {cache_folder()}?")
    return provisioned


def named(name: str, progress: Progress = lambda _what: None) -> Qemu:
    """Return the QEMU of a version, provisioned where need be, or the one at a path. QemuUnavailable if it cannot be had."""
    if name in VERSIONS:
        return get(name, progress)
    if not Path(name).exists():
        raise QemuUnavailable(f"{name} is neither one of the versions {', '.join(VERSIONS)} nor the path of a program")
    return at_path(Path(name))


def _require_tools() -> None:
    missing = [tool for tool in ("apt-get", "apt-cache", "dpkg") if shutil.which(tool) is None]
    if missing:
        raise QemuUnavailable(
            f"{', '.join(missing)} not found: packages are fetched by Debian's own tools; give the path of a QEMU instead"
        )
    if not Path(_KEYRING).exists():
        raise QemuUnavailable(f"{_KEYRING} not found: install debian-archive-keyring, or give the path of a QEMU instead")


def _provision(version: str, state: Path, made: Path, progress: Progress) -> None:
    mirror = _mirror()
    for suites in _SUITES[version.partition(".")[0]]:
        progress(f"looking for QEMU {version} in {' + '.join(suites)}")
        apt = _Apt(state, mirror, suites)
        package = apt.package_of(version)
        if package is not None:
            progress(f"fetching {_PACKAGE} {package}")
            _unpack(apt.fetch(package, suites[-1]), made, progress)
            return
    raise QemuUnavailable(f"none of Debian's suites has QEMU {version}, or they cannot be reached: see `apt-get update`")


def _mirror() -> str:
    """Return the address of the Debian archive that the host itself uses."""
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]
    addresses = _run(command).split()
    for address in sorted(addresses):
        if re.search(r"/debian/?$", address):
            return address
    raise QemuUnavailable("the host's apt names no Debian archive: give the path of a QEMU instead")


class _Apt:
    """Debian's package tools on an empty package database."""

    def __init__(self, state: Path, mirror: str, suites: Sequence[str]) -> None:
        shutil.rmtree(state, ignore_errors=True)
        (state / "lists" / "partial").mkdir(parents=True)
        (state / "cache" / "archives" / "partial").mkdir(parents=True)
        (state / "status").touch()
        (state / "sources.list").write_text("".join(f"deb [signed-by={_KEYRING}] {mirror} {suite} main\n" for suite in suites))
        self._archives = state / "cache" / "archives"
        options = {
            "Dir::State": state,
            "Dir::State::status": state / "status",
            "Dir::Cache": state / "cache",
            "Dir::Etc::sourcelist": state / "sources.list",
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::Etc::preferencesparts": "/dev/null",
            "APT::Install-Recommends": "false",
            "APT::Sandbox::User": "root",
            "Acquire::Languages": "none",
            "Debug::NoLocking": "1",
        }
        self._options = [f"-o{name}={value}" for name, value in options.items()]

    def package_of(self, version: str) -> str | None:
        """Return the full version of the package, or None if these suites do not have it or cannot be reached."""
        try:
            _run(["apt-get", *self._options, "--quiet", "update"])
        except QemuUnavailable:
            return None
        rows = [line.split("|") for line in _run(["apt-cache", *self._options, "madison", _PACKAGE]).splitlines()]
        numbers = [row[1].strip() for row in rows if len(row) > 1]
        return next((number for number in numbers if re.match(rf"1:{re.escape(version)}[.+~-]", number)), None)

    def fetch(self, package: str, suite: str) -> Sequence[Path]:
        """Return the archives of the package and of all that it needs."""
        wanted = f"{_PACKAGE}={package}"
        _run(["apt-get", *self._options, "--quiet", "--yes", "--download-only", "--target-release", suite, "install", wanted])
        return sorted(self._archives.glob("*.deb"))


def _unpack(archives: Sequence[Path], made: Path, progress: Progress) -> None:
    root, start = made / "root", made / "bin" / _BINARY
    root.mkdir(parents=True)
    start.parent.mkdir()
    for number, archive in enumerate(archives, 1):
        progress(f"unpacking {number} of {len(archives)}")
        _run(["dpkg", "-x", str(archive), str(root)])
    for name in ("doc", "man", "locale", "info", "i18n"):
        shutil.rmtree(root / "usr" / "share" / name, ignore_errors=True)
    (made / "packages.txt").write_text("".join(f"{archive.name}\n" for archive in archives))
    start.write_text(_START)
    start.chmod(0o755)


def _run(command: Sequence[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=_APT_SECONDS).stdout
    except subprocess.CalledProcessError as error:
        said = (error.stderr or error.stdout).strip().splitlines()
        raise QemuUnavailable(f"{command[0]} failed: {said[-1] if said else error}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise QemuUnavailable(f"{command[0]} failed: {error}") from error
