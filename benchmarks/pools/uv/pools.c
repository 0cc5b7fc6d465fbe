/* SPDX-License-Identifier: MIT */
/*
 * trip|jobs|sum|hand|ticker|beats|crash threads WORKERS SECONDS WHAT PIN: the same with libuv's uv_queue_work. It has no
 * tasks: what comes next is in the callback after the work.
 */
#include <uv.h>

#include "../measure.h"

struct run {
    struct call call;
    uv_loop_t *loop;
    uv_timer_t timer;
    struct course course;
    unsigned char *data;
    double began, until, *late;
    size_t size, at_size;   /* bytes of a block; which of the sizes */
    uint64_t answer;
    int byte;
    long done, count;
};

static void do_empty(uv_work_t *work)
{
    (void)work;
}

static void do_pin(uv_work_t *work)
{
    (void)work;
    pin_to(1);
}

static void do_sum(uv_work_t *work)
{
    struct run *run = work->data;

    run->answer = work_sum(run->data, run->size);
}

static void do_touch(uv_work_t *work)
{
    struct run *run = work->data;

    run->answer = (uint64_t)work_touch(run->data);
}

static void do_burn(uv_work_t *work)
{
    struct run *run = work->data;

    work_burn(run->call.seconds);
}

static void do_crash(uv_work_t *work)
{
    (void)work;
    work_crash();
}

static void nothing_after(uv_work_t *work, int status)
{
    (void)work;
    (void)status;
}

static void after_trip(uv_work_t *work, int status);

static void start_trip(uv_timer_t *timer)
{
    struct run *run = timer->data;
    uv_work_t *work = run->loop->data;

    run->began = now_ns();
    uv_queue_work(run->loop, work, do_empty, after_trip);
}

static void after_trip(uv_work_t *work, int status)
{
    struct run *run = work->data;
    long gap = strtol(run->call.what, NULL, 10);

    (void)status;
    if (!course_add(&run->course, run->began, now_ns()))
        print_trips(&run->course);
    else if (gap > 0)
        uv_timer_start(&run->timer, start_trip, (uint64_t)(gap / 1000), 0);
    else
        start_trip(&run->timer);
}

static void after_sum(uv_work_t *work, int status)
{
    struct run *run = work->data;
    double ended = now_ns();

    (void)status;
    if (run->byte > 0)
        check_sum(run->answer, run->byte & 0xff, BYTES);
    if (run->byte > 0 && !course_add(&run->course, run->began, ended)) {
        print_sums(&run->course);
        return;
    }
    memset(run->data, ++run->byte & 0xff, BYTES);
    run->began = now_ns();
    uv_queue_work(run->loop, work, do_sum, after_sum);
}

static void after_hand(uv_work_t *work, int status)
{
    static const size_t sizes[] = SIZES;
    struct run *run = work->data;

    (void)status;
    if (run->byte > 0 && run->answer != (uint64_t)(run->byte & 0xff))
        exit(1);
    if (run->byte > 0 && !course_add(&run->course, run->began, now_ns())) {
        print_hand(&run->course, sizes[run->at_size]);
        run->byte = 0;
        run->at_size++;
    }
    if (run->at_size == sizeof sizes / sizeof *sizes)
        return;
    if (run->byte == 0)
        run->course = course_begin(run->call.seconds / 5);
    run->data[0] = (unsigned char)++run->byte;
    run->began = now_ns();
    uv_queue_work(run->loop, work, do_touch, after_hand);
}

static void after_job(uv_work_t *work, int status)
{
    struct run *run = work->data;

    (void)status;
    run->done++;
    if (run->count < 2)
        uv_queue_work(run->loop, work, do_empty, after_job);
}

/* Twice: when warmed up, and at the end. */
static void count_jobs(uv_timer_t *timer)
{
    struct run *run = timer->data;

    if (run->count++ == 1) {
        print_jobs((double)run->done, run->began, run->course.cpu);
        return;
    }
    run->course.cpu = tree_cpu_ns();
    run->done = 0;
    run->began = now_ns();
    uv_timer_start(&run->timer, count_jobs, (uint64_t)(run->call.seconds * 800), 0);
}

