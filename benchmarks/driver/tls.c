/* TLS by OpenSSL's library as it is installed to run programs: no headers, no link-time library. */
#include "drive.h"
#include <dlfcn.h>

enum { PEM = 1, WANT_READ = 2, WANT_WRITE = 3, MODE = 33, PARTIAL_AND_MOVING_WRITES = 3 };

static void *context;
static void *(*context_new)(const void *), *(*ssl_new)(void *);
static const void *(*method)(void);
static int (*use_chain)(void *, const char *), (*use_key)(void *, const char *, int);
static int (*set_fd)(void *, int), (*ssl_read)(void *, void *, int), (*ssl_write)(void *, const void *, int);
static int (*get_error)(void *, int);
static long (*control)(void *, int, long, void *);
static void (*connect_state)(void *), (*accept_state)(void *), (*ssl_free)(void *);

static void *find(void *library, const char *name) {
    void *found = dlsym(library, name);
    if (!found) fail("libssl has no %s", name);
    return found;
}

void start_tls(void) {
    void *library = dlopen("libssl.so.3", RTLD_NOW);
    if (!library) library = dlopen("libssl.so.1.1", RTLD_NOW);
    if (!library) fail("no libssl to load: %s", dlerror());
    *(void **)&method = find(library, "TLS_method");
    *(void **)&context_new = find(library, "SSL_CTX_new");
    *(void **)&ssl_new = find(library, "SSL_new");
    *(void **)&use_chain = find(library, "SSL_CTX_use_certificate_chain_file");
    *(void **)&use_key = find(library, "SSL_CTX_use_PrivateKey_file");
    *(void **)&set_fd = find(library, "SSL_set_fd");
    *(void **)&ssl_read = find(library, "SSL_read");
    *(void **)&ssl_write = find(library, "SSL_write");
    *(void **)&get_error = find(library, "SSL_get_error");
    *(void **)&control = find(library, "SSL_ctrl");
    *(void **)&connect_state = find(library, "SSL_set_connect_state");
    *(void **)&accept_state = find(library, "SSL_set_accept_state");
    *(void **)&ssl_free = find(library, "SSL_free");
    context = context_new(method());
    if (!context || use_chain(context, options.certificate) != 1 || use_key(context, options.certificate, PEM) != 1)
        fail("%s is no certificate with its key", options.certificate);
}

void wrap(struct conn *conn, int connects) {
    conn->tls = ssl_new(context);
    set_fd(conn->tls, conn->fd);
    control(conn->tls, MODE, PARTIAL_AND_MOVING_WRITES, 0);
    (connects ? connect_state : accept_state)(conn->tls);
}

static long result(struct conn *conn, int n) {
    if (n > 0) return n;
    int error = get_error(conn->tls, n);
    if (error == WANT_READ || error == WANT_WRITE) return errno = EAGAIN, -1;
    return errno = ECONNRESET, 0;
}

long tls_read(struct conn *conn, char *data, long size) { return result(conn, ssl_read(conn->tls, data, size)); }

long tls_write(struct conn *conn, const char *data, long size) { return result(conn, ssl_write(conn->tls, data, size)); }

void tls_free(struct conn *conn) { ssl_free(conn->tls); }
