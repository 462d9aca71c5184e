/* LD_PRELOADed: while the file named by FAILING_DISK exists, reads or writes of the engine's database fail with EIO.
 * The file holds the letters of what fails: r reads, w writes, s syncs. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int fails(int fd, char kind) {
    const char *flag = getenv("FAILING_DISK");
    if (!flag || access(flag, F_OK)) return 0;
    char link[64], target[4096], kinds[8] = "";
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, target, sizeof target - 1);
    if (length < 0) return 0;
    target[length] = 0;
    if (!strstr(target, "/firedeck.db")) return 0;
    FILE *file = fopen(flag, "r");
    if (!file) return 0;
    size_t got = fread(kinds, 1, sizeof kinds - 1, file);
    fclose(file);
    kinds[got] = 0;
    if (!strchr(kinds, kind)) return 0;
    errno = EIO;
    return 1;
}

#define REAL(name) __typeof__(name) *real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

ssize_t pread64(int fd, void *to, size_t n, off64_t at) { if (fails(fd, 'r')) return -1; REAL(pread64); return real(fd, to, n, at); }
ssize_t pread(int fd, void *to, size_t n, off_t at) { if (fails(fd, 'r')) return -1; REAL(pread); return real(fd, to, n, at); }
ssize_t pwrite64(int fd, const void *from, size_t n, off64_t at) { if (fails(fd, 'w')) return -1; REAL(pwrite64); return real(fd, from, n, at); }
ssize_t pwrite(int fd, const void *from, size_t n, off_t at) { if (fails(fd, 'w')) return -1; REAL(pwrite); return real(fd, from, n, at); }
ssize_t write(int fd, const void *from, size_t n) { if (fails(fd, 'w')) return -1; REAL(write); return real(fd, from, n); }
int fdatasync(int fd) { if (fails(fd, 's')) return -1; REAL(fdatasync); return real(fd); }
int fsync(int fd) { if (fails(fd, 's')) return -1; REAL(fsync); return real(fd); }
