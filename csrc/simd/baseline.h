// SPDX-License-Identifier: Apache-2.0
// What every machine of the architecture has (x86-64: SSE2): 16 registers of 16 bytes, no fused multiply-add.

template <class V>
inline V fma(V a, V b, V c) {
  return a * b + c;
}

#include "partial.h"
