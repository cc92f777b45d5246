/* Taking an image archive (OCI layout or `docker save`) apart into numbered files. */
#pragma once

#include "base/error.h"
#include "base/json.h"
#include "cri/unpack/stream.h"

#define MEMBERS_MAX      20000
#define MEMBER_NAME_MAX  1024
#define MEMBERS_TEXT_MAX (8U << 20) /* of the list */

/* Writes every regular file of the archive to @dirfd, named "0", "1", … in order, and lists them:
 * [{"name":"blobs/sha256/…","file":"0","size":123,"digest":"sha256:…"},
 *  {"name":"a/layer.tar","link":"../b/layer.tar"}]. Names are as in the archive, without a leading
 * "./". 0 or -errno. The archive may be gzip or zstd compressed. */
int members_extract(struct stream_source *source, int dirfd, json_t **ret, struct error *err);
