/* cri/unpack/recipe: a tar comes back byte for byte, whatever the pieces it was told in. */
#include "lib/test.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

#include "base/fs.h"
#include "cri/unpack/recipe.h"

#define TAR_BYTES 300000

struct tree {
    char dir[40];
    int fd;
};

static void tree_make(struct tree *t, const char *name, const void *data, size_t len)
{
    (void)snprintf(t->dir, sizeof(t->dir), "/tmp/coracle-recipe-XXXXXX");
    assert_non_null(mkdtemp(t->dir));
    _cleanup_free_ char *path = fs_join(t->dir, name);
    assert_int_equal(fs_write_atomic(path, data, len, 0600, FS_VOLATILE, NULL), 0);
    t->fd = open(t->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void tree_done(struct tree *t)
{
    (void)close(t->fd);
    assert_int_equal(fs_remove_tree(t->dir, NULL), 0);
}

static int gather(const void *data, size_t len, void *arg, _unused_ struct error *err)
{
    strbuf_add(arg, data, len);
    return 0;
}

static int follow(int fd, const struct tree *t, struct strbuf *out, struct error *err)
{
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    strbuf_truncate(out, 0);
    return recipe_follow(fd, t->fd, gather, out, err);
}

/* A tar is told in pieces of @step bytes; bytes 1000…200999 of it are what the file holds. */
static void told_in_steps(size_t step)
{
    static unsigned char tar[TAR_BYTES];
    struct tree t;
    for (size_t i = 0; i < sizeof(tar); i++)
        tar[i] = (unsigned char)(i * i / 7);
    tree_make(&t, "f", tar + 1000, 200000);
    _cleanup_close_ int fd = memfd_create("recipe", MFD_CLOEXEC);
    _cleanup_(recipe_freep) struct recipe *r = recipe_new(fd);
    for (size_t at = 0; at < sizeof(tar); at += step) {
        size_t len = step < sizeof(tar) - at ? step : sizeof(tar) - at;
        size_t from = at < 1000 ? 1000 : at, to = at + len < 201000 ? at + len : 201000;
        recipe_bytes(r, tar + at, len, at);
        if (from < to)
            recipe_file(r, from, tar + from, to - from, "f", from - 1000);
    }
    uint64_t size = 0;
    struct error err = ERROR_INIT;
    assert_int_equal(recipe_finish(r, &size, &err), 0);
    assert_int_equal(size, sizeof(tar));
    _cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
    if (follow(fd, &t, &out, &err))
        fail_msg("%s", error_text(&err));
    assert_int_equal(out.len, sizeof(tar));
    assert_memory_equal(out.data, tar, sizeof(tar));

    assert_int_equal(ftruncate(fd, lseek(fd, 0, SEEK_END) / 2), 0);
    assert_int_equal(follow(fd, &t, &out, &err), -EBADMSG);
    tree_done(&t);
}

static void comes_back(_unused_ void **state)
{
    static const size_t steps[] = {1, 999, 1000, 1001, 4096, 65536, TAR_BYTES};
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++)
        told_in_steps(steps[i]);
}

static void impossible_is_of_no_use(_unused_ void **state)
{
    static const struct {
        uint64_t at;
        const char *data, *path;
        bool passed; /* told too late: the position is behind */
    } cases[] = {
        {2, "cd", "f", false},  {2, "xx", "f", false}, {5, "fg", "f", false},
        {2, "cd", NULL, false}, {2, "cd", "f", true},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        uint64_t size = 77;
        _cleanup_close_ int fd = memfd_create("recipe", MFD_CLOEXEC);
        _cleanup_(recipe_freep) struct recipe *r = recipe_new(fd);
        recipe_bytes(r, "abcdef", 6, 0);
        if (cases[i].passed)
            recipe_bytes(r, "ghi", 3, 6);
        recipe_file(r, cases[i].at, cases[i].data, 2, cases[i].path, 0);
        assert_int_equal(recipe_finish(r, &size, NULL), 0);
        assert_int_equal(size, i == 0 ? 6 : 0);
    }
}

static void trees_that_changed_are_told(_unused_ void **state)
{
    static const char *const paths[] = {"f", "none", "../f", "/f", "link"};
    static const char *const why[] = {"shorter", "no longer", "no longer", "no longer",
                                      "no longer"};
    for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
        struct tree t;
        uint64_t size;
        struct error err = ERROR_INIT;
        _cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
        _cleanup_close_ int fd = memfd_create("recipe", MFD_CLOEXEC);
        _cleanup_(recipe_freep) struct recipe *r = recipe_new(fd);
        tree_make(&t, "f", "abc", 3);
        assert_int_equal(symlinkat("f", t.fd, "link"), 0);
        recipe_bytes(r, "abcdef", 6, 0);
        recipe_file(r, 0, "abcdef", 6, paths[i], 0);
        assert_int_equal(recipe_finish(r, &size, NULL), 0);
        int code = follow(fd, &t, &out, &err);
        /* An absolute path is one below the tree. */
        if (str_eq(paths[i], "/f") || str_eq(paths[i], "../f"))
            assert_non_null(strstr(error_text(&err), "shorter"));
        else
            assert_non_null(strstr(error_text(&err), why[i]));
        assert_int_equal(code, -EBADMSG);
        tree_done(&t);
    }
}

static void full_disk_is_an_error(_unused_ void **state)
{
    uint64_t size;
    struct error err = ERROR_INIT;
    _cleanup_close_ int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    _cleanup_(recipe_freep) struct recipe *r = recipe_new(fd);
    recipe_bytes(r, "abc", 3, 0);
    assert_int_equal(recipe_finish(r, &size, &err), -ENOSPC);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comes_back),
        cmocka_unit_test(impossible_is_of_no_use),
        cmocka_unit_test(trees_that_changed_are_told),
        cmocka_unit_test(full_disk_is_an_error),
    };
    return RUN_TESTS(tests);
}
