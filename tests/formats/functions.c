/* Writes net_sigmoid of every number of the file x to the file y, then net_tanh. */
#include <stdio.h>
#include <stdlib.h>

#include "net.h"

static void apply(net_vec (*f)(net_vec), FILE *out) {
  FILE *in = fopen("x", "rb");
  net_real x[64];
  while (in && fread(x, sizeof x, 1, in) == 1) {
    for (int j = 0; j < 64; j += net_lanes) net_store(x + j, f(net_load(x + j)));
    fwrite(x, sizeof x, 1, out);
  }
  fclose(in);
}

static net_vec sigmoid(net_vec x) { return net_sigmoid(x); }
static net_vec tangent(net_vec x) { return net_tanh(x); }

int main(void) {
  FILE *out = fopen("y", "wb");
  if (!out) return 1;
  apply(sigmoid, out);
  apply(tangent, out);
  return fclose(out);
}
