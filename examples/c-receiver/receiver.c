/* One migration from its first connection on: who connects, what is received when, rounds, failover, and who frees what. */
#define _GNU_SOURCE
#include "receiver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

struct block *find_block(struct receiver *r, const char *name)
{
    for (size_t each = 0; *name && each < r->options.block_count; each++)
        if (!strcmp(r->options.blocks[each].name, name))
            return r->options.blocks + each;
    return NULL;
}

static size_t ram_size(struct receiver *r)
{
    return r->pages * r->options.page_size;
}

/* Fresh zeros: what arrives as zero first is not written. */
static uint8_t *map_ram(struct receiver *r)
{
    void *ram = mmap(NULL, ram_size(r), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (ram == MAP_FAILED)
        abort();
    return ram;
}

/* Every channel is there: memory is made before any page can come. Hold the lock. */
static void begin(struct receiver *r)
{
    r->cache = r->options.colo ? map_ram(r) : NULL;
    r->received = allocate(r->pages);
    r->dirty = allocate(r->pages);
    r->phase = PRECOPY;
}

static bool accepts_pages(struct receiver *r)
{
    return (r->phase == PRECOPY && r->knows_blocks) || r->phase == CHECKPOINT;
}

/* Accept pages, the first `normal` of them with content: record them as dirty in a checkpoint, and decide whether they are mirrored.
 *
 * This is decided here, once, by a phase that never comes back. Whoever asks after the payload may get the answer of a failover. */
bool prepare(struct channel *c, uint64_t at, const uint64_t *pages, size_t count, size_t normal)
{
    struct receiver *r = c->receiver;
    pthread_mutex_lock(&r->lock);
    bool is_ended = r->has_error || is_over(r->phase);
    if (BUG == BUG_PAGES_AFTER_FAILOVER && r->phase == TAKEN_OVER) {
        pthread_mutex_unlock(&r->lock);
        return true;
    }
    bool accepts = accepts_pages(r);
    if (!is_ended && accepts) {
        size_t recorded = BUG == BUG_ZERO_PAGES_NOT_DIRTY ? normal : BUG == BUG_MAIN_PAGES_NOT_DIRTY && c == r->main ? 0 : count;
        for (size_t each = 0; r->phase == CHECKPOINT && each < recorded; each++)
            r->dirty[pages[each]] = 1;
        r->is_round_open |= c != r->main;
    }
    bool is_mirrored = r->options.colo && r->phase == PRECOPY;
    pthread_mutex_unlock(&r->lock);
    if (is_ended)
        leave(c);
    if (!accepts)
        refuse(c, "packet-out-of-phase", at, "pages, and none are expected now");
    return is_mirrored;
}

/* Wait at SYNC until the main channel ends the round: nothing of the next one is read before. */
void park(struct channel *c, uint64_t at)
{
    struct receiver *r = c->receiver;
    if (BUG == BUG_SYNC_DOES_NOT_PARK)
        return;
    pthread_mutex_lock(&r->lock);
    bool is_round = r->phase == PRECOPY || r->phase == CHECKPOINT, is_ended = r->has_error || is_over(r->phase);
    unsigned round = r->round;
    if (is_round && !is_ended) {
        c->boundary = c->offset;
        c->is_parked = true;
        c->parked_at = at;
        pthread_cond_broadcast(&r->changed);
        while (round == r->round && !r->has_error && !is_over(r->phase))
            pthread_cond_wait(&r->changed, &r->lock);
        is_ended = round == r->round;
    }
    pthread_mutex_unlock(&r->lock);
    if (is_ended)
        leave(c);
    if (!is_round)
        refuse(c, "packet-out-of-phase", at, "SYNC, and there is no round to end");
}

/* Return a channel that is not parked yet, NULL if all are; one that has ended first, for it never will. Hold the lock. */
static struct channel *missing(struct receiver *r)
{
    struct channel *found = NULL;
    for (unsigned each = 0; each < r->options.channels; each++) {
        struct channel *c = r->multifd[each];
        if (!c->is_parked && (!found || (c->has_ended && !found->has_ended)))
            found = c;
    }
    return found;
}

/* The main channel has come to the end of a round: wait until every channel is parked, and let all go on. */
void end_round(struct channel *c)
{
    struct receiver *r = c->receiver;
    struct channel *lost = NULL;
    bool is_late = false;
    if (BUG == BUG_SYNC_DOES_NOT_PARK) {
        r->is_round_open = false;
        return;
    }
    pthread_mutex_lock(&r->lock);
    for (struct channel *waited; !r->has_error && !is_over(r->phase) && (waited = missing(r)) && !is_late;) {
        if (BUG == BUG_ROUND_ENDS_EARLY && waited != r->multifd[0])
            break;
        if (waited->has_ended) {
            lost = waited;
            break;
        }
        is_late = !wait_changed(r, r->last_byte + PATIENCE * 1000) && now() - r->last_byte >= PATIENCE * 1000;
    }
    bool is_ended = r->has_error || is_over(r->phase);
    if (!is_ended && !lost && !is_late) {
        for (unsigned each = 0; each < r->options.channels; each++)
            r->multifd[each]->is_parked = false;
        r->is_round_open = false;
        r->round++;
        pthread_cond_broadcast(&r->changed);
    }
    pthread_mutex_unlock(&r->lock);
    if (is_ended)
        leave(c);
    if (lost) {
        fail(r, lost->name, "channel-lost", (int64_t)lost->offset, "the end of the channel, and no SYNC");
        leave(c);
    }
    if (is_late)
        refuse(c, "deadline", c->item, "the end of a round, and no SYNC");
}

/* Return the first channel that is parked, or on which more has come than was prepared. Hold the lock. */
static struct channel *first(struct receiver *r, bool is_parked)
{
    for (unsigned each = 0; each < r->options.channels; each++) {
        struct channel *c = r->multifd[each];
        if (is_parked ? c->is_parked : has_more(c))
            return c;
    }
    return NULL;
}

/* Go from one phase into another, with no round open: all that was sent is here. */
void enter(struct channel *c, enum phase before, enum phase after)
{
    struct receiver *r = c->receiver;
    pthread_mutex_lock(&r->lock);
    bool is_ended = r->has_error || r->phase != before;
    struct channel *parked = first(r, true);
    bool is_open = r->is_round_open || (!parked && first(r, false));
    if (BUG == BUG_FLUSH_MISSING_ACCEPTED || BUG == BUG_SYNC_DOES_NOT_PARK)
        is_open = false, parked = NULL;
    uint64_t at = parked ? parked->parked_at : 0;
    if (!is_ended && !is_open && !parked)
        r->phase = after;
    pthread_mutex_unlock(&r->lock);
    if (is_ended)
        leave(c);
    if (is_open)
        refuse(c, "flush-missing", c->offset, "pages, and no MULTIFD_FLUSH after them");
    if (parked) {
        fail(r, parked->name, "packet-out-of-phase", (int64_t)at, "SYNC, and no MULTIFD_FLUSH");
        leave(c);
    }
}

/* Wait until every channel has connected. */
static void wait_for_all(struct channel *c, struct channel **slot)
{
    struct receiver *r = c->receiver;
    int64_t until = now() + PATIENCE * 1000;
    pthread_mutex_lock(&r->lock);
    bool is_repeated = *slot != NULL, is_in_time = true;
    if (!is_repeated) {
        *slot = c;
        c->boundary = c->offset;
        if (++r->identified == 1 + r->options.channels && r->phase == SETUP)
            begin(r);
        pthread_cond_broadcast(&r->changed);
        while (r->phase == SETUP && !r->has_error && is_in_time)
            is_in_time = wait_changed(r, until);
    }
    bool is_ended = r->has_error || is_over(r->phase);
    pthread_mutex_unlock(&r->lock);
    if (is_repeated)
        refuse(c, "channel-repeated", 0, "a second %s", c->name);
    if (is_ended)
        leave(c);
    if (!is_in_time)
        refuse(c, "deadline", c->offset, "not all channels have connected");
}

/* Read the rest of the first packet of a multifd channel, and return its number. */
static unsigned greet(struct channel *c)
{
    struct options *options = &c->receiver->options;
    uint8_t hello[60];
    take(c, hello, sizeof hello);
    unsigned channel = hello[20];
    snprintf(c->name, sizeof c->name, "mfd%u", channel);
    if (number(hello, 4) != 1)
        refuse(c, "hello-version", 4, "version %lu", (unsigned long)number(hello, 4));
    if (!options->any_uuid && memcmp(hello + 4, options->uuid, UUID_SIZE) && BUG != BUG_UUID_UNCHECKED)
        refuse(c, "hello-uuid", 8, "another machine");
    if (channel >= options->channels + (BUG == BUG_CHANNEL_ID_ONE_TOO_FAR))
        refuse(c, "channel-id", 24, "channel %u of %u", channel, options->channels);
    return channel;
}

/* The thread of a connection. Its first bytes say which channel it is: any may connect first. */
static void *serve(void *argument)
{
    struct channel *c = argument;
    struct receiver *r = c->receiver;
    uint8_t magic[4];
    c->item = UINT64_MAX;
    take(c, magic, sizeof magic);
    bool is_main = number(magic, 4) == 0x5145564d;
    if (BUG == BUG_FIRST_CONNECTION_IS_MAIN)
        is_main = c == r->connections;
    if (is_main) {
        strcpy(c->name, "main");
        /* The stream begins with it. */
        c->ahead = allocate(AHEAD);
        memcpy(c->ahead, magic, sizeof magic);
        c->filled = sizeof magic;
        c->offset = 0;
        wait_for_all(c, &r->main);
        receive_main(c);
    }
    if (number(magic, 4) != 0x11223344)
        refuse(c, "channel-magic", 0, "magic %08lx", (unsigned long)number(magic, 4));
    wait_for_all(c, r->multifd + greet(c));
    receive_multifd(c);
    return NULL;
}

static void *accept_all(void *argument)
{
    struct receiver *r = argument;
    struct timeval patience = {.tv_sec = PATIENCE};
    for (unsigned each = 0; each < 1 + r->options.channels; each++) {
        int fd = accept(r->listener, NULL, NULL);
        if (fd < 0)
            return NULL;
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
        struct channel *c = r->connections + each;
        c->receiver = r;
        c->fd = fd;
        pthread_mutex_lock(&r->lock);
        r->last_byte = now();
        if (pthread_create(&c->thread, NULL, serve, c))
            abort();
        r->connected++;
        if (r->has_error || is_over(r->phase))
            shutdown(fd, SHUT_RDWR);
        pthread_mutex_unlock(&r->lock);
    }
    return NULL;
}

/* Make a receiver that takes its channels from a listening socket, which it closes at its end. */
struct receiver *receiver_start(const struct options *options, int listener)
{
    struct receiver *r = allocate(sizeof *r);
    pthread_condattr_t monotonic;
    r->options = *options;
    for (size_t each = 0; each < options->block_count; each++) {
        r->options.blocks[each].first_page = r->pages;
        r->pages += options->blocks[each].length / options->page_size;
    }
    r->listener = listener;
    r->guest = map_ram(r);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&r->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&r->lock, NULL);
    pthread_mutex_init(&r->guest_lock, NULL);
    if (pthread_create(&r->acceptor, NULL, accept_all, r))
        abort();
    return r;
}

