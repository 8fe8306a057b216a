/* The main channel: header, sections of RAM, commands, and the checkpoints of COLO. */
#define _GNU_SOURCE
#include "receiver.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum section { END_OF_SECTIONS = 0, START = 1, PART = 2, END = 3, FULL = 4, SUBSECTION = 5, CONFIGURATION = 7, COMMAND = 8, FOOTER = 0x7e };
enum record { ZERO = 0x002, MEM_SIZE = 0x004, PAGE = 0x008, EOS = 0x010, CONTINUE = 0x020, MULTIFD_FLUSH = 0x200 };
enum { UNSUPPORTED = 0x001 | 0x040 | 0x080 | 0x100 }; /* FULL, XBZRLE, HOOK, COMPRESS_PAGE */
enum command { OPEN_RETURN_PATH = 1, PING = 2, ENABLE_COLO = 8, SWITCHOVER_START = 11 };
enum reply { SHUT = 1, PONG = 2 };
enum message { READY, REQUEST, REPLY, VMSTATE_SEND, VMSTATE_SIZE, VMSTATE_RECEIVED, VMSTATE_LOADED, MESSAGES };
enum { MOST_SECTIONS = 256, DEVICE_STATE_LIMIT = 256 << 20 };

/* What is known of the stream so far. */
struct stream {
    struct channel *c;
    uint32_t sections[MOST_SECTIONS]; /* ids that a START gave */
    size_t section_count;
    struct block *block; /* that of the last page record */
    bool has_return_path;
};

static uint8_t section_type(struct channel *c)
{
    begin_item(c);
    return (uint8_t)take_number(c, 1);
}

static void reply32(struct channel *c, const uint32_t *values, size_t count, int flags)
{
    uint8_t bytes[8];
    for (size_t each = 0; each < 4 * count; each++)
        bytes[each] = (uint8_t)(values[each / 4] >> (24 - each % 4 * 8));
    if (!send_bytes(c, bytes, 4 * count, flags))
        refuse(c, "channel-lost", c->offset, "nobody hears a reply");
}

static void say(struct channel *c, enum message message)
{
    reply32(c, (uint32_t[]){message}, 1, 0);
}

/* Header and configuration. */

static void read_machine(struct channel *c)
{
    const struct options *options = &c->receiver->options;
    uint64_t at = c->offset, size = take_number(c, 4);
    char name[TEXT] = {0};
    if (size >= sizeof name)
        refuse(c, "machine-mismatch", at, "a name of %lu bytes", (unsigned long)size);
    take(c, name, size);
    size_t compared = BUG == BUG_MACHINE_BY_PREFIX ? size : sizeof name;
    if (!options->any_machine && strncmp(name, options->machine, compared))
        refuse(c, "machine-mismatch", at, "machine %s", name);
}

static void read_subsection(struct channel *c, int *last)
{
    static const char *const names[] = {"configuration/target-page-bits", "configuration/capabilities", "configuration/uuid"};
    const struct options *options = &c->receiver->options;
    uint64_t at = c->offset;
    char name[TEXT];
    uint8_t uuid[UUID_SIZE];
    int which = 0;
    take_text(c, name);
    while (which < 3 && strcmp(name, names[which]))
        which++;
    if (which == 3 || which <= *last)
        refuse(c, "configuration-subsection", at, "subsection %.60s", name);
    *last = which;
    at = c->offset;
    if (take_number(c, 4) != 1)
        refuse(c, "configuration-subsection", at, "another version than 1");
    at = c->offset;
    if (which == 0 && (1ULL << (take_number(c, 4) & 63)) != options->page_size)
        refuse(c, "page-size-mismatch", at, "another page size");
    if (which == 1 && take_number(c, 4))
        refuse(c, "capability-mismatch", at, "a capability that is not known here");
    if (which == 2) {
        take(c, uuid, sizeof uuid);
        if (!options->any_uuid && memcmp(uuid, options->uuid, sizeof uuid))
            refuse(c, "machine-mismatch", at, "another machine's uuid");
    }
}

