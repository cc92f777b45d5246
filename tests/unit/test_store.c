/* cri/image/store: records, names, uses and what survives reopening and damage. */
#include "cri/image/store_private.h"

#include "lib/test.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/digest.h"
#include "base/fs.h"
#include "cri/image/reference.h"

#define DIGEST(c) "sha256:" c c c c c c c c c c c c c c c c
#define CONFIG    "{\"os\":\"linux\",\"config\":{\"User\":\"7\"}}"

struct fixture {
    struct loop *loop;
    struct image_store *store;
    char *dir, *worker;
    char id[IMAGE_ID_MAX];
};

static void reopen(struct fixture *f)
{
    struct error err = ERROR_INIT;
    struct image_store_options o = {.dir = f->dir, .worker = f->worker};
    (void)image_store_free(f->store);
    f->store = image_store_open(f->loop, &o, &err);
    if (!f->store)
        fail_msg("%s", error_text(&err));
}

static int set_up(void **state)
{
    struct fixture *f = mem_zalloc(sizeof(*f));
    const char *build = getenv("B");
    f->loop = loop_new();
    f->dir = str_dup("/tmp/coracle-store-XXXXXX");
    f->worker = str_printf("%s/libexec/coracle/coracle-unpack", build ? build : "build");
    if (f->worker[0] != '/') {
        _cleanup_free_ char *here = getcwd(NULL, 0);
        char *whole = fs_join(here, f->worker);
        free(f->worker);
        f->worker = whole;
    }
    if (!mkdtemp(f->dir))
        return -1;
    reopen(f);
    image_store_ready(f->store);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    (void)image_store_free(f->store);
    (void)loop_free(f->loop);
    (void)fs_remove_tree(f->dir, NULL);
    free(f->dir);
    free(f->worker);
    free(f);
    return 0;
}

static struct store_layer *add_layer(struct fixture *f, const char *chain, uint64_t bytes)
{
    struct error err = ERROR_INIT;
    struct store_layer what = {.bytes = bytes, .inodes = 1};
    (void)snprintf(what.chain, sizeof(what.chain), "%s", chain);
    (void)snprintf(what.diff, sizeof(what.diff), "%s", chain);
    _cleanup_free_ char *tmp = store_tmp_new(f->store, &err);
    _cleanup_free_ char *layer = fs_join(tmp, "layer");
    _cleanup_free_ char *fs = fs_join(layer, "fs");
    assert_int_equal(fs_mkdirs(fs, 0755, &err), 0);
    struct store_layer *l = store_layer_publish(f->store, layer, &what, &err);
    if (!l)
        fail_msg("%s", error_text(&err));
    (void)fs_remove_tree(tmp, NULL);
    return l;
}

/* An image of the layers given (NULL-terminated chain IDs), called @name if that is not NULL. */
static struct image *add_image(struct fixture *f, const char *config, const char *name,
                               const char *chain, const char *second)
{
    struct error err = ERROR_INIT;
    struct store_layer *layers[2] = {NULL};
    size_t n = 0;
    char hex[SHA256_HEX_LEN + 1];
    const char *chains[] = {chain, second};
    for (size_t i = 0; i < 2 && chains[i]; i++) {
        layers[n] = store_layer_find(f->store, chains[i]);
        if (!layers[n])
            layers[n] = add_layer(f, chains[i], 1000);
        n++;
    }
    sha256_hex(config, strlen(config), hex);
    (void)snprintf(f->id, sizeof(f->id), "sha256:%s", hex);
    assert_int_equal(store_blob_put(f->store, f->id, config, strlen(config), &err), 0);
    struct image *image = store_image_put(f->store, f->id, DIGEST("abcd"), layers, n, name, &err);
    assert_non_null(image);
    if (name)
        assert_int_equal(store_reference_put(f->store, name, image, &err), 0);
    return image;
}

static bool has(struct fixture *f, const char *name)
{
    struct image *image = image_store_find(f->store, name);
    (void)image_unref(image);
    return image != NULL;
}

static bool on_disk(struct fixture *f, const char *sub)
{
    _cleanup_free_ char *path = fs_join(f->dir, sub);
    return fs_exists(path);
}

