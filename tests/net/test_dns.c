/* SPDX-License-Identifier: MIT */
/* Lookups by the loop itself, from a name server that lies, is silent, cuts short. */
#include "net/fake_dns.h"

static struct fake_dns *dns_of(void *arg)
{
    return arg;
}

/* Patient with a busy machine, but for those who are silent. */
static td_lookup_opts ask(struct fake_dns *dns)
{
    return (td_lookup_opts){.servers = dns->server, .timeout = td_sec(5), .tries = 2};
}

static void run_with_dns(void **state, td_fn body)
{
    struct fake_dns dns;
    int rc;

    fake_dns_open(&dns);
    rc = run(state, body, &dns);
    fake_dns_close(&dns);
    assert_int_equal(rc, 0);
}

static int names_body(void *arg)
{
    td_lookup_opts opts = ask(dns_of(arg));
    td_address found[TD_LOOKUP_MAX + 4];

    expect_int(td_lookup_with(&opts, "one.test:80", found, COUNT(found)), 1);
    expect_text(found[0].text, "10.0.0.1:80");
    expect_int(td_lookup_with(&opts, "one.test:https", found, COUNT(found)), 1);
    expect_text(found[0].text, "10.0.0.1:443");
    expect_int(td_lookup_with(&opts, "six.test:80", found, COUNT(found)), 1);
    expect_text(found[0].text, "[2001:db8::6]:80");
    expect_int(td_lookup_with(&opts, "alias.test:80", found, COUNT(found)), 1);
    expect_text(found[0].text, "10.0.0.9:80");
    expect_int(td_lookup_with(&opts, "many.test:1", found, COUNT(found)), TD_LOOKUP_MAX);
    expect_int(td_lookup_with(&opts, "many.test:1", found, 3), 3);
    expect_int(td_lookup_with(&opts, "both.test:1", found, COUNT(found)), 2);
    opts.family = AF_INET;
    expect_int(td_lookup_with(&opts, "both.test:1", found, COUNT(found)), 1);
    expect_text(found[0].text, "127.0.0.1:1");
    opts.family = AF_INET6;
    expect_int(td_lookup_with(&opts, "both.test:1", found, COUNT(found)), 1);
    expect_text(found[0].text, "[::1]:1");
    return 0;
}

static void a_name_server_is_asked(void **state)
{
    run_with_dns(state, names_body);
}

static int long_body(void *arg)
{
    td_lookup_opts opts = ask(dns_of(arg));
    td_address found;

    opts.family = AF_INET;
    expect_int(td_lookup_with(&opts, "long.test:80", &found, 1), 1);
    expect_text(found.text, "10.0.0.7:80");
    return 0;
}

/* RFC 7766: what does not fit a datagram comes by TCP. */
static void a_cut_answer_is_asked_for_again_by_tcp(void **state)
{
    run_with_dns(state, long_body);
}

static int lies_body(void *arg)
{
    static const char *const places[] = {"lie-id.test:80", "lie-port.test:80", "lie-name.test:80"};
    td_lookup_opts opts = ask(dns_of(arg));
    td_address found[4];

    opts.family = AF_INET;
    for (size_t i = 0; i < COUNT(places); i++) {
        if (!expect_int(td_lookup_with(&opts, places[i], found, COUNT(found)), 1))
            print_error("it was \"%s\"\n", places[i]);
        expect_text(found[0].text, "10.0.0.1:80");
    }
    return 0;
}

/* RFC 5452: an answer with another number, from another port, or for another question is none. */
static void an_answer_that_was_not_asked_for_is_not_believed(void **state)
{
    run_with_dns(state, lies_body);
}

static int failures_body(void *arg)
{
    static const struct { const char *place; int rc; } cases[] = {
        {"unknown.test:1", -ENOENT}, {"empty.test:1", -ENOENT}, {"failing.test:1", -EHOSTUNREACH},
        {"refused.test:1", -EHOSTUNREACH}, {"broken.test:1", -EHOSTUNREACH}, {"one.test:nosuchservice", -EINVAL},
    };
    td_lookup_opts opts = ask(dns_of(arg));
    td_address found = {"untouched"};

    for (size_t i = 0; i < COUNT(cases); i++)
        if (!expect_int(td_lookup_with(&opts, cases[i].place, &found, 1), cases[i].rc))
            print_error("it was \"%s\"\n", cases[i].place);
    opts.timeout = td_ms(20);
    opts.tries = 1;
    expect_int(td_lookup_with(&opts, "silent.test:1", &found, 1), -EHOSTUNREACH);
    opts.servers = "nonsense";
    expect_int(td_lookup_with(&opts, "one.test:1", &found, 1), -EINVAL);
    opts.servers = "127.0.0.1:1";  /* where nobody is */
    expect_int(td_lookup_with(&opts, "one.test:1", &found, 1), -EHOSTUNREACH);
    expect_text(found.text, "untouched");
    return 0;
}

