#pragma once

/* policy.text, NUL-terminated. */
const char *policy_builtin_text(void);
