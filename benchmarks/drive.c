/* Drives the floor and the gateway alike: plays the page users and the MSRP users at once.
 *
 *     cc -O2 -o drive drive.c
 *     ./drive WAY TRANSPORT PEER SIP_PORT MSRP_PORT OWN_PORT PID SESSIONS MESSAGES WARMUP WINDOW RATE \
 *         [SLOW]
 *
 * WAY         page2msrp: sends MESSAGEs, answers the SENDs; msrp2page: sends SENDs, answers MESSAGEs
 * TRANSPORT   udp or tcp, for SIP
 * PEER        gateway: sessions are set up by SIP; floor: MSRP connections alone are enough
 * OWN_PORT    where the page users and the MSRP users are, for SIP
 * PID         process whose CPU time is measured from WARMUP messages on
 * WINDOW      messages outstanding at a time (closed loop), when RATE is 0
 * RATE        messages a second, whatever the answers do (open loop)
 * SLOW        milliseconds that an MSRP user takes to answer a SEND
 *
 * Prints one line of JSON.  Exits with 1, saying why, when a message was lost, came twice or out of
 * the order of its session, or was refused. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { ROOM = 1 << 16, SETTING_UP = 20, STALL = 10 };

#define T1 0.5 /* seconds until a MESSAGE over UDP is sent again */

enum kind { DATAGRAMS, LISTENER, STREAM, MSRP };

struct conn {
    enum kind kind;
    int fd, fill, pending, room, session, watched;
    char *in, *out;
    struct conn *next; /* of those with something to write */
    int queued;
};

struct session {
    struct conn *msrp;
    char to_path[300]; /* the gateway's MSRP URI */
    long last;         /* number of the message that came last, plus one */
    int bound, opened;
};

static int page2msrp, tcp, bare, sip_port, msrp_port, own_port, pid, sessions, epoll;
static long messages, warmup, window, rate, sent, done, received, accepted_later, repeated, oldest;
static int called, up;
static struct conn *sip, *writers;
static struct session *session;
static double *started, *resend;
static float *latency;
static char *answers;
static char filling[101];
static double slow;

/* Responses of slow MSRP users; the first one is due first. */
static struct late {
    double due;
    struct conn *conn;
    int size;
    struct late *next;
    char data[];
} *late_first, **late_last = &late_first;

static void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "drive: ");
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n");
    exit(1);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

