/* SPDX-License-Identifier: MIT */
/*
 * Tandem: straight-line tasks on event loops for the waiting, pools of threads and processes for the computing,
 * shared memory between them, and bounded queues with an honest answer.
 */
#ifndef TANDEM_H
#define TANDEM_H

#include "tandem/broadcast.h"
#include "tandem/chan.h"
#include "tandem/child.h"
#include "tandem/classes.h"
#include "tandem/datagram.h"
#include "tandem/debug.h"
#include "tandem/error.h"
#include "tandem/events.h"
#include "tandem/fetch.h"
#include "tandem/file.h"
#include "tandem/files.h"
#include "tandem/gather.h"
#include "tandem/histogram.h"
#include "tandem/http.h"
#include "tandem/io.h"
#include "tandem/job.h"
#include "tandem/log.h"
#include "tandem/lookup.h"
#include "tandem/mailbox.h"
#include "tandem/net.h"
#include "tandem/pool.h"
#include "tandem/random.h"
#include "tandem/run.h"
#include "tandem/scope.h"
#include "tandem/select.h"
#include "tandem/shared.h"
#include "tandem/signal.h"
#include "tandem/sim.h"
#include "tandem/stack.h"
#include "tandem/sync.h"
#include "tandem/time.h"
#include "tandem/tls.h"
#include "tandem/ws.h"

#endif
