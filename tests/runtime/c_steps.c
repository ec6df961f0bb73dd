/* A thousand steps between two counts.  Arguments: folder, rows.  With `counted_calls` of c_counter.c preloaded it prints
 * how many were made in between; two writes of a mark enclose the steps in a trace of system calls. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "unrolled.h"

extern long counted_calls __attribute__((weak));

static long calls(void) { return &counted_calls ? counted_calls : -1; }

int main(int count, char** arguments) {
  size_t rows = count > 2 ? (size_t)atol(arguments[2]) : 1, k, n;
  unrolled_model* model = unrolled_load(arguments[1]);
  unrolled_stream* stream = model ? unrolled_open(model, rows) : NULL;
  float* x;
  int64_t* symbols;
  long before, after;
  if (!stream) return fprintf(stderr, "%s\n", unrolled_error()), 1;
  n = rows * unrolled_input(model);
  x = malloc(n * sizeof *x);
  symbols = calloc(rows, sizeof *symbols);
  for (k = 0; k < n; ++k) x[k] = (float)(k % 7) - 3;
  if (write(2, "<steps>\n", 8) != 8) return 1;
  before = calls();
  for (k = 0; k < 1000; ++k) {
    if (unrolled_reads_symbols(model) ? unrolled_step_symbols(stream, symbols) : unrolled_step(stream, x)) return 1;
  }
  after = calls();
  if (write(2, "</steps>\n", 9) != 9) return 1;
  printf("%ld %ld\n", after - before, before);
  unrolled_close(stream);
  unrolled_free(model);
  free(x), free(symbols);
  return 0;
}
