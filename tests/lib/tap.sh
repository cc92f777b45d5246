# TAP for shell tests: source it, then `ok`, `is`, `like`, `skip`, and at the end `done_testing`.
# Every test gets a directory $T (removed at the end) and registers what undoes its work with
# `at_end COMMAND…` (run in reverse order, also when the test fails or is interrupted).
set -u
TOP=${TOP:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}
B=${B:-build}
case $B in /*) ;; *) B=$TOP/$B ;; esac
T=$(mktemp -d /tmp/coracle-test.XXXXXX)
_n=0
_failed=0
_undo=()
at_end() { _undo+=("$(printf '%q ' "$@")"); }
_finish() {
    local status=$? i
    trap '' INT TERM
    for ((i = ${#_undo[@]} - 1; i >= 0; i--)); do eval "${_undo[i]}" >&2 || true; done
    [ -n "${KEEP:-}" ] && echo "# kept $T" || rm -rf --one-file-system "$T"
    [ $_failed = 0 ] || status=1
    exit $status
}
trap _finish EXIT
trap 'exit 130' INT TERM
diag() { printf '%s\n' "$*" | sed 's/^/# /' >&2; }
pass() { _n=$((_n + 1)); echo "ok $_n - $1"; }
fail() { _n=$((_n + 1)); _failed=1; echo "not ok $_n - $1"; shift; [ $# -eq 0 ] || diag "$@"; return 1; }
# ok DESCRIPTION COMMAND…: passes when the command succeeds; its output is shown when it fails.
ok() {
    local d=$1 out
    shift
    if out=$("$@" 2>&1); then pass "$d"; else fail "$d" "command: $*" "$out"; fi
}
# is GOT EXPECTED DESCRIPTION
is() { if [ "$1" = "$2" ]; then pass "$3"; else fail "$3" "     got: $1" "expected: $2"; fi; }
isnt() { if [ "$1" != "$2" ]; then pass "$3"; else fail "$3" "got: $1"; fi; }
# like GOT REGEX DESCRIPTION (extended regular expression)
like() { if [[ $1 =~ $2 ]]; then pass "$3"; else fail "$3" "     got: $1" "no match: $2"; fi; }
unlike() { if [[ $1 =~ $2 ]]; then fail "$3" "     got: $1" "matches: $2"; else pass "$3"; fi; }
skip() { _n=$((_n + 1)); echo "ok $_n - # SKIP $1"; }
skip_all() { echo "1..0 # SKIP $1"; _undo+=(:); exit 0; }
bail() { echo "Bail out! $*"; exit 1; }
# Where everything takes longer (User Mode Linux), deadlines are multiplied by this.
SLOW=${SLOW:-1}
# eventually SECONDS COMMAND…: repeats the command until it succeeds.
eventually() {
    local end=$(($(date +%s%N) + $1 * SLOW * 1000000000))
    shift
    until "$@" >"$T/.eventually" 2>&1; do
        [ "$(date +%s%N)" -lt $end ] || { cat "$T/.eventually"; return 1; }
        sleep 0.05
    done
}
done_testing() { echo "1..$_n"; [ $_failed = 0 ]; }
