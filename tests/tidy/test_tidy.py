#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Tidy's own test: a clean tree passes, and each rule finds the one line that breaks it."""
import pathlib
import tempfile
import unittest

import tidy

SPDX = '/* SPDX-License-Identifier: MIT */\n'

CLEAN = {
    'include/tandem.h': SPDX + '#include "tandem/ws.h"\n',
    'include/tandem/ws.h': SPDX + '''
/* Opens one. Any thread. Returns 0 or -ENOMEM. */
int td_ws_open(struct td_ws **ws);

/* Durations. */
td_time td_sec(int64_t seconds);
td_time td_ms(int64_t milliseconds);

typedef int (*td_fn)(void *arg);
''',
    'src/base/list.h': SPDX + 'struct list {\n    struct list *next, *prev;\n};\nextern char **environ;\n',
    'src/task/task.c': SPDX + '''#include "task/task.h"

#include <stdlib.h>

#include "base/list.h"
#include "tandem/run.h"

static const char *const names[] = {"one", "two"};
static _Thread_local struct sched *this_sched;
/* tidy: allow, because a signal handler has nothing else to look at */
static struct task *overflowed;
static int helper(const struct task *task);

enum colour { RED, GREEN };

/* Does not call system("true"), strcpy(a, b) or sleep(1). */
struct task *task_new(void)
{
    static const int sizes[] = {1, 2};
    struct task *task = malloc(sizeof *task + sizes[0]);

    if (task == NULL)
        return NULL;
    td_sleep(1);
    return helper(task) ? NULL : task;
}

char *copy(const char *text)
{
    return strdup(text);
}

char *room(size_t size)
{
    char *block = size <= 1000 ? malloc(size) : NULL;

    if (!block)
        return NULL;
    block = (char *)realloc(block, 9);
    must(block != NULL, "there is memory");
    return block;
}
''',
    'src/ws/server.c': SPDX + '#include "http/codec.h"\n#include "ws/codec.h"\n#include "tandem/ws.h"\n',
    'apps/serve/chat.h': SPDX,
    'apps/serve/chat.c': SPDX + '#include <jansson.h>\n#include <tandem/ws.h>\n#include "chat.h"\n',
    'examples/blocking.c': SPDX + '#include <tandem.h>\nint main(void)\n{\n    sleep(1);\n}\n',
    'tools/go': '#!/usr/bin/env bash\n# SPDX-License-Identifier: MIT\n',
    'build/made.c': 'strcpy(a, b);\n',
}

BODY = '{\n' + '    x++;\n' * (tidy.FUNCTION_LINES_MAX + 1) + '}\n'

