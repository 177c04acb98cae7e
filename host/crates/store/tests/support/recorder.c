/* Records what a process does to the files below NEXUS_RECORD_ROOT, for the power-cut test: every write with its bytes,
 * every truncation, sync, creation, rename and removal, in order, appended to the file NEXUS_RECORD_TRACE. Loaded with
 * LD_PRELOAD. One lock is held over each call and its record, so the trace is the order in which the kernel saw them.
 *
 * A record: kind (1 byte), path length (u32), path, offset (u64), data length (u32), data; little-endian. A rename's data
 * is the new path. A line of text that the process writes to descriptor 1 becomes a record of kind 'A' (what it said).
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#define MAX_FD 4096

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char *paths[MAX_FD];
static const char *root;
static int trace = -1;

__attribute__((constructor)) static void start(void) {
    root = getenv("NEXUS_RECORD_ROOT");
    const char *to = getenv("NEXUS_RECORD_TRACE");
    if (root && to)
        trace = syscall(SYS_openat, AT_FDCWD, to, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static int ours(const char *path) { return trace >= 0 && path && strncmp(path, root, strlen(root)) == 0; }

static void put(const void *from, size_t len) {
    const char *at = from;
    while (len > 0) {
        ssize_t done = syscall(SYS_write, trace, at, len);
        if (done <= 0) {
            if (errno == EINTR) continue;
            _exit(97); /* a trace with a hole proves nothing */
        }
        at += done;
        len -= (size_t)done;
    }
}

static void record(char kind, const char *path, uint64_t offset, const void *data, uint32_t len) {
    uint32_t path_len = (uint32_t)strlen(path);
    put(&kind, 1);
    put(&path_len, 4);
    put(path, path_len);
    put(&offset, 8);
    put(&len, 4);
    put(data, len);
}

static const char *path_of(int fd) { return fd >= 0 && fd < MAX_FD ? paths[fd] : NULL; }

/* The whole path of a name that may be relative to an open directory. */
static const char *whole(int dir, const char *name, char *into, size_t room) {
    if (name[0] == '/' || !path_of(dir)) return name;
    snprintf(into, room, "%s/%s", path_of(dir), name);
    return into;
}

static int open_common(int dir, const char *name, int flags, mode_t mode) {
    char joined[PATH_MAX];
    pthread_mutex_lock(&lock);
    const char *path = whole(dir, name, joined, sizeof joined);
    int known = ours(path);
    int fresh = known && (flags & O_CREAT) && syscall(SYS_faccessat, AT_FDCWD, path, F_OK) != 0;
    int fd = (int)syscall(SYS_openat, dir, name, flags | O_LARGEFILE, mode);
    int error = errno;
    if (fd >= 0 && fd < MAX_FD) {
        free(paths[fd]);
        paths[fd] = known ? strdup(path) : NULL;
        if (fresh) record('C', path, 0, "", 0);
        if (known && !fresh && (flags & O_TRUNC)) record('T', path, 0, "", 0);
    }
    pthread_mutex_unlock(&lock);
    errno = error;
    return fd;
}

#define OPEN(name, has_dir)                                                                 \
    int name(has_dir const char *path, int flags, ...) {                                     \
        mode_t mode = 0;                                                                    \
        if (flags & (O_CREAT | O_TMPFILE)) {                                                \
            va_list rest;                                                                   \
            va_start(rest, flags);                                                          \
            mode = (mode_t)va_arg(rest, int);                                               \
            va_end(rest);                                                                   \
        }                                                                                   \
        return open_common(DIRECTORY, path, flags, mode);                                   \
    }
#define COMMA ,
#define DIRECTORY AT_FDCWD
OPEN(open, )
OPEN(open64, )
#undef DIRECTORY
#define DIRECTORY dir
OPEN(openat, int dir COMMA)
OPEN(openat64, int dir COMMA)

int close(int fd) {
    pthread_mutex_lock(&lock);
    if (fd >= 0 && fd < MAX_FD) {
        free(paths[fd]);
        paths[fd] = NULL;
    }
    int result = (int)syscall(SYS_close, fd);
    pthread_mutex_unlock(&lock);
    return result;
}

