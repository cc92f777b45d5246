/* What a tree takes on disk. */
#include "lib/test.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/fs.h"

static int make_dir(void **state)
{
    char *dir = str_dup("/tmp/test-fs-usage.XXXXXX");
    *state = mkdtemp(dir);
    return *state ? 0 : -1;
}

/* Whatever is in it. */
static int remove_dir(void **state)
{
    _cleanup_free_ char *dir = *state;
    _cleanup_free_ char *command = str_printf("rm -rf '%s'", dir);
    return system(command);
}

static uint64_t blocks(const char *dir, const char *name)
{
    _cleanup_free_ char *path = fs_join(dir, name);
    struct stat st;
    assert_int_equal(lstat(path, &st), 0);
    return (uint64_t)st.st_blocks * 512;
}

static void put(const char *dir, const char *name, size_t size)
{
    _cleanup_free_ char *path = fs_join(dir, name);
    _cleanup_free_ char *data = mem_zalloc(size + 1);
    memset(data, 'x', size);
    assert_int_equal(fs_write_atomic(path, data, size, 0644, FS_DURABLE, NULL), 0);
}

static void files_and_links(void **state)
{
    const char *dir = *state;
    struct fs_usage u;
    struct error err = ERROR_INIT;
    put(dir, "a", 100000);
    assert_int_equal(fs_tree_usage(dir, NULL, &u, &err), 0);
    assert_int_equal(u.inodes, 2);
    assert_int_equal(u.bytes, blocks(dir, "") + blocks(dir, "a"));
    /* Two more names of the same file take nothing; a link to a big file elsewhere neither. */
    _cleanup_free_ char *a = fs_join(dir, "a"), *b = fs_join(dir, "b"), *c = fs_join(dir, "c"),
                        *s = fs_join(dir, "s"), *sub = fs_join(dir, "sub");
    assert_int_equal(link(a, b), 0);
    assert_int_equal(mkdir(sub, 0700), 0);
    assert_int_equal(link(a, c), 0);
    assert_int_equal(symlink("/bin", s), 0);
    assert_int_equal(fs_tree_usage(dir, NULL, &u, &err), 0);
    assert_int_equal(u.inodes, 4);
    assert_int_equal(u.bytes,
                     blocks(dir, "") + blocks(dir, "a") + blocks(dir, "sub") + blocks(dir, "s"));
    /* A hole is not used. */
    _cleanup_free_ char *hole = fs_join(dir, "sub/hole");
    _cleanup_close_ int fd = open(hole, O_WRONLY | O_CREAT, 0644);
    assert_int_equal(ftruncate(fd, 1LL << 40), 0);
    assert_int_equal(fs_tree_usage(dir, NULL, &u, &err), 0);
    assert_true(u.bytes < 1 << 20);
    assert_int_equal(fs_tree_usage(hole, NULL, &u, &err), 0);
    assert_int_equal(u.inodes, 1);
    assert_int_equal(fs_tree_usage("/no/such/tree", NULL, &u, &err), -ENOENT);
}

/* Deeper than there are descriptors; each level holds a file beside. */
static void deep(void **state)
{
    enum { DEPTH = 400 };
    struct rlimit few = {100, 100}, old;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    few.rlim_max = old.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    int fd = open(*state, O_RDONLY | O_DIRECTORY);
    for (int i = 0; i < DEPTH; i++) {
        assert_int_equal(mkdirat(fd, "d", 0700), 0);
        for (char name[] = "a"; name[0] < 'c'; name[0]++) {
            int file = openat(fd, name, O_WRONLY | O_CREAT, 0600);
            assert_true(file >= 0);
            (void)close(file);
        }
        int below = openat(fd, "d", O_RDONLY | O_DIRECTORY);
        (void)close(fd);
        fd = below;
        assert_true(fd >= 0);
    }
    (void)close(fd);
    struct fs_usage u;
    struct error err = ERROR_INIT;
    assert_int_equal(fs_tree_usage(*state, NULL, &u, &err), 0);
    assert_int_equal(u.inodes, 1 + 3 * DEPTH);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
}

static void stopped(void **state)
{
    struct fs_usage u;
    struct error err = ERROR_INIT;
    atomic_bool stop = true;
    assert_int_equal(fs_tree_usage(*state, &stop, &u, &err), -ECANCELED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(files_and_links, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(deep, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(stopped, make_dir, remove_dir),
    };
    return RUN_TESTS(tests);
}
