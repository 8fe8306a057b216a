"""The payload of the section "ram": records, each opened by one be64 of address and flags (migration/ram.c:ram_load_precopy)."""

from typing import Final

from colofd.spec.constants import RecordFlag
from colofd.spec.reasons import Reason
from colofd.spec.wire.expressions import Constant
from colofd.spec.wire.fields import BE16, BE32, BE64, U8, Check, CountedText, Field, Raw, Table, becomes, name

SUPPORTED_RECORDS: Final = (RecordFlag.MEM_SIZE, RecordFlag.ZERO, RecordFlag.PAGE, RecordFlag.EOS, RecordFlag.MULTIFD_FLUSH)
REFUSED_RECORDS: Final = (RecordFlag.FULL, RecordFlag.XBZRLE, RecordFlag.HOOK, RecordFlag.COMPRESS_PAGE)

_LOAD: Final = "migration/ram.c:ram_load_precopy"
_BLOCK: Final = "migration/ram.c:ram_block_from_stream"
_BLOCK_LIST: Final = "migration/ram.c:parse_ramblocks"

_RECORD: Final = (name("flags") | RecordFlag.CONTINUE) ^ RecordFlag.CONTINUE
_PAGES: Final = (RecordFlag.ZERO, RecordFlag.PAGE)

RECORD_IS_SUPPORTED = Check(
    "wire.ram.supported",
    _RECORD.not_among(REFUSED_RECORDS),
    Reason.RECORD_UNSUPPORTED,
    _LOAD,
    becomes("header", name("address") | RecordFlag.XBZRLE),
    qemu="received: XBZRLE, HOOK, and COMPRESS_PAGE up to 9.0; FULL is refused",
)
RECORD_IS_KNOWN = Check(
    "wire.ram.flags",
    _RECORD.among(SUPPORTED_RECORDS),
    Reason.RECORD_FLAGS,
    _LOAD,
    becomes("header", name("address") | RecordFlag.ZERO | RecordFlag.PAGE),
)
CONTINUE_HAS_PAGE = Check(
    "wire.ram.continue-without-page",
    (name("flags") & RecordFlag.CONTINUE).equals(0) | _RECORD.among(_PAGES),
    Reason.RECORD_FLAGS,
    _LOAD,
    becomes("header", Constant(RecordFlag.EOS | RecordFlag.CONTINUE)),
    qemu="not checked: CONTINUE is ignored",
)
ADDRESS_HAS_PAGE = Check(
    "wire.ram.address-without-page",
    _RECORD.not_among((RecordFlag.EOS, RecordFlag.MULTIFD_FLUSH)) | name("address").equals(0),
    Reason.RECORD_ADDRESS,
    _LOAD,
    becomes("header", name("page_size") | RecordFlag.EOS),
    qemu="not checked: the address is ignored",
)
FLUSH_HAS_CHANNELS = Check(
    "wire.ram.flush-without-multifd",
    _RECORD.differs(RecordFlag.MULTIFD_FLUSH) | (Constant(0) < name("channels")),
    Reason.FLUSH_WITHOUT_MULTIFD,
    "migration/multifd.c:multifd_recv_sync_main",
    becomes("header", Constant(RecordFlag.MULTIFD_FLUSH)),
    qemu="not checked: without effect",
)
BLOCK_LIST_CAME = Check(
    "wire.ram.block-list-missing",
    _RECORD.not_among((*_PAGES, RecordFlag.MULTIFD_FLUSH)) | (Constant(0) < name("total_bytes")),
    Reason.BLOCK_LIST_MISSING,
    _LOAD,
    becomes("header", Constant(RecordFlag.ZERO)),
    qemu="not checked: the page is received, or the round ended",
)
BLOCK_LIST_COMES_ONCE = Check(
    "wire.ram.block-list-repeated",
    _RECORD.differs(RecordFlag.MEM_SIZE) | name("total_bytes").equals(0),
    Reason.BLOCK_LIST_REPEATED,
    _LOAD,
    becomes("header", name("page_size") | RecordFlag.MEM_SIZE),
    qemu="not checked: the list is read again",
)
BLOCK_LIST_HAS_BYTES = Check(
    "wire.ram.block-list-empty",
    _RECORD.differs(RecordFlag.MEM_SIZE) | (Constant(0) < name("address")),
    Reason.BLOCK_LIST_LENGTH,
    _BLOCK_LIST,
    becomes("header", Constant(RecordFlag.MEM_SIZE)),
    qemu="not checked: an empty list is accepted",
)
BLOCK_TO_CONTINUE = Check(
    "wire.ram.continue-without-block",
    (name("flags") & RecordFlag.CONTINUE).equals(0) | (Constant(0) < name("previous_block").length()),
    Reason.CONTINUE_WITHOUT_BLOCK,
    _BLOCK,
    becomes("header", name("header") | RecordFlag.CONTINUE),
)
RECORD = Table(
    "ram.record",
    (
        Field(
            "header",
            BE64,
            "address (bytes into the block; of MEM_SIZE: sum of all lengths) and, below the page size, flags",
            (
                RECORD_IS_SUPPORTED,
                RECORD_IS_KNOWN,
                CONTINUE_HAS_PAGE,
                ADDRESS_HAS_PAGE,
                FLUSH_HAS_CHANNELS,
                BLOCK_LIST_CAME,
                BLOCK_LIST_COMES_ONCE,
                BLOCK_LIST_HAS_BYTES,
                BLOCK_TO_CONTINUE,
            ),
            parts=(
                ("flags", name("header") & (name("page_size") - 1)),
                ("address", name("header") - (name("header") & (name("page_size") - 1))),
            ),
        ),
    ),
    _LOAD,
    "What opens every record. The bits of a record are one of the RecordFlag values, with CONTINUE or without.",
)

