/* Runs a model from C, as a host would.  Arguments: folder, rows, steps, a file of inputs (float, or int64 symbols), a
 * file for the outputs (steps, rows, width). */
#include <stdio.h>
#include <stdlib.h>

#include "unrolled.h"

static int fail(const char* what) {
  fprintf(stderr, "%s: %s\n", what, unrolled_error());
  return 1;
}

int main(int count, char** arguments) {
  size_t rows, steps, numbers, width, t, k;
  int symbols, failed = 0;
  unrolled_model* model;
  unrolled_stream* stream;
  void* x;
  float *y, *state, *again;
  FILE* file;

  if (count != 6) return 2;
  if (unrolled_version()[0] == '\0' || unrolled_error()[0] != '\0') return 2;
  model = unrolled_load(arguments[1]);
  if (!model) return fail("load");
  rows = (size_t)atol(arguments[2]);
  steps = (size_t)atol(arguments[3]);
  symbols = unrolled_reads_symbols(model);
  width = unrolled_width(model);
  numbers = symbols ? steps * rows : steps * rows * unrolled_input(model);
  stream = unrolled_open(model, rows);
  if (!stream) return fail("open");
  state = malloc(unrolled_state_size(model) * sizeof *state);
  again = malloc(unrolled_state_size(model) * sizeof *state);
  unrolled_free(model);

  x = malloc(numbers * (symbols ? sizeof(int64_t) : sizeof(float)));
  y = malloc(steps * rows * width * sizeof *y);
  file = fopen(arguments[4], "rb");
  if (!x || !y || !state || !again || !file) return 2;
  if (fread(x, symbols ? sizeof(int64_t) : sizeof(float), numbers, file) != numbers) return 2;
  fclose(file);

  if (unrolled_get_state(stream, rows, state) != -1 || unrolled_error()[0] == '\0') return 2;
  if (unrolled_get_state(stream, 0, again) != 0) return fail("get_state");

  /* Half of the steps in one call, the rest one by one; the first once more from the state before. */
  failed = symbols ? unrolled_feed_symbols(stream, x, steps / 2, y) : unrolled_feed(stream, x, steps / 2, y);
  for (t = steps / 2; t < steps && !failed; ++t) {
    if (symbols) {
      failed = unrolled_step_symbols(stream, (const int64_t*)x + t * rows);
    } else {
      failed = unrolled_step(stream, (const float*)x + t * (numbers / steps));
    }
    for (k = 0; k < rows * width; ++k) y[t * rows * width + k] = unrolled_output(stream)[k];
  }
  if (failed) return fail("step");

  unrolled_reset(stream);
  unrolled_get_state(stream, 0, state);
  for (k = 0; k < numbers && k < 1; ++k) {
    if (state[0] != again[0]) return 2;
  }
  if (unrolled_reset_row(stream, 0) != 0 || unrolled_set_state(stream, 0, state) != 0) return fail("set_state");

  file = fopen(arguments[5], "wb");
  if (!file || fwrite(y, sizeof *y, steps * rows * width, file) != steps * rows * width) return 2;
  fclose(file);
  unrolled_close(stream);
  free(x), free(y), free(state), free(again);
  return 0;
}