# What is wrong, where (file, line), the file's text, a part of the complaint.
WRONG = [
    ('a floor that looks up', 'src/net/tcp.c', 2, SPDX + '#include "ws/codec.h"\n', 'must not look up'),
    ('a floor that looks up in brackets', 'src/net/tcp.c', 2, SPDX + '#include <ws/codec.h>\n', 'must not look up'),
    ('an upper public header', 'src/net/tcp.c', 2, SPDX + '#include "tandem/ws.h"\n', 'must not look up'),
    ('every header at once', 'src/ws/x.c', 2, SPDX + '#include "tandem.h"\n', 'every floor at once'),
    ('a room nobody knows', 'src/attic/x.c', 2, SPDX + '#include "base/list.h"\n', 'on no floor'),
    ('a header without its room', 'src/ws/x.c', 2, SPDX + '#include "codec.h"\n', 'room/file.h'),
    ('a public header with private parts', 'include/tandem/x.h', 2, SPDX + '#include "base/list.h"\n', 'only public'),
    ('an app that reaches inside', 'apps/serve/x.c', 2, SPDX + '#include "ws/codec.h"\n', 'public headers'),
    ('an app in another folder', 'apps/load/x.c', 2, SPDX + '#include "../serve/chat.h"\n', 'own folder'),
    ('an example that reaches inside', 'examples/x.c', 2, SPDX + '#include <base/list.h>\n', 'public headers'),
    ('a long file', 'web/x.js', 601, 'x();\n' * 601, '601 lines'),
    ('a long function', 'src/ws/x.c', 3, SPDX + 'void x(void)\n' + BODY, 'a function of 71 lines'),
    ('a wide line', 'src/ws/x.c', 2, SPDX + '/* ' + 'x' * 130 + ' */\n', '136 columns'),
    ('a banned call', 'src/ws/x.c', 2, SPDX + 'int f(char *x) { return atoi(x); }\n', 'atoi is banned'),
    ('an array of any size', 'src/ws/x.c', 2, SPDX + 'int f(char *x) { g(__builtin_alloca(9)); }\n', 'alloca is banned'),
    ('a sleep for luck', 'tests/ws/x.c', 2, SPDX + 'int f(void) { usleep(9); }\n', 'usleep is banned'),
    ('memory unchecked', 'src/ws/x.c', 4, SPDX + 'void f(void)\n{\n    x->p = malloc(9);\n    if (n > 0)\n'
     '        *x->p = 1;\n}\n', 'malloc is not checked'),
    ('memory checked too late', 'src/ws/x.c', 4, SPDX + 'void f(void)\n{\n    p = strdup(q);' + '\n' * 5
     + '    if (p)\n        g(p);\n}\n', 'not checked'),
    ('no contract', 'include/tandem/x.h', 3, SPDX + '\nint td_x(int x);\n', 'td_x has no contract'),
    ('a macro without contract', 'include/tandem/x.h', 3, SPDX + '\n#define td_x(x) (x)\n', 'td_x has no contract'),
    ('a contract out of reach', 'include/tandem/x.h', 4, SPDX + '/* Does x. */\n\nint *td_x(int x);\n', 'no contract'),
    ('a remark for a contract', 'include/tandem/x.h', 3, SPDX + 'int y; /* y */\nint td_x(int x);\n', 'no contract'),
    ('a licence as contract', 'include/tandem/x.h', 2, SPDX + 'int td_x(int x);\n', 'no contract'),
    ('no licence in C', 'src/ws/x.c', 1, 'int x(void);\n', 'no SPDX'),
    ('no licence in assembly', 'src/ws/x.S', 1, '.text\n', 'no SPDX'),
    ('no licence in a build file', 'src/meson.build', 1, 'x = 1\n', 'no SPDX'),
    ('no licence in a script', 'tools/x', 2, '#!/bin/sh\ntrue\n', 'no SPDX'),
    ('a tab', 'src/ws/x.c', 2, SPDX + 'int x(void\t);\n', 'a tab'),
    ('white space at the end', 'web/x.css', 1, 'p { } \n', 'white space'),
    ('work put off', 'src/ws/x.c', 2, SPDX + '/* TO' 'DO */\n', 'do it now'),
    ('a static variable', 'src/ws/x.c', 2, SPDX + 'static int count;\n', 'mutable variable'),
    ('a static with a value', 'src/ws/x.c', 2, SPDX + 'static struct x all = {\n    .n = 1,\n};\n', 'mutable variable'),
    ('a pointer that moves', 'src/ws/x.c', 2, SPDX + 'static const char *name = "x";\n', 'mutable variable'),
    ('a global variable', 'src/ws/x.c', 2, SPDX + 'unsigned total = 3;\n', 'mutable variable'),
    ('an atomic variable', 'src/ws/x.c', 2, SPDX + 'static _Atomic(int) total;\n', 'mutable variable'),
    ('a hook', 'src/ws/x.c', 2, SPDX + 'static int (*hook)(int x);\n', 'mutable variable'),
    ('a static in a function', 'src/ws/x.c', 4, SPDX + 'int f(void)\n{\n    static int n = 0;\n    return n++;\n}\n',
     'mutable variable'),
    ('allowed without a reason', 'tests/ws/x.c', 2, SPDX + '/* tidy: allow, because */\n', 'without a reason'),
]


def lay(root, files):
    for name, text in files.items():
        path = pathlib.Path(root, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding='utf-8')


class Tidy(unittest.TestCase):
    maxDiff = None

    def test_a_clean_tree_passes(self):
        with tempfile.TemporaryDirectory() as root:
            lay(root, CLEAN)
            count, findings = tidy.check(pathlib.Path(root))
        self.assertEqual(findings, [])
        self.assertEqual(count, len(CLEAN) - 1)   # not the one in build/

    def test_each_rule_finds_its_one_line(self):
        for what, name, line, text, complaint in WRONG:
            with self.subTest(what), tempfile.TemporaryDirectory() as root:
                lay(root, CLEAN | {name: text})
                _, findings = tidy.check(pathlib.Path(root))
                self.assertEqual([(str(found.path), found.line) for found in findings], [(name, line)], findings)
                self.assertIn(complaint, findings[0].text)

    def test_every_banned_call_is_found(self):
        for name in tidy.BANNED:
            with self.subTest(name), tempfile.TemporaryDirectory() as root:
                lay(root, {'src/ws/x.c': SPDX + f'void f(void)\n{{\n    {name} (x);\n}}\n'})
                _, findings = tidy.check(pathlib.Path(root))
                self.assertEqual([found.line for found in findings], [4])


if __name__ == '__main__':
    unittest.main()