static void images_survive_reopening(void **state)
{
    struct fixture *f = *state;
    (void)add_image(f, CONFIG, "docker.io/library/a:v1", DIGEST("1111"), DIGEST("2222"));
    reopen(f);
    _cleanup_(image_unrefp) struct image *image = image_store_find(f->store, "a:v1");
    assert_non_null(image);
    assert_string_equal(image->id, f->id);
    assert_int_equal(image->size, 2000);
    assert_string_equal(image->tags[0], "docker.io/library/a:v1");
    _cleanup_free_ char *names = NULL;
    assert_int_equal(image_layer_names(f->store, image, &names, NULL), 0);
    assert_string_equal(names, "2/fs:1/fs");
    struct image_config config;
    assert_int_equal(image_config_load(f->store, image, &config, NULL), 0);
    assert_string_equal(config.user, "7");
    image_config_done(&config);
    assert_true(has(f, f->id));
    assert_true(has(f, f->id + 7));
    char prefix[5] = "";
    memcpy(prefix, f->id + 7, 4);
    assert_true(has(f, prefix));
    prefix[3] = '\0';
    assert_false(has(f, prefix));
}

static void one_owner_at_a_time(void **state)
{
    struct fixture *f = *state;
    struct error err = ERROR_INIT;
    struct image_store_options o = {.dir = f->dir, .worker = f->worker};
    assert_null(image_store_open(f->loop, &o, &err));
    assert_int_equal(err.code, -EBUSY);
}

static void names_move(void **state)
{
    struct fixture *f = *state;
    (void)add_image(f, CONFIG, "docker.io/library/a:v1", DIGEST("1111"), NULL);
    char first[IMAGE_ID_MAX];
    memcpy(first, f->id, sizeof(first));
    struct image *b = add_image(f, "{}", "docker.io/library/a:v1", DIGEST("1111"), NULL);
    assert_string_equal(b->tags[0], "docker.io/library/a:v1");
    assert_false(has(f, first)); /* an image that lost its last name is gone */
    reopen(f);
    _cleanup_(image_unrefp) struct image *found = image_store_find(f->store, "a:v1");
    assert_string_equal(found->id, f->id);
    assert_false(has(f, first));
}

static void images_that_never_had_a_name_stay(void **state)
{
    struct fixture *f = *state;
    (void)add_image(f, CONFIG, NULL, DIGEST("1111"), NULL);
    assert_true(has(f, f->id));
    reopen(f);
    image_store_ready(f->store);
    assert_true(has(f, f->id));
    /* With a name it is one that has names. */
    (void)add_image(f, CONFIG, "docker.io/library/a:v1", DIGEST("1111"), NULL);
    assert_int_equal(image_store_remove(f->store, "a:v1", NULL), 0);
    assert_false(has(f, f->id));
}

static void images_of_a_file_are_pinned(void **state)
{
    struct fixture *f = *state;
    struct image *image = add_image(f, CONFIG, "docker.io/library/a:v1", DIGEST("1111"), NULL);
    char *ids[] = {f->id, NULL};
    const struct store_pin pin = {.size = 10, .mtime = 20, .images = ids};
    assert_false(image->pinned);
    assert_int_equal(store_pin_put(f->store, "/a.tar", &pin, NULL), 0);
    assert_int_equal(store_pin_put(f->store, "/b.tar", &pin, NULL), 0);
    assert_true(image->pinned);
    store_pin_drop(f->store, "/b.tar");
    assert_true(image->pinned);
    reopen(f);
    image = map_get(&f->store->images, f->id);
    assert_true(image->pinned);
    const struct store_pin *there = map_get(&f->store->pins, "/a.tar");
    assert_int_equal(there->size, 10);
    assert_int_equal(there->mtime, 20);
    store_pin_drop(f->store, "/a.tar");
    assert_false(image->pinned);
    reopen(f);
    image = map_get(&f->store->images, f->id);
    assert_false(image->pinned);
}

static void removal_frees_what_nobody_needs(void **state)
{
    struct fixture *f = *state;
    uint64_t bytes, inodes;
    (void)add_image(f, CONFIG, "docker.io/library/a:v1", DIGEST("1111"), DIGEST("2222"));
    (void)add_image(f, "{}", "docker.io/library/b:v1", DIGEST("1111"), DIGEST("3333"));
    image_store_usage(f->store, &bytes, &inodes);
    assert_int_equal(bytes, 3000);
    assert_int_equal(image_store_remove(f->store, "a:v1", NULL), 0);
    assert_false(has(f, "a:v1"));
    assert_true(on_disk(f, "layers/1"));
    assert_false(on_disk(f, "layers/2"));
    image_store_usage(f->store, &bytes, &inodes);
    assert_int_equal(bytes, 2000);
    assert_int_equal(image_store_remove(f->store, "a:v1", NULL), 0); /* again: success */
    assert_int_equal(image_store_remove(f->store, f->id, NULL), 0);
    image_store_usage(f->store, &bytes, &inodes);
    assert_int_equal(bytes, 0);
}

