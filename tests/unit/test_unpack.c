/* cri/unpack: names in layers, whiteouts, streams. The effects on a tree are in
 * integration/images.t. */
#include "lib/test.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/digest.h"
#include "base/fs.h"
#include "cri/unpack/layer.h"

static void names_are_cleaned(_unused_ void **state)
{
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"a/b", "a/b"}, {"/a//b/", "a/b"}, {"./a/./b", "a/b"}, {"./", ""},
        {"", ""},       {"/", ""},         {"a/...", "a/..."}, {"..a", "..a"},
        {"..", NULL},   {"a/../b", NULL},  {"/../x", NULL},    {"a/..", NULL},
    };
    char out[LAYER_PATH_MAX + 1];
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_int_equal(layer_path_clean(cases[i].in, out), cases[i].out != NULL);
        if (cases[i].out)
            assert_string_equal(out, cases[i].out);
    }
    char longer[LAYER_PATH_MAX + 100];
    memset(longer, 'a', sizeof(longer));
    longer[256] = '\0';
    assert_false(layer_path_clean(longer, out));
    longer[255] = '\0';
    assert_true(layer_path_clean(longer, out));
    for (size_t i = 0; i < sizeof(longer); i++)
        longer[i] = i % 20 ? 'a' : '/';
    longer[sizeof(longer) - 1] = '\0';
    assert_false(layer_path_clean(longer, out));
}

static void whiteouts_are_told_apart(_unused_ void **state)
{
    static const struct {
        const char *base;
        enum whiteout_kind kind;
        const char *hidden;
    } cases[] = {
        {"a", WHITEOUT_NONE, NULL},
        {".wh", WHITEOUT_NONE, NULL},
        {".wh.a", WHITEOUT_FILE, "a"},
        {".wh..wh..opq", WHITEOUT_OPAQUE, NULL},
        {".wh..wh.aufs", WHITEOUT_RECORD, NULL},
        {".wh.", WHITEOUT_INVALID, NULL},
        {".wh..", WHITEOUT_INVALID, NULL},
        {".wh...", WHITEOUT_INVALID, NULL},
        {".wh..wh", WHITEOUT_FILE, ".wh"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const char *hidden = NULL;
        assert_int_equal(layer_whiteout(cases[i].base, &hidden), cases[i].kind);
        if (cases[i].hidden)
            assert_string_equal(hidden, cases[i].hidden);
    }
}

/* ---- a stream from memory, in small pieces ---- */

struct memory {
    struct stream_source source;
    const char *data;
    size_t len, at;
};

static ssize_t memory_read(struct stream_source *source, void *buf, size_t size,
                           _unused_ struct error *err)
{
    struct memory *m = CONTAINER_OF(source, struct memory, source);
    size_t n = m->len - m->at < 100 ? m->len - m->at : 100;
    if (n > size)
        n = size;
    memcpy(buf, m->data + m->at, n);
    m->at += n;
    return (ssize_t)n;
}

/* One file "f" with @size bytes, as a minimal ustar archive. */
static void make_tar(struct strbuf *out, size_t size)
{
    char head[512] = "f";
    (void)snprintf(head + 100, 8, "%07o", 0644U);
    (void)snprintf(head + 108, 8, "%07o", (unsigned)getuid());
    (void)snprintf(head + 116, 8, "%07o", (unsigned)getgid());
    (void)snprintf(head + 124, 12, "%011zo", size);
    (void)snprintf(head + 136, 12, "%011o", 1000000000U);
    memset(head + 148, ' ', 8);
    head[156] = '0';
    static const char magic[8] = {'u', 's', 't', 'a', 'r', '\0', '0', '0'};
    memcpy(head + 257, magic, sizeof(magic));
    unsigned sum = 0;
    for (size_t i = 0; i < sizeof(head); i++)
        sum += (unsigned char)head[i];
    (void)snprintf(head + 148, 8, "%06o", sum);
    strbuf_add(out, head, sizeof(head));
    for (size_t i = 0; i < (size + 511) / 512 * 512; i++)
        strbuf_addc(out, i < size ? 'x' : '\0');
    /* The end, and what tar pads its last block with. */
    static const char zeros[10240];
    strbuf_add(out, zeros, sizeof(zeros));
}

static int apply(const struct strbuf *tar, const char *dir, struct layer_result *result,
                 struct error *err)
{
    struct memory m = {.source = {.read = memory_read}, .data = tar->data, .len = tar->len};
    _cleanup_(layer_stream_freep) struct layer_stream *s = layer_stream_new(&m.source, NULL, err);
    if (!s)
        return -EINVAL;
    _cleanup_close_ int root = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    _cleanup_close_ int later = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    struct layer_target target = {.root_fd = root, .upper_fd = root, .later_fd = later};
    return layer_apply(&target, s, result, err);
}

static void diff_id_covers_everything(_unused_ void **state)
{
    char dir[] = "/tmp/coracle-unpack-XXXXXX", hex[SHA256_HEX_LEN + 1];
    assert_non_null(mkdtemp(dir));
    _cleanup_strbuf_ struct strbuf tar = STRBUF_INIT;
    make_tar(&tar, 1000);
    struct layer_result result = {.bytes = 0};
    struct error err = ERROR_INIT;
    if (apply(&tar, dir, &result, &err))
        fail_msg("%s", error_text(&err));
    sha256_hex(tar.data, tar.len, hex);
    assert_string_equal(result.diff_id + 7, hex);
    assert_int_equal(result.bytes, 4096);
    assert_int_equal(result.inodes, 1);
    _cleanup_free_ char *file = fs_join(dir, "f");
    struct stat st;
    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(st.st_size, 1000);
    assert_int_equal(st.st_mtime, 1000000000);

    /* Cut anywhere it is refused, or it is the very same layer but for padding. */
    for (size_t len = 1; len < 1536; len += 97) {
        struct strbuf cut = {.data = tar.data, .len = len};
        assert_int_not_equal(apply(&cut, dir, &result, &err), 0);
    }
    assert_int_equal(fs_remove_tree(dir, NULL), 0);
}

static void growing_file_is_followed(_unused_ void **state)
{
    int progress[2];
    char buf[64];
    struct error err = ERROR_INIT;
    _cleanup_close_ int fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    assert_int_equal(pipe2(progress, O_CLOEXEC), 0);
    assert_int_equal(pwrite(fd, "hello", 5, 0), 5);
    struct blob_source b;
    blob_source_init(&b, fd, progress[0], 8);
    assert_int_equal(b.source.read(&b.source, buf, sizeof(buf), &err), 5);
    assert_int_equal(pwrite(fd, "abcdef", 6, 5), 6);
    assert_int_equal(write(progress[1], "", 1), 1);
    assert_int_equal(b.source.read(&b.source, buf, sizeof(buf), &err), 3);
    assert_int_equal(b.source.read(&b.source, buf, sizeof(buf), &err), 0);
    blob_source_init(&b, fd, progress[0], 100);
    assert_int_equal(b.source.read(&b.source, buf, sizeof(buf), &err), 11);
    (void)close(progress[1]);
    assert_int_equal(b.source.read(&b.source, buf, sizeof(buf), &err), -EIO);
    (void)close(progress[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_cleaned),
        cmocka_unit_test(whiteouts_are_told_apart),
        cmocka_unit_test(diff_id_covers_everything),
        cmocka_unit_test(growing_file_is_followed),
    };
    return RUN_TESTS(tests);
}
