/* CPU time of other processes, and of this one; what the machine kept from them. */
#include "drive.h"
#include <dirent.h>
#include <sys/resource.h>

static int pids[100], count;

void measure_processes(const char *list) {
    for (char *end; *list && count < 100; list = *end ? end + 1 : end) pids[count++] = strtol(list, &end, 10);
}

enum { RAN, WAITED }; /* fields of schedstat, in nanoseconds */

static double of_task(int pid, const char *task, int field) {
    char path[300];
    double told[2] = {0, 0};
    snprintf(path, sizeof path, "/proc/%d/task/%.20s/schedstat", pid, task);
    FILE *file = fopen(path, "r");
    if (file) {
        int read = fscanf(file, "%lf %lf", told, told + 1);
        fclose(file);
        if (read == 2 && told[RAN] > 0) return told[field] / 1e9;
    }
    if (field == WAITED) return 0;
    /* A kernel without scheduler statistics: ticks of 10 ms. */
    unsigned long user = 0, system = 0;
    snprintf(path, sizeof path, "/proc/%d/task/%.20s/stat", pid, task);
    if (!(file = fopen(path, "r"))) return 0;
    int read = fscanf(file, "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system);
    fclose(file);
    return read == 2 ? (double)(user + system) / sysconf(_SC_CLK_TCK) : 0;
}

static double of_all(int field) {
    double total = 0;
    for (int k = 0; k < count; k++) {
        char path[60];
        snprintf(path, sizeof path, "/proc/%d/task", pids[k]);
        DIR *tasks = opendir(path);
        if (!tasks) fail("the measured process %d is gone", pids[k]);
        for (struct dirent *task; (task = readdir(tasks));)
            if (isdigit(task->d_name[0])) total += of_task(pids[k], task->d_name, field);
        closedir(tasks);
    }
    return total;
}

double cpu_used(void) { return of_all(RAN); }

double cpu_waited(void) { return of_all(WAITED); }

double cpu_stolen(void) {
    unsigned long stolen = 0;
    FILE *file = fopen("/proc/stat", "r");
    if (!file) return 0;
    if (fscanf(file, "cpu %*u %*u %*u %*u %*u %*u %*u %lu", &stolen) != 1) stolen = 0;
    fclose(file);
    return (double)stolen / sysconf(_SC_CLK_TCK);
}

double cpu_of_driver(void) {
    struct rusage own;
    getrusage(RUSAGE_SELF, &own);
    return own.ru_utime.tv_sec + own.ru_stime.tv_sec + (own.ru_utime.tv_usec + own.ru_stime.tv_usec) / 1e6;
}
