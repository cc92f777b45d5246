/* The streaming server is not there yet: whoever asks for a URL is told so. */
#include "cri/streaming.h"

#include <errno.h>

struct streaming {
    struct runtime *rt;
};

struct streaming *streaming_new(struct runtime *rt, _unused_ struct error *err)
{
    struct streaming *st = mem_zalloc(sizeof(*st));
    st->rt = rt;
    return st;
}

struct streaming *streaming_free(struct streaming *st)
{
    free(st);
    return NULL;
}

static char *refuse(struct error *err)
{
    (void)error_set(err, -ENOTSUP, "the streaming server is not there yet");
    return NULL;
}

char *streaming_exec(_unused_ struct streaming *st, _unused_ const struct container *c,
                     _unused_ const char *const *argv,
                     _unused_ const struct streaming_options *options, struct error *err)
{
    return refuse(err);
}

char *streaming_attach(_unused_ struct streaming *st, _unused_ const struct container *c,
                       _unused_ const struct streaming_options *options, struct error *err)
{
    return refuse(err);
}

char *streaming_port_forward(_unused_ struct streaming *st, _unused_ const struct sandbox *sandbox,
                             struct error *err)
{
    return refuse(err);
}
