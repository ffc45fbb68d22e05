/* A disk that fails on demand: put in front of the C library with LD_PRELOAD.
 *
 * Calls that change files below a folder are numbered from 1 after faults_arm(). The chosen one
 * fails, or the process dies there; "lasting" faults go on failing, as a full disk does. A log can
 * be written, a line for each call: its name and the file.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind { NONE, IO_ERROR, FULL, SHORT, DIE };

static char folder[4096];
static enum kind kind;
static long chosen, seen;
static int armed, lasting, log_fd = -1;

/* Number the calls below `where` from now on; the `at`-th (0: none) goes wrong. */
void faults_arm(const char *where, int what, long at, int for_good, const char *log)
{
    snprintf(folder, sizeof folder, "%s", where);
    kind = what;
    chosen = at;
    lasting = for_good;
    seen = 0;
    log_fd = log ? syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND, 0600) : -1;
    armed = 1;
}

void faults_disarm(void)
{
    armed = 0;
    if (log_fd >= 0)
        syscall(SYS_close, log_fd);
    log_fd = -1;
}

/* Files from this one's byte `from` to `to` cannot be read; "" for none. */
static char unreadable[4096];
static off64_t bad_from, bad_to;

void faults_unreadable(const char *path, off64_t from, off64_t to)
{
    snprintf(unreadable, sizeof unreadable, "%s", path);
    bad_from = from;
    bad_to = to;
}

static int name_of(int fd, char *path, size_t size)
{
    char link[64];
    ssize_t n;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    n = readlink(link, path, size - 1);
    if (n < 0)
        return 0;
    path[n] = 0;
    return 1;
}

/* Whether this call goes wrong, and how. */
static enum kind fate(const char *call, const char *path)
{
    char line[4300];
    size_t n = strlen(folder);
    if (strncmp(path, folder, n) != 0 || path[n] != '/')
        return NONE;
    seen++;
    if (log_fd >= 0) {
        int length = snprintf(line, sizeof line, "%s %s\n", call, path + n + 1);
        syscall(SYS_write, log_fd, line, length);
    }
    if (chosen == 0 || seen < chosen || (seen > chosen && !lasting))
        return NONE;
    if (kind == DIE) {
        kill(getpid(), SIGKILL);
        for (;;)
            pause();
    }
    return kind;
}

static enum kind fate_of_fd(const char *call, int fd)
{
    char path[4096];
    return armed && name_of(fd, path, sizeof path) ? fate(call, path) : NONE;
}

static enum kind fate_at(const char *call, int at, const char *path)
{
    char whole[8300], base[4096];
    if (!armed || !path)
        return NONE;
    if (path[0] == '/')
        return fate(call, path);
    if (at == AT_FDCWD ? !getcwd(base, sizeof base) : !name_of(at, base, sizeof base))
        return NONE;
    snprintf(whole, sizeof whole, "%s/%s", base, path);
    return fate(call, whole);
}

static int failed(enum kind how)
{
    errno = how == FULL ? ENOSPC : EIO;
    return -1;
}