/* Removing a tree opens its directories and reads them as streams. */
int closedir(DIR *stream) {
    int (*next)(DIR *) = (int (*)(DIR *))dlsym(RTLD_NEXT, "closedir");
    pthread_mutex_lock(&lock);
    int fd = dirfd(stream);
    if (fd >= 0 && fd < MAX_FD) {
        free(paths[fd]);
        paths[fd] = NULL;
    }
    int result = next(stream);
    pthread_mutex_unlock(&lock);
    return result;
}

int unlinkat(int dir, const char *name, int flags) {
    char joined[PATH_MAX];
    pthread_mutex_lock(&lock);
    const char *path = whole(dir, name, joined, sizeof joined);
    int result = (int)syscall(SYS_unlinkat, dir, name, flags);
    int error = errno;
    if (result == 0 && ours(path)) record('U', path, 0, "", 0);
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}

ssize_t pwrite64(int fd, const void *data, size_t len, off64_t offset) {
    pthread_mutex_lock(&lock);
    ssize_t done = syscall(SYS_pwrite64, fd, data, len, offset);
    int error = errno;
    if (done > 0 && path_of(fd)) record('W', path_of(fd), (uint64_t)offset, data, (uint32_t)done);
    pthread_mutex_unlock(&lock);
    errno = error;
    return done;
}

ssize_t pwrite(int fd, const void *data, size_t len, off_t offset) { return pwrite64(fd, data, len, offset); }

ssize_t write(int fd, const void *data, size_t len) {
    pthread_mutex_lock(&lock);
    off_t offset = path_of(fd) ? (off_t)syscall(SYS_lseek, fd, 0, SEEK_CUR) : 0;
    ssize_t done = syscall(SYS_write, fd, data, len);
    int error = errno;
    if (done > 0 && path_of(fd)) record('W', path_of(fd), (uint64_t)offset, data, (uint32_t)done);
    if (done > 0 && fd == 1 && trace >= 0) record('A', "", 0, data, (uint32_t)done);
    pthread_mutex_unlock(&lock);
    errno = error;
    return done;
}

int ftruncate64(int fd, off64_t len) {
    pthread_mutex_lock(&lock);
    int result = (int)syscall(SYS_ftruncate, fd, len);
    int error = errno;
    if (result == 0 && path_of(fd)) record('T', path_of(fd), (uint64_t)len, "", 0);
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}

int ftruncate(int fd, off_t len) { return ftruncate64(fd, len); }

static int sync_common(long number, int fd) {
    pthread_mutex_lock(&lock);
    int result = (int)syscall(number, fd);
    int error = errno;
    if (result == 0 && path_of(fd)) record('S', path_of(fd), 0, "", 0);
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}

int fsync(int fd) { return sync_common(SYS_fsync, fd); }
int fdatasync(int fd) { return sync_common(SYS_fdatasync, fd); }

#define PATH_CALL(name, kind, parameters, from, to, to_len, number, ...)                    \
    int name parameters {                                                                   \
        pthread_mutex_lock(&lock);                                                          \
        int result = (int)syscall(number, __VA_ARGS__);                                     \
        int error = errno;                                                                  \
        if (result == 0 && ours(from)) record(kind, from, 0, to, (uint32_t)(to_len));       \
        pthread_mutex_unlock(&lock);                                                        \
        errno = error;                                                                      \
        return result;                                                                      \
    }
PATH_CALL(rename, 'R', (const char *from, const char *to), from, to, strlen(to), SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0)
PATH_CALL(unlink, 'U', (const char *path), path, "", 0, SYS_unlinkat, AT_FDCWD, path, 0)
PATH_CALL(rmdir, 'U', (const char *path), path, "", 0, SYS_unlinkat, AT_FDCWD, path, AT_REMOVEDIR)
PATH_CALL(mkdir, 'D', (const char *path, mode_t mode), path, "", 0, SYS_mkdirat, AT_FDCWD, path, mode)
