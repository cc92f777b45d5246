/* Range, put, delete, transactions, compaction, status: requests from structures and back. */
#include <errno.h>

#include "etcd-client/etcd_internal.h"

#define OPS_MAX 1024

/* ---- ranges of keys ---- */
size_t etcd_prefix_end(struct etcd_bytes prefix, void *out)
{
    uint8_t *bytes = out;
    size_t len = prefix.len;
    if (len > 0)
        memcpy(bytes, prefix.data, len);
    while (len > 0 && bytes[len - 1] == 0xff)
        len--;
    if (len == 0) {
        bytes[0] = 0; /* to the end of all keys */
        return 1;
    }
    bytes[len - 1]++;
    return len;
}

ProtobufCBinaryData etcd_range_end(struct etcd_bytes key, bool prefix, struct etcd_bytes end,
                                   void **buf)
{
    *buf = NULL;
    if (!prefix)
        return etcd_data(end);
    *buf = mem_zalloc(key.len + 1);
    return (ProtobufCBinaryData){etcd_prefix_end(key, *buf), *buf};
}

ProtobufCBinaryData etcd_range_key(struct etcd_bytes key, bool prefix)
{
    static const uint8_t first = 0;
    if (prefix && key.len == 0)
        return etcd_data((struct etcd_bytes){&first, 1});
    return etcd_data(key);
}

/* ---- from protobuf ---- */
void etcd_reply_header(struct etcd_reply *reply, const Etcdserverpb__ResponseHeader *header)
{
    if (!header)
        return;
    reply->cluster_id = header->cluster_id;
    reply->member_id = header->member_id;
    reply->revision = header->revision;
}

void etcd_kv_from(struct etcd_kv *out, const Etcdserverpb__KeyValue *in)
{
    *out = (struct etcd_kv){
        .key = {in->key.data ? in->key.data : (const void *)"", in->key.len},
        .value = {in->value.data, in->value.len},
        .create_revision = in->create_revision,
        .mod_revision = in->mod_revision,
        .version = in->version,
        .lease = in->lease,
    };
}

static int kvs_from(struct etcd_reply *reply, size_t n, Etcdserverpb__KeyValue *const *in)
{
    if (n == 0)
        return 0;
    struct etcd_kv *kvs = calloc(n, sizeof(*kvs));
    if (!kvs)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++)
        etcd_kv_from(&kvs[i], in[i]);
    reply->kvs = kvs;
    reply->n = n;
    return 0;
}

void etcd_reply_done(struct etcd_reply *reply)
{
    union { /* the caller sees them as const; they are ours */
        const void *in;
        void *out;
    } kvs = {.in = reply->kvs}, responses = {.in = reply->responses};
    struct etcd_reply *r = responses.out;
    for (size_t i = 0; i < reply->n_responses; i++)
        etcd_reply_done(&r[i]);
    free(r);
    free(kvs.out);
}

static int parse_range(const ProtobufCMessage *response, struct etcd_reply *reply)
{
    const Etcdserverpb__RangeResponse *r = (const void *)response;
    etcd_reply_header(reply, r->header);
    reply->more = r->more;
    reply->count = r->count;
    return kvs_from(reply, r->n_kvs, r->kvs);
}

static int parse_put(const ProtobufCMessage *response, struct etcd_reply *reply)
{
    const Etcdserverpb__PutResponse *r = (const void *)response;
    etcd_reply_header(reply, r->header);
    Etcdserverpb__KeyValue *const prev[] = {r->prev_kv};
    return r->prev_kv ? kvs_from(reply, 1, prev) : 0;
}

static int parse_delete(const ProtobufCMessage *response, struct etcd_reply *reply)
{
    const Etcdserverpb__DeleteRangeResponse *r = (const void *)response;
    etcd_reply_header(reply, r->header);
    reply->count = r->deleted;
    return kvs_from(reply, r->n_prev_kvs, r->prev_kvs);
}

static int parse_txn(const ProtobufCMessage *response, struct etcd_reply *reply)
{
    const Etcdserverpb__TxnResponse *t = (const void *)response;
    etcd_reply_header(reply, t->header);
    reply->succeeded = t->succeeded;
    if (t->n_responses == 0)
        return 0;
    struct etcd_reply *responses = calloc(t->n_responses, sizeof(*responses));
    if (!responses)
        return -ENOMEM;
    reply->responses = responses;
    reply->n_responses = t->n_responses;
    for (size_t i = 0; i < t->n_responses; i++) {
        const Etcdserverpb__ResponseOp *op = t->responses[i];
        int r;
        switch (op->response_case) {
        case ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE:
            r = parse_range(&op->response_range->base, &responses[i]);
            break;
        case ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_PUT:
            r = parse_put(&op->response_put->base, &responses[i]);
            break;
        case ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_DELETE_RANGE:
            r = parse_delete(&op->response_delete_range->base, &responses[i]);
            break;
        default:
            r = -EIO;
            break;
        }
        if (r < 0)
            return r;
    }
    return 0;
}

