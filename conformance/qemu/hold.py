"""Holds one thread of another process where it has just received so many bytes: by ptrace, without symbols, and no other thread is touched.

Run as a program, `hold TID BYTES` traces the thread, says `ready`, and `held` at the exit of the system call that brings the last of these
bytes; a line on its input lets the thread go. A process of its own, for whoever traces a thread must wait for it, too.
"""

import ctypes
import os
import select
import subprocess
import sys
from types import TracebackType
from typing import Final, Self

_SECONDS: Final = 5.0

# The kernel's ptrace(2), for x86-64.
_SEIZE, _INTERRUPT, _SYSCALL, _DETACH, _GETREGS = 0x4206, 0x4207, 24, 17, 12
_TRACE_SYSCALLS: Final = 1
_SYSCALL_STOP: Final = 5 | 0x80
_ALL_THREADS: Final = 0x40000000
_READ, _READV, _RECVFROM, _RECVMSG = 0, 19, 45, 47
_RAX, _ORIG_RAX, _REGISTERS = 10, 15, 27


class HoldUnavailable(Exception):  # noqa: N818  # says what is the case
    """A thread cannot be held here: why."""


class Hold:
    """Holds a thread at the end of the call that brings the last of so many bytes, from now on. Let it go, or leave the `with` statement.

    Raises:
        HoldUnavailable: tracing is not allowed, or the thread is gone.
    """

    def __init__(self, thread: int, size: int) -> None:
        command = [sys.executable, "-m", __name__, str(thread), str(size)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            self._expect("ready")
        except BaseException:
            self.close()
            raise

    def wait(self) -> None:
        """Wait until the thread is held. HoldUnavailable if it is not within some seconds."""
        self._expect("held")

    def release(self) -> None:
        """Let the thread go."""
        if self._process.stdin is not None and self._process.poll() is None:
            self._process.stdin.write("go\n")
            self._process.stdin.flush()
            self._process.wait(_SECONDS)

    def close(self) -> None:
        """End it; a thread that is still held goes on."""
        # What traces a thread lets it go when it ends.
        self._process.kill()
        self._process.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _expect(self, word: str) -> None:
        assert self._process.stdout is not None  # noqa: S101  # it was asked for
        is_there, _, _ = select.select([self._process.stdout], [], [], _SECONDS)
        said = self._process.stdout.readline().strip() if is_there else f"nothing within {_SECONDS} s"
        if said != word:
            raise HoldUnavailable(f"a thread cannot be held by ptrace: {said or 'its helper has ended'}")


class _Tracer:
    def __init__(self, thread: int) -> None:
        self._thread = thread
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
        self._libc.ptrace.restype = ctypes.c_long
        self._registers = (ctypes.c_ulonglong * _REGISTERS)()

    def request(self, number: int, data: int = 0) -> None:
        if self._libc.ptrace(number, self._thread, 0, data) < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    def next_call(self) -> tuple[int, int] | None:
        """Go on to the next entry or exit of a system call; return its number and result so far. None: the thread has stopped otherwise."""
        self.request(_SYSCALL)
        _, status = os.waitpid(self._thread, _ALL_THREADS)
        if not os.WIFSTOPPED(status):
            raise ProcessLookupError("the thread has ended")
        if os.WSTOPSIG(status) != _SYSCALL_STOP:
            return None
        self.request(_GETREGS, ctypes.addressof(self._registers))
        return self._registers[_ORIG_RAX], ctypes.c_longlong(self._registers[_RAX]).value


def _say(what: str) -> None:
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


def hold(thread: int, size: int) -> None:
    """Trace a thread, stop it when it has received `size` bytes, and let it go when a line comes. OSError if that cannot be done."""
    tracer = _Tracer(thread)
    tracer.request(_SEIZE, _TRACE_SYSCALLS)
    tracer.request(_INTERRUPT)
    os.waitpid(thread, _ALL_THREADS)
    _say("ready")
    received = 0
    while received < size:
        call = tracer.next_call()
        if call is not None and call[0] in {_READ, _READV, _RECVFROM, _RECVMSG} and call[1] > 0:
            received += call[1]
    _say("held")
    # If the parent is gone, this ends, too.
    sys.stdin.readline()
    tracer.request(_DETACH)


if __name__ == "__main__":
    try:
        hold(int(sys.argv[1]), int(sys.argv[2]))
    except OSError as error:
        _say(str(error))
        sys.exit(1)
