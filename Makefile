# Coracle. `make help` lists the targets.
#
#   B=DIR          build directory (build; build/asan for the sanitizer build)
#   V=1            print the commands
#   TIDY=GLOB      the sources that tidy looks at
#   SANITIZE=LIST  sanitizers, e.g. address,undefined
#   JOBS=N         compilations at once, of the targets that build by themselves (all processors)
#   DESTDIR=, prefix=  for install

B        ?= build
prefix   ?= /usr/local
bindir   ?= $(prefix)/bin
libexecdir ?= $(prefix)/libexec
datadir  ?= $(prefix)/share
unitdir  ?= $(prefix)/lib/systemd/system
CC       ?= gcc
OBJCOPY  ?= objcopy
SANITIZE ?=
JOBS     ?= $(shell nproc)

Q := $(if $(V),,@)
say = $(if $(V),,@printf '  %-8s %s\n' $(1) $(2))

KUBERNETES_MINOR := 36
VERSION  := v1.$(KUBERNETES_MINOR).0+coracle
PACKAGES := libevent_openssl libevent openssl libcurl jansson yaml-0.1 libnghttp2 libprotobuf-c libnl-route-3.0 \
            libnl-genl-3.0 libnl-nf-3.0 libseccomp libcap-ng libarchive zlib libzstd sqlite3 libsystemd ldns
DEP_CFLAGS := $(shell pkg-config --cflags $(PACKAGES) 2>/dev/null)
# libwslay has no pkg-config file.
DEP_LIBS   := $(shell pkg-config --libs $(PACKAGES) 2>/dev/null) -lwslay

WARN := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
        -Wwrite-strings -Wvla -Wformat=2 -Wundef -Wno-format-nonliteral -Wno-missing-field-initializers -Wno-format-truncation -Wno-unknown-warning-option
CFLAGS ?= -O2 -g
ALL_CFLAGS := -std=gnu11 -Ulinux $(CFLAGS) $(WARN) -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -D_TIME_BITS=64 \
        -DCORACLE_VERSION='"$(VERSION)"' -DKUBERNETES_MINOR_TEXT='"1.$(KUBERNETES_MINOR)"' -I. -Ilib -Itests -I$(B)/gen -I$(B)/gen/lib $(DEP_CFLAGS) \
        -fPIE -fstack-protector-strong -fstack-clash-protection -ffunction-sections -fdata-sections
ALL_LDFLAGS := $(LDFLAGS) -pie -Wl,-z,relro,-z,now -Wl,--as-needed -Wl,--gc-sections
STATIC := -static-pie
ifneq ($(SANITIZE),)
ALL_CFLAGS += -fsanitize=$(SANITIZE) -fno-omit-frame-pointer -fno-sanitize-recover=undefined
ALL_LDFLAGS += -fsanitize=$(SANITIZE)
STATIC :=
else
ALL_CFLAGS += -D_FORTIFY_SOURCE=2
endif

# A directory with a main.c is a program, made of its own sources and those of its subdirectories
# that are no programs themselves. cli/ becomes bin/coracle, every other one
# libexec/coracle/coracle-NAME.
MAINS    := $(wildcard cli/main.c apiserver/main.c controllers/main.c kubelet/main.c cri/main.c \
              cri/*/main.c kubelet/*/main.c proxy/main.c flannel/main.c dns/main.c)
