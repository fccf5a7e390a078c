/* Load: messages over sessions that are up, or sessions that are set up for one message and ended.
 *
 * Closed loop: so many at a time.  Open loop: so many a second whatever the answers do, and what is
 * measured begins when a message was due, not when there was time to send it: a peer that stops for
 * a while pays for all that should have been sent meanwhile.  A session's answer is that to its message. */
#include "drive.h"

enum { RECEIVED = 1, ANSWERED = 2, REFUSED = 4, AGAIN = 8, ENDED = 16 };
enum { STALL = 10, TOGETHER = 64, TRIES = 4, UNENDED = 20, MOST_TEXT = 60000, SLICES = 2000 };

#define SLICE 0.25 /* seconds in which messages are due that are shown together */

double slow;

struct message {
    double due, ended;
    int next; /* of those that are sent again at the same interval */
    unsigned char state;
};

/* Timer E of RFC 3261 §17.1.2.2: after 0.5, 1, 2, 4, 4 ... seconds; the first of each list is due first. */
static const double intervals[TRIES] = {0.5, 1, 2, 4};
static struct {
    int first, last;
} again[TRIES];
static double *again_at;

/* Sessions used once, in the order of their BYEs. */
static int *leaving, left_first, left_last;

static struct message *messages;
static enum way way;
static int cycle, each, sessions, tolerant, fresh = FRESH, base;
static long first, count, warmup, window, rate, then_rate, after, size, chunk;
static long sent, answers, complete, refused, later, repeated;
static double begin, last_answer, held;
static struct meter {
    double at, used, waited, stolen, own;
} from, until;
static char filling[MOST_TEXT];

long number_of(const char *arguments, const char *name, long otherwise) {
    char wanted[40];
    snprintf(wanted, sizeof wanted, " %s=", name);
    const char *found = strstr(arguments, wanted);
    return found ? atol(found + strlen(wanted)) : otherwise;
}

enum way way_of(const char *arguments) {
    return strstr(arguments, " way=msrp2page") ? MSRP2PAGE : strstr(arguments, " way=both") ? BOTH : PAGE2MSRP;
}

static struct meter read_meters(void) {
    return (struct meter){now(), cpu_used(), cpu_waited(), cpu_stolen(), cpu_of_driver()};
}

static enum way way_of_message(long k) { return way == BOTH ? (enum way)(k & 1) : way; }

static int session_of(long k) {
    if (each) return base + k / each;
    return (way == BOTH ? k / 2 : k) % sessions;
}

static double due_of(long k) {
    return begin + (k < after ? (double)k / rate : (double)after / rate + (double)(k - after) / then_rate);
}

/* Sending */

static long text_of(long k, char *out) { return snprintf(out, MOST_TEXT, "%08lx %.*s", first + k, (int)size - 9, filling); }

static void send_in_chunks(long k, const char *text) {
    static char rest[MOST_TEXT + 300];
    for (long from = 0; from < size; from += chunk) {
        long part = from + chunk < size ? chunk : size - from;
        int final = from + part == size;
        char tid[40];
        snprintf(tid, sizeof tid, final ? "t%08lx" : "u%08lx.%lx", first + k, from);
        snprintf(rest, sizeof rest, "Message-ID: m%lx\r\nByte-Range: %ld-%ld/%ld\r\nContent-Type: text/plain\r\n\r\n%.*s\r\n",
                 first + k, from + 1, from + part, size, (int)part, text + from);
        msrp_send(session[session_of(k)].msrp, session_of(k), tid, rest, final ? '$' : '+');
    }
}

static void send_text(long k) {
    static char text[MOST_TEXT];
    char id[30];
    text_of(k, text);
    snprintf(id, sizeof id, "c%lx", first + k);
    if (way_of_message(k) == PAGE2MSRP)
        send_message(id, session_of(k), text, size);
    else if (cycle)
        invite(session_of(k));
    else
        send_in_chunks(k, text);
}