static void failures_are_values(void **state)
{
    run_with_dns(state, failures_body);
}

struct lookup_of_silence {
    struct fake_dns *dns;
    int rc;
};

static int ask_silence(void *arg)
{
    struct lookup_of_silence *lookup = arg;
    td_lookup_opts opts = ask(lookup->dns);
    td_address found;

    opts.timeout = td_sec(25);
    lookup->rc = td_lookup_with(&opts, "silent.test:80", &found, 1);
    return 0;
}

static int cancel_body(void *arg)
{
    struct lookup_of_silence lookups[50];
    td_lookup_opts opts = ask(dns_of(arg));
    int descriptors = descriptors_count();
    td_address found;
    td_scope scope;

    td_scope_open(&scope);
    for (size_t i = 0; i < COUNT(lookups); i++) {
        lookups[i].dns = arg;
        expect_int(td_spawn(&scope, ask_silence, &lookups[i]), 0);
    }
    eventually(atomic_load(&dns_of(arg)->silent) >= (int)COUNT(lookups));
    expect_int(td_lookup_with(&opts, "one.test:80", &found, 1), 1);  /* it does not wait for them */
    td_scope_cancel(&scope);
    td_scope_join(&scope);
    for (size_t i = 0; i < COUNT(lookups); i++)
        expect_int(lookups[i].rc, -ECANCELED);
    expect_int(descriptors_count(), descriptors);
    return 0;
}

/* No thread is left behind, and no socket. */
static void a_cancelled_lookup_leaves_nothing(void **state)
{
    run_with_dns(state, cancel_body);
}

static int small_stack(void *arg)
{
    td_lookup_opts opts = ask(dns_of(arg));
    td_address found;

    expect_int(td_lookup_with(&opts, "one.test:https", &found, 1), 1);
    return 0;
}

static int small_body(void *arg)
{
    td_scope scope;

    td_scope_open(&scope);
    expect_int(td_spawn_with(&scope, &(td_spawn_opts){.stack_size = 16 * 1024}, small_stack, arg), 0);
    return td_scope_join(&scope);
}

static void the_smallest_stack_will_do(void **state)
{
    run_with_dns(state, small_body);
}

static int virtual_body(void *arg)
{
    td_lookup_opts opts = ask(dns_of(arg));
    td_time began = td_now();
    td_address found;

    expect_int(td_lookup_with(&opts, "one.test:80", &found, 1), 1);
    expect(td_now() - began < td_sec(1));
    return 0;
}

/* The answer comes from another time than ours: the clock stands meanwhile. */
static void virtual_time_does_not_run_away(void **state)
{
    struct fake_dns dns;

    fake_dns_open(&dns);
    assert_int_equal(run_with(state, (td_opts){.virtual_time = true}, virtual_body, &dns), 0);
    fake_dns_close(&dns);
}

static int localhost_body(void *arg)
{
    td_lookup_opts opts = ask(dns_of(arg));
    td_address found[4];
    int count = td_lookup_with(&opts, "localhost:80", found, COUNT(found));

    expect(count >= 1);
    for (int i = 0; i < count; i++)
        expect(strcmp(found[i].text, "127.0.0.1:80") == 0 || strcmp(found[i].text, "[::1]:80") == 0);
    expect_int(atomic_load(&dns_of(arg)->asked), 0);
    return 0;
}

/* RFC 6761, 6.3. */
static void nobody_is_asked_for_localhost(void **state)
{
    run_with_dns(state, localhost_body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(a_name_server_is_asked), ON_BOTH(a_cut_answer_is_asked_for_again_by_tcp),
        ON_BOTH(an_answer_that_was_not_asked_for_is_not_believed), ON_BOTH(failures_are_values),
        ON_BOTH(a_cancelled_lookup_leaves_nothing), ON_BOTH(the_smallest_stack_will_do), ON_BOTH(virtual_time_does_not_run_away),
        ON_BOTH(nobody_is_asked_for_localhost),
    };

    return cmocka_run_group_tests_name("net dns", tests, NULL, NULL);
}
