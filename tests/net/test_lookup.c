/* SPDX-License-Identifier: MIT */
/*
 * Lookups by the system's resolver (td_lookup_opts.system). The names of .test are resolved here, by a resolver that does as the
 * name says; the others by the real one. Lookups by the loop itself are in test_dns.c.
 */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <netdb.h>

#include "pool/jobs.h"

#define LEFT_MAX 8  /* tandem/classes.h */

static struct { atomic_bool open; atomic_int inside, freed, made; } resolver;

static struct addrinfo *one_of(const char *text, in_port_t port, struct addrinfo *next)
{
    struct { struct addrinfo info; struct sockaddr_storage at; } *made = calloc(1, sizeof *made);
    struct sockaddr_in *v4;

    assert_non_null(made);
    v4 = (struct sockaddr_in *)&made->at;
    made->info = (struct addrinfo){.ai_family = AF_INET, .ai_addr = (struct sockaddr *)v4, .ai_addrlen = sizeof *v4,
                                   .ai_next = next};
    v4->sin_family = AF_INET;
    v4->sin_port = port;
    inet_pton(AF_INET, text, &v4->sin_addr);
    if (strchr(text, 'x'))
        made->info.ai_family = v4->sin_family = AF_UNIX;
    atomic_fetch_add(&resolver.made, 1);
    return &made->info;
}

static struct addrinfo *many(in_port_t port)
{
    struct addrinfo *list = NULL;
    char text[20];

    for (int i = 40; i > 0; i--) {
        snprintf(text, sizeof text, "10.0.0.%d", i);
        list = one_of(text, port, list);
    }
    return list;
}

int getaddrinfo(const char *restrict host, const char *restrict service, const struct addrinfo *restrict wanted,
                struct addrinfo **restrict found)
{
    static const struct { const char *host; int rc; } failures[] = {
        {"unknown.test", EAI_NONAME}, {"empty.test", EAI_NODATA}, {"later.test", EAI_AGAIN}, {"broken.test", EAI_FAIL},
        {"service.test", EAI_SERVICE}, {"memory.test", EAI_MEMORY}, {"system.test", EAI_SYSTEM},
    };
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    in_port_t port = htons((in_port_t)strtol(service, NULL, 10));

    for (size_t i = 0; i < COUNT(failures); i++) {
        if (strcmp(host, failures[i].host) == 0) {
            errno = ENFILE;
            return failures[i].rc;
        }
    }
    if (strcmp(host, "stuck.test") == 0) {
        atomic_fetch_add(&resolver.inside, 1);
        while (!atomic_load(&resolver.open))
            nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
    }
    if (strcmp(host, "many.test") == 0)
        *found = many(port);
    else if (strcmp(host, "twice.test") == 0)
        *found = one_of("10.0.0.1", port, one_of("10.0.0.2", port, one_of("10.0.0.1", port, NULL)));
    else if (strcmp(host, "socket.test") == 0)
        *found = one_of("x", port, NULL);
    else if (strstr(host, ".test"))
        *found = one_of("10.0.0.1", port, NULL);
    else {
        *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
        return real(host, service, wanted, found);
    }
    return 0;
}

void freeaddrinfo(struct addrinfo *found)
{
    void (*real)(struct addrinfo *);

    if (atomic_load(&resolver.made) == 0) {
        *(void **)&real = dlsym(RTLD_NEXT, "freeaddrinfo");
        real(found);
        return;
    }
    while (found) {
        struct addrinfo *next = found->ai_next;

        free(found);
        atomic_fetch_add(&resolver.freed, 1);
        found = next;
    }
}

static void resolver_reset(void)
{
    atomic_store(&resolver.open, false);
    atomic_store(&resolver.inside, 0);
    atomic_store(&resolver.made, 0);
    atomic_store(&resolver.freed, 0);
}

static void run_lookups(void **state, td_fn body)
{
    resolver_reset();
    assert_int_equal(run(state, body, state), 0);
    assert_int_equal(atomic_load(&resolver.freed), atomic_load(&resolver.made));
}

static int look_up(const char *place, td_address *found, size_t max)
{
    return td_lookup_with(&(td_lookup_opts){.system = true}, place, found, max);
}

static void expect_found(const char *place, const char *text)
{
    td_address found = {"nothing"};

    expect_int(look_up(place, &found, 1), 1);
    expect_text(found.text, text);
}

static int addresses_body(void *arg)
{
    td_shared_stats shared;

    expect_found("127.0.0.1:80", "127.0.0.1:80");
    expect_found("[::1]:443", "[::1]:443");
    expect_found("[0:0::1]:443", "[::1]:443");
    td_shared_statistics(&shared);
    expect_int((long long)shared.blocks, 0);
    return 0;
}

static void an_address_is_answered_as_it_is(void **state)
{
    run_lookups(state, addresses_body);
}

static int system_body(void *arg)
{
    td_address found[4];
    int count = look_up("localhost:80", found, COUNT(found));

    expect(count >= 1);
    for (int i = 0; i < count; i++)
        expect(strcmp(found[i].text, "127.0.0.1:80") == 0 || strcmp(found[i].text, "[::1]:80") == 0);
    return 0;
}

static void the_system_knows_localhost(void **state)
{
    run_lookups(state, system_body);
}

static int names_body(void *arg)
{
    td_address found[TD_LOOKUP_MAX + 4];

    expect_found("one.test:8080", "10.0.0.1:8080");
    expect_int(look_up("twice.test:1", found, COUNT(found)), 2);
    expect_text(found[0].text, "10.0.0.1:1");
    expect_text(found[1].text, "10.0.0.2:1");
    expect_int(look_up("many.test:1", found, COUNT(found)), TD_LOOKUP_MAX);
    expect_text(found[TD_LOOKUP_MAX - 1].text, "10.0.0.16:1");
    expect_int(look_up("many.test:1", found, 3), 3);
    return 0;
}

