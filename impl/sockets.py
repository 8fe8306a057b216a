"""Reading sockets: whole items at once for the multifd channels, through a buffer for the main channel.

Sockets stay blocking. SO_RCVTIMEO bounds a wait, for `settimeout` would make them non-blocking and each read two system calls.
"""

import contextlib
import ctypes
import errno
import math
import os
import socket
import struct
import time
from typing import Final

import numpy as np
import numpy.typing as npt

WAIT_FOR_ALL: Final = int(socket.MSG_WAITALL)
"""A plain int: the members of an IntFlag are slow."""
CHUNK: Final = 1 << 16
"""Bytes that the main channel is read ahead at a time."""


class _MessageHeader(ctypes.Structure):
    """struct msghdr of recvmsg(2)."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint),
        ("vectors", ctypes.c_void_p),
        ("vector_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


# Its arguments are given as ctypes objects, made once: to make them of numbers takes as long as the rest of the call.
_recvmsg = ctypes.CDLL(None, use_errno=True).recvmsg
_recvmsg.restype = ctypes.c_ssize_t
_WAIT_FOR_ALL = ctypes.c_int(WAIT_FOR_ALL)
# Keeps the GIL: to take what is there is quicker than to get the GIL back from another channel's thread.
_recv_what_is_there = ctypes.PyDLL(None).recv
_recv_what_is_there.restype = ctypes.c_ssize_t
_DO_NOT_WAIT = ctypes.c_int(socket.MSG_DONTWAIT)


class Places:
    """Where the pages of one packet after the other are to be read: an array of struct iovec, filled anew for each.

    Args:
        capacity: of pages in a packet.
        address: of page 0; the memory must stay where it is as long as anything is read.
        page_size: in bytes.
    """

    def __init__(self, capacity: int, address: int, page_size: int) -> None:
        self.page_size = page_size
        self._address = np.array(address, np.uint64)
        self._vectors: npt.NDArray[np.uint64] = np.full((capacity, 2), page_size, np.uint64)
        self._addresses = self._vectors[:, 0]
        self._message = _MessageHeader(vectors=self._vectors.ctypes.data)
        self._message_address = ctypes.c_void_p(ctypes.addressof(self._message))
        self._count = 0
        self._is_cut = False

    @property
    def vectors(self) -> npt.NDArray[np.uint64]:
        """The vectors that are in use: address and bytes of each."""
        return self._vectors[: self._count]

    def of(self, starts: npt.NDArray[np.uint64]) -> ctypes.c_void_p:
        """Return the address of a struct msghdr for pages that start at these bytes of the memory."""
        count = len(starts)
        if count != self._count:
            self._message.vector_count = self._count = count
            self._addresses = self._vectors[:count, 0]
        np.add(starts, self._address, self._addresses)
        if self._is_cut:
            self._vectors[0, 1] = self.page_size
            self._is_cut = False
        return self._message_address

    def after(self, starts: npt.NDArray[np.uint64], read: int) -> ctypes.c_void_p:
        """Return the same for what is left of pages of which `read` bytes are there."""
        message = self.of(starts[read // self.page_size :])
        part = read % self.page_size
        self._vectors[0] += np.array([part, -part]).view(np.uint64)
        self._is_cut = True
        return message


def require_lost_connection(number: int | None) -> None:
    """Raise OSError for an error number that is the receiver's own trouble: memory that it must not write, or that it does not get."""
    if number in {errno.EFAULT, errno.ENOMEM, errno.ENOBUFS}:
        raise OSError(number, os.strerror(number))


class Activity:
    """When the peer was last heard, on any channel (seconds of time.monotonic)."""

    def __init__(self) -> None:
        self.last = time.monotonic()

    def touch(self) -> None:
        """Note that bytes have just arrived."""
        self.last = time.monotonic()


def set_timeout(sock: socket.socket, option: int, seconds: float) -> None:
    """Bound each read or write of a blocking socket: SO_RCVTIMEO, SO_SNDTIMEO. Zero is no bound."""
    # Rounded up, for less than a microsecond must not become no bound.
    sock.setsockopt(socket.SOL_SOCKET, option, struct.pack("@ll", *divmod(math.ceil(seconds * 1e6), 1_000_000)))