/* Read what stands before the sections; return the type of the first section. */
static uint8_t read_beginning(struct channel *c)
{
    int last = -1;
    begin_item(c);
    if (take_number(c, 4) != 0x5145564d)
        refuse(c, "stream-magic", 0, "no stream of a migration");
    uint64_t version = take_number(c, 4);
    if (version != 3)
        refuse(c, version == 2 ? "stream-version-obsolete" : "stream-version", 4, "version %lu", (unsigned long)version);
    if (section_type(c) != CONFIGURATION)
        refuse(c, "configuration-missing", c->item, "no configuration");
    read_machine(c);
    uint8_t type = section_type(c);
    for (; type == SUBSECTION; type = section_type(c))
        read_subsection(c, &last);
    return type;
}

/* Records of RAM. */

static struct block *take_block(struct channel *c)
{
    uint64_t at = c->offset;
    char name[TEXT];
    take_text(c, name);
    struct block *block = find_block(c->receiver, name);
    if (!block)
        refuse(c, "block-unknown", at, "no such block: %.60s", name);
    return block;
}

static void read_block_list(struct channel *c, uint64_t at, uint64_t total)
{
    struct receiver *r = c->receiver;
    bool is_listed[MOST_BLOCKS] = {false};
    if (r->knows_blocks)
        refuse(c, "block-list-repeated", at, "another list of blocks");
    if (!total)
        refuse(c, "block-list-length", at, "a list of no bytes");
    while (total) {
        at = c->offset;
        struct block *block = take_block(c);
        if (is_listed[block - r->options.blocks])
            refuse(c, "block-repeated", at, "%.60s again", block->name);
        is_listed[block - r->options.blocks] = true;
        at = c->offset;
        uint64_t length = take_number(c, 8);
        if (!length || length > total)
            refuse(c, "block-list-length", at, "%llu bytes", (unsigned long long)length);
        if (length != block->length)
            refuse(c, "block-length", at, "%llu bytes of %.60s", (unsigned long long)length, block->name);
        total -= length;
    }
    pthread_mutex_lock(&r->lock);
    r->knows_blocks = true;
    pthread_mutex_unlock(&r->lock);
}

/* A page, with content or zero: in precopy guest first, cache second; in a checkpoint into the cache alone. */
static void read_page(struct stream *s, uint64_t at, uint64_t address, uint64_t flags)
{
    struct channel *c = s->c;
    struct receiver *r = c->receiver;
    size_t size = r->options.page_size;
    if (!r->knows_blocks)
        refuse(c, "block-list-missing", at, "a page before the list of blocks");
    if (!(flags & CONTINUE))
        s->block = take_block(c);
    if (!s->block)
        refuse(c, "continue-without-block", at, "no block to continue");
    if (address > s->block->length || s->block->length - address < size)
        refuse(c, "page-range", at, "address %#llx", (unsigned long long)address);
    uint64_t page = s->block->first_page + address / size, fill_at = c->offset;
    if (flags & ZERO && take_number(c, 1) && BUG != BUG_FILL_UNCHECKED)
        refuse(c, "zero-fill", fill_at, "another byte than 0");
    bool is_mirrored = prepare(c, at, &page, 1, flags & PAGE ? 1 : 0);
    uint8_t *guest = r->guest + page * size, *cache = r->options.colo ? r->cache + page * size : NULL;
    uint8_t *buffer = cache && !is_mirrored ? cache : guest;
    if (flags & PAGE)
        take(c, buffer, size);
    else if (BUG != BUG_ZERO_RECORDS_ELIDED || !r->received[page])
        memset(buffer, 0, size);
    r->received[page] = 1;
    if (is_mirrored && BUG != BUG_RECORDS_NOT_MIRRORED)
        memcpy(cache, guest, size);
}

static void flush(struct receiver *r);

