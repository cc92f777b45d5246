/* Asks the resolver of its C library for a name: resolve NAME. Prints the addresses, sorted, or why
 * there is none. Built against glibc and, as resolve-musl, against musl, whose resolvers ask
 * differently: musl all servers and both families at once. */
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define ADDRESSES_MAX 64

static int by_text(const void *a, const void *b)
{
    return strcmp(a, b);
}

int main(int argc, char **argv)
{
    static char texts[ADDRESSES_MAX][INET6_ADDRSTRLEN];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *all = NULL;
    size_t n = 0;
    if (argc != 2) {
        fputs("usage: resolve NAME\n", stderr);
        return 2;
    }
    int r = getaddrinfo(argv[1], NULL, &hints, &all);
    if (r) {
        puts(r == EAI_NONAME ? "no such name" : gai_strerror(r));
        return 1;
    }
    for (const struct addrinfo *a = all; a && n < ADDRESSES_MAX; a = a->ai_next)
        if (!getnameinfo(a->ai_addr, a->ai_addrlen, texts[n], sizeof(texts[n]), NULL, 0,
                         NI_NUMERICHOST))
            n++;
    qsort(texts, n, sizeof(texts[0]), by_text);
    for (size_t i = 0; i < n; i++)
        puts(texts[i]);
    freeaddrinfo(all);
    return 0;
}
