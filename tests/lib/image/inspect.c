/*
 * What a process is and may do, seen from inside a container. Static, so that it runs in any image.
 *
 *   inspect ids            "uid euid gid egid"
 *   inspect caps           the effective capabilities, as hexadecimal digits
 *   inspect call NR [A…]   the system call NR of this architecture, by its number
 *   inspect int80 NR [A…]  the same through the 32-bit entry (x86-64): i386's numbers
 *   inspect x32 NR [A…]    the same in x32's numbers (x86-64)
 *
 * Calls print "ok VALUE" or the error's name; "none" where the kernel has no such entry.
 */
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ARGS 6

static int report(long value)
{
    if (value < 0 && value > -4096)
        (void)printf("%s\n", strerrorname_np((int)-value));
    else
        (void)printf("ok %ld\n", value);
    return 0;
}

static long native(long nr, const long a[ARGS])
{
    long r = syscall(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
    return r < 0 ? -errno : r;
}

#ifdef __x86_64__
static _Noreturn void on_fault(int signo)
{
    (void)signo;
    _exit(write(STDOUT_FILENO, "none\n", 5) != 5);
}

static long int80(long nr, const long a[ARGS])
{
    int32_t result;
    (void)signal(SIGSEGV, on_fault); /* a kernel started without the 32-bit entry faults */
    /* The kernel may clobber what it likes of the upper registers on this path. */
    __asm__ volatile("int $0x80"
                     : "=a"(result)
                     : "a"((int32_t)nr), "b"((int32_t)a[0]), "c"((int32_t)a[1]), "d"((int32_t)a[2]),
                       "S"((int32_t)a[3]), "D"((int32_t)a[4])
                     : "memory", "cc", "r8", "r9", "r10", "r11");
    return result;
}
#endif

static int caps(void)
{
    char line[256];
    FILE *f = fopen("/proc/self/status", "re");
    while (f && fgets(line, sizeof(line), f))
        if (strncmp(line, "CapEff:\t", 8) == 0)
            (void)fputs(line + 8, stdout);
    return f ? fclose(f) : 1;
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    long args[ARGS] = {0};
    for (int i = 3; i < argc && i < 3 + ARGS; i++)
        args[i - 3] = strtol(argv[i], NULL, 0);
    long nr = argc > 2 ? strtol(argv[2], NULL, 0) : 0;
    if (strcmp(what, "ids") == 0)
        return printf("%d %d %d %d\n", (int)getuid(), (int)geteuid(), (int)getgid(),
                      (int)getegid()) < 0;
    if (strcmp(what, "caps") == 0)
        return caps();
    if (strcmp(what, "call") == 0)
        return report(native(nr, args));
#ifdef __x86_64__
    if (strcmp(what, "x32") == 0)
        return report(native(nr | 0x40000000, args));
    if (strcmp(what, "int80") == 0)
        return report(int80(nr, args));
#endif
    (void)fprintf(stderr, "inspect: not here: %s\n", what);
    return 2;
}
