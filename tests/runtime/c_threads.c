/* Two threads on one model.  Prints how many steps the second did, each from its beginning to its end, while the first
 * was inside one call.  Arguments: folder, steps of that call. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "unrolled.h"

static unrolled_model* model;
static int inside = 0; /* 1: the first thread is in its call; 2: it has no more */

static int now(void) { return __atomic_load_n(&inside, __ATOMIC_SEQ_CST); }
static void become(int what) { __atomic_store_n(&inside, what, __ATOMIC_SEQ_CST); }

static void* second(void* found) {
  unrolled_stream* stream = unrolled_open(model, 1);
  float* x = calloc(unrolled_input(model), sizeof *x);
  long steps = 0;
  int before;
  while ((before = now()) != 2 && steps < 100) {
    if (before != 1) continue;
    if (unrolled_step(stream, x) != 0) break;
    if (now() == 1) ++steps;
  }
  *(long*)found = steps;
  free(x);
  unrolled_close(stream);
  return NULL;
}

int main(int count, char** arguments) {
  size_t steps = count > 2 ? (size_t)atol(arguments[2]) : 1;
  unrolled_stream* stream;
  pthread_t thread;
  float* x;
  long found = 0;
  model = unrolled_load(arguments[1]);
  stream = model ? unrolled_open(model, 1) : NULL;
  if (!stream) return fprintf(stderr, "%s\n", unrolled_error()), 1;
  x = calloc(steps * unrolled_input(model), sizeof *x);
  if (!x || pthread_create(&thread, NULL, second, &found) != 0) return 2;
  become(1);
  if (unrolled_feed(stream, x, steps, NULL) != 0) return 1;
  become(2);
  pthread_join(thread, NULL);
  printf("%ld\n", found);
  free(x);
  unrolled_close(stream);
  unrolled_free(model);
  return 0;
}
