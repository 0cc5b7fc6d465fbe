#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Tidy: the rules of CONTRIBUTING.md that a program can check. Prints `file:line: what; what to do`, exits 1 if any.

    tests/tidy/tidy.py [ROOT]

The C rules work on lines and simple patterns, not on a parser: the code's own style makes that enough. A line that has
a good reason to break the rule on banned calls, unchecked memory or mutable variables says so in a comment directly
above it: `tidy: allow, because REASON`.
"""
import collections
import os
import pathlib
import re
import sys

FLOORS = {
    'base': 0,
    'task': 1,
    'loop': 2, 'debug': 2,
    'sync': 3, 'shared': 3, 'pool': 3, 'file': 3, 'signal': 3, 'run': 3,
    'net': 4, 'child': 4,
    'http': 5, 'ws': 5, 'fetch': 5,
}
FOR_ALL = {'run'}  # its public header is the options that every floor obeys
FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 70
LINE_COLUMNS_MAX = 130

C = {'.c', '.h', '.S'}
SOURCES = C | {'.py', '.js', '.html', '.css', '.sh', '.build'}
NEED_SPDX = C | {'.py', '.sh', '.build'}
SKIPPED_FOLDERS = {'build', 'node_modules', 'subprojects', 'vendor', '__pycache__'}

BANNED = {
    'strcpy': 'use snprintf, or memcpy with a length that was checked',
    'strcat': 'use snprintf, or memcpy with a length that was checked',
    'sprintf': 'use snprintf',
    'vsprintf': 'use vsnprintf',
    'gets': 'use fgets',
    'strtok': 'use strspn and strcspn, or strsep',
    'atoi': 'use strtol and look at what it says',
    'atol': 'use strtol and look at what it says',
    'alloca': 'use an array of a fixed size, or malloc',
    'system': 'use posix_spawn',
    'popen': 'use posix_spawn and a pipe',
    'sleep': 'wait for what you wait for: td_sleep in a task, poll or a condition elsewhere',
    'usleep': 'wait for what you wait for: td_sleep in a task, poll or a condition elsewhere',
}
SLEEPS = {'sleep', 'usleep'}  # examples may: they show what blocking does
BANNED_CALL = re.compile(r'(?<![\w.>])(?:__builtin_)?(' + '|'.join(BANNED) + r')\s*\(')
ALLOCATION = re.compile(r'(?<![\w.>])(malloc|calloc|realloc|strdup|strndup|aligned_alloc)\s*\(')
CONDITION = re.compile(r'\b(?:if|while|assert\w*)\s*\(((?:[^()]|\((?:[^()]|\([^()]*\))*\))*)')
LATER = re.compile(r'\b(' + '|'.join(('TO' 'DO', 'FIX' 'ME', 'X' 'XX')) + r')\b')
ALLOW = re.compile(r'tidy: allow\b(?:, because\s+((?!\*/)\S.*))?')
INCLUDE = re.compile(r'\s*#\s*include\s*([<"])([^>"]+)[>"]')

Finding = collections.namedtuple('Finding', 'path line text')


class Source:
    """One file: its lines as written, and for C the same lines without comments and strings."""

    def __init__(self, root, path):
        self.path = path
        self.text = (root / path).read_text(encoding='utf-8', errors='replace')
        self.lines = self.text.splitlines()
        self.kind = path.suffix
        self.is_script = self.text.startswith('#!')
        self.code = mask(self.text).split('\n') if self.kind in C else self.lines
        self.part = path.parts[0] if len(path.parts) > 1 else ''
        self.findings = []

    def say(self, line, text):
        self.findings.append(Finding(self.path, line, text))

    def is_comment(self, index):
        """Whether this line (from 0) holds a comment and nothing else."""
        return bool(self.lines[index].strip()) and not self.code[index].strip()

    def allowed(self, index):
        """Whether the comment directly above this line (from 0) allows what it does, with a reason."""
        above = index - 1
        while above >= 0 and self.is_comment(above):
            match = ALLOW.search(self.lines[above])
            if match:
                return match.group(1) is not None
            above -= 1
        return False


def mask(text):
    """Blanks comments, and what is inside of strings and character constants, keeping every line and column."""
    pattern = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.DOTALL)

    def blank(match):
        found = match.group(0)
        if found[0] == '/':
            return re.sub(r'[^\n]', ' ', found)
        return found[0] + ' ' * (len(found) - 2) + found[-1]

    return pattern.sub(blank, text)


def sources(root):
    """Every source file and script below root, in order."""
    for folder, folders, names in os.walk(root):
        here = pathlib.Path(folder)
        folders[:] = sorted(name for name in folders if name not in SKIPPED_FOLDERS
                            and not (here == root and name.startswith('build'))
                            and (name == '.ci' or not name.startswith('.')))
        for name in sorted(names):
            path = here / name
            if '.min.' in name or path.is_symlink():
                continue
            if path.suffix in SOURCES or (not path.suffix and path.read_bytes()[:2] == b'#!'):
                yield Source(root, path.relative_to(root))


def check_text(source):
    """Rules for every kind of file: licence, length, white space, words that put things off."""
    if source.kind in NEED_SPDX or source.is_script:
        at = 1 if source.is_script else 0
        if at >= len(source.lines) or 'SPDX-License-Identifier: ' not in source.lines[at]:
            source.say(at + 1, 'no SPDX-License-Identifier; begin the file with one: MIT')
    if len(source.lines) > FILE_LINES_MAX:
        source.say(FILE_LINES_MAX + 1, f'the file has {len(source.lines)} lines; split it by nouns into files of '
                                       f'{FILE_LINES_MAX} at the most')
    for number, line in enumerate(source.lines, 1):
        if '\t' in line:
            source.say(number, 'a tab; indent with spaces')
        if line != line.rstrip():
            source.say(number, 'white space at the end of the line; remove it')
        if LATER.search(line):
            source.say(number, f'{LATER.search(line).group(1)}; do it now, or write it down elsewhere and leave no mark')


def check_lines(source):
    for number, line in enumerate(source.lines, 1):
        if len(line) > LINE_COLUMNS_MAX:
            source.say(number, f'{len(line)} columns; break the line before {LINE_COLUMNS_MAX}')
        match = ALLOW.search(line)
        if match and match.group(1) is None:
            source.say(number, 'allowed without a reason; write `tidy: allow, because ...`')


def check_functions(source):
    """A function's body begins with a brace at the line's start and ends with another, as our style has it."""
    begin = None
    for number, line in enumerate(source.code, 1):
        if begin is None and (line.rstrip() == '{' or re.match(r'[A-Za-z_][^;=]*\)\s*\{\s*$', line)):
            begin = number
        elif begin is not None and line.startswith('}'):
            if number - begin - 1 > FUNCTION_LINES_MAX:
                source.say(begin, f'a function of {number - begin - 1} lines; split it into pieces of '
                                  f'{FUNCTION_LINES_MAX} at the most, each with a name')
            begin = None


def check_calls(source):
    for index, line in enumerate(source.code):
        if line.lstrip().startswith('#include'):
            continue
        for match in BANNED_CALL.finditer(line):
            name = match.group(1)
            if not (name in SLEEPS and source.part == 'examples') and not source.allowed(index):
                source.say(index + 1, f'{name} is banned; {BANNED[name]}')
        for match in ALLOCATION.finditer(line):
            if not is_checked(source.code, index, match) and not source.allowed(index):
                source.say(index + 1, f'the result of {match.group(1)} is not checked; test it within four lines, or '
                                      'return it')


def is_checked(code, index, match):
    """Whether an allocation is returned directly, or its variable tested, asserted or returned within four lines."""
    before = code[index][:match.start()]
    if re.search(r'\b(return|if|while|assert\w*)\b', before):
        return True
    target = re.search(r'(\w+)(?:\[[^\]]*\])?\s*=\s*(?:[^=;]+(?:[<>=!]=[^=;]+)*\?\s*)?(?:\([^()]*\)\s*)?$', before)
    if not target:
        return False
    name = re.escape(target.group(1))
    after = ' '.join([code[index][match.end():]] + code[index + 1:index + 5])
    conditions = CONDITION.findall(after) + re.findall(r'\breturn\b([^;]*)', after)
    compared = re.search(rf'\b{name}\s*[!=]=\s*NULL', after) is not None
    return compared or any(re.search(rf'\b{name}\b', condition) for condition in conditions)


def room_of(name):
    """The room an include's path leads to, or None: `ws/codec.h` to ws, `tandem/ws.h` to ws too."""
    parts = name.split('/')
    if len(parts) == 2 and parts[0] == 'tandem':
        stem = parts[1].removesuffix('.h')
        return stem if stem in FLOORS and stem not in FOR_ALL else None
    return parts[0] if len(parts) > 1 and parts[0] in FLOORS else None