/* CPU seconds of all threads of the measured process. */
static double cpu(void) {
    char path[300];
    double total = 0;
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *tasks = opendir(path);
    if (!tasks) fail("the measured process %d is gone", pid);
    for (struct dirent *task; (task = readdir(tasks));) {
        double run = 0;
        if (!isdigit(task->d_name[0])) continue;
        snprintf(path, sizeof path, "/proc/%d/task/%.20s/schedstat", pid, task->d_name);
        FILE *file = fopen(path, "r");
        if (file && fscanf(file, "%lf", &run) == 1 && run > 0) {
            total += run / 1e9;
            fclose(file);
            continue;
        }
        if (file) fclose(file);
        /* A kernel without scheduler statistics: ticks of 10 ms. */
        unsigned long user = 0, system = 0;
        snprintf(path, sizeof path, "/proc/%d/task/%.20s/stat", pid, task->d_name);
        file = fopen(path, "r");
        if (!file) continue;
        if (fscanf(file, "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) == 2)
            total += (double)(user + system) / sysconf(_SC_CLK_TCK);
        fclose(file);
    }
    closedir(tasks);
    return total;
}

/* Sockets */

static struct sockaddr_in at(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

static void watch(struct conn *conn, int events) {
    struct epoll_event event = {.events = events, .data.ptr = conn};
    if (conn->watched == events) return;
    if (epoll_ctl(epoll, conn->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, conn->fd, &event)) fail("epoll: %m");
    conn->watched = events;
}

static struct conn *use(enum kind kind, int fd) {
    struct conn *conn = calloc(1, sizeof *conn);
    int one = 1;
    conn->kind = kind, conn->fd = fd, conn->session = -1;
    conn->in = malloc(ROOM + 1);
    if (kind == STREAM || kind == MSRP) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    watch(conn, EPOLLIN);
    return conn;
}

static struct conn *dial(enum kind kind, int port) {
    struct sockaddr_in address = at(port);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (void *)&address, sizeof address)) fail("can't connect to port %d: %m", port);
    return use(kind, fd);
}

static void flush(struct conn *conn) {
    int n = write(conn->fd, conn->out, conn->pending);
    if (n < 0 && errno != EAGAIN) fail("write: %m");
    if (n > 0) memmove(conn->out, conn->out + n, conn->pending -= n);
    watch(conn, conn->pending ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

/* Writes are gathered until the end of the turn; datagrams go at once. */
static void put(struct conn *conn, const char *data, int size) {
    if (conn->kind == DATAGRAMS) {
        if (send(conn->fd, data, size, 0) < 0 && errno != ECONNREFUSED) fail("send: %m");
        return;
    }
    if (conn->pending + size > conn->room)
        conn->out = realloc(conn->out, conn->room = (conn->pending + size) * 2);
    memcpy(conn->out + conn->pending, data, size);
    conn->pending += size;
    if (!conn->queued) conn->queued = 1, conn->next = writers, writers = conn;
}

__attribute__((format(printf, 2, 3))) static void say(struct conn *conn, const char *format, ...) {
    char text[8000];
    va_list arguments;
    va_start(arguments, format);
    put(conn, text, vsnprintf(text, sizeof text, format, arguments));
    va_end(arguments);
}

static void say_late(struct conn *conn, const char *data, int size) {
    struct late *it = malloc(sizeof *it + size);
    *it = (struct late){now() + slow, conn, size, 0};
    memcpy(it->data, data, size);
    *late_last = it, late_last = &it->next;
}

static void say_what_is_due(void) {
    for (struct late *it; (it = late_first) && it->due < now(); free(it)) {
        put(it->conn, it->data, it->size);
        if (!(late_first = it->next)) late_last = &late_first;
    }
}

/* What is measured */

static int rise(const void *a, const void *b) { return *(const float *)a < *(const float *)b ? -1 : 1; }

static void finished(long number) {
    static double cpu_then, then;
    if (number < 0 || number >= sent || answers[number]) return; /* the answer to a retransmission */
    answers[number] = 1;
    latency[done] = now() - started[number];
    done++;
    if (done == warmup) cpu_then = cpu(), then = now();
    if (done < messages) return;
    double seconds = now() - then, used = cpu() - cpu_then;
    struct rusage own;
    getrusage(RUSAGE_SELF, &own);
    long counted = messages - warmup;
    qsort(latency + warmup, counted, sizeof *latency, rise);
    printf("{\"messages\": %ld, \"seconds\": %.4f, \"cpu_us\": %.3f, \"p50_ms\": %.3f, \"p99_ms\": %.3f, "
           "\"accepted_later\": %ld, \"repeated\": %ld, \"driver_busy\": %.3f}\n",
           counted, seconds, used * 1e6 / counted, latency[warmup + counted / 2] * 1e3,
           latency[warmup + counted * 99 / 100] * 1e3, accepted_later, repeated,
           (own.ru_utime.tv_sec + own.ru_stime.tv_sec + (own.ru_utime.tv_usec + own.ru_stime.tv_usec) / 1e6) / (now() - started[0]));
}

/* A text came out at the other end; it holds its number. */
static void text_received(const char *body, int size, int number_of_session) {
    if (size < 8 || !strncmp(body, "opening", 7)) return;
    long number = strtol(body, 0, 16);
    struct session *its = &session[number_of_session < 0 ? number % sessions : number_of_session];
    if (number + 1 == its->last && !page2msrp && !tcp) { /* a retransmission: our 200 came too late */
        repeated++;
        return;
    }
    if (number < its->last) fail("message %ld came twice or late: %ld came before it", number, its->last - 1);
    its->last = number + 1;
    received++;
}

static void came_up(int i) {
    if (session[i].bound && session[i].opened == 1) session[i].opened = 2, up++;
}

/* MSRP */

static void msrp_send(struct conn *conn, int i, const char *tid, const char *rest) {
    say(conn, "MSRP %s SEND\r\nTo-Path: %s\r\nFrom-Path: msrp://127.0.0.1:9/d%d;tcp\r\n%s-------%s$\r\n", tid,
        bare ? "msrp://127.0.0.1:2855/fedcba;tcp" : session[i].to_path, i, rest, tid);
}

static void bind_session(int i) {
    if (session[i].msrp) return; /* a retransmission */
    session[i].msrp = dial(MSRP, msrp_port);
    session[i].msrp->session = i;
    char tid[30], id[60];
    snprintf(tid, sizeof tid, "bind%d", i);
    snprintf(id, sizeof id, "Message-ID: bind%d\r\nByte-Range: 1-0/0\r\n", i);
    msrp_send(session[i].msrp, i, tid, id);
}

static const char *line(const char *head, const char *name, int *size) {
    const char *found = strcasestr(head, name), *end;
    if (!found) return 0;
    found += strlen(name);
    end = strstr(found, "\r\n");
    *size = end ? end - found : (int)strlen(found);
    return found;
}

static void msrp_frame(struct conn *conn, char *frame, char *end, const char *tid, int length) {
    const char *verb = tid + length + 1;
    if (isdigit(*verb)) {
        if (strncmp(verb, "200", 3)) fail("MSRP response %.*s", (int)strcspn(verb, "\r"), verb);
        if (*tid == 'b') {
            session[conn->session].bound = 1;
            if (!page2msrp) session[conn->session].opened = 1;
            came_up(conn->session);
        } else
            finished(strtol(tid + 1, 0, 16));
    } else if (!strncmp(verb, "SEND", 4)) {
        int to = 0, from = 0;
        char *body = strstr(frame, "\r\n\r\n");
        const char *to_path = line(frame, "\r\nTo-Path: ", &to), *from_path = line(frame, "\r\nFrom-Path: ", &from);
        if (!to_path || !from_path) fail("a SEND without paths");
        if (body && body < end) text_received(body + 4, end - body - 6, bare ? -1 : conn->session);
        char text[1000];
        int size = snprintf(text, sizeof text, "MSRP %.*s 200 OK\r\nTo-Path: %.*s\r\nFrom-Path: %.*s\r\n-------%.*s$\r\n",
                            length, tid, from, from_path, to, to_path, length, tid);
        (slow && body ? say_late : put)(conn, text, size);
    }
}

static void msrp_received(struct conn *conn) {
    char *frame = conn->in, *limit = conn->in + conn->fill;
    for (;;) {
        char needle[60], *tid = frame + 5, *space, *end;
        if (limit - frame < 10 || !(space = memchr(tid, ' ', limit - tid))) break;
        int length = space - tid;
        if (length > 40) fail("an MSRP frame that can't be: %.60s", frame);
        int size = snprintf(needle, sizeof needle, "-------%.*s", length, tid);
        end = memmem(frame, limit - frame, needle, size);
        if (!end || limit - end < size + 3) break;
        char kept = *end;
        *end = 0;
        msrp_frame(conn, frame, end, tid, length);
        *end = kept;
        frame = end + size + 3;
    }
    memmove(conn->in, frame, conn->fill = limit - frame);
}

/* SIP */

static int sdp(char *out, int room, int i) {
    return snprintf(out, room,
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=message 9 TCP/MSRP *\r\n"
        "a=accept-types:*\r\na=path:msrp://127.0.0.1:9/d%d;tcp\r\na=setup:active\r\n", i);
}

static void learn_path(int i, const char *body) {
    int size;
    const char *path = body ? line(body, "\r\na=path:", &size) : 0;
    if (!path || size >= (int)sizeof session->to_path) fail("no a=path in the SDP of session %d", i);
    snprintf(session[i].to_path, sizeof session->to_path, "%.*s", size, path);
}

/* The headers that a response copies (RFC 3261 §8.2.6.2). */
static int copied(const char *head, char *out, int room) {
    static const char *names[] = {"via:", "v:", "from:", "f:", "to:", "t:", "call-id:", "i:", "cseq:", "record-route:"};
    int fill = 0;
    for (const char *at = strstr(head, "\r\n") + 2; *at && *at != '\r';) {
        const char *end = strstr(at, "\r\n");
        int size = end ? end - at : (int)strlen(at);
        for (int k = 0; k < 10; k++)
            if (!strncasecmp(at, names[k], strlen(names[k])) && fill + size + 20 < room) {
                memcpy(out + fill, at, size);
                fill += size;
                if ((k == 4 || k == 5) && !memmem(at, size, ";tag=", 5)) fill += sprintf(out + fill, ";tag=drive");
                fill += sprintf(out + fill, "\r\n");
                break;
            }
        if (!end) break;
        at = end + 2;
    }
    out[fill] = 0;
    return fill;
}

static void sip_request(struct conn *conn, char *text, char *body, int size) {
    char head[4000], media[500];
    const char *user = strstr(text, "sip:");
    int i = user ? atoi(user + 5) : -1;
    if (!strncmp(text, "ACK ", 4)) {
        if (page2msrp && i >= 0 && i < sessions) bind_session(i);
        return;
    }
    copied(text, head, sizeof head);
    if (!strncmp(text, "INVITE ", 7)) {
        if (i < 0 || i >= sessions) fail("an INVITE to nobody: %.60s", text);
        learn_path(i, body);
        int length = sdp(media, sizeof media, i);
        say(conn, "SIP/2.0 200 OK\r\n%sContact: <sip:s%d@127.0.0.1:%d%s>\r\nContent-Type: application/sdp\r\n"
            "Content-Length: %d\r\n\r\n%s", head, i, own_port, tcp ? ";transport=tcp" : "", length, media);
        return;
    }
    if (!strncmp(text, "MESSAGE ", 8)) text_received(body, size, -1);
    say(conn, "SIP/2.0 200 OK\r\n%sContent-Length: 0\r\n\r\n", head);
}

static void invite(int i) {
    char media[500];
    int length = sdp(media, sizeof media, i);
    say(sip,
        "INVITE sip:p%d@127.0.0.1:%d%s SIP/2.0\r\nVia: SIP/2.0/%s 127.0.0.1:%d;branch=z9hG4bKi%d;rport\r\n"
        "Max-Forwards: 70\r\nFrom: <sip:s%d@127.0.0.1:%d>;tag=i%d\r\nTo: <sip:p%d@127.0.0.1:%d>\r\n"
        "Call-ID: i%d@127.0.0.1\r\nCSeq: 1 INVITE\r\nContact: <sip:s%d@127.0.0.1:%d%s>\r\n"
        "Content-Type: application/sdp\r\nContent-Length: %d\r\n\r\n%s",
        i, own_port, tcp ? ";transport=tcp" : "", tcp ? "TCP" : "UDP", own_port, i, i, own_port, i, i, own_port, i, i,
        own_port, tcp ? ";transport=tcp" : "", length, media);
}

static void answered(const char *text, int i) {
    int to = 0, contact = 0;
    const char *to_value = line(text, "\r\nTo: ", &to), *value = line(text, "\r\nContact: ", &contact), *uri, *end;
    if (!to_value || !value) fail("a 200 to INVITE without To or Contact");
    uri = memchr(value, '<', contact), end = memchr(value, '>', contact);
    if (!uri || !end) fail("a Contact without <>");
    say(sip,
        "ACK %.*s SIP/2.0\r\nVia: SIP/2.0/%s 127.0.0.1:%d;branch=z9hG4bKa%d;rport\r\nMax-Forwards: 70\r\n"
        "From: <sip:s%d@127.0.0.1:%d>;tag=i%d\r\nTo: %.*s\r\nCall-ID: i%d@127.0.0.1\r\nCSeq: 1 ACK\r\n"
        "Content-Length: 0\r\n\r\n",
        (int)(end - uri - 1), uri + 1, tcp ? "TCP" : "UDP", own_port, i, i, own_port, i, to, to_value, i);
}

static void message(const char *id, int i, const char *body) {
    say(sip,
        "MESSAGE sip:s%d@127.0.0.1:%d%s SIP/2.0\r\nVia: SIP/2.0/%s 127.0.0.1:%d;branch=z9hG4bK%s;rport\r\n"
        "Max-Forwards: 70\r\nFrom: \"P\" <sip:p%d@127.0.0.1:%d>;tag=%s\r\nTo: <sip:s%d@127.0.0.1:%d>\r\n"
        "Call-ID: %s@127.0.0.1\r\nCSeq: 1 MESSAGE\r\nContact: <sip:p%d@127.0.0.1:%d>\r\nUser-Agent: drive\r\n"
        "Content-Type: text/plain\r\nContent-Length: %zu\r\n\r\n%s",
        i, own_port, tcp ? ";transport=tcp" : "", tcp ? "TCP" : "UDP", own_port, id, i, own_port, id, i, own_port, id,
        i, own_port, strlen(body), body);
}

static void sip_response(char *text, char *body) {
    int status = atoi(text + 8), size;
    const char *id = line(text, "\r\nCall-ID: ", &size);
    if (status < 200) return;
    if (status >= 300) fail("SIP response %.*s", (int)strcspn(text, "\r"), text);
    if (!id) fail("a response without Call-ID");
    int i = atoi(id + 1);
    if (*id == 'i') {
        learn_path(i, body);
        answered(text, i);
        bind_session(i);
    } else if (*id == 'o') {
        session[i].opened = 1;
        came_up(i);
    } else {
        accepted_later += status == 202;
        finished(strtol(id + 1, 0, 16));
    }
}

static void sip_message(struct conn *conn, char *text, char *stop, int size) {
    *stop = 0;
    if (!strncmp(text, "SIP/2.0 ", 8))
        sip_response(text, size ? stop + 2 : 0);
    else
        sip_request(conn, text, stop + 4, size);
    *stop = '\r';
}

static void sip_received(struct conn *conn) {
    char *text = conn->in, *limit = conn->in + conn->fill, *stop;
    *limit = 0;
    while (text < limit && (stop = strstr(text, "\r\n\r\n"))) {
        int size = 0;
        const char *length = line(text, "\r\nContent-Length: ", &size);
        size = length && length < stop ? atoi(length) : conn->kind == DATAGRAMS ? (int)(limit - stop - 4) : 0;
        char *end = stop + 4 + size, kept;
        if (end > limit) break;
        kept = *end, *end = 0;
        sip_message(conn, text, stop, size);
        *end = kept, text = end;
    }
    conn->fill = conn->kind == DATAGRAMS ? 0 : limit - text;
    memmove(conn->in, text, conn->fill);
}

/* Main loop */

static void readable(struct conn *conn) {
    if (conn->kind == LISTENER) {
        use(STREAM, accept(conn->fd, 0, 0));
        return;
    }
    if (conn->kind == DATAGRAMS) {
        int n;
        while ((n = recv(conn->fd, conn->in, ROOM, MSG_DONTWAIT)) > 0) conn->fill = n, sip_received(conn);
        return;
    }
    int n = read(conn->fd, conn->in + conn->fill, ROOM - conn->fill);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) fail("the peer closed %s", conn->kind == MSRP ? "an MSRP connection" : "a SIP connection");
    conn->fill += n;
    conn->in[conn->fill] = 0;
    conn->kind == MSRP ? msrp_received(conn) : sip_received(conn);
}

static void turn(int wait) {
    struct epoll_event events[256];
    if (slow) say_what_is_due();
    for (; writers; writers = writers->next) writers->queued = 0, flush(writers);
    int n = epoll_wait(epoll, events, 256, late_first && wait > 2 ? 2 : wait);
    for (int k = 0; k < n; k++) {
        struct conn *conn = events[k].data.ptr;
        if (events[k].events & EPOLLOUT) flush(conn);
        if (events[k].events & ~EPOLLOUT) readable(conn);
    }
}

static void listen_for_sip(void) {
    struct sockaddr_in own = at(own_port), peer = at(sip_port);
    int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0), datagrams = socket(AF_INET, SOCK_DGRAM, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (void *)&own, sizeof own) || listen(fd, 100) || bind(datagrams, (void *)&own, sizeof own))
        fail("can't listen on port %d: %m", own_port);
    use(LISTENER, fd);
    if (tcp)
        sip = dial(STREAM, sip_port);
    else if (connect(datagrams, (void *)&peer, sizeof peer))
        fail("SIP: %m");
    else
        sip = use(DATAGRAMS, datagrams);
}

