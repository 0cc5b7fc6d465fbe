/* SPDX-License-Identifier: MIT */
/* sleepers fire COUNT LEAD_MS | hold COUNT: the same on boost.fiber. */
#include <boost/fiber/all.hpp>
#include <chrono>
#include <vector>

#include "../measure.h"

using boost::fibers::fiber;

static int measure_fire(long count, double lead_ns)
{
    auto watch = start_watch();
    std::vector<double> due(count);
    std::vector<fiber> all;
    boost::fibers::fixedsize_stack stacks(65536);
    double last_start = 0;

    for (long i = 0; i < count; i++) {
        due[i] = watch.wall + lead_ns + due_ns(i, count);
        all.emplace_back(std::allocator_arg, stacks, [&, i] {
            using clock = std::chrono::steady_clock;
            last_start = now_ns();
            boost::this_fiber::sleep_until(clock::time_point(std::chrono::nanoseconds(static_cast<long long>(due[i]))));
            due[i] = now_ns() - due[i];
        });
    }
    for (auto &one : all)
        one.join();
    print_sleepers(watch, due.data(), count, last_start);
    return 0;
}

static int measure_hold(long count)
{
    double before = resident_bytes();
    auto watch = start_watch();
    boost::fibers::fixedsize_stack stacks(65536);
    long started = 0;

    for (long i = 0; i < count; i++)
        fiber(std::allocator_arg, stacks, [&] {
            started++;
            boost::this_fiber::sleep_for(std::chrono::hours(1));
        }).detach();
    while (started < count)
        boost::this_fiber::sleep_for(std::chrono::milliseconds(10));
    print_resident(watch, before, count);
    fflush(stdout);
    _exit(0);  /* they are asleep for an hour */
}

int main(int argc, char **argv)
{
    long count = argc > 2 ? strtol(argv[2], nullptr, 10) : 0;

    if (count < 1)
        return 1;
    return strcmp(argv[1], "fire") == 0 ? measure_fire(count, argc > 3 ? strtod(argv[3], nullptr) * 1e6 : 0) : measure_hold(count);
}