PROG_DIRS := $(patsubst %/main.c,%,$(MAINS))
sources_of = $(filter-out $(1)/main.c,$(wildcard $(1)/*.c)) \
             $(foreach d,$(filter-out $(PROG_DIRS),$(patsubst %/,%,$(wildcard $(1)/*/))),$(wildcard $(d)/*.c))
program_of = $(if $(filter cli,$(1)),$(B)/bin/coracle,$(B)/libexec/coracle/coracle-$(notdir $(1)))
# These start per pod or per container: static, with nothing to load.
STATIC_PROGRAMS := cri/shim cri/launch cri/init kubelet/tree

PROTOS   := $(wildcard lib/*/*.proto etcd-client/*/*.proto)
GEN_C    := $(PROTOS:%.proto=$(B)/gen/%.pb-c.c)
GEN_H    := $(GEN_C:.c=.h)
LIB_SRC  := $(wildcard lib/*/*.c lib/*/*/*.c etcd-client/*.c)
LIB_OBJ  := $(LIB_SRC:%.c=$(B)/obj/%.o) $(GEN_C:$(B)/gen/%.c=$(B)/obj/gen/%.o)
LIB      := $(B)/lib/libcoracle.a
# Every program's sources are a library too, for the tests; also those of one that has no main.c yet.
LIB_DIRS := $(sort $(PROG_DIRS) $(foreach d,cri apiserver,$(if $(wildcard $(d)/*.c),$(d))))
COMPONENT_LIBS := $(foreach d,$(LIB_DIRS),$(B)/lib/lib$(subst /,-,$(d)).a)
PROGRAMS := $(foreach d,$(PROG_DIRS),$(call program_of,$(d)))

UNIT     := $(patsubst %.c,$(B)/%,$(wildcard tests/unit/test_*.c))
FUZZ     := $(patsubst %.c,$(B)/%,$(wildcard tests/fuzz/fuzz_*.c))
TEST_LIB_OBJ := $(patsubst %.c,$(B)/obj/%.o,$(wildcard tests/lib/*.c))
TEST_PROGS := $(patsubst tests/lib/progs/%.c,$(B)/tests/bin/%,$(wildcard tests/lib/progs/*.c))
# Programs that run inside test images: static, nothing but libc.
IMAGE_PROGS := $(patsubst tests/lib/image/%.c,$(B)/tests/image/%,$(wildcard tests/lib/image/*.c)) $(B)/tests/image/resolve-musl
HELLO    := $(patsubst manifests/examples/%.c,$(B)/share/coracle/%.tar,$(wildcard manifests/examples/hello.c))

.PHONY: all help programs deps up down test test-cri-peer test-unit test-e2e test-asan fuzz soak bench bench-proxy lint format tidy \
        analyze coverage install uninstall clean
.DELETE_ON_ERROR:
.SECONDARY:

all: programs ## build everything
programs: $(PROGRAMS) $(HELLO) $(EXTRA_ALL)

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  %-20s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# ---- libraries and programs ----
$(B)/gen/%.pb-c.c $(B)/gen/%.pb-c.h: %.proto
	$(call say,PROTOC,$<)
	@mkdir -p $(dir $(B)/gen/$*)
	$(Q)protoc-c --proto_path=$(dir $<) --c_out=$(dir $(B)/gen/$*) $<

$(B)/obj/gen/%.o: $(B)/gen/%.c
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -Wno-error -w -MMD -MP -c -o $@ $<

$(B)/obj/%.o: %.c | $(GEN_H)
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# The schema text is embedded by the assembler, which reports no dependencies.
$(B)/obj/lib/kube/schema_text.o: $(wildcard lib/kube/schema/*.schema)
$(B)/obj/lib/kube/protobuf_text.o: lib/kube/protobuf.numbers
$(B)/obj/apiserver/auth/policy_text.o: apiserver/auth/policy.text

$(LIB): $(LIB_OBJ)
	$(call say,AR,$@)
	@mkdir -p $(@D)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

define COMPONENT_LIB
$(B)/lib/lib$(subst /,-,$(1)).a: $(patsubst %.c,$(B)/obj/%.o,$(call sources_of,$(1)))
	$$(call say,AR,$$@)
	@mkdir -p $$(@D)
	$(Q)rm -f $$@ && $(AR) rcs $$@ $$^
endef
$(foreach d,$(LIB_DIRS),$(eval $(call COMPONENT_LIB,$(d))))

define PROGRAM
$(call program_of,$(1)): $(B)/obj/$(1)/main.o $(B)/lib/lib$(subst /,-,$(1)).a $(LIB)
	$$(call say,LD,$$@)
	@mkdir -p $$(@D)
	$(Q)$(CC) $(if $(filter $(1),$(STATIC_PROGRAMS)),$(filter-out -pie,$(ALL_LDFLAGS)) $(if $(STATIC),$(STATIC),-pie),$(ALL_LDFLAGS)) \
	  -o $$@ $$^ $(if $(and $(STATIC),$(filter $(1),$(STATIC_PROGRAMS))),,$(DEP_LIBS) -pthread -lm)
endef
$(foreach d,$(PROG_DIRS),$(eval $(call PROGRAM,$(d))))

# The etcd client alone, with what it needs of lib/; nothing but etcd_* is visible outside.
ETCD_OBJ := $(patsubst %.c,$(B)/obj/%.o,$(wildcard etcd-client/*.c lib/net/grpc_*.c) lib/net/socket.c \
              $(addprefix lib/base/,error.c fs.c log.c loop.c strbuf.c)) $(B)/obj/gen/etcd-client/proto/etcd.pb-c.o
$(B)/lib/libcoracle-etcd.a: $(ETCD_OBJ)
	$(call say,AR,$@)
	@mkdir -p $(@D)
	$(Q)$(LD) -r -o $(B)/lib/coracle-etcd.o $^ && $(OBJCOPY) --wildcard --keep-global-symbol='etcd_*' $(B)/lib/coracle-etcd.o
	$(Q)rm -f $@ && $(AR) rcs $@ $(B)/lib/coracle-etcd.o

# ---- tests ----
$(B)/tests/unit/%: $(B)/obj/tests/unit/%.o $(TEST_LIB_OBJ) $(COMPONENT_LIBS) $(LIB)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $< $(TEST_LIB_OBJ) -Wl,--start-group $(COMPONENT_LIBS) $(LIB) -Wl,--end-group $(DEP_LIBS) -lcmocka -pthread -lm

$(B)/tests/fuzz/%: $(B)/obj/tests/fuzz/%.o $(B)/obj/tests/fuzz/main.o $(TEST_LIB_OBJ) $(COMPONENT_LIBS) $(LIB)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $< $(if $(FUZZER),,$(B)/obj/tests/fuzz/main.o) $(TEST_LIB_OBJ) -Wl,--start-group $(COMPONENT_LIBS) $(LIB) -Wl,--end-group $(DEP_LIBS) -lcmocka -pthread -lm

$(B)/tests/bin/%: $(B)/obj/tests/lib/progs/%.o $(TEST_LIB_OBJ) $(COMPONENT_LIBS) $(LIB)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $< $(TEST_LIB_OBJ) -Wl,--start-group $(COMPONENT_LIBS) $(LIB) -Wl,--end-group $(DEP_LIBS) -lcmocka -pthread -lm

$(B)/tests/image/%: tests/lib/image/%.c
	$(call say,CC,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) -std=gnu11 -O2 $(WARN) -D_GNU_SOURCE -static -s -o $@ $<

$(B)/tests/image/%-musl: tests/lib/image/%.c
	$(call say,CC,$@)
	@mkdir -p $(@D)
	$(Q)musl-gcc -std=gnu11 -O2 -D_GNU_SOURCE -static -s -o $@ $<

$(B)/share/coracle/%: manifests/examples/%.c
	$(call say,CC,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) -std=gnu11 -Os $(WARN) -D_GNU_SOURCE -static -s -o $@ $<

# The image of the hello example: an archive that `coracle image import` takes.
$(B)/share/coracle/%.tar: $(B)/share/coracle/% manifests/examples/mkimage
	$(call say,IMAGE,$@)
	$(Q)rm -rf $(@D)/$*.root && mkdir -p $(@D)/$*.root && cp $< $(@D)/$*.root/$*
	$(Q)manifests/examples/mkimage -o $@ -n coracle.local/$*:v1 -e /$* -u 65534:65534 $(@D)/$*.root
	$(Q)rm -rf $(@D)/$*.root

.PHONY: tests
tests: all $(UNIT) $(FUZZ) $(TEST_PROGS) $(IMAGE_PROGS)

export B
test: deps ## run every test (as root)
	$(Q)$(MAKE) -j$(JOBS) --no-print-directory tests
	$(Q)$(MAKE) -j$(JOBS) --no-print-directory tests B=build/asan SANITIZE=address,undefined CFLAGS='-O1 -g'
	$(Q)tests/lib/run-tests $(TESTS)

test-unit: tests ## run the unit tests and replay the fuzz corpus
	$(Q)tests/lib/run-tests unit fuzz

test-e2e: tests ## run the end-to-end tests
	$(Q)tests/lib/run-tests e2e

test-asan: ## run unit and integration tests in an ASan+UBSan build
	$(Q)$(MAKE) -j$(JOBS) --no-print-directory tests B=build/asan SANITIZE=address,undefined CFLAGS='-O1 -g'
	$(Q)B=build/asan tests/lib/run-tests unit fuzz integration

# Tests of the runtime that hold for every CRI runtime.
PEER_TESTS := cri cri-api cri-containers cri-logs cri-seccomp cri-streaming
test-cri-peer: tests ## the runtime's own tests against Debian's containerd: is what they expect right?
	$(Q)CRI_PEER=containerd tests/lib/run-tests $(PEER_TESTS:%=tests/integration/%.t)

fuzz: ## run every fuzz target under libFuzzer (FUZZ_SECONDS each)
	$(Q)tests/lib/run-fuzz

soak: tests ## long kill, fuzz and load runs
	$(Q)tests/lib/run-soak

bench: tests ## measure beside Debian's packages; writes docs/benchmarks.md
	$(Q)tests/bench/run

bench-proxy: tests ## measure the service proxy; writes docs/benchmarks-proxy.md
	$(Q)tests/bench/proxy

# ---- the cluster ----
deps: ## install the Debian packages that are missing
	$(Q).ci/deps

up: ## build, start a single-node cluster, apply the hello example
	$(Q).ci/deps run build
	$(Q)$(MAKE) -j$(JOBS) --no-print-directory all
	$(Q)$(B)/bin/coracle up --apply manifests/examples/hello.yaml --image $(B)/share/coracle/hello.tar

down: ## stop the cluster
	$(Q)$(B)/bin/coracle down

# ---- quality ----
lint: ## sizes, layers, licences, placeholders, format
	$(Q)tests/lib/lint

format: ## reformat the sources
	$(Q)git ls-files --cached --others --exclude-standard '*.c' '*.h' | xargs -r clang-format -i

tidy: $(GEN_H) ## clang-tidy
	$(Q)git ls-files -- $(or $(TIDY),'*.c' ':!etcd-client/examples') | xargs -r -P2 -I{} sh -c 'out=$$(clang-tidy --quiet --warnings-as-errors="*" "$$@" 2>&1) || \
	  { printf "%s\n" "$$out" | grep -v " generated\.$$"; exit 1; }' sh {} -- $(filter-out -fstack-clash-protection,$(ALL_CFLAGS))

# Off: missingInclude (system headers), nullPointerRedundantCheck (paths that TAKE_PTR ended),
# varFuncNullUB (NULL is a pointer in every C library we build with), readdirCalled (readdir_r is deprecated).
analyze: ## cppcheck
	$(Q)cppcheck --quiet --error-exitcode=1 --enable=warning,portability --inline-suppr --library=tests/lib/cppcheck.cfg \
	  $(foreach s,missingInclude nullPointerRedundantCheck varFuncNullUB readdirCalled,--suppress=$s) \
	  -I. -Ilib -Itests -D_GNU_SOURCE -j2 $$(git ls-files '*.c')

coverage: ## line coverage of the unit tests
	$(Q)$(MAKE) --no-print-directory test-unit B=build/coverage CFLAGS='-O0 -g --coverage' LDFLAGS=--coverage
	$(Q)find build/coverage -name '*.gcda' | xargs gcov -n 2>/dev/null | awk '/^File .*(lib|apiserver|controllers|kubelet|cri|proxy|flannel|dns|cli|etcd-client)\//{f=$$2} /^Lines/ && f{print f, $$2, $$3, $$4; f=""}' | sort -u

# ---- installation ----
.PHONY: install-etcd-client
install-etcd-client: $(B)/lib/libcoracle-etcd.a ## install the etcd client library, its header and pkg-config file
	install -d $(DESTDIR)$(prefix)/include/coracle-etcd $(DESTDIR)$(prefix)/lib/pkgconfig
	install -m 644 etcd-client/etcd.h $(DESTDIR)$(prefix)/include/coracle-etcd/
	install -m 644 $(B)/lib/libcoracle-etcd.a $(DESTDIR)$(prefix)/lib/
	sed 's|@prefix@|$(prefix)|; s|@version@|$(VERSION:v%=%)|' etcd-client/coracle-etcd.pc.in \
	  > $(DESTDIR)$(prefix)/lib/pkgconfig/coracle-etcd.pc

install: all install-etcd-client ## install to $(DESTDIR)$(prefix)
	install -d $(DESTDIR)$(bindir) $(DESTDIR)$(libexecdir)/coracle $(DESTDIR)$(unitdir)
	install -m 755 $(B)/bin/coracle $(DESTDIR)$(bindir)/
	install -m 755 $(filter $(B)/libexec/%,$(PROGRAMS)) $(DESTDIR)$(libexecdir)/coracle/
	for u in manifests/systemd/*.service; do [ -e "$$u" ] || continue; \
	  sed 's|@bindir@|$(bindir)|g; s|@libexecdir@|$(libexecdir)|g' "$$u" > $(DESTDIR)$(unitdir)/$${u##*/}; done

uninstall: ## remove what install put there
	rm -f $(DESTDIR)$(bindir)/coracle $(DESTDIR)$(prefix)/lib/libcoracle-etcd.a \
	  $(DESTDIR)$(prefix)/lib/pkgconfig/coracle-etcd.pc
	rm -rf $(DESTDIR)$(prefix)/include/coracle-etcd $(DESTDIR)$(libexecdir)/coracle
	for u in manifests/systemd/*.service; do rm -f $(DESTDIR)$(unitdir)/$${u##*/}; done

clean: ## remove what was built
	rm -rf build

-include $(shell find $(B)/obj -name '*.d' 2>/dev/null)
