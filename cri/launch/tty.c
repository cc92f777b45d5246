/*
 * The terminal: made in the container's own devpts, so that its name is right inside; the master
 * goes to the shim.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include "base/fs.h"
#include "cri/launch/launch.h"

#define DEVPTS_MAGIC 0x1cd1

/* /dev/console shows the terminal, as programs that are a container's first process expect. */
static int bind_console(const struct launch_job *job, int number, struct error *err)
{
    char name[16];
    (void)snprintf(name, sizeof(name), "%d", number);
    int fd = openat(job->dev_fd, "console", O_RDONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_errno(err, -errno, "make /dev/console");
    (void)close(fd);
    _cleanup_close_ int tree = mount_clone(job->pts_fd, name, false, err);
    if (tree < 0)
        return error_prefix(err, tree, "/dev/console");
    if (move_mount(tree, "", job->dev_fd, "console", MOVE_MOUNT_F_EMPTY_PATH) < 0)
        return error_errno(err, -errno, "mount /dev/console");
    return 0;
}

/* In a running container the image's programs had time to put something else there. */
static int open_master(const struct launch_job *job, bool container, struct error *err)
{
    int fd = container ? openat(job->pts_fd, "ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC)
                       : open("/dev/pts/ptmx", O_RDWR | O_NOCTTY | O_NOFOLLOW | O_CLOEXEC);
    struct statfs fs;
    if (fd >= 0 && (fstatfs(fd, &fs) < 0 || fs.f_type != DEVPTS_MAGIC)) {
        (void)close(fd);
        return error_set(err, -ENODEV, "/dev/pts/ptmx is no terminal multiplexer");
    }
    return fd < 0 ? error_errno(err, -errno, "open a terminal") : fd;
}

int tty_make(struct launch_job *job, bool container, struct error *err)
{
    const struct launch_process *p = &job->spec.process;
    _cleanup_close_ int master = open_master(job, container, err);
    if (master < 0)
        return master;
    int unlock = 0, number = 0;
    if (ioctl(master, TIOCSPTLCK, &unlock) < 0 || ioctl(master, TIOCGPTN, &number) < 0)
        return error_errno(err, -errno, "set up the terminal");
    _cleanup_close_ int slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (slave < 0)
        return error_errno(err, -errno, "open the terminal");
    if (p->tty_columns && p->tty_rows) {
        struct winsize size = {.ws_col = p->tty_columns, .ws_row = p->tty_rows};
        (void)ioctl(master, TIOCSWINSZ, &size);
    }
    if (container) {
        int r = bind_console(job, number, err);
        if (r < 0)
            return r;
    }
    if (ioctl(slave, TIOCSCTTY, 0) < 0)
        return error_errno(err, -errno, "take the terminal");
    for (int fd = 0; fd < 3; fd++)
        if (dup2(slave, fd) < 0)
            return error_errno(err, -errno, "connect the terminal");
    return report_tty(master, err);
}