static int parse_compact(const ProtobufCMessage *response, struct etcd_reply *reply)
{
    const Etcdserverpb__CompactionResponse *r = (const void *)response;
    etcd_reply_header(reply, r->header);
    return 0;
}

static int parse_status(const ProtobufCMessage *response, struct etcd_reply *reply)
{
    const Etcdserverpb__StatusResponse *r = (const void *)response;
    etcd_reply_header(reply, r->header);
    reply->version = r->version;
    reply->db_size = r->dbsize;
    reply->leader = r->leader;
    return 0;
}

static const struct etcd_method
    range_method = {{"/etcdserverpb.KV/Range", &etcdserverpb__range_response__descriptor},
                    parse_range},
    put_method = {{"/etcdserverpb.KV/Put", &etcdserverpb__put_response__descriptor}, parse_put},
    delete_method = {{"/etcdserverpb.KV/DeleteRange",
                      &etcdserverpb__delete_range_response__descriptor},
                     parse_delete},
    txn_method = {{"/etcdserverpb.KV/Txn", &etcdserverpb__txn_response__descriptor}, parse_txn},
    compact_method = {{"/etcdserverpb.KV/Compact", &etcdserverpb__compaction_response__descriptor},
                      parse_compact},
    status_method = {
        {"/etcdserverpb.Maintenance/Status", &etcdserverpb__status_response__descriptor},
        parse_status};

/* ---- to protobuf; @buf is what has to be freed after encoding ---- */
static Etcdserverpb__RangeRequest to_range(const struct etcd_range *range, void **buf)
{
    Etcdserverpb__RangeRequest out = ETCDSERVERPB__RANGE_REQUEST__INIT;
    out.key = etcd_range_key(range->key, range->prefix);
    out.range_end = etcd_range_end(range->key, range->prefix, range->end, buf);
    out.limit = range->limit;
    out.revision = range->revision;
    out.sort_order = (Etcdserverpb__RangeRequest__SortOrder)range->order;
    out.sort_target = (Etcdserverpb__RangeRequest__SortTarget)range->target;
    out.serializable = range->serializable;
    out.keys_only = range->keys_only;
    out.count_only = range->count_only;
    out.min_mod_revision = range->min_mod_revision;
    out.max_mod_revision = range->max_mod_revision;
    out.min_create_revision = range->min_create_revision;
    out.max_create_revision = range->max_create_revision;
    return out;
}

static Etcdserverpb__PutRequest to_put(const struct etcd_put *put)
{
    Etcdserverpb__PutRequest out = ETCDSERVERPB__PUT_REQUEST__INIT;
    out.key = etcd_data(put->key);
    out.value = etcd_data(put->value);
    out.lease = put->lease;
    out.prev_kv = put->prev;
    out.ignore_value = put->ignore_value;
    out.ignore_lease = put->ignore_lease;
    return out;
}

static Etcdserverpb__DeleteRangeRequest to_delete(const struct etcd_delete *del, void **buf)
{
    Etcdserverpb__DeleteRangeRequest out = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    out.key = etcd_range_key(del->key, del->prefix);
    out.range_end = etcd_range_end(del->key, del->prefix, del->end, buf);
    out.prev_kv = del->prev;
    return out;
}

struct etcd_call *etcd_range(struct etcd *etcd, const struct etcd_range *range,
                             uint64_t deadline_ms, etcd_reply_fn *cb, void *arg)
{
    _cleanup_free_ void *buf = NULL;
    Etcdserverpb__RangeRequest request = to_range(range, &buf);
    return etcd_call_new(etcd, &range_method, &request.base, true, deadline_ms, cb, arg);
}

struct etcd_call *etcd_put(struct etcd *etcd, const struct etcd_put *put, uint64_t deadline_ms,
                           etcd_reply_fn *cb, void *arg)
{
    Etcdserverpb__PutRequest request = to_put(put);
    return etcd_call_new(etcd, &put_method, &request.base, false, deadline_ms, cb, arg);
}

struct etcd_call *etcd_delete(struct etcd *etcd, const struct etcd_delete *del,
                              uint64_t deadline_ms, etcd_reply_fn *cb, void *arg)
{
    _cleanup_free_ void *buf = NULL;
    Etcdserverpb__DeleteRangeRequest request = to_delete(del, &buf);
    return etcd_call_new(etcd, &delete_method, &request.base, false, deadline_ms, cb, arg);
}

/* ---- transactions ---- */
/* The protobuf form of one operation, in place. */
struct txn_op {
    Etcdserverpb__RequestOp op;
    union {
        Etcdserverpb__RangeRequest range;
        Etcdserverpb__PutRequest put;
        Etcdserverpb__DeleteRangeRequest del;
    };
    void *buf;
};