static void try_later(int k, int tries) {
    messages[k].next = -1;
    again_at[k] = now() + intervals[tries];
    if (again[tries].first < 0)
        again[tries].first = k;
    else
        messages[again[tries].last].next = k;
    again[tries].last = k;
}

/* Returns when the next one is due. */
static double send_again(void) {
    double at = now(), next = at + 0.1;
    for (int tries = 0; tries < TRIES; tries++)
        while (again[tries].first >= 0) {
            int k = again[tries].first;
            if (!(messages[k].state & ANSWERED) && again_at[k] > at) {
                if (again_at[k] < next) next = again_at[k];
                break;
            }
            again[tries].first = messages[k].next;
            if (messages[k].state & ANSWERED) continue;
            send_text(k);
            messages[k].state |= AGAIN;
            repeated++;
            try_later(k, tries < TRIES - 1 ? tries + 1 : tries);
        }
    return next;
}

static void send_next(void) {
    messages[sent].due = rate ? due_of(sent) : now();
    send_text(sent);
    if (options.transport == UDP && way_of_message(sent) == PAGE2MSRP) try_later(sent, 0);
    sent++;
}

const char *first_send(int i) {
    static char text[MOST_TEXT], rest[MOST_TEXT + 300];
    if (!cycle || way == PAGE2MSRP || i < FRESH) return "Message-ID: bind\r\nByte-Range: 1-0/0\r\n";
    text_of(i - base, text);
    snprintf(rest, sizeof rest, "Message-ID: m%d\r\nByte-Range: 1-%ld/%ld\r\nContent-Type: text/plain\r\n\r\n%s\r\n", i, size, size, text);
    return rest;
}

/* What became of it */

static void over(long k) {
    messages[k].ended = last_answer = now();
    if (++answers == warmup) from = read_meters();
}

static void completed(long k) {
    if (cycle && !(messages[k].state & REFUSED)) {
        over(k);
        leaving[left_last++] = k;
    } else
        complete++;
}

/* Returns when the next one is due. */
static double send_byes(void) {
    for (; left_first < left_last; left_first++) {
        long k = leaving[left_first];
        if (messages[k].ended + LINGER > now()) return messages[k].ended + LINGER;
        send_bye(session_of(k));
    }
    return now() + 0.1;
}

void answered(long number, int status) {
    long k = number - first;
    if (k < 0 || k >= sent || messages[k].state & ANSWERED) return; /* to a retransmission, or out of date */
    messages[k].state |= ANSWERED;
    later += status == 202;
    if (status >= 300) {
        if (!tolerant) fail("message %ld of session %d was refused with %d", k, session_of(k), status);
        messages[k].state |= REFUSED;
        refused++;
    }
    if (!cycle || status >= 300) over(k);
    if (session_of(k) >= FRESH) session[session_of(k)].opened = 1;
    if (cycle && status < 300)
        came_up(session_of(k));
    else if (messages[k].state & (RECEIVED | REFUSED))
        completed(k);
}

void cycle_up(int i) {
    long k = i - base;
    if (!cycle || k < 0 || k >= sent) return;
    messages[k].state |= ANSWERED;
    if (messages[k].state & RECEIVED) completed(k);
}

void cycle_refused(int i, int status) { answered(first + i - base, status); }

int forgiving(void) { return cycle && tolerant; }

void cycle_ended(int i) {
    long k = i - base;
    if (!cycle || k < 0 || k >= sent) return;
    messages[k].state |= ENDED;
    last_answer = now();
    complete++;
}

