/* Sockets on loopback and the loop that serves them. */
#include "drive.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

enum { ROOM = 1 << 16, EVENTS = 256, BUFFER = 4 << 20 };

struct conn *sip;
static struct conn *writers, *clock_conn, *commands, *gone;
static int epoll;

/* What slow users will write; the first one is due first. */
static struct late {
    double due;
    struct conn *conn;
    long size;
    struct late *next;
    char data[];
} *late_first, **late_last = &late_first;

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

static struct conn *dial(enum kind kind, int port, int tls) {
    struct sockaddr_in address = at(port);
    /* Without waiting: a crowded backlog must not hold up the others. */
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (fd < 0 || (connect(fd, (void *)&address, sizeof address) && errno != EINPROGRESS))
        fail("can't connect to port %d: %m", port);
    struct conn *conn = use(kind, fd);
    if (tls) {
        wrap(conn, 1);
        watch(conn, EPOLLIN | EPOLLOUT); /* to shake hands before there is anything to say */
    }
    return conn;
}

struct conn *dial_msrp(int i) {
    struct conn *conn = dial(MSRP, options.msrp_port, options.msrps);
    conn->session = i;
    return conn;
}

void hang_up(struct conn *conn) {
    if (conn->ended) return;
    conn->ended = 1;
    for (struct late *it = late_first; it; it = it->next)
        if (it->conn == conn) it->conn = 0;
    if (conn->tls) tls_free(conn);
    close(conn->fd);
    /* This turn's events may still name it, and the list of writers. */
    if (!conn->queued) conn->next = gone, gone = conn;
}

static void bury(void) {
    for (struct conn *conn; (conn = gone);) {
        gone = conn->next;
        free(conn->in), free(conn->out), free(conn);
    }
}

