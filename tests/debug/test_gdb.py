#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""tools/tandem-gdb.py lists tasks, scopes and backtraces, of a live program and of a core file.

    test_gdb.py PROGRAM SCRIPT
"""
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile

SKIPPED = 77
COMMANDS = ['tandem tasks', 'tandem scopes', 'tandem backtrace all', 'tandem backtrace 3', 'tandem backtrace 99']


def gdb(script, *arguments):
    result = subprocess.run(['gdb', '-nx', '-batch', '-ex', 'set debuginfod enabled off', '-ex', f'source {script}', *arguments],
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
    return result.stdout


def commands():
    return [part for command in COMMANDS for part in ('-ex', f'echo \\n=={command}\\n', '-ex', command)]


def section(output, command):
    """What gdb printed for one command."""
    return output.split(f'=={command}\n', 1)[1].split('\n==', 1)[0]


def expect(condition, what, output):
    if not condition:
        print(f'failed: {what}; gdb said:\n{output}')
        sys.exit(1)


def depth(lines, wanted):
    return next(len(line) - len(line.lstrip()) for line in lines.splitlines() if wanted in line)


def check(output):
    tasks = section(output, 'tandem tasks')
    expect('the loop: thread ' in tasks and ', 3 tasks' in tasks, 'the loop and its number of tasks', output)
    expect('task 1:1 spawned at td_run ' in tasks, 'the first task', output)  # it waits, or still writes
    expect('task 1:2 spawned at oven.c:1 waits: the tasks of a scope; bake()' in tasks, 'a task that joins', output)
    expect('task 1:3 spawned at dough.c:2 waits: ' in tasks and 'flour; knead()' in tasks, 'a task that receives', output)
    expect(tasks.count('spawned at') == 3, 'each task once', output)
    scopes = section(output, 'tandem scopes')
    expect('root scope: 1 tasks' in scopes and 'scope: 1 tasks, with a deadline' in scopes, 'the scopes', output)
    expect(depth(scopes, 'root scope') < depth(scopes, 'td_run') < depth(scopes, 'oven.c:1') < depth(scopes, 'with a deadline')
           < depth(scopes, 'dough.c:2'), 'the tree\'s depths', output)
    everything = section(output, 'tandem backtrace all')
    for function in ('bakery (', 'bake (', 'knead (', 'td_scope_join (', 'td_chan_receive ('):
        expect(function in everything, f'the frame of {function})', output)
    one = section(output, 'tandem backtrace 3')
    expect('knead (' in one and 'bake (' not in one and '#0 ' in one, 'the backtrace of one task', output)
    expect(one.rstrip().splitlines()[-1].count('td_context_start') == 1 or 'start (' in one, 'the end of a task\'s stack', output)
    expect('there is no task 99' in section(output, 'tandem backtrace 99'), 'a refusal that says why', output)


def allow_core():
    resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def start(program, backend, folder):
    """The program, when it has come to its wait; None where the kernel forbids the backend."""
    stuck = subprocess.Popen([program, backend], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=folder,
                             preexec_fn=allow_core)
    if stuck.stdout.readline() == 'ready\n':
        return stuck
    stuck.kill()
    stuck.wait()
    return None


def run(program, script, backend, folder):
    stuck = start(program, backend, folder)
    if stuck is None:
        return False
    try:
        output = gdb(script, '-p', str(stuck.pid), *commands())
        if 'ptrace: Operation not permitted' in output or 'Could not attach' in output:
            print('this machine forbids ptrace')
            sys.exit(SKIPPED)
        check(output)
        stuck.stdin.close()
        expect(stuck.wait(20) == 0, 'the program goes on to its end', output)
    finally:
        stuck.kill()
        stuck.wait()
    return True


def run_core(program, script, backend, folder):
    """The kernel's core file: gdb's own generate-core-file leaves out memory around MADV_GUARD_INSTALL pages."""
    stuck = start(program, backend, folder)
    if stuck is None:
        return
    stuck.send_signal(signal.SIGABRT)
    stuck.wait(60)
    cores = [name for name in os.listdir(folder) if name.startswith('core')]
    if not cores:
        print('no core file here (see /proc/sys/kernel/core_pattern): cores were not tested')
        return
    check(gdb(script, program, os.path.join(folder, cores[0]), *commands()))
    os.remove(os.path.join(folder, cores[0]))


def main():
    program, script = sys.argv[1:3]
    if not shutil.which('gdb'):
        print('there is no gdb here')
        return SKIPPED
    program = os.path.abspath(program)
    with tempfile.TemporaryDirectory() as folder:
        ran = [run(program, script, backend, folder) for backend in ('uring', 'epoll')]
        for backend in ('uring', 'epoll'):
            run_core(program, script, backend, folder)
    return 0 if any(ran) else SKIPPED


if __name__ == '__main__':
    sys.exit(main())
