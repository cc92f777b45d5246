/* subnet.env; see subnet_file.h. */
#include "flannel/subnet_file.h"

#include <errno.h>
#include <string.h>

#include "base/fs.h"
#include "base/json.h"

#define RECORD_MAX 8192

static struct ip_prefix first_host(const struct ip_prefix *subnet)
{
    struct ip_prefix p = *subnet;
    for (size_t i = ip_addr_size(&p.addr); i-- > 0 && !++p.addr.bytes[i];)
        ;
    return p;
}

void subnet_file_format(const struct flannel_config *c, const struct ip_prefix subnet[N_FAMILIES],
                        int mtu, bool ip_masq, struct strbuf *out)
{
    char text[IP_TEXT_MAX];
    for (int i = 0; i < N_FAMILIES; i++) {
        const char *family = i == V4 ? "" : "IPV6_";
        struct ip_prefix first = first_host(&subnet[i]);
        if (!c->on[i])
            continue;
        strbuf_addf(out, "FLANNEL_%sNETWORK=%s\n", family, ip_prefix_format(&c->network[i], text));
        strbuf_addf(out, "FLANNEL_%sSUBNET=%s\n", family, ip_prefix_format(&first, text));
    }
    strbuf_addf(out, "FLANNEL_MTU=%d\n", mtu);
    strbuf_addf(out, "FLANNEL_IPMASQ=%s\n", ip_masq ? "true" : "false");
}

static int make_parent(const char *path, struct error *err)
{
    const char *slash = strrchr(path, '/');
    _cleanup_free_ char *dir =
        slash && slash > path ? str_ndup(path, (size_t)(slash - path)) : NULL;
    return dir ? fs_mkdirs(dir, 0755, err) : 0;
}

static int write_record(const char *record, const char *path, struct error *err)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    _cleanup_json_ json_t *j = json_pack("{s:s}", "subnetFile", path);
    if (!j)
        return error_set(err, -EINVAL, "%s: no UTF-8", path);
    json_encode(j, &text);
    int r = make_parent(record, err);
    return r < 0 ? r : fs_write_atomic(record, text.data, text.len, 0600, FS_VOLATILE, err);
}

int subnet_file_write(const char *path, const char *record, const struct strbuf *content,
                      struct error *err)
{
    _cleanup_strbuf_ struct strbuf is = STRBUF_INIT;
    if (fs_exists(record) && fs_read(path, 2 * content->len, &is, NULL) == 0 &&
        str_eq(strbuf_text(&is), strbuf_text(content)))
        return 0;
    int r = write_record(record, path, err);
    if (r == 0)
        r = make_parent(path, err);
    return r < 0 ? r : fs_write_atomic(path, content->data, content->len, 0644, FS_VOLATILE, err);
}

int subnet_file_cleanup(const char *record, struct error *err)
{
    if (!fs_exists(record))
        return 0;
    _cleanup_json_ json_t *j = json_parse_file(record, RECORD_MAX, err);
    const char *path = json_path_string(j, "subnetFile");
    if (!path)
        return error_set(err, -EINVAL, "%s: names no file", record);
    if (unlink(path) < 0 && errno != ENOENT)
        return error_errno(err, -errno, "%s", path);
    _cleanup_free_ char *dir = str_ndup(path, (size_t)(strrchr(path, '/') - path));
    (void)rmdir(dir); /* of no use when it is empty; another's when it is not */
    return unlink(record) < 0 ? error_errno(err, -errno, "%s", record) : 0;
}
