/* The receiving side of a migration with multifd and COLO: guest RAM, its cache, and the threads that fill them.
 *
 * What it must do is in spec/ (the wire tables, and the rules by which pages become RAM); `colofd explain` says each in words.
 * It is small rather than fast: one thread for each connection, one lock, and every read is checked.
 */
#ifndef RECEIVER_H
#define RECEIVER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bugs.h"

enum {
    TEXT = 256, /* bytes of a block's name with its NUL, on the wire and here */
    MOST_CHANNELS = 255,
    MOST_BLOCKS = 64,
    UUID_SIZE = 16,
    AHEAD = 1 << 16, /* bytes that the main channel reads ahead */
    PACKET_PAGES = 512 * 1024, /* bytes of pages in one packet */
    PAYLOAD_LIMIT = 2 * PACKET_PAGES,
    PATIENCE = 60, /* seconds that the primary may say nothing */
    IDLE_PATIENCE = 300, /* the same, between checkpoints */
};

/* The numbers are those of the flags in a packet. */
enum compression { NONE = 0x00, ZLIB = 0x02, ZSTD = 0x04 };

enum phase { SETUP, PRECOPY, IDLE, CHECKPOINT, RECEIVED, FLUSHING, COMPLETED, FAILED, STOPPED, TAKEN_OVER };

struct block {
    char name[TEXT];
    uint64_t length, first_page;
};

struct options {
    struct block blocks[MOST_BLOCKS];
    size_t block_count;
    uint64_t page_size;
    unsigned channels;
    bool colo, any_machine, any_uuid;
    enum compression compression;
    char machine[TEXT];
    uint8_t uuid[UUID_SIZE];
};

struct inflater;

/* One connection and its thread. What the thread allocates hangs here, for it may end anywhere: see refuse(). */
struct channel {
    struct receiver *receiver;
    char name[8]; /* "main", "mfd0", ...; empty until the first bytes have told */
    int fd;
    pthread_t thread;
    _Atomic uint64_t offset; /* bytes read */
    _Atomic uint64_t boundary; /* the same, behind the last whole packet */
    uint64_t item; /* where the item begins that is being read */
    bool is_parked, has_ended, has_synced;
    uint64_t parked_at;
    uint8_t *ahead; /* of the main channel: what is read, but not taken yet, from `taken` to `filled` */
    size_t taken, filled;
    uint8_t *scratch; /* a payload or device state */
    struct inflater *inflater;
};

struct receiver {
    struct options options;
    uint64_t pages;
    int listener;
    pthread_t acceptor;
    struct channel connections[1 + MOST_CHANNELS];
    unsigned connected, identified;
    struct channel *main, *multifd[MOST_CHANNELS];
    _Atomic int64_t last_byte; /* when it came, in milliseconds */

    pthread_mutex_t guest_lock; /* held by whoever changes the guest as a whole: a flush, a failover; taken before `lock` */
    pthread_mutex_t lock; /* for all that follows, but not for the content of pages */
    pthread_cond_t changed;
    enum phase phase;
    bool has_error, are_threads_joined, is_round_open, knows_blocks;
    unsigned round;
    const char *reason;
    char error_channel[8], words[TEXT];
    int64_t error_offset;
    uint8_t *guest, *cache, *received, *dirty; /* the last two: a byte for each page */
};

/* receiver.c */
struct receiver *receiver_start(const struct options *options, int listener);
bool receiver_has_failed(struct receiver *r);
bool receiver_fail_over(struct receiver *r);
bool receiver_write_guest(struct receiver *r, uint64_t page, const uint8_t *content);
void receiver_rest(struct receiver *r);
void receiver_stop(struct receiver *r);
bool prepare(struct channel *c, uint64_t at, const uint64_t *pages, size_t count, size_t normal);
void park(struct channel *c, uint64_t at);
void end_round(struct channel *c);
void enter(struct channel *c, enum phase before, enum phase after);
bool is_in_colo(enum phase phase);
bool is_over(enum phase phase);
struct block *find_block(struct receiver *r, const char *name);

/* channel.c: reading a channel; whatever is wrong with it ends the thread that reads it */
_Noreturn void refuse(struct channel *c, const char *reason, uint64_t at, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
_Noreturn void leave(struct channel *c);
void fail(struct receiver *r, const char *channel, const char *reason, int64_t at, const char *words);
void shut_down(struct receiver *r);
bool wait_changed(struct receiver *r, int64_t until);
int64_t now(void);
size_t take_some(struct channel *c, void *target, size_t size);
void take(struct channel *c, void *target, size_t size);
uint64_t take_number(struct channel *c, size_t size);
void take_text(struct channel *c, char target[TEXT]);
void begin_item(struct channel *c);
bool has_more(struct channel *c);
uint64_t number(const uint8_t *bytes, size_t size);
bool send_bytes(struct channel *c, const void *bytes, size_t size, int flags);
void *allocate(size_t size);

/* multifd.c, main_channel.c, description.c: what each kind of thread does */
void receive_multifd(struct channel *c);
void receive_main(struct channel *c);
void read_device_sections(struct channel *c, uint8_t first);

/* inflate.c */
bool can_inflate(enum compression compression);
struct inflater *inflater_new(enum compression compression);
void inflater_free(struct inflater *inflater);
const char *inflate_payload(struct inflater *inflater, const uint8_t *payload, size_t size, uint8_t *target, size_t expected);

#endif
