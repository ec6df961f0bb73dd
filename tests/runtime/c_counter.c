/* Counts what a step must not do: memory taken or freed, and locks.  Preloaded before the C library. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stddef.h>

long counted_calls = 0;

extern void* __libc_malloc(size_t);
extern void* __libc_calloc(size_t, size_t);
extern void* __libc_realloc(void*, size_t);
extern void* __libc_memalign(size_t, size_t);
extern void __libc_free(void*);

void* malloc(size_t n) { return ++counted_calls, __libc_malloc(n); }
void* calloc(size_t n, size_t size) { return ++counted_calls, __libc_calloc(n, size); }
void* realloc(void* p, size_t n) { return ++counted_calls, __libc_realloc(p, n); }
void* aligned_alloc(size_t to, size_t n) { return ++counted_calls, __libc_memalign(to, n); }
void* memalign(size_t to, size_t n) { return ++counted_calls, __libc_memalign(to, n); }
void free(void* p) { ++counted_calls, __libc_free(p); }

int pthread_mutex_lock(pthread_mutex_t* mutex) {
  static int (*next)(pthread_mutex_t*);
  ++counted_calls;
  if (!next) *(void**)&next = dlsym(RTLD_NEXT, "pthread_mutex_lock");
  return next(mutex);
}
