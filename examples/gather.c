/* SPDX-License-Identifier: MIT */
/*
 * Ten questions asked at once. Each takes a while to be answered, and not the same while; yet the answers come back in the
 * order of the questions, and all ten tasks ran on one thread.
 *
 * Then the seventh fails: the others are cancelled at once, since their answers are of no use any more. And once more
 * with td_gather_all, where all run to their ends and every answer is kept.
 *
 *     cc gather.c $(pkg-config --cflags --libs tandem) && ./a.out
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <tandem.h>

#define QUESTIONS 10

struct question {
    int number;
    td_time takes;
    int fails_with;
    int answer;
    pthread_t thread;
};

static int ask(void *arg)
{
    struct question *question = arg;
    int rc = td_sleep(question->takes);  /* a slow service would be called here */

    question->thread = pthread_self();
    if (rc < 0)
        return rc;
    if (question->fails_with)
        return question->fails_with;
    question->answer = question->number * question->number;
    return 0;
}

/* The later questions are answered first. */
static void prepare(struct question *questions, td_call *calls)
{
    for (int i = 0; i < QUESTIONS; i++) {
        questions[i] = (struct question){.number = i + 1, .takes = td_ms(20 * (QUESTIONS - i))};
        calls[i] = (td_call){ask, &questions[i], 0};
    }
}

static void print_answers(const struct question *questions, const td_call *calls)
{
    for (int i = 0; i < QUESTIONS; i++)
        if (calls[i].rc == 0)
            printf(" %d", questions[i].answer);
        else
            printf(" %s", calls[i].rc == -ECANCELED ? "cancelled" : "failed");
    printf("\n");
}

static int interview(void *arg)
{
    struct question questions[QUESTIONS];
    td_call calls[QUESTIONS];
    td_time began = td_now();
    int rc;

    (void)arg;
    prepare(questions, calls);
    rc = td_gather(calls, QUESTIONS);
    printf("answers:");
    print_answers(questions, calls);
    printf("in %lld ms, the longest question's time\n", (long long)((td_now() - began) / 1000000));
    for (int i = 0; i < QUESTIONS; i++)
        if (!pthread_equal(questions[i].thread, pthread_self()))
            return -EXDEV;
    printf("all on one thread\n");
    if (rc < 0)
        return rc;

    prepare(questions, calls);
    questions[6].fails_with = -EHOSTUNREACH;
    rc = td_gather(calls, QUESTIONS);
    printf("one fails (%s):", td_strerror(rc));
    print_answers(questions, calls);

    prepare(questions, calls);
    questions[6].fails_with = -EHOSTUNREACH;
    rc = td_gather_all(calls, QUESTIONS);
    printf("one fails, all collected:");
    print_answers(questions, calls);
    return rc;
}

int main(void)
{
    return td_run(interview, NULL) < 0;
}
