/* SPDX-License-Identifier: MIT */
/*
 * guarded stacks MAX: how many fibers with boost's protected stacks there can be. At the kernel's refusal of a guard it
 * aborts by an assertion (without assertions it goes on unguarded), so the count is printed on the way out.
 */
#include <boost/fiber/all.hpp>
#include <chrono>
#include <csignal>
#include <exception>

#include "../measure.h"

static volatile long started;

static void report(int)
{
    char line[32];

    _exit(write(1, line, snprintf(line, sizeof line, "stacks %ld\n", started)) < 0);
}

int main(int argc, char **argv)
{
    long max = argc > 2 ? strtol(argv[2], nullptr, 10) : 0;
    boost::fibers::protected_fixedsize_stack stacks(65536);

    signal(SIGABRT, report);
    try {
        for (long i = 0; i < max; i++)
            boost::fibers::fiber(boost::fibers::launch::dispatch, std::allocator_arg, stacks, [&] {
                started = started + 1;
                boost::this_fiber::sleep_for(std::chrono::hours(1));
            }).detach();
    } catch (const std::exception &) {
    }
    report(0);
}