static void one_of_several_tags_goes_alone(void **state)
{
    struct fixture *f = *state;
    struct image *image = add_image(f, CONFIG, "docker.io/library/a:v1", DIGEST("1111"), NULL);
    assert_int_equal(store_reference_put(f->store, "docker.io/library/a:v2", image, NULL), 0);
    assert_int_equal(
        store_reference_put(f->store, "docker.io/library/a@" DIGEST("abcd"), image, NULL), 0);
    assert_int_equal(image_store_remove(f->store, "a:v1", NULL), 0);
    assert_false(has(f, "a:v1"));
    assert_true(has(f, "a:v2"));
    assert_int_equal(image_store_remove(f->store, "a:v2", NULL), 0);
    assert_false(has(f, f->id));
    assert_false(has(f, "a@" DIGEST("abcd")));
}

static void used_images_keep_their_layers(void **state)
{
    struct fixture *f = *state;
    (void)add_image(f, CONFIG, "docker.io/library/a:v1", DIGEST("1111"), NULL);
    assert_int_equal(image_store_use(f->store, f->id, "container"), 0);
    assert_int_equal(image_store_remove(f->store, f->id, NULL), 0);
    assert_false(has(f, f->id));
    assert_true(on_disk(f, "layers/1/fs"));
    /* The runtime restarts: it marks again before anything is collected. */
    reopen(f);
    assert_false(has(f, f->id));
    assert_int_equal(image_store_use(f->store, f->id, "container"), 0);
    image_store_ready(f->store);
    assert_true(on_disk(f, "layers/1/fs"));
    image_store_unuse(f->store, f->id, "container");
    assert_false(on_disk(f, "layers/1"));
    assert_int_equal(image_store_use(f->store, f->id, "container"), -ENOENT);
}

static void unfinished_layers_are_not_trusted(void **state)
{
    struct fixture *f = *state;
    (void)add_layer(f, DIGEST("1111"), 5);
    assert_non_null(store_layer_find(f->store, DIGEST("1111")));
    reopen(f); /* it may never have been synced */
    assert_null(store_layer_find(f->store, DIGEST("1111")));
    (void)add_image(f, CONFIG, "docker.io/library/a:v1", DIGEST("1111"), NULL);
    assert_true(on_disk(f, "layers/2/fs"));
    assert_false(on_disk(f, "layers/1"));
}

static void damage_costs_only_what_is_damaged(void **state)
{
    struct fixture *f = *state;
    (void)add_image(f, CONFIG, "docker.io/library/a:v1", DIGEST("1111"), NULL);
    (void)add_image(f, "{}", "docker.io/library/b:v1", DIGEST("2222"), NULL);
    _cleanup_free_ char *layer = fs_join(f->dir, "layers/1/layer.json");
    assert_int_equal(truncate(layer, 3), 0);
    _cleanup_free_ char *half = str_printf("%s/images/%064d.json.tmp-abc", f->dir, 1);
    _cleanup_free_ char *odd = fs_join(f->dir, "layers/not-a-number");
    assert_int_equal(fs_write_atomic(half, "{", 1, 0600, FS_VOLATILE, NULL), 0);
    assert_int_equal(mkdir(odd, 0700), 0);
    reopen(f);
    image_store_ready(f->store);
    assert_false(has(f, "a:v1"));
    assert_true(has(f, "b:v1"));
    assert_false(fs_exists(half));
    assert_false(fs_exists(odd));
    /* A damaged config is noticed when it is read. */
    _cleanup_free_ char *blob = str_printf("%s/blobs/sha256/%s", f->dir, digest_digits(f->id));
    assert_int_equal(fs_write_atomic(blob, "[]", 2, 0600, FS_VOLATILE, NULL), 0);
    _cleanup_(image_unrefp) struct image *b = image_store_find(f->store, "b:v1");
    struct image_config config;
    assert_int_equal(image_config_load(f->store, b, &config, NULL), -EIO);
    reopen(f);
    assert_false(has(f, "b:v1"));
}

#define STORE_TEST(t) cmocka_unit_test_setup_teardown(t, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(images_survive_reopening),
        STORE_TEST(one_owner_at_a_time),
        STORE_TEST(names_move),
        STORE_TEST(images_that_never_had_a_name_stay),
        STORE_TEST(images_of_a_file_are_pinned),
        STORE_TEST(removal_frees_what_nobody_needs),
        STORE_TEST(one_of_several_tags_goes_alone),
        STORE_TEST(used_images_keep_their_layers),
        STORE_TEST(unfinished_layers_are_not_trusted),
        STORE_TEST(damage_costs_only_what_is_damaged),
    };
    return RUN_TESTS(tests);
}
