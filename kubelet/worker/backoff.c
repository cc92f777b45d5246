/* Restart back-off; see backoff.h. */
#include "kubelet/worker/backoff.h"

static bool expired(const struct backoff *b, int64_t failed)
{
    return failed - b->last_update > 2 * (int64_t)BACKOFF_MAX_MS;
}

uint64_t backoff_wait(const struct backoff *b, int64_t failed, int64_t now)
{
    if (!b->delay_ms || expired(b, failed))
        return 0;
    int64_t until = failed + b->delay_ms;
    if (until - now > (int64_t)b->delay_ms) /* the clock was set back */
        return b->delay_ms;
    return until > now ? (uint64_t)(until - now) : 0;
}

void backoff_next(struct backoff *b, int64_t failed, int64_t now)
{
    if (!b->delay_ms || expired(b, failed))
        b->delay_ms = BACKOFF_FIRST_MS;
    else
        b->delay_ms = b->delay_ms >= BACKOFF_MAX_MS / 2 ? BACKOFF_MAX_MS : b->delay_ms * 2;
    b->last_update = now;
}

struct backoff backoff_restore(uint32_t restarts, int64_t started)
{
    struct backoff b = {.last_update = started};
    if (restarts)
        b.delay_ms = restarts > 5 ? BACKOFF_MAX_MS : BACKOFF_FIRST_MS << (restarts - 1);
    return b;
}
