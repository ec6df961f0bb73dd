/* a (R) += a column of W, which is W times a one-hot vector. */
NET_INLINE void net_add(net_real *a, const net_real *column, int R) {
  for (int j = 0; j < R; j += net_lanes) net_store(a + j, net_load(a + j) + net_load(column + j));
}
