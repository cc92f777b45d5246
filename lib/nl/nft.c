/*
 * Transactions on nf_tables; see nft.h.
 *
 * The whole batch is one datagram: a begin message, the changes, an end message. The kernel answers
 * each message that it cannot apply with an error that carries the message's sequence number, and
 * often where in it the fault is; the first message asks for an acknowledgement, so that there is
 * always an answer. All of it is there when send() returns.
 */
#include "nl/nft.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <string.h>
#include <sys/socket.h>

#include "nl/nft_internal.h"

#define SEND_ROOM    (64 << 20)
#define RECEIVE_ROOM (4 << 20)
#define ELEMENTS_MAX 60000 /* bytes of one message of elements: attributes end at 64 KB */
#define KEY_TEXT_MAX 48    /* bytes of a key in an error */
#define CT_COMMENT   0     /* NFTNL_UDATA_*_COMMENT */

struct nft {
    int fd;
    uint32_t port;
    struct netlink *reader;
};

/* ---- attributes ---- */

static void pad(struct nft_batch *b)
{
    static const char zero[NLA_ALIGNTO];
    strbuf_add(&b->buf, zero, NLA_ALIGN(b->buf.len) - b->buf.len);
}

void nft_put(struct nft_batch *b, int type, const void *data, size_t len)
{
    const struct nlattr a = {.nla_type = (uint16_t)type, .nla_len = (uint16_t)(NLA_HDRLEN + len)};
    strbuf_add(&b->buf, &a, sizeof(a));
    strbuf_add(&b->buf, data, len);
    pad(b);
}

void nft_put_text(struct nft_batch *b, int type, const char *text)
{
    nft_put(b, type, text, strlen(text) + 1);
}

void nft_put_be32(struct nft_batch *b, int type, uint32_t value)
{
    uint32_t be = htonl(value);
    nft_put(b, type, &be, sizeof(be));
}

void nft_put_be64(struct nft_batch *b, int type, uint64_t value)
{
    uint32_t be[2] = {htonl((uint32_t)(value >> 32)), htonl((uint32_t)value)};
    nft_put(b, type, be, sizeof(be));
}

size_t nft_nest(struct nft_batch *b, int type)
{
    size_t at = b->buf.len;
    const struct nlattr a = {.nla_type = (uint16_t)(type | NLA_F_NESTED), .nla_len = NLA_HDRLEN};
    strbuf_add(&b->buf, &a, sizeof(a));
    return at;
}

void nft_nest_end(struct nft_batch *b, size_t nest)
{
    uint16_t len = (uint16_t)(b->buf.len - nest);
    memcpy(b->buf.data + nest + offsetof(struct nlattr, nla_len), &len, sizeof(len));
}

void nft_put_value(struct nft_batch *b, int type, const void *data, size_t len)
{
    size_t nest = nft_nest(b, type);
    nft_put(b, NFTA_DATA_VALUE, data, len);
    nft_nest_end(b, nest);
}

void nft_put_verdict(struct nft_batch *b, int type, int verdict, const char *chain)
{
    size_t nest = nft_nest(b, type);
    size_t inner = nft_nest(b, NFTA_DATA_VERDICT);
    nft_put_be32(b, NFTA_VERDICT_CODE, (uint32_t)verdict);
    if (chain)
        nft_put_text(b, NFTA_VERDICT_CHAIN, chain);
    nft_nest_end(b, inner);
    nft_nest_end(b, nest);
}

/* User data is a list of type, length, value, in bytes. */
void nft_put_comment(struct nft_batch *b, int type, const char *comment)
{
    unsigned char data[2 + NFT_COMMENT_MAX] = {CT_COMMENT};
    size_t len = comment ? strlen(comment) : 0;
    if (!len)
        return;
    if (len > NFT_COMMENT_MAX - 1)
        len = NFT_COMMENT_MAX - 1;
    data[1] = (unsigned char)(len + 1);
    memcpy(data + 2, comment, len);
    nft_put(b, type, data, len + 3);
}

/* ---- messages ---- */

static void put_header(struct strbuf *buf, int type, int flags, int family, int res_id,
                       uint32_t seq)
{
    const struct nlmsghdr h = {.nlmsg_len = NLMSG_LENGTH(sizeof(struct nfgenmsg)),
                               .nlmsg_type = (uint16_t)type,
                               .nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags),
                               .nlmsg_seq = seq};
    const struct nfgenmsg g = {.nfgen_family = (uint8_t)family,
                               .version = NFNETLINK_V0,
                               .res_id = htons((uint16_t)res_id)};
    strbuf_add(buf, &h, sizeof(h));
    strbuf_add(buf, &g, sizeof(g));
}

