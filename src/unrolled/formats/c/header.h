/* A network that steps: $what.
 *
 *   net_state s;
 *   net_reset(&s);             the state becomes $state_0
 *   net_step(&s, x, y);        reads $reads, gives $gives: $meaning
 *
 * Plain C99, and C++; no other file is needed.  Numbers are $weights.
 * A step allocates nothing, waits for nothing and calls nothing but memcpy and memset; it touches its state, x and y
 * alone, so threads may step states of their own.  x is not checked.  Sigmoid and tanh are exact to 3 units in the
 * last place.  For speed, compile with -O3 -march=native, and include this file in one place: its arrays are static.
 * Letters and equations are those of docs/notation.md of unrolled, which wrote this file. */
#ifndef NET_H
#define NET_H

#include <stdint.h>
#include <string.h>$include

#ifdef __cplusplus
extern "C" {
#endif

/* Of layer l: I inputs, H units, U with padding; P and O of a projection; V outputs of the head with padding. */
enum {
$sizes
};

typedef struct {
$state
} net_state;

static inline void net_reset(net_state *s);
static inline void net_step(net_state *s, $x, $real *y);

$vectors
$functions
$arrays
$layers
static inline void net_reset(net_state *s) {
  memset(s, 0, sizeof *s);$reset
}

static inline void net_step(net_state *s, $x, $real *y) {
$steps
}

#ifdef __cplusplus
}
#endif

#endif