def check_includes(source, root):
    for number, line in enumerate(source.lines, 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        quoted, name = match.group(1) == '"', match.group(2)
        if source.part == 'src':
            complaint = include_in_src(source, name, quoted)
        elif source.part == 'include':
            complaint = include_in_public(source, name, quoted)
        elif source.part in ('apps', 'examples'):
            complaint = include_in_apps(source, root, name, quoted)
        else:
            complaint = None
        if complaint:
            source.say(number, f'includes {name}; {complaint}')


def include_in_src(source, name, quoted):
    room = source.path.parts[1]
    if room not in FLOORS:
        return f'{room} is on no floor yet; give it one in tests/tidy/tidy.py and docs/architecture.md'
    if name == 'tandem.h':
        return 'that is every floor at once; include the tandem/... header that is meant'
    to = room_of(name)
    if to is not None and FLOORS[to] > FLOORS[room]:
        return (f'{room} is on floor {FLOORS[room]} and must not look up to {to} on floor {FLOORS[to]}; let the upper '
                'floor hand in what is needed')
    if to is None and quoted and not name.startswith('tandem/'):
        return 'write a header as "room/file.h" or "tandem/file.h"'
    return None


def include_in_public(source, name, quoted):
    if quoted and not name.startswith('tandem/'):
        return 'a public header may include only public ("tandem/file.h") and system headers'
    room, to = room_of('tandem/' + source.path.name), room_of(name)
    if source.path.name != 'tandem.h' and room and to and FLOORS[to] > FLOORS[room]:
        return f'{room} is on floor {FLOORS[room]} and must not look up to {to} on floor {FLOORS[to]}'
    return None


def include_in_apps(source, root, name, quoted):
    if name == 'tandem.h' or name.startswith('tandem/'):
        return None
    own = quoted and '..' not in name.split('/') and (root / source.path.parent / name).exists()
    if own or (not quoted and name.split('/')[0] not in FLOORS):
        return None
    return 'a program uses public headers (<tandem/...>) and those of its own folder only'


def check_contracts(source):
    """Public functions and macros with arguments have a comment above them, or above their group."""
    declaration = re.compile(r'(?:#\s*define\s+td_\w+\(|(?!typedef\b)[A-Za-z_][\w\s*]*?\btd_\w+\s*\()')
    for index, line in enumerate(source.code):
        match = declaration.match(line)
        if not match:
            continue
        above = index - 1
        while above >= 0 and source.code[above].strip() and not source.code[above].startswith('}'):
            above -= 1
        if above < 0 or not source.is_comment(above) or 'SPDX-License-Identifier' in source.lines[above]:
            name = re.search(r'\btd_\w+(?=\s*\()', line).group(0)
            source.say(index + 1, f'{name} has no contract; say above it what it does, its units, whether it is a '
                                  'checkpoint, its threads, who owns what, its errors')


def statements(code):
    """Yields (line, text) of what stands at file scope: declarations whole, function bodies as {}."""
    depth, text, begin, joined = 0, '', 0, False
    for number, line in enumerate(code, 1):
        if joined or (not depth and line.lstrip().startswith('#')):
            joined = line.endswith('\\')
            continue
        for char in line + '\n':
            if not text.strip():
                begin = number
            if char in '([{':
                depth += 1
            if depth == 0 or char in '([{' and depth == 1:
                text += char
            if char in ')]}':
                depth -= 1
                if depth == 0:
                    text += char
            ends = char == ';' or (char == '}' and re.search(r'\)\s*\{\}$', text))
            if depth == 0 and ends:
                yield begin, ' '.join(text.split())
                text = ''


def is_mutable(declaration):
    """Whether a declaration, its brackets emptied, defines a variable that may change."""
    text = re.sub(r'\b__attribute__\s*\(\)|\b_Alignas\s*\(\)|;$', '', declaration).strip()
    text, _, _ = text.partition('=')
    if re.match(r'(typedef|extern|_Static_assert|static_assert|asm|__asm__)\b', text) or '_Thread_local' in text:
        return False
    if re.fullmatch(r'(static\s+|const\s+)*(struct|union|enum)\s+\w*\s*(\{\})?\s*', text) or not text.strip():
        return False
    if re.search(r'\(\)\s*\(\)', text):
        return True   # a pointer to functions
    if re.search(r'\w\s*\(\)', re.sub(r'\b(_Atomic|typeof|__typeof__)\s*\(\)', 'int', text)):
        return False  # a function
    _, star, after = text.rpartition('*')
    return 'const' not in (after if star else text).split('[')[0]


def check_variables(source):
    """All state lives in a struct that somebody owns: no variable at file scope, no static one in a function."""
    what = 'is a mutable variable of the whole program; keep state in a struct that is handed on, or make it const'
    for line, text in statements(source.code):
        if is_mutable(text) and not source.allowed(line - 1):
            source.say(line, f'`{text[:60]}` {what}')
    for index, line in enumerate(source.code):
        match = re.match(r'\s+(static\b[^(=;]*)', line)
        if match and is_mutable(match.group(1)) and not re.search(r'\w\s*\($', line[:match.end() + 1]) \
                and not source.allowed(index):
            source.say(index + 1, f'`{match.group(1).strip()}` {what}')


def check(root):
    """Returns (how many files, their findings)."""
    count, findings = 0, []
    for source in sources(root):
        count += 1
        check_text(source)
        if source.kind in C:
            check_lines(source)
        if source.kind in ('.c', '.h'):
            check_functions(source)
            check_calls(source)
            check_includes(source, root)
            if source.part == 'src':
                check_variables(source)
        if source.kind == '.h' and source.part == 'include':
            check_contracts(source)
        findings += source.findings
    return count, findings


def main():
    here = pathlib.Path(__file__).resolve()
    root = pathlib.Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else here.parents[2]
    count, findings = check(root)
    for finding in sorted(findings):
        print(f'{finding.path}:{finding.line}: {finding.text}')
    if not count:
        print(f'tidy: there is no source file below {root}; give the folder of the repository')
        return 1
    print(f'tidy: {count} files, ' + (f'{len(findings)} things to mend' if findings else 'nothing to mend'))
    return 1 if findings else 0


if __name__ == '__main__':
    sys.exit(main())
