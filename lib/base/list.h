/* Intrusive doubly linked list: a head and its entries are both struct list. */
#pragma once

#include <stdbool.h>

/* libevent's header defines a macro LIST_ENTRY for itself unless there is one: let it go first. */
#include <event2/event_struct.h>

#include "base/macros.h"

struct list {
    struct list *prev, *next;
};

#define LIST_INIT(name)  \
    {                    \
        &(name), &(name) \
    }
#define LIST_ENTRY(ptr, type, member) CONTAINER_OF(ptr, type, member)
/* @entry may be removed from the list, and freed, inside the loop. */
#define LIST_FOR_EACH(entry, head)                                                        \
    for (struct list *entry = (head)->next, *entry##_next = entry->next; entry != (head); \
         entry = entry##_next, entry##_next = entry->next)

static inline void list_init(struct list *l)
{
    l->prev = l->next = l;
}

static inline bool list_empty(const struct list *l)
{
    return l->next == l;
}

static inline void list_insert(struct list *before, struct list *entry)
{
    entry->prev = before->prev;
    entry->next = before;
    before->prev->next = entry;
    before->prev = entry;
}

/* Adds @entry at the end. */
static inline void list_append(struct list *head, struct list *entry)
{
    list_insert(head, entry);
}

/* Takes @entry out; harmless when it is in no list but was initialised. */
static inline void list_remove(struct list *entry)
{
    entry->prev->next = entry->next;
    entry->next->prev = entry->prev;
    list_init(entry);
}

/* Takes the first entry out; NULL when there is none. */
static inline struct list *list_pop(struct list *head)
{
    struct list *entry = head->next;
    if (entry == head)
        return NULL;
    head->next = entry->next;
    head->next->prev = head;
    list_init(entry);
    return entry;
}
