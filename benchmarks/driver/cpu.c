/* CPU time of other processes, and of this one. */
#include "drive.h"
#include <dirent.h>
#include <sys/resource.h>

static int pids[100], count;

void measure_processes(const char *list) {
    for (char *end; *list && count < 100; list = *end ? end + 1 : end) pids[count++] = strtol(list, &end, 10);
}

static double of_task(int pid, const char *task) {
    char path[300];
    double run = 0;
    snprintf(path, sizeof path, "/proc/%d/task/%.20s/schedstat", pid, task);
    FILE *file = fopen(path, "r");
    if (file) {
        int read = fscanf(file, "%lf", &run);
        fclose(file);
        if (read == 1 && run > 0) return run / 1e9;
    }
    /* A kernel without scheduler statistics: ticks of 10 ms. */
    unsigned long user = 0, system = 0;
    snprintf(path, sizeof path, "/proc/%d/task/%.20s/stat", pid, task);
    if (!(file = fopen(path, "r"))) return 0;
    int read = fscanf(file, "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system);
    fclose(file);
    return read == 2 ? (double)(user + system) / sysconf(_SC_CLK_TCK) : 0;
}

double cpu_used(void) {
    double total = 0;
    for (int k = 0; k < count; k++) {
        char path[60];
        snprintf(path, sizeof path, "/proc/%d/task", pids[k]);
        DIR *tasks = opendir(path);
        if (!tasks) fail("the measured process %d is gone", pids[k]);
        for (struct dirent *task; (task = readdir(tasks));)
            if (isdigit(task->d_name[0])) total += of_task(pids[k], task->d_name);
        closedir(tasks);
    }
    return total;
}

double cpu_of_driver(void) {
    struct rusage own;
    getrusage(RUSAGE_SELF, &own);
    return own.ru_utime.tv_sec + own.ru_stime.tv_sec + (own.ru_utime.tv_usec + own.ru_stime.tv_usec) / 1e6;
}