MEMORY_SIZE = Table("ram.memory-size", (), "migration/ram.c:ram_save_setup", "Opens the block list.", follows="ram.record")
FLUSH = Table(
    "ram.multifd-flush",
    (),
    "migration/ram.c:find_dirty_block",
    "A round ends: every multifd channel has sent, or sends, a SYNC packet.",
    follows="ram.record",
)
END_OF_SECTION = Table("ram.end-of-section", (), _LOAD, "EOS: the payload of this section ends.", follows="ram.record")

LISTED_NAME_IS_NOT_EMPTY = Check(
    "wire.block.name-empty",
    Constant(0) < name("name").length(),
    Reason.BLOCK_UNKNOWN,
    _BLOCK_LIST,
    becomes("name", ""),
)
LISTED_NAME_EXISTS = Check(
    "wire.block.name",
    name("name").among(name("local_blocks")),
    Reason.BLOCK_UNKNOWN,
    _BLOCK_LIST,
    becomes("name", "nowhere"),
)
LISTED_NAME_IS_NEW = Check(
    "wire.block.name-repeated",
    name("name").not_among(name("blocks")),
    Reason.BLOCK_REPEATED,
    _BLOCK_LIST,
    becomes("name", "ram0"),
    qemu="not checked: the later length counts",
)
LISTED_LENGTH_IS_NOT_ZERO = Check(
    "wire.block.length-zero",
    Constant(0) < name("length"),
    Reason.BLOCK_LIST_LENGTH,
    _BLOCK_LIST,
    becomes("length", 0),
    qemu="not checked: the list goes on",
)
LISTED_LENGTHS_ADD_UP = Check(
    "wire.block.length-sum",
    name("listed_bytes") + name("length") <= name("total_bytes"),
    Reason.BLOCK_LIST_LENGTH,
    _BLOCK_LIST,
    becomes("length", name("total_bytes") - name("listed_bytes") + name("page_size")),
    qemu="not checked: the difference wraps around and the list goes on",
)
LISTED_LENGTH_IS_WHOLE_PAGES = Check(
    "wire.block.length-pages",
    (name("length") % name("page_size")).equals(0),
    Reason.BLOCK_LENGTH,
    _BLOCK_LIST,
    becomes("length", name("length") - 1),
)
LISTED_LENGTH_IS_OURS = Check(
    "wire.block.length",
    name("length").equals(name("local_blocks").at(name("name"))),
    Reason.BLOCK_LENGTH,
    "migration/ram.c:parse_ramblock",
    becomes("length", name("length") - name("page_size")),
    qemu="a resizable block is resized",
)
BLOCK = Table(
    "ram.block",
    (
        Field("name", CountedText(1), "id string of the block", (LISTED_NAME_IS_NOT_EMPTY, LISTED_NAME_EXISTS, LISTED_NAME_IS_NEW)),
        Field(
            "length",
            BE64,
            "used length in bytes",
            (LISTED_LENGTH_IS_NOT_ZERO, LISTED_LENGTHS_ADD_UP, LISTED_LENGTH_IS_WHOLE_PAGES, LISTED_LENGTH_IS_OURS),
        ),
        Field("guest_address", BE64, "guest physical address", when=Constant("x-ignore-shared").among(name("capabilities"))),
    ),
    "migration/ram.c:ram_save_setup",
    "One block of the list, until the lengths add up to the size announced. (Postcopy would add a page size; it is not received here.)",
)

