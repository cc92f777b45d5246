/*
 * The default AppArmor profile. Everything is allowed that capabilities, seccomp and file modes
 * allow, but for what a container has no business with on the node:
 *
 * - writing below /proc, except to its processes' own directories and to the System V shared memory
 *   settings (kernel.shm*), which belong to its IPC namespace;
 * - writing below /sys, except to its own group below /sys/fs/cgroup;
 * - the node's memory, firmware, energy meters and security modules, also for reading;
 * - mounting; signals to, and tracing of, processes outside.
 *
 * The language knows no "all but": what is not excepted is spelt letter by letter.
 */
#include "base/strbuf.h"
#include "cri/apparmor.h"

char *apparmor_default_text(const char *name)
{
    /* The abi is the version of the rules' meaning: what later kernels mediate besides is not
     * refused. Paths in mounts that were detached, and of deleted files, are taken as if below the
     * root. */
    return str_printf(
        "abi <abi/3.0>,\n"
        "profile %s flags=(attach_disconnected, mediate_deleted) {\n"
        "  capability,\n"
        "  file,\n"
        "  network,\n"
        "  unix,\n"
        "  umount,\n"
        "  deny mount,\n"
        "\n"
        "  # The shim and the node's administrator send signals, as do processes inside.\n"
        "  signal (receive) peer=unconfined,\n"
        "  signal (send, receive) peer=%s,\n"
        "  ptrace (trace, read, tracedby, readby) peer=%s,\n"
        "  ptrace (tracedby, readby) peer=unconfined,\n"
        "\n"
        "  # /proc: directories that are not a number and not sys, and the files beside them.\n"
        "  deny /proc/* w,\n"
        "  deny /proc/[^0-9s]*/** w,\n"
        "  deny /proc/s[^y]*/** w,\n"
        "  deny /proc/sy[^s]*/** w,\n"
        "  deny /proc/sys?*/** w,\n"
        "  # /proc/sys: all but kernel/shm…\n"
        "  deny /proc/sys/[^k]** w,\n"
        "  deny /proc/sys/k[^e]** w,\n"
        "  deny /proc/sys/kernel/[^s]** w,\n"
        "  deny /proc/sys/kernel/s[^h]** w,\n"
        "  deny /proc/sys/kernel/sh[^m]** w,\n"
        "  deny /proc/{kcore,kmem,mem,sysrq-trigger} rwklx,\n"
        "\n"
        "  # /sys: all but fs/cgroup\n"
        "  deny /sys/[^f]** wklx,\n"
        "  deny /sys/f[^s]** wklx,\n"
        "  deny /sys/fs/[^c]** wklx,\n"
        "  deny /sys/fs/c[^g]** wklx,\n"
        "  deny /sys/fs/cg[^r]** wklx,\n"
        "  deny /sys/firmware/** rwklx,\n"
        "  deny /sys/devices/virtual/powercap/** rwklx,\n"
        "  deny /sys/kernel/security/** rwklx,\n"
        "}\n",
        name, name, name);
}
