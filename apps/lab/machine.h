/* SPDX-License-Identifier: MIT */
/*
 * What the machine gives a program, and what it takes: cores, processor time, memory.
 */
#ifndef TANDEM_LAB_MACHINE_H
#define TANDEM_LAB_MACHINE_H

#define MACHINE_CORES_MAX 16  /* more are not used: an experiment shows a law, and needs no more for that */

/* The nice value of Tandem's workers: what is compared with them shares the machine on equal terms. */
#define MACHINE_WORKER_NICE 15

/* The cores that this program may use. */
unsigned machine_cores(void);

/* Kibibytes that the program has for itself, shared memory aside. NAN where the kernel does not say: no claim survives that. */
double machine_private_kib(void);

/* Milliseconds of processor time that the calling thread has used. */
double machine_thread_cpu_ms(void);

/* Seconds that the processors have worked: all of them for everybody, and for this program and children it has waited for. */
struct machine_effort {
    double all, ours, wall;
};

/* Workers of a pool count once they have ended: so ask before it is opened, and after it is closed. */
struct machine_effort machine_effort(void);

/* Of so many cores, how much nobody else had between two moments; one twentieth at least. */
double machine_cores_left(unsigned cores, struct machine_effort before, struct machine_effort after);

#endif
