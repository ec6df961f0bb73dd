/* Row r of a matrix is scale[r] times whole numbers from -127 to 127.  A word holds those of four columns, the first in
 * its low byte; of a last word that columns do not fill, the rest is zero. */
NET_INLINE net_vec net_column(net_bits words, int c) {
  return net_from_ints((net_ints)(words << (24 - 8 * c)) >> 24);
}

/* a += W x, for some vectors of rows of a (R).  x[k] multiplies column k, and words stand four columns after four. */
NET_INLINE void net_rows(net_real *a, const uint32_t *W, const net_real *scale, const net_real *x, int N, int R,
                         const int rows, const int from_zero) {
  const int ways = net_ways(rows) < 4 ? net_ways(rows) : 4; /* sums apart, where the rows are few */
  net_vec sum[net_block], zero = {0};
  int k = 0;
  (void)from_zero; /* they always do */
  for (int v = 0; v < net_block; v++) sum[v] = zero;
  for (; k + 4 <= N; k += 4, W += R)
    for (int v = 0; v < rows; v++) {
      const net_bits words = net_load_words(W + v * net_lanes);
      for (int c = 0; c < 4; c++) {
        net_vec *s = &sum[c % ways * rows + v];
        *s = net_column(words, c) * x[k + c] + *s;
      }
    }
  for (int c = 0; k + c < N; c++)
    for (int v = 0; v < rows; v++) sum[v] = net_column(net_load_words(W + v * net_lanes), c) * x[k + c] + sum[v];
  for (int v = 0; v < rows; v++) {
    const int j = v * net_lanes;
    for (int w = 1; w < ways; w++) sum[v] = sum[v] + sum[w * rows + v];
    net_store(a + j, net_load(scale + j) * sum[v] + net_load(a + j));
  }
}
