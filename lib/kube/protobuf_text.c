/* The field numbers, put into the program at build time. */
#include "kube/protobuf_text.h"

__asm__(".section .rodata\n"
        ".balign 8\n"
        ".hidden coracle_protobuf_numbers\n"
        ".globl coracle_protobuf_numbers\n"
        "coracle_protobuf_numbers:\n"
        ".incbin \"lib/kube/protobuf.numbers\"\n"
        ".byte 0\n"
        ".previous\n");

extern const char coracle_protobuf_numbers[];

const char *protobuf_numbers_text(void)
{
    return coracle_protobuf_numbers;
}
