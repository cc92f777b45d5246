/*
 * Replays the corpus of a fuzz target in plain test runs: every file of
 * tests/fuzz/corpus/<target>/ goes through LLVMFuzzerTestOneInput, one TAP line each. With files
 * as arguments, those instead (to reproduce a crash).
 */
#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "base/fs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay(const char *path)
{
    _cleanup_strbuf_ struct strbuf in = STRBUF_INIT;
    if (fs_read(path, 1 << 20, &in, NULL) < 0)
        return -1;
    /* An exact copy, so that sanitizers see every read past the end. */
    _cleanup_free_ uint8_t *copy = mem_dup(in.data, in.len);
    return LLVMFuzzerTestOneInput(copy, in.len);
}

int main(int argc, char **argv)
{
    int n = 0;
    for (int i = 1; i < argc; i++)
        (void)printf("%s %d - %s\n", replay(argv[i]) < 0 ? "not ok" : "ok", ++n, argv[i]);
    if (argc == 1) {
        const char *slash = strrchr(argv[0], '/');
        _cleanup_free_ char *dir = str_printf("tests/fuzz/corpus/%s", slash ? slash + 1 : argv[0]);
        DIR *d = opendir(dir);
        struct dirent *e;
        while (d && (e = readdir(d))) {
            if (e->d_name[0] == '.')
                continue;
            _cleanup_free_ char *path = fs_join(dir, e->d_name);
            (void)printf("%s %d - %s\n", replay(path) < 0 ? "not ok" : "ok", ++n, path);
        }
        if (d)
            (void)closedir(d);
        if (!n)
            (void)printf("not ok %d - %s holds no input\n", ++n, dir);
    }
    (void)printf("1..%d\n", n);
    return 0;
}
