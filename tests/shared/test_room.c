/* SPDX-License-Identifier: MIT */
/* How much memory there is: read from a tree of files that looks like /proc and /sys, so that any machine can be told of. */
#include <ftw.h>
#include <sys/stat.h>

#include "run/harness.h"
#include "shared/room.h"

#define MIB ((size_t)1024 * 1024)

struct machine {
    char root[64];
    struct room room;
};

static void write_file(struct machine *machine, const char *path, const char *text)
{
    char whole[300];
    FILE *file;

    snprintf(whole, sizeof whole, "%s%s", machine->root, path);
    for (char *at = whole + strlen(machine->root) + 1; (at = strchr(at, '/')); at++) {
        *at = '\0';
        assert_true(mkdir(whole, 0700) == 0 || errno == EEXIST);
        *at = '/';
    }
    file = fopen(whole, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void machine_open(struct machine *machine)
{
    snprintf(machine->root, sizeof machine->root, "/tmp/tandem-room-XXXXXX");
    assert_non_null(mkdtemp(machine->root));
    room_open(&machine->room, machine->root);
    write_file(machine, "/proc/meminfo", "MemTotal:       8388608 kB\nMemFree:         102400 kB\nMemAvailable:   4194304 kB\n");
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *ftw)
{
    return remove(path);
}

static void machine_close(struct machine *machine)
{
    assert_int_equal(nftw(machine->root, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

static void ask_once(struct machine *machine, size_t bytes, int wanted)
{
    room_open(&machine->room, machine->root);  /* without credit */
    assert_int_equal(room_ask(&machine->room, bytes), wanted);
}

static void the_machine_has_what_it_says_but_a_margin(void **state)
{
    struct machine machine;

    machine_open(&machine);
    assert_int_equal(room_total(&machine.room), 8192 * MIB);
    ask_once(&machine, (4096 - 256) * MIB, 0);
    ask_once(&machine, (4096 - 256) * MIB + 1, -ENOMEM);
    machine_close(&machine);
}

static void where_nobody_says_everything_goes(void **state)
{
    struct machine machine;

    machine_open(&machine);
    write_file(&machine, "/proc/meminfo", "");
    assert_int_equal(room_total(&machine.room), 0);
    ask_once(&machine, SIZE_MAX / 2, 0);
    machine_close(&machine);
}

/* Of all the groups above us the narrowest counts, and what of it is page cache can be had. */
static void cgroups_of_version_2_narrow_it(void **state)
{
    struct machine machine;

    machine_open(&machine);
    write_file(&machine, "/proc/self/cgroup", "0::/service/job\n");
    write_file(&machine, "/sys/fs/cgroup/service/job/memory.max", "max\n");
    write_file(&machine, "/sys/fs/cgroup/service/memory.max", "335544320\n");          /* 320 MiB */
    write_file(&machine, "/sys/fs/cgroup/service/memory.current", "314572800\n");      /* 300 */
    write_file(&machine, "/sys/fs/cgroup/service/memory.stat",
               "anon 1\nfile 9\ninactive_anon 7\nactive_anon 7\ninactive_file 41943040\nactive_file 20971520\nx 1\n");
    assert_int_equal(room_total(&machine.room), 320 * MIB);
    ask_once(&machine, (20 + 40 + 10 - 10) * MIB, 0);  /* free, inactive, half of active, margin */
    ask_once(&machine, (20 + 40 + 10 - 10) * MIB + 1, -ENOMEM);
    write_file(&machine, "/sys/fs/cgroup/service/memory.current", "335544321\n");      /* above: it was narrowed */
    write_file(&machine, "/sys/fs/cgroup/service/memory.stat", "");
    ask_once(&machine, 1, -ENOMEM);
    machine_close(&machine);
}

static void cgroups_of_version_1_narrow_it(void **state)
{
    struct machine machine;

    machine_open(&machine);
    write_file(&machine, "/proc/self/cgroup", "9:name=systemd:/\n4:memory:/docker/4711\n0::/\n");
    write_file(&machine, "/sys/fs/cgroup/memory/memory.limit_in_bytes", "67108864\n");  /* the container sees only its own */
    write_file(&machine, "/sys/fs/cgroup/memory/memory.usage_in_bytes", "1048576\n");
    assert_int_equal(room_total(&machine.room), 64 * MIB);
    ask_once(&machine, 61 * MIB, 0);
    ask_once(&machine, 61 * MIB + 1, -ENOMEM);
    write_file(&machine, "/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");  /* none */
    assert_int_equal(room_total(&machine.room), 8192 * MIB);
    machine_close(&machine);
}

/* Files are read seldom: small requests live on credit, and credit is a small part of what there is. */
static void credit_is_small_and_ends(void **state)
{
    struct machine machine;
    size_t taken = 0;

    machine_open(&machine);
    assert_int_equal(room_ask(&machine.room, MIB), 0);
    write_file(&machine, "/proc/meminfo", "MemTotal: 8388608 kB\nMemAvailable: 0 kB\n");
    while (room_ask(&machine.room, MIB) == 0)
        taken += MIB;
    assert_int_equal(taken, 64 * MIB);
    machine_close(&machine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_machine_has_what_it_says_but_a_margin),
        cmocka_unit_test(where_nobody_says_everything_goes),
        cmocka_unit_test(cgroups_of_version_2_narrow_it),
        cmocka_unit_test(cgroups_of_version_1_narrow_it),
        cmocka_unit_test(credit_is_small_and_ends),
    };

    return cmocka_run_group_tests_name("shared room", tests, NULL, NULL);
}
