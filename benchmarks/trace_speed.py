# ruff: noqa: INP001  # a program, not a package
"""How fast `colofd trace` is: events, and micro-steps that the specification takes for them, per second of CPU.

python benchmarks/trace_speed.py [CAPTURE ...]   traces of the built-in receiver on recordings
"""

import argparse
import io
import json
import time

import click

from colofd.conformance import replay_impl
from colofd.conformance.captures import find, load
from colofd.conformance.trace_check import new_acceptor, take
from colofd.conformance.trace_file import read_trace, writer_for
from colofd.spec.protocol import BOTH_SIDES


def main() -> None:
    """Measure, and print one JSON object for each trace."""
    parser = argparse.ArgumentParser(description="Measure the acceptance of traces.")
    parser.add_argument("captures", nargs="*", default=["colo-main-only", "colo-mfd4-zstd"])
    for name in parser.parse_args().captures:
        click.echo(json.dumps({"capture": name, **measured(_trace_of(name))}))


def _trace_of(name: str) -> bytes:
    capture = load(find(name))
    file = io.BytesIO()
    with writer_for(capture, file) as writer:
        reading = replay_impl.read(capture, writer.note)
    if reading.refused is not None:
        raise reading.refused
    return file.getvalue()


def measured(text: bytes) -> dict[str, float]:
    """Return how long a trace takes, from its bytes to its acceptance."""
    begin = time.process_time()
    read = read_trace(io.BytesIO(text))
    acceptor = new_acceptor(read, BOTH_SIDES)
    take(acceptor, read.happened)
    seconds, steps = time.process_time() - begin, acceptor.machine.steps
    counts = {"events": read.events, "micro_steps": steps, "seconds": round(seconds, 3)}
    return {**counts, "events_per_second": round(read.events / seconds), "micro_steps_per_second": round(steps / seconds)}


if __name__ == "__main__":
    main()
