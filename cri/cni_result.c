/* What CNI plugins answer; see cni_result.h. */
#include "cri/cni_result.h"

#include <errno.h>
#include <string.h>

#define ERROR_MAX 700 /* of a plugin's text, in our message */

static bool is_old(const char *version)
{
    return version[0] == '0';
}

/* Before 1.0 each address tells its family. */
static void convert_ips(json_t *result, bool to_old)
{
    size_t i;
    json_t *ip;
    json_array_foreach(json_object_get(result, "ips"), i, ip) {
        const char *address = json_path_string(ip, "address");
        if (!to_old)
            (void)json_object_del(ip, "version");
        else if (address && json_is_object(ip))
            (void)json_object_set_new(ip, "version", json_string(strchr(address, ':') ? "6" : "4"));
    }
}

json_t *cni_result_parse(const char *data, size_t len, const char *version, struct error *err)
{
    _cleanup_json_ json_t *j = json_parse(data, len, err);
    if (!j)
        return NULL;
    if (!json_is_object(j)) {
        (void)error_set(err, -EINVAL, "the result is no JSON object");
        return NULL;
    }
    const char *theirs = json_path_string(j, "cniVersion");
    const json_t *ips = json_object_get(j, "ips");
    if (ips && !json_is_array(ips) && !json_is_null(ips)) {
        (void)error_set_field(err, -EINVAL, "ips", "ips: is no list");
        return NULL;
    }
    if (json_array_size(ips) > CNI_IPS_MAX) {
        (void)error_set_field(err, -EINVAL, "ips", "ips: more than %d", CNI_IPS_MAX);
        return NULL;
    }
    if (theirs && *theirs && is_old(theirs) != is_old(version))
        convert_ips(j, is_old(version));
    (void)json_object_set_new(j, "cniVersion", json_string(version));
    return TAKE_PTR(j);
}

/* Whether an address is for the pod's interface. One that names no interface is. */
static int concerns(const json_t *result, const json_t *ip, size_t i, const char *ifname,
                    struct error *err)
{
    const json_t *index = json_path(ip, "interface");
    const json_t *interfaces = json_path(result, "interfaces");
    if (!index || json_is_null(index))
        return true;
    json_int_t n = json_is_integer(index) ? json_integer_value(index) : -1;
    if (n < 0 || (size_t)n >= json_array_size(interfaces))
        return error_set_field(err, -EINVAL, "ips", "ips[%zu].interface: is not in interfaces", i);
    const json_t *interface = json_array_get(interfaces, (size_t)n);
    const char *sandbox = json_path_string(interface, "sandbox");
    return sandbox && *sandbox && str_eq(json_path_string(interface, "name"), ifname);
}

int cni_result_addresses(const json_t *result, const char *ifname, struct ip_addr *ret, size_t max,
                         struct error *err)
{
    const json_t *ips = json_path(result, "ips");
    size_t n = 0;
    for (size_t i = 0; i < json_array_size(ips) && n < max; i++) {
        const json_t *ip = json_array_get(ips, i);
        const char *address = json_path_string(ip, "address");
        struct ip_prefix p;
        int r = concerns(result, ip, i, ifname, err);
        if (r < 0)
            return r;
        if (r == 0)
            continue;
        if (!address || ip_prefix_parse(address, &p) < 0)
            return error_set_field(err, -EINVAL, "ips", "ips[%zu].address: \"%.60s\" is no prefix",
                                   i, address ? address : "");
        ret[n++] = p.addr;
    }
    return n ? (int)n
             : error_set_field(err, -EINVAL, "ips", "ips: there is no address for %s", ifname);
}

/* The text in one line, without what would break a log. */
static void one_line(const char *text, char *out, size_t size)
{
    size_t n = 0;
    for (; *text && n + 1 < size; text++)
        out[n++] = (char)((unsigned char)*text < ' ' ? ' ' : *text);
    while (n && out[n - 1] == ' ')
        n--;
    out[n] = '\0';
}

int cni_result_error(const struct process_result *result, const char *command, const char *type,
                     struct error *err)
{
    char text[ERROR_MAX];
    _cleanup_free_ char *program = str_printf("CNI plugin %s (%s)", type, command);
    if (result->timed_out || result->status == 0) {
        if (result->status == 0 && result->truncated)
            return error_set(err, -EFBIG, "%s: more than %u bytes of output", program,
                             CNI_OUTPUT_MAX);
        return process_result_error(result, program, err);
    }
    _cleanup_json_ json_t *j = json_parse(strbuf_text(result->out), result->out->len, NULL);
    const char *msg = json_path_string(j, "msg"), *details = json_path_string(j, "details");
    if (msg && !*msg)
        msg = NULL;
    if (details && !*details)
        details = NULL;
    if (!msg && !details) {
        if (result->err->len || !result->out->len)
            return process_result_error(result, program, err);
        one_line(strbuf_text(result->out), text, sizeof(text));
        return error_set(err, -EIO, "%s: %s", program, text);
    }
    _cleanup_free_ char *said =
        msg && details ? str_printf("%s: %s", msg, details) : str_dup(msg ? msg : details);
    one_line(said, text, sizeof(text));
    return error_set(err, -EIO, "%s: %s", program, text);
}
