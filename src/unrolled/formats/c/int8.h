#if NET_BYTES
typedef int32_t net_ints NET_VECTOR;
NET_INLINE net_vec net_from_ints(net_ints x) { return __builtin_convertvector(x, net_vec); }
#else
typedef int32_t net_ints;
NET_INLINE net_vec net_from_ints(net_ints x) { return (net_vec)x; }
#endif
NET_INLINE net_bits net_load_words(const uint32_t *p) { return *(const net_bits *)p; }
