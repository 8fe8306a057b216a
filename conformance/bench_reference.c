/* What `colofd bench` measures against: a receiver in C, and the sender that both receivers hear.
 *
 * bench_reference send FOLDER ADDRESS CHANNELS SOURCE_PAGES
 *     plays FOLDER/0 (main channel) and FOLDER/1... (multifd channels), as bench_plan.py wrote them; prints "LABEL SECONDS" for each clock.
 * bench_reference receive ADDRESS CHANNELS PAGES COLO(0|1) MIRROR(0|1) FLUSH_THREADS POPULATE(0|1)
 *     receives one migration; COLO: checkpoints after it; MIRROR: precopy is copied from the cache to the guest, packet by packet.
 * bench_reference zeros PAGES KIND ROUNDS
 *     looks for zero pages. KIND: 0 random bytes, 1 zeros, 2 both by turns.
 *
 * The receiver is a fair one: huge pages, checked headers, one recvmsg with MSG_WAITALL for a payload, a byte for each page in its maps,
 * copies of whole runs in a flush. One block named "ram", 4 KiB pages, no compression. It trusts its peer where that costs nothing.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { PAGE = 4096, PAGES_PER_PACKET = 128, HEADER = 320 + 8 * PAGES_PER_PACKET, AHEAD = 1 << 19, MOST_VECTORS = 1024, MOST_CHANNELS = 256 };

static void fail(const char *what)
{
    fprintf(stderr, "bench_reference: %s (%s)\n", what, strerror(errno));
    exit(1);
}

static double seconds(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec + now.tv_nsec * 1e-9;
}

/* Not ru_maxrss, which survives exec: it would be that of the process which started this one. */
static long peak_kib(void)
{
    char line[256];
    long kib = 0;
    FILE *status = fopen("/proc/self/status", "r");
    while (status && fgets(line, sizeof line, status))
        sscanf(line, "VmHWM: %ld", &kib);
    if (status)
        fclose(status);
    return kib;
}

static char *memory(size_t size, int populate)
{
    char *start = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED)
        fail("no memory");
    madvise(start, size, MADV_HUGEPAGE);
    for (size_t at = 0; populate && at < size; at += PAGE)
        ((volatile char *)start)[at] = 0;
    return start;
}

/* Sends or receives all vectors, which are used up. Returns 0, or -1 at the end of the channel. */
static int transfer(int channel, struct iovec *vectors, size_t count, int is_sent)
{
    while (count) {
        struct msghdr message = {.msg_iov = vectors, .msg_iovlen = count < MOST_VECTORS ? count : MOST_VECTORS};
        ssize_t done = is_sent ? sendmsg(channel, &message, MSG_NOSIGNAL) : recvmsg(channel, &message, MSG_WAITALL);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return -1;
        for (; count && (size_t)done >= vectors->iov_len; vectors++, count--)
            done -= vectors->iov_len;
        if (count) {
            vectors->iov_base = (char *)vectors->iov_base + done;
            vectors->iov_len -= done;
        }
    }
    return 0;
}

static int receive(int channel, void *target, size_t size)
{
    struct iovec vector = {target, size};
    return transfer(channel, &vector, 1, 0);
}

static void send_all(int channel, const void *source, size_t size)
{
    struct iovec vector = {(void *)source, size};
    if (transfer(channel, &vector, 1, 1))
        fail("the peer reads no more");
}