void nft_message_begin(struct nft_batch *b, int type, int flags, const char *what, const char *name)
{
    nft_close(b);
    if (b->n == b->room) {
        b->room = b->room ? b->room * 2 : 32;
        b->messages = mem_grow(b->messages, b->room, sizeof(*b->messages));
    }
    b->messages[b->n++] =
        (struct nft_message){.what = what, .name = str_dup(name), .offset = b->buf.len};
    put_header(&b->buf, (NFNL_SUBSYS_NFTABLES << 8) | type, flags | (b->n == 1 ? NLM_F_ACK : 0),
               b->family, 0, (uint32_t)b->n);
}

void nft_message_end(struct nft_batch *b)
{
    struct nft_message *m = &b->messages[b->n - 1];
    uint32_t len = (uint32_t)(b->buf.len - m->offset);
    memcpy(b->buf.data + m->offset + offsetof(struct nlmsghdr, nlmsg_len), &len, sizeof(len));
    m->len = len;
}

void nft_close(struct nft_batch *b)
{
    if (b->elements) {
        nft_nest_end(b, b->list);
        nft_message_end(b);
        b->elements = 0;
        free(b->set);
        b->set = NULL;
    }
}

struct nft_batch *nft_batch_new(int family, const char *table)
{
    struct nft_batch *b = mem_zalloc(sizeof(*b));
    *b = (struct nft_batch){.family = family, .table = str_dup(table)};
    put_header(&b->buf, NFNL_MSG_BATCH_BEGIN, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES, 0);
    return b;
}

struct nft_batch *nft_batch_free(struct nft_batch *b)
{
    if (b) {
        for (size_t i = 0; i < b->n; i++)
            free(b->messages[i].name);
        free(b->messages);
        free(b->table);
        free(b->set);
        free(b->rule_comment);
        strbuf_done(&b->buf);
        free(b);
    }
    return NULL;
}

bool nft_batch_is_empty(const struct nft_batch *b)
{
    return b->n == 0;
}

/* ---- tables, chains, sets ---- */

void nft_add_table(struct nft_batch *b, const char *comment)
{
    nft_message_begin(b, NFT_MSG_NEWTABLE, NLM_F_CREATE, "add table", b->table);
    nft_put_text(b, NFTA_TABLE_NAME, b->table);
    nft_put_be32(b, NFTA_TABLE_FLAGS, 0);
    nft_put_comment(b, NFTA_TABLE_USERDATA, comment);
    nft_message_end(b);
}

void nft_delete_table(struct nft_batch *b)
{
    nft_message_begin(b, NFT_MSG_DELTABLE, 0, "delete table", b->table);
    nft_put_text(b, NFTA_TABLE_NAME, b->table);
    nft_message_end(b);
}

void nft_add_chain(struct nft_batch *b, const char *name, const struct nft_hook *hook)
{
    nft_message_begin(b, NFT_MSG_NEWCHAIN, NLM_F_CREATE, "add chain", name);
    nft_put_text(b, NFTA_CHAIN_TABLE, b->table);
    nft_put_text(b, NFTA_CHAIN_NAME, name);
    if (hook) {
        size_t nest = nft_nest(b, NFTA_CHAIN_HOOK);
        nft_put_be32(b, NFTA_HOOK_HOOKNUM, (uint32_t)hook->hook);
        nft_put_be32(b, NFTA_HOOK_PRIORITY, (uint32_t)hook->priority);
        nft_nest_end(b, nest);
        nft_put_be32(b, NFTA_CHAIN_POLICY, NF_ACCEPT);
        nft_put_text(b, NFTA_CHAIN_TYPE, hook->type);
    }
    nft_message_end(b);
}

void nft_flush_chain(struct nft_batch *b, const char *name)
{
    nft_message_begin(b, NFT_MSG_DELRULE, 0, "flush chain", name);
    nft_put_text(b, NFTA_RULE_TABLE, b->table);
    nft_put_text(b, NFTA_RULE_CHAIN, name);
    nft_message_end(b);
}

void nft_delete_chain(struct nft_batch *b, const char *name)
{
    nft_message_begin(b, NFT_MSG_DELCHAIN, 0, "delete chain", name);
    nft_put_text(b, NFTA_CHAIN_TABLE, b->table);
    nft_put_text(b, NFTA_CHAIN_NAME, name);
    nft_message_end(b);
}

