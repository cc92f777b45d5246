/* policy.text, put into the program at build time. */
#include "apiserver/auth/policy_text.h"

__asm__(".section .rodata\n"
        ".balign 8\n"
        ".hidden coracle_policy_text\n"
        ".globl coracle_policy_text\n"
        "coracle_policy_text:\n"
        ".incbin \"apiserver/auth/policy.text\"\n"
        ".byte 0\n"
        ".previous\n");

extern const char coracle_policy_text[];

const char *policy_builtin_text(void)
{
    return coracle_policy_text;
}
