/* The head: y = $equation. */
NET_INLINE void net_head(const net_real *h, net_real *y) {
  net_real a[net_V] NET_ALIGNED;
  memcpy(a, net_b_y, sizeof a);
  $product$softmax
  memcpy(y, a, net_outputs * sizeof *y);
}
