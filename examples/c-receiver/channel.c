/* Reading a channel. Whatever is wrong with it ends the thread that reads it, there and then: see refuse() and leave(). */
#define _GNU_SOURCE
#include "receiver.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

int64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

void *allocate(size_t size)
{
    void *memory = calloc(1, size);
    if (!memory)
        abort();
    return memory;
}

/* Wait until somebody has changed something, or until that time. Hold the lock. Returns whether there is time left. */
bool wait_changed(struct receiver *r, int64_t until)
{
    struct timespec end = {until / 1000, until % 1000 * 1000000};
    return pthread_cond_timedwait(&r->changed, &r->lock, &end) != ETIMEDOUT || now() < until;
}

bool is_over(enum phase phase)
{
    return phase >= COMPLETED;
}

bool is_in_colo(enum phase phase)
{
    return phase >= IDLE && phase <= FLUSHING;
}

/* End all connections, which wakes all who read them. */
void shut_down(struct receiver *r)
{
    pthread_mutex_lock(&r->lock);
    for (unsigned each = 0; each < r->connected; each++)
        shutdown(r->connections[each].fd, SHUT_RDWR);
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
}

/* Note the first error, and wake everybody. Before COLO the migration has failed; in COLO it stays, for a failover. */
void fail(struct receiver *r, const char *channel, const char *reason, int64_t at, const char *words)
{
    pthread_mutex_lock(&r->lock);
    if (!r->has_error && !is_over(r->phase)) {
        r->has_error = true;
        r->reason = reason;
        r->error_offset = at;
        snprintf(r->error_channel, sizeof r->error_channel, "%s", channel);
        snprintf(r->words, sizeof r->words, "%s", words);
        if (r->phase <= PRECOPY)
            r->phase = FAILED;
    }
    pthread_mutex_unlock(&r->lock);
    shut_down(r);
}

/* End this thread: nothing is received any more. */
_Noreturn void leave(struct channel *c)
{
    pthread_mutex_lock(&c->receiver->lock);
    c->has_ended = BUG != BUG_DEAD_CHANNEL_TELLS_NOBODY;
    pthread_cond_broadcast(&c->receiver->changed);
    pthread_mutex_unlock(&c->receiver->lock);
    pthread_exit(NULL);
}

/* Refuse what begins at byte `at` of a channel. Hold no lock. */
_Noreturn void refuse(struct channel *c, const char *reason, uint64_t at, const char *format, ...)
{
    char words[TEXT];
    va_list values;
    va_start(values, format);
    vsnprintf(words, sizeof words, format, values);
    va_end(values);
    if (BUG != BUG_DEAD_CHANNEL_TELLS_NOBODY || c == c->receiver->main)
        fail(c->receiver, c->name, reason, (int64_t)at, words);
    leave(c);
}

static bool is_ended(struct receiver *r)
{
    pthread_mutex_lock(&r->lock);
    bool is_ended = r->has_error || is_over(r->phase);
    pthread_mutex_unlock(&r->lock);
    return is_ended;
}

/* The primary has said nothing for a while: it may, for as long as something comes on any channel. */
static void require_patience(struct channel *c)
{
    struct receiver *r = c->receiver;
    pthread_mutex_lock(&r->lock);
    int64_t seconds = r->phase == IDLE ? IDLE_PATIENCE : PATIENCE;
    pthread_mutex_unlock(&r->lock);
    if (now() - r->last_byte > seconds * 1000)
        refuse(c, "deadline", c->offset, "nothing for %d seconds", (int)seconds);
}

/* Receive some bytes; 0 at the end of the channel. */
static size_t receive(struct channel *c, void *target, size_t size, int flags)
{
    for (;;) {
        ssize_t count = recv(c->fd, target, size, flags);
        if (count >= 0) {
            c->receiver->last_byte = now();
            return (size_t)count;
        }
        if (errno == EAGAIN || errno == EWOULDBLOCK)
            require_patience(c);
        else if (errno == EFAULT || errno == EBADF || errno == EINVAL || errno == ENOTSOCK)
            abort(); /* our own mistake, not the primary's */
        else if (errno != EINTR)
            return 0;
    }
}

/* Take bytes; fewer than `size` only at the end of the channel. */
size_t take_some(struct channel *c, void *target, size_t size)
{
    size_t done = 0;
    while (done < size) {
        if (c->taken < c->filled) {
            size_t count = c->filled - c->taken < size - done ? c->filled - c->taken : size - done;
            memcpy((uint8_t *)target + done, c->ahead + c->taken, count);
            c->taken += count;
            c->offset += count;
            done += count;
            continue;
        }
        size_t count = c->ahead ? receive(c, c->ahead, AHEAD, 0) : receive(c, (uint8_t *)target + done, size - done, MSG_WAITALL);
        if (!count)
            break;
        if (c->ahead) {
            c->taken = 0;
            c->filled = count;
        } else {
            c->offset += count;
            done += count;
        }
    }
    return done;
}

void take(struct channel *c, void *target, size_t size)
{
    if (take_some(c, target, size) == size || BUG == BUG_TRUNCATED_ACCEPTED)
        return;
    if (is_ended(c->receiver))
        leave(c);
    refuse(c, c->offset == c->item ? "channel-lost" : "truncated", c->offset, "the end of the channel");
}

uint64_t number(const uint8_t *bytes, size_t size)
{
    uint64_t value = 0;
    for (size_t each = 0; each < size; each++)
        value = value << 8 | bytes[each];
    return value;
}

/* Take a number of up to 8 bytes, big-endian. */
uint64_t take_number(struct channel *c, size_t size)
{
    uint8_t bytes[8] = {0};
    take(c, bytes, size);
    return number(bytes, size);
}

/* Take a text with its length in a byte before it. */
void take_text(struct channel *c, char target[TEXT])
{
    size_t size = take_number(c, 1);
    take(c, target, size);
    target[size] = 0;
    if (strlen(target) != size)
        target[0] = 0; /* a name with a zero byte is nobody's */
}

/* A section, a record or a message begins: the channel may end here, which is no truncation. */
void begin_item(struct channel *c)
{
    c->item = c->offset;
}

/* Whether something has come that is not taken yet, or taken in part. */
bool has_more(struct channel *c)
{
    char byte;
    return c->taken < c->filled || c->offset != c->boundary || recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

/* Send bytes; false if nobody hears them. */
bool send_bytes(struct channel *c, const void *bytes, size_t size, int flags)
{
    return send(c->fd, bytes, size, flags | MSG_NOSIGNAL) == (ssize_t)size;
}
