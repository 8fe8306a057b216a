/* A multifd channel: packets of pages, and SYNC. */
#include "receiver.h"

#include <string.h>

enum {
    HEAD = 12, /* bytes of a packet that say whether the rest is to be read */
    FIXED = 320, /* bytes before the offsets */
    BLOCK_AT = 64,
    MOST_PAGES = PACKET_PAGES / 1024,
    FLAG_SYNC = 0x01,
    FLAG_DEVICE_STATE = 0x40,
    METHOD = 0x3e,
    MAGIC = 0x11223344,
};

struct packet {
    uint64_t at; /* where it begins in its channel */
    size_t header_size, normal, count, payload_size;
    bool is_sync;
    uint64_t pages[MOST_PAGES]; /* numbers of pages: first those with content */
};

static void check_head(struct channel *c, const uint8_t *header, uint64_t at)
{
    if (number(header, 4) != MAGIC)
        refuse(c, "packet-magic", at, "magic %08lx", (unsigned long)number(header, 4));
    if (number(header + 4, 4) != 1)
        refuse(c, "packet-version", at + 4, "version %lu", (unsigned long)number(header + 4, 4));
    if (number(header + 8, 4) & FLAG_DEVICE_STATE)
        refuse(c, "packet-device-state", at + 8, "device state");
}

static void check_payload_size(struct channel *c, const struct packet *packet)
{
    const struct options *options = &c->receiver->options;
    bool is_exact = options->compression == NONE || !packet->normal;
    bool is_right = is_exact ? packet->payload_size == packet->normal * options->page_size
                             : packet->payload_size && packet->payload_size <= PAYLOAD_LIMIT;
    if (!is_right && BUG != BUG_PAYLOAD_SIZE_UNCHECKED)
        refuse(c, "payload-size", packet->at + 20, "%zu bytes for %zu pages", packet->payload_size, packet->normal);
}

static void read_offsets(struct channel *c, struct packet *packet, const uint8_t *offsets, const struct block *block)
{
    uint64_t size = c->receiver->options.page_size;
    for (size_t each = 0; each < packet->count; each++) {
        uint64_t offset = number(offsets + 8 * each, 8), at = packet->at + FIXED + 8 * each;
        if (offset % size && BUG != BUG_UNALIGNED_ACCEPTED)
            refuse(c, "page-alignment", at, "offset %#llx", (unsigned long long)offset);
        uint64_t end = block->length + (BUG == BUG_OFFSET_ONE_TOO_FAR ? size : 0);
        if ((offset > end || end - offset < size) && BUG != BUG_OFFSET_UNBOUNDED)
            refuse(c, "page-range", at, "offset %#llx", (unsigned long long)offset);
        packet->pages[each] = block->first_page + offset / size;
        for (size_t earlier = 0; earlier < each; earlier++)
            if (packet->pages[earlier] == packet->pages[each] && BUG != BUG_REPEATED_ACCEPTED)
                refuse(c, "page-repeated", at, "offset %#llx", (unsigned long long)offset);
    }
}

/* Check a whole header, before anything of it has an effect. */
static void parse(struct channel *c, struct packet *packet, const uint8_t *header)
{
    struct receiver *r = c->receiver;
    uint64_t room = number(header + 12, 4), zero = number(header + 32, 4), most = PACKET_PAGES / r->options.page_size;
    packet->normal = number(header + 16, 4);
    packet->payload_size = number(header + 20, 4);
    packet->is_sync = number(header + 8, 4) & FLAG_SYNC;
    if (room > most)
        refuse(c, "packet-pages-alloc", packet->at + 12, "room for %lu pages", (unsigned long)room);
    if (packet->normal > (BUG == BUG_NORMAL_PAGES_UNCHECKED ? most : room))
        refuse(c, "packet-normal-pages", packet->at + 16, "%zu pages", packet->normal);
    check_payload_size(c, packet);
    if (zero > (BUG == BUG_ZERO_PAGES_UNCHECKED ? most : room) - packet->normal)
        refuse(c, "packet-zero-pages", packet->at + 32, "%lu zero pages", (unsigned long)zero);
    packet->count = packet->normal + zero;
    if (!packet->count)
        return;
    if ((number(header + 8, 4) & METHOD) != (uint64_t)r->options.compression)
        refuse(c, "packet-compression", packet->at + 8, "method %#lx", (unsigned long)(number(header + 8, 4) & METHOD));
    if (!c->has_synced)
        refuse(c, "packet-out-of-phase", packet->at, "pages before the first SYNC");
    const char *name = (const char *)header + BLOCK_AT;
    struct block *block = memchr(name, 0, TEXT) ? find_block(r, name) : NULL;
    if (BUG == BUG_FIRST_BLOCK_ALWAYS)
        block = r->options.blocks;
    if (!block)
        refuse(c, "block-unknown", packet->at + BLOCK_AT, "no such block: %.60s", name);
    read_offsets(c, packet, header + FIXED, block);
}

