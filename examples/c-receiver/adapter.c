/* The receiver behind the protocol of docs/adapter.md: a line of JSON in, a line of JSON out.
 *
 * c-receiver             speaks on standard input and output
 * c-receiver --tcp       the same; migrations come by TCP
 * c-receiver unix:PATH   listens there, and speaks with each who connects in a process of its own: for colofd check attach:unix:PATH
 */
#define _GNU_SOURCE
#include "json.h"
#include "receiver.h"

#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static struct receiver *receiver;
static bool is_tcp;
static char answer[2 * TEXT]; /* members of the reply behind its id */

/* A verb returns why it cannot be done; NULL if it was. */
typedef const char *verb(struct json question);

static bool text_of(struct json question, const char *key, char target[TEXT])
{
    struct json value;
    return json_member(question, key, &value) && json_text(value, target, TEXT);
}

static bool number_of(struct json question, const char *key, uint64_t *value)
{
    struct json found;
    return json_member(question, key, &found) && json_number(found, value);
}

static bool is_null(struct json question, const char *key)
{
    struct json value;
    return !json_member(question, key, &value) || json_is(value, "null");
}

static const char *hello(struct json question)
{
    (void)question;
    strcpy(answer, ",\"name\":\"c-receiver\",\"version\":\"1\",\"protocol\":1");
    return NULL;
}

static const char *read_blocks(struct json question, struct options *options)
{
    struct json blocks, each = {0};
    if (!json_member(question, "blocks", &blocks))
        return "no blocks";
    while (json_next(blocks, &each)) {
        struct block *block = options->blocks + options->block_count++;
        if (options->block_count > MOST_BLOCKS)
            return "too many blocks";
        if (!text_of(each, "name", block->name) || !number_of(each, "length", &block->length) || !block->length
            || block->length % options->page_size)
            return "a block without name or length";
    }
    return options->block_count ? NULL : "no blocks";
}

static const char *read_options(struct json question, struct options *options)
{
    struct json value;
    uint64_t channels;
    char text[TEXT];
    if (!number_of(question, "page_size", &options->page_size) || options->page_size < 1024 || options->page_size > PACKET_PAGES
        || options->page_size & (options->page_size - 1))
        return "no page size that is a power of two from 1024 on";
    if (!number_of(question, "channels", &channels) || channels > MOST_CHANNELS)
        return "no number of channels";
    options->channels = (unsigned)channels;
    options->colo = json_member(question, "colo", &value) && json_is(value, "true");
    options->any_machine = is_null(question, "machine");
    options->any_uuid = is_null(question, "uuid");
    if (!options->any_machine && !text_of(question, "machine", options->machine))
        return "no machine";
    if (!options->any_uuid && (!text_of(question, "uuid", text) || strlen(text) != 2 * UUID_SIZE))
        return "no uuid";
    for (int each = 0; !options->any_uuid && each < UUID_SIZE; each++)
        if (sscanf(text + 2 * each, "%2hhx", options->uuid + each) != 1)
            return "no uuid";
    if (!text_of(question, "compression", text))
        return "no compression";
    options->compression = !strcmp(text, "zlib") ? ZLIB : !strcmp(text, "zstd") ? ZSTD : NONE;
    if (!can_inflate(options->compression) || (options->compression == NONE && strcmp(text, "none")))
        return "this compression is not built in";
    return read_blocks(question, options);
}

static int listen_tcp(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(listener, (struct sockaddr *)&at, size) || getsockname(listener, (struct sockaddr *)&at, &size) || listen(listener, MOST_CHANNELS))
        return -1;
    snprintf(answer, sizeof answer, ",\"address\":\"tcp:127.0.0.1:%d\"", ntohs(at.sin_port));
    return listener;
}

static int listen_unix(const char *path)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (strlen(path) >= sizeof at.sun_path)
        return -1;
    strcpy(at.sun_path, path);
    return bind(listener, (struct sockaddr *)&at, sizeof at) || listen(listener, MOST_CHANNELS) ? -1 : listener;
}

static const char *stop(struct json question)
{
    (void)question;
    if (receiver)
        receiver_stop(receiver);
    receiver = NULL;
    return NULL;
}

static const char *start(struct json question)
{
    static struct options options;
    char path[TEXT];
    stop(question);
    options = (struct options){0};
    const char *why = read_options(question, &options);
    if (why)
        return why;
    int listener = is_tcp ? listen_tcp() : text_of(question, "address", path) ? listen_unix(path) : -1;
    if (listener < 0)
        return "it cannot listen there";
    receiver = receiver_start(&options, listener);
    return NULL;
}