class ChannelSocket:
    """A connected socket that counts what it has read; it takes over the descriptor, and the given object is closed from then on.

    Attributes:
        offset: bytes read from the channel so far.
        boundary: offset of the packet that is being read, or comes next.
        unread: bytes that were put back, to be read before any others.
    """

    def __init__(self, sock: socket.socket, activity: Activity) -> None:
        # Of its own, so that nobody else can close it while a thread reads it.
        sock = socket.socket(fileno=sock.detach())
        sock.setblocking(True)
        if sock.family in {socket.AF_INET, socket.AF_INET6}:
            # Replies are a few bytes each: held back to be sent together, they would each cost a delayed acknowledgement.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = sock
        self._recv_into = sock.recv_into
        self._number = ctypes.c_int(sock.fileno())
        self._head: memoryview | None = None
        self._head_place = (ctypes.c_void_p(), ctypes.c_size_t())
        self.offset = 0
        self.boundary = 0
        self.unread = b""
        self._activity = activity

    def read_into(self, target: memoryview, enough: int | None = None) -> int:
        """Read until `target` is full, or has `enough` bytes; return fewer only at the end of the channel, or if the connection failed."""
        total = 0
        flags, enough = (WAIT_FOR_ALL, len(target)) if enough is None else (0, enough)
        while total < enough:
            try:
                count = self._recv_into(target[total:] if total else target, 0, flags)
            except OSError as error:
                require_lost_connection(error.errno)
                break
            if not count:
                break
            total += count
            self.offset += count
            self._activity.touch()
        return total

    def read_head(self, target: memoryview, enough: int) -> int:
        """Do the same as `read_into`, quicker where all is there, and where it is the same `target` each time."""
        if target is not self._head:
            address = ctypes.addressof(ctypes.c_char.from_buffer(target))
            self._head, self._head_place = target, (ctypes.c_void_p(address), ctypes.c_size_t(len(target)))
        count: int = _recv_what_is_there(self._number, *self._head_place, _DO_NOT_WAIT)
        if count <= 0:
            # Nothing is there yet, or it is the end; trouble shows again.
            return self.read_into(target, enough)
        self.offset += count
        self._activity.touch()
        return count if count >= enough else count + self.read_into(target[count:], enough - count)

    def read(self, size: int) -> bytes:
        """Return the next `size` bytes; fewer only at the end of the channel, or if the connection failed."""
        content = b""
        while len(content) < size:
            try:
                part = self.socket.recv(size - len(content), WAIT_FOR_ALL)
            except OSError as error:
                require_lost_connection(error.errno)
                break
            if not part:
                break
            content = content + part if content else part
            self.offset += len(part)
            self._activity.touch()
        return content

    def read_pages(self, starts: npt.NDArray[np.uint64], places: "Places") -> int:
        """Read the contents of pages, which start at these bytes, straight to their places; the bytes must have been checked.

        Returns the bytes read: fewer than the pages have only at the end of the channel, or if the connection failed.
        """
        message, size = places.of(starts), len(starts) * places.page_size
        total = 0
        while total < size:
            count = _recvmsg(self._number, message, _WAIT_FOR_ALL)
            if count < 0 and ctypes.get_errno() == errno.EINTR:
                continue
            if count < 0:
                require_lost_connection(ctypes.get_errno())
            if count <= 0:
                break
            total += count
            self.offset += count
            self._activity.touch()
            if total < size:
                message = places.after(starts, total)
        return total

    def has_begun_packet(self) -> bool:
        """Return whether anything has come after the last packet, read or not. Does not wait."""
        try:
            return bool(self.socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)) or self.offset != self.boundary
        except OSError:
            return self.offset != self.boundary

    def put_back(self, read: bytes) -> None:
        """Undo the reading of the last bytes; only the buffered reading of the main channel looks at them."""
        self.unread = read
        self.offset -= len(read)

    def shut_down(self) -> None:
        """End the connection in both directions; wakes whoever reads it."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the socket; nobody may be reading it."""
        self.socket.close()
