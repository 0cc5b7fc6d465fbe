/* SPDX-License-Identifier: MIT */
/*
 * The ring between a pool and its workers (src/pool/page.h), for SPIN: every interleaving of the memory operations of both
 * sides, with a death of the worker between any two of them. tests/pool/proof/model.py runs it.
 *
 * Each side's plain stores go through a store buffer (x86's total store order): others see them later, in their order. A
 * fence waits until the buffer is empty, and so does a compare-and-swap or a swap. A dead worker's buffer empties before the
 * pool has waited for it: the kernel took the processor from it.
 *
 * What must hold is asserted on the way: a job has one outcome; user code begins only what nobody has answered, at most
 * once an attempt, and has ended before anybody answers; a result is that of its job; what was taken back or goes back
 * never began. And in the end every job has its outcome and every worker has stopped: a lost wake-up is a state from which
 * nothing goes on, which SPIN finds by itself. There are no cycles (model.py asks for them), so what does not get stuck ends.
 *
 * BROKEN=n in pan's environment breaks rule n, to see that the model notices: each of them must be found.
 */
#define WORKERS 2
#define SLOTS 2
#define JOBS 3
#define GENERATIONS 8      /* they wrap */
#define STOPPER 255        /* stands for a job where a slot holds the retire token */

#define FREE 0
#define READY 1
#define RUNNING 2
#define DONE 3
#define TAKEN 4
#define STOP 5
#define ASKED 8

/* The rules that BROKEN breaks. */
#define GIVE_WITHOUT_FENCE (broken == 1)      /* between READY and the look at `sleeping` */
#define SLEEP_WITHOUT_FENCE (broken == 2)     /* between `sleeping` and the second look at the slot */
#define ARM_WITHOUT_FENCE (broken == 3)       /* between `notify` and the second look at the slots */
#define DONE_BY_STORE (broken == 4)
#define BEGIN_BY_STORE (broken == 5)
#define TAKE_BY_STORE (broken == 6)
#define ASK_BY_STORE (broken == 7)
#define WORD_WITHOUT_GENERATION (broken == 8)
#define RECLAIM_BEFORE_KILL (broken == 9)
#define TICKETS_FROM_ZERO (broken == 10)      /* for a worker's successor, in the ring that the dead one left */
#define RESULT_AFTER_DONE (broken == 11)
#define DOORBELL_READ_LATE (broken == 12)     /* after the second look */
#define SLEEP_WITHOUT_LOOK (broken == 13)
#define ARM_WITHOUT_LOOK (broken == 14)
#define RUN_AGAIN_WHAT_RAN (broken == 15)     /* takes RUNNING at a death for READY */
#define FORGET_WHAT_IS_DONE (broken == 16)    /* takes DONE at a death for RUNNING */
#define READY_BEFORE_JOB (broken == 17)       /* the word before the descriptor */
#define BROKEN_RULES 17

/* Memory. One cell is one address. */
#define WORD(w, t) ((w) * SLOTS + (t) % SLOTS)
#define JOB(w, t) (WORKERS * SLOTS + WORD(w, t))
#define RESULT(w, t) (2 * WORKERS * SLOTS + WORD(w, t))
#define SLEEPING(w) (3 * WORKERS * SLOTS + (w))
#define DOORBELL(w) (3 * WORKERS * SLOTS + WORKERS + (w))
#define NOTIFY(w) (3 * WORKERS * SLOTS + 2 * WORKERS + (w))
#define CELLS (3 * WORKERS * SLOTS + 3 * WORKERS)

#define GENERATION(t) (((t) / SLOTS) % GENERATIONS)
#define word_of(t, state) (WORD_WITHOUT_GENERATION -> (state) : GENERATION(t) * 16 + (state))
#define is(word, t, state) ((word) == word_of(t, state))
#define is_flagged(word, t, state) (is(word, t, state) || is(word, t, (state) + ASKED))
#define ahead(word, t) (((word) / 16 + GENERATIONS - GENERATION(t)) % GENERATIONS)
#define newer(word, t) \
    (!WORD_WITHOUT_GENERATION && ahead(word, t) > 0 && ahead(word, t) < GENERATIONS / 2)