static void set_up(void) {
    double limit = now() + STALL + sessions / 20.0;
    while (up < sessions) {
        for (; called < sessions && called - up < (bare ? sessions : SETTING_UP); called++) {
            char id[30];
            snprintf(id, sizeof id, "o%d", called);
            if (bare)
                session[called].msrp = dial(MSRP, msrp_port), session[called].msrp->session = called, up++;
            else if (page2msrp)
                message(id, called, "opening the session");
            else
                invite(called);
        }
        turn(100);
        if (now() > limit) fail("%d of %d sessions came up in time", up, sessions);
    }
    if (bare) usleep(200000); /* until the floor has accepted them */
}

static void send_text(long number) {
    char body[120], id[30];
    int i = number % sessions;
    snprintf(body, sizeof body, "%08lx %.91s", number, filling);
    resend[number] = now() + T1;
    if (page2msrp) {
        snprintf(id, sizeof id, "c%lx", number);
        message(id, i, body);
    } else {
        char rest[300];
        snprintf(id, sizeof id, "t%08lx", number);
        snprintf(rest, sizeof rest, "Message-ID: m%lx\r\nByte-Range: 1-100/100\r\nContent-Type: text/plain\r\n\r\n%s\r\n",
                 number, body);
        msrp_send(session[i].msrp, i, id, rest);
    }
}

