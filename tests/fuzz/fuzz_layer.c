/*
 * A layer's tar, applied to a directory of its own. Nothing may appear beside that directory: a
 * canary there is looked at after every input.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "cri/unpack/layer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct memory {
    struct stream_source source;
    const uint8_t *data;
    size_t len;
};

static ssize_t memory_read(struct stream_source *source, void *buf, size_t size,
                           _unused_ struct error *err)
{
    struct memory *m = CONTAINER_OF(source, struct memory, source);
    size_t n = m->len < size ? m->len : size;
    memcpy(buf, m->data, n);
    m->data += n;
    m->len -= n;
    return (ssize_t)n;
}

static size_t entries(const char *path)
{
    DIR *d = opendir(path);
    size_t n = 0;
    if (!d)
        abort();
    while (readdir(d))
        n++;
    (void)closedir(d);
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char dir[] = "/tmp/coracle-fuzz-XXXXXX";
    _cleanup_close_ int before = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (!mkdtemp(dir))
        return 0;
    _cleanup_free_ char *root_path = fs_join(dir, "root");
    (void)mkdir(root_path, 0755);
    struct memory m = {.source = {.read = memory_read}, .data = data, .len = size};
    struct error err = ERROR_INIT;
    struct layer_stream *s = layer_stream_new(&m.source, NULL, &err);
    if (s) {
        _cleanup_close_ int root = open(root_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        _cleanup_close_ int later = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
        struct layer_target target = {.root_fd = root, .upper_fd = root, .later_fd = later};
        struct layer_result result;
        (void)layer_apply(&target, s, &result, &err);
        (void)layer_stream_free(s);
    }
    if (fchdir(before) < 0 || entries(dir) != 3) /* ".", "..", "root" */
        abort();
    (void)fs_remove_tree(dir, NULL);
    return 0;
}
