/* SPDX-License-Identifier: MIT */
/*
 * A process as /proc shows it: its descriptors, its children.
 */
#ifndef TANDEM_TESTS_RUN_PROCESSES_H
#define TANDEM_TESTS_RUN_PROCESSES_H

#include <dirent.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHILDREN_MAX 256

__attribute__((unused)) static int descriptors_count(void)
{
    DIR *folder = opendir("/proc/self/fd");
    int count = 0;

    if (!folder)
        return -1;
    while (readdir(folder))
        count++;
    closedir(folder);
    return count;
}

struct process {
    char name[32], state;
    int parent;
};

/* Reads /proc/PID/stat: "1 (name) S 0 ...". False when there is no such process. */
static bool process_look(int pid, struct process *process)
{
    char path[64], line[512], *name, *end;
    FILE *file;
    bool found;

    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    file = fopen(path, "re");
    if (!file)
        return false;
    found = fgets(line, sizeof line, file) && (name = strchr(line, '(')) && (end = strrchr(line, ')'));
    fclose(file);
    if (!found)
        return false;
    *end = '\0';
    snprintf(process->name, sizeof process->name, "%s", name + 1);
    return sscanf(end + 1, " %c %d", &process->state, &process->parent) == 2;
}

/* Children of the process that have this name (NULL: any), zombies among them. Returns how many. */
static int children_list(int parent, const char *name, int pids[CHILDREN_MAX])
{
    DIR *folder = opendir("/proc");
    struct dirent *entry;
    struct process process;
    int count = 0;

    while (folder && (entry = readdir(folder)) && count < CHILDREN_MAX) {
        int pid = (int)strtol(entry->d_name, NULL, 10);

        if (pid > 0 && process_look(pid, &process) && process.parent == parent &&
            (!name || strcmp(process.name, name) == 0))
            pids[count++] = pid;
    }
    if (folder)
        closedir(folder);
    return count;
}

__attribute__((unused)) static int children_count(int parent)
{
    int pids[CHILDREN_MAX];

    return children_list(parent, NULL, pids);
}

/* For messages: "4711 tandem-worker Z". */
__attribute__((unused)) static void children_tell(int parent, char *text, size_t size)
{
    int pids[CHILDREN_MAX], count = children_list(parent, NULL, pids);
    struct process process;
    size_t at = 0;

    text[0] = '\0';
    for (int i = 0; i < count && at < size; i++)
        if (process_look(pids[i], &process))
            at += (size_t)snprintf(text + at, size - at, "%d %s %c, ", pids[i], process.name, process.state);
}

/* Sends the signal to those living children that have the name (NULL: all). Returns how many it reached. */
__attribute__((unused)) static int children_signal(const char *name, int signal)
{
    int pids[CHILDREN_MAX], count = children_list(getpid(), name, pids), reached = 0;
    struct process process;

    for (int i = 0; i < count; i++)
        reached += process_look(pids[i], &process) && process.state != 'Z' && kill(pids[i], signal) == 0;
    return reached;
}

#endif