#define passed_by(word, t) (is(word, t, TAKEN) || newer(word, t))
#define concerns(word, t) (is(word, t, READY) || is(word, t, STOP) || passed_by(word, t))

bool buffered;                        /* stores go through buffers */
bool closes;                          /* the pool waits for its workers' ends */
byte broken, workers, jobs, credit;   /* pan's environment sets them */
byte memory[CELLS];
chan pool_stores = [4] of {byte, byte};
chan worker_stores[WORKERS] = [2] of {byte, byte};
bool event;                           /* the pool's eventfd */

/* Between the kernel and us: */
bool doomed[WORKERS];  /* SIGKILL is on its way; only where that rule is broken, for else it makes no difference */
bool killed[WORKERS], dead[WORKERS], born[WORKERS];
byte first_ticket[WORKERS];
byte deaths;                          /* still to come */

/* The pool's own memory: what it does not take from anybody else. */
byte head[WORKERS], tail[WORKERS];    /* the next ticket to give, and the oldest that is not over */
byte holds[WORKERS * SLOTS];          /* the job in a slot, from 1; 0: over, or taken back */
byte waiting[JOBS];                   /* 1: in the queue */
byte takes, asks, retires, retries, timers;   /* that still may be done */
bool stopping[WORKERS], gone[WORKERS];

/* What nobody in the program sees: */
byte outcomes[JOBS];
bool begun[JOBS], ended[JOBS];        /* in this attempt */
bool finished;                        /* the pool is closed */

#define store(buffer, address, value) \
    if \
    :: buffered -> buffer!address, value \
    :: else -> memory[address] = value \
    fi
#define fence(buffer) (len(buffer) == 0)

/* What is stored becomes visible. */
active proctype memory_bus()
{
    byte address, value;

end:
    do
    :: atomic { pool_stores?address, value -> memory[address] = value; address = 0; value = 0 }
    :: atomic { worker_stores[0]?address, value -> memory[address] = value; address = 0; value = 0 }
    :: atomic { worker_stores[1]?address, value -> memory[address] = value; address = 0; value = 0 }
    od
}

#define may_die(w) (deaths > 0 && born[w] && !dead[w] && !killed[w] && !doomed[w])

/* SIGKILL: the pool's, or somebody's. It arrives between any two steps. Of two workers only the second dies. */
active proctype killer()
{
end:
    do
    :: atomic { !RECLAIM_BEFORE_KILL && workers == 1 && may_die(0) -> deaths--; killed[0] = true }
    :: atomic { !RECLAIM_BEFORE_KILL && may_die(1) -> deaths--; killed[1] = true }
    :: atomic { RECLAIM_BEFORE_KILL && may_die(0) -> deaths--; doomed[0] = true }
    :: atomic { doomed[0] && !killed[0] -> killed[0] = true }
    od
}

/* Of what is done. A worker that sees its next job READY may tell later. */
inline tell(me)
{
    untold = false;
    if
    :: memory[NOTIFY(me)] ->
       atomic { fence(worker_stores[me]); word = memory[NOTIFY(me)]; memory[NOTIFY(me)] = 0 }
       if
       :: word -> event = true
       :: else
       fi;
       word = 0
    :: else
    fi
}