static const char *status(struct json question)
{
    static const char *const states[] = {
        [SETUP] = "receiving", [PRECOPY] = "receiving", [IDLE] = "colo", [CHECKPOINT] = "colo", [RECEIVED] = "colo", [FLUSHING] = "colo",
        [COMPLETED] = "completed", [FAILED] = "failed", [TAKEN_OVER] = "taken-over",
    };
    (void)question;
    if (!receiver)
        return "there is no receiver";
    pthread_mutex_lock(&receiver->lock);
    int size = snprintf(answer, sizeof answer, ",\"state\":\"%s\"", states[receiver->phase]);
    if (receiver->has_error) {
        for (char *at = receiver->words; *at; at++)
            if (*at < ' ' || *at > '~' || *at == '"' || *at == '\\')
                *at = '?';
        snprintf(answer + size, sizeof answer - size, ",\"reason\":\"%s\",\"channel\":\"%s\",\"offset\":%lld,\"error\":\"%s\"", receiver->reason,
            receiver->error_channel, (long long)receiver->error_offset, receiver->words);
    }
    pthread_mutex_unlock(&receiver->lock);
    return NULL;
}

/* Let the guest write: the file is a page of its RAM. */
static const char *write_guest(struct json where, FILE *file)
{
    char name[TEXT];
    uint64_t offset;
    struct block *block = text_of(where, "block", name) ? find_block(receiver, name) : NULL;
    if (!block || !number_of(where, "offset", &offset) || offset >= block->length)
        return "no page of RAM";
    uint8_t *page = allocate(receiver->options.page_size);
    bool is_read = fread(page, receiver->options.page_size, 1, file) == 1;
    bool is_written = is_read && receiver_write_guest(receiver, block->first_page + offset / receiver->options.page_size, page);
    free(page);
    return is_written ? NULL : "there is no guest that runs, or no page";
}

/* RAM is looked at while nobody writes it: between flushes, and when the threads of a failed migration have ended. */
static const char *show_guest(FILE *file)
{
    if (receiver_has_failed(receiver))
        receiver_rest(receiver);
    pthread_mutex_lock(&receiver->guest_lock);
    size_t written = fwrite(receiver->guest, receiver->options.page_size, receiver->pages, file);
    pthread_mutex_unlock(&receiver->guest_lock);
    return written == receiver->pages ? NULL : "the file cannot be written";
}

static const char *guest(struct json question)
{
    char path[TEXT];
    struct json where;
    if (!receiver)
        return "there is no receiver";
    bool is_write = json_member(question, "write", &where);
    FILE *file = text_of(question, "file", path) ? fopen(path, is_write ? "rb" : "wb") : NULL;
    if (!file)
        return "no such file";
    const char *why = is_write ? write_guest(where, file) : show_guest(file);
    return fclose(file) && !why ? "the file cannot be written" : why;
}

static const char *failover(struct json question)
{
    (void)question;
    return receiver && receiver_fail_over(receiver) ? NULL : "it is not in COLO";
}

static const char *unknown(struct json question)
{
    (void)question;
    return "there is no such verb";
}

static verb *find_verb(const char *name)
{
    static const struct {
        const char *name;
        verb *verb;
    } verbs[] = {{"hello", hello}, {"start", start}, {"status", status}, {"guest", guest}, {"failover", failover}, {"stop", stop}};
    for (size_t each = 0; each < sizeof verbs / sizeof *verbs; each++)
        if (!strcmp(verbs[each].name, name))
            return verbs[each].verb;
    return unknown;
}

/* Answer each line, until there are no more. */
static int serve(void)
{
    char *line = NULL, name[TEXT];
    size_t room = 0;
    ssize_t size;
    while ((size = getline(&line, &room, stdin)) > 0) {
        struct json question, id;
        if (!json_whole(line, line + size, &question) || !json_member(question, "id", &id) || !text_of(question, "verb", name)) {
            fprintf(stderr, "c-receiver: no question: %s", line);
            return 1;
        }
        answer[0] = 0;
        const char *why = find_verb(name)(question);
        if (why)
            snprintf(answer, sizeof answer, ",\"cannot\":\"%s\"", why);
        printf("{\"id\":%.*s%s}\n", (int)(id.end - id.begin), id.begin, answer);
        fflush(stdout);
    }
    free(line);
    stop((struct json){0});
    return 0;
}

static int serve_all(const char *path)
{
    int listener = listen_unix(path);
    if (listener < 0) {
        perror(path);
        return 2;
    }
    signal(SIGCHLD, SIG_IGN);
    for (;;) {
        int connection = accept(listener, NULL, NULL);
        if (connection < 0)
            return 2;
        if (!fork()) {
            dup2(connection, 0);
            dup2(connection, 1);
            return serve();
        }
        close(connection);
    }
}

int main(int count, char **arguments)
{
    const char *option = count > 1 ? arguments[1] : "";
    signal(SIGPIPE, SIG_IGN);
    if (!strncmp(option, "unix:", 5))
        return serve_all(option + 5);
    is_tcp = !strcmp(option, "--tcp");
    return serve();
}
