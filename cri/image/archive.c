/* Image archives; see archive.h. Blobs are found by the digest of what they hold, never by their
 * names; whatever is read here is digested again. */
#include "cri/image/archive.h"

#include <errno.h>
#include <string.h>

#include "base/digest.h"
#include "base/fs.h"
#include "cri/image/manifest.h"
#include "cri/image/reference.h"

#define LINKS_MAX 8

struct reader {
    const char *dir, *name;
    struct map by_name;   /* member's name → its JSON object */
    struct map by_digest; /* likewise */
    struct archive *archive;
};

void archive_done(struct archive *archive)
{
    for (size_t i = 0; i < archive->n_images; i++) {
        struct archive_image *image = &archive->images[i];
        strbuf_done(&image->manifest);
        strbuf_done(&image->config);
        for (size_t k = 0; k < image->n_layers; k++)
            free(image->layers[k].file);
        free(image->layers);
        (void)image_strings_free(image->names);
    }
    free(archive->images);
    memset(archive, 0, sizeof(*archive));
}

static struct archive_image *add_image(struct archive *archive)
{
    archive->images =
        mem_grow(archive->images, archive->n_images + 1, sizeof(struct archive_image));
    struct archive_image *image = &archive->images[archive->n_images++];
    memset(image, 0, sizeof(*image));
    image->names = mem_zalloc(sizeof(char *));
    return image;
}

static char *member_path(const struct reader *r, const json_t *member)
{
    const char *file = json_path_string(member, "file");
    return file && !strchr(file, '/') ? fs_join(r->dir, file) : NULL;
}

/* Reads a small member. @digest, when not NULL, must be that of its bytes. */
static int read_member(const struct reader *r, const json_t *member, const char *what,
                       const char *digest, struct strbuf *out, struct error *err)
{
    _cleanup_free_ char *path = member_path(r, member);
    if (!path)
        return error_set(err, -EINVAL, "the archive has no %s", what);
    struct error why = ERROR_INIT;
    int code = fs_read(path, MANIFEST_BYTES_MAX, out, &why);
    if (code)
        return error_set(err, code, "%s: %s", what,
                         code == -EFBIG ? "too large" : error_text(&why));
    char hex[SHA256_HEX_LEN + 1];
    sha256_hex(strbuf_text(out), out->len, hex);
    if (digest && !str_eq(hex, digest_digits(digest)))
        return error_set(err, -EINVAL, "%s does not have the digest %s", what, digest);
    return 0;
}

static json_t *read_json(const struct reader *r, const json_t *member, const char *what,
                         const char *digest, struct strbuf *out, struct error *err)
{
    if (read_member(r, member, what, digest, out, err))
        return NULL;
    json_t *j = json_parse(strbuf_text(out), out->len, err);
    if (!j)
        (void)error_prefix(err, -EINVAL, "%s", what);
    return j;
}

static void add_name(struct archive_image *image, char *name)
{
    size_t n = 0;
    while (image->names[n])
        n++;
    image->names = mem_grow(image->names, n + 2, sizeof(char *));
    image->names[n] = name;
    image->names[n + 1] = NULL;
}

/* Adds what @text names: the tag, and for a registry's own manifest the digest. */
static int add_reference(struct archive_image *image, const char *text, bool with_digest,
                         struct error *err)
{
    struct image_reference ref;
    int r = image_reference_parse(text, &ref, err);
    if (r)
        return r;
    if (ref.tag)
        add_name(image, image_reference_tagged(&ref));
    if (with_digest)
        add_name(image, image_reference_with_digest(&ref, image->manifest_digest));
    image_reference_done(&ref);
    return 0;
}

static int add_layer(const struct reader *r, struct archive_image *image, const json_t *member,
                     uint64_t size, const char *what, struct error *err)
{
    _cleanup_free_ char *path = member_path(r, member);
    if (!path)
        return error_set(err, -EINVAL, "the archive has no layer %s", what);
    if ((uint64_t)json_path_int(member, "size", -1) != size)
        return error_set(err, -EINVAL, "layer %s has another size than its manifest says", what);
    image->layers = mem_grow(image->layers, image->n_layers + 1, sizeof(struct archive_layer));
    image->layers[image->n_layers++] = (struct archive_layer){.file = TAKE_PTR(path), .size = size};
    return 0;
}

/* ---- OCI image layout ---- */

