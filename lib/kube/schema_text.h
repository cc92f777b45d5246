/* The built-in schema text: every file of lib/kube/schema, one after the other. */
#pragma once

const char *schema_builtin_text(void);
