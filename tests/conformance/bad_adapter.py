"""An adapter that does one thing wrong: `python bad_adapter.py HOW`. Everything else it leaves to the example."""

import io
import json
import os
import signal
import sys
import time

from colofd.conformance.example_adapter import serve


class Replies(io.StringIO):
    """Standard output, for a liar."""

    def __init__(self, how: str, verb: str) -> None:
        super().__init__()
        self.how = how
        self.verb = verb
        self.asked = ""

    def write(self, text: str) -> int:
        """Write a reply, or something else."""
        if self.asked != self.verb:
            return sys.stdout.write(text)
        reply = json.loads(text)
        said = {
            "floods": "x" * 1_000_000,
            "chats": text + "a word more\n",
            "garbage": "ready\n",
            "other-question": json.dumps({**reply, "id": 77}) + "\n",
            "no-name": json.dumps({"id": reply["id"], "protocol": 1}) + "\n",
            "newer": json.dumps({**reply, "protocol": 9}) + "\n",
            "state": json.dumps({**reply, "state": "fine"}) + "\n",
            "empty": json.dumps({"id": reply["id"]}) + "\n",
        }
        sys.stdout.write(said.get(self.how, text[:-3] if self.how.startswith("half-line") else ""))
        sys.stdout.flush()
        self._end()
        return 0

    def _end(self) -> None:
        """Do what is done beside a reply."""
        if self.how == "crashes":
            os.kill(os.getpid(), signal.SIGSEGV)
        if self.how in {"dies", "half-line-and-dies"}:
            sys.stderr.write("cannot go on\n")
            sys.stderr.flush()
            os._exit(3)
        if self.how in {"hangs", "half-line"}:
            time.sleep(60)

    def flush(self) -> None:
        """Flush standard output."""
        sys.stdout.flush()


class Questions:
    """Standard input, overheard."""

    def __init__(self, replies: Replies) -> None:
        self.replies = replies

    def __iter__(self) -> "Questions":
        return self

    def __next__(self) -> str:
        line = sys.stdin.readline()
        if not line:
            raise StopIteration
        question = json.loads(line)
        self.replies.asked = question["verb"]
        if self.replies.how == "does-nothing" and question["verb"] == self.replies.verb:
            sys.stdout.write(json.dumps({"id": question["id"]}) + "\n")
            sys.stdout.flush()
            return next(self)
        return line


if __name__ == "__main__":
    out = Replies(*sys.argv[1:3])
    serve(Questions(out), out)  # type: ignore[arg-type]  # is iterated only
