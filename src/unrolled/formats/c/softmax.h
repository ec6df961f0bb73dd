/* a (V of R) = e^a / sum e^a */
NET_INLINE void net_softmax(net_real *a, int V, int R) {
  net_real largest = a[0], sum = 0;
  for (int k = 1; k < V; k++) largest = a[k] > largest ? a[k] : largest;
  for (int j = 0; j < R; j += net_lanes) {
    net_vec power;
    const net_vec fraction = net_exp_parts(-net_at_most(largest - net_load(a + j), $smallest), &power);
    net_store(a + j, power * fraction + power);
  }
  for (int k = 0; k < V; k += net_chain) {
    net_real part = 0;
    for (int j = k; j < V && j < k + net_chain; j++) part += a[j];
    sum += part;
  }
  for (int k = 0; k < V; k++) a[k] /= sum;
}