/* End all threads, and wait for them. */
void receiver_rest(struct receiver *r)
{
    if (r->are_threads_joined)
        return;
    r->are_threads_joined = true;
    shutdown(r->listener, SHUT_RDWR);
    pthread_join(r->acceptor, NULL);
    shut_down(r);
    for (unsigned each = 0; each < r->connected; each++)
        pthread_join(r->connections[each].thread, NULL);
}

/* Once every receive thread has ended: first the cache, then the maps. */
static void free_what_receiving_needs(struct receiver *r)
{
    if (r->cache && BUG == BUG_CACHE_FREED_EARLY)
        munmap(r->cache, ram_size(r));
    receiver_rest(r);
    if (r->cache && BUG != BUG_CACHE_FREED_EARLY)
        munmap(r->cache, ram_size(r));
    free(r->received);
    free(r->dirty);
    r->cache = r->received = r->dirty = NULL;
    for (unsigned each = 0; each < r->connected; each++) {
        struct channel *c = r->connections + each;
        close(c->fd);
        free(c->ahead);
        free(c->scratch);
        inflater_free(c->inflater);
    }
    r->connected = 0;
}

bool receiver_has_failed(struct receiver *r)
{
    pthread_mutex_lock(&r->lock);
    bool has_failed = r->phase == FAILED;
    pthread_mutex_unlock(&r->lock);
    return has_failed;
}

