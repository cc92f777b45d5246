/* The CRI log format: framing, partial lines, files. */
#include "lib/test.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "cri/shim/shim.h"

#define NOW  1767323045123456789LL /* 2026-01-02T03:04:05.123456789Z */
#define HEAD "2026-01-02T03:04:05.123456789Z stdout "

static void emit(void *arg, const char *record, size_t len)
{
    assert_int_equal(record[len - 1], '\n');
    strbuf_add(arg, record, len);
}

static void feed(struct log_stream *s, struct strbuf *out, const char *data, size_t len)
{
    log_frame(s, "stdout", NOW, data, len, emit, out);
}

static void lines(_unused_ void **state)
{
    _cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
    struct log_stream s = {.partial = NULL};
    feed(&s, &out, "one\ntw", 6);
    feed(&s, &out, "o\n\n", 3);
    assert_string_equal(out.data, HEAD "F one\n" HEAD "F two\n" HEAD "F \n");
    assert_null(s.partial); /* nothing is kept between whole lines */
    feed(&s, &out, "end", 3);
    strbuf_truncate(&out, 0);
    log_finish(&s, "stdout", NOW, emit, &out);
    assert_string_equal(out.data, HEAD "P end\n");
    strbuf_truncate(&out, 0);
    log_finish(&s, "stdout", NOW, emit, &out);
    assert_int_equal(out.len, 0);
}

/* Whatever the chunks, the same records come out, and their contents are the input. */
static void long_lines(_unused_ void **state)
{
    static char input[3 * LOG_LINE_MAX + 100];
    memset(input, 'x', sizeof(input));
    input[LOG_LINE_MAX] = '\n'; /* a line of exactly the maximum */
    input[sizeof(input) - 1] = '\n';
    _cleanup_strbuf_ struct strbuf want = STRBUF_INIT;
    struct log_stream whole = {.partial = NULL};
    feed(&whole, &want, input, sizeof(input));
    static const size_t chunks[] = {1, 7, 4096, LOG_LINE_MAX, LOG_LINE_MAX + 1};
    for (size_t c = 0; c < ARRAY_SIZE(chunks); c++) {
        _cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
        struct log_stream s = {.partial = NULL};
        for (size_t at = 0; at < sizeof(input); at += chunks[c])
            feed(&s, &out, input + at,
                 sizeof(input) - at < chunks[c] ? sizeof(input) - at : chunks[c]);
        assert_int_equal(out.len, want.len);
        assert_memory_equal(out.data, want.data, want.len);
    }
    /* a full one, then two partial ones and the end of the long line */
    const char *p = want.data;
    static const char tags[] = "FPPF";
    for (size_t i = 0; i < 4; i++) {
        assert_memory_equal(p, HEAD, strlen(HEAD));
        assert_int_equal(p[strlen(HEAD)], tags[i]);
        p = strchr(p, '\n') + 1;
    }
    assert_ptr_equal(p, want.data + want.len);
}

static void bytes(_unused_ void **state)
{
    _cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
    struct log_stream s = {.partial = NULL};
    feed(&s, &out, "a\0\xff\r\n", 5);
    assert_int_equal(out.len, strlen(HEAD) + 2 + 5);
    assert_memory_equal(out.data + strlen(HEAD), "F a\0\xff\r\n", 7);
}

static char *temp_dir(void)
{
    char *dir = str_dup("/tmp/test-shim-log.XXXXXX");
    assert_non_null(mkdtemp(dir));
    return dir;
}

static void rotation(_unused_ void **state)
{
    _cleanup_free_ char *dir = temp_dir();
    struct log_file f = {.fd = -1, .path = fs_join(dir, "0.log"), .max_bytes = 100, .max_files = 1};
    _cleanup_free_ char *path = str_dup(f.path);
    char record[61];
    memset(record, 'r', 60);
    record[59] = '\n';
    assert_int_equal(log_open(&f), 0);
    log_write(&f, record, 60);
    log_write(&f, record, 60); /* would make 120: goes to a new file */
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, 60);
    assert_int_equal(f.size, 60);
    /* What the kubelet does: rename, then ask for the file to be opened anew. */
    _cleanup_free_ char *moved = fs_join(dir, "moved");
    assert_int_equal(rename(path, moved), 0);
    log_write(&f, record, 20);
    assert_int_equal(log_open(&f), 0);
    assert_int_equal(f.size, 0);
    assert_int_equal(stat(moved, &st), 0);
    assert_int_equal(st.st_size, 80);
    log_close(&f);
    assert_int_equal(fs_remove_tree(dir, NULL), 0);
}

/* Several in one second: none replaces another, and their names sort as they were written. */
static void rotations_in_a_hurry(_unused_ void **state)
{
    _cleanup_free_ char *dir = temp_dir();
    struct log_file f = {.fd = -1, .path = fs_join(dir, "0.log"), .max_bytes = 10, .max_files = 4};
    assert_int_equal(log_open(&f), 0);
    for (char record[] = "0 record\n"; record[0] <= '7'; record[0]++)
        log_write(&f, record, strlen(record));
    log_close(&f);
    _cleanup_free_ char *command = str_printf("cat '%s'/0.log.* '%s'/0.log | cut -c1", dir, dir);
    FILE *p = popen(command, "r");
    char text[64] = "";
    assert_non_null(p);
    size_t n = fread(text, 1, sizeof(text) - 1, p);
    assert_int_equal(pclose(p), 0);
    text[n] = '\0';
    assert_string_equal(text, "3\n4\n5\n6\n7\n");
    assert_int_equal(fs_remove_tree(dir, NULL), 0);
}

/* A full disk: whole records stay, a torn one is cut off, the rest is counted. */
static void full_disk(_unused_ void **state)
{
    struct log_file f = {.fd = open("/dev/full", O_WRONLY | O_CLOEXEC), .path = str_dup("x")};
    assert_true(f.fd >= 0);
    log_write(&f, "abc\n", 4);
    assert_int_equal(f.lost, 4);
    assert_int_equal(f.size, 0);
    log_close(&f);
}

static void not_a_file(_unused_ void **state)
{
    _cleanup_free_ char *dir = temp_dir();
    _cleanup_free_ char *link = fs_join(dir, "link");
    assert_int_equal(symlink("/dev/null", link), 0);
    struct log_file f = {.fd = -1, .path = str_dup(link)};
    assert_true(log_open(&f) < 0);
    log_close(&f);
    f.path = str_dup("/dev/null");
    assert_true(log_open(&f) < 0);
    log_close(&f);
    assert_int_equal(fs_remove_tree(dir, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines),
        cmocka_unit_test(long_lines),
        cmocka_unit_test(bytes),
        cmocka_unit_test(rotation),
        cmocka_unit_test(rotations_in_a_hurry),
        cmocka_unit_test(full_disk),
        cmocka_unit_test(not_a_file),
    };
    return RUN_TESTS(tests);
}
