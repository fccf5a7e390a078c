/* The users' SIP: MESSAGEs of the page users, dialogs of the MSRP users (RFC 3261, RFC 3428). */
#include "drive.h"

static const char *via(void) { return options.transport == UDP ? "UDP" : options.transport == TCP ? "TCP" : "TLS"; }

static const char *transport(void) {
    return options.transport == UDP ? "" : options.transport == TCP ? ";transport=tcp" : ";transport=tls";
}

const char *line(const char *head, const char *name, int *size) {
    const char *found = strcasestr(head, name), *end;
    if (!found) return 0;
    found += strlen(name);
    end = strstr(found, "\r\n");
    *size = end ? end - found : (int)strlen(found);
    return found;
}

static int sdp(char *out, int room, int i) {
    return snprintf(out, room,
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=message 9 TCP/%sMSRP *\r\n"
        "a=accept-types:*\r\na=path:msrp%s://127.0.0.1:9/d%d;tcp\r\na=setup:active\r\n",
        options.msrps ? "TLS/" : "", options.msrps ? "s" : "", i);
}

static void learn_path(int i, const char *body) {
    int size;
    const char *path = body ? line(body, "\r\na=path:", &size) : 0;
    if (!path) fail("no a=path in the SDP of session %d", i);
    free(session[i].to_path);
    session[i].to_path = strndup(path, size);
}

/* The headers that a response copies (RFC 3261 §8.2.6.2). */
static void copied(const char *head, char *out, int room) {
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
}

/* What ends the dialog, while its headers are at hand: the other's From is our To. */
static void keep_bye(int i, const char *head, const char *ours, const char *theirs, const char *our_tag) {
    int from = 0, to = 0, id = 0, contact = 0;
    const char *from_value = line(head, ours, &from), *to_value = line(head, theirs, &to);
    const char *call_id = line(head, "\r\nCall-ID: ", &id), *value = line(head, "\r\nContact: ", &contact), *uri, *end;
    if (!from_value || !to_value || !call_id || !value) fail("a dialog without From, To, Call-ID or Contact");
    uri = memchr(value, '<', contact), end = memchr(value, '>', contact);
    if (!uri || !end) fail("a Contact without <>");
    free(session[i].bye);
    if (asprintf(&session[i].bye,
            "BYE %.*s SIP/2.0\r\nVia: SIP/2.0/%s 127.0.0.1:%d;branch=z9hG4bKb%d.%d;rport\r\nMax-Forwards: 70\r\n"
            "From: %.*s%s\r\nTo: %.*s\r\nCall-ID: %.*s\r\nCSeq: 2 BYE\r\nContent-Length: 0\r\n\r\n",
            (int)(end - uri - 1), uri + 1, via(), options.own_port, i, generation, from, from_value, our_tag, to, to_value, id,
            call_id) < 0)
        fail("no memory");
}

void send_bye(int i) {
    if (!session[i].bye) fail("session %d has no dialog", i);
    session[i].ended = 1;
    say(sip, "%s", session[i].bye);
}

static void request(struct conn *conn, char *text, char *body, long size) {
    char head[4000], media[500];
    const char *user = strstr(text, "sip:");
    int i = user ? atoi(user + 5) : -1;
    if (i < 0 || i >= MOST_SESSIONS) fail("a request for nobody: %.60s", text);
    if (!strncmp(text, "ACK ", 4)) {
        bind_session(i);
        return;
    }
    copied(text, head, sizeof head);
    if (!strncmp(text, "INVITE ", 7)) {
        if (!session[i].bye) learn_path(i, body), keep_bye(i, text, "\r\nTo: ", "\r\nFrom: ", ";tag=drive");
        int length = sdp(media, sizeof media, i);
        say(conn, "SIP/2.0 200 OK\r\n%sContact: <sip:s%d@127.0.0.1:%d%s>\r\nContent-Type: application/sdp\r\n"
            "Content-Length: %d\r\n\r\n%s", head, i, options.own_port, transport(), length, media);
        return;
    }
    if (!strncmp(text, "BYE ", 4) && !forgiving()) fail("the peer ended session %d:\n%s", i, text);
    say(conn, "SIP/2.0 200 OK\r\n%sContent-Length: 0\r\n\r\n", head);
    if (!strncmp(text, "MESSAGE ", 8) && isxdigit(*body))
        text_received(options.peer == KAMAILIO ? PAGE2MSRP : MSRP2PAGE, options.peer == GATEWAY ? i : -1, strtol(body, 0, 16), size);
}

void invite(int i) {
    char media[500];
    int length = sdp(media, sizeof media, i);
    say(sip,
        "INVITE sip:p%d@127.0.0.1:%d%s SIP/2.0\r\nVia: SIP/2.0/%s 127.0.0.1:%d;branch=z9hG4bKi%d.%d;rport\r\n"
        "Max-Forwards: 70\r\nFrom: <sip:s%d@127.0.0.1:%d>;tag=i%d\r\nTo: <sip:p%d@127.0.0.1:%d>\r\n"
        "Call-ID: i%d.%d@127.0.0.1\r\nCSeq: 1 INVITE\r\nContact: <sip:s%d@127.0.0.1:%d%s>\r\n"
        "Content-Type: application/sdp\r\nContent-Length: %d\r\n\r\n%s",
        i, options.own_port, transport(), via(), options.own_port, i, generation, i, options.own_port, i, i,
        options.own_port, i, generation, i, options.own_port, transport(), length, media);
}

