/* SPDX-License-Identifier: MIT */
/* Connecting to names: several addresses, of which some refuse, some are silent, and one answers. */
#include "net/fake_dns.h"

#define ATTEMPT_DELAY td_ms(30)

struct site {
    struct fake_dns dns;
    td_listener *listener;
    int holes[3], fills[3][2], hole_count;
    char place[80], why[400];
    td_lookup_opts lookup;
    td_connect_opts opts;
};

static void site_open(struct site *site, const char *address, const char *name)
{
    fake_dns_open(&site->dns);
    expect_int(td_listen(&site->listener, address, &(td_listen_opts){.v6_only = true}), 0);
    snprintf(site->place, sizeof site->place, "%s%s", name, strrchr(td_listener_address(site->listener), ':'));
    site->lookup = (td_lookup_opts){.servers = site->dns.server, .timeout = td_sec(5)};
    site->opts = (td_connect_opts){.lookup = &site->lookup, .attempt_delay = ATTEMPT_DELAY, .why = site->why,
                                   .why_size = sizeof site->why};
}

static void site_close(struct site *site)
{
    for (int i = 0; i < site->hole_count; i++) {
        close(site->holes[i]);
        close(site->fills[i][0]);
        close(site->fills[i][1]);
    }
    if (site->listener)
        td_listener_close(site->listener);
    fake_dns_close(&site->dns);
    free(site);
}

