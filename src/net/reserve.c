/* SPDX-License-Identifier: MIT */
#include "net/reserve.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/clock.h"
#include "loop/sim.h"
#include "tandem/log.h"

#define IN_A_ROW_MAX 16
#define PAUSE_NS 10000000      /* so that a flood is turned away at 1,600 connections a second, and costs little */
#define LOG_EVERY_NS 10000000000
#define DRAIN_BYTES 4096
#define DRAINS_MAX 4

static int take(void)
{
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

void reserve_open(struct reserve *reserve, struct loop *loop)
{
    reserve->simulated = loop_is_simulated(loop);
    reserve->fd = reserve->simulated ? -1 : take();
    reserve->logged_at = clock_real() - LOG_EVERY_NS;
}

void reserve_close(struct reserve *reserve)
{
    if (reserve->fd >= 0)
        close(reserve->fd);
}

static void tell(struct reserve *reserve, const char *address, int why)
{
    td_time now = clock_real();

    if (now - reserve->logged_at < LOG_EVERY_NS)
        return;
    reserve->logged_at = now;
    td_log(TD_LOG_WARNING, "%s: no descriptor for a new connection (%s), so it is turned away; %llu so far", address,
           why == -EMFILE ? "the limit of this process, ulimit -n" : "the limit of this machine, sysctl fs.file-max",
           reserve->turned_away);
}

/* What a client has said already is read: closing over it would be a reset, which takes our words with it. */
static void send_away(const struct reserve *reserve, int fd)
{
    char sink[DRAIN_BYTES];

    if (reserve->farewell) {
        (void)send(fd, reserve->farewell, reserve->farewell_size, MSG_DONTWAIT | MSG_NOSIGNAL);
        (void)shutdown(fd, SHUT_WR);
        for (int i = 0; i < DRAINS_MAX && recv(fd, sink, sizeof sink, MSG_DONTWAIT) > 0; i++)
            ;
    }
    close(fd);
}

/* Another thread may have been quicker to take the place that the reserve left; then there is no reserve. */
static void turn_away(struct reserve *reserve, int listener)
{
    int fd;

    close(reserve->fd);
    fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0) {
        reserve->turned_away++;
        send_away(reserve, fd);
    }
    reserve->fd = take();
}

static int pause_and_take(struct reserve *reserve)
{
    int rc = td_sleep(PAUSE_NS);

    if (!reserve->simulated)
        reserve->fd = take();
    return rc;
}

int reserve_use(struct reserve *reserve, int listener, const char *address, int why)
{
    tell(reserve, address, why);
    if (reserve->fd < 0)
        return pause_and_take(reserve);
    turn_away(reserve, listener);
    if (++reserve->in_a_row < IN_A_ROW_MAX)
        return 0;
    reserve->in_a_row = 0;
    return td_sleep(PAUSE_NS);
}
