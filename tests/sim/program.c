/* SPDX-License-Identifier: MIT */
/*
 * Random programs of scopes, deadlines, cancellations and channels, and a ledger of what they did:
 * law 2 (no task outlives its scope), law 3 (cancelled stays cancelled, and an operation that failed did nothing), law 4
 * (no channel holds more than it may), law 7 (no item is lost or comes twice, and each sender's come in their order).
 */
#include "sim/scenario.h"

#define CHANNELS 3
#define ITEMS_MAX 4000
#define SENDERS_MAX 400
#define DEPTH_MAX 4
#define STEPS_MAX 12

enum fate { UNKNOWN, SENDING, SENT, REFUSED, RECEIVED };

struct item {
    unsigned number, sender, turn;  /* the sender's turn-th */
};

struct book {
    struct world *world;
    td_chan *chans[CHANNELS];
    td_chan_opts opts[CHANNELS];
    td_scope *victims[16];          /* scopes that are open now, for others to cancel */
    enum fate fate[ITEMS_MAX];
    unsigned items, senders;
    unsigned last[SENDERS_MAX][CHANNELS];
    td_event event;
};

struct actor {
    struct book *book;
    int *alive;                     /* tasks of its scope */
    unsigned depth, sender, turns;
};

/* After -ECANCELED every further wait of the same scope answers the same. */
static void check_level(struct book *book, int rc, const char *what)
{
    if (rc == -ECANCELED)
        must(book->world, td_yield() == -ECANCELED, "%s was cancelled, and then a yield was not", what);
}

static void send_item(struct actor *actor, bool cancelled)
{
    struct book *book = actor->book;
    size_t which = pick(CHANNELS);
    struct item item = {book->items, actor->sender, ++actor->turns};
    int rc;

    if (book->items == ITEMS_MAX)
        return;
    book->items++;
    book->fate[item.number] = SENDING;
    rc = td_chan_send(book->chans[which], &item);
    must(book->world, !cancelled || rc == -ECANCELED, "a send in a cancelled scope answered %d", rc);
    must(book->world, rc == 0 || rc == -ECANCELED || rc == -EPIPE || rc == -EBUSY, "a send answered %d", rc);
    if (rc == 0)
        book->fate[item.number] = book->fate[item.number] == RECEIVED ? RECEIVED : SENT;
    else if (must(book->world, book->fate[item.number] == SENDING, "item %u was received, its send answered %d", item.number, rc))
        book->fate[item.number] = REFUSED;
    check_channel(book->world, book->chans[which]);
    check_level(book, rc, "a send");
}

static void receive_item(struct actor *actor, bool cancelled)
{
    struct book *book = actor->book;
    size_t which = pick(CHANNELS);
    struct item item = {0};
    int rc = td_chan_receive(book->chans[which], &item);

    must(book->world, !cancelled || rc == -ECANCELED, "a receive in a cancelled scope answered %d", rc);
    check_level(book, rc, "a receive");
    check_channel(book->world, book->chans[which]);
    if (rc < 0)
        return;
    if (!must(book->world, item.number < book->items && item.sender < SENDERS_MAX, "item %u is an invention", item.number))
        return;
    must(book->world, book->fate[item.number] == SENDING || book->fate[item.number] == SENT, "item %u had fate %d",
         item.number, book->fate[item.number]);
    book->fate[item.number] = RECEIVED;
}

static int act(void *arg);

static void tend_scope(struct actor *actor)
{
    struct book *book = actor->book;
    struct actor children[4];
    size_t count = pick(5), place = pick(16);
    int alive = 0, rc;
    td_scope scope;

    if (one_in(8))
        td_scope_open_shielded(&scope, td_us((int64_t)pick(20000)));
    else
        td_scope_open(&scope);
    if (one_in(2))
        td_scope_deadline(&scope, td_after(td_us((int64_t)pick(30000))));
    if (!book->victims[place])
        book->victims[place] = &scope;
    for (size_t i = 0; i < count; i++) {
        children[i] = (struct actor){book, &alive, actor->depth + 1, book->senders++ % SENDERS_MAX, 0};
        alive++;
        rc = td_spawn(&scope, act, &children[i]);
        if (!must(book->world, rc == 0, "td_spawn answered %d", rc))
            alive--;
    }
    if (one_in(3))
        td_sleep(td_us((int64_t)pick(5000)));
    rc = td_scope_join(&scope);
    if (book->victims[place] == &scope)
        book->victims[place] = NULL;
    must(book->world, alive == 0, "%d tasks outlived their scope", alive);
    must(book->world, rc == 0 || rc == -ECANCELED || rc == -ETIMEDOUT || rc == -EBADMSG, "a join answered %d", rc);
}

