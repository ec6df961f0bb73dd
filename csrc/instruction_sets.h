// SPDX-License-Identifier: Apache-2.0
// Every instruction set of this build, best first: UNROLLED_SET(name) for each.  No guard: it is included once for each
// use of the list.
#ifdef UNROLLED_HAS_AVX512_BF16
UNROLLED_SET(avx512_bf16)
#endif
#ifdef UNROLLED_HAS_AVX512_VNNI
UNROLLED_SET(avx512_vnni)
#endif
#ifdef UNROLLED_HAS_AVX512
UNROLLED_SET(avx512)
#endif
#ifdef UNROLLED_HAS_AVX2_VNNI
UNROLLED_SET(avx2_vnni)
#endif
#ifdef UNROLLED_HAS_AVX2
UNROLLED_SET(avx2)
#endif
#ifdef UNROLLED_HAS_NEON_BF16
UNROLLED_SET(neon_bf16)
#endif
#ifdef UNROLLED_HAS_NEON
UNROLLED_SET(neon)
#endif
UNROLLED_SET(baseline)
