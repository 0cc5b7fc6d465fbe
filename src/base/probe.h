/* SPDX-License-Identifier: MIT */
/*
 * Static probes (USDT) for bpftrace, perf, systemtap: provider `tandem`. A probe is one `nop` and a note that says where its
 * arguments are; without <sys/sdt.h> (Debian's systemtap-sdt-dev, needed for building only) it is nothing.
 *
 *     bpftrace -e 'usdt:./program:tandem:task_spawn { @[str(arg1)] = count(); }'
 *
 *     task_spawn(task, site)   task_switch(from, to)   task_park(task, what)   task_unpark(task, rc)   task_done(task, rc)
 *     loop_turn(loop, ns)      pool_submit(pool, job)  pool_done(pool, job, rc)
 *
 * Tasks, loops, pools and jobs are given by address; `from` or `to` is NULL for the loop itself.
 */
#ifndef TANDEM_BASE_PROBE_H
#define TANDEM_BASE_PROBE_H

#ifdef TD_PROBES
#include <sys/sdt.h>
#define probe2(name, a, b) DTRACE_PROBE2(tandem, name, a, b)
#define probe3(name, a, b, c) DTRACE_PROBE3(tandem, name, a, b, c)
#else
#define probe2(name, a, b) ((void)0)
#define probe3(name, a, b, c) ((void)0)
#endif

#endif
