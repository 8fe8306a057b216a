#include "json.h"

#include <stdlib.h>
#include <string.h>

enum { DEEPEST = 64 };

static const char *skip_space(const char *at, const char *end)
{
    while (at < end && strchr(" \t\r\n", *at) && *at)
        at++;
    return at;
}

static const char *skip_text(const char *at, const char *end)
{
    for (at++; at < end && *at != '"'; at++) {
        if ((unsigned char)*at < ' ')
            return NULL;
        if (*at == '\\' && (++at == end || !*at || !strchr("\"\\/bfnrtu", *at)))
            return NULL;
    }
    return at < end ? at + 1 : NULL;
}

static const char *skip_digits(const char *at, const char *end)
{
    const char *begin = at;
    while (at < end && *at >= '0' && *at <= '9')
        at++;
    return at > begin ? at : NULL;
}

static const char *skip_number(const char *at, const char *end)
{
    at = skip_digits(at + (*at == '-'), end);
    if (at && at < end && *at == '.')
        at = skip_digits(at + 1, end);
    if (at && at < end && (*at == 'e' || *at == 'E')) {
        at++;
        at = skip_digits(at + (at < end && (*at == '-' || *at == '+')), end);
    }
    return at;
}

static const char *skip(const char *at, const char *end, int depth);

/* Skip members or elements up to the bracket that closes them. */
static const char *skip_inside(const char *at, const char *end, int depth, bool is_object)
{
    char close = is_object ? '}' : ']';
    at = skip_space(at + 1, end);
    if (at < end && *at == close)
        return at + 1;
    while (at && at < end) {
        if (is_object) {
            at = *at == '"' ? skip_text(at, end) : NULL;
            at = at ? skip_space(at, end) : NULL;
            if (!at || at == end || *at != ':')
                return NULL;
            at++;
        }
        at = skip(at, end, depth + 1);
        at = at ? skip_space(at, end) : NULL;
        if (!at || at == end || (*at != ',' && *at != close))
            return NULL;
        if (*at == close)
            return at + 1;
        at = skip_space(at + 1, end);
    }
    return NULL;
}

/* Return the end of the value that begins behind spaces at `at`; NULL if there is none. */
static const char *skip(const char *at, const char *end, int depth)
{
    at = skip_space(at, end);
    if (at == end || depth > DEEPEST)
        return NULL;
    if (*at == '{' || *at == '[')
        return skip_inside(at, end, depth, *at == '{');
    if (*at == '"')
        return skip_text(at, end);
    for (const char *const *word = (const char *const[]){"true", "false", "null", NULL}; *word; word++)
        if ((size_t)(end - at) >= strlen(*word) && !strncmp(at, *word, strlen(*word)))
            return at + strlen(*word);
    return skip_number(at, end);
}

static bool one(const char *at, const char *end, struct json *value)
{
    value->begin = skip_space(at, end);
    value->end = skip(at, end, 0);
    return value->end != NULL;
}

/* Whether the text is one value and nothing else. */
bool json_whole(const char *begin, const char *end, struct json *value)
{
    return one(begin, end, value) && skip_space(value->end, end) == end;
}

bool json_member(struct json object, const char *key, struct json *value)
{
    struct json name;
    if (*object.begin != '{')
        return false;
    const char *at = skip_space(object.begin + 1, object.end);
    while (*at == '"') {
        if (!one(at, object.end, &name) || !one(skip_space(name.end, object.end) + 1, object.end, value))
            return false;
        if ((size_t)(name.end - name.begin) == strlen(key) + 2 && !strncmp(name.begin + 1, key, strlen(key)))
            return true;
        at = skip_space(value->end, object.end);
        at = skip_space(at + (*at == ','), object.end);
    }
    return false;
}

bool json_next(struct json array, struct json *element)
{
    const char *at = array.begin;
    if (*at != '[')
        return false;
    if (element->begin) {
        at = skip_space(element->end, array.end);
        if (*at != ',')
            return false;
    }
    return one(at + 1, array.end, element) && *element->begin != ']';
}

/* Copy a text without escapes but those of one character; false if it is none, or too long. */
bool json_text(struct json value, char *target, size_t size)
{
    if (*value.begin != '"')
        return false;
    for (const char *at = value.begin + 1; at < value.end - 1; at++) {
        if (*at == '\\' && (*++at == 'u' || strchr("bfnrt", *at)))
            return false;
        if (!--size)
            return false;
        *target++ = *at;
    }
    *target = 0;
    return true;
}

/* Read a whole number of at most 15 digits. */
bool json_number(struct json value, uint64_t *number)
{
    const char *end = skip_digits(value.begin, value.end);
    if (end != value.end || end - value.begin > 15)
        return false;
    *number = strtoull(value.begin, NULL, 10);
    return true;
}

bool json_is(struct json value, const char *literal)
{
    return (size_t)(value.end - value.begin) == strlen(literal) && !strncmp(value.begin, literal, strlen(literal));
}