PAGE_BLOCK_EXISTS = Check(
    "wire.page.block",
    name("block").among(name("blocks")),
    Reason.BLOCK_UNKNOWN,
    _BLOCK,
    becomes("block", "nowhere"),
)
PAGE_FITS = Check(
    "wire.page.range",
    name("address") + name("page_size") <= name("blocks").at(name("block")),
    Reason.PAGE_RANGE,
    _LOAD,
    becomes("header", name("blocks").at(name("block")) | name("flags")),
    at="header",
)
PAGE_BLOCK = Field(
    "block",
    CountedText(1),
    "id string of the block; without it the block of the record before",
    (PAGE_BLOCK_EXISTS, PAGE_FITS),
    when=(name("flags") & RecordFlag.CONTINUE).equals(0),
    otherwise=name("previous_block"),
)
FILL_IS_ZERO = Check(
    "wire.zero.fill",
    name("fill").equals(0),
    Reason.ZERO_FILL,
    _LOAD,
    becomes("fill", 1),
)
ZERO = Table(
    "ram.zero",
    (PAGE_BLOCK, Field("fill", U8, "the byte that fills the page", (FILL_IS_ZERO,))),
    "migration/ram.c:save_zero_page",
    "A page of zeros.",
    follows="ram.record",
)
PAGE = Table(
    "ram.page",
    (PAGE_BLOCK, Field("data", Raw(name("page_size")), "the page", payload=True)),
    "migration/ram.c:save_normal_page",
    "A page.",
    follows="ram.record",
)

XBZRLE = Table(
    "ram.xbzrle",
    (
        Field("block", CountedText(1), "as in a page record", when=(name("flags") & RecordFlag.CONTINUE).equals(0)),
        Field("encoding", U8, "1"),
        Field("encoded_size", BE16, "bytes that follow, at most a page"),
        Field("encoded", Raw(name("encoded_size")), "difference to the page as it is", payload=True),
    ),
    "migration/ram.c:save_xbzrle_page",
    "A page as the difference to its last content.",
    follows="ram.record",
    refused=Reason.RECORD_UNSUPPORTED,
)
HOOK = Table(
    "ram.hook",
    (),
    "migration/rdma.c:rdma_registration_stop",
    "A mark of RDMA.",
    follows="ram.record",
    refused=Reason.RECORD_UNSUPPORTED,
)
COMPRESS_PAGE = Table(
    "ram.compress-page",
    (
        Field("block", CountedText(1), "as in a page record", when=(name("flags") & RecordFlag.CONTINUE).equals(0)),
        Field("compressed_size", BE32, "bytes that follow"),
        Field("compressed", Raw(name("compressed_size")), "one zlib stream", payload=True),
    ),
    "migration/ram-compress.c:decompress_data_with_multi_threads, up to 9.0",
    "A page compressed by itself.",
    follows="ram.record",
    refused=Reason.RECORD_UNSUPPORTED,
)

TABLES: Final = (RECORD, MEMORY_SIZE, BLOCK, ZERO, PAGE, FLUSH, END_OF_SECTION, XBZRLE, HOOK, COMPRESS_PAGE)
"""All tables of this module."""