static void flush(struct conn *conn) {
    if (conn->ended || !conn->pending) return;
    long n = conn->tls ? tls_write(conn, conn->out, conn->pending) : write(conn->fd, conn->out, conn->pending);
    /* The peer may have closed: reading will tell. */
    if (n < 0 && errno != EAGAIN && errno != EPIPE && errno != ECONNRESET) fail("write: %m");
    if (n < 0 && errno != EAGAIN) conn->pending = 0;
    if (n > 0) memmove(conn->out, conn->out + n, conn->pending -= n);
    watch(conn, conn->pending ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

void put(struct conn *conn, const char *data, long size) {
    if (conn->ended) return;
    if (conn->kind == DATAGRAMS) {
        if (send(conn->fd, data, size, 0) < 0 && errno != ECONNREFUSED && errno != EAGAIN) fail("send: %m");
        return;
    }
    if (conn->pending + size > conn->room) conn->out = realloc(conn->out, conn->room = (conn->pending + size) * 2);
    memcpy(conn->out + conn->pending, data, size);
    conn->pending += size;
    if (!conn->queued) conn->queued = 1, conn->next = writers, writers = conn;
}

void say(struct conn *conn, const char *format, ...) {
    static char text[ROOM];
    va_list arguments;
    va_start(arguments, format);
    put(conn, text, vsnprintf(text, sizeof text, format, arguments));
    va_end(arguments);
}

void say_late(struct conn *conn, const char *data, long size, double delay) {
    struct late *it = malloc(sizeof *it + size);
    *it = (struct late){now() + delay, conn, size, 0};
    memcpy(it->data, data, size);
    *late_last = it, late_last = &it->next;
}

int late_pending(void) { return late_first != 0; }

static void say_what_is_due(void) {
    for (struct late *it; (it = late_first) && it->due < now(); free(it)) {
        if (it->conn) put(it->conn, it->data, it->size);
        if (!(late_first = it->next)) late_last = &late_first;
    }
}

static void read_stream(struct conn *conn) {
    long n;
    do {
        if (conn->fill == ROOM) fail("more than %d bytes and no end", ROOM);
        n = conn->tls ? tls_read(conn, conn->in + conn->fill, ROOM - conn->fill)
                      : read(conn->fd, conn->in + conn->fill, ROOM - conn->fill);
        if (n < 0 && errno == EAGAIN) break;
        if (n <= 0) {
            /* A session that is over takes its connection along. */
            if (conn->kind == MSRP && (session[conn->session].ended || forgiving())) {
                session[conn->session].msrp = 0;
                hang_up(conn);
                return;
            }
            fail("the peer closed %s", conn->kind == MSRP ? "an MSRP connection" : "a SIP connection");
        }
        conn->fill += n;
        conn->in[conn->fill] = 0;
        conn->kind == MSRP ? msrp_received(conn) : sip_received(conn);
    } while (conn->tls && !conn->ended);
    /* A handshake had to come before what waits to be written. */
    if (conn->tls) flush(conn);
}

static void readable(struct conn *conn) {
    long n;
    switch (conn->kind) {
    case LISTENER:
        n = accept(conn->fd, 0, 0);
        if (n >= 0) {
            struct conn *accepted = use(STREAM, n);
            if (options.transport == TLS) wrap(accepted, 0);
        }
        break;
    case DATAGRAMS:
        while ((n = recv(conn->fd, conn->in, ROOM, MSG_DONTWAIT)) > 0) conn->fill = n, sip_received(conn);
        break;
    case COMMANDS:
        n = read(conn->fd, conn->in + conn->fill, ROOM - conn->fill);
        if (n <= 0) exit(0);
        conn->in[conn->fill += n] = 0;
        break;
    case CLOCK:
        if (read(conn->fd, &n, sizeof n) < 0 && errno != EAGAIN) fail("timerfd: %m");
        break;
    default:
        read_stream(conn);
    }
}

/* How long epoll shall wait; for times that its milliseconds are too coarse for, the clock is set. */
static int patience(double limit) {
    if (late_first && late_first->due < limit) limit = late_first->due;
    double wait = limit - now();
    if (wait <= 20e-6) return 0;
    if (wait > 0.1) return 100;
    struct itimerspec alarm = {.it_value = {0, wait * 1e9}};
    timerfd_settime(clock_conn->fd, 0, &alarm, 0);
    return -1;
}

void turn(double limit) {
    struct epoll_event events[EVENTS];
    if (late_first) say_what_is_due();
    while (writers) {
        struct conn *conn = writers;
        writers = conn->next, conn->queued = 0;
        if (conn->ended)
            conn->next = gone, gone = conn;
        else
            flush(conn);
    }
    bury();
    int n = epoll_wait(epoll, events, EVENTS, patience(limit));
    for (int k = 0; k < n; k++) {
        struct conn *conn = events[k].data.ptr;
        if (!conn->ended && events[k].events & EPOLLOUT) {
            if (conn->tls && !conn->pending) events[k].events |= EPOLLIN, watch(conn, EPOLLIN);
            flush(conn);
        }
        if (!conn->ended && events[k].events & ~EPOLLOUT) readable(conn);
    }
}

void linger(double seconds) {
    for (double end = now() + seconds; now() < end;) turn(end);
}

char *next_command(void) {
    static char command[1000];
    char *end = memchr(commands->in, '\n', commands->fill);
    if (!end) return 0;
    *end = 0;
    snprintf(command, sizeof command, "%s", commands->in);
    commands->fill -= end + 1 - commands->in;
    memmove(commands->in, end + 1, commands->fill);
    return command;
}

void start_network(void) {
    struct sockaddr_in own = at(options.own_port), peer = at(options.sip_port);
    int one = 1, much = BUFFER, fd = socket(AF_INET, SOCK_STREAM, 0), datagrams = socket(AF_INET, SOCK_DGRAM, 0);
    epoll = epoll_create1(0);
    if (options.transport == TLS || options.msrps) start_tls();
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    /* What is lost shall be lost by the peer. */
    setsockopt(datagrams, SOL_SOCKET, SO_RCVBUF, &much, sizeof much);
    if (bind(fd, (void *)&own, sizeof own) || listen(fd, 100) || bind(datagrams, (void *)&own, sizeof own))
        fail("can't listen on port %d: %m", options.own_port);
    use(LISTENER, fd);
    if (options.transport != UDP)
        sip = dial(STREAM, options.sip_port, options.transport == TLS);
    else if (connect(datagrams, (void *)&peer, sizeof peer))
        fail("SIP: %m");
    else
        sip = use(DATAGRAMS, datagrams);
    commands = use(COMMANDS, 0);
    clock_conn = use(CLOCK, timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK));
}
