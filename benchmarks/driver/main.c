/* Drives the floor, the gateway and Kamailio alike: plays the page users and the MSRP users at once.
 *
 *     cc -O2 -o drive *.c -ldl
 *     ./drive PEER TRANSPORT SIP_PORT MSRP_PORT OWN_PORT PIDS [CERTIFICATE [msrps]]
 *
 * PEER         gateway: sessions are set up by SIP; floor: MSRP connections alone are enough;
 *              kamailio: MESSAGEs come back as MESSAGEs
 * TRANSPORT    udp, tcp or tls, for SIP
 * OWN_PORT     where the page users and the MSRP users are, for SIP
 * PIDS         processes whose CPU time is measured, with commas between them
 * CERTIFICATE  PEM file with a key and its certificate, for TLS; "msrps": for MSRP, too
 *
 * It does what it reads on standard input, and answers each line with a line of JSON:
 *
 *     open sessions=N way=WAY            so many sessions in all; WAY says who opens new ones
 *     flow way=WAY messages=N ...        messages over these sessions
 *     cycle way=WAY messages=N ...       a new session for each message, ended by a BYE
 *     close                              all sessions ended
 *
 * WAY is page2msrp, msrp2page or, for flow, both.  More arguments of flow and cycle:
 *
 *     warmup=N     messages after which measuring begins
 *     window=N     messages outstanding at a time (closed loop), when there is no rate; of sessions those
 *                  being set up and used
 *     rate=N       messages a second, whatever the answers do (open loop)
 *     then=N after=M  another rate after M messages
 *     size=N chunk=M  bytes of a text; of a SEND's part of it
 *     sessions=N   only so many of the sessions
 *     each=N       flow: N messages into each of new sessions, which they open
 *     slow=MS      milliseconds that an MSRP user takes to answer a SEND
 *     drain=S      what is refused or lost is only counted, S seconds after the last one was due; of
 *                  cycles sessions that don't end, too
 *
 * Without drain it exits with 1, saying why, when a message was lost, came twice or out of the order of
 * its session, or was refused. */
#include "drive.h"
#include <sys/resource.h>
#include <time.h>

struct options options;

void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "drive: ");
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n");
    exit(1);
}

double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void obey(const char *command) {
    if (!strncmp(command, "flow ", 5) || !strncmp(command, "cycle ", 6)) {
        run_load(command, *command == 'c');
        return;
    }
    double began = now(), cpu = cpu_used();
    int before = open_count();
    if (!strncmp(command, "open ", 5))
        open_sessions(number_of(command, "sessions", 1), way_of(command));
    else if (!strncmp(command, "close", 5))
        close_sessions();
    else
        fail("what is %s?", command);
    printf("{\"sessions\": %d, \"changed\": %d, \"seconds\": %.3f, \"cpu\": %.4f}\n", open_count(), open_count() - before,
           now() - began, cpu_used() - cpu);
    fflush(stdout);
}

static int one_of(const char *word, const char *a, const char *b, const char *c) {
    if (strcmp(word, a) && strcmp(word, b) && strcmp(word, c)) fail("what is %s?", word);
    return !strcmp(word, a) ? 0 : !strcmp(word, b) ? 1 : 2;
}

int main(int argc, char **argv) {
    struct rlimit files;
    if (argc < 7 || argc > 9) {
        fprintf(stderr, "usage: drive PEER TRANSPORT SIP_PORT MSRP_PORT OWN_PORT PIDS [CERTIFICATE [msrps]]\n");
        return 2;
    }
    options.peer = one_of(argv[1], "floor", "gateway", "kamailio");
    options.transport = one_of(argv[2], "udp", "tcp", "tls");
    options.sip_port = atoi(argv[3]), options.msrp_port = atoi(argv[4]), options.own_port = atoi(argv[5]);
    measure_processes(argv[6]);
    options.certificate = argc > 7 ? argv[7] : 0, options.msrps = argc > 8;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    start_sessions();
    start_network();
    for (char *command;;)
        if ((command = next_command()))
            obey(command);
        else
            turn(now() + 1);
}
