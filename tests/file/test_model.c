/* SPDX-License-Identifier: MIT */
/*
 * Random operations on a file and on a block of memory that says what the file must hold: counts, offsets, size and
 * bytes agree after each, cancelled ones included.
 */
#include "file/folder.h"

#define STEPS 1500
#define BYTES_MAX 20000

struct model {
    struct random random;
    td_file *file;
    unsigned char bytes[BYTES_MAX * 2], scratch[BYTES_MAX];
    size_t size, offset;
    int cancelled;
    bool in_danger;  /* of being cancelled */
};

static size_t below(struct model *model, size_t limit)
{
    return random_below(&model->random, limit);
}

/* What a write of the scratch's first n bytes at `at` does. */
static void model_write(struct model *model, size_t at, size_t n)
{
    if (n > 0 && at > model->size)
        memset(model->bytes + model->size, 0, at - model->size);
    memcpy(model->bytes + at, model->scratch, n);
    if (n > 0 && at + n > model->size)
        model->size = at + n;
}

static void step_write(struct model *model, bool in_sequence)
{
    size_t at = in_sequence ? model->offset : below(model, BYTES_MAX), size = below(model, BYTES_MAX - at + 1);
    ssize_t n;

    for (size_t i = 0; i < size; i++)
        model->scratch[i] = (unsigned char)random_next(&model->random);
    n = in_sequence ? td_file_write(model->file, model->scratch, size)
                    : td_file_write_at(model->file, model->scratch, size, (int64_t)at);
    if (n == -ECANCELED) {
        model->cancelled++;
        return;
    }
    expect(n >= 0 && n <= (ssize_t)size);
    model_write(model, at, n > 0 ? (size_t)n : 0);
    model->offset += in_sequence && n > 0 ? (size_t)n : 0;
}

static void step_read(struct model *model, bool in_sequence)
{
    size_t at = in_sequence ? model->offset : below(model, BYTES_MAX), size = below(model, BYTES_MAX);
    size_t left = at < model->size ? model->size - at : 0, all;
    ssize_t n = in_sequence ? td_file_read(model->file, model->scratch, size)
                            : td_file_read_at(model->file, model->scratch, size, (int64_t)at);

    if (n == -ECANCELED) {
        model->cancelled++;
        return;
    }
    all = size < left ? size : left;
    /* A cancellation may come in the middle of it: then what was read so far is the answer. */
    expect(n == (ssize_t)all || (n > 0 && n < (ssize_t)all && model->in_danger));
    expect(n <= 0 || memcmp(model->scratch, model->bytes + at, (size_t)n) == 0);
    model->offset += in_sequence && n > 0 ? (size_t)n : 0;
}

static void step_truncate(struct model *model)
{
    size_t size = below(model, BYTES_MAX);
    int rc = td_file_truncate(model->file, (int64_t)size);

    if (rc == -ECANCELED) {
        model->cancelled++;
        return;
    }
    expect_int(rc, 0);
    if (size > model->size)
        memset(model->bytes + model->size, 0, size - model->size);
    model->size = size;
}

static void step_stat(struct model *model)
{
    td_file_info info;
    int rc = td_file_stat(model->file, &info);

    expect(rc == -ECANCELED || info.size == model->size);
}

static void one_step(struct model *model)
{
    switch (below(model, 8)) {
    case 0: case 1:
        step_write(model, true);
        break;
    case 2:
        step_write(model, false);
        break;
    case 3: case 4:
        step_read(model, true);
        break;
    case 5:
        step_read(model, false);
        break;
    case 6:
        step_truncate(model);
        break;
    default:
        model->offset = below(model, BYTES_MAX);
        expect_int(td_file_seek(model->file, (int64_t)model->offset), 0);
        step_stat(model);
    }
    expect_int(td_file_offset(model->file), (int64_t)model->offset);
    if (model->offset > BYTES_MAX) {
        model->offset = 0;
        td_file_seek(model->file, 0);
    }
}

static int follow(void *arg)
{
    struct folder *folder = arg;
    struct model *model = calloc(1, sizeof *model);

    if (!model)
        return -ENOMEM;
    model->random = random_seeded();
    expect_int(td_file_open(&model->file, folder_path(folder, "file"), O_RDWR | O_CREAT, 0600), 0);
    for (int i = 0; i < STEPS; i++) {
        td_scope scope;

        td_scope_open(&scope);
        model->in_danger = below(model, 3) == 0;
        if (model->in_danger)
            td_scope_deadline(&scope, td_after(td_us((int64_t)below(model, 60))));
        one_step(model);
        td_scope_join(&scope);
    }
    expect_int(td_file_close(model->file), 0);
    print_message("%d of %d operations were cancelled\n", model->cancelled, STEPS);
    free(model);
    return 0;
}

static void a_file_is_what_its_operations_reported(void **state)
{
    assert_int_equal(run_in_folder(state, follow), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {ON_BOTH(a_file_is_what_its_operations_reported)};

    return cmocka_run_group_tests_name("file model", tests, NULL, NULL);
}