static void acknowledge(const char *text, int i) {
    int to = 0, contact = 0;
    const char *to_value = line(text, "\r\nTo: ", &to), *value = line(text, "\r\nContact: ", &contact);
    const char *uri = memchr(value, '<', contact), *end = memchr(value, '>', contact);
    say(sip,
        "ACK %.*s SIP/2.0\r\nVia: SIP/2.0/%s 127.0.0.1:%d;branch=z9hG4bKa%d.%d;rport\r\nMax-Forwards: 70\r\n"
        "From: <sip:s%d@127.0.0.1:%d>;tag=i%d\r\nTo: %.*s\r\nCall-ID: i%d.%d@127.0.0.1\r\nCSeq: 1 ACK\r\n"
        "Content-Length: 0\r\n\r\n",
        (int)(end - uri - 1), uri + 1, via(), options.own_port, i, generation, i, options.own_port, i, to, to_value, i,
        generation);
}

/* §17.1.1.3: to where the INVITE went, with its branch. */
static void acknowledge_refusal(const char *text, int i) {
    int to = 0;
    const char *to_value = line(text, "\r\nTo: ", &to);
    say(sip,
        "ACK sip:p%d@127.0.0.1:%d%s SIP/2.0\r\nVia: SIP/2.0/%s 127.0.0.1:%d;branch=z9hG4bKi%d.%d;rport\r\n"
        "Max-Forwards: 70\r\nFrom: <sip:s%d@127.0.0.1:%d>;tag=i%d\r\nTo: %.*s\r\nCall-ID: i%d.%d@127.0.0.1\r\n"
        "CSeq: 1 ACK\r\nContent-Length: 0\r\n\r\n",
        i, options.own_port, transport(), via(), options.own_port, i, generation, i, options.own_port, i, to, to_value, i,
        generation);
}

void send_message(const char *id, int i, const char *body, long size) {
    say(sip,
        "MESSAGE sip:s%d@127.0.0.1:%d%s SIP/2.0\r\nVia: SIP/2.0/%s 127.0.0.1:%d;branch=z9hG4bK%s;rport\r\n"
        "Max-Forwards: 70\r\nFrom: \"P\" <sip:p%d@127.0.0.1:%d>;tag=%s\r\nTo: <sip:s%d@127.0.0.1:%d>\r\n"
        "Call-ID: %s@127.0.0.1\r\nCSeq: 1 MESSAGE\r\nContact: <sip:p%d@127.0.0.1:%d>\r\nUser-Agent: drive\r\n"
        "Content-Type: text/plain\r\nContent-Length: %ld\r\n\r\n%.*s",
        i, options.own_port, transport(), via(), options.own_port, id, i, options.own_port, id, i, options.own_port, id,
        i, options.own_port, size, (int)size, body);
}

static void response(char *text, char *body) {
    int status = atoi(text + 8), size;
    /* Our branch says what is answered: its first letter the request, the rest whose. */
    const char *id = strstr(text, "branch=z9hG4bK");
    if (status < 200) return;
    if (!id || !line(text, "\r\nVia: ", &size)) fail("a response without our branch");
    id += 14;
    if (*id == 'c') {
        answered(strtol(id + 1, 0, 16), status);
        return;
    }
    int i = atoi(id + 1);
    if (status >= 300 && forgiving()) {
        if (*id == 'i') acknowledge_refusal(text, i), cycle_refused(i, status);
        return;
    }
    if (status >= 300) fail("SIP response %.*s to %c%d", (int)strcspn(text, "\r"), text, *id, i);
    if (*id == 'i') {
        if (!session[i].bye) learn_path(i, body), keep_bye(i, text, "\r\nFrom: ", "\r\nTo: ", "");
        acknowledge(text, i);
        session[i].opened = 1;
        bind_session(i);
    } else if (*id == 'o') {
        session[i].opened = 1;
        came_up(i);
    } else if (*id == 'b')
        session_closed(i);
}

void sip_received(struct conn *conn) {
    char *text = conn->in, *limit = conn->in + conn->fill, *stop;
    *limit = 0;
    while (!conn->ended && text < limit && (stop = strstr(text, "\r\n\r\n"))) {
        int digits = 0;
        const char *length = line(text, "\r\nContent-Length: ", &digits);
        long size = length && length < stop ? atol(length) : conn->kind == DATAGRAMS ? limit - stop - 4 : 0;
        char *end = stop + 4 + size, kept;
        if (end > limit) break;
        kept = *end, *end = 0, *stop = 0;
        if (!strncmp(text, "SIP/2.0 ", 8))
            response(text, size ? stop + 2 : 0);
        else
            request(conn, text, stop + 4, size);
        *end = kept, text = end;
    }
    conn->fill = conn->kind == DATAGRAMS ? 0 : limit - text;
    memmove(conn->in, text, conn->fill);
}