/* One atomic operation of the worker each; it is at the process's end when it was killed. */
proctype worker(byte me)
{
    byte ticket, seen, word, job;
    bool untold;

end:
    do
    :: atomic { born[me] && !dead[me] && !finished -> ticket = first_ticket[me] };
       {
        do
        :: finished -> break
        :: untold -> tell(me)
        :: !finished && (!untold || is(memory[WORD(me, ticket)], ticket, READY)) ->
           seen = memory[DOORBELL(me)];
look:      if
           :: is(memory[WORD(me, ticket)], ticket, STOP) -> break
           :: passed_by(memory[WORD(me, ticket)], ticket) -> atomic { ticket++; seen = 0 }
           :: is(memory[WORD(me, ticket)], ticket, READY) ->
              if
              :: BEGIN_BY_STORE -> store(worker_stores[me], WORD(me, ticket), word_of(ticket, RUNNING))
              :: else ->
                 atomic {
                     fence(worker_stores[me]);
                     if
                     :: is(memory[WORD(me, ticket)], ticket, READY) -> memory[WORD(me, ticket)] = word_of(ticket, RUNNING)
                     :: else -> goto look
                     fi
                 }
              fi;
              atomic {
                  job = memory[JOB(me, ticket)];
                  assert(job > 0 && outcomes[job - 1] == 0 && !begun[job - 1] && !waiting[job - 1]);
                  begun[job - 1] = true
              }
              atomic {
                  assert(outcomes[job - 1] == 0);  /* its memory is still there */
                  ended[job - 1] = true;
                  if
                  :: !RESULT_AFTER_DONE -> memory[RESULT(me, ticket)] = job
                  :: else
                  fi
              }
              if
              :: DONE_BY_STORE -> store(worker_stores[me], WORD(me, ticket), word_of(ticket, DONE))
              :: else ->
                 atomic {
                     fence(worker_stores[me]);
                     if
                     :: is_flagged(memory[WORD(me, ticket)], ticket, RUNNING) ->
                        memory[WORD(me, ticket)] = word_of(ticket, DONE)
                     :: else
                     fi
                 }
              fi;
              if
              :: RESULT_AFTER_DONE -> memory[RESULT(me, ticket)] = job
              :: else
              fi;
              atomic { untold = true; ticket++; seen = 0; job = 0 }
           :: else ->
              store(worker_stores[me], SLEEPING(me), 1);
              atomic {
                  SLEEP_WITHOUT_FENCE || fence(worker_stores[me]);
                  word = !SLEEP_WITHOUT_LOOK && concerns(memory[WORD(me, ticket)], ticket)
              }
              if
              :: DOORBELL_READ_LATE -> seen = memory[DOORBELL(me)]
              :: else
              fi;
              if
              :: word
              :: else -> memory[DOORBELL(me)] != seen || finished  /* FUTEX_WAIT */
              fi;
              atomic { store(worker_stores[me], SLEEPING(me), 0); seen = 0; word = 0 }
           fi
        od
       } unless { killed[me] };
       atomic { ticket = 0; seen = 0; word = 0; job = 0; untold = false; dead[me] = true }
    od
}

#define waits (waiting[0] || waiting[1] || waiting[2])
#define first_waiting (waiting[0] -> 1 : (waiting[1] -> 2 : 3))
#define usable(w) (w < workers && born[w] && !stopping[w])
#define has_room(w) (head[w] - tail[w] < credit)
#define outcome(job) atomic { outcomes[job - 1]++; assert(outcomes[job - 1] == 1) }

inline ring(w)
{
    atomic {
        GIVE_WITHOUT_FENCE || fence(pool_stores);
        word = memory[SLEEPING(w)]
    }
    if
    :: word ->
       atomic { fence(pool_stores); word = memory[SLEEPING(w)]; memory[SLEEPING(w)] = 0 }
       if
       :: word -> atomic { fence(pool_stores); word = 0; memory[DOORBELL(w)]++ }
       :: else
       fi
    :: else
    fi
}

inline give(w)
{
    atomic {
        job = first_waiting;
        waiting[job - 1] = 0;
        begun[job - 1] = false;
        ended[job - 1] = false;
        holds[WORD(w, head[w])] = job;
        if
        :: !READY_BEFORE_JOB -> memory[JOB(w, head[w])] = job
        :: else
        fi;
        store(pool_stores, WORD(w, head[w]), word_of(head[w], READY));
        head[w]++
    }
    if
    :: READY_BEFORE_JOB -> memory[JOB(w, head[w] - 1)] = job
    :: else
    fi;
    job = 0;
    ring(w)
}

/* Drops the tickets that are over from the ring's end. */
inline advance(w)
{
    do
    :: tail[w] != head[w] && holds[WORD(w, tail[w])] == 0 -> tail[w]++
    :: else -> break
    od
}