static void a_name_has_its_addresses_once_and_in_order(void **state)
{
    run_lookups(state, names_body);
}

static int failures_body(void *arg)
{
    static const struct { const char *place; int rc; } cases[] = {
        {"unknown.test:1", -ENOENT}, {"empty.test:1", -ENOENT}, {"later.test:1", -EHOSTUNREACH}, {"broken.test:1", -EHOSTUNREACH},
        {"service.test:1", -EINVAL}, {"memory.test:1", -ENOMEM}, {"system.test:1", -ENFILE}, {"socket.test:1", -ENOENT},
        {"", -EINVAL}, {":", -EINVAL}, {":80", -EINVAL}, {"one.test", -EINVAL}, {"one.test:", -EINVAL}, {"[]:80", -EINVAL},
        {"[:80", -EINVAL}, {"::1:80", -EINVAL}, {"a:b:80", -EINVAL},
    };
    char longest[400], service[200];
    td_address found = {"untouched"};

    for (size_t i = 0; i < COUNT(cases); i++)
        if (!expect_int(look_up(cases[i].place, &found, 1), cases[i].rc))
            print_error("it was \"%s\"\n", cases[i].place);
    memset(longest, 'a', sizeof longest);
    memcpy(longest + 256, ":80", 4);
    expect_int(look_up(longest, &found, 1), -EINVAL);
    memset(service, 'a', sizeof service);
    memcpy(service, "one.test:", 9);
    service[sizeof service - 1] = '\0';
    expect_int(look_up(service, &found, 1), -EINVAL);
    expect_int(look_up("one.test:1", &found, 0), -EINVAL);
    expect_text(found.text, "untouched");
    return 0;
}

/* Law 8: each failure is a value, and changes nothing. */
static void failures_are_values(void **state)
{
    run_lookups(state, failures_body);
}

static int ask_stuck(void *arg)
{
    td_address found;
    int rc = look_up("stuck.test:80", &found, 1);

    *(int *)arg = rc;
    return 0;
}

static int busy_body(void *arg)
{
    struct world w = {.state = arg, .pool = td_pool_of(TD_CLASS_CPU), .gate = td_shared_calloc(1, sizeof(struct gate))};
    struct call calls[40];
    td_scope scope;

    td_scope_open(&scope);
    for (size_t i = 0; i < COUNT(calls); i++)
        spawn_call(&w, &scope, &calls[i], stay_in_gate);
    eventually(stats_of(&w).busy == stats_of(&w).workers_max);
    for (int i = 0; i < 50; i++)
        expect_found("one.test:80", "10.0.0.1:80");
    expect_int(atomic_load(&w.gate->left), 0);
    open_gate(&w);
    expect_int(td_scope_join(&scope), 0);
    td_shared_free(w.gate);
    return 0;
}

/* DNS never waits behind compression. */
static void a_lookup_does_not_wait_for_what_computes(void **state)
{
    run_lookups(state, busy_body);
}

static int stuck_body(void *arg)
{
    struct world w = {.pool = td_pool_of(TD_CLASS_NAMES)};
    int rcs[LEFT_MAX];
    td_scope scope;

    td_scope_open(&scope);
    for (int i = 0; i < LEFT_MAX; i++)
        expect_int(td_spawn(&scope, ask_stuck, &rcs[i]), 0);
    settle();
    eventually(atomic_load(&resolver.inside) == LEFT_MAX);
    td_scope_deadline(&scope, td_after(td_ms(1)));
    expect_int(td_scope_join(&scope), -ETIMEDOUT);
    for (int i = 0; i < LEFT_MAX; i++)
        expect_int(rcs[i], -ECANCELED);
    expect_int(stats_of(&w).stuck, LEFT_MAX);
    expect_found("one.test:80", "10.0.0.1:80");
    atomic_store(&resolver.open, true);
    eventually(stats_of(&w).stuck == 0);
    return 0;
}

/* Two seconds for the whole conversation, whatever the resolver does; and it does not hold up the next one. */
static void a_deadline_does_not_wait_for_a_resolver_that_hangs(void **state)
{
    run_lookups(state, stuck_body);
}

static int simulated_body(void *arg)
{
    td_address found;

    expect_found("localhost:80", "127.0.0.1:80");
    expect_found("127.0.0.1:80", "127.0.0.1:80");
    expect_int(look_up("example.org:80", &found, 1), -ENOENT);
    expect_int(look_up("localhost:http", &found, 1), -EINVAL);
    return 0;
}

static void a_simulation_asks_nobody(void **state)
{
    run_lookups(state, simulated_body);
}

static int inside_job(void *arg)
{
    td_address found;

    return td_lookup("one.test:80", &found, 1);
}

static int nested_body(void *arg)
{
    expect_int(td_offload(td_pool_of(TD_CLASS_CPU), inside_job, NULL), -EDEADLK);
    return 0;
}

static void inside_a_job_it_is_an_error(void **state)
{
    run_lookups(state, nested_body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(an_address_is_answered_as_it_is),
        ON_BOTH(the_system_knows_localhost),
        ON_BOTH(a_name_has_its_addresses_once_and_in_order),
        ON_BOTH(failures_are_values),
        ON_BOTH(a_lookup_does_not_wait_for_what_computes),
        ON_BOTH(a_deadline_does_not_wait_for_a_resolver_that_hangs),
        ON(TD_BACKEND_SIM, "sim: ", a_simulation_asks_nobody),
        ON_BOTH(inside_a_job_it_is_an_error),
    };

    return cmocka_run_group_tests_name("lookup", tests, NULL, NULL);
}
