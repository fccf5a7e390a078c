/* The MSRP users' frames (RFC 4975). */
#include "drive.h"

static const char *to_path(int i) { return options.peer == FLOOR ? "msrp://127.0.0.1:2855/fedcba;tcp" : session[i].to_path; }

void msrp_send(struct conn *conn, int i, const char *tid, const char *rest, char flag) {
    say(conn, "MSRP %s SEND\r\nTo-Path: %s\r\nFrom-Path: msrp%s://127.0.0.1:9/d%d;tcp\r\n%s-------%s%c\r\n", tid,
        to_path(i), options.msrps ? "s" : "", i, rest, tid, flag);
}

static void response(struct conn *conn, const char *tid, const char *status) {
    int i = conn->session;
    if (*tid == 'b') {
        if (strncmp(status, "200", 3) && forgiving()) {
            cycle_refused(i, atoi(status));
            return;
        }
        if (strncmp(status, "200", 3)) fail("MSRP response %.*s to the first SEND", (int)strcspn(status, "\r"), status);
        session[i].bound = 1;
        came_up(i);
    } else if (*tid == 't')
        answered(strtol(tid + 1, 0, 16), atoi(status));
}

static void send_came(struct conn *conn, const char *frame, const char *end, const char *tid, int length, char flag) {
    int to = 0, from = 0, range = 0;
    const char *body = strstr(frame, "\r\n\r\n"), *to_path = line(frame, "\r\nTo-Path: ", &to);
    const char *from_path = line(frame, "\r\nFrom-Path: ", &from), *bytes = line(frame, "\r\nByte-Range: ", &range);
    if (!to_path || !from_path) fail("a SEND without paths");
    if (body && body < end && bytes) {
        if (atol(bytes) == 1) conn->assembled_number = strtol(body + 4, 0, 16), conn->assembled = 0;
        conn->assembled += end - body - 6;
        if (flag == '$') text_received(PAGE2MSRP, options.peer == FLOOR ? -1 : conn->session, conn->assembled_number, conn->assembled);
    }
    char text[1000];
    int size = snprintf(text, sizeof text, "MSRP %.*s 200 OK\r\nTo-Path: %.*s\r\nFrom-Path: %.*s\r\n-------%.*s$\r\n",
                        length, tid, from, from_path, to, to_path, length, tid);
    if (slow && body)
        say_late(conn, text, size, slow);
    else
        put(conn, text, size);
}

void msrp_received(struct conn *conn) {
    char *frame = conn->in, *limit = conn->in + conn->fill;
    while (!conn->ended) {
        char needle[60], *tid = frame + 5, *space, *end;
        if (limit - frame < 10 || !(space = memchr(tid, ' ', limit - tid))) break;
        int length = space - tid;
        if (length > 40) fail("an MSRP frame that can't be: %.60s", frame);
        int size = snprintf(needle, sizeof needle, "-------%.*s", length, tid);
        end = memmem(frame, limit - frame, needle, size);
        if (!end || limit - end < size + 3) break;
        char kept = *end;
        *end = 0;
        if (isdigit(space[1]))
            response(conn, tid, space + 1);
        else if (!strncmp(space + 1, "SEND", 4))
            send_came(conn, frame, end, tid, length, end[size]);
        *end = kept;
        frame = end + size + 3;
    }
    memmove(conn->in, frame, conn->fill = limit - frame);
}
