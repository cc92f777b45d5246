/* The notes of which a layer's tar is rebuilt. They are ours, but disks rot. Inputs that are no
 * zstd are compressed first, so that the records themselves are reached. */
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <zstd.h>

#include "base/fs.h"
#include "cri/unpack/recipe.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define BYTES_MAX (1U << 20)

static int count(_unused_ const void *data, size_t len, void *arg, struct error *err)
{
    size_t *total = arg;
    *total += len;
    return *total > BYTES_MAX ? error_set(err, -1, "enough") : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t magic[] = {0x28, 0xb5, 0x2f, 0xfd};
    char dir[] = "/tmp/coracle-fuzz-XXXXXX";
    if (!mkdtemp(dir))
        return 0;
    _cleanup_free_ char *file = fs_join(dir, "f");
    (void)fs_write_atomic(file, "content", 7, 0600, FS_VOLATILE, NULL);
    _cleanup_close_ int tree = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    _cleanup_close_ int fd = memfd_create("recipe", MFD_CLOEXEC);
    size_t bound = ZSTD_compressBound(size), len = size;
    _cleanup_free_ char *packed = mem_zalloc(bound + 1);
    if (size < sizeof(magic) || memcmp(data, magic, sizeof(magic)) != 0)
        len = ZSTD_compress(packed, bound, data, size, 1);
    else
        memcpy(packed, data, size);
    if (write(fd, packed, len) == (ssize_t)len && lseek(fd, 0, SEEK_SET) == 0) {
        size_t total = 0;
        struct error err = ERROR_INIT;
        (void)recipe_follow(fd, tree, count, &total, &err);
    }
    (void)fs_remove_tree(dir, NULL);
    return 0;
}