/* Read a packet's header; at the end of the channel the thread ends. */
static void read_packet(struct channel *c, struct packet *packet)
{
    uint8_t header[FIXED + 8 * MOST_PAGES];
    packet->at = c->boundary = c->item = c->offset;
    packet->header_size = FIXED + 8 * (PACKET_PAGES / c->receiver->options.page_size);
    size_t read = take_some(c, header, HEAD);
    if (!read && !c->receiver->options.colo)
        leave(c);
    take(c, header + read, HEAD - read);
    check_head(c, header, packet->at);
    take(c, header + HEAD, packet->header_size - HEAD);
    parse(c, packet, header);
}

static uint8_t *page_of(uint8_t *memory, struct receiver *r, uint64_t page)
{
    return memory + page * r->options.page_size;
}

/* The first arrival of a zero page trusts the fresh buffer. */
static void clear(struct receiver *r, const struct packet *packet, uint8_t *buffer)
{
    for (size_t each = packet->normal; each < packet->count; each++) {
        uint64_t page = packet->pages[each];
        if (r->received[page] && BUG != BUG_ZERO_PAGES_ELIDED)
            memset(page_of(buffer, r, page), 0, r->options.page_size);
        r->received[page] = 1;
    }
}

/* Inflate the whole payload before any page of it is touched. */
static void read_compressed(struct channel *c, const struct packet *packet, uint8_t *buffer)
{
    struct receiver *r = c->receiver;
    uint8_t *payload = c->scratch, *content = c->scratch + PAYLOAD_LIMIT;
    struct inflater **inflater = BUG == BUG_ONE_STREAM_FOR_ALL ? &r->multifd[0]->inflater : &c->inflater;
    take(c, payload, packet->payload_size);
    if (BUG == BUG_STREAM_STARTS_ANEW) {
        inflater_free(*inflater);
        *inflater = inflater_new(r->options.compression);
    }
    const char *wrong = inflate_payload(*inflater, payload, packet->payload_size, content, packet->normal * r->options.page_size);
    if (wrong && BUG != BUG_INFLATE_UNCHECKED)
        refuse(c, wrong, packet->at + packet->header_size, "%zu bytes", packet->payload_size);
    for (size_t each = 0; each < packet->normal; each++) {
        r->received[packet->pages[each]] = 1;
        memcpy(page_of(buffer, r, packet->pages[each]), content + each * r->options.page_size, r->options.page_size);
    }
}

static void read_pages(struct channel *c, const struct packet *packet, uint8_t *buffer)
{
    struct receiver *r = c->receiver;
    /* Before the first byte: a page that arrives in part is not fresh any more. */
    for (size_t each = 0; each < packet->normal; each++)
        r->received[packet->pages[each]] = 1;
    for (size_t each = 0; each < packet->normal; each++)
        take(c, page_of(buffer, r, packet->pages[each]), r->options.page_size);
}

/* In precopy what came into the cache goes on to the guest: cache first, guest second, and zero pages are cleared there, elided or not. */
static void mirror(struct receiver *r, const struct packet *packet)
{
    for (size_t each = 0; each < packet->count; each++) {
        uint8_t *guest = page_of(r->guest, r, packet->pages[each]);
        if (each < packet->normal)
            memcpy(guest, page_of(r->cache, r, packet->pages[each]), r->options.page_size);
        else if (BUG != BUG_ZERO_PAGES_NOT_MIRRORED)
            memset(guest, 0, r->options.page_size);
    }
}

static bool decide_again(struct receiver *r)
{
    pthread_mutex_lock(&r->lock);
    bool is_mirrored = r->options.colo && !is_in_colo(r->phase);
    pthread_mutex_unlock(&r->lock);
    return is_mirrored;
}

static void receive_pages(struct channel *c, const struct packet *packet)
{
    struct receiver *r = c->receiver;
    uint8_t *buffer = r->options.colo ? r->cache : r->guest;
    bool is_mirrored = prepare(c, packet->at, packet->pages, packet->count, packet->normal);
    if (BUG == BUG_INTO_GUEST_IN_COLO)
        buffer = r->guest;
    clear(r, packet, buffer);
    if (packet->normal && r->options.compression != NONE)
        read_compressed(c, packet, buffer);
    else
        read_pages(c, packet, buffer);
    if (BUG == BUG_MIRROR_DECIDED_AGAIN)
        is_mirrored = decide_again(r);
    if (is_mirrored)
        mirror(r, packet);
}

/* Receive packets until the channel ends, or nothing is received any more. */
void receive_multifd(struct channel *c)
{
    struct packet packet;
    if (c->receiver->options.compression != NONE) {
        c->scratch = allocate(PAYLOAD_LIMIT + PACKET_PAGES + 1);
        c->inflater = inflater_new(c->receiver->options.compression);
    }
    for (;;) {
        read_packet(c, &packet);
        if (packet.count && !(BUG == BUG_PAGES_OF_SYNC_DROPPED && packet.is_sync))
            receive_pages(c, &packet);
        if (packet.is_sync) {
            park(c, packet.at);
            c->has_synced = true;
        }
    }
}
