/* SPDX-License-Identifier: MIT */
/* Addresses as text. */
#include <arpa/inet.h>
#include <netinet/in.h>

#include "net/address.h"
#include "run/harness.h"

static void addresses_that_are_some(void **state)
{
    static const struct { const char *text, *told; } addresses[] = {
        {"127.0.0.1:8080", "127.0.0.1:8080"}, {"0.0.0.0:0", "0.0.0.0:0"}, {"255.255.255.255:65535", NULL},
        {"10.0.0.1:00080", "10.0.0.1:80"}, {"[::1]:8080", "[::1]:8080"}, {"[::]:1", "[::]:1"},
        {"[2001:db8::1]:443", "[2001:db8::1]:443"}, {"[::ffff:1.2.3.4]:5", "[::ffff:1.2.3.4]:5"},
        {"[1:2:3:4:5:6:7:8]:9", "[1:2:3:4:5:6:7:8]:9"},
        {"[fe80::1%lo]:80", "[fe80::1%lo]:80"}, {"[fe80::1%1]:80", "[fe80::1%lo]:80"},
        {"[fe80::1%4000000000]:80", "[fe80::1%4000000000]:80"},
    };

    for (size_t i = 0; i < COUNT(addresses); i++) {
        struct sockaddr_storage address;
        char text[TD_ADDRESS_MAX];
        socklen_t size;

        assert_int_equal(address_parse(addresses[i].text, &address, &size), 0);
        assert_int_equal(size, addresses[i].text[0] == '[' ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in));
        address_format(&address, size, text);
        assert_string_equal(text, addresses[i].told ? addresses[i].told : addresses[i].text);
    }
}

static void text_that_is_no_address(void **state)
{
    static const char *const texts[] = {
        "", ":", ":80", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:99999999999999999999",
        "127.0.0.1:4294967376", "127.0.0.1:-1", "127.0.0.1:+80", "127.0.0.1: 80", "127.0.0.1:80 ", "127.0.0.1:8o",
        " 127.0.0.1:80", "127.1:80", "256.0.0.1:80", "1.2.3:80", "1.2.3.4.5:80", "localhost:80", "::1:80", "[::1]",
        "[::1]80", "[::1:80", "::1]:80", "[]:80", "[127.0.0.1]:80", "[::g]:80",
        "[fe80::1%]:80", "[fe80::1%aninterfacewithalongname]:80", "127.0.0.1%lo:80", "unix:", "unix:@", "unix",
        "[:80", "]:80", "[[::1]]:80",
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

static void unix_sockets_are_paths_or_abstract_names(void **state)
{
    static const struct { const char *text; size_t size; } names[] = {
        {"unix:/run/a.sock", 2 + 11 + 1}, {"unix:a", 2 + 1 + 1}, {"unix:@a", 2 + 2}, {"unix:@a:b@c", 2 + 6},
    };
    char longest[140] = "unix:", text[TD_ADDRESS_MAX];
    struct sockaddr_storage address;
    socklen_t size;

    for (size_t i = 0; i < COUNT(names); i++) {
        assert_int_equal(address_parse(names[i].text, &address, &size), 0);
        assert_int_equal(size, names[i].size);
        assert_int_equal(address_is_path(&address), names[i].text[5] != '@');
        address_format(&address, size, text);
        assert_string_equal(text, names[i].text);
    }
    memset(longest + 5, 'x', 107);
    assert_int_equal(address_parse(longest, &address, &size), 0);
    address_format(&address, size, text);
    assert_string_equal(text, longest);
    longest[5 + 107] = 'x';
    assert_int_equal(address_parse(longest, &address, &size), -ENAMETOOLONG);
    address_format(&(struct sockaddr_storage){.ss_family = AF_UNIX}, sizeof(sa_family_t), text);
    assert_string_equal(text, "unix:");
}

static void a_scope_must_be_an_interface(void **state)
{
    struct sockaddr_storage address;
    socklen_t size;

    assert_int_equal(address_parse("[fe80::1%lo]:80", &address, &size), 0);
    assert_int_equal(((struct sockaddr_in6 *)&address)->sin6_scope_id, 1);
    assert_int_equal(address_parse("[fe80::1%nosuch0]:80", &address, &size), -ENODEV);
    assert_int_equal(address_parse("[fe80::1%0]:80", &address, &size), -ENODEV);
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
        cmocka_unit_test(unix_sockets_are_paths_or_abstract_names), cmocka_unit_test(a_scope_must_be_an_interface),
        ON_BOTH(they_are_refused_by_name),
    };

    return cmocka_run_group_tests_name("net address", tests, NULL, NULL);
}
