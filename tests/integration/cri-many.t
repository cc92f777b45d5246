#!/usr/bin/env bash
# Many pods on one machine: they start, answer and stop; what one costs in memory is printed. PODS (100; 500 in
# make soak) says how many.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/cri.sh"
PODS=${PODS:-100}
cri_setup
cri_start --pod-cidr 10.99.0.0/23
ok "an image" cri import "$B/share/coracle/hello.tar"
before=$(in_node ip -o link | wc -l)
mkfifo "$T/hold"
in_node "$B/tests/bin/cri-bench" --socket "$CRI_SOCKET" --image coracle.local/hello:v1 --rounds 0 --parallel "$PODS" \
    --hold -1 <"$T/hold" >"$T/bench" 2>&1 &
BENCH=$!
exec 9>"$T/hold"
ended() { ! kill -0 "$BENCH" 2>/dev/null; }
started() { grep -q '^start-' "$T/bench" || ended; }
ok "$PODS pods at once" eventually 300 started
diag "$(grep '^start-' "$T/bench") (milliseconds)"
shims() { pgrep -f "coracle-shim $R/"; }
is "$(shims | wc -l)" "$PODS" "have a shim each"
leases=$(ls "$R/run/coracle/network/leases")
is "$(wc -w <<<"$leases")" "$PODS" "... and an address"
answers() { # of all of them
    local ip n=0
    for ip in $leases; do
        in_node curl -sf --max-time 10 "http://$ip:8080/" | grep -q Hello && n=$((n + 1))
    done
    echo $n
}
is "$(answers)" "$PODS" "they all answer"
memory() { for p; do cat "/proc/$p/smaps_rollup" 2>/dev/null; done | awk -v n="$PODS" '/^Pss:/{p+=$2} /^Pss_Anon:/{a+=$2} END{printf "%d kB, %d kB of it anonymous", p / n, a / n}'; }
diag "memory a pod, PSS: its shim $(memory $(shims)); its part of coracle-cri $(memory "$CRI_PID")"
exec 9>&-
ok "they stop" eventually 300 ended
wait "$BENCH"
is "$?" 0 "... and are removed"
diag "$(grep '^remove-' "$T/bench") (milliseconds)"
links() { [ "$(in_node ip -o link | wc -l)" = $((before)) ]; }
ok "no link is left" eventually 20 links
is "$(shims | wc -l) $(ls "$R/run/coracle/sandboxes" | wc -l)" "0 0" "no shim, no state is left"
no_leases() { [ -z "$(ls "$R/run/coracle/network/leases")" ]; }
ok "no lease is left" eventually 20 no_leases
is "$(grep -c "$R/run" /proc/self/mountinfo)" 0 "no mount is left"
done_testing
