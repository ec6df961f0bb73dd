/* a += W x, for some vectors of rows of a (R).  W (R, N) is stored column after column, and x[k] multiplies column k.
 * The sums go on from a, or begin from zero and are added to it. */
NET_INLINE void net_rows(net_real *a, const net_real *W, const net_real *x, int N, int R, const int rows,
                         const int from_zero) {
  /* Where the rows are few, columns w, w + ways ... have sums of their own; not of single numbers, which the compiler
   * then no longer makes vectors of. */
  const int ways = NET_BYTES ? net_ways(rows) : 1;
  net_vec sum[net_block], zero = {0};
  int k = 0;
  for (int v = 0; v < net_block; v++) sum[v] = v < rows && !from_zero ? net_load(a + v * net_lanes) : zero;
  for (; k + ways <= N; k += ways, W += ways * R)
    for (int w = 0; w < ways; w++)
      for (int v = 0; v < rows; v++)
        sum[w * rows + v] = net_load(W + w * R + v * net_lanes) * x[k + w] + sum[w * rows + v];
  for (; k < N; k++, W += R)
    for (int v = 0; v < rows; v++) sum[v] = net_load(W + v * net_lanes) * x[k] + sum[v];
  for (int v = 0; v < rows; v++) {
    for (int w = 1; w < ways; w++) sum[v] = sum[v] + sum[w * rows + v];
    if (from_zero) sum[v] = net_load(a + v * net_lanes) + sum[v];
    net_store(a + v * net_lanes, sum[v]);
  }
}
