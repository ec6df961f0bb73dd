/* a (R) += W x, in blocks of rows whose sums stay in registers. */
NET_INLINE void net_part_product(net_real *a, $W, const net_real *x, int N, int R, const int from_zero) {
  const int vectors = R / net_lanes, blocks = (vectors + net_block - 1) / net_block;
  const int rows = (vectors + blocks - 1) / blocks, last = vectors - (blocks - 1) * rows;
  int r = 0;
  for (int b = 1; b < blocks; b++, r += rows * net_lanes) net_rows(a + r, $W_from_r, x, N, R, rows, from_zero);
  net_rows(a + r, $W_from_r, x, N, R, last, from_zero);
}

/* The same; sums of more columns than a chain has are cut into chains, so that their rounding does not add up. */
NET_INLINE void net_product(net_real *a, $W, const net_real *x, int N, int R) {$many
  net_part_product(a, $all_of_W, x, N < net_chain ? N : net_chain, R, 0);
  for (int k = net_chain; k < N; k += net_chain)
    net_part_product(a, $W_from_k, x + k, N - k < net_chain ? N - k : net_chain, R, 1);
}
