"""The decoders on small streams: the twins of every check, ends, descriptions, payloads."""

import pytest

from colofd.conformance import stream
from colofd.conformance.wire_cases import WireCase, decode_case, visits, wire_cases
from colofd.conformance.wire_streams import BLOCKS, DECOY, DEVICE, MACHINE, PAGE, ValidStream, checkpoint, packets, precopy, valid_streams
from colofd.model import decode_tables
from colofd.model.decode import Context, blocks_of, decode_main, decode_multifd, decode_reverse
from colofd.model.decode_tables import holds
from colofd.model.payload import PayloadReader
from colofd.spec.constants import Compression, SectionType
from colofd.spec.reasons import Reason, Rejected
from colofd.spec.wire import CHECKS

CASES = wire_cases()
CONTEXT = Context(machine=MACHINE, blocks=BLOCKS)
COLO = Context(machine=MACHINE, blocks=BLOCKS, colo=True)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_every_case_has_its_verdict(case: WireCase) -> None:
    """Given a wire case, when it is decoded, then it is accepted, or refused with exactly its reason and offset."""
    if case.expected is None:
        items = decode_case(case)
        assert sum(item.size for item in items) == len(case.data)
        return
    with pytest.raises(Rejected) as caught:
        decode_case(case)
    assert (caught.value.reason, caught.value.offset) == (case.expected, case.offset), str(caught.value)
    assert caught.value.channel
    assert caught.value.read
    assert caught.value.expected


def test_every_check_has_both_twins() -> None:
    """Given all checks, when the cases are listed, then each is violated once, and held by an accepted stream that evaluates it."""
    violated = {case.check_id: case for case in CASES if case.id.endswith(".violated")}
    assert violated.keys() == CHECKS.keys()
    accepted = {case.id: case for case in CASES if case.expected is None}
    evaluated = {
        (f"wire.valid.{valid.id}", check.id)
        for valid in valid_streams()
        for visit in visits(valid)
        for check in visit.field.checks
        if check.condition.names() <= visit.values.keys() | {"element", "earlier"}
    }
    for check_id, case in violated.items():
        assert case.twin in accepted
        assert (case.twin, check_id) in evaluated
        assert accepted[case.twin].context == case.context