/* Read the records of a section, up to the one that ends it. */
static void read_records(struct stream *s)
{
    struct channel *c = s->c;
    struct receiver *r = c->receiver;
    for (;;) {
        begin_item(c);
        uint64_t at = c->item, word = take_number(c, 8), flags = word & (r->options.page_size - 1), address = word - flags;
        uint64_t kind = flags & ~(uint64_t)CONTINUE;
        if (kind == PAGE || kind == ZERO) {
            read_page(s, at, address, flags);
            continue;
        }
        if (kind && (kind & UNSUPPORTED) == kind && !(kind & (kind - 1)))
            refuse(c, "record-unsupported", at, "flags %#lx", (unsigned long)flags);
        if (flags != EOS && flags != MULTIFD_FLUSH && flags != MEM_SIZE)
            refuse(c, "record-flags", at, "flags %#lx", (unsigned long)flags);
        if (flags == MEM_SIZE) {
            read_block_list(c, at, address);
            continue;
        }
        if (address)
            refuse(c, "record-address", at, "address %#llx", (unsigned long long)address);
        if (flags == MULTIFD_FLUSH && !r->options.channels)
            refuse(c, "flush-without-multifd", at, "MULTIFD_FLUSH");
        if (flags == MULTIFD_FLUSH && !r->knows_blocks)
            refuse(c, "block-list-missing", at, "MULTIFD_FLUSH before the list of blocks");
        if ((flags == MULTIFD_FLUSH) == (r->options.channels > 0) || BUG == BUG_EVERY_SECTION_ENDS_A_ROUND)
            end_round(c);
        if (BUG == BUG_ROUND_FLUSHED && r->phase == CHECKPOINT)
            flush(r);
        if (flags == EOS)
            return;
    }
}

/* Sections. */

static void read_ram(struct stream *s, uint32_t section)
{
    struct channel *c = s->c;
    read_records(s);
    if (section_type(c) != FOOTER)
        refuse(c, "section-footer", c->item, "no footer");
    if (take_number(c, 4) != section)
        refuse(c, "section-footer", c->item + 1, "the footer of another section");
}

static bool is_open(const struct stream *s, uint32_t section)
{
    for (size_t each = 0; each < s->section_count; each++)
        if (s->sections[each] == section)
            return true;
    return false;
}

static void start_ram(struct stream *s)
{
    struct channel *c = s->c;
    char name[TEXT];
    uint64_t at = c->offset;
    uint32_t section = (uint32_t)take_number(c, 4);
    if (is_open(s, section) || s->section_count == MOST_SECTIONS)
        refuse(c, "section-id", at, "section %u again", section);
    at = c->offset;
    take_text(c, name);
    if (strcmp(name, "ram"))
        refuse(c, "section-unknown", at, "section %.60s", name);
    at = c->offset;
    if (take_number(c, 4))
        refuse(c, "section-unknown", at, "another instance of ram");
    at = c->offset;
    if (take_number(c, 4) != 4)
        refuse(c, "ram-version", at, "another version of ram than 4");
    s->sections[s->section_count++] = section;
    read_ram(s, section);
}

static void continue_ram(struct stream *s)
{
    uint64_t at = s->c->offset;
    uint32_t section = (uint32_t)take_number(s->c, 4);
    if (!is_open(s, section))
        refuse(s->c, "section-id", at, "section %u", section);
    read_ram(s, section);
}

static void obey(struct stream *s)
{
    struct channel *c = s->c;
    uint64_t at = c->offset, command = take_number(c, 2);
    if (!command || command > SWITCHOVER_START)
        refuse(c, "command-unknown", at, "command %lu", (unsigned long)command);
    if (command == ENABLE_COLO)
        refuse(c, "command-deprecated", at, "ENABLE_COLO");
    if (command != OPEN_RETURN_PATH && command != PING && command != SWITCHOVER_START)
        refuse(c, "postcopy", at, "command %lu", (unsigned long)command);
    if (take_number(c, 2) != (command == PING ? 4 : 0))
        refuse(c, "command-length", at + 2, "another length");
    if (command == OPEN_RETURN_PATH)
        s->has_return_path = true;
    if (command != PING)
        return;
    uint32_t value = (uint32_t)take_number(c, 4);
    if (!s->has_return_path)
        refuse(c, "return-path-missing", at, "PING, and no way back");
    reply32(c, (uint32_t[]){PONG << 16 | 4, value}, 2, 0);
}

/* COLO. */

static void expect(struct channel *c, enum message message)
{
    begin_item(c);
    uint64_t read = take_number(c, 4);
    if (read >= MESSAGES)
        refuse(c, "colo-message-unknown", c->item, "message %lu", (unsigned long)read);
    if (read != message)
        refuse(c, "colo-message-unexpected", c->item, "message %lu in place of %d", (unsigned long)read, (int)message);
}