void nft_add_set(struct nft_batch *b, const struct nft_set_def *def)
{
    uint32_t flags =
        (def->data_type ? NFT_SET_MAP : 0) | (def->timeouts ? NFT_SET_TIMEOUT | NFT_SET_EVAL : 0);
    nft_message_begin(b, NFT_MSG_NEWSET, NLM_F_CREATE, "add set", def->name);
    nft_put_text(b, NFTA_SET_TABLE, b->table);
    nft_put_text(b, NFTA_SET_NAME, def->name);
    nft_put_be32(b, NFTA_SET_ID, (uint32_t)b->n);
    nft_put_be32(b, NFTA_SET_FLAGS, flags);
    nft_put_be32(b, NFTA_SET_KEY_TYPE, def->key_type);
    nft_put_be32(b, NFTA_SET_KEY_LEN, def->key_len);
    if (def->data_type) {
        nft_put_be32(b, NFTA_SET_DATA_TYPE, def->data_type);
        if (def->data_type != NFT_DATA_VERDICT)
            nft_put_be32(b, NFTA_SET_DATA_LEN, def->data_len);
    }
    if (def->size) {
        size_t nest = nft_nest(b, NFTA_SET_DESC);
        nft_put_be32(b, NFTA_SET_DESC_SIZE, def->size);
        nft_nest_end(b, nest);
    }
    nft_message_end(b);
}

/* ---- elements: those of one set that follow each other share messages ---- */

static void open_elements(struct nft_batch *b, int type, const char *set)
{
    bool fits = b->elements == type && str_eq(b->set, set) && b->buf.len - b->list < ELEMENTS_MAX;
    if (fits)
        return;
    if (type == NFT_MSG_NEWSETELEM)
        nft_message_begin(b, type, NLM_F_CREATE | NLM_F_EXCL, "add element to set", set);
    else
        nft_message_begin(b, type, 0, "delete element from set", set);
    nft_put_text(b, NFTA_SET_ELEM_LIST_TABLE, b->table);
    nft_put_text(b, NFTA_SET_ELEM_LIST_SET, set);
    b->elements = type;
    b->set = str_dup(set);
    b->list = nft_nest(b, NFTA_SET_ELEM_LIST_ELEMENTS);
}

void nft_add_element(struct nft_batch *b, const char *set, const struct nft_element *e)
{
    open_elements(b, NFT_MSG_NEWSETELEM, set);
    size_t nest = nft_nest(b, NFTA_LIST_ELEM);
    nft_put_value(b, NFTA_SET_ELEM_KEY, e->key, e->key_len);
    if (e->data)
        nft_put_value(b, NFTA_SET_ELEM_DATA, e->data, e->data_len);
    else if (e->chain || e->verdict != NFT_CONTINUE)
        nft_put_verdict(b, NFTA_SET_ELEM_DATA, e->verdict, e->chain);
    nft_put_comment(b, NFTA_SET_ELEM_USERDATA, e->comment);
    nft_nest_end(b, nest);
}

void nft_delete_element(struct nft_batch *b, const char *set, const struct nft_element *e)
{
    open_elements(b, NFT_MSG_DELSETELEM, set);
    size_t nest = nft_nest(b, NFTA_LIST_ELEM);
    nft_put_value(b, NFTA_SET_ELEM_KEY, e->key, e->key_len);
    nft_nest_end(b, nest);
}

/* ---- the socket ---- */

int nft_open(struct nft **ret, struct error *err)
{
    struct nft *n = mem_zalloc(sizeof(*n));
    struct sockaddr_nl self = {.nl_family = AF_NETLINK};
    socklen_t len = sizeof(self);
    int one = 1, send_room = SEND_ROOM, receive_room = RECEIVE_ROOM;
    n->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
    if (n->fd < 0 || bind(n->fd, (const struct sockaddr *)&self, sizeof(self)) < 0 ||
        getsockname(n->fd, (struct sockaddr *)&self, &len) < 0) {
        int r = error_errno(err, -errno, "nf_tables socket");
        (void)nft_free(n);
        return r;
    }
    n->port = self.nl_pid;
    (void)setsockopt(n->fd, SOL_NETLINK, NETLINK_EXT_ACK, &one, sizeof(one));
    (void)setsockopt(n->fd, SOL_NETLINK, NETLINK_CAP_ACK, &one, sizeof(one));
    (void)setsockopt(n->fd, SOL_SOCKET, SO_SNDBUFFORCE, &send_room, sizeof(send_room));
    (void)setsockopt(n->fd, SOL_SOCKET, SO_RCVBUFFORCE, &receive_room, sizeof(receive_room));
    int r = netlink_open(NETLINK_NETFILTER, &n->reader, err);
    if (r < 0) {
        (void)nft_free(n);
        return r;
    }
    *ret = n;
    return 0;
}

