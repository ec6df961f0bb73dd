NET_INLINE net_vec net_sigmoid(net_vec x) { /* 1 / (1 + e), or e / (1 + e) where x is not above 0; e = e^-|x| */
  net_vec power, zero = {0};
  const net_vec fraction = net_exp_parts(-net_at_most(net_magnitude(x), $smallest), &power);
  const net_vec e = power * fraction + power;
  return net_choose(net_above(x, 0), zero + $unit, e) / ($unit + e);
}
