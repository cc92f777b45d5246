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

/* A variable-length number; 0 bytes when it does not end. */
static size_t varint(const uint8_t *p, size_t len, uint64_t *ret)
{
    *ret = 0;
    for (size_t i = 0; i < len && i < 10; i++) {
        *ret |= (uint64_t)(p[i] & 0x7f) << (7 * i);
        if (!(p[i] & 0x80))
            return i + 1;
    }
    return 0;
}

/* Whether no string of a message has a NUL in it, which would cut it short in C: what is checked
 * and what is meant would differ. The bytes have been unpacked before: they are well formed. */
static bool strings_are_whole(const ProtobufCMessageDescriptor *type, const uint8_t *p, size_t len)
{
    const uint8_t *end = p + len;
    while (p < end) {
        uint64_t tag, n;
        p += varint(p, (size_t)(end - p), &tag);
        unsigned wire = tag & 7;
        size_t used = varint(p, (size_t)(end - p), &n);
        if (wire == 1 || wire == 5) {
            p += wire == 1 ? 8 : 4;
            continue;
        }
        p += used;
        if (!used || (wire == 2 && n > (size_t)(end - p)))
            return false;
        if (wire != 2)
            continue;
        const ProtobufCFieldDescriptor *f =
            protobuf_c_message_descriptor_get_field(type, (unsigned)(tag >> 3));
        if (f && f->type == PROTOBUF_C_TYPE_STRING && memchr(p, '\0', n))
            return false;
        if (f && f->type == PROTOBUF_C_TYPE_MESSAGE && !strings_are_whole(f->descriptor, p, n))
            return false;
        p += n;
    }
    return true;
}

ProtobufCMessage *rpc_decode(const void *data, size_t len, const ProtobufCMessageDescriptor *type)
{
    size_t budget = 8 * len + (1u << 20);
    ProtobufCAllocator allocator = {budget_alloc, budget_free, &budget};
    ProtobufCMessage *message = protobuf_c_message_unpack(type, &allocator, len, data);
    if (message && !strings_are_whole(type, data, len)) {
        protobuf_c_message_free_unpacked(message, NULL);
        return NULL;
    }
    return message;
}

void rpc_message_free(ProtobufCMessage *message)
{
    if (message)
        protobuf_c_message_free_unpacked(message, NULL);
}

/* ---- texts in headers: percent-encoding of what is not printable ASCII, and of '%' ----
 * Of a space at either end, too: a field's value may not have one there (RFC 9113, 8.2.1), and who
 * gets one drops it. */
char *rpc_text_encode(const char *text)
{
    struct strbuf out = STRBUF_INIT;
    for (const char *p = text; *p && out.len < TEXT_MAX; p++)
        if (*p >= 0x20 && *p < 0x7f && *p != '%' && (*p != ' ' || out.len > 0))
            strbuf_addc(&out, *p);
        else
            strbuf_addf(&out, "%%%02X", (unsigned char)*p);
    if (out.len > 0 && out.data[out.len - 1] == ' ') {
        strbuf_truncate(&out, out.len - 1);
        strbuf_adds(&out, "%20");
    }
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
