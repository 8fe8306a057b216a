"""The receive thread of a multifd channel."""

import numpy as np

from colofd.impl import decisions
from colofd.impl.barrier import Barrier
from colofd.impl.packet import Packet, PacketReader
from colofd.impl.payload import Inflater, inflater
from colofd.impl.reception import Reception
from colofd.impl.sockets import ChannelSocket, Places
from colofd.impl.trace import NO_PAGES
from colofd.spec.constants import COMPRESSED_PAYLOAD_LIMIT, PACKET_HEAD_SIZE, Compression, Step, pages_per_packet
from colofd.spec.reasons import Reason, Rejected

ZERO_BYTE = np.uint8(0)
# A member of an enum is not found as quickly as a global.
PREPARE = Step.PREPARE


class MultifdChannel:
    """Reads the packets of one channel, whose hello has been read, until it ends or nothing is received any more.

    Source: migration/multifd.c:multifd_recv_thread.
    """

    def __init__(self, name: str, sock: ChannelSocket, reception: Reception, barrier: Barrier) -> None:
        self._name = name
        self._socket = sock
        self._reception = reception
        self._barrier = barrier
        self._tracer = reception.tracer
        self._is_watched = not reception.tracer.is_quiet
        self._guest = reception.require_guest_for_threads()
        self._cache = reception.cache
        in_guest = decisions.packet_lands_in_guest(reception.colo)
        self._buffer = self._guest if in_guest else reception.require_cache()
        self._maps = reception.require_maps()
        self._page_size = reception.layout.page_size
        self._packets = PacketReader(name, reception.layout, reception.options.compression)
        self._header = self._packets.header
        self._header_size = len(self._header)
        self._places = Places(pages_per_packet(self._page_size), self._buffer.address, self._page_size)
        self._inflater = inflater(reception.options.compression)
        # zlib is faster with memory that is always the same, zstd with bytes of its own: both were measured.
        is_kept = reception.options.compression is Compression.ZLIB
        self._kept = memoryview(bytearray(COMPRESSED_PAYLOAD_LIMIT if is_kept else 0))

    def receive(self) -> None:
        """Receive packets until the channel ends. Raises Rejected, or EndedError."""
        while (packet := self._read_packet()) is not None:
            if packet.has_pages:
                self._receive_pages(packet)
            if packet.is_sync:
                self._packets.has_synced = True
                self._barrier.park(self._name, packet.offset)
        with self._reception.lock:
            self._reception.require_running()
        if self._reception.options.colo:
            raise Rejected(Reason.CHANNEL_LOST, channel=self._name, offset=self._socket.offset, read="its end", expected="a packet")
        self._barrier.leave(self._name, self._socket.offset)

    def _read_packet(self) -> Packet | None:
        sock, header = self._socket, self._header
        at = sock.boundary = sock.offset
        # Mostly the whole header is there at once; it is looked at as soon as it can be told what it is.
        read = sock.read_head(header, PACKET_HEAD_SIZE)
        if read < self._header_size:
            if not read:
                return None
            if read < PACKET_HEAD_SIZE:
                raise self._truncated(at, read, PACKET_HEAD_SIZE)
            self._packets.check_head(header, at)
            read += sock.read_into(header[read:])
            if read < self._header_size:
                raise self._truncated(at, read, self._header_size)
        return self._packets.parse(at)

    def _receive_pages(self, packet: Packet) -> None:
        if self._is_watched:
            self._tracer.gate(Step.PREPARE, self._name)
        mirrored = self._reception.prepare(PREPARE, self._name, packet.where, packet.zero, packet.offset)
        if packet.zero.size:
            self._clear(packet)
        if packet.payload_size:
            self._read(packet)
        if self._is_watched:
            self._tracer.gate(Step.PAYLOAD_COMPLETE, self._name)
            self._tracer.emit(Step.PAYLOAD_COMPLETE, self._name)
            self._tracer.gate(Step.MIRROR, self._name)
        if mirrored:
            self._guest.pages[packet.where] = self._buffer.pages[packet.where]
            if packet.zero.size:
                self._guest.rows[packet.zero] = ZERO_BYTE
        if self._is_watched:
            self._tracer.emit(Step.MIRROR, self._name, packet.normal, packet.zero, self._guest)
            self._tracer.gate(Step.PACKET_DONE, self._name)
            self._tracer.emit(Step.PACKET_DONE, self._name)

    def _clear(self, packet: Packet) -> None:
        self._tracer.gate(Step.ZERO_PAGE, self._name)
        cleared = decisions.packet_clears(self._maps.received[packet.zero])
        self._buffer.rows[packet.zero[cleared]] = ZERO_BYTE
        self._maps.received[packet.zero] = True
        self._tracer.emit(Step.ZERO_PAGE, self._name, NO_PAGES, packet.zero, self._buffer)

    def _read(self, packet: Packet) -> None:
        if self._is_watched:
            self._tracer.gate(Step.READ_PAGE, self._name)
        if self._inflater is None:
            self._read_in_place(packet)
        else:
            self._read_compressed(packet, self._inflater)
        if self._is_watched:
            self._tracer.emit(Step.READ_PAGE, self._name, packet.normal, NO_PAGES, self._buffer)

    def _read_in_place(self, packet: Packet) -> None:
        # Before the first byte: a page that arrives in part is not fresh any more.
        self._maps.received[packet.where] = True
        if isinstance(packet.where, slice):
            size = self._page_size
            read = self._socket.read_into(self._buffer.flat[packet.where.start * size : packet.where.stop * size])
        else:
            read = self._socket.read_pages(packet.starts, self._places)
        if read < packet.payload_size:
            self._tracer.emit(Step.READ_PART, self._name, packet.normal, NO_PAGES, self._buffer)
            raise self._truncated(self._payload_offset(packet), read, packet.payload_size)

    def _read_payload(self, size: int) -> bytes | memoryview:
        """Return as many bytes, or fewer if the channel ends."""
        return self._kept[: self._socket.read_into(self._kept[:size])] if self._kept else self._socket.read(size)

    def _read_compressed(self, packet: Packet, stream: Inflater) -> None:
        """Inflate the whole payload before any page of it is touched: what does not inflate has not arrived."""
        payload = self._read_payload(packet.payload_size)
        if len(payload) < packet.payload_size:
            raise self._truncated(self._payload_offset(packet), len(payload), packet.payload_size)
        try:
            content = stream.inflate(payload, len(packet.normal) * self._page_size)
        except Rejected as error:
            at = self._payload_offset(packet)
            raise Rejected(error.reason, channel=self._name, offset=at, read=error.read, expected=error.expected) from error
        self._maps.received[packet.where] = True
        self._buffer.pages[packet.where] = np.frombuffer(content, self._buffer.pages.dtype)

    def _payload_offset(self, packet: Packet) -> int:
        return packet.offset + self._header_size

    def _truncated(self, at: int, read: int, expected: int) -> Rejected:
        return Rejected(
            Reason.TRUNCATED, channel=self._name, offset=at + read, read=f"{read} bytes, then the end", expected=f"{expected} bytes"
        )
