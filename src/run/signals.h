/* SPDX-License-Identifier: MIT */
/*
 * SIGINT and SIGTERM cancel the runs of the process: every wait answers -ECANCELED, scopes unwind, and td_run returns what fn
 * returned. A second one of the same kind acts as if there were no td_run.
 *
 * Only where the program left the disposition at SIG_DFL when td_run was called; it is restored when the last run ends. A
 * program that blocks the signals and reads them itself (signalfd) still does. td_signal streams (src/signal) take
 * a signal over for as long as they are open, and SIGQUIT is the watchdog's.
 */
#ifndef TANDEM_RUN_SIGNALS_H
#define TANDEM_RUN_SIGNALS_H

struct fleet;

/* From now on a signal cancels the fleet's loops, which are all open. With too many runs at once, does nothing. */
void signals_watch(struct fleet *fleet);

/* Before any of the loops is closed: when it returns, no handler touches them. Harmless when not watched. */
void signals_unwatch(struct fleet *fleet);

/* In the child of a fork: what would have cancelled the parent's runs acts by default. Safe in a signal handler. */
void signals_forked(void);

#endif
