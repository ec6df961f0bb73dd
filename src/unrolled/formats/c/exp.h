/* Functions without branches or libm.  e^x = power (1 + fraction): power = 2^n, n the integer nearest to x / ln 2, and
 * fraction = r + r^2 q(r) of the rest r; ln 2 is split so that n times its high part is exact.  q is summed
 * in pairs, by powers of r^2: half as many sums wait for each other. */
NET_INLINE net_vec net_exp_parts(net_vec x, net_vec *power) {
  const net_vec shifted = x * $log2_e + $shifter; /* the sum rounds x / ln 2 to an integer, in its low bits */
  const net_vec n = shifted - $shifter;
  const net_vec r = x - n * $ln2_high - n * $ln2_low, rr = r * r;
$q
  *power = net_as_real((net_as_bits(shifted) << $mantissa_bits) + $one);
  return rr * q + r;
}
