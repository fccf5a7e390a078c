/* What the driver's files share.  main.c says what the driver does. */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum way { PAGE2MSRP, MSRP2PAGE, BOTH };
enum transport { UDP, TCP, TLS };
enum peer { FLOOR, GATEWAY, KAMAILIO };

/* The peer that is driven, from the command line. */
extern struct options {
    enum peer peer;
    enum transport transport;
    int sip_port, msrp_port, own_port;
    int msrps;               /* whether MSRP goes over TLS, too */
    const char *certificate; /* PEM file with our key and certificate, for TLS */
} options;

/* main.c */
double now(void);
__attribute__((noreturn, format(printf, 1, 2))) void fail(const char *format, ...);

/* cpu.c: CPU seconds of all threads of the measured processes, and our own */
void measure_processes(const char *pids);
double cpu_used(void);
double cpu_waited(void); /* that they could have used, had there been a core for them */
double cpu_stolen(void); /* of all cores, that the host gave to others */
double cpu_of_driver(void);

/* net.c: sockets of one kind each, whose writes are gathered until the end of a turn */
enum kind { DATAGRAMS, LISTENER, STREAM, MSRP, COMMANDS, CLOCK };

struct conn {
    enum kind kind;
    int fd, watched, queued, ended;
    long fill, pending, room;
    char *in, *out;
    struct conn *next; /* of those with something to write */
    void *tls;
    int session;                      /* MSRP: whose it is */
    long assembled, assembled_number; /* MSRP: bytes of a message in chunks, and its number */
};

extern struct conn *sip; /* where SIP requests go */
void start_network(void);
struct conn *dial_msrp(int session);
void hang_up(struct conn *conn);
void put(struct conn *conn, const char *data, long size);
__attribute__((format(printf, 2, 3))) void say(struct conn *conn, const char *format, ...);
void say_late(struct conn *conn, const char *data, long size, double delay);
int late_pending(void);
void linger(double seconds); /* serve what comes, for so long */
/* Write what is to be written, wait for something to read, not longer than until `limit`, read. */
void turn(double limit);
char *next_command(void); /* a line from standard input, or 0 */

/* tls.c: the library is loaded when it is wanted; nothing of it is needed to compile */
void start_tls(void);
void wrap(struct conn *conn, int connects);
long tls_read(struct conn *conn, char *data, long size); /* as read(2) */
long tls_write(struct conn *conn, const char *data, long size);
void tls_free(struct conn *conn);

/* session.c: a page user and an MSRP user each */
struct session {
    struct conn *msrp;
    char *to_path; /* the gateway's MSRP URI */
    char *bye;     /* the request that ends the dialog */
    long last[2];  /* each way: number of the message that came last, plus one */
    char bound, opened, up, ended;
};

enum { MOST_SESSIONS = 4000000, FRESH = 1000000 }; /* sessions from FRESH on are used once */
extern struct session *session;
extern int generation; /* of sessions: after the others were closed, their numbers are used again */
void start_sessions(void);
int open_sessions(int count, enum way way);
void close_sessions(void);
int open_count(void);
void bind_session(int i);
void came_up(int i);
void session_closed(int i); /* its BYE was answered */

/* sip.c */
void sip_received(struct conn *conn);
void invite(int i);
void send_message(const char *id, int i, const char *body, long size);
void send_bye(int i);

/* Seconds from the last message to the BYE: it may overtake our MSRP 200 when it comes at once, and then
 * the gateway rightly delivers again. */
#define LINGER 0.05
const char *line(const char *head, const char *name, int *size); /* a header field's value */

/* msrp.c */
void msrp_received(struct conn *conn);
void msrp_send(struct conn *conn, int i, const char *tid, const char *rest, char flag);

/* load.c: messages, or whole sessions with one message each, and what became of them */
extern double slow; /* seconds that MSRP users take to answer a SEND */
void run_load(const char *arguments, int cycle);
void answered(long number, int status);
void text_received(enum way way, int i, long number, long size);
const char *first_send(int i); /* headers and body of a session's first SEND */
void cycle_up(int i);          /* a session used once can be used */
void cycle_ended(int i);       /* and is over */
void cycle_refused(int i, int status);
int forgiving(void); /* whether sessions that fail are counted, and no reason to give up */

/* arguments of a command: NAME=VALUE ... */
long number_of(const char *arguments, const char *name, long otherwise);
enum way way_of(const char *arguments);
