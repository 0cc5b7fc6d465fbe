#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Makes manual pages (section 3) out of the public headers, whose comments are the contracts.

    tools/man-pages.py INCLUDE FOLDER    writes them; a relative FOLDER is one below Meson's installation prefix

Each documented function has a page. One whose comment leans on the function before it ("The same without waiting") is on that
one's page, and its own name leads there. Each header has a page too: what its first comment says, and its functions. The
macros that only record the place of a call (td_spawn, td_mutex_init) are shown as the functions that they stand for.
"""
import collections
import os
import pathlib
import re
import sys
import textwrap

DATE = 'November 21, 2026'
LEANS = re.compile(r'(The same|Likewise|td_\w+ with options|What td_\w+ calls)\b')
PIECE = re.compile(r'/\*(?P<comment>.*?)\*/'
                   r'|(?P<define>\#define (?P<macro>td_\w+)\([^)]*\)(?:[^\n]*\\\n)*[^\n]*)'
                   r'|(?P<type>typedef (?:struct|enum|union)[^{;]*\{.*?\n\} \w+;|typedef [^;{]*;|(?:struct|enum) \w+ \{.*?\n\};)'
                   r'|(?P<function>(?:const )?\w[\w ]*[ *]+td_\w+\([^;{]*\)[^;{()]*;)'
                   r'|(?P<other>[^\n]+)', re.S)

Function = collections.namedtuple('Function', 'name prototype')
Page = collections.namedtuple('Page', 'functions paragraphs')


def plain(comment):
    lines = [re.sub(r'^\s*\* ?', '', line) for line in comment.strip('*\n ').split('\n')]
    return '\n'.join(lines).strip()


def paragraphs_of(text):
    return [part.strip('\n') for part in re.split(r'\n\s*\n', text) if part.strip()]


class Header:
    """What a header declares: its own comment, its types, and its functions grouped into pages."""

    def __init__(self, path):
        self.name = path.name
        self.about, self.types, self.pages = '', {}, []
        self.macros = {}
        comment, held = None, []
        for piece in PIECE.finditer(path.read_text()):
            if piece['comment'] is not None:
                if 'SPDX' in piece['comment']:
                    continue
                if not self.about:
                    self.about = plain(piece['comment'])
                elif piece.start() and path.read_text()[:piece.start()].endswith('\n'):
                    comment = plain(piece['comment'])
            elif piece['type']:
                name = re.search(r'(\w+)\W*$', piece['type'].split('{')[0] if piece['type'].startswith(('struct', 'enum'))
                                 else piece['type']).group(1)
                self.types[name] = (comment, piece['type'])
                comment = None
            elif piece['define']:
                held.append((piece['macro'], comment))
                comment = None
            elif piece['function']:
                self.add(piece['function'], comment, held)
                held, comment = [], None

    def add(self, declaration, comment, held):
        prototype = ' '.join(declaration.rstrip(';').split())
        name = re.search(r'(td_\w+)\(', prototype).group(1)
        wanted = name.removesuffix('_at')
        for macro, words in held:
            if macro == wanted:  # shown as a function, without the place that it adds
                as_function = re.sub(r', const char \*(site|what)\)$', ')', prototype).replace(name + '(', macro + '(')
                self.document(Function(macro, as_function), words)
        self.document(Function(name, prototype), comment)

    def document(self, function, comment):
        if self.pages and (comment is None or LEANS.match(comment)):
            self.pages[-1].functions.append(function)
            if comment:
                self.pages[-1].paragraphs.append((function.name, comment))
        elif comment:
            self.pages.append(Page([function], [(function.name, comment)]))
        else:
            sys.exit(f'man-pages: {self.name}: {function.name} has no comment before it')


def escaped(text):
    text = text.replace('\\', '\\e').replace('-', '\\-')
    return '\n'.join('\\&' + line if line.startswith(('.', "'")) else line for line in text.split('\n'))


def roff(text):
    """Paragraphs as text; indented ones as they stand."""
    out = []
    for paragraph in paragraphs_of(text):
        if all(line.startswith('    ') for line in paragraph.split('\n')):
            out += ['.Bd -literal -offset indent', escaped(textwrap.dedent(paragraph)), '.Ed']
        else:
            out += ['.Pp', escaped(' '.join(paragraph.split()))]
    return '\n'.join(out[1:] if out and out[0] == '.Pp' else out)


def summary(page):
    first = re.split(r'(?<=[.:;])\s', ' '.join(page.paragraphs[0][1].split()))[0].rstrip('.:;')
    return escaped(first[0].lower() + first[1:])


def synopsis(function):
    kind, name, arguments = re.match(r'(.*?)\s*(td_\w+)\((.*)\)', function.prototype).groups()
    lines = [f'.Ft {escaped(kind)}', f'.Fo {name}']
    depth, argument = 0, ''
    for letter in arguments + ',':
        if letter == ',' and depth == 0:
            lines.append(f'.Fa "{escaped(argument.strip())}"')
            argument = ''
            continue
        depth += (letter == '(') - (letter == ')')
        argument += letter
    return lines + ['.Fc']


def types_of(page, types):
    words = set(re.findall(r'\w+', ' '.join(f.prototype for f in page.functions)))
    lines = []
    for name, (comment, text) in types.items():
        if name in words and '{' in text:
            if comment:
                lines += ['.Pp', roff(comment)]
            if re.search(r'fields\s+belong to the library', comment or ''):
                continue
            lines += ['.Bd -literal', escaped(text), '.Ed']
    return ['.Sh TYPES'] + (lines[1:] if lines[0] == '.Pp' else lines) if lines else []


def head(title, names, what, date):
    lines = ['.\\" SPDX-License-Identifier: MIT', f'.Dd {date}', f'.Dt {title.upper()} 3', '.Os', '.Sh NAME']
    lines += [f'.Nm {name}' + (' ,' if name != names[-1] else '') for name in names]
    return lines + [f'.Nd {what}', '.Sh LIBRARY', 'Tandem (libtandem, \\-ltandem)']


def function_page(page, header, types, date):
    names = [function.name for function in page.functions]
    lines = head(names[0], names, summary(page), date) + ['.Sh SYNOPSIS', f'.In tandem/{header.name}']
    for function in page.functions:
        lines += synopsis(function)
    lines.append('.Sh DESCRIPTION')
    for name, text in page.paragraphs:
        lines += ['.Ss ' + name] if len(page.paragraphs) > 1 else []
        lines.append(roff(text))
    lines += types_of(page, types)
    others = [other.functions[0].name for other in header.pages if other is not page]
    return lines + see_also([f'tandem_{header.name}'] + others[:12])


def see_also(names):
    lines = ['.Sh SEE ALSO'] + [f'.Xr {name} 3 ,' for name in names] + ['.Xr tandem 7']
    return lines


def header_page(header, date):
    title = f'tandem_{header.name}'
    first = re.split(r'(?<=[.:])\s', ' '.join(header.about.split()))[0].rstrip('.:')
    lines = head(title, [title], escaped(first[0].lower() + first[1:]), date)
    lines += ['.Sh SYNOPSIS', f'.In tandem/{header.name}', '.Sh DESCRIPTION', roff(header.about)]
    if header.pages:
        lines += ['.Sh FUNCTIONS', '.Bl -tag -width Ds']
        for page in header.pages:
            lines += ['.It ' + ' , '.join(f'Xr {f.name} 3' for f in page.functions), summary(page)]
        lines.append('.El')
    return lines + ['.Sh SEE ALSO', '.Xr tandem 7']


def pages_of(include):
    headers = [Header(path) for path in sorted(pathlib.Path(include).glob('*.h'))]
    types = {name: it for header in headers for name, it in header.types.items()}
    pages = {}
    for header in headers:
        pages[f'tandem_{header.name}.3'] = header_page(header, DATE)
        for page in header.pages:
            first = page.functions[0].name
            pages[first + '.3'] = function_page(page, header, types, DATE)
            for function in page.functions[1:]:
                pages[function.name + '.3'] = [f'.so man3/{first}.3']
    return pages


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    folder = pathlib.Path(os.environ.get('MESON_INSTALL_DESTDIR_PREFIX', '.')) / sys.argv[2]
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in pages_of(sys.argv[1]).items():
        (folder / name).write_text('\n'.join(lines) + '\n')


if __name__ == '__main__':
    main()
