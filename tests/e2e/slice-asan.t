#!/usr/bin/env bash
# The slice with daemons built with AddressSanitizer and UndefinedBehaviorSanitizer.
top=$(cd "$(dirname "$0")/../.." && pwd)
[ -x "$top/build/asan/bin/coracle" ] || { echo "1..0 # SKIP no sanitizer build (make test makes it)"; exit 0; }
export B=build/asan SLOW=${SLOW:-2}
exec "$top/tests/e2e/slice.t"
