/* A reader of JSON: a value is the piece of text that it stands in, and is looked into anew each time. */
#ifndef JSON_H
#define JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json {
    const char *begin, *end;
};

bool json_whole(const char *begin, const char *end, struct json *value);
bool json_member(struct json object, const char *key, struct json *value);
bool json_next(struct json array, struct json *element); /* element->begin is NULL before the first one */
bool json_text(struct json value, char *target, size_t size);
bool json_number(struct json value, uint64_t *number);
bool json_is(struct json value, const char *literal);

#endif
