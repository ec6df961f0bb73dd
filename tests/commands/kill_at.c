/* Preloaded into a process: kills it before, or halfway through, the n-th of its operations on the files of one folder. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[4096];
static long left = -1, seen = 0;
static int halfway = 0;

/* Watch a folder; n < 0 only counts.  With half, a write is half done before the kill. */
void arm(const char* watched, long n, int half) {
  snprintf(folder, sizeof folder, "%s", watched);
  left = n;
  halfway = half;
  seen = 0;
}

long operations(void) { return seen; }

static int inside(int fd, const char* path) {
  char link[64], found[4096];
  if (!folder[0]) return 0;
  if (path && path[0] == '/') return !strncmp(path, folder, strlen(folder));
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const ssize_t length = readlink(link, found, sizeof found - 1);
  if (length < 0) return 0;
  found[length] = 0;
  return !strncmp(found, folder, strlen(folder));
}

static int due(int fd, const char* path) { return inside(fd, path) && seen++ == left; }
static void die(void) { kill(getpid(), SIGKILL); }

#define REAL(name) __typeof__(&name) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

#define BY_PATH(type, name, path, parameters, arguments) \
  type name parameters {                                 \
    REAL(name);                                          \
    if (due(-1, path)) die();                            \
    return real arguments;                               \
  }
#define BY_FILE(type, name, parameters, arguments) \
  type name parameters {                           \
    REAL(name);                                    \
    if (due(fd, NULL)) die();                      \
    return real arguments;                         \
  }
#define WRITING(name, parameters, first_half, arguments) \
  ssize_t name parameters {                              \
    REAL(name);                                          \
    if (due(fd, NULL)) {                                 \
      if (halfway) (void)!real first_half;               \
      die();                                             \
    }                                                    \
    return real arguments;                               \
  }
#define OPENING(name)                                                   \
  int name(const char* path, int flags, ...) {                          \
    REAL(name);                                                         \
    va_list rest;                                                       \
    va_start(rest, flags);                                              \
    const mode_t mode = va_arg(rest, mode_t);                           \
    va_end(rest);                                                       \
    if ((flags & (O_CREAT | O_WRONLY | O_RDWR)) && due(-1, path)) die(); \
    return real(path, flags, mode);                                     \
  }

OPENING(open)
OPENING(open64)
BY_PATH(int, mkdir, path, (const char* path, mode_t mode), (path, mode))
BY_PATH(int, rename, from, (const char* from, const char* to), (from, to))
BY_PATH(int, unlink, path, (const char* path), (path))
BY_PATH(int, rmdir, path, (const char* path), (path))
BY_PATH(int, truncate, path, (const char* path, off_t size), (path, size))
BY_PATH(int, truncate64, path, (const char* path, off64_t size), (path, size))
BY_FILE(int, fsync, (int fd), (fd))
BY_FILE(int, ftruncate, (int fd, off_t size), (fd, size))
BY_FILE(int, ftruncate64, (int fd, off64_t size), (fd, size))
BY_FILE(int, flock, (int fd, int how), (fd, how))
WRITING(write, (int fd, const void* data, size_t size), (fd, data, size / 2), (fd, data, size))
WRITING(pwrite, (int fd, const void* data, size_t size, off_t at), (fd, data, size / 2, at), (fd, data, size, at))
WRITING(pwrite64, (int fd, const void* data, size_t size, off64_t at), (fd, data, size / 2, at), (fd, data, size, at))

int unlinkat(int fd, const char* path, int flags) {
  REAL(unlinkat);
  if (due(fd, path)) die();
  return real(fd, path, flags);
}