@pytest.mark.parametrize("case", [case for case in CASES if case.id.endswith(".violated")], ids=lambda case: case.check_id)
def test_without_its_check_a_violation_gets_another_verdict(case: WireCase, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a decoder which leaves one check out, when the violation of that check is decoded, then it is not refused as before."""
    monkeypatch.setattr(decode_tables, "holds", lambda check, values: check.id == case.check_id or holds(check, values))
    try:
        verdict = _refused(case)
    except (KeyError, ValueError):
        return
    assert verdict != (case.expected, case.offset)


def test_the_number_of_cases_is_pinned() -> None:
    """Given the cases, when they are counted, then none was lost without notice."""
    assert len(CASES) == 120
    assert len({case.id for case in CASES}) == len(CASES)


@pytest.mark.parametrize("valid", [valid for valid in valid_streams() if "zstd" not in valid.id], ids=lambda valid: valid.id)
def test_a_stream_cut_anywhere_is_refused_or_ends_between_messages(valid: ValidStream) -> None:
    """Given a valid stream cut at many places, when it is decoded, then it is refused at its end or it ends between records."""
    whole = decode_case(valid)
    between = {item.offset for item in whole}
    for cut in range(0, len(valid.data), 509):
        case = WireCase("cut", "cut", valid.kind, valid.data[:cut], valid.context)
        if cut in between and _refused(case) is None:
            assert decode_case(case) == [item for item in whole if item.offset < cut]
            continue
        with pytest.raises(Rejected) as caught:
            decode_case(case)
        assert caught.value.reason in {Reason.TRUNCATED, Reason.DESCRIPTION_MISSING}, cut
        assert caught.value.offset <= cut


def test_a_check_without_its_context_is_not_applied() -> None:
    """Given no machine and no blocks, when another machine is read, then it is accepted; given a machine, then it is refused."""
    other = precopy().replace(MACHINE.encode(), b"same", 1)
    assert list(decode_main(other, Context()))
    with pytest.raises(Rejected, match="machine-mismatch"):
        list(decode_main(other, CONTEXT))
    assert not holds(CHECKS["wire.configuration.machine"], {"machine": "a", "local_machine": "b"})
    assert holds(CHECKS["wire.configuration.machine"], {"machine": "a"})


def test_blocks_are_learnt_before_the_stream_ends() -> None:
    """Given only the first section of a stream, when its blocks are asked for, then they are there, in order."""
    end = precopy().index(stream.ram_close()) + len(stream.ram_close())
    assert blocks_of(precopy()[:end], Context()) == tuple(BLOCKS.items())


@pytest.mark.parametrize("at", range(len(stream.device_sections(DEVICE)) - 1))
def test_no_byte_of_a_device_section_but_its_state_may_change(at: int) -> None:
    """Given a device section with one byte changed, when the description is confirmed, then only its state may."""
    section = stream.device_sections(DEVICE)
    start = precopy().index(section)
    state = section.index(DEVICE)
    changed = bytearray(precopy())
    changed[start + at] ^= 0x40
    if state <= at < state + len(DEVICE):
        assert list(decode_main(bytes(changed), CONTEXT))
        return
    with pytest.raises(Rejected) as caught:
        list(decode_main(bytes(changed), CONTEXT))
    assert caught.value.reason in {Reason.DESCRIPTION_MISMATCH, Reason.SECTION_TYPE, Reason.SECTION_ID}
    is_section_id = 1 <= at < 5
    assert caught.value.offset == start + at or (is_section_id and start < caught.value.offset < start + len(section))


def test_a_decoy_in_a_device_does_not_end_the_sections() -> None:
    """Given a device state which looks like end and description, when it is decoded, then it is the state of the device."""
    items = list(decode_main(precopy(device=DECOY), CONTEXT))
    section = next(item for item in items if item.name == "main.device-section")
    assert section.fields["payload_size"] == len(DECOY)
    assert [item.name for item in items[-2:]] == ["main.end", "main.description"]


def test_a_device_state_of_other_sizes_is_one_item() -> None:
    """Given a checkpoint whose device state is not what was confirmed, when it is decoded, then it is one item."""
    data = precopy() + checkpoint(device=DEVICE + b"!")
    items = list(decode_main(data, COLO))
    assert items[-1].name == "colo.device-state"
    assert items[-1].fields["payload_size"] == len(stream.device_sections(DEVICE + b"!")) - 1
    assert sum(item.size for item in items) == len(data)


def test_a_device_state_of_the_same_sizes_is_split() -> None:
    """Given a checkpoint whose device state fits what was confirmed, when it is decoded, then its sections are items."""
    items = list(decode_main(precopy() + checkpoint(), COLO))
    assert [item.name for item in items[-2:]] == ["main.device-section", "main.end"]


def test_start_sections_may_come_without_any_device() -> None:
    """Given a stream whose machine has no devices, when it is decoded, then the description follows the EOF byte at once."""
    text = b'{"devices": []}'
    end = precopy().index(stream.device_sections(DEVICE))
    data = precopy()[:end] + bytes([SectionType.EOF, SectionType.VMDESCRIPTION]) + stream.be32(len(text)) + text
    assert [item.name for item in decode_main(data, CONTEXT)][-2:] == ["main.end", "main.description"]


def test_unknown_flag_bits_and_reserved_bytes_are_accepted_and_shown() -> None:
    """Given a packet with a flag bit above DEVICE_STATE and a reserved byte, when it is decoded, then both are in its fields."""
    data = bytearray(packets(Compression.NONE))
    data[64 + 8] = 0x80
    data[64 + 36] = 1
    item = list(decode_multifd(bytes(data), Context(channels=2, blocks=BLOCKS)))[1]
    assert item.fields["flags"] == 0x80000001
    assert item.fields["reserved"] == b"\x01" + bytes(27)


def test_sync_may_ride_on_a_packet_of_pages() -> None:
    """Given a packet of pages that carries SYNC, as before 9.0, when it is decoded, then it is accepted."""
    data = bytearray(packets(Compression.NONE))
    data[64 + 1344 + 11] |= 1
    items = list(decode_multifd(bytes(data), Context(channels=2, blocks=BLOCKS)))
    assert (items[2].fields["flags"], items[2].fields["normal_pages"]) == (1, 2)


def test_a_secondary_may_stop_replying_after_any_message() -> None:
    """Given replies cut between two messages, when they are decoded, then they are accepted; an order of their own is refused."""
    data = next(valid.data for valid in valid_streams() if valid.kind == "reverse")
    assert len(list(decode_reverse(data[:-4]))) == 8
    with pytest.raises(Rejected, match="colo-message-unexpected"):
        list(decode_reverse(data[:16] + data[20:]))


@pytest.mark.parametrize("method", Compression)
def test_a_payload_reader_keeps_its_stream(method: Compression) -> None:
    """Given two packets of one channel, when each is read by a reader of its own, then the second one is refused if compressed."""
    writer = stream.PacketWriter(method, PAGE)
    pages = [bytes([number]) * PAGE for number in (1, 2)]
    payloads = [writer.pages("ram0", [(0, page)], [])[1344:] for page in pages]
    reader = PayloadReader(method)
    assert [reader.pages(payload, 1, PAGE) for payload in payloads] == [[page] for page in pages]
    if method is not Compression.NONE:
        with pytest.raises(Rejected, match="payload-corrupt"):
            PayloadReader(method).pages(payloads[1], 1, PAGE)


def test_a_bomb_is_noticed_before_it_fills_memory() -> None:
    """Given a payload of a gigabyte of zeros, when one page is asked for, then it is refused with its length."""
    writer = stream.PacketWriter(Compression.ZSTD, PAGE)
    bomb = writer.pages("ram0", [(0, bytes(64 << 20))], [])[1344:]
    with pytest.raises(Rejected, match="payload-length"):
        PayloadReader(Compression.ZSTD).pages(bomb, 1, PAGE)


def test_a_context_refuses_what_cannot_be_read() -> None:
    """Given a page size that is no power of two, or mapped-ram, when a context is made, then it raises ValueError."""
    with pytest.raises(ValueError, match="power of two"):
        Context(page_size=4095)
    with pytest.raises(ValueError, match="mapped-ram"):
        Context(capabilities=frozenset({"mapped-ram"}))


def _refused(case: WireCase) -> tuple[Reason, int] | None:
    try:
        decode_case(case)
    except Rejected as rejected:
        return rejected.reason, rejected.offset
    return None
