/* a (R) += W x, in blocks of rows whose sums stay in registers. */
NET_INLINE void net_product(net_real *a, $W, const net_real *x, int N, int R) {
  const int vectors = R / net_lanes, blocks = (vectors + net_block - 1) / net_block;
  const int rows = (vectors + blocks - 1) / blocks, last = vectors - (blocks - 1) * rows;
  int r = 0;$many
  for (int b = 1; b < blocks; b++, r += rows * net_lanes) net_rows(a + r, $W_from_r, x, N, R, rows);
  net_rows(a + r, $W_from_r, x, N, R, last);
}
