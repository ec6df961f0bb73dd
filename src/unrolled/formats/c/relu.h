NET_INLINE net_vec net_relu(net_vec x) { /* max(0, x) */
  return net_as_real(net_as_bits(x) & ~net_above(-x, 0));
}