#define REAL(result, name, ...)                                                                    \
    static result (*real)(__VA_ARGS__);                                                            \
    if (!real)                                                                                     \
        real = dlsym(RTLD_NEXT, #name)

/* A short write writes half, then reports that: the caller must notice. */
ssize_t write(int fd, const void *data, size_t n)
{
    REAL(ssize_t, write, int, const void *, size_t);
    enum kind how = fate_of_fd("write", fd);
    if (how == SHORT)
        return real(fd, data, n / 2);
    return how ? failed(how) : real(fd, data, n);
}

ssize_t pwrite(int fd, const void *data, size_t n, off_t at)
{
    REAL(ssize_t, pwrite, int, const void *, size_t, off_t);
    enum kind how = fate_of_fd("pwrite", fd);
    if (how == SHORT)
        return real(fd, data, n / 2, at);
    return how ? failed(how) : real(fd, data, n, at);
}

ssize_t pwrite64(int fd, const void *data, size_t n, off64_t at)
{
    REAL(ssize_t, pwrite64, int, const void *, size_t, off64_t);
    enum kind how = fate_of_fd("pwrite", fd);
    if (how == SHORT)
        return real(fd, data, n / 2, at);
    return how ? failed(how) : real(fd, data, n, at);
}

ssize_t writev(int fd, const struct iovec *data, int n)
{
    REAL(ssize_t, writev, int, const struct iovec *, int);
    enum kind how = fate_of_fd("write", fd);
    return how ? failed(how) : real(fd, data, n);
}

ssize_t copy_file_range(int in, off64_t *from, int out, off64_t *to, size_t n, unsigned flags)
{
    REAL(ssize_t, copy_file_range, int, off64_t *, int, off64_t *, size_t, unsigned);
    enum kind how = fate_of_fd("write", out);
    return how ? failed(how) : real(in, from, out, to, n, flags);
}

ssize_t sendfile(int out, int in, off_t *from, size_t n)
{
    REAL(ssize_t, sendfile, int, int, off_t *, size_t);
    enum kind how = fate_of_fd("write", out);
    return how ? failed(how) : real(out, in, from, n);
}

ssize_t sendfile64(int out, int in, off64_t *from, size_t n)
{
    REAL(ssize_t, sendfile64, int, int, off64_t *, size_t);
    enum kind how = fate_of_fd("write", out);
    return how ? failed(how) : real(out, in, from, n);
}

static int lost(int fd, size_t n, off64_t at)
{
    char path[4096];
    return unreadable[0] && name_of(fd, path, sizeof path) && strcmp(path, unreadable) == 0 &&
           at < bad_to && at + (off64_t)n > bad_from;
}

ssize_t pread(int fd, void *data, size_t n, off_t at)
{
    REAL(ssize_t, pread, int, void *, size_t, off_t);
    return lost(fd, n, at) ? failed(IO_ERROR) : real(fd, data, n, at);
}

ssize_t pread64(int fd, void *data, size_t n, off64_t at)
{
    REAL(ssize_t, pread64, int, void *, size_t, off64_t);
    return lost(fd, n, at) ? failed(IO_ERROR) : real(fd, data, n, at);
}

int fsync(int fd)
{
    REAL(int, fsync, int);
    enum kind how = fate_of_fd("fsync", fd);
    return how ? failed(how) : real(fd);
}

int fdatasync(int fd)
{
    REAL(int, fdatasync, int);
    enum kind how = fate_of_fd("fsync", fd);
    return how ? failed(how) : real(fd);
}

int ftruncate(int fd, off_t n)
{
    REAL(int, ftruncate, int, off_t);
    enum kind how = fate_of_fd("ftruncate", fd);
    return how ? failed(how) : real(fd, n);
}

int ftruncate64(int fd, off64_t n)
{
    REAL(int, ftruncate64, int, off64_t);
    enum kind how = fate_of_fd("ftruncate", fd);
    return how ? failed(how) : real(fd, n);
}

int rename(const char *old, const char *new)
{
    REAL(int, rename, const char *, const char *);
    enum kind how = fate_at("rename", AT_FDCWD, new);
    return how ? failed(how) : real(old, new);
}

int renameat(int a, const char *old, int b, const char *new)
{
    REAL(int, renameat, int, const char *, int, const char *);
    enum kind how = fate_at("rename", b, new);
    return how ? failed(how) : real(a, old, b, new);
}

int link(const char *old, const char *new)
{
    REAL(int, link, const char *, const char *);
    enum kind how = fate_at("link", AT_FDCWD, new);
    return how ? failed(how) : real(old, new);
}

int linkat(int a, const char *old, int b, const char *new, int flags)
{
    REAL(int, linkat, int, const char *, int, const char *, int);
    enum kind how = fate_at("link", b, new);
    return how ? failed(how) : real(a, old, b, new, flags);
}

int unlink(const char *path)
{
    REAL(int, unlink, const char *);
    enum kind how = fate_at("unlink", AT_FDCWD, path);
    return how ? failed(how) : real(path);
}

int unlinkat(int at, const char *path, int flags)
{
    REAL(int, unlinkat, int, const char *, int);
    enum kind how = fate_at("unlink", at, path);
    return how ? failed(how) : real(at, path, flags);
}

int mkdir(const char *path, mode_t mode)
{
    REAL(int, mkdir, const char *, mode_t);
    enum kind how = fate_at("mkdir", AT_FDCWD, path);
    return how ? failed(how) : real(path, mode);
}

/* A new file is an entry of its folder: making one may fail too. */
#define OPENS(call)                                                                  \
    {                                                                                              \
        mode_t mode = 0;                                                                           \
        enum kind how = NONE;                                                                      \
        if (flags & O_CREAT) {                                                                     \
            va_list rest;                                                                          \
            va_start(rest, flags);                                                                 \
            mode = va_arg(rest, mode_t);                                                           \
            va_end(rest);                                                                          \
            if (armed && faccessat(at, path, F_OK, AT_SYMLINK_NOFOLLOW) != 0)                               \
                how = fate_at("create", at, path);                                                        \
        }                                                                                          \
        return how ? failed(how) : call;                                                           \
    }

int open(const char *path, int flags, ...)
{
    REAL(int, open, const char *, int, ...);
    int at = AT_FDCWD;
    OPENS(real(path, flags, mode))
}

int open64(const char *path, int flags, ...)
{
    REAL(int, open64, const char *, int, ...);
    int at = AT_FDCWD;
    OPENS(real(path, flags, mode))
}

int openat(int at, const char *path, int flags, ...)
{
    REAL(int, openat, int, const char *, int, ...);
    OPENS(real(at, path, flags, mode))
}

int openat64(int at, const char *path, int flags, ...)
{
    REAL(int, openat64, int, const char *, int, ...);
    OPENS(real(at, path, flags, mode))
}