/* Take over: the guest goes on from the last commit. A flush that has begun is finished first; false outside of COLO. */
bool receiver_fail_over(struct receiver *r)
{
    if (BUG != BUG_FLUSH_ABANDONED)
        pthread_mutex_lock(&r->guest_lock);
    pthread_mutex_lock(&r->lock);
    bool can = is_in_colo(r->phase);
    if (can) {
        for (uint64_t page = 0; BUG == BUG_FAILOVER_FLUSHES && page < r->pages; page++)
            if (r->dirty[page])
                memcpy(r->guest + page * r->options.page_size, r->cache + page * r->options.page_size, r->options.page_size);
        r->phase = TAKEN_OVER;
        pthread_cond_broadcast(&r->changed);
    }
    pthread_mutex_unlock(&r->lock);
    if (BUG != BUG_FLUSH_ABANDONED)
        pthread_mutex_unlock(&r->guest_lock);
    if (can)
        free_what_receiving_needs(r);
    return can;
}

/* Let the guest write a page. Its own writes are undone by the next commit, so they are recorded as dirty, too. */
bool receiver_write_guest(struct receiver *r, uint64_t page, const uint8_t *content)
{
    pthread_mutex_lock(&r->guest_lock);
    pthread_mutex_lock(&r->lock);
    bool can = is_in_colo(r->phase) && page < r->pages;
    if (can) {
        memcpy(r->guest + page * r->options.page_size, content, r->options.page_size);
        r->dirty[page] |= BUG != BUG_OWN_WRITES_KEPT;
    }
    pthread_mutex_unlock(&r->lock);
    pthread_mutex_unlock(&r->guest_lock);
    return can;
}

/* End it by all means, and free everything. */
void receiver_stop(struct receiver *r)
{
    pthread_mutex_lock(&r->guest_lock);
    pthread_mutex_lock(&r->lock);
    if (!is_over(r->phase))
        r->phase = STOPPED;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
    pthread_mutex_unlock(&r->guest_lock);
    free_what_receiving_needs(r);
    munmap(r->guest, ram_size(r));
    close(r->listener);
    pthread_mutex_destroy(&r->guest_lock);
    pthread_mutex_destroy(&r->lock);
    pthread_cond_destroy(&r->changed);
    free(r);
}
