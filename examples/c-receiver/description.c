/* Where the device sections end: they carry no length. A zero byte is their end if the description behind it accounts for every byte. */
#include "json.h"
#include "receiver.h"

#include <stdlib.h>
#include <string.h>

enum { HEAD = 6, MOST_CANDIDATES = 256, MOST_BYTES = 272 << 20, FULL = 0x04, SUBSECTION = 0x05, FOOTER = 0x7e };

struct walk {
    const uint8_t *data;
    uint64_t at, end; /* bytes of sections */
    uint64_t wrong; /* where the description disagrees with them */
};

static bool member_number(struct json object, const char *key, uint64_t *value)
{
    struct json found;
    return json_member(object, key, &found) && json_number(found, value) && *value >> 32 == 0;
}

/* Add up the fields of a device or subsection, and of its subsections; false if that is no description. */
static bool add_sizes(struct json parent, uint64_t *size)
{
    struct json list, each = {0}, ignored;
    uint64_t bytes, count, version;
    char name[TEXT];
    if (json_member(parent, "fields", &list))
        for (; json_next(list, &each); *size += bytes * count) {
            count = 1;
            if (!member_number(each, "size", &bytes) || (json_member(each, "array_len", &ignored) && !member_number(each, "array_len", &count)))
                return false;
        }
    each = (struct json){0};
    if (json_member(parent, "subsections", &list))
        while (json_next(list, &each)) {
            if (!json_member(each, "vmsd_name", &ignored) || !json_text(ignored, name, TEXT) || !member_number(each, "version", &version))
                return false;
            *size += 1 + 1 + strlen(name) + 4;
            if (!add_sizes(each, size))
                return false;
        }
    return true;
}

static bool see(struct walk *w, const uint8_t *expected, size_t size)
{
    for (size_t each = 0; each < size; each++, w->at++)
        if (w->at > w->end || w->data[w->at] != expected[each]) {
            w->wrong = w->at;
            return false;
        }
    return true;
}

static bool see_text(struct walk *w, const char *text)
{
    return see(w, (uint8_t[]){(uint8_t)strlen(text)}, 1) && see(w, (const uint8_t *)text, strlen(text));
}

static bool see_number(struct walk *w, uint64_t value)
{
    return see(w, (uint8_t[]){(uint8_t)(value >> 24), (uint8_t)(value >> 16), (uint8_t)(value >> 8), (uint8_t)value}, 4);
}

static bool see_subsections(struct walk *w, struct json parent)
{
    struct json list, each = {0}, name;
    uint64_t bytes, count, version;
    char text[TEXT];
    if (json_member(parent, "fields", &list))
        while (json_next(list, &each)) {
            count = 1;
            member_number(each, "size", &bytes);
            member_number(each, "array_len", &count);
            w->at += bytes * count;
        }
    each = (struct json){0};
    if (json_member(parent, "subsections", &list))
        while (json_next(list, &each)) {
            json_member(each, "vmsd_name", &name);
            json_text(name, text, TEXT);
            member_number(each, "version", &version);
            if (!see(w, (uint8_t[]){SUBSECTION}, 1) || !see_text(w, text) || !see_number(w, version) || !see_subsections(w, each))
                return false;
        }
    return true;
}

/* Lay a described section over the bytes. */
static bool see_section(struct walk *w, struct json device)
{
    struct json found;
    char name[TEXT];
    uint64_t instance, version, size = 0, begin = w->at;
    json_member(device, "name", &found);
    json_text(found, name, TEXT);
    member_number(device, "instance_id", &instance);
    member_number(device, "version", &version);
    add_sizes(device, &size);
    w->wrong = w->at;
    if (w->end - w->at < 5 + 1 + strlen(name) + 8 + size + 5 || !see(w, (uint8_t[]){FULL}, 1))
        return false;
    w->at += 4;
    return see_text(w, name) && see_number(w, instance) && see_number(w, version) && see_subsections(w, device)
        && see(w, (uint8_t[]){FOOTER}, 1) && see(w, w->data + begin + 1, 4);
}

static bool is_described(struct json device, bool *is_section)
{
    struct json found;
    uint64_t value, size = 0;
    char name[TEXT];
    if (!json_member(device, "name", &found) || !json_text(found, name, TEXT))
        return false;
    *is_section = strcmp(name, "ram") || json_member(device, "fields", &found);
    return !*is_section || (member_number(device, "instance_id", &value) && member_number(device, "version", &value) && add_sizes(device, &size));
}

/* Whether a description accounts for all sections; if not, w->wrong says where. */
static bool confirms(struct walk *w, struct json description, uint64_t page_size)
{
    struct json devices, each = {0}, found;
    uint64_t value = page_size;
    bool is_section;
    if (json_member(description, "page_size", &found) && !json_number(found, &value))
        return false;
    if (value != page_size || !json_member(description, "devices", &devices) || *devices.begin != '[')
        return false;
    while (json_next(devices, &each))
        if (!is_described(each, &is_section))
            return false;
    each = (struct json){0};
    while (json_next(devices, &each))
        if (is_described(each, &is_section) && is_section && !see_section(w, each))
            return false;
    w->wrong = w->at;
    return w->at == w->end;
}

/* Read the sections and their description; `first` is the byte of them that has been read. */
void read_device_sections(struct channel *c, uint8_t first)
{
    uint64_t at = c->item, ends[MOST_CANDIDATES], stops[MOST_CANDIDATES], wrong = at;
    size_t size = 1, room = AHEAD, candidates = 0;
    const char *refusal = "description-missing";
    c->scratch = allocate(room);
    c->scratch[0] = first;
    while (size < MOST_BYTES && take_some(c, c->scratch + size, 1)) {
        size++;
        if (size == room && !(c->scratch = realloc(c->scratch, room *= 2)))
            abort();
        const uint8_t *head = c->scratch + size - HEAD - 1;
        if (size > HEAD && candidates < MOST_CANDIDATES && head[0] == 0 && head[1] == 6 && head[HEAD] == '{') {
            ends[candidates] = size - HEAD - 1;
            stops[candidates++] = size - 1 + number(head + 2, 4);
        }
        for (size_t each = 0; each < candidates; each++) {
            struct walk walk = {c->scratch, 0, ends[each], ends[each] + HEAD};
            struct json text;
            if (stops[each] != size || !json_whole((const char *)c->scratch + ends[each] + HEAD, (const char *)c->scratch + size, &text))
                continue;
            if (confirms(&walk, text, c->receiver->options.page_size))
                return;
            refusal = "description-mismatch";
            wrong = at + walk.wrong;
        }
    }
    refuse(c, refusal, wrong, "no description of %zu bytes", size);
}
