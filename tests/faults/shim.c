/* A preloaded library that makes one system call below a folder fail, also in libraries written in Rust or C++.

   `fault_arm` names the folder and which call is to fail: the n-th one (0: none) that opens, writes, syncs, renames,
   creates or removes something below it. Every such call is logged to a file descriptor, one line each:
   number, tab, name of the call, tab, path. Calls that change files elsewhere are logged with the number 0.

   It sees what goes through the C library: not the one rename that safetensors does with a raw system call. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static char folder[PATH_MAX];
static size_t folder_length;
static long fails, counted;
static int with_error, log_to = -1;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void fault_arm(const char *path, long number, int error, int log_descriptor)
{
    snprintf(folder, sizeof folder, "%s", path);
    folder_length = strlen(folder);
    counted = 0;
    fails = number;
    with_error = error;
    log_to = log_descriptor;
}

static void note(long number, const char *name, const char *path)
{
    char line[PATH_MAX + 64];
    int length = snprintf(line, sizeof line, "%ld\t%s\t%s\n", number, name, path);
    if (log_to >= 0 && length > 0)
        syscall(SYS_write, log_to, line, length < (int)sizeof line ? (size_t)length : sizeof line - 1);
}

/* Whether this call fails; `changes` says if it changes files. */
static int hit(const char *name, const char *path, int changes)
{
    if (!folder_length)
        return 0;
    if (strncmp(path, folder, folder_length) || (path[folder_length] != '/' && path[folder_length])) {
        if (changes && path[0] == '/' && strncmp(path, "/dev/", 5) && strncmp(path, "/proc/", 6))
            note(0, name, path);
        return 0;
    }
    pthread_mutex_lock(&lock);
    long number = ++counted;
    pthread_mutex_unlock(&lock);
    note(number, name, path);
    if (fails && number == fails) {
        errno = with_error;
        return 1;
    }
    return 0;
}

static const char *of_descriptor(int descriptor, char *buffer)
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, buffer, PATH_MAX - 1);
    buffer[length > 0 ? length : 0] = 0;
    return buffer;
}

static const char *of_path(int at, const char *path, char *buffer)
{
    char base[PATH_MAX];
    if (!path || path[0] == '/')
        return path ? path : "";
    if (at == AT_FDCWD) {
        if (!getcwd(base, sizeof base))
            return path;
    } else {
        of_descriptor(at, base);
    }
    snprintf(buffer, PATH_MAX, "%.2000s/%.2000s", base, path);
    return buffer;
}

#define FIND(name)                                                                                                     \
    if (!real)                                                                                                         \
        real = dlsym(RTLD_NEXT, name)
#define WRITES(flags) (((flags) & O_ACCMODE) != O_RDONLY || ((flags) & (O_CREAT | O_TRUNC)))

static int opening(int at, const char *path, int flags)
{
    char buffer[PATH_MAX];
    if (!folder_length)
        return 0;
    return hit(WRITES(flags) ? "open to write" : "open", of_path(at, path, buffer), WRITES(flags));
}

static int on_descriptor(const char *name, int descriptor)
{
    char buffer[PATH_MAX];
    return folder_length ? hit(name, of_descriptor(descriptor, buffer), 1) : 0;
}

static int on_path(const char *name, int at, const char *path)
{
    char buffer[PATH_MAX];
    return folder_length ? hit(name, of_path(at, path, buffer), 1) : 0;
}

