/* The context of gRPC clients and servers, and the form of their messages. */
#include "net/grpc_core.h"

#include <event2/dns.h>
#include <signal.h>
#include <string.h>

#include "net/grpc_h2.h"

#define FRAME_HEADER 5
#define TEXT_MAX     4096 /* peers refuse headers beyond some 8 KB */

struct rpc *rpc_new(struct loop *loop, _unused_ struct error *err)
{
    struct sigaction pipe;
    if (sigaction(SIGPIPE, NULL, &pipe) == 0 && pipe.sa_handler == SIG_DFL)
        (void)signal(SIGPIPE, SIG_IGN);
    struct rpc *rpc = mem_zalloc(sizeof(*rpc));
    rpc->loop = loop;
    return rpc;
}

struct rpc *rpc_free(struct rpc *rpc)
{
    if (rpc && rpc->dns)
        evdns_base_free(rpc->dns, 0);
    free(rpc);
    return NULL;
}

/* ---- messages ---- */
static struct rpc_frame *frame_new(size_t len)
{
    struct rpc_frame *f = mem_zalloc(sizeof(*f) + FRAME_HEADER + len);
    f->len = FRAME_HEADER + len;
    f->data[1] = (uint8_t)(len >> 24); /* the first byte says: not compressed */
    f->data[2] = (uint8_t)(len >> 16);
    f->data[3] = (uint8_t)(len >> 8);
    f->data[4] = (uint8_t)len;
    return f;
}

struct rpc_frame *rpc_frame_of(const ProtobufCMessage *message)
{
    struct rpc_frame *f = frame_new(protobuf_c_message_get_packed_size(message));
    (void)protobuf_c_message_pack(message, f->data + FRAME_HEADER);
    return f;
}

struct rpc_frame *rpc_frame_of_bytes(const void *data, size_t len)
{
    struct rpc_frame *f = frame_new(len);
    if (len)
        memcpy(f->data + FRAME_HEADER, data, len);
    return f;
}

/* A peer can make empty repeated messages at two bytes each, and each costs a structure here: what
 * unpacking may take is bounded by a budget in proportion to the encoded size. */
static void *budget_alloc(void *data, size_t size)
{
    size_t *left = data;
    if (size > *left)
        return NULL;
    *left -= size;
    return malloc(size);
}

static void budget_free(_unused_ void *data, void *p)
{
    free(p);
}

ProtobufCMessage *rpc_decode(const void *data, size_t len, const ProtobufCMessageDescriptor *type)
{
    size_t budget = 8 * len + (1u << 20);
    ProtobufCAllocator allocator = {budget_alloc, budget_free, &budget};
    return protobuf_c_message_unpack(type, &allocator, len, data);
}

void rpc_message_free(ProtobufCMessage *message)
{
    if (message)
        protobuf_c_message_free_unpacked(message, NULL);
}

/* ---- texts in headers: percent-encoding of what is not printable ASCII, and of '%' ---- */
char *rpc_text_encode(const char *text)
{
    struct strbuf out = STRBUF_INIT;
    for (const char *p = text; *p && out.len < TEXT_MAX; p++)
        if (*p >= 0x20 && *p < 0x7f && *p != '%')
            strbuf_addc(&out, *p);
        else
            strbuf_addf(&out, "%%%02X", (unsigned char)*p);
    return strbuf_take(&out);
}

static int hex(char c)
{
    static const char digits[] = "0123456789abcdef";
    const char *p = c ? strchr(digits, c | 0x20) : NULL;
    return p ? (int)(p - digits) : -1;
}

char *rpc_text_decode(const char *text)
{
    struct strbuf out = STRBUF_INIT;
    for (const char *p = text; *p; p++) {
        int high = *p == '%' ? hex(p[1]) : -1, low = high >= 0 ? hex(p[2]) : -1;
        if (high >= 0 && low >= 0) {
            strbuf_addc(&out, (char)(high * 16 + low));
            p += 2;
        } else {
            strbuf_addc(&out, *p);
        }
    }
    return strbuf_take(&out);
}

const char *rpc_unix_path(const char *target)
{
    if (!str_starts(target, "unix:"))
        return NULL;
    const char *path = target + strlen("unix:");
    return str_starts(path, "//") ? path + 2 : path;
}
