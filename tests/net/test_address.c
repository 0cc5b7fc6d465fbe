/* SPDX-License-Identifier: MIT */
/* Addresses as text. */
#include <arpa/inet.h>
#include <netinet/in.h>

#include "net/stream.h"
#include "run/harness.h"

static void addresses_that_are_some(void **state)
{
    static const struct { const char *text, *told; } addresses[] = {
        {"127.0.0.1:8080", "127.0.0.1:8080"}, {"0.0.0.0:0", "0.0.0.0:0"}, {"255.255.255.255:65535", NULL},
        {"10.0.0.1:00080", "10.0.0.1:80"}, {"[::1]:8080", "[::1]:8080"}, {"[::]:1", "[::]:1"},
        {"[2001:db8::1]:443", "[2001:db8::1]:443"}, {"[::ffff:1.2.3.4]:5", "[::ffff:1.2.3.4]:5"},
        {"[1:2:3:4:5:6:7:8]:9", "[1:2:3:4:5:6:7:8]:9"},
    };

    for (size_t i = 0; i < COUNT(addresses); i++) {
        struct sockaddr_storage address;
        char text[TD_ADDRESS_MAX];
        socklen_t size;

        assert_int_equal(address_parse(addresses[i].text, &address, &size), 0);
        assert_int_equal(size, addresses[i].text[0] == '[' ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in));
        address_format(&address, text);
        assert_string_equal(text, addresses[i].told ? addresses[i].told : addresses[i].text);
    }
}

static void text_that_is_no_address(void **state)
{
    static const char *const texts[] = {
        "", ":", ":80", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:99999999999999999999",
        "127.0.0.1:4294967376", "127.0.0.1:-1", "127.0.0.1:+80", "127.0.0.1: 80", "127.0.0.1:80 ", "127.0.0.1:8o",
        " 127.0.0.1:80", "127.1:80", "256.0.0.1:80", "1.2.3:80", "1.2.3.4.5:80", "localhost:80", "::1:80", "[::1]",
        "[::1]80", "[::1:80", "::1]:80", "[]:80", "[127.0.0.1]:80", "[::g]:80", "[::1%lo]:80", "[:80", "]:80", "[[::1]]:80",
        "0x7f.0.0.1:80", "127.0.0.1:0x50",
        "1111111111111111111111111111111111111111111111111111111111111111111111111111111:80",
    };

    for (size_t i = 0; i < COUNT(texts); i++) {
        struct sockaddr_storage address;
        socklen_t size;
        int rc = address_parse(texts[i], &address, &size);

        if (rc != -EINVAL)
            fail_msg("\"%s\" was taken for an address: %d", texts[i], rc);
    }
}

static int use_no_addresses(void *arg)
{
    td_listener *listener = (td_listener *)&arg;
    td_stream *stream = (td_stream *)&arg;

    expect_int(td_listen(&listener, "nonsense", NULL), -EINVAL);
    expect_int(td_connect(&stream, "nonsense"), -EINVAL);
    expect(listener == (td_listener *)&arg && stream == (td_stream *)&arg);  /* law 8: bad input leaves all as it was */
    return 0;
}

static void they_are_refused_by_name(void **state)
{
    assert_int_equal(run(state, use_no_addresses, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_that_are_some), cmocka_unit_test(text_that_is_no_address),
        ON_BOTH(they_are_refused_by_name),
    };

    return cmocka_run_group_tests_name("net address", tests, NULL, NULL);
}
