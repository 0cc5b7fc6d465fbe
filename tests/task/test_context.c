/* SPDX-License-Identifier: MIT */
/* The switch alone, on stacks of its own. What is tested is in switch.h, which other processors can run without cmocka. */
#include "run/harness.h"
#include "task/switch.h"

static void registers_survive_a_switch(void **state)
{
    assert_int_equal(switch_keeps_registers(100000), 0);
}

static void a_context_starts_with_its_argument_on_an_aligned_stack(void **state)
{
    assert_int_equal(switch_starts_aligned(), 0);
}

static void contexts_form_a_ring(void **state)
{
    assert_int_equal(switch_ring(100, 100), 0);
}

static void stacks_are_each_contexts_own(void **state)
{
    assert_int_equal(switch_keeps_stacks_apart(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(registers_survive_a_switch),
        cmocka_unit_test(a_context_starts_with_its_argument_on_an_aligned_stack),
        cmocka_unit_test(contexts_form_a_ring), cmocka_unit_test(stacks_are_each_contexts_own),
    };

    return cmocka_run_group_tests_name("task context", tests, NULL, NULL);
}