/* An image's own name: a full one, or only a tag, which needs the caller's name. */
static int name_oci_image(const struct reader *r, const json_t *entry, struct archive_image *image,
                          bool single, struct error *err)
{
    const json_t *a = json_object_get(entry, "annotations");
    const char *full = json_string_value(json_object_get(a, "io.containerd.image.name"));
    const char *ref = json_string_value(json_object_get(a, "org.opencontainers.image.ref.name"));
    if (!full && ref && (strchr(ref, '/') || strchr(ref, ':')))
        full = ref;
    if (!full && single && r->name && *r->name)
        full = r->name;
    return full ? add_reference(image, full, true, err) : 0;
}

static int read_manifest(const struct reader *r, const json_t *j, struct archive_image *image,
                         struct error *err)
{
    struct manifest m;
    int code = manifest_parse(j, &m, err);
    if (code)
        return code;
    (void)snprintf(image->config_digest, IMAGE_ID_MAX, "%s", m.config.digest);
    code = read_member(r, map_get(&r->by_digest, m.config.digest), "image config", m.config.digest,
                       &image->config, err);
    for (size_t i = 0; i < m.n_layers && !code; i++)
        code = add_layer(r, image, map_get(&r->by_digest, m.layers[i].digest), m.layers[i].size,
                         m.layers[i].digest, err);
    manifest_done(&m);
    return code;
}

/* One entry of index.json; through at most one nested index. */
static int read_oci_entry(struct reader *r, const json_t *entry, bool single, struct error *err)
{
    char digest[IMAGE_ID_MAX];
    if (!digest_valid(json_path_string(entry, "digest")))
        return error_set(err, -EINVAL, "index.json: an entry without a sha256 digest");
    (void)snprintf(digest, sizeof(digest), "%s", json_path_string(entry, "digest"));
    struct platform host = platform_host();
    for (int depth = 0; depth < 3; depth++) {
        _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
        _cleanup_json_ json_t *j =
            read_json(r, map_get(&r->by_digest, digest), "manifest", digest, &text, err);
        enum manifest_kind kind;
        int code = j ? manifest_kind(j, NULL, &kind, err) : -EINVAL;
        if (code)
            return code;
        if (kind == MANIFEST_INDEX) {
            struct descriptor d = {.digest = NULL};
            if ((code = index_select(j, &host, &d, err)))
                return code;
            (void)snprintf(digest, sizeof(digest), "%s", d.digest);
            descriptor_done(&d);
            continue;
        }
        struct archive_image *image = add_image(r->archive);
        memcpy(image->manifest_digest, digest, IMAGE_ID_MAX);
        strbuf_add(&image->manifest, text.data, text.len);
        if ((code = read_manifest(r, j, image, err)))
            return code;
        return name_oci_image(r, entry, image, single, err);
    }
    return error_set(err, -EINVAL, "indexes within indexes");
}

static bool for_this_machine(const json_t *entry)
{
    struct platform host = platform_host();
    struct platform p = {json_path_string(entry, "platform.os"),
                         json_path_string(entry, "platform.architecture"),
                         json_path_string(entry, "platform.variant")};
    return platform_match(&host, &p) > 0;
}

static int read_oci(struct reader *r, const json_t *member, struct error *err)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    _cleanup_json_ json_t *j = read_json(r, member, "index.json", NULL, &text, err);
    if (!j)
        return -EINVAL;
    const json_t *list = json_object_get(j, "manifests");
    size_t count = json_array_size(list), fit = 0;
    if (!json_is_array(list) || count > ARCHIVE_IMAGES_MAX)
        return error_set(err, -EINVAL, "index.json must list at most %d manifests",
                         ARCHIVE_IMAGES_MAX);
    for (size_t i = 0; i < count; i++)
        fit += for_this_machine(json_array_get(list, i));
    for (size_t i = 0; i < count; i++) {
        const json_t *entry = json_array_get(list, i);
        int code = for_this_machine(entry) ? read_oci_entry(r, entry, fit == 1, err) : 0;
        if (code)
            return code;
    }
    return 0;
}

/* ---- docker save ---- */

