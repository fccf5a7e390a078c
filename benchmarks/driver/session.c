/* Sessions: user p<i> has MESSAGE only, user s<i> has MSRP; a session joins them. */
#include "drive.h"

enum { AT_A_TIME = 20, STALL = 10 };

#define ACCEPTING 0.004 /* seconds for the floor to accept so many connections */

struct session *session;
int generation;
static int count, up, closed;

void start_sessions(void) { session = calloc(MOST_SESSIONS, sizeof *session); }

int open_count(void) { return count; }

/* MSRP users connect; the first SEND says whose connection it is (RFC 4975 §4). */
void bind_session(int i) {
    if (session[i].msrp || session[i].ended) return; /* a retransmission */
    session[i].msrp = dial_msrp(i);
    char tid[30];
    snprintf(tid, sizeof tid, "bind%d", i);
    msrp_send(session[i].msrp, i, tid, first_send(i), '$');
}

void came_up(int i) {
    if (session[i].up || !session[i].bound || !session[i].opened) return;
    session[i].up = 1;
    if (i < FRESH)
        up++;
    else
        cycle_up(i);
}

void session_closed(int i) {
    if (session[i].ended != 1) return;
    session[i].ended = 2;
    if (session[i].msrp) hang_up(session[i].msrp);
    free(session[i].bye), free(session[i].to_path);
    session[i].msrp = 0, session[i].bye = session[i].to_path = 0;
    if (i < FRESH)
        closed++;
    else
        cycle_ended(i);
}

/* So many in all, the first by a MESSAGE or an INVITE each.  Returns how many there were before. */
int open_sessions(int wanted, enum way way) {
    int before = count, called = count, bare = options.peer != GATEWAY;
    if (wanted > FRESH) fail("too many sessions");
    double limit = now() + STALL + wanted / 20.0;
    while (up < wanted) {
        for (; called < wanted && called - up < (bare ? wanted : AT_A_TIME); called++) {
            char id[30];
            static const char text[] = "opening the session";
            snprintf(id, sizeof id, "o%d.%d", called, generation);
            if (options.peer == FLOOR) session[called].msrp = dial_msrp(called);
            if (bare) {
                session[called].up = 1, up++;
                /* What its backlog can't hold looks connected here, and is reset a minute later. */
                if (options.peer == FLOOR && up % AT_A_TIME == 0) linger(ACCEPTING);
            } else if (way == PAGE2MSRP)
                send_message(id, called, text, sizeof text - 1);
            else
                invite(called);
        }
        turn(now() + 0.1);
        if (now() > limit) fail("%d of %d sessions came up in time", up, wanted);
    }
    if (bare) linger(0.2); /* until the floor has accepted them */
    count = wanted;
    return before;
}

/* By BYEs of the MSRP users. */
void close_sessions(void) {
    double limit = now() + STALL + count / 20.0;
    int asked = 0;
    closed = 0;
    linger(LINGER);
    while (closed < count) {
        for (; asked < count && asked - closed < AT_A_TIME; asked++) send_bye(asked);
        turn(now() + 0.1);
        if (now() > limit) fail("%d of %d sessions ended in time", closed, count);
    }
    memset(session, 0, count * sizeof *session);
    count = up = 0;
    generation++;
}
