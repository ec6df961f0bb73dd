/* Times the network of net.h: the median and the least ns a step of 400 timings. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "net.h"

enum { STEPS = 1000, TIMINGS = 400 };

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return 1e9 * (double)t.tv_sec + (double)t.tv_nsec;
}

static int by_size(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

int main(void) {
  static net_real x[STEPS][net_inputs];
  static double ns[TIMINGS];
  net_real y[net_outputs], sum = 0;
  net_state s;
  for (int t = 0; t < STEPS; t++)
    for (int k = 0; k < net_inputs; k++) x[t][k] = (net_real)rand() / (net_real)RAND_MAX - (net_real)0.5;
  net_reset(&s);
  for (int n = 0; n < TIMINGS; n++) {
    const double start = now();
    for (int t = 0; t < STEPS; t++) {
      net_step(&s, x[t], y);
      sum += y[0];
    }
    ns[n] = (now() - start) / STEPS;
  }
  qsort(ns, TIMINGS, sizeof *ns, by_size);
  printf("%.1f %.1f %g\n", ns[TIMINGS / 2], ns[0], (double)sum); /* the sum, so that no step is left out */
  return 0;
}