static void send_next(void) {
    started[sent] = now();
    send_text(sent++);
}

/* Timer E of RFC 3261, without its growth. */
static void send_again(void) {
    double at = now();
    while (oldest < sent && answers[oldest]) oldest++;
    for (long number = oldest; number < sent && started[number] + T1 < at; number++)
        if (!answers[number] && resend[number] < at) send_text(number), repeated++;
}

static void drive(void) {
    double begin = now(), progress = begin;
    long then = 0;
    while (done < messages) {
        if (rate) {
            long due = (now() - begin) * rate + 1;
            for (int burst = 0; sent < messages && sent < due && burst < 64; burst++) send_next();
        } else
            while (sent < messages && sent - done < window) send_next();
        turn(rate && sent < messages ? 1 : 100);
        if (page2msrp && !tcp) send_again();
        if (done != then)
            then = done, progress = now();
        else if (now() - progress > STALL)
            fail("stalled: %ld of %ld messages answered, %ld came out", done, messages, received);
    }
    if (received != messages) fail("%ld messages came out of %ld", received, messages);
}

int main(int argc, char **argv) {
    struct rlimit files;
    if (argc != 13 && argc != 14) {
        fprintf(stderr, "usage: drive page2msrp|msrp2page udp|tcp floor|gateway SIP_PORT MSRP_PORT OWN_PORT"
                        " PID SESSIONS MESSAGES WARMUP WINDOW RATE [SLOW]\n");
        return 2;
    }
    page2msrp = !strcmp(argv[1], "page2msrp"), tcp = !strcmp(argv[2], "tcp"), bare = !strcmp(argv[3], "floor");
    sip_port = atoi(argv[4]), msrp_port = atoi(argv[5]), own_port = atoi(argv[6]), pid = atoi(argv[7]);
    sessions = atoi(argv[8]), messages = atol(argv[9]), warmup = atol(argv[10]), window = atol(argv[11]);
    rate = atol(argv[12]), slow = argc > 13 ? atoi(argv[13]) / 1e3 : 0;
    if (sessions < 1 || warmup < 1 || messages <= warmup || (window < 1 && !rate)) fail("impossible numbers");
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    session = calloc(sessions, sizeof *session);
    started = calloc(messages, sizeof *started);
    resend = calloc(messages, sizeof *resend);
    latency = calloc(messages, sizeof *latency);
    answers = calloc(messages, 1);
    memset(filling, 'x', 100);
    epoll = epoll_create1(0);
    listen_for_sip();
    set_up();
    drive();
    return 0;
}
