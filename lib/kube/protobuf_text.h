/* The text of protobuf.numbers. */
#pragma once

const char *protobuf_numbers_text(void);
