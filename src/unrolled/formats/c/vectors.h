/* A vector has as many lanes as the compiler may use; with NET_PLAIN defined, or for a compiler without GCC's vectors,
 * it is one number, and the loops are the compiler's to vectorise.  All that follows is the same for both. */
typedef $real net_real;

#if defined(__clang__) || (defined(__GNUC__) && __GNUC__ >= 9)
#define NET_INLINE static inline __attribute__((always_inline))
#define NET_ALIGNED __attribute__((aligned(64)))
/* From here on p may point anywhere: the compiler else carries numbers of h, which the product has read, from step to
 * step of the next loop, and makes no vectors. */
#define NET_FORGET(p) __asm__("" : "+r"(p))
#if defined(NET_PLAIN)
#define NET_BYTES 0
#elif defined(__AVX512F__)
#define NET_BYTES $widest
#elif defined(__AVX2__)
#define NET_BYTES 32
#elif defined(__SSE2__) || defined(__ARM_NEON) || defined(__wasm_simd128__)
#define NET_BYTES 16
#else
#define NET_BYTES 0
#endif
#else
#define NET_INLINE static inline
#define NET_ALIGNED
#define NET_FORGET(p) (void)(p)
#define NET_BYTES 0
#endif

#if NET_BYTES
#define NET_VECTOR __attribute__((vector_size(NET_BYTES), aligned(sizeof(net_real)), may_alias))
typedef net_real net_vec NET_VECTOR;
typedef $bits net_bits NET_VECTOR;
/* A block of vectors stays in registers: half of those that there are. */
enum { net_lanes = NET_BYTES / sizeof(net_real), net_block = NET_BYTES == 64 ? 16 : 8 };

NET_INLINE net_bits net_as_bits(net_vec x) { return (net_bits)x; }
NET_INLINE net_vec net_as_real(net_bits x) { return (net_vec)x; }
NET_INLINE net_bits net_above(net_vec x, net_real y) { return (net_bits)(x > y); }
#else
typedef net_real net_vec;
typedef $bits net_bits;
enum { net_lanes = 1, net_block = 64 };

NET_INLINE net_bits net_as_bits(net_vec x) {
  net_bits bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}
NET_INLINE net_vec net_as_real(net_bits x) {
  net_vec real;
  memcpy(&real, &x, sizeof real);
  return real;
}
NET_INLINE net_bits net_above(net_vec x, net_real y) { return x > y ? ~(net_bits)0 : 0; }
#endif

/* Numbers of one sum that are added one after the other. */
enum { net_chain = 512 };

/* How many sums of its own each of so many vectors has room for in a block. */
NET_INLINE int net_ways(const int rows) {
  return rows <= net_block / 8 ? 8 : rows <= net_block / 4 ? 4 : rows <= net_block / 2 ? 2 : 1;
}

NET_INLINE net_vec net_load(const net_real *p) { return *(const net_vec *)p; }
NET_INLINE void net_store(net_real *p, net_vec x) { *(net_vec *)p = x; }
NET_INLINE net_vec net_choose(net_bits mask, net_vec x, net_vec y) {
  return net_as_real((mask & net_as_bits(x)) | (~mask & net_as_bits(y)));
}
NET_INLINE net_vec net_at_most(net_vec x, net_real y) { /* NaN stays NaN */
  const net_vec zero = {0};
  return net_choose(net_above(x, y), zero + y, x);
}
NET_INLINE net_vec net_magnitude(net_vec x) { return net_as_real((net_as_bits(x) << 1) >> 1); }
