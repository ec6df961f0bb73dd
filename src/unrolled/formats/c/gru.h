/* Layer $l, a GRU; the rows of a and b are those of n r z m, of W_ih n r z, of W_hh r z m.
 *   r = sigmoid(W_ir x + W_hr h + b_r)
 *   z = sigmoid(W_iz x + W_hz h + b_z)
 *   m = W_hn h + b_hn
 *   n = tanh(W_in x + b_in + r m)
 *   h = (1 - z) n + z h */
NET_INLINE void net_layer$l(net_state *s, $x) {
  net_real *h = s->h$l;
  net_real a[4 * net_U$l] NET_ALIGNED;
  memcpy(a, net_b$l, sizeof a);
  $reads
  NET_FORGET(h);
  $hidden
  NET_FORGET(h);
  for (int j = 0; j < net_U$l; j += net_lanes) {
    const net_vec h_prev = net_load(h + j);
    const net_vec r = net_sigmoid(net_load(a + 1 * net_U$l + j));
    const net_vec z = net_sigmoid(net_load(a + 2 * net_U$l + j));
    const net_vec m = net_load(a + 3 * net_U$l + j);
    const net_vec n = net_tanh(net_load(a + 0 * net_U$l + j) + r * m);
    net_store(h + j, ($unit - z) * n + z * h_prev);
  }
}
