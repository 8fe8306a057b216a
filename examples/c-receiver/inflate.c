/* The payload of a compressed packet. One stream lives as long as its channel; zlib and zstd are there if they were when this was built. */
#include "receiver.h"

#include <stdlib.h>

#ifdef HAVE_ZLIB
#include <zlib.h>
#endif

#ifdef HAVE_ZSTD
/* The stable part of libzstd that is needed: the library is everywhere, its header is not. */
typedef struct ZSTD_DCtx_s ZSTD_DStream;
typedef struct { const void *src; size_t size, pos; } ZSTD_inBuffer;
typedef struct { void *dst; size_t size, pos; } ZSTD_outBuffer;
ZSTD_DStream *ZSTD_createDStream(void);
size_t ZSTD_freeDStream(ZSTD_DStream *stream);
size_t ZSTD_decompressStream(ZSTD_DStream *stream, ZSTD_outBuffer *output, ZSTD_inBuffer *input);
unsigned ZSTD_isError(size_t code);
size_t ZSTD_DCtx_setParameter(ZSTD_DStream *stream, int parameter, int value);
enum { ZSTD_d_windowLogMax = 100, WINDOW_LOG = 25 }; /* what the highest level of a primary asks for */
#endif

struct inflater {
    enum compression compression;
#ifdef HAVE_ZLIB
    z_stream zlib;
#endif
#ifdef HAVE_ZSTD
    ZSTD_DStream *zstd;
#endif
};

bool can_inflate(enum compression compression)
{
    switch (compression) {
#ifdef HAVE_ZLIB
    case ZLIB:
#endif
#ifdef HAVE_ZSTD
    case ZSTD:
#endif
    case NONE:
        return true;
    default:
        return false;
    }
}

struct inflater *inflater_new(enum compression compression)
{
    struct inflater *inflater = allocate(sizeof *inflater);
    inflater->compression = compression;
#ifdef HAVE_ZLIB
    if (compression == ZLIB && inflateInit(&inflater->zlib) != Z_OK)
        abort();
#endif
#ifdef HAVE_ZSTD
    if (compression == ZSTD && (!(inflater->zstd = ZSTD_createDStream())
            || ZSTD_isError(ZSTD_DCtx_setParameter(inflater->zstd, ZSTD_d_windowLogMax, WINDOW_LOG))))
        abort();
#endif
    return inflater;
}

void inflater_free(struct inflater *inflater)
{
    if (!inflater)
        return;
#ifdef HAVE_ZLIB
    if (inflater->compression == ZLIB)
        inflateEnd(&inflater->zlib);
#endif
#ifdef HAVE_ZSTD
    ZSTD_freeDStream(inflater->zstd);
#endif
    free(inflater);
}

/* Inflate a payload that must give `expected` bytes, into room for one more; return the reason to refuse it, NULL if it is right. */
const char *inflate_payload(struct inflater *inflater, const uint8_t *payload, size_t size, uint8_t *target, size_t expected)
{
    size_t made = 0, left = size;
    bool is_corrupt = false, has_ended = false;
#ifdef HAVE_ZLIB
    if (inflater->compression == ZLIB) {
        z_stream *zlib = &inflater->zlib;
        zlib->next_in = (uint8_t *)payload;
        zlib->avail_in = (uInt)size;
        zlib->next_out = target;
        zlib->avail_out = (uInt)expected + 1;
        int result = inflate(zlib, Z_SYNC_FLUSH);
        has_ended = result == Z_STREAM_END;
        is_corrupt = result != Z_OK && result != Z_BUF_ERROR && !has_ended;
        made = expected + 1 - zlib->avail_out;
        left = zlib->avail_in;
    }
#endif
#ifdef HAVE_ZSTD
    if (inflater->compression == ZSTD) {
        ZSTD_inBuffer input = {payload, size, 0};
        ZSTD_outBuffer output = {target, expected + 1, 0};
        size_t before, result;
        do {
            before = input.pos + output.pos;
            result = ZSTD_decompressStream(inflater->zstd, &output, &input);
            is_corrupt = ZSTD_isError(result);
            has_ended = result == 0;
        } while (!is_corrupt && !has_ended && output.pos < output.size && input.pos + output.pos > before);
        made = output.pos;
        left = size - input.pos;
    }
#endif
    if (is_corrupt || has_ended)
        return "payload-corrupt";
    if (BUG == BUG_SHORT_PAYLOAD_ACCEPTED ? made > expected : made != expected || left)
        return "payload-length";
    return NULL;
}