static Etcdserverpb__RequestOp **to_ops(const struct etcd_op *ops, size_t n, struct txn_op **ret)
{
    Etcdserverpb__RequestOp **out = mem_zalloc((n + 1) * sizeof(Etcdserverpb__RequestOp *));
    struct txn_op *t = mem_zalloc((n + 1) * sizeof(*t));
    for (size_t i = 0; i < n; i++) {
        etcdserverpb__request_op__init(&t[i].op);
        switch (ops[i].kind) {
        case ETCD_OP_RANGE:
            t[i].range = to_range(&ops[i].range, &t[i].buf);
            t[i].op.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
            t[i].op.request_range = &t[i].range;
            break;
        case ETCD_OP_PUT:
            t[i].put = to_put(&ops[i].put);
            t[i].op.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
            t[i].op.request_put = &t[i].put;
            break;
        case ETCD_OP_DELETE:
            t[i].del = to_delete(&ops[i].del, &t[i].buf);
            t[i].op.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
            t[i].op.request_delete_range = &t[i].del;
            break;
        }
        out[i] = &t[i].op;
    }
    *ret = t;
    return out;
}

static void ops_done(Etcdserverpb__RequestOp **ops, struct txn_op *t, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free(t[i].buf);
    free(t);
    free(ops);
}

static Etcdserverpb__Compare **to_compares(const struct etcd_compare *compares, size_t n,
                                           Etcdserverpb__Compare **ret)
{
    Etcdserverpb__Compare **out = mem_zalloc((n + 1) * sizeof(Etcdserverpb__Compare *));
    Etcdserverpb__Compare *c = mem_zalloc((n + 1) * sizeof(*c));
    for (size_t i = 0; i < n; i++) {
        etcdserverpb__compare__init(&c[i]);
        c[i].result = (Etcdserverpb__Compare__CompareResult)compares[i].result;
        c[i].target = (Etcdserverpb__Compare__CompareTarget)compares[i].target;
        c[i].key = etcd_data(compares[i].key);
        c[i].range_end = etcd_data(compares[i].end);
        switch (compares[i].target) {
        case ETCD_VERSION:
            c[i].target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_VERSION;
            c[i].version = compares[i].number;
            break;
        case ETCD_CREATE:
            c[i].target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_CREATE_REVISION;
            c[i].create_revision = compares[i].number;
            break;
        case ETCD_MOD:
            c[i].target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION;
            c[i].mod_revision = compares[i].number;
            break;
        case ETCD_VALUE:
            c[i].target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_VALUE;
            c[i].value = etcd_data(compares[i].value);
            break;
        case ETCD_LEASE:
            c[i].target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_LEASE;
            c[i].lease = compares[i].number;
            break;
        }
        out[i] = &c[i];
    }
    *ret = c;
    return out;
}

static bool writes(const struct etcd_op *ops, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (ops[i].kind != ETCD_OP_RANGE)
            return true;
    return false;
}

struct etcd_call *etcd_txn(struct etcd *etcd, const struct etcd_txn *txn, uint64_t deadline_ms,
                           etcd_reply_fn *cb, void *arg)
{
    Etcdserverpb__TxnRequest request = ETCDSERVERPB__TXN_REQUEST__INIT;
    Etcdserverpb__Compare *compares;
    struct txn_op *success, *failure;
    request.n_compare = txn->n_compares;
    request.compare = to_compares(txn->compares, txn->n_compares, &compares);
    request.n_success = txn->n_success;
    request.success = to_ops(txn->success, txn->n_success, &success);
    request.n_failure = txn->n_failure;
    request.failure = to_ops(txn->failure, txn->n_failure, &failure);
    bool repeatable =
        !writes(txn->success, txn->n_success) && !writes(txn->failure, txn->n_failure);
    struct etcd_call *call =
        etcd_call_new(etcd, &txn_method, &request.base, repeatable, deadline_ms, cb, arg);
    ops_done(request.success, success, txn->n_success);
    ops_done(request.failure, failure, txn->n_failure);
    free(compares);
    free(request.compare);
    return call;
}

struct etcd_call *etcd_compact(struct etcd *etcd, int64_t revision, bool physical,
                               uint64_t deadline_ms, etcd_reply_fn *cb, void *arg)
{
    Etcdserverpb__CompactionRequest request = ETCDSERVERPB__COMPACTION_REQUEST__INIT;
    request.revision = revision;
    request.physical = physical;
    return etcd_call_new(etcd, &compact_method, &request.base, true, deadline_ms, cb, arg);
}

struct etcd_call *etcd_status(struct etcd *etcd, uint64_t deadline_ms, etcd_reply_fn *cb, void *arg)
{
    Etcdserverpb__StatusRequest request = ETCDSERVERPB__STATUS_REQUEST__INIT;
    return etcd_call_new(etcd, &status_method, &request.base, true, deadline_ms, cb, arg);
}
