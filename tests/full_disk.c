/* A disk that is full at one write, or from it on: of what is written under a folder, the call of that number fails.
   cc -shared -fPIC -o full_disk.so full_disk.c -ldl */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static char under[PATH_MAX];
static long first, last;
static atomic_long seen;

/* of the calls from 1 on, those from `from` to `to` fail; 0 and 0 count alone */
void arm(const char *folder, long from, long to) {
    snprintf(under, sizeof under, "%s", folder);
    first = from, last = to, seen = 0;
}

long written(void) { return seen; }

static int full(const char *path) {
    if (!under[0] || strncmp(path, under, strlen(under))) return 0;
    long now = ++seen;
    if (now < first || now > last) return 0;
    errno = ENOSPC;
    return 1;
}

static int full_at(int at, const char *path) {
    char name[PATH_MAX], link[64];
    if (path[0] == '/') return full(path);
    snprintf(link, sizeof link, at == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", at);
    ssize_t length = readlink(link, name, sizeof name - 1);
    if (length < 0) return 0;
    snprintf(name + length, sizeof name - length, "/%s", path);
    return full(name);
}

static int full_file(int file) {
    char name[PATH_MAX], link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, name, sizeof name - 1);
    if (length < 0) return 0;
    name[length] = 0;
    return full(name);
}

#define REAL(name) ({ static __typeof__(&name) real; if (!real) real = dlsym(RTLD_NEXT, #name); real; })
#define MODE va_list rest; va_start(rest, flags); mode_t mode = va_arg(rest, mode_t); va_end(rest)
#define NEW (flags & O_CREAT && full_at(at, path))

int open(const char *path, int flags, ...) { int at = AT_FDCWD; MODE; return NEW ? -1 : REAL(open)(path, flags, mode); }
int open64(const char *path, int flags, ...) { int at = AT_FDCWD; MODE; return NEW ? -1 : REAL(open64)(path, flags, mode); }
int openat(int at, const char *path, int flags, ...) { MODE; return NEW ? -1 : REAL(openat)(at, path, flags, mode); }
int openat64(int at, const char *path, int flags, ...) { MODE; return NEW ? -1 : REAL(openat64)(at, path, flags, mode); }
ssize_t write(int f, const void *data, size_t n) { return full_file(f) ? -1 : REAL(write)(f, data, n); }
ssize_t writev(int f, const struct iovec *data, int n) { return full_file(f) ? -1 : REAL(writev)(f, data, n); }
ssize_t pwrite64(int f, const void *data, size_t n, off64_t at) { return full_file(f) ? -1 : REAL(pwrite64)(f, data, n, at); }
ssize_t sendfile64(int to, int from, off64_t *at, size_t n);
ssize_t sendfile64(int to, int from, off64_t *at, size_t n) { return full_file(to) ? -1 : REAL(sendfile64)(to, from, at, n); }
int ftruncate64(int f, off64_t n) { return full_file(f) ? -1 : REAL(ftruncate64)(f, n); }
int fsync(int f) { return full_file(f) ? -1 : REAL(fsync)(f); }
int fdatasync(int f) { return full_file(f) ? -1 : REAL(fdatasync)(f); }
int rename(const char *from, const char *to) { return full_at(AT_FDCWD, to) ? -1 : REAL(rename)(from, to); }
int link(const char *from, const char *to) { return full_at(AT_FDCWD, to) ? -1 : REAL(link)(from, to); }
int mkdir(const char *path, mode_t mode) { return full_at(AT_FDCWD, path) ? -1 : REAL(mkdir)(path, mode); }
