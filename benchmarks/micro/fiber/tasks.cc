/* SPDX-License-Identifier: MIT */
/*
 * tasks switch|spawn|channel COUNT [TASKS]: the same on boost.fiber, whose pooled stacks are its fast ones.
 */
#include <boost/fiber/all.hpp>
#include <vector>

#include "../measure.h"

namespace fibers = boost::fibers;

static void measure_switch(fibers::pooled_fixedsize_stack &stacks, long count, long tasks)
{
    std::vector<fibers::fiber> all;

    for (long i = 0; i < tasks; i++)
        all.emplace_back(std::allocator_arg, stacks, [=] {
            for (long turn = 0; turn < count / tasks; turn++)
                boost::this_fiber::yield();
        });
    for (auto &fiber : all)
        fiber.join();
}

static void measure_spawn(fibers::pooled_fixedsize_stack &stacks, long count, long)
{
    for (long i = 0; i < count; i++)
        fibers::fiber(fibers::launch::dispatch, std::allocator_arg, stacks, [] {}).join();
}

static void measure_channel(fibers::pooled_fixedsize_stack &stacks, long count, long)
{
    fibers::unbuffered_channel<int> there, back;
    fibers::fiber answer(std::allocator_arg, stacks, [&] {
        for (int value : there)
            back.push(value);
    });
    int value;

    for (long i = 0; i < count; i++) {
        there.push(static_cast<int>(i));
        back.pop(value);
    }
    there.close();
    answer.join();
}

int main(int argc, char **argv)
{
    long count = argc > 2 ? strtol(argv[2], nullptr, 10) : 0, tasks = argc > 3 ? strtol(argv[3], nullptr, 10) : 2;
    fibers::pooled_fixedsize_stack stacks(65536);

    if (count < 1)
        return 1;
    auto run = strcmp(argv[1], "switch") == 0 ? measure_switch : strcmp(argv[1], "spawn") == 0 ? measure_spawn : measure_channel;
    run(stacks, count / 10, tasks);
    auto watch = start_watch();
    run(stacks, count, tasks);
    print_each(watch, count);
    return 0;
}