/* Takes the oldest result, if it is there; `found` says so. */
inline collect(w)
{
    atomic {
        if
        :: tail[w] != head[w] && holds[WORD(w, tail[w])] != STOPPER && is(memory[WORD(w, tail[w])], tail[w], DONE) ->
           job = holds[WORD(w, tail[w])];
           assert(ended[job - 1] && memory[RESULT(w, tail[w])] == job);
           outcome(job);
           holds[WORD(w, tail[w])] = 0;
           advance(w);
           found = true;
           job = 0
        :: else
        fi
    }
}

/* The job goes back to the queue, or its caller was cancelled. */
inline end_taken()
{
    assert(!begun[job - 1]);
    if
    :: waiting[job - 1] = 1
    :: outcome(job)
    fi
}

inline take_back(w, t)
{
    takes--;
    if
    :: TAKE_BY_STORE ->
       word = memory[WORD(w, t)];
       if
       :: is(word, t, READY) -> store(pool_stores, WORD(w, t), word_of(t, TAKEN)); word = 1
       :: else -> word = 0
       fi
    :: else ->
       atomic {
           fence(pool_stores);
           word = is(memory[WORD(w, t)], t, READY);
           if
           :: word -> memory[WORD(w, t)] = word_of(t, TAKEN)
           :: else
           fi
       }
    fi;
    if
    :: word -> atomic { job = holds[WORD(w, t)]; end_taken(); holds[WORD(w, t)] = 0; advance(w); job = 0; word = 0 }
    :: else
    fi
}

inline ask(w)
{
    atomic { asks--; fence(pool_stores); word = memory[WORD(w, tail[w])] }
    if
    :: is(word, tail[w], RUNNING) ->
       if
       :: ASK_BY_STORE -> memory[WORD(w, tail[w])] = word_of(tail[w], RUNNING + ASKED)
       :: else ->
          atomic {
              if
              :: is(memory[WORD(w, tail[w])], tail[w], RUNNING) -> memory[WORD(w, tail[w])] = word_of(tail[w], RUNNING + ASKED)
              :: else
              fi
          }
       fi
    :: else
    fi;
    word = 0
}

/* What a dead worker left. Nobody else looks at its page any more. */
inline recover(w)
{
    do
    :: tail[w] != head[w] ->
       job = holds[WORD(w, tail[w])];
       word = memory[WORD(w, tail[w])];
       if
       :: job == 0 || job == STOPPER
       :: else ->
          if
          :: is_flagged(word, tail[w], DONE) && !FORGET_WHAT_IS_DONE ->
             assert(ended[job - 1] && memory[RESULT(w, tail[w])] == job);
             outcome(job)
          :: is(word, tail[w], READY) -> assert(!begun[job - 1]); waiting[job - 1] = 1
          :: is_flagged(word, tail[w], RUNNING) && RUN_AGAIN_WHAT_RAN -> assert(!begun[job - 1]); waiting[job - 1] = 1
          :: else ->
             assert(!ended[job - 1] || !is_flagged(word, tail[w], DONE));
             if
             :: retries > 0 -> retries--; waiting[job - 1] = 1  /* begun anew: another attempt */
             :: outcome(job)
             fi
          fi
       fi;
       holds[WORD(w, tail[w])] = 0;
       tail[w]++
    :: else -> break
    od;
    word = 0;
    job = 0
}

inline bury(w)
{
    atomic {
        fence(pool_stores);
        recover(w);
        dead[w];  /* it is so already, unless a rule is broken */
        memory[SLEEPING(w)] = 0;
        doomed[w] = false;
        if
        :: stopping[w] -> gone[w] = true; born[w] = false; dead[w] = false; killed[w] = false
        :: else ->
           if
           :: TICKETS_FROM_ZERO -> head[w] = 0
           :: else -> head[w] = (head[w] + SLOTS - 1) / SLOTS * SLOTS
           fi;
           tail[w] = head[w];
           first_ticket[w] = head[w];
           killed[w] = false;
           dead[w] = false
        fi
    }
}

inline stop(w)
{
    atomic { stopping[w] = true; holds[WORD(w, head[w])] = STOPPER }
    store(pool_stores, WORD(w, head[w]), word_of(head[w], STOP));
    head[w]++;
    ring(w)
}

