/* Mistakes that can be planted, one at a time: make BUG=mirror-decided-again. Beside each is the rule that it breaks;
 * `make planted` says by which rules each is found.
 *
 * Without one, `BUG == ...` is false everywhere, and the compiler leaves it out. Most are mistakes that QEMU has had. */
#ifndef BUGS_H
#define BUGS_H

enum bug {
    NO_BUG,
    BUG_MIRROR_DECIDED_AGAIN,        /* receive.mirror */
    BUG_ZERO_PAGES_ELIDED,           /* receive.zero-page */
    BUG_ZERO_RECORDS_ELIDED,         /* main.zero-page */
    BUG_ZERO_PAGES_NOT_DIRTY,        /* receive.prepare */
    BUG_ZERO_PAGES_NOT_MIRRORED,     /* receive.mirror */
    BUG_MAIN_PAGES_NOT_DIRTY,        /* main.prepare */
    BUG_RECORDS_NOT_MIRRORED,        /* main.mirror */
    BUG_INTO_GUEST_IN_COLO,          /* receive.read-page */
    BUG_RECEIVEDMAP_CLEARED,         /* receive.zero-page */
    BUG_OWN_WRITES_KEPT,             /* checkpoint.flush-begin */
    BUG_LAST_PAGE_NOT_FLUSHED,       /* checkpoint.flush-page */
    BUG_ROUND_FLUSHED,               /* checkpoint.flush-begin */
    BUG_FLUSH_BEFORE_DEVICE_STATE,   /* checkpoint.flush-begin */
    BUG_DEVICE_STATE_UNCHECKED,      /* wire.colo.state-end */
    BUG_ANSWER_BEFORE_LOCK,          /* checkpoint.answer */
    BUG_FLUSH_ABANDONED,             /* isolation.guest */
    BUG_FAILOVER_FLUSHES,            /* failover.take-over */
    BUG_PAGES_AFTER_FAILOVER,        /* isolation.guest */
    BUG_CACHE_FREED_EARLY,           /* own.release-cache */
    BUG_SYNC_DOES_NOT_PARK,          /* barrier.park */
    BUG_ROUND_ENDS_EARLY,            /* barrier.release */
    BUG_EVERY_SECTION_ENDS_A_ROUND,  /* barrier.release */
    BUG_PAGES_OF_SYNC_DROPPED,       /* barrier.park */
    BUG_FLUSH_MISSING_ACCEPTED,      /* phase.complete */
    BUG_DEAD_CHANNEL_TELLS_NOBODY,   /* phase.give-up */
    BUG_TRUNCATED_ACCEPTED,          /* wire.truncated */
    BUG_FIRST_CONNECTION_IS_MAIN,    /* phase.start */
    BUG_CHANNEL_ID_ONE_TOO_FAR,      /* wire.hello.id */
    BUG_UUID_UNCHECKED,              /* wire.hello.uuid */
    BUG_MACHINE_BY_PREFIX,           /* wire.configuration.machine */
    BUG_FIRST_BLOCK_ALWAYS,          /* wire.packet.block */
    BUG_OFFSET_UNBOUNDED,            /* wire.packet.offset-range */
    BUG_OFFSET_ONE_TOO_FAR,          /* wire.packet.offset-range */
    BUG_UNALIGNED_ACCEPTED,          /* wire.packet.offset-alignment */
    BUG_REPEATED_ACCEPTED,           /* wire.packet.offset-repeated */
    BUG_NORMAL_PAGES_UNCHECKED,      /* wire.packet.normal-pages */
    BUG_ZERO_PAGES_UNCHECKED,        /* wire.packet.zero-pages */
    BUG_PAYLOAD_SIZE_UNCHECKED,      /* wire.packet.payload-size */
    BUG_FILL_UNCHECKED,              /* wire.zero.fill */
    BUG_STREAM_STARTS_ANEW,          /* receive.read-page */
    BUG_ONE_STREAM_FOR_ALL,          /* receive.read-page */
    BUG_INFLATE_UNCHECKED,           /* wire.payload.corrupt */
    BUG_SHORT_PAYLOAD_ACCEPTED,      /* wire.payload.short */
};

#ifndef BUG
#define BUG NO_BUG
#endif

#endif
