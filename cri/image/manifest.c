/* Manifests, indexes, platforms; see manifest.h. */
#include "cri/image/manifest.h"

#include <errno.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/digest.h"
#include "base/strbuf.h"
#include "cri/image/reference.h"

void descriptor_done(struct descriptor *d)
{
    free(d->media_type);
    free(d->digest);
    memset(d, 0, sizeof(*d));
}

void manifest_done(struct manifest *m)
{
    descriptor_done(&m->config);
    for (size_t i = 0; i < m->n_layers; i++)
        descriptor_done(&m->layers[i]);
    free(m->layers);
    memset(m, 0, sizeof(*m));
}

static bool is_index_type(const char *t)
{
    return str_eq(t, MEDIA_OCI_INDEX) || str_eq(t, MEDIA_DOCKER_LIST);
}

static bool is_manifest_type(const char *t)
{
    return str_eq(t, MEDIA_OCI_MANIFEST) || str_eq(t, MEDIA_DOCKER_MANIFEST);
}

int manifest_kind(const json_t *j, const char *content_type, enum manifest_kind *ret,
                  struct error *err)
{
    if (!json_is_object(j))
        return error_set(err, -EINVAL, "the manifest is no JSON object");
    int64_t version = json_path_int(j, "schemaVersion", 0);
    if (version == 1)
        return error_set(err, -EINVAL, "Docker image manifests of schema 1 are not supported");
    if (version != 2)
        return error_set_field(err, -EINVAL, "schemaVersion",
                               "the manifest's schemaVersion is not 2");
    bool index = json_is_array(json_object_get(j, "manifests"));
    bool image = json_is_array(json_object_get(j, "layers"));
    if (index == image)
        return error_set(err, -EINVAL, "the manifest must have either layers or manifests");
    /* A document must not be read as a manifest by one and as an index by another. */
    const char *said[] = {json_path_string(j, "mediaType"), content_type};
    for (size_t i = 0; i < ARRAY_SIZE(said); i++)
        if ((is_index_type(said[i]) && !index) || (is_manifest_type(said[i]) && !image))
            return error_set(err, -EINVAL, "the manifest's content is not of its media type %s",
                             said[i]);
    *ret = index ? MANIFEST_INDEX : MANIFEST_IMAGE;
    return 0;
}

static int parse_descriptor(const json_t *j, const char *field, struct descriptor *ret,
                            struct error *err)
{
    const char *digest = json_path_string(j, "digest");
    if (!digest_valid(digest))
        return error_set_field(err, -EINVAL, field,
                               "%s.digest must be sha256: and 64 hexadecimal digits", field);
    const json_t *size = json_object_get(j, "size");
    if (!json_is_integer(size) || json_integer_value(size) < 0)
        return error_set_field(err, -EINVAL, field, "%s.size must be a number ≥ 0", field);
    ret->digest = str_dup(digest);
    ret->size = (uint64_t)json_integer_value(size);
    ret->media_type = str_dup(json_path_string(j, "mediaType"));
    return 0;
}

/* Layers as tar, gzip or zstd: what the unpacker reads. Foreign layers (Windows) and encrypted
 * ones are refused here, with a reason, rather than as a broken archive later. */
static bool layer_type_known(const char *t)
{
    static const char *const known[] = {
        MEDIA_OCI_LAYER,
        MEDIA_OCI_LAYER "+gzip",
        MEDIA_OCI_LAYER "+zstd",
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.docker.image.rootfs.diff.tar",
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
        "application/vnd.docker.image.rootfs.diff.tar.zstd",
    };
    for (size_t i = 0; i < ARRAY_SIZE(known); i++)
        if (str_eq(t, known[i]))
            return true;
    return t == NULL;
}

static int parse_layers(const json_t *layers, struct manifest *m, struct error *err)
{
    size_t count = json_array_size(layers);
    if (count > IMAGE_MAX_LAYERS)
        return error_set_field(err, -EINVAL, "layers", "%zu layers (at most %d)", count,
                               IMAGE_MAX_LAYERS);
    m->layers = mem_zalloc((count + 1) * sizeof(*m->layers));
    for (size_t i = 0; i < count; i++) {
        _cleanup_free_ char *field = str_printf("layers[%zu]", i);
        struct descriptor *d = &m->layers[m->n_layers++];
        int r = parse_descriptor(json_array_get(layers, i), field, d, err);
        if (r)
            return r;
        if (d->size > LAYER_BYTES_MAX)
            return error_set_field(err, -EINVAL, field, "%s.size is over %llu bytes", field,
                                   LAYER_BYTES_MAX);
        if (!layer_type_known(d->media_type))
            return error_set_field(err, -EINVAL, field, "%s.mediaType %s is not supported", field,
                                   d->media_type);
    }
    return 0;
}

int manifest_parse(const json_t *j, struct manifest *ret, struct error *err)
{
    memset(ret, 0, sizeof(*ret));
    const json_t *layers = json_object_get(j, "layers");
    if (!json_is_array(layers))
        return error_set_field(err, -EINVAL, "layers", "the manifest has no layers");
    int r = parse_descriptor(json_object_get(j, "config"), "config", &ret->config, err);
    if (!r && ret->config.size > MANIFEST_BYTES_MAX)
        r = error_set_field(err, -EINVAL, "config.size", "config.size is over %u bytes",
                            MANIFEST_BYTES_MAX);
    if (!r)
        r = parse_layers(layers, ret, err);
    if (r)
        manifest_done(ret);
    return r;
}

json_t *descriptor_json(const char *media_type, const char *digest, uint64_t size)
{
    json_t *d = json_object();
    (void)json_object_set_new(d, "mediaType", json_text(media_type));
    (void)json_object_set_new(d, "digest", json_text(digest));
    (void)json_object_set_new(d, "size", json_integer((json_int_t)size));
    return d;
}

