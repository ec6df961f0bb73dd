/* SPDX-License-Identifier: Apache-2.0
 * Models saved by unrolled, run from C.
 *
 * A model holds weights; it never changes, and any number of threads may use it at once.  A stream holds the state of
 * one or more rows that step together; only one thread at a time may use it.  Streams share the model's weights and no
 * lock.  After unrolled_open a step allocates no memory, takes no lock and makes no system call.
 *
 * Numbers are float.  Arrays are contiguous, rows first: x (rows, input), y (rows, output).
 * Functions that can fail return NULL or -1; unrolled_error says why, in a sentence.
 */
#ifndef UNROLLED_H
#define UNROLLED_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define UNROLLED_API __attribute__((visibility("default")))
#else
#define UNROLLED_API
#endif

typedef struct unrolled_model unrolled_model;
typedef struct unrolled_stream unrolled_stream;

/* The version of this library, "1.2.3". */
UNROLLED_API const char* unrolled_version(void);

/* Why the last call of this thread that failed did so; "" before any.  Valid until the next one that fails. */
UNROLLED_API const char* unrolled_error(void);

/* Loads a model folder: one of unrolled's training, of save_pretrained or of unrolled.nn.save.  NULL if it cannot. */
UNROLLED_API unrolled_model* unrolled_load(const char* folder);

/* Frees a model; streams that are open keep what they need of it.  NULL is allowed. */
UNROLLED_API void unrolled_free(unrolled_model* model);

/* Whether a step reads symbols rather than vectors; the numbers of a row's input (of symbols: how many there are) and
 * of its output: the head's, as saved, or the last layer's. */
UNROLLED_API int unrolled_reads_symbols(const unrolled_model* model);
UNROLLED_API size_t unrolled_input(const unrolled_model* model);
UNROLLED_API size_t unrolled_width(const unrolled_model* model);

/* Opens a stream of this many rows, in the model's initial state.  NULL if it cannot. */
UNROLLED_API unrolled_stream* unrolled_open(const unrolled_model* model, size_t rows);
UNROLLED_API void unrolled_close(unrolled_stream* stream);

/* One step of every row, of a model that reads vectors x (rows, input), or symbols (rows).  0, or -1 for a symbol that
 * the model does not know; then no row has moved. */
UNROLLED_API int unrolled_step(unrolled_stream* stream, const float* x);
UNROLLED_API int unrolled_step_symbols(unrolled_stream* stream, const int64_t* symbols);

/* The output (rows, width) after the last step, zeros before the first; the next step writes over it. */
UNROLLED_API const float* unrolled_output(const unrolled_stream* stream);

/* Many steps: x (steps, rows, input), symbols (steps, rows), y (steps, rows, width), or NULL for only the last output.
 * 0, or -1 for a symbol that the model does not know; the steps before it are done. */
UNROLLED_API int unrolled_feed(unrolled_stream* stream, const float* x, size_t steps, float* y);
UNROLLED_API int unrolled_feed_symbols(unrolled_stream* stream, const int64_t* symbols, size_t steps, float* y);

/* Returns all rows, or one, to the initial state. */
UNROLLED_API void unrolled_reset(unrolled_stream* stream);
UNROLLED_API int unrolled_reset_row(unrolled_stream* stream, size_t row);

/* The numbers of one row's state: h, and c of an LSTM, of each layer, bottom first.  A row's state can go to any row of
 * any stream of the same model. */
UNROLLED_API size_t unrolled_state_size(const unrolled_model* model);
UNROLLED_API int unrolled_get_state(const unrolled_stream* stream, size_t row, float* state);
UNROLLED_API int unrolled_set_state(unrolled_stream* stream, size_t row, const float* state);

#ifdef __cplusplus
}
#endif

#endif