/* Strikes at any scope; not at its own, whose cancellation the caller would have to know of. */
static void strike(struct actor *actor)
{
    td_scope *victim = actor->book->victims[pick(16)];

    if (victim)
        td_scope_cancel(victim);
}

static int step(struct actor *actor, td_scope *home)
{
    struct book *book = actor->book;
    bool cancelled = td_scope_cancelled(home);
    int rc;

    switch (pick(10)) {
    case 0:
    case 1:
    case 2:
        send_item(actor, cancelled);
        break;
    case 3:
    case 4:
    case 5:
        receive_item(actor, cancelled);
        break;
    case 6:
        rc = td_sleep(td_us((int64_t)pick(10000)));
        must(book->world, !cancelled || rc == -ECANCELED, "a sleep in a cancelled scope answered %d", rc);
        check_level(book, rc, "a sleep");
        break;
    case 7:
        if (actor->depth < DEPTH_MAX)
            tend_scope(actor);
        break;
    case 8:
        if (one_in(6))
            strike(actor);
        else if (one_in(2))
            td_event_set(&book->event);
        break;
    default:
        if (one_in(2))
            td_event_clear(&book->event);
        rc = td_event_wait(&book->event);
        must(book->world, !cancelled || rc == -ECANCELED, "a wait in a cancelled scope answered %d", rc);
    }
    return one_in(60) ? -EBADMSG : 0;
}

static int act(void *arg)
{
    struct actor *actor = arg;
    td_scope home;
    int rc = 0;

    td_scope_open(&home);  /* to know whether it is cancelled */
    for (size_t steps = 1 + pick(STEPS_MAX); steps > 0 && rc == 0; steps--)
        rc = step(actor, &home);
    td_scope_join(&home);
    --*actor->alive;
    return rc;
}

/* What is in a channel at the end was sent and not received; a channel that drops says how many. */
static void settle_accounts(struct book *book)
{
    unsigned long long sent = 0, received = 0, dropped = 0, left = 0;

    for (unsigned i = 0; i < book->items; i++) {
        sent += book->fate[i] == SENT || book->fate[i] == RECEIVED;
        received += book->fate[i] == RECEIVED;
    }
    for (int i = 0; i < CHANNELS; i++) {
        td_chan_stats stats;
        struct item item;

        td_chan_close(book->chans[i]);
        td_chan_statistics(book->chans[i], &stats);
        dropped += stats.dropped;
        left += stats.count;
        for (size_t n = stats.count; n > 0; n--) {
            must(book->world, td_chan_receive(book->chans[i], &item) == 0, "of what is left");
            must(book->world, book->fate[item.number] == SENT, "item %u has fate %d", item.number, book->fate[item.number]);
        }
        must(book->world, td_chan_receive(book->chans[i], &item) == -EPIPE, "a closed channel that is empty");
        td_chan_free(book->chans[i]);
    }
    must(book->world, sent == received + dropped + left, "%llu sent, %llu received, %llu dropped, %llu left", sent, received,
         dropped, left);
}

static int run(void *arg)
{
    struct actor first = {0};
    int alive = 1, rc;
    td_scope scope;
    struct book *book = calloc(1, sizeof *book);

    if (!book)
        return -ENOMEM;
    book->world = arg;
    td_event_init(&book->event);
    for (int i = 0; i < CHANNELS; i++) {
        book->opts[i] = (td_chan_opts){.item_size = sizeof(struct item), .capacity = 1 + pick(4),
                                       .when_full = (td_when_full)(TD_WAIT + pick(3))};
        rc = td_chan_open(&book->chans[i], &book->opts[i]);
        must(book->world, rc == 0, "td_chan_open answered %d", rc);
    }
    td_scope_open(&scope);
    td_scope_deadline(&scope, td_after(td_ms(200)));  /* all programs end: those that would wait for ever, too */
    first = (struct actor){book, &alive, 0, book->senders++, 0};
    td_spawn(&scope, act, &first);
    for (size_t i = 2 + pick(6); i > 0; i--)
        tend_scope(&first);
    td_scope_join(&scope);
    must(book->world, alive == 0, "the first task outlived its scope");
    settle_accounts(book);
    free(book);
    return 0;
}

const struct scenario scenario_program = {"program", run};