void manifest_write(const char *config_digest, uint64_t config_size, json_t *layers,
                    struct strbuf *ret, char ret_digest[IMAGE_ID_MAX])
{
    _cleanup_json_ json_t *j = json_object();
    char hex[SHA256_HEX_LEN + 1];
    (void)json_object_set_new(j, "schemaVersion", json_integer(2));
    (void)json_object_set_new(j, "mediaType", json_text(MEDIA_OCI_MANIFEST));
    (void)json_object_set_new(j, "config",
                              descriptor_json(MEDIA_OCI_CONFIG, config_digest, config_size));
    (void)json_object_set(j, "layers", layers);
    json_encode(j, ret);
    sha256_hex(ret->data, ret->len, hex);
    (void)snprintf(ret_digest, IMAGE_ID_MAX, "sha256:%s", hex);
}

/* ---- platforms ---- */

/* GOARCH names for what uname() says. */
struct platform platform_host(void)
{
    static const struct {
        const char *machine, *architecture, *variant;
    } known[] = {
        {"x86_64", "amd64", NULL}, {"aarch64", "arm64", "v8"},   {"armv7l", "arm", "v7"},
        {"armv6l", "arm", "v6"},   {"armv8l", "arm", "v7"},      {"i386", "386", NULL},
        {"i686", "386", NULL},     {"riscv64", "riscv64", NULL}, {"ppc64le", "ppc64le", NULL},
        {"s390x", "s390x", NULL},  {"mips64", "mips64le", NULL},
    };
    struct platform p = {"linux", NULL, NULL};
    struct utsname u;
    if (uname(&u) < 0)
        return p;
    for (size_t i = 0; i < ARRAY_SIZE(known); i++)
        if (str_eq(u.machine, known[i].machine)) {
            p.architecture = known[i].architecture;
            p.variant = known[i].variant;
        }
    /* A 32-bit userland on a 64-bit kernel runs 32-bit images. */
    if (sizeof(void *) == 4 && str_eq(p.architecture, "amd64"))
        p.architecture = "386";
    if (sizeof(void *) == 4 && str_eq(p.architecture, "arm64")) {
        p.architecture = "arm";
        p.variant = "v7";
    }
    return p;
}

static bool given(const char *s)
{
    return s && *s;
}

static int variant_number(const char *v, int fallback)
{
    return given(v) && v[0] == 'v' && v[1] >= '0' && v[1] <= '9' ? v[1] - '0' : fallback;
}

int platform_match(const struct platform *host, const struct platform *image)
{
    if (given(image->os) && !str_eq(image->os, host->os))
        return 0;
    if (!given(image->architecture))
        return 1;
    if (!str_eq(image->architecture, host->architecture)) {
        /* An amd64 kernel runs 386 programs; better than nothing. */
        return str_eq(host->architecture, "amd64") && str_eq(image->architecture, "386") ? 2 : 0;
    }
    if (str_eq(image->architecture, "arm")) {
        int have = variant_number(host->variant, 7), need = variant_number(image->variant, 7);
        return need > have ? 0 : 10 + need;
    }
    if (str_eq(image->architecture, "arm64"))
        return variant_number(image->variant, 8) > 8 ? 0 : 10;
    /* amd64 levels: v1 (or none) runs everywhere; a higher level is not assumed. */
    return variant_number(image->variant, 1) > 1 ? 0 : 10;
}

static const char *known_or_null(const char *s)
{
    return str_eq(s, "unknown") ? "?" : s; /* attestations: never chosen */
}

int index_select(const json_t *j, const struct platform *host, struct descriptor *ret,
                 struct error *err)
{
    const json_t *list = json_object_get(j, "manifests");
    size_t count = json_array_size(list);
    if (count > INDEX_ENTRIES_MAX)
        return error_set_field(err, -EINVAL, "manifests", "%zu manifests (at most %d)", count,
                               INDEX_ENTRIES_MAX);
    const json_t *best = NULL;
    int best_score = 0;
    _cleanup_strbuf_ struct strbuf seen = STRBUF_INIT;
    for (size_t i = 0; i < count; i++) {
        const json_t *e = json_array_get(list, i);
        struct platform p = {
            .os = known_or_null(json_path_string(e, "platform.os")),
            .architecture = known_or_null(json_path_string(e, "platform.architecture")),
            .variant = json_path_string(e, "platform.variant"),
        };
        int score = platform_match(host, &p);
        if (score > best_score) {
            best = e;
            best_score = score;
        }
        if (seen.len < 300)
            strbuf_addf(&seen, "%s%s/%s", seen.len ? ", " : "", p.os ? p.os : "?",
                        p.architecture ? p.architecture : "?");
    }
    if (!best)
        return error_set(err, -ENOENT, "no image for %s/%s in it, only: %s", host->os,
                         host->architecture ? host->architecture : "this machine",
                         seen.len ? seen.data : "none at all");
    return parse_descriptor(best, "manifests", ret, err);
}

void chain_ids(char *const *diff_ids, size_t count, char (*ret)[IMAGE_ID_MAX])
{
    for (size_t i = 0; i < count; i++) {
        if (i == 0) {
            (void)snprintf(ret[0], IMAGE_ID_MAX, "%s", diff_ids[0]);
            continue;
        }
        char both[2 * IMAGE_ID_MAX + 1];
        char hex[SHA256_HEX_LEN + 1];
        int n = snprintf(both, sizeof(both), "%s %s", ret[i - 1], diff_ids[i]);
        sha256_hex(both, (size_t)n, hex);
        (void)snprintf(ret[i], IMAGE_ID_MAX, "sha256:%s", hex);
    }
}