#define OPEN(name)                                                                                                     \
    int name(const char *path, int flags, ...)                                                                         \
    {                                                                                                                  \
        static int (*real)(const char *, int, ...);                                                                    \
        va_list more;                                                                                                  \
        va_start(more, flags);                                                                                         \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;                                        \
        va_end(more);                                                                                                  \
        FIND(#name);                                                                                                   \
        return opening(AT_FDCWD, path, flags) ? -1 : real(path, flags, mode);                                          \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                                                                   \
    int name(int at, const char *path, int flags, ...)                                                                 \
    {                                                                                                                  \
        static int (*real)(int, const char *, int, ...);                                                               \
        va_list more;                                                                                                  \
        va_start(more, flags);                                                                                         \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;                                        \
        va_end(more);                                                                                                  \
        FIND(#name);                                                                                                   \
        return opening(at, path, flags) ? -1 : real(at, path, flags, mode);                                            \
    }
OPENAT(openat)
OPENAT(openat64)

#define FOPEN(name)                                                                                                    \
    FILE *name(const char *path, const char *mode)                                                                     \
    {                                                                                                                  \
        static FILE *(*real)(const char *, const char *);                                                              \
        FIND(#name);                                                                                                   \
        return opening(AT_FDCWD, path, strpbrk(mode, "wa+") ? O_WRONLY : O_RDONLY) ? NULL : real(path, mode);          \
    }
FOPEN(fopen)
FOPEN(fopen64)

#define CALL(type, failed, check, name, parameters, values)                                                            \
    type name parameters                                                                                               \
    {                                                                                                                  \
        static type(*real) parameters;                                                                                 \
        FIND(#name);                                                                                                   \
        return check ? failed : real values;                                                                           \
    }
CALL(ssize_t, -1, on_descriptor("write", fd), write, (int fd, const void *data, size_t size), (fd, data, size))
CALL(ssize_t, -1, on_descriptor("write", fd), pwrite, (int fd, const void *data, size_t size, off_t at),
     (fd, data, size, at))
CALL(ssize_t, -1, on_descriptor("write", fd), pwrite64, (int fd, const void *data, size_t size, off64_t at),
     (fd, data, size, at))
CALL(ssize_t, -1, on_descriptor("write", fd), writev, (int fd, const struct iovec *parts, int n), (fd, parts, n))
CALL(size_t, 0, on_descriptor("write", fileno(file)), fwrite, (const void *data, size_t size, size_t n, FILE *file),
     (data, size, n, file))
CALL(ssize_t, -1, on_descriptor("write", to), sendfile, (int to, int from, off_t *at, size_t size),
     (to, from, at, size))
CALL(ssize_t, -1, on_descriptor("write", to), sendfile64, (int to, int from, off64_t *at, size_t size),
     (to, from, at, size))
CALL(ssize_t, -1, on_descriptor("write", to), copy_file_range,
     (int from, off64_t *at, int to, off64_t *into, size_t size, unsigned flags), (from, at, to, into, size, flags))
CALL(int, -1, on_descriptor("fsync", fd), fsync, (int fd), (fd))
CALL(int, -1, on_descriptor("fsync", fd), fdatasync, (int fd), (fd))
CALL(int, -1, on_descriptor("truncate", fd), ftruncate, (int fd, off_t size), (fd, size))
CALL(int, -1, on_descriptor("truncate", fd), ftruncate64, (int fd, off64_t size), (fd, size))
CALL(int, with_error, on_descriptor("allocate", fd), posix_fallocate, (int fd, off_t at, off_t size), (fd, at, size))
CALL(int, with_error, on_descriptor("allocate", fd), posix_fallocate64, (int fd, off64_t at, off64_t size),
     (fd, at, size))
CALL(int, -1, on_path("rename", AT_FDCWD, from), rename, (const char *from, const char *to), (from, to))
CALL(int, -1, on_path("rename", at, from), renameat, (int at, const char *from, int into, const char *to),
     (at, from, into, to))
CALL(int, -1, on_path("link", AT_FDCWD, to), link, (const char *from, const char *to), (from, to))
CALL(int, -1, on_path("link", AT_FDCWD, to), symlink, (const char *from, const char *to), (from, to))
CALL(int, -1, on_path("mkdir", AT_FDCWD, path), mkdir, (const char *path, mode_t mode), (path, mode))
CALL(int, -1, on_path("mkdir", at, path), mkdirat, (int at, const char *path, mode_t mode), (at, path, mode))
CALL(int, -1, on_path("chmod", AT_FDCWD, path), chmod, (const char *path, mode_t mode), (path, mode))
CALL(int, -1, on_descriptor("chmod", fd), fchmod, (int fd, mode_t mode), (fd, mode))
CALL(int, -1, on_path("remove", AT_FDCWD, path), unlink, (const char *path), (path))
CALL(int, -1, on_path("remove", at, path), unlinkat, (int at, const char *path, int flags), (at, path, flags))
CALL(int, -1, on_path("remove", AT_FDCWD, path), rmdir, (const char *path), (path))
