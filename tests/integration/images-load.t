#!/usr/bin/env bash
# The directory of archives: loaded at the start and when it changes, pinned while the file is there.
. "$(dirname "$0")/../lib/imagestore.sh"
for tool in skopeo zstd; do command -v $tool >/dev/null || skip_all "needs $tool"; done
DIR=$T/var/lib/coracle/images.d
loaded() { grep -c "msg=\"the images of an archive were loaded\" file=$DIR/$1" "$T/cri.log"; }
failed() { grep -c "msg=\"the images of an archive were not loaded\" file=$DIR/$1 " "$T/cri.log"; }
is_pinned() { images status "$1" | grep -qx pinned; }
is_loaded() { [ "$(loaded "$1")" = "$2" ]; }
unpinned() { [ -n "$(images status "$1")" ] && ! is_pinned "$1"; }

start_cri || bail "coracle-cri does not start: $(tail -5 "$T/cri.log")"
ok "the directory is made" eventually 10 test -d "$DIR"
stop_cri
hello=$(testimage hello)
skopeo copy -q "oci-archive:$hello" "docker-archive:$DIR/a-docker.tar:some/repo:tag"
zstd -q "$(testimage busybox)" -o "$DIR/c-busybox.tar.zst"
head -c 100000 "$hello" >"$DIR/b-cut.tar"
echo nonsense >"$DIR/.half-copied.tar"
mkfifo "$DIR/pipe"
mkdir "$DIR/folder"
ln -s "$T/elsewhere.tar" "$DIR/d-link.tar"
cp "$hello" "$T/elsewhere.tar"

# ---- at the start ----
start_cri || bail "coracle-cri does not start"
ok "the archives of the directory are loaded" eventually 60 is_pinned coracle.local/busybox:v1
ok "links are followed" eventually 60 is_pinned coracle.local/hello:v1
ok "and their images pinned" is_pinned some/repo:tag
is "$(loaded a-docker.tar) $(loaded c-busybox.tar.zst) $(loaded d-link.tar)" "1 1 1" "a line for each"
is "$(failed b-cut.tar) $(failed pipe) $(failed folder) $(grep -c half-copied "$T/cri.log")" "1 1 1 0" "a line for each that cannot be loaded; hidden files are nobody's business"
like "$(grep 'not loaded.*b-cut' "$T/cri.log")" " warn .*error=.*(cut|trunc|damaged|not a readable)" "with the reason"
is "$(grep -n 'msg=serving' "$T/cri.log" | tail -1 | cut -d: -f1)" \
    "$(grep -n 'msg=serving\|were loaded' "$T/cri.log" | tail -4 | head -1 | cut -d: -f1)" "the socket is served before"
ok "nothing is left of the broken ones" eventually 20 eval "[ -z \"\$(ls '$STORE/tmp')\" ]"
is "$(images list some/repo:tag | grep -c '^pinned')" 1 "ListImages says so too"

# ---- again ----
stop_cri -KILL
start_cri || bail "coracle-cri does not start"
ok "after a kill -9 the pins are there at once" is_pinned some/repo:tag
touch "$DIR/z-end.tar" # the last of a round: when it has failed, all others have been looked at
ok "the directory is looked at" eventually 20 eval "[ \"\$(grep -c 'not loaded.*z-end' '$T/cri.log')\" = 1 ]"
is "$(loaded a-docker.tar) $(loaded c-busybox.tar.zst) $(loaded d-link.tar)" "1 1 1" "but what has not changed is not read again"
stop_cri
touch "$DIR/c-busybox.tar.zst"
start_cri || bail "coracle-cri does not start"
ok "what has changed is" eventually 30 is_loaded c-busybox.tar.zst 2
is "$(loaded a-docker.tar)" 1 "alone"

# ---- while the daemon runs ----
cp "$T/elsewhere.tar" "$DIR/.new"
mv "$DIR/.new" "$DIR/e-new.tar"
ok "an archive that is put there is loaded" eventually 30 is_loaded e-new.tar 1
rm "$DIR/c-busybox.tar.zst"
ok "one that is taken away pins nothing any more" eventually 20 unpinned coracle.local/busybox:v1
rm "$DIR/e-new.tar"
sleep 0.5
ok "an image that another archive holds too stays pinned" is_pinned coracle.local/hello:v1
mkdir -p "$T/v2"
echo second >"$T/v2/file"
make_image "$T/v2.tar" some/repo:tag "$T/v2"
mv "$T/v2.tar" "$DIR/a-docker.tar"
ok "a new version in the same file" eventually 30 is_loaded a-docker.tar 2
is "$(ls "$(layers_of some/repo:tag)")" "file" "takes the name"
ok "and is pinned" is_pinned some/repo:tag
mkdir -p "$T/v3"
make_image "$DIR/.f" some/repo:tag "$T/v3"
mv "$DIR/.f" "$DIR/f-rival.tar"
ok "another archive with an image of that name" eventually 30 is_loaded f-rival.tar 1
touch "$DIR/y-end.tar"
ok "the directory is looked at again" eventually 20 eval "[ \"\$(grep -c 'not loaded.*y-end' '$T/cri.log')\" = 1 ]"
is "$(loaded a-docker.tar) $(loaded f-rival.tar)" "2 1" "they do not take turns"
rm "$DIR/f-rival.tar"
mv "$DIR/a-docker.tar" "$T/"
eventually 20 unpinned some/repo:tag
mv "$T/a-docker.tar" "$DIR/"
ok "an archive that was taken away and comes back is loaded again" eventually 30 is_loaded a-docker.tar 3
is "$(ls "$(layers_of some/repo:tag)")" "file" "and has the name again"

# ---- removal ----
ID=$(images status some/repo:tag | sed -n 's/^id //p')
images remove "$ID"
is "$(images status some/repo:tag)" "" "RemoveImage removes a pinned image, as upstream's runtimes do"
stop_cri
start_cri || bail "coracle-cri does not start"
ok "the next start brings it back" eventually 30 is_pinned some/repo:tag
stop_cri
echo '{"file":' >"$STORE/pins/$(printf '%064d' 1).json"
rm "$DIR/d-link.tar"
start_cri || bail "coracle-cri does not start"
ok "a damaged record is set aside" eventually 5 eval "ls '$STORE/quarantine' | grep -q ."
ok "a file that went meanwhile is noticed" eventually 20 unpinned coracle.local/hello:v1

# ---- killed while it loads ----
stop_cri
remove="$STORE/pins $STORE/images $STORE/references"
for delay in 0.02 0.06 0.15 0.3; do
    rm -rf $remove
    start_cri
    sleep $delay
    stop_cri -KILL
done
cp "$hello" "$DIR/d-link.tar"
start_cri || bail "coracle-cri does not start"
ok "killed at any time, it ends up loaded" eventually 60 is_pinned coracle.local/hello:v1
ok "all of it" eventually 60 is_pinned some/repo:tag
ok "and nothing is left over" eventually 20 eval "[ -z \"\$(ls '$STORE/tmp')\" ]"

# ---- a directory that cannot be ----
stop_cri
rm -rf "$DIR"
echo x >"$DIR"
start_cri || bail "coracle-cri does not start"
ok "a file in the directory's place is a line in the log" eventually 5 grep -q 'no directory of image archives.*images.d' "$T/cri.log"
ok "and what was pinned stays so" is_pinned some/repo:tag
stop_cri
is "$?" 0 "coracle-cri ends orderly"
is "$(grep -c 'ERROR: AddressSanitizer\|runtime error' "$T/cri.log")" 0 "no sanitizer report"
done_testing
