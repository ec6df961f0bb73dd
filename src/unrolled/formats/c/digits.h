/* Where the processor multiplies bytes: the numbers of x as three digits of 256 each, 2^22 for the largest, times the
 * bytes of W.  Their sums are exact, so that the product is as near as one of floats. */
#if NET_BYTES == 64 && defined(__AVX512VNNI__)
#define NET_DIGITS 1
typedef struct {
  int8_t digits[3][$columns]; /* the lowest first */
  int32_t offset[3];          /* what each sum of digits gains because W is read as W + 128 */
  net_real scale;             /* NaN where a number is NaN or infinite */
} net_digits;

typedef int8_t net_chars __attribute__((vector_size(16), aligned(1), may_alias));

NET_INLINE net_real net_largest(net_vec x) {
  net_real part[net_lanes] NET_ALIGNED;
  net_store(part, x);
  net_real most = 0;
  for (int j = 0; j < net_lanes; j++) most = part[j] > most ? part[j] : most;
  return most;
}
NET_INLINE int32_t net_total(net_ints x) {
  int32_t part[net_lanes] NET_ALIGNED;
  *(net_ints *)part = x;
  int32_t total = 0;
  for (int j = 0; j < net_lanes; j++) total += part[j];
  return total;
}

/* Numbers k on of x (N), and zeros beyond. */
NET_INLINE net_vec net_part(const net_real *x, int k, int N) {
  net_real part[net_lanes] NET_ALIGNED = {0};
  if (k + net_lanes <= N) return net_load(x + k);
  for (int j = 0; k + j < N; j++) part[j] = x[k + j];
  return net_load(part);
}

NET_INLINE void net_split(net_digits *to, const net_real *x, int N) {
  const net_real whole = 4194304;
  net_vec most = {0}, poison = {0}, shifter = {0};
  net_ints sum[3] = {{0}};
  for (int k = 0; k < N; k += net_lanes) {
    const net_vec v = net_part(x, k, N), size = net_magnitude(v);
    most = net_choose((net_bits)(size > most), size, most);
    poison = poison + v * 0;
  }
  const net_real largest = net_largest(most);
  const net_real inverse = largest > $tiny ? whole / largest : 0; /* not of less, where it might overflow */
  to->scale = largest / whole;
  for (int j = 0; j < net_lanes; j++) to->scale += poison[j];
  shifter = shifter + $shifter; /* adding it rounds to whole numbers, in the low bits */
  for (int k = 0; k < N; k += net_lanes) {
    net_ints rest = (net_ints)net_as_bits(net_part(x, k, N) * inverse + $shifter) - (net_ints)net_as_bits(shifter);
    for (int d = 0; d < 3; d++) {
      const net_ints digit = (rest << 24) >> 24;
      *(net_chars *)(to->digits[d] + k) = __builtin_convertvector(rest, net_chars);
      sum[d] = sum[d] + digit;
      rest = (rest - digit) >> 8;
    }
  }
  for (int d = 0; d < 3; d++) to->offset[d] = 128 * net_total(sum[d]);
}

NET_INLINE __m512i net_four(const int8_t *digits) {
  int32_t four;
  memcpy(&four, digits, sizeof four);
  return _mm512_set1_epi32(four);
}

/* a += W x, for up to four vectors of rows of a (R). */
NET_INLINE void net_digit_rows(net_real *a, const uint32_t *W, const net_real *scale, const net_digits *x, int N, int R,
                               const int rows) {
  const __m512i shift = _mm512_set1_epi32((int)0x80808080);
  __m512i low[4], middle[4], high[4];
  for (int v = 0; v < 4; v++) {
    low[v] = _mm512_set1_epi32(-x->offset[0]);
    middle[v] = _mm512_set1_epi32(-x->offset[1]);
    high[v] = _mm512_set1_epi32(-x->offset[2]);
  }
  for (int k = 0; k < N; k += 4, W += R) {
    const __m512i x0 = net_four(x->digits[0] + k), x1 = net_four(x->digits[1] + k), x2 = net_four(x->digits[2] + k);
    for (int v = 0; v < rows; v++) {
      const __m512i words = _mm512_xor_si512(_mm512_loadu_si512(W + v * net_lanes), shift);
      low[v] = _mm512_dpbusd_epi32(low[v], words, x0);
      middle[v] = _mm512_dpbusd_epi32(middle[v], words, x1);
      high[v] = _mm512_dpbusd_epi32(high[v], words, x2);
    }
  }
  for (int v = 0; v < rows; v++) {
    const int j = v * net_lanes;
    net_vec sum = net_from_ints((net_ints)high[v]);
    sum = sum * 256 + net_from_ints((net_ints)middle[v]);
    sum = sum * 256 + net_from_ints((net_ints)low[v]);
    net_store(a + j, net_load(scale + j) * x->scale * sum + net_load(a + j));
  }
}

NET_INLINE void net_digit_product(net_real *a, const uint32_t *W, const net_real *scale, const net_real *x, int N,
                                  int R) {
  net_digits split;
  const int last = R / net_lanes % 4;
  int r = 0;
  net_split(&split, x, N);
  for (; r + 4 * net_lanes <= R; r += 4 * net_lanes) net_digit_rows(a + r, W + r, scale + r, &split, N, R, 4);
  if (last) net_digit_rows(a + r, W + r, scale + r, &split, N, R, last);
}
#else
#define NET_DIGITS 0
#endif