static int open_socket(const char *address, int listens)
{
    struct sockaddr_un local = {.sun_family = AF_UNIX};
    struct sockaddr_in remote = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int is_unix = !strncmp(address, "unix:", 5), on = 1;
    int channel = socket(is_unix ? AF_UNIX : AF_INET, SOCK_STREAM, 0);
    struct sockaddr *name = is_unix ? (struct sockaddr *)&local : (struct sockaddr *)&remote;
    socklen_t size = is_unix ? sizeof local : sizeof remote;
    if (is_unix)
        strncpy(local.sun_path, address + 5, sizeof local.sun_path - 1);
    else
        remote.sin_port = htons(atoi(strrchr(address, ':') + 1));
    if (listens ? bind(channel, name, size) || listen(channel, MOST_CHANNELS) : connect(channel, name, size))
        fail(address);
    if (!is_unix)
        setsockopt(channel, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return channel;
}

/* ---- Sender: plays a plan; the words of a plan are little-endian, which is what runs here. */

enum { SEND = 1, EXPECT = 2, CLOCK = 3, MEET = 4 };
#define IN_SOURCE (1ULL << 63)

static char *source;
static const char *address, *folder;
static pthread_barrier_t all_players;

static void *play(void *argument)
{
    size_t number = (size_t)argument;
    char path[4096], reply[64];
    struct stat status;
    snprintf(path, sizeof path, "%s/%zu", folder, number);
    int file = open(path, O_RDONLY), channel = open_socket(address, 0);
    if (file < 0 || fstat(file, &status))
        fail(path);
    uint64_t *word = mmap(NULL, status.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, file, 0);
    if (word == MAP_FAILED)
        fail(path);
    char *literals = (char *)word + word[0];
    uint64_t *end = word + word[0] / 8;
    struct iovec vectors[MOST_VECTORS];
    for (word++; word < end;) {
        uint64_t kind = *word++, count = *word++;
        for (uint64_t at = 0; kind == SEND && at < count;) {
            size_t some = 0;
            for (; some < MOST_VECTORS && at < count; some++, at++, word += 2)
                vectors[some] = (struct iovec){word[0] & IN_SOURCE ? source + (word[0] & ~IN_SOURCE) : literals + word[0], word[1]};
            if (transfer(channel, vectors, some, 1))
                fail("the receiver reads no more");
        }
        if (kind == EXPECT) {
            if (receive(channel, reply, count) || memcmp(reply, literals + *word, count))
                fail("the receiver answers something else");
            word++;
        } else if (kind == CLOCK) {
            printf("%d %.9f\n", (int)count, seconds(CLOCK_MONOTONIC));
        } else if (kind == MEET) {
            pthread_barrier_wait(&all_players);
        }
    }
    close(channel);
    return NULL;
}

static int run_sender(char **arguments)
{
    folder = arguments[0], address = arguments[1];
    size_t channels = atoi(arguments[2]), pages = atol(arguments[3]);
    pthread_t threads[MOST_CHANNELS];
    source = memory(pages * PAGE, 1);
    memset(source, 7, pages * PAGE);
    for (uint64_t page = 0; page < pages; page++)
        *(uint64_t *)(source + page * PAGE) = *(uint64_t *)(source + (page + 1) * PAGE - 8) = (page + 1) * 0x9E3779B97F4A7C15ULL;
    pthread_barrier_init(&all_players, NULL, channels + 1);
    for (size_t number = 0; number <= channels; number++)
        if (pthread_create(threads + number, NULL, play, (void *)number))
            fail("no thread");
    for (size_t number = 0; number <= channels; number++)
        pthread_join(threads[number], NULL);
    return 0;
}

/* ---- Receiver. */

static char *guest, *cache, *buffer;
static uint8_t *received, *dirty;
static uint64_t ram_size;
static int is_colo, is_mirrored, flush_threads;
static volatile int in_checkpoints;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int channel_count, parked, rounds;

static void park(void)
{
    pthread_mutex_lock(&lock);
    int now = rounds;
    parked++;
    pthread_cond_broadcast(&changed);
    while (rounds == now)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}

static void end_round(void)
{
    pthread_mutex_lock(&lock);
    while (parked < channel_count)
        pthread_cond_wait(&changed, &lock);
    parked = 0;
    rounds++;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static uint64_t checked(uint64_t offset)
{
    if (offset & (PAGE - 1) || offset >= ram_size)
        fail("a page lies outside of its block");
    return offset;
}

static void *receive_channel(void *argument)
{
    int channel = (int)(intptr_t)argument;
    _Alignas(8) char header[HEADER];
    const uint32_t *field = (const uint32_t *)header;
    const uint64_t *wire = (const uint64_t *)(header + 320);
    uint64_t offsets[PAGES_PER_PACKET];
    struct iovec vectors[PAGES_PER_PACKET];
    while (!receive(channel, header, HEADER)) {
        uint32_t normal = be32toh(field[4]), zero = be32toh(field[8]);
        if (be32toh(field[0]) != 0x11223344 || be32toh(field[1]) != 1 || be32toh(field[3]) > PAGES_PER_PACKET)
            fail("no packet");
        if (normal > be32toh(field[3]) || zero > be32toh(field[3]) - normal || be32toh(field[5]) != normal * PAGE)
            fail("a packet of another size");
        if (normal + zero && strncmp(header + 64, "ram", 256))
            fail("another block");
        for (uint32_t at = 0; at < normal + zero; at++)
            offsets[at] = checked(be64toh(wire[at]));
        int copies = is_mirrored && !in_checkpoints;
        for (uint32_t at = 0; is_colo && !copies && at < normal + zero; at++)
            dirty[offsets[at] / PAGE] = 1;
        for (uint32_t at = normal; at < normal + zero; at++) {
            if (received[offsets[at] / PAGE])
                memset(buffer + offsets[at], 0, PAGE);
            received[offsets[at] / PAGE] = 1;
        }
        for (uint32_t at = 0; at < normal; at++) {
            received[offsets[at] / PAGE] = 1;
            vectors[at] = (struct iovec){buffer + offsets[at], PAGE};
        }
        if (normal && transfer(channel, vectors, normal, 0))
            fail("a payload ends");
        for (uint32_t at = 0; copies && at < normal + zero; at++)
            memcpy(guest + offsets[at], cache + offsets[at], PAGE);
        if (be32toh(field[2]) & 1)
            park();
    }
    return NULL;
}

/* The main channel, read ahead in large pieces: a page of it costs a memcpy and no system call. */
static int main_channel;
static char ahead[AHEAD];
static size_t ahead_begin, ahead_end;

static char *take(size_t size)
{
    if (ahead_end - ahead_begin < size) {
        memmove(ahead, ahead + ahead_begin, ahead_end -= ahead_begin);
        ahead_begin = 0;
        while (ahead_end < size) {
            ssize_t got = recv(main_channel, ahead + ahead_end, AHEAD - ahead_end, 0);
            if (got <= 0)
                fail("the main channel ends");
            ahead_end += got;
        }
    }
    ahead_begin += size;
    return ahead + ahead_begin - size;
}

static uint64_t number(size_t size)
{
    const uint8_t *bytes = (const uint8_t *)take(size);
    uint64_t value = 0;
    while (size--)
        value = value << 8 | *bytes++;
    return value;
}

static void reply(uint16_t kind, uint32_t value)
{
    uint16_t head[2] = {htobe16(kind), htobe16(4)};
    uint32_t body = htobe32(value);
    char bytes[8];
    memcpy(bytes, head, 4);
    memcpy(bytes + 4, &body, 4);
    send_all(main_channel, bytes, 8);
}

static void tell(uint32_t message)
{
    message = htobe32(message);
    send_all(main_channel, &message, 4);
}

static void receive_record(uint64_t offset, int flags)
{
    checked(offset);
    if (!(flags & 0x20) && memcmp(take(number(1)), "ram", 3))
        fail("another block");
    int copies = is_mirrored && !in_checkpoints;
    char *target = (is_colo && !copies ? cache : guest) + offset;
    if (is_colo && !copies)
        dirty[offset / PAGE] = 1;
    received[offset / PAGE] = 1;
    if (flags & 8)
        memcpy(target, take(PAGE), PAGE);
    else
        memset(target, number(1), PAGE);
    if (copies)
        memcpy(cache + offset, guest + offset, PAGE);
}

static void receive_records(void)
{
    for (;;) {
        uint64_t word = number(8);
        int flags = word & (PAGE - 1);
        if ((flags & ~0x20) == 8 || (flags & ~0x20) == 2) {
            receive_record(word - flags, flags);
        } else if (flags == 4) {
            for (uint64_t listed = 0; listed < word - flags;) {
                take(number(1));
                listed += number(8);
            }
        } else if (flags == 0x200) {
            end_round();
        } else if (flags == 0x10) {
            take(5);
            return;
        } else {
            fail("no record");
        }
    }
}

static void receive_precopy(void)
{
    take(9);
    take(number(4));
    for (int section;;) {
        section = number(1);
        if (section == 8) {
            uint16_t command = number(2), length = number(2);
            if (command == 2)
                reply(2, number(length));
        } else if (section == 1) {
            take(4);
            take(number(1));
            take(8);
            receive_records();
        } else if (section == 2 || section == 3) {
            take(4);
            receive_records();
        } else {
            break; /* The one device section of bench_plan.py, whose type byte was this one. */
        }
    }
    take(4);
    take(number(1));
    take(8 + 8 + 5 + 2);
    take(number(4));
    reply(1, 0);
}

struct part {
    uint64_t begin, end;
};

static void *flush(void *argument)
{
    struct part *part = argument;
    for (uint64_t at = part->begin; at < part->end;) {
        uint64_t word;
        memcpy(&word, dirty + at, 8);
        if (!word && at + 8 <= part->end) {
            at += 8;
        } else if (!dirty[at]) {
            at++;
        } else {
            uint64_t begin = at;
            while (at < part->end && dirty[at])
                dirty[at++] = 0;
            memcpy(guest + begin * PAGE, cache + begin * PAGE, (at - begin) * PAGE);
        }
    }
    return NULL;
}

static void flush_all(void)
{
    uint64_t pages = ram_size / PAGE, half = flush_threads > 1 ? pages / 2 : 0;
    struct part parts[2] = {{0, half}, {half, pages}};
    pthread_t helper;
    if (half)
        pthread_create(&helper, NULL, flush, parts);
    flush(parts + 1);
    if (half)
        pthread_join(helper, NULL);
}

static void receive_checkpoints(void)
{
    in_checkpoints = 1;
    tell(0);
    while (ahead_begin < ahead_end || recv(main_channel, ahead, 1, MSG_PEEK) > 0) {
        number(4);
        tell(2);
        number(4);
        while (number(1)) {
            take(4);
            receive_records();
        }
        number(4);
        take(number(8));
        tell(5);
        flush_all();
        tell(6);
    }
}

static uint64_t digest(const char *ram)
{
    uint64_t sum = 0;
    for (uint64_t page = 0; ram && page < ram_size / PAGE; page++) {
        const uint64_t *words = (const uint64_t *)(ram + page * PAGE);
        sum += (page + 1) * (words[0] + 3 * words[PAGE / 8 - 1]);
    }
    return sum;
}

static void accept_all(const char *place)
{
    int listener = open_socket(place, 1), first[16];
    struct sockaddr_in name;
    socklen_t size = sizeof name;
    if (!strncmp(place, "tcp:", 4) && !getsockname(listener, (struct sockaddr *)&name, &size))
        printf("tcp:127.0.0.1:%d\n", ntohs(name.sin_port));
    else
        printf("%s\n", place);
    fflush(stdout);
    for (int count = 0, on = 1; count <= channel_count; count++) {
        int channel = accept(listener, NULL, NULL);
        if (recv(channel, first, 4, MSG_PEEK | MSG_WAITALL) != 4)
            fail("a connection says nothing");
        setsockopt(channel, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        if (be32toh(first[0]) == 0x11223344) {
            pthread_t thread;
            if (receive(channel, first, 64) || pthread_create(&thread, NULL, receive_channel, (void *)(intptr_t)channel))
                fail("no thread");
        } else {
            main_channel = channel;
        }
    }
}

static int run_receiver(char **arguments)
{
    channel_count = atoi(arguments[1]);
    ram_size = atol(arguments[2]) * PAGE;
    is_colo = atoi(arguments[3]), is_mirrored = is_colo && atoi(arguments[4]), flush_threads = atoi(arguments[5]);
    int populate = atoi(arguments[6]);
    guest = memory(ram_size, populate);
    cache = is_colo ? memory(ram_size, populate) : NULL;
    buffer = is_colo ? cache : guest;
    received = calloc(ram_size / PAGE + 8, 1), dirty = calloc(ram_size / PAGE + 8, 1);
    accept_all(arguments[0]);
    double begin = seconds(CLOCK_PROCESS_CPUTIME_ID);
    receive_precopy();
    if (is_colo && !is_mirrored)
        flush_all();
    if (is_colo)
        receive_checkpoints();
    double end = seconds(CLOCK_PROCESS_CPUTIME_ID);
    printf("{\"cpu_seconds\": %.6f, \"peak_kib\": %ld, \"guest\": %llu, \"cache\": %llu}\n", end - begin, peak_kib(),
           (unsigned long long)digest(guest), (unsigned long long)digest(cache));
    return 0;
}

/* ---- Zero pages: a few words, then the whole page in pieces, as a sender does. */

static size_t zero_pages(const char *ram, size_t pages, uint8_t *found)
{
    size_t count = 0;
    for (size_t page = 0; page < pages; page++) {
        const uint64_t *word = (const uint64_t *)(ram + page * PAGE);
        int is_zero = !(word[0] | word[256] | word[511]);
        for (int at = 0; is_zero && at < 512; at += 32) {
            uint64_t any = 0;
            for (int next = 0; next < 32; next++)
                any |= word[at + next];
            is_zero = !any;
        }
        count += found[page] = is_zero;
    }
    return count;
}

static int run_zeros(char **arguments)
{
    size_t pages = atol(arguments[0]), count = 0;
    int kind = atoi(arguments[1]), times = atoi(arguments[2]);
    char *ram = memory(pages * PAGE, 1);
    uint8_t *found = calloc(pages, 1);
    for (size_t page = 0; page < pages; page++)
        memset(ram + page * PAGE, kind == 1 || (kind == 2 && page % 2) ? 0 : 1, PAGE);
    double begin = seconds(CLOCK_MONOTONIC), spent = seconds(CLOCK_PROCESS_CPUTIME_ID);
    for (int time = 0; time < times; time++)
        count += zero_pages(ram, pages, found);
    printf("{\"seconds\": %.9f, \"found\": %zu, \"cpu_seconds\": %.6f, \"peak_kib\": %ld}\n", seconds(CLOCK_MONOTONIC) - begin, count,
           seconds(CLOCK_PROCESS_CPUTIME_ID) - spent, peak_kib());
    return 0;
}

int main(int count, char **arguments)
{
    if (count == 6 && !strcmp(arguments[1], "send"))
        return run_sender(arguments + 2);
    if (count == 9 && !strcmp(arguments[1], "receive"))
        return run_receiver(arguments + 2);
    if (count == 5 && !strcmp(arguments[1], "zeros"))
        return run_zeros(arguments + 2);
    return 2;
}
