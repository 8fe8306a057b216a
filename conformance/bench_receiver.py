"""The process of one run: colofd's own receiver, a codec by itself, or the search for zero pages, told what to do in one JSON argument.

Prints the address that it listens on, then one JSON object. A process of its own, so that CPU time and peak memory are of this run.
"""

import itertools
import json
import sys
import threading
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zstandard

from colofd.impl import Block, Compression, Deadlines, Destination, Phase, zero_pages
from colofd.spec.constants import TARGET_PAGE_SIZE as PAGE
from colofd.spec.reasons import Reason, Rejected

PATIENCE = Deadlines(connect=120.0, progress=120.0, idle=120.0)


def receive(given: dict[str, Any]) -> dict[str, Any]:
    """Receive one migration with an ordinary Destination, and say what it has cost from its start to its end."""
    begun = threading.Event()
    destination = Destination(
        [Block("ram", given["pages"] * PAGE)],
        given["channels"],
        colo=given["colo"],
        mirror=given["mirror"],
        compression=Compression(given["compression"]),
        prealloc=given["prealloc"],
        validate=_accept,
        deadlines=PATIENCE,
    )
    with destination:
        _say(destination.listen(given["address"]))
        while destination.phase is Phase.SETUP:
            begun.wait(0.001)
        begin = time.process_time()
        _wait(destination)
        spent = time.process_time() - begin
        result = {"cpu_seconds": spent, "peak_kib": _peak_kib(), "guest": digest(destination.guest("ram"))}
        result["cache"] = digest(destination.cache("ram")) if given["colo"] else 0
    return result


def _accept(_device_state: bytes) -> None:
    """Validate device state: there is nothing to refuse."""


def _wait(destination: Destination) -> None:
    try:
        destination.wait(600.0)
    except Rejected as error:
        # In COLO, the end of the sender is the end of the run.
        if error.reason is not Reason.CHANNEL_LOST or destination.phase is not Phase.IDLE:
            raise


def _say(what: str) -> None:
    sys.stdout.write(what + "\n")
    sys.stdout.flush()


def _peak_kib() -> int:
    # Not ru_maxrss, which survives exec: it would be that of the process which started this one.
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def digest(ram: npt.NDArray[np.uint8]) -> int:
    """Return the digest of RAM that bench_reference.c computes, too."""
    words = ram.view(np.uint64).reshape(-1, PAGE // 8)
    return int(np.sum(np.arange(1, len(words) + 1, dtype=np.uint64) * (words[:, 0] + np.uint64(3) * words[:, -1])))


def inflate(given: dict[str, Any]) -> dict[str, Any]:
    """Decompress packets with the codec alone, each to a whole packet of pages, and say how long that takes."""
    content = Path(given["payloads"]).read_bytes()
    starts = np.cumsum([0, *given["sizes"]])
    payloads = [memoryview(content)[begin:end] for begin, end in itertools.pairwise(starts)]
    stream: Any = zlib.decompressobj() if given["compression"] == Compression.ZLIB else zstandard.ZstdDecompressor().decompressobj()
    begin, spent = time.perf_counter(), time.process_time()
    for payload in payloads:
        stream.decompress(payload)
    return {"seconds": time.perf_counter() - begin, "cpu_seconds": time.process_time() - spent, "peak_kib": _peak_kib()}


def scan(given: dict[str, Any]) -> dict[str, Any]:
    """Look for zero pages, as often as asked; pages are all random, all zero, or both by turns."""
    memory = np.full((given["pages"], PAGE), 0 if given["kind"] == 1 else 1, np.uint8)
    if given["kind"] == 2:
        memory[1::2] = 0
    begin, spent = time.perf_counter(), time.process_time()
    found = sum(int(np.count_nonzero(zero_pages(memory))) for _ in range(given["times"]))
    seconds, cpu_seconds = time.perf_counter() - begin, time.process_time() - spent
    return {"seconds": seconds, "cpu_seconds": cpu_seconds, "peak_kib": _peak_kib(), "found": found}


def main() -> None:
    """Do what the argument says."""
    given = json.loads(sys.argv[1])
    _say(json.dumps({"receive": receive, "inflate": inflate, "scan": scan}[given["what"]](given)))


if __name__ == "__main__":
    main()
