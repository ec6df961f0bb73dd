/* Layer $l, an LSTM$variant; the rows of a, as those of W_ih, W_hh and b, are the gates i f g o.
 *   i = sigmoid(W_ii x + W_hi h + b_i$equation_i)
 *   f = sigmoid(W_if x + W_hf h + b_f$equation_f)
 *   g = tanh   (W_ig x + W_hg h + b_g)
 *   o = sigmoid(W_io x + W_ho h + b_o$equation_o)
 *   c = f c + i g,  h = $equation_h */
NET_INLINE void net_layer$l(net_state *s, $x) {
  net_real *h = s->h$l, *c = s->c$l;
  net_real a[4 * net_U$l] NET_ALIGNED;$declared
  memcpy(a, net_b$l, sizeof a);
  $reads
  $hidden
  for (int j = 0; j < net_U$l; j += net_lanes) {
    const net_vec c_prev = net_load(c + j);
    const net_vec i = net_sigmoid(net_load(a + 0 * net_U$l + j)$peep_i);
    const net_vec f = net_sigmoid(net_load(a + 1 * net_U$l + j)$peep_f);
    const net_vec g = net_tanh   (net_load(a + 2 * net_U$l + j));
    const net_vec c_next = f * c_prev + i * g;
    const net_vec o = net_sigmoid(net_load(a + 3 * net_U$l + j)$peep_o);
    net_store(c + j, c_next);
    net_store($out + j, o * net_tanh(c_next));
  }$project
}
