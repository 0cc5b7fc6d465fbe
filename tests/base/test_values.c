/* SPDX-License-Identifier: MIT */
/* Durations, points in time, the words for errors, and lists. */
#include <limits.h>

#include "run/harness.h"

static void durations_saturate(void **state)
{
    assert_true(td_sec(2) == 2000000000 && td_ms(3) == 3000000 && td_us(4) == 4000 && td_sec(0) == 0);
    assert_true(td_sec(-1) == -1000000000);
    assert_true(td_sec(INT64_MAX) == TD_FOREVER && td_ms(INT64_MAX / 2) == TD_FOREVER && td_us(INT64_MAX) == TD_FOREVER);
    assert_true(td_sec(INT64_MIN) == -TD_FOREVER && td_us(INT64_MIN) == -TD_FOREVER);
    assert_true(td_sec(INT64_MAX / 1000000000) < TD_FOREVER);
    assert_true(td_sec(INT64_MAX / 1000000000 + 1) == TD_FOREVER);
}

static void points_in_time_saturate(void **state)
{
    td_time before = td_now(), at = td_after(td_sec(5)), after = td_now();

    assert_true(before >= 0 && at >= before + td_sec(5) && at <= after + td_sec(5));
    assert_true(td_after(TD_FOREVER) == TD_FOREVER && td_after(TD_FOREVER - 1) == TD_FOREVER);
    assert_true(td_after(-TD_FOREVER) < 0 && td_after(INT64_MIN) < 0);
}

static void the_clock_never_goes_back(void **state)
{
    td_time last = td_now();

    for (int i = 0; i < 100000; i++) {
        td_time now = td_now();

        assert_true(now >= last);
        last = now;
    }
}

/* Law 8: every value has a sentence. */
static void every_value_has_a_sentence(void **state)
{
    for (int rc = -5000; rc < 10; rc++)
        assert_true(strlen(td_strerror(rc)) > 0);
    assert_true(strlen(td_strerror(INT_MAX)) > 0);
    assert_string_equal(td_strerror(0), td_strerror(17));
}

static void the_smallest_value_has_a_sentence_too(void **state)
{
    assert_true(strlen(td_strerror(INT_MIN)) > 0);
}

static void errors_have_tandems_sense(void **state)
{
    static const struct { int rc; const char *word; } meanings[] = {
        {-ECANCELED, "cancel"}, {-ETIMEDOUT, "deadline"}, {-EBUSY, "full"}, {-EOWNERDEAD, "worker"},
        {-EPIPE, "closed"}, {-EFAULT, "td_shared_alloc"}, {-EDEADLK, "deadlock"},
    };

    for (size_t i = 0; i < COUNT(meanings); i++)
        assert_non_null(strstr(td_strerror(meanings[i].rc), meanings[i].word));
}

/* The text is constant: a second call does not change what the first one returned. */
static void sentences_are_constant(void **state)
{
    const char *first = td_strerror(-ENOENT);
    char copy[200];

    snprintf(copy, sizeof copy, "%s", first);
    for (int rc = -200; rc < 0; rc++)
        td_strerror(rc);
    assert_string_equal(first, copy);
    assert_ptr_equal(first, td_strerror(-ENOENT));
}

struct item {
    int number;
    struct td_list link;
};

static void check_list(struct td_list *list, const char *wanted)
{
    char told[100] = "";
    size_t at = 0;

    for (struct td_list *node = list->next; node != list; node = node->next) {
        assert_ptr_equal(node->next->prev, node);
        at += (size_t)snprintf(told + at, sizeof told - at, "%d ", container_of(node, struct item, link)->number);
    }
    assert_string_equal(told, wanted);
}

static void lists_keep_their_order(void **state)
{
    struct item items[4];
    struct td_list list;

    list_init(&list);
    assert_true(list_empty(&list));
    assert_null(list_pop_front(&list));
    for (int i = 0; i < 4; i++) {
        items[i].number = i;
        list_init(&items[i].link);
        assert_false(list_linked(&items[i].link));
    }
    list_push_back(&list, &items[1].link);
    list_push_back(&list, &items[2].link);
    list_push_front(&list, &items[0].link);
    list_insert_before(&items[2].link, &items[3].link);
    check_list(&list, "0 1 3 2 ");
    list_remove(&items[1].link);
    list_remove(&items[1].link);  /* harmless */
    assert_false(list_linked(&items[1].link));
    assert_ptr_equal(list_pop_front(&list), &items[0].link);
    check_list(&list, "3 2 ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations_saturate), cmocka_unit_test(points_in_time_saturate),
        cmocka_unit_test(the_clock_never_goes_back), cmocka_unit_test(every_value_has_a_sentence),
        cmocka_unit_test(the_smallest_value_has_a_sentence_too), cmocka_unit_test(errors_have_tandems_sense),
        cmocka_unit_test(sentences_are_constant), cmocka_unit_test(lists_keep_their_order),
    };

    return cmocka_run_group_tests_name("base values", tests, NULL, NULL);
}