/* An address at the site's port that takes no connection and refuses none: its backlog is full. */
static void dig_hole(struct site *site, const char *host)
{
    in_port_t port = htons((uint16_t)strtol(strrchr(site->place, ':') + 1, NULL, 10));
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = port};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = port};
    bool is_v4 = inet_pton(AF_INET, host, &v4.sin_addr) == 1;
    const struct sockaddr *at = is_v4 ? (struct sockaddr *)&v4 : (struct sockaddr *)&v6;
    socklen_t size = is_v4 ? sizeof v4 : sizeof v6;
    int *hole = &site->holes[site->hole_count], *fills = site->fills[site->hole_count++];

    expect(is_v4 || inet_pton(AF_INET6, host, &v6.sin6_addr) == 1);
    *hole = socket(at->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (!is_v4)
        setsockopt(*hole, IPPROTO_IPV6, IPV6_V6ONLY, &(int){1}, sizeof(int));
    expect_int(bind(*hole, at, size), 0);
    expect_int(listen(*hole, 0), 0);
    for (int i = 0; i < 2; i++) {
        fills[i] = socket(at->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        (void)connect(fills[i], at, size);
    }
}

static struct site *site_new(const char *address, const char *name)
{
    struct site *site = calloc(1, sizeof *site);

    assert_non_null(site);
    site_open(site, address, name);
    return site;
}

/* Connects, and sees to it that it is the site's listener that answered. */
static void expect_connected(struct site *site)
{
    td_stream *near = NULL, *far = NULL;
    int descriptors = descriptors_count();
    char byte = 0;

    if (!expect_int(td_connect_to(&near, site->place, &site->opts), 0)) {
        print_error("%s\n", site->why);
        return;
    }
    expect_int(descriptors_count(), descriptors + 1);  /* all others are closed */
    expect_text(site->why, "");
    expect_int(td_accept(site->listener, &far), 0);
    expect_int(td_stream_write(far, "x", 1), 1);
    expect_int(td_stream_read(near, &byte, 1), 1);
    td_stream_close(near);
    td_stream_close(far);
}

static bool no_ipv6(void)
{
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool has = fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0;

    if (fd >= 0)
        close(fd);
    return !has;
}

static int one_body(void *arg)
{
    struct site *site = site_new("127.0.0.1:0", "both.test");

    expect_connected(site);  /* [::1] refuses */
    site_close(site);
    site = site_new("[::1]:0", "both.test");
    expect_connected(site);
    site_close(site);
    return 0;
}

static void the_family_that_answers_is_taken(void **state)
{
    if (no_ipv6())
        skip();
    assert_int_equal(run(state, one_body, NULL), 0);
}

static int silent_v6_body(void *arg)
{
    struct site *site = site_new("127.0.0.1:0", "both.test");
    td_time began = td_now();

    dig_hole(site, "::1");
    expect_connected(site);
    expect(td_now() - began >= ATTEMPT_DELAY);  /* IPv6 was tried first */
    site_close(site);
    return 0;
}

static void a_black_hole_costs_one_attempt_delay(void **state)
{
    if (no_ipv6())
        skip();
    assert_int_equal(run(state, silent_v6_body, NULL), 0);
}

static int several_body(void *arg)
{
    struct site *site = site_new("127.0.0.4:0", "black.test");
    td_time began = td_now();

    dig_hole(site, "127.0.0.2");
    dig_hole(site, "127.0.0.3");
    expect_connected(site);
    expect(td_now() - began >= 2 * ATTEMPT_DELAY);
    site_close(site);
    return 0;
}

static void attempts_go_on_until_one_answers(void **state)
{
    assert_int_equal(run(state, several_body, NULL), 0);
}

static int half_silent_body(void *arg)
{
    struct site *site = site_new("127.0.0.1:0", "halfsilent.test");

    expect_connected(site);
    expect(atomic_load(&site->dns.silent) >= 1);
    site_close(site);
    return 0;
}

/* RFC 8305, 3: the answer for IPv6 is waited for, but not for long. */
static void an_address_is_tried_while_the_other_family_is_looked_up(void **state)
{
    assert_int_equal(run(state, half_silent_body, NULL), 0);
}

static int refused_body(void *arg)
{
    struct site *site = site_new("127.0.0.1:0", "both.test");
    td_stream *stream = NULL;
    char wanted[400];
    const char *port = strrchr(site->place, ':');

    td_listener_close(site->listener);
    site->listener = NULL;
    expect_int(td_connect_to(&stream, site->place, &site->opts), -ECONNREFUSED);
    expect(stream == NULL);
    snprintf(wanted, sizeof wanted, "cannot connect to both.test%s: [::1]%s: %s; 127.0.0.1%s: %s", port, port,
             td_strerror(-ECONNREFUSED), port, td_strerror(-ECONNREFUSED));
    expect_text(site->why, wanted);
    snprintf(site->place, sizeof site->place, "unknown.test:80");
    expect_int(td_connect_to(&stream, site->place, &site->opts), -ENOENT);
    expect(strncmp(site->why, "cannot look up unknown.test:80: ", 32) == 0);
    expect_int(td_connect_to(&stream, "nonsense", &site->opts), -EINVAL);
    expect_int(td_connect_to(&stream, "[fe80::1%nosuch0]:80", &site->opts), -ENODEV);
    site_close(site);
    return 0;
}

static void when_all_fail_it_is_told_why(void **state)
{
    if (no_ipv6())
        skip();
    assert_int_equal(run(state, refused_body, NULL), 0);
}

static int deadline_body(void *arg)
{
    struct site *site = site_new("127.0.0.1:0", "black.test");
    td_stream *stream = NULL;
    td_scope scope;
    int descriptors;

    dig_hole(site, "127.0.0.2");
    dig_hole(site, "127.0.0.3");
    dig_hole(site, "127.0.0.4");
    descriptors = descriptors_count();
    td_scope_open(&scope);
    td_scope_deadline(&scope, td_after(td_ms(200)));
    expect_int(td_connect_to(&stream, site->place, &site->opts), -ECANCELED);
    expect_int(td_scope_join(&scope), -ETIMEDOUT);
    expect(stream == NULL);
    expect_int(descriptors_count(), descriptors);
    site_close(site);
    return 0;
}

static void a_deadline_ends_every_attempt(void **state)
{
    assert_int_equal(run(state, deadline_body, NULL), 0);
}

static int plain_body(void *arg)
{
    td_listener *listener;
    td_stream *stream;

    expect_int(td_listen(&listener, "127.0.0.1:0", NULL), 0);
    expect_int(td_connect_to(&stream, td_listener_address(listener), NULL), 0);
    td_stream_close(stream);
    td_listener_close(listener);
    expect_int(td_listen(&listener, "unix:@tandem happy", NULL), 0);
    expect_int(td_connect_to(&stream, "unix:@tandem happy", NULL), 0);
    td_stream_close(stream);
    td_listener_close(listener);
    return 0;
}

static void an_address_is_a_place_too(void **state)
{
    assert_int_equal(run(state, plain_body, NULL), 0);
}

static int simulated_body(void *arg)
{
    td_listener *listener;
    td_stream *stream;

    expect_int(td_listen(&listener, "127.0.0.1:80", NULL), 0);
    expect_int(td_connect_to(&stream, "localhost:80", NULL), 0);
    td_stream_close(stream);
    td_listener_close(listener);
    return 0;
}

static void a_simulation_knows_localhost(void **state)
{
    assert_int_equal(run(state, simulated_body, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(the_family_that_answers_is_taken), ON_BOTH(a_black_hole_costs_one_attempt_delay),
        ON_BOTH(attempts_go_on_until_one_answers), ON_BOTH(an_address_is_tried_while_the_other_family_is_looked_up),
        ON_BOTH(when_all_fail_it_is_told_why), ON_BOTH(a_deadline_ends_every_attempt), ON_BOTH(an_address_is_a_place_too),
        ON(TD_BACKEND_SIM, "sim: ", a_simulation_knows_localhost),
    };

    return cmocka_run_group_tests_name("net happy", tests, NULL, NULL);
}
