/* Layer $l, an Elman network: h = $activation(W_ih x + W_hh h + b). */
NET_INLINE void net_layer$l(net_state *s, $x) {
  net_real *h = s->h$l;
  net_real a[net_U$l] NET_ALIGNED;
  memcpy(a, net_b$l, sizeof a);
  $reads
  $hidden
  for (int j = 0; j < net_U$l; j += net_lanes) net_store(h + j, net_$activation(net_load(a + j)));
}