struct nft *nft_free(struct nft *n)
{
    if (n) {
        closep(&n->fd);
        (void)netlink_free(n->reader);
        free(n);
    }
    return NULL;
}

uint32_t nft_port(const struct nft *n)
{
    return n->port;
}

struct netlink *nft_reader(const struct nft *n);
struct netlink *nft_reader(const struct nft *n)
{
    return n->reader;
}

/* ---- commit ---- */

/* The key of the element that starts at @offset of the message, as hexadecimal digits. */
static void add_key(const struct nft_batch *b, const struct nft_message *m, uint32_t offset,
                    struct strbuf *out)
{
    const char *at = b->buf.data + m->offset + offset;
    const struct nlattr *elem = (const struct nlattr *)(const void *)at;
    if (!offset || offset + NLA_HDRLEN > m->len || offset + elem->nla_len > m->len)
        return;
    const struct nlattr *key = nla_find(nla_data(elem), nla_len(elem), NFTA_SET_ELEM_KEY);
    const struct nlattr *value =
        key ? nla_find(nla_data(key), nla_len(key), NFTA_DATA_VALUE) : NULL;
    if (!value)
        return;
    strbuf_adds(out, " key ");
    for (int i = 0; i < nla_len(value) && i < KEY_TEXT_MAX; i++)
        strbuf_addf(out, "%02x", ((const unsigned char *)nla_data(value))[i]);
}

static int report(const struct nft_batch *b, const struct nlmsghdr *h, const struct nlmsgerr *e,
                  struct error *err)
{
    const char *text = NULL;
    uint32_t offset = 0, seq = e->msg.nlmsg_seq;
    _cleanup_strbuf_ struct strbuf what = STRBUF_INIT;
    if ((h->nlmsg_flags & NLM_F_ACK_TLVS) && (h->nlmsg_flags & NLM_F_CAPPED)) {
        const struct nlattr *attrs = (const struct nlattr *)(const void *)(e + 1);
        int len = (int)(h->nlmsg_len - NLMSG_LENGTH(sizeof(*e)));
        const struct nlattr *a = nla_find(attrs, len, NLMSGERR_ATTR_MSG);
        text = a ? nla_get_string(a) : NULL;
        a = nla_find(attrs, len, NLMSGERR_ATTR_OFFS);
        offset = a ? nla_get_u32(a) : 0;
    }
    if (seq >= 1 && seq <= b->n) {
        const struct nft_message *m = &b->messages[seq - 1];
        strbuf_addf(&what, "%s %s", m->what, m->name);
        if (strstr(m->what, "element"))
            add_key(b, m, offset, &what);
    } else {
        strbuf_adds(&what, "transaction");
    }
    return error_errno(err, e->error, "nf_tables: %s%s%s", strbuf_text(&what), text ? ": " : "",
                       text ? text : "");
}

/* Reads every answer; the first error counts. */
static int read_answers(struct nft *n, const struct nft_batch *b, struct error *err)
{
    char buffer[8192] __attribute__((aligned(NLMSG_ALIGNTO)));
    int result = 0;
    bool answered = false;
    for (;;) {
        ssize_t got = recv(n->fd, buffer, sizeof(buffer), MSG_DONTWAIT);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && errno == ENOBUFS) { /* more errors than there is room for */
            answered = true;
            result = result ? result : error_errno(err, -ENOBUFS, "nf_tables: transaction");
            continue;
        }
        if (got < 0)
            break;
        size_t len = (size_t)got;
        for (const struct nlmsghdr *h = (const struct nlmsghdr *)(const void *)buffer;
             NLMSG_OK(h, len); h = NLMSG_NEXT(h, len)) {
            const struct nlmsgerr *e = NLMSG_DATA(h);
            if (h->nlmsg_type != NLMSG_ERROR || h->nlmsg_len < NLMSG_LENGTH(sizeof(*e)))
                continue;
            answered = true;
            if (e->error && !result)
                result = report(b, h, e, err);
        }
    }
    return answered ? result : error_set(err, -EIO, "nf_tables: no answer");
}

int nft_commit(struct nft *n, struct nft_batch *b, struct error *err)
{
    nft_close(b);
    if (!b->n)
        return 0;
    put_header(&b->buf, NFNL_MSG_BATCH_END, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES, 0);
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    ssize_t sent;
    do
        sent = sendto(n->fd, b->buf.data, b->buf.len, 0, (const struct sockaddr *)&kernel,
                      sizeof(kernel));
    while (sent < 0 && errno == EINTR);
    if (sent < 0)
        return error_errno(err, -errno, "nf_tables: transaction of %zu bytes", b->buf.len);
    return read_answers(n, b, err);
}