#define is_dead(w) ((RECLAIM_BEFORE_KILL && doomed[w]) || dead[w] && len(worker_stores[w]) == 0)
#define takeable(w, t) (takes > 0 && tail[w] < head[w] && holds[WORD(w, t)] > 0 && holds[WORD(w, t)] != STOPPER)
#define nobody_dead (!(born[0] && is_dead(0)) && !(born[1] && is_dead(1)))
#define may_give(w) (waits && usable(w) && has_room(w))
#define all_have_outcomes (outcomes[0] && (jobs < 2 || outcomes[1]) && (jobs < 3 || outcomes[2]))

inline tell_workers(waits_for_them)
{
    atomic {
        store(pool_stores, NOTIFY(0), waits_for_them);
        if
        :: workers > 1 -> store(pool_stores, NOTIFY(1), waits_for_them)
        :: else
        fi
    }
}

/* A look into every ring. */
inline collect_all()
{
    collect(0);
    if
    :: workers > 1 -> collect(1)
    :: else
    fi
}

/* The loop is about to wait. */
inline wait_for_events()
{
    tell_workers(1);
    ARM_WITHOUT_FENCE || fence(pool_stores);
    if
    :: !ARM_WITHOUT_LOOK -> collect_all()
    :: else
    fi;
    if
    :: found
    :: else ->
       if
       :: event -> event = false
       :: born[0] && is_dead(0)
       :: born[1] && is_dead(1)
       :: timers > 0 -> timers--
       fi
    fi;
    tell_workers(0);
    do
    :: found = false;
       collect_all();
       if
       :: !found -> break
       :: else
       fi
    od
}

proctype pool()
{
    byte word, job;
    bool found;

    do
    :: may_give(0) -> give(0)
    :: may_give(1) -> give(1)
    :: takeable(0, tail[0]) -> take_back(0, tail[0])
    :: tail[0] + 1 < head[0] && takeable(0, head[0] - 1) -> take_back(0, head[0] - 1)
    :: atomic { asks > 0 && tail[0] < head[0] && holds[WORD(0, tail[0])] != STOPPER } -> ask(0)
    :: atomic { retires > 0 && workers > 1 && usable(0) && usable(1) && head[1] - tail[1] < SLOTS -> retires-- } -> stop(1)
    :: atomic { born[0] && is_dead(0) } -> bury(0)
    :: atomic { born[1] && is_dead(1) } -> bury(1)
    :: !may_give(0) && !may_give(1) && !all_have_outcomes && nobody_dead -> wait_for_events()
    :: all_have_outcomes -> break
    od;
    do
    :: !closes -> break
    :: closes && usable(0) && has_room(0) -> stop(0)
    :: closes && usable(1) && has_room(1) -> stop(1)
    :: closes && born[0] && is_dead(0) -> bury(0)
    :: closes && born[1] && is_dead(1) -> bury(1)
    :: closes && gone[0] && (workers < 2 || gone[1]) -> break
    od;
    atomic {
        finished = true;
        assert(outcomes[0] == 1 && (jobs < 2 || outcomes[1] == 1) && (jobs < 3 || outcomes[2] == 1))
    }
}

c_code {
    static int setting(const char *name, int usual)
    {
        return getenv(name) ? atoi(getenv(name)) : usual;
    }
}

init
{
    d_step {
        c_code {
            now.buffered = setting("BUFFERED", 1);
            now.closes = setting("CLOSES", 1);
            now.broken = setting("BROKEN", 0);
            now.workers = setting("WORKERS", 1);
            now.jobs = setting("JOBS", 3);
            now.credit = setting("CREDIT", 2);
            now.deaths = setting("DEATHS", 1);
            now.takes = setting("TAKES", 1);
            now.asks = setting("ASKS", 0);
            now.retires = setting("RETIRES", 0);
            now.retries = setting("RETRIES", 0);
            now.timers = setting("TIMERS", 0);
        };
        waiting[0] = 1;
        waiting[1] = (jobs > 1);
        waiting[2] = (jobs > 2);
        born[0] = true;
        born[1] = (workers > 1)
    }
    atomic { run worker(0); run worker(1); run pool() }
}