/* libuv's unit is the millisecond: the first one that is not too early. */
static uint64_t delay_until(struct run *run, double at)
{
    uint64_t now = uv_now(run->loop), due = (uint64_t)(at / 1e6) + 1;

    return due > now ? due - now : 0;
}

static void tick(uv_timer_t *timer)
{
    struct run *run = timer->data;

    for (double now = now_ns(); run->began <= now && run->began < run->until; run->began += 1e6)
        run->late[run->count++] = now - run->began;
    if (run->began < run->until)
        uv_timer_start(timer, tick, delay_until(run, run->began), 0);
    else
        print_late(run->late, run->count);
}

struct beater {
    uv_timer_t timer;
    struct run *run;
    double next;
};

static void beat(uv_timer_t *timer)
{
    struct beater *beater = timer->data;
    struct run *run = beater->run;

    for (double now = now_ns(); beater->next <= now && beater->next < run->until; beater->next += BEAT_NS)
        run->late[run->count++] = now - beater->next;
    if (beater->next < run->until)
        uv_timer_start(timer, beat, delay_until(run, beater->next), 0);
}

static void start_beaters(struct run *run, struct beater *beaters)
{
    double began = now_ns() + 1e6;

    run->until = began + run->call.seconds * 1e9;
    for (int i = 0; i < BEATERS; i++) {
        beaters[i].run = run;
        beaters[i].next = began + i * BEAT_NS / BEATERS;
        beaters[i].timer.data = &beaters[i];
        uv_timer_init(run->loop, &beaters[i].timer);
        uv_timer_start(&beaters[i].timer, beat, delay_until(run, beaters[i].next), 0);
    }
}

static void measure(struct run *run, uv_work_t *works, struct beater *beaters)
{
    struct call *call = &run->call;

    if (is(call->measure, "trip")) {
        start_trip(&run->timer);
    } else if (is(call->measure, "sum")) {
        after_sum(works, 0);
    } else if (is(call->measure, "hand")) {
        run->course.took = NULL;
        after_hand(works, 0);
    } else if (is(call->measure, "jobs")) {
        for (int i = 0; i < IN_FLIGHT; i++)
            uv_queue_work(run->loop, &works[i], do_empty, after_job);
        uv_timer_start(&run->timer, count_jobs, (uint64_t)(call->seconds * 200), 0);
    } else if (is(call->measure, "crash")) {
        uv_queue_work(run->loop, works, do_crash, nothing_after);
    } else {
        for (unsigned i = 0; i < (is(call->measure, "ticker") ? COMPUTATIONS : call->workers); i++)
            uv_queue_work(run->loop, &works[i], do_burn, nothing_after);
        run->began = now_ns() + 1e6;
        run->until = now_ns() + call->seconds * 1e9;
        if (is(call->measure, "ticker"))
            uv_timer_start(&run->timer, tick, 1, 0);
        else
            start_beaters(run, beaters);
    }
}

int main(int argc, char **argv)
{
    struct run run = {.call = call_of(argc, argv), .loop = uv_default_loop(), .size = BYTES};
    static uv_work_t works[IN_FLIGHT];
    static struct beater beaters[BEATERS];

    setenv("UV_THREADPOOL_SIZE", argv[3], 1);
    run.late = calloc(SAMPLES_MAX, sizeof *run.late);
    run.data = malloc(BIGGEST);
    if (!run.late || !run.data || uv_timer_init(run.loop, &run.timer) < 0)
        return 1;
    memset(run.data, 1, BIGGEST);
    run.timer.data = &run;
    run.loop->data = works;
    for (int i = 0; i < IN_FLIGHT; i++)
        works[i].data = &run;
    uv_queue_work(run.loop, works, run.call.pin && run.call.workers == 1 ? do_pin : do_empty, nothing_after);
    uv_run(run.loop, UV_RUN_DEFAULT);
    if (run.call.pin)
        pin_to(0);
    run.course = course_begin(run.call.seconds);
    measure(&run, works, beaters);
    uv_run(run.loop, UV_RUN_DEFAULT);
    if (is(run.call.measure, "beats"))
        print_late(run.late, run.count);
    return 0;
}
