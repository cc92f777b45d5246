/*
 * An in-memory store (apiserver/store/store.h) for unit tests and fuzzing: revisions, transactions
 * and watches as the real one has them, history kept until it is compacted. Answers come on a later
 * turn of the loop.
 */
#pragma once

#include "apiserver/store/store.h"

struct store *memstore_new(struct loop *loop);
/* Every call from now on fails with @code (-ECONNREFUSED …); 0: works again. */
void memstore_fail(struct store *store, int code);
/* Ends every watch as the real store does when its history is compacted away. */
void memstore_break_watches(struct store *store);