/* Copy what was recorded as dirty from the cache to the guest. */
static void flush(struct receiver *r)
{
    size_t size = r->options.page_size;
    for (uint64_t page = 0; page < r->pages - (BUG == BUG_LAST_PAGE_NOT_FLUSHED); page++) {
        if (BUG == BUG_FLUSH_ABANDONED && r->phase == TAKEN_OVER)
            break;
        if (r->dirty[page])
            memcpy(r->guest + page * size, r->cache + page * size, size);
        r->dirty[page] = 0;
        if (BUG == BUG_RECEIVEDMAP_CLEARED)
            r->received[page] = 0;
    }
}

/* Answer that the checkpoint is here, and make it the guest's RAM. The primary lets its output go when it reads the answer, so nothing
 * goes back behind it: a failover waits for the lock, and trouble with the channel changes nothing any more. */
static void commit(struct channel *c)
{
    struct receiver *r = c->receiver;
    if (BUG == BUG_ANSWER_BEFORE_LOCK) {
        say(c, VMSTATE_RECEIVED);
        usleep(2000); /* as long as a guest may take to stop */
    }
    pthread_mutex_lock(&r->guest_lock);
    pthread_mutex_lock(&r->lock);
    bool is_ended = r->has_error || r->phase != RECEIVED;
    if (!is_ended)
        r->phase = FLUSHING;
    pthread_mutex_unlock(&r->lock);
    if (is_ended) {
        pthread_mutex_unlock(&r->guest_lock);
        leave(c);
    }
    bool is_heard = BUG == BUG_ANSWER_BEFORE_LOCK || send_bytes(c, (uint8_t[]){0, 0, 0, VMSTATE_RECEIVED}, 4, MSG_DONTWAIT);
    flush(r);
    pthread_mutex_lock(&r->lock);
    r->phase = IDLE;
    pthread_mutex_unlock(&r->lock);
    pthread_mutex_unlock(&r->guest_lock);
    if (!is_heard)
        refuse(c, "channel-lost", c->offset, "nobody hears a reply");
    say(c, VMSTATE_LOADED);
}

static void read_device_state(struct channel *c)
{
    expect(c, VMSTATE_SIZE);
    uint64_t at = c->offset, size = take_number(c, 8);
    if (BUG == BUG_FLUSH_BEFORE_DEVICE_STATE)
        flush(c->receiver);
    if ((!size && BUG != BUG_DEVICE_STATE_UNCHECKED) || size > DEVICE_STATE_LIMIT)
        refuse(c, "device-state-size", at, "%llu bytes", (unsigned long long)size);
    free(c->scratch);
    c->scratch = allocate(size + 1);
    take(c, c->scratch, size);
    if (size && c->scratch[size - 1] != END_OF_SECTIONS && BUG != BUG_DEVICE_STATE_UNCHECKED)
        refuse(c, "section-type", c->offset - 1, "no end of the device state");
}

static void receive_checkpoint(struct stream *s)
{
    struct channel *c = s->c;
    uint8_t type;
    expect(c, REQUEST);
    enter(c, IDLE, CHECKPOINT);
    say(c, REPLY);
    expect(c, VMSTATE_SEND);
    while ((type = section_type(c)) != END_OF_SECTIONS) {
        if (type != PART && type != END)
            refuse(c, "section-type", c->item, "section %#x", type);
        continue_ram(s);
    }
    read_device_state(c);
    enter(c, CHECKPOINT, RECEIVED);
    commit(c);
}

/* Receive a migration; with COLO, then checkpoints until something ends it. */
void receive_main(struct channel *c)
{
    struct receiver *r = c->receiver;
    struct stream s = {.c = c};
    uint8_t type = read_beginning(c);
    for (; type != FULL && type != END_OF_SECTIONS; type = section_type(c)) {
        if (type == COMMAND)
            obey(&s);
        else if (type == START)
            start_ram(&s);
        else if (type == PART || type == END)
            continue_ram(&s);
        else
            refuse(c, "section-type", c->item, "section %#x", type);
    }
    read_device_sections(c, type);
    c->boundary = c->offset;
    if (!r->options.colo && has_more(c))
        refuse(c, "trailing", c->offset, "more bytes");
    enter(c, PRECOPY, r->options.colo ? IDLE : COMPLETED);
    if (s.has_return_path)
        reply32(c, (uint32_t[]){SHUT << 16 | 4, 0}, 2, 0);
    if (!r->options.colo) {
        shut_down(r);
        leave(c);
    }
    say(c, READY);
    for (;;)
        receive_checkpoint(&s);
}
