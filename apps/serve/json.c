/* SPDX-License-Identifier: MIT */
#include "json.h"

#include <stdbool.h>
#include <stdio.h>

/* Levels of arrays and objects, at the deepest; brackets inside strings do not count. */
static unsigned depth_of(const char *text, size_t size)
{
    unsigned depth = 0, deepest = 0;
    bool in_string = false;

    for (size_t i = 0; i < size; i++) {
        char c = text[i];

        if (in_string && c == '\\')
            i++;
        else if (c == '"')
            in_string = !in_string;
        else if (!in_string && (c == '[' || c == '{'))
            depth++;
        else if (!in_string && (c == ']' || c == '}') && depth > 0)
            depth--;
        deepest = depth > deepest ? depth : deepest;
    }
    return deepest;
}

json_t *json_read(const char *text, size_t size, json_error_t *error)
{
    if (depth_of(text, size) <= JSON_DEPTH_MAX)
        return json_loadb(text, size, JSON_REJECT_DUPLICATES, error);
    *error = (json_error_t){.line = 1, .column = 1};
    snprintf(error->text, sizeof error->text, "nested deeper than %d levels", JSON_DEPTH_MAX);
    return NULL;
}
