/* SPDX-License-Identifier: MIT */
/*
 * The simulation's inside. Whatever is going to happen is a timer in `events`, in virtual time; polling moves the
 * clock to the next one. An operation is tried a while after it was started, and again a while after something
 * changed that it waits for.
 *
 * Sockets are numbered in the order of their making; a descriptor is its number above SIM_FD_FIRST, used once, so
 * that touching a closed one is noticed.
 */
#ifndef TANDEM_LOOP_SIM_H
#define TANDEM_LOOP_SIM_H

#include <netinet/in.h>
#include <stdio.h>

#include "loop/sockets.h"
#include "tandem/sim.h"

#define SIM_FD_FIRST 0x40000000
#define SIM_CUTS 32

enum sim_state { SIM_FRESH, SIM_LISTENING, SIM_CONNECTING, SIM_CONNECTED };

/* One of a socket's two places for an operation under way. */
struct sim_slot {
    struct io_op *op;
    struct td_timer timer;      /* when it is tried */
    struct sim_socket *socket;
};

/* What is on its way to a socket, and what has arrived there. */
struct sim_pipe {
    unsigned char *bytes;       /* a ring of `room` */
    size_t first, count, arrived, room;
    bool end_sent, end_arrived; /* the peer says no more */
    bool reset_sent;
    unsigned tries;             /* in a row that a cut way stopped */
    struct td_timer arrival;
};

struct sim_socket {
    struct td_list link;        /* in its listener's backlog */
    struct backend *sim;
    int fd;
    enum sim_state state;
    struct sockaddr_storage local, remote;
    struct sim_socket *peer;    /* NULL once that is closed */
    struct sim_pipe in;
    int error;                  /* to be told once */
    bool broken, read_shut, write_shut, slow;
    unsigned tries;             /* of connecting */
    struct sim_slot reading, writing;
    struct td_list backlog;     /* listening: connections that wait to be accepted */
    unsigned waiting, waiting_max;
};

/* The end of a text that means an address: its host, and perhaps its port. */
struct sim_place {
    bool any, has_port;
    struct sockaddr_storage address;
};

struct sim_cut {
    struct sim_place a, b;
};

struct backend {
    struct loop *loop;
    struct timers events;
    struct dice order, net;
    td_sim_fault_opts faults;
    struct sim_socket **sockets;  /* by number; NULL once closed */
    size_t socket_count, socket_room;
    struct td_list real;          /* operations on descriptors of the kernel */
    size_t real_foreground;
    struct td_list calls;         /* of files, under way */
    struct sim_cut cuts[SIM_CUTS];
    unsigned cut_count;
    struct sockaddr_storage host;
    uint16_t next_port;           /* for connecting from */
    struct { unsigned long long nth; int error; } fails[TD_SIM_CALLS];
    td_sim_stats stats;
    FILE *trace;
};

extern const struct backend_table backend_sim;
extern const struct socket_table sockets_of_sim;

/* The calling task's simulation; NULL elsewhere. */
struct backend *sim_current(void);

/* sim.c: luck, and the failures that were asked for. */
td_time sim_delay(struct backend *sim, bool slow);
bool sim_chance(struct backend *sim, double probability, unsigned long long *count);
double sim_partial(const struct backend *sim);
/* Counts a call. Returns 0, or what it is to fail with. */
int sim_call(struct backend *sim, td_sim_call call);
void sim_slot_init(struct sim_slot *slot, struct sim_socket *socket);
void sim_slot_try(struct sim_slot *slot);    /* a while from now, if there is an operation that is not due already */
void sim_slot_end(struct sim_slot *slot, int result);

/* sim_net.c: tries the operation. Returns its result, or -EAGAIN. */
int sim_net_attempt(struct sim_socket *socket, struct io_op *op);
struct sim_socket *sim_socket_of(struct backend *sim, int fd);  /* aborts when it is closed */
void sim_net_close_all(struct backend *sim);
void sim_net_mended(struct backend *sim);    /* cuts have changed */
/* A cancelled connect: whatever came of it is undone. */
void sim_net_disconnect(struct sim_socket *socket);

/*
 * sim_real.c: descriptors of the kernel are waited for while nothing else is to be done, up to `wait_ms` (-1: for
 * ever); polling returns how many operations ended. Calls on files are made when they are due.
 */
bool sim_real_start(struct backend *sim, struct io_op *op);
void sim_real_end(struct backend *sim, struct io_op *op, int result);
int sim_real_poll(struct backend *sim, int wait_ms);
bool sim_file_start(struct backend *sim, struct io_op *op);
void sim_file_cancel(struct backend *sim, struct io_op *op);

/* sim_place.c */
bool sim_is_cut(const struct backend *sim, const struct sim_socket *socket);
bool sim_is_any(const struct sockaddr_storage *address);  /* 0.0.0.0 or :: */
bool sim_same_host(const struct sockaddr_storage *a, const struct sockaddr_storage *b);
in_port_t sim_port(const struct sockaddr_storage *address);
void sim_set_port(struct sockaddr_storage *address, in_port_t port);

/* sim_trace.c */
void sim_note(struct backend *sim, const char *what, long long a, long long b);

/* The seed's choice among the ready tasks, of which there is one at least. */
struct td_task *sim_choose(struct sched *sched);

static inline bool loop_is_simulated(const struct loop *loop)
{
    return loop->table == &backend_sim;
}

#endif
