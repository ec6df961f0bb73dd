NET_INLINE net_vec net_tanh(net_vec x) { /* e / (e + 2) with the sign of x; e = e^2|x| - 1 */
  net_vec power;
  const net_vec z = net_at_most(net_magnitude(x), $tanh_saturates);
  const net_vec fraction = net_exp_parts(z + z, &power);
  const net_vec e = power * fraction + (power - $unit);
  const net_bits sign = net_as_bits(x) ^ net_as_bits(net_magnitude(x));
  return net_as_real(net_as_bits(e / (e + $two)) | sign);
}
