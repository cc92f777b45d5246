/* Files whose images are pinned; see store.h. */
#include "cri/image/store_private.h"

#include <errno.h>
#include <string.h>

#include "base/fs.h"
#include "base/log.h"
#include "cri/image/archive.h"
#include "cri/image/reference.h"

void store_pin_free(void *value)
{
    struct store_pin *pin = value;
    (void)image_strings_free(pin->images);
    free(pin);
}

void store_pins_changed(struct image_store *store)
{
    MAP_FOR_EACH(e, &store->images)
        ((struct image *)map_value(e))->pinned = false;
    MAP_FOR_EACH(e, &store->pins) {
        const struct store_pin *pin = map_value(e);
        for (char **id = pin->images; *id; id++) {
            struct image *image = map_get(&store->images, *id);
            if (image)
                image->pinned = true;
        }
    }
}

/* Takes the list over. */
static void keep(struct image_store *store, const char *path, const struct store_pin *pin,
                 char **images)
{
    struct store_pin *own = mem_dup(pin, sizeof(*pin));
    own->images = images;
    map_set(&store->pins, path, own);
    store_pins_changed(store);
}

int store_pin_put(struct image_store *store, const char *path, const struct store_pin *pin,
                  struct error *err)
{
    _cleanup_json_ json_t *j = json_object();
    json_t *images = json_array();
    size_t n = 0;
    (void)json_object_set_new(j, "file", json_text(path));
    (void)json_object_set_new(j, "size", json_integer((json_int_t)pin->size));
    (void)json_object_set_new(j, "mtime", json_integer(pin->mtime));
    (void)json_object_set_new(j, "images", images);
    for (; pin->images[n]; n++)
        (void)json_array_append_new(images, json_text(pin->images[n]));
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    json_encode(j, &text);
    _cleanup_free_ char *record = store_record_path(store, "pins", path);
    int r = fs_write_atomic(record, text.data, text.len, 0600, FS_DURABLE, err);
    if (r)
        return r;
    char **copy = mem_zalloc((n + 1) * sizeof(char *));
    for (size_t i = 0; i < n; i++)
        copy[i] = str_dup(pin->images[i]);
    keep(store, path, pin, copy);
    return 0;
}

void store_pin_drop(struct image_store *store, const char *path)
{
    _cleanup_free_ char *record = store_record_path(store, "pins", path);
    if (unlink(record) < 0 && errno != ENOENT)
        log_warn("image store: a record was not removed", "record", record, "error",
                 strerror(errno), NULL);
    (void)map_remove(&store->pins, path);
    store_pins_changed(store);
}

const char *store_pin_load(struct image_store *store, const json_t *j)
{
    const char *path = json_path_string(j, "file");
    const json_t *list = json_object_get(j, "images");
    size_t n = json_array_size(list);
    struct store_pin pin = {.size = (uint64_t)json_path_int(j, "size", 0),
                            .mtime = json_path_int(j, "mtime", 0)};
    if (!path || !json_is_array(list) || n > ARCHIVE_IMAGES_MAX)
        return "it is incomplete";
    char **images = mem_zalloc((n + 1) * sizeof(char *));
    for (size_t i = 0; i < n; i++) {
        const char *id = json_string_value(json_array_get(list, i));
        images[i] = str_dup(id ? id : "");
    }
    keep(store, path, &pin, images);
    return NULL;
}
