/* Steps each network of a program: reads x from the file NAME.x, writes y to NAME.y. */
#include <stdio.h>
#include <stdlib.h>

static FILE *opened(const char *name, const char *ending, const char *mode) {
  char path[256];
  FILE *file;
  snprintf(path, sizeof path, "%s.%s", name, ending);
  file = fopen(path, mode);
  if (file == NULL) exit(2);
  return file;
}

#define STEPS(NET, REAL, X, WIDTH, GIVEN)                       \
  static void drive_##NET(void) {                               \
    FILE *in = opened(#NET, "x", "rb"), *out = opened(#NET, "y", "wb"); \
    X x[WIDTH];                                                 \
    REAL y[NET##_outputs];                                      \
    NET##_state s;                                              \
    NET##_reset(&s);                                            \
    while (fread(x, sizeof x, 1, in) == 1) {                    \
      NET##_step(&s, GIVEN, y);                                 \
      fwrite(y, sizeof y, 1, out);                              \
    }                                                           \
    fclose(in);                                                 \
    fclose(out);                                                \
  }
#define VECTORS(NET, REAL) STEPS(NET, REAL, REAL, NET##_inputs, x)
#define SYMBOLS(NET, REAL) STEPS(NET, REAL, int, 1, x[0])
