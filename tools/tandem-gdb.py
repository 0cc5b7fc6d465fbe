# SPDX-License-Identifier: MIT
"""Tandem for gdb: the tasks of a program, live or in a core file.

    (gdb) source tools/tandem-gdb.py
    (gdb) tandem tasks                  every task: what it does, where it was spawned
    (gdb) tandem scopes                 the same as a tree of scopes
    (gdb) tandem backtrace 17           the backtrace of task 17 (2:17 is that of the second loop; an address will do)
    (gdb) tandem backtrace all

A core file should be the kernel's (ulimit -c unlimited; kill -ABRT): gdb's own generate-core-file, and gcore, leave out memory
around pages that MADV_GUARD_INSTALL guards, and with it tasks.

It reads the library's structures, so the library must have its debugging information. Nothing in the program is called or
changed: a parked task's frames come from an unwinder that leads from the newest frame into the task's stack.
"""
import re

import gdb
import gdb.unwinder

LISTS_MAX = 10_000_000  # links followed in one list; then it is in a ring


class Refusal(gdb.GdbError):
    """What a command cannot do, in a sentence."""


def container(link, type_name, member):
    kind = gdb.lookup_type(type_name)
    offset = next(field.bitpos // 8 for field in kind.fields() if field.name == member)
    return gdb.Value(int(link) - offset).cast(kind.pointer())


def walk(head, type_name, member):
    """The structs of a list, by the address of its head."""
    at, count = head.dereference()['next'], 0
    while int(at) != int(head) and count < LISTS_MAX:
        yield container(at, type_name, member)
        at, count = at.dereference()['next'], count + 1


def text(pointer):
    if int(pointer) == 0:
        return ''
    try:
        return pointer.string(errors='replace')
    except gdb.error:
        return '?'


class Loop:
    def __init__(self, number, inspected):
        self.number = number
        self.tid = int(inspected['tid'])
        self.loop = inspected['loop'].dereference()
        self.sched = self.loop['sched']
        self.current = int(self.sched['current'])

    def root(self):
        return self.sched['root'].address

    def thread(self):
        for thread in gdb.selected_inferior().threads():
            if thread.ptid[1] == self.tid:
                return thread
        return None


def loops():
    try:
        head = gdb.parse_and_eval("&'watchdog.c'::watch.dogs")
    except gdb.error as error:
        raise Refusal(f'no Tandem with debugging information is loaded here ({error}); build it with -g, and give gdb '
                      'the program as well as the core') from error
    if int(head.dereference()['next']) == 0:
        return []
    return [Loop(number, dog['inspected']) for number, dog in enumerate(walk(head, 'struct watchdog', 'link'), 1)]


def tasks_of(scope):
    yield from walk(scope.dereference()['tasks'].address, 'struct td_task', 'sibling')


def scopes_of(task):
    """The scopes that the task has open, the outermost first."""
    found, at = [], task['scope']
    while int(at) and int(at) != int(task['home']) and len(found) < 1000:
        found.append(at)
        at = at.dereference()['parent']
    return reversed(found)


def all_tasks(loop):
    """Every scope and task of the loop, parents first, as (depth, scope, None) and (depth, None, task)."""
    return subtree([(0, loop.root())])


def subtree(scopes):
    """What is below these. By a stack of generators: programs nest more deeply than Python does."""
    pending = [iter(scopes)]
    while pending:
        item = next(pending[-1], None)
        if item is None:
            pending.pop()
        elif len(item) == 2:
            depth, scope = item
            yield depth, scope, None
            pending.append(iter([(depth + 1, None, task) for task in tasks_of(scope)]))
        else:
            yield item
            pending.append(iter([(item[0] + 1, own) for own in scopes_of(item[2])]))


def function_name(pointer):
    block = gdb.block_for_pc(int(pointer))
    while block is not None and block.function is None:
        block = block.superblock
    return block.function.name if block else f'{int(pointer):#x}'


def state(loop, task):
    if int(task) == loop.current:
        return 'runs'
    if int(task['wait']):
        return f"waits: {text(task['wait'].dereference()['what'])}"
    return 'is ready'


def describe(loop, task):
    name = text(task['name'])
    used = int(task) - stack_pointer(task) if int(task) != loop.current else 0
    return (f"task {loop.number}:{int(task['id'])} spawned at {text(task['site'])} {state(loop, task)}; "
            f"{function_name(task['fn'])}()" + (f' "{name}"' if name else '') + (f'; {used} bytes of stack' if used > 0 else ''))


def describe_scope(scope):
    fields, said = scope.dereference(), []
    said.append(f"scope: {int(fields['running'])} tasks" if int(fields['parent']) else f"root scope: {int(fields['running'])} tasks")
    said += ['shielded'] if fields['shielded'] else []
    said += ['cancelled'] if fields['cancelled'] else []
    said += ['with a deadline'] if int(fields['deadline']['armed']) else []
    return ', '.join(said)


def has_field(value, name):
    return any(field.name == name for field in value.type.fields())


def stack_pointer(task):
    context = task['context']
    if has_field(context, 'sp'):
        return int(context['sp'])
    return int(context['machine']['uc_mcontext']['gregs'][15])


def saved_registers(task):
    """What a parked task's registers were: of the switch in assembly, see src/task/context_switch.S."""
    context = task['context']
    word = gdb.lookup_type('unsigned long')
    if not has_field(context, 'sp'):
        numbers = {'r8': 0, 'r9': 1, 'r12': 4, 'r13': 5, 'r14': 6, 'r15': 7, 'rbp': 10, 'rbx': 11, 'rsp': 15, 'rip': 16}
        values = context['machine']['uc_mcontext']['gregs']
        return {name: values[number].cast(word) for name, number in numbers.items()}
    sp = context['sp'].cast(word.pointer())
    if gdb.selected_frame().architecture().name().startswith('aarch64'):
        names = [f'x{number}' for number in range(19, 31)]
        registers = {name: sp[index] for index, name in enumerate(names)}
        registers['pc'], size = registers['x30'], 20
    else:
        names = ['r15', 'r14', 'r13', 'r12', 'rbx', 'rbp', 'rip']
        registers, size = {name: sp[index] for index, name in enumerate(names)}, 7
    registers['sp' if 'pc' in registers else 'rsp'] = gdb.Value(int(context['sp']) + 8 * size).cast(word)
    return registers


class FrameId:
    def __init__(self, sp, pc):
        self.sp, self.pc = sp, pc


class TaskUnwinder(gdb.unwinder.Unwinder):
    """Lets the newest frame be called from a parked task, while one is chosen."""

    def __init__(self):
        super().__init__('tandem')
        self.registers = None
        self.newest = None

    def __call__(self, pending):
        if self.registers is None:
            return None
        sp_name, pc_name = ('sp', 'pc') if 'pc' in self.registers else ('rsp', 'rip')
        sp, pc = pending.read_register(sp_name), pending.read_register(pc_name)
        if (int(sp), int(pc)) != self.newest:
            return None
        info = pending.create_unwind_info(FrameId(sp, pc))
        for name, value in self.registers.items():
            info.add_saved_register(name, value)
        return info

    def backtrace(self, task):
        gdb.newest_frame().select()
        registers = saved_registers(task)
        sp_name, pc_name = ('sp', 'pc') if 'pc' in registers else ('rsp', 'rip')
        frame = gdb.newest_frame()
        self.newest = (int(frame.read_register(sp_name)), int(frame.read_register(pc_name)))
        self.registers = registers
        try:
            gdb.invalidate_cached_frames()
            skipped = self.frames_before(int(registers[pc_name]))
            lines = gdb.execute('backtrace', to_string=True)
        finally:
            self.registers = None
            gdb.invalidate_cached_frames()
        frames = [part for part in re.split(r'(?m)^(?=#\d+ )', lines) if part.startswith('#')]
        return ''.join(re.sub(r'^#\d+ +', f'#{number:<3}', part) for number, part in enumerate(frames[skipped:]))

    @staticmethod
    def frames_before(pc):
        """How many frames are the thread's own: the newest, and those inlined into it."""
        frame, count = gdb.newest_frame(), 0
        while frame is not None and frame.is_valid() and frame.pc() != pc:
            frame, count = frame.older(), count + 1
        return count


UNWINDER = TaskUnwinder()
gdb.unwinder.register_unwinder(None, UNWINDER, replace=True)


def backtrace(loop, task):
    print(describe(loop, task))
    thread = loop.thread()
    chosen = gdb.selected_thread()
    if thread is None:
        print('    the loop has no thread here')
        return
    thread.switch()
    try:
        lines = gdb.execute('backtrace', to_string=True) if int(task) == loop.current else UNWINDER.backtrace(task)
    except gdb.error as error:
        lines = f'cannot be read: {error}\n'
    finally:
        chosen.switch()
    print(''.join(f'    {line}\n' for line in lines.splitlines()), end='')


def find(name):
    """The (loop, task) pairs that an argument means."""
    everything = [(loop, task) for loop in loops() for _, _, task in all_tasks(loop) if task is not None]
    if name == 'all':
        return everything
    match = re.fullmatch(r'(?:(\d+):)?(\d+)', name)
    if match:
        number, ident = match.groups()
        found = [(loop, task) for loop, task in everything
                 if int(task['id']) == int(ident) and (number is None or loop.number == int(number))]
    else:
        address = int(gdb.parse_and_eval(name))
        found = [(loop, task) for loop, task in everything if int(task) == address]
    if not found:
        raise Refusal(f'there is no task {name}; `tandem tasks` lists them')
    return found


class Tandem(gdb.Command):
    """Tandem's tasks: tandem tasks, tandem scopes, tandem backtrace TASK|all."""

    def __init__(self):
        super().__init__('tandem', gdb.COMMAND_STATUS, gdb.COMPLETE_NONE, True)


class Tasks(gdb.Command):
    """Lists every task of every loop: what it does, where it was spawned, its function."""

    def __init__(self):
        super().__init__('tandem tasks', gdb.COMMAND_STATUS)

    def invoke(self, argument, from_tty):
        for loop in loops():
            print(f"{text(loop.loop['name'].address.cast(gdb.lookup_type('char').pointer()))}: thread {loop.tid}, "
                  f"{int(loop.sched['tasks'])} tasks")
            for _, _, task in all_tasks(loop):
                if task is not None:
                    print('  ' + describe(loop, task))


class Scopes(gdb.Command):
    """Prints the tree of scopes and tasks of every loop."""

    def __init__(self):
        super().__init__('tandem scopes', gdb.COMMAND_STATUS)

    def invoke(self, argument, from_tty):
        for loop in loops():
            for depth, scope, task in all_tasks(loop):
                print('  ' * depth + (describe_scope(scope) if task is None else describe(loop, task)))


class Backtrace(gdb.Command):
    """Prints the backtrace of a task, by its number or address, or of all: tandem backtrace TASK|all."""

    def __init__(self):
        super().__init__('tandem backtrace', gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        if not argument.strip():
            raise Refusal('say which task: tandem backtrace TASK|all; `tandem tasks` lists them')
        for loop, task in find(argument.strip()):
            backtrace(loop, task)


for command in (Tandem, Tasks, Scopes, Backtrace):
    command()
