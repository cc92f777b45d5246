/* The built-in schema text, put into the program at build time. */
#include "kube/schema_text.h"

__asm__(".section .rodata\n"
        ".balign 8\n"
        ".hidden coracle_schema_text\n"
        ".globl coracle_schema_text\n"
        "coracle_schema_text:\n"
        ".incbin \"lib/kube/schema/meta.schema\"\n"
        ".incbin \"lib/kube/schema/status.schema\"\n"
        ".incbin \"lib/kube/schema/pod.schema\"\n"
        ".incbin \"lib/kube/schema/volume.schema\"\n"
        ".incbin \"lib/kube/schema/core.schema\"\n"
        ".incbin \"lib/kube/schema/apps.schema\"\n"
        ".incbin \"lib/kube/schema/others.schema\"\n"
        ".incbin \"lib/kube/schema/auth.schema\"\n"
        ".incbin \"lib/kube/schema/storage.schema\"\n"
        ".byte 0\n"
        ".previous\n");

extern const char coracle_schema_text[];

const char *schema_builtin_text(void)
{
    return coracle_schema_text;
}