void text_received(enum way came, int i, long number, long length) {
    long k = number - first;
    if (k < 0 || k >= sent) return; /* the text that opened a session, or one given up */
    struct message *it = &messages[k];
    if (length != size) fail("message %ld has %ld bytes in place of %ld", k, length, size);
    if (it->state & RECEIVED) {
        /* Our 200 to a MESSAGE came late; over MSRP nothing comes twice. */
        if (options.transport != UDP || (came == PAGE2MSRP && options.peer != KAMAILIO)) fail("message %ld came twice", k);
        repeated++;
        return;
    }
    it->state |= RECEIVED;
    if (i >= 0) {
        if (i != session_of(k)) fail("message %ld of session %d came to session %d", k, session_of(k), i);
        /* What UDP lost and was sent again may be overtaken. */
        if (number < session[i].last[came] && !(it->state & AGAIN) && !tolerant)
            fail("message %ld came after %ld", k, session[i].last[came] - 1 - first);
        if (number >= session[i].last[came]) session[i].last[came] = number + 1;
    }
    if (cycle ? session[i < 0 ? 0 : i].up : it->state & ANSWERED && !(it->state & REFUSED)) completed(k);
}

/* Results */

static int rise(const void *a, const void *b) { return *(const float *)a < *(const float *)b ? -1 : *(const float *)a > *(const float *)b; }

/* Milliseconds from due to answered, in order; what has no answer yet has waited until now. */
static long latencies(long k, long to, float *out) {
    long n = 0;
    double at = now();
    for (; k < to; k++)
        if (!(messages[k].state & REFUSED)) out[n++] = ((messages[k].ended ? messages[k].ended : at) - messages[k].due) * 1e3;
    qsort(out, n, sizeof *out, rise);
    return n;
}

static double share(const float *sorted, long n, double part) { return n ? sorted[(long)((n - 1) * part)] : 0; }

/* In each slice of time: messages due, their p99, those refused; positive answers that came in it. */
static void tell_slices(float *room) {
    static long came[SLICES];
    memset(came, 0, sizeof came);
    for (long k = 0; k < sent; k++) {
        long slice = messages[k].ended ? (messages[k].ended - begin) / SLICE : -1;
        if (slice >= 0 && slice < SLICES && !(messages[k].state & REFUSED)) came[slice]++;
    }
    printf(", \"slice\": %g, \"slices\": [", SLICE);
    for (long k = 0, slice = 0; k < sent && slice < SLICES; slice++) {
        long first_due = k, no = 0;
        for (; k < sent && messages[k].due < begin + (slice + 1) * SLICE; k++) no += !!(messages[k].state & REFUSED);
        long n = latencies(first_due, k, room);
        printf("%s[%ld, %.3f, %ld, %ld]", slice ? ", " : "", k - first_due, share(room, n, 0.99), no, came[slice]);
    }
    printf("]");
}

static void tell(void) {
    long lost = 0, unanswered = 0, contradicted = 0, counted = answers - warmup;
    double seconds = last_answer - from.at, own = until.own - from.own, used = until.used - from.used;
    float *room = malloc(sent * sizeof *room);
    for (long k = 0; k < sent; k++) {
        int state = messages[k].state;
        unanswered += !(state & ANSWERED) || (cycle && !(state & (ENDED | REFUSED)));
        lost += (state & (ANSWERED | RECEIVED | REFUSED)) == ANSWERED;
        contradicted += (state & (RECEIVED | REFUSED)) == (RECEIVED | REFUSED);
    }
    if (counted < 1 || !from.at) counted = 1, seconds = seconds > 0 ? seconds : 1e9;
    printf("{\"messages\": %ld, \"seconds\": %.4f, \"rate\": %.1f, \"cpu_us\": %.3f, \"driver_us\": %.3f, \"driver_busy\": %.3f",
           counted, seconds, counted / seconds, used * 1e6 / counted, own * 1e6 / counted, own / seconds);
    long n = latencies(warmup, sent, room);
    printf(", \"p50_ms\": %.3f, \"p90_ms\": %.3f, \"p99_ms\": %.3f, \"p999_ms\": %.3f, \"max_ms\": %.3f", share(room, n, 0.5),
           share(room, n, 0.9), share(room, n, 0.99), share(room, n, 0.999), share(room, n, 1));
    printf(", \"accepted_later\": %ld, \"repeated\": %ld, \"refused\": %ld, \"unanswered\": %ld, \"lost\": %ld, \"contradicted\": %ld",
           later, repeated, refused, unanswered, lost, contradicted);
    printf(", \"held_ms\": %.3f, \"waited\": %.4f, \"stolen_ms\": %.0f", held * 1e3, (until.waited - from.waited) / seconds,
           (until.stolen - from.stolen) * 1e3);
    if (rate) tell_slices(room);
    printf("}\n");
    fflush(stdout);
    free(room);
}

