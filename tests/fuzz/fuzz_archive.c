/* Image archives: taken apart and read as the daemon does it. Nothing may appear beside the
 * directory of the numbered members. */
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "cri/image/archive.h"
#include "cri/unpack/members.h"

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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char dir[] = "/tmp/coracle-fuzz-XXXXXX";
    if (!mkdtemp(dir))
        return 0;
    _cleanup_free_ char *members = fs_join(dir, "members");
    (void)mkdir(members, 0700);
    _cleanup_close_ int fd = open(members, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct memory m = {.source = {.read = memory_read}, .data = data, .len = size};
    struct error err = ERROR_INIT;
    json_t *list = NULL;
    struct archive archive;
    if (fd >= 0 && members_extract(&m.source, fd, &list, &err) == 0) {
        if (archive_read(members, list, "given:name", &archive, &err) == 0)
            archive_done(&archive);
        json_decref(list);
    }
    struct stat st;
    if (stat(dir, &st) < 0 || st.st_nlink != 3) /* itself, its name, "members" */
        abort();
    (void)fs_remove_tree(dir, NULL);
    return 0;
}