/* The member behind symbolic or hard links ("../<id>/layer.tar"). */
static const json_t *follow(const struct reader *r, const char *name)
{
    _cleanup_free_ char *at = str_dup(name);
    for (int i = 0; at && i < LINKS_MAX; i++) {
        const json_t *member = map_get(&r->by_name, at);
        const char *link = json_path_string(member, "link");
        if (!link)
            return member;
        char *slash = strrchr(at, '/');
        char *next = NULL;
        if (map_has(&r->by_name, link))
            next = str_dup(link); /* a hard link's target is a name in the archive */
        else if (str_starts(link, "../") && slash && strchr(at, '/') == slash)
            next = str_dup(link + 3); /* what docker writes: one directory deep */
        free(at);
        at = next;
    }
    return NULL;
}

static int read_docker_image(struct reader *r, const json_t *entry, bool single, struct error *err)
{
    const char *config = json_path_string(entry, "Config");
    const json_t *list = json_object_get(entry, "Layers");
    if (!config || !json_is_array(list) || json_array_size(list) > IMAGE_MAX_LAYERS)
        return error_set(err, -EINVAL,
                         "manifest.json: an image needs Config and Layers (at most %d)",
                         IMAGE_MAX_LAYERS);
    struct archive_image *image = add_image(r->archive);
    int code = read_member(r, follow(r, config), "image config", NULL, &image->config, err);
    if (code)
        return code;
    char hex[SHA256_HEX_LEN + 1];
    sha256_hex(strbuf_text(&image->config), image->config.len, hex);
    (void)snprintf(image->config_digest, IMAGE_ID_MAX, "sha256:%s", hex);
    _cleanup_json_ json_t *layers = json_array();
    for (size_t i = 0; i < json_array_size(list) && !code; i++) {
        const char *name = json_string_value(json_array_get(list, i));
        const json_t *member = name ? follow(r, name) : NULL;
        uint64_t size = (uint64_t)json_path_int(member, "size", 0);
        code = add_layer(r, image, member, size, name ? name : "without a name", err);
        if (!code)
            (void)json_array_append_new(
                layers, descriptor_json(MEDIA_OCI_LAYER, json_path_string(member, "digest"), size));
    }
    if (code)
        return code;
    /* `docker save` keeps no manifest: one is written for it. */
    manifest_write(image->config_digest, image->config.len, layers, &image->manifest,
                   image->manifest_digest);
    const json_t *tags = json_object_get(entry, "RepoTags");
    for (size_t i = 0; i < json_array_size(tags) && !code; i++) {
        const char *tag = json_string_value(json_array_get(tags, i));
        code = tag ? add_reference(image, tag, false, err) : 0;
    }
    if (!code && !image->names[0] && single && r->name && *r->name)
        code = add_reference(image, r->name, false, err);
    return code;
}

static int read_docker(struct reader *r, const json_t *member, struct error *err)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    _cleanup_json_ json_t *j = read_json(r, member, "manifest.json", NULL, &text, err);
    if (!j)
        return -EINVAL;
    size_t count = json_array_size(j);
    if (!json_is_array(j) || count > ARCHIVE_IMAGES_MAX)
        return error_set(err, -EINVAL, "manifest.json must list at most %d images",
                         ARCHIVE_IMAGES_MAX);
    for (size_t i = 0; i < count; i++) {
        int code = read_docker_image(r, json_array_get(j, i), count == 1, err);
        if (code)
            return code;
    }
    return 0;
}

int archive_read(const char *dir, const json_t *members, const char *name, struct archive *ret,
                 struct error *err)
{
    struct reader r = {.dir = dir, .name = name, .archive = ret};
    memset(ret, 0, sizeof(*ret));
    for (size_t i = 0; i < json_array_size(members); i++) {
        json_t *m = json_array_get(members, i);
        const char *n = json_path_string(m, "name"), *digest = json_path_string(m, "digest");
        if (n)
            map_set(&r.by_name, n, m);
        if (digest)
            map_set(&r.by_digest, digest, m);
    }
    const json_t *index = map_get(&r.by_name, "index.json");
    const json_t *manifest = map_get(&r.by_name, "manifest.json");
    int code;
    if (index)
        code = read_oci(&r, index, err);
    else if (manifest)
        code = read_docker(&r, manifest, err);
    else
        code = error_set(err, -EINVAL,
                         "no image archive: it has neither index.json (OCI image "
                         "layout) nor manifest.json (docker save)");
    if (!code && !ret->n_images)
        code = error_set(err, -ENOENT, "no image for this machine in the archive");
    map_clear(&r.by_name);
    map_clear(&r.by_digest);
    if (code)
        archive_done(ret);
    return code;
}