/* The loop */

static void read_arguments(const char *arguments) {
    way = way_of(arguments);
    count = number_of(arguments, "messages", 8000), warmup = number_of(arguments, "warmup", 2000);
    window = number_of(arguments, "window", 50), rate = number_of(arguments, "rate", 0);
    then_rate = number_of(arguments, "then", 1), after = number_of(arguments, "after", count);
    size = number_of(arguments, "size", 100), chunk = number_of(arguments, "chunk", size);
    sessions = number_of(arguments, "sessions", open_count());
    each = cycle ? 1 : number_of(arguments, "each", 0);
    tolerant = number_of(arguments, "drain", 0) > 0;
    slow = number_of(arguments, "slow", 0) / 1e3;
    if (warmup < 1 || count <= warmup || (window < 1 && !rate) || (sessions < 1 && !each) || sessions > open_count() ||
        size < 10 || size >= MOST_TEXT || chunk < 1)
        fail("impossible numbers: %s", arguments);
    base = fresh;
    if (each) fresh += (count + each - 1) / each;
    if (fresh >= MOST_SESSIONS) fail("too many sessions in all");
}

static void end_fresh(void) {
    linger(LINGER);
    for (int i = base; i < fresh; i++) {
        send_bye(i);
        /* A few at a time. */
        for (double limit = now() + STALL; session[i].ended < 2 && i % 20 == 0;) {
            turn(now() + 0.1);
            if (now() > limit) fail("session %d did not end", i);
        }
    }
    for (double limit = now() + STALL; session[fresh - 1].ended < 2;) {
        turn(now() + 0.1);
        if (now() > limit) fail("session %d did not end", fresh - 1);
    }
}

void run_load(const char *arguments, int is_cycle) {
    cycle = is_cycle;
    first += count;
    read_arguments(arguments);
    messages = calloc(count, sizeof *messages);
    again_at = calloc(count, sizeof *again_at);
    leaving = calloc(count, sizeof *leaving);
    left_first = left_last = 0;
    for (int tries = 0; tries < TRIES; tries++) again[tries].first = -1;
    memset(filling, 'x', sizeof filling);
    sent = answers = complete = refused = later = repeated = 0;
    last_answer = held = 0, from = (struct meter){0};
    begin = now();
    double progress = begin, drain = number_of(arguments, "drain", 0);
    for (long then = 0; complete < count;) {
        double limit = send_again();
        if (rate)
            for (int burst = 0; sent < count && burst < TOGETHER && due_of(sent) <= now(); burst++) send_next();
        else
            while (sent < count && sent - answers < window && sent - complete < UNENDED * window) send_next();
        double bye = send_byes();
        if (bye < limit) limit = bye;
        if (rate && sent < count && due_of(sent) < limit) limit = due_of(sent);
        turn(limit);
        /* Whatever we had to do then: who kept us from it kept the measured process, too, or feigned a delay. */
        if (answers >= warmup && now() - limit > held) held = now() - limit;
        if (complete != then)
            then = complete, progress = now();
        else if (!tolerant && now() - progress > STALL)
            fail("stalled: of %ld messages %ld answered, %ld complete", count, answers, complete);
        if (tolerant && sent == count && now() > messages[count - 1].due + drain) break;
    }
    while (late_pending()) turn(now() + 0.1); /* the gateway has them in custody until then */
    until = read_meters();
    if (each && !cycle) end_fresh();
    tell();
    free(messages), free(again_at), free(leaving);
    sent = 0; /* what comes now is out of date */
}
