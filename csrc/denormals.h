// SPDX-License-Identifier: Apache-2.0
// Denormal numbers are flushed to zero while a kernel runs; then the caller's mode is restored.  Gradients that vanish
// through time pass through the denormal range, where arithmetic is up to 100 times slower (docs/performance.md).
#pragma once
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <cstdint>
#endif

namespace unrolled {

class FlushDenormals {
 public:
#if defined(__x86_64__)
  [[gnu::always_inline]] FlushDenormals() : before_(_mm_getcsr()) { set(before_, before_ | kFlush); }
  [[gnu::always_inline]] ~FlushDenormals() { set(before_ | kFlush, before_); }

 private:
  static constexpr unsigned kFlushOutputs = 0x8000, kInputsAreZero = 0x0040, kFlush = kFlushOutputs | kInputsAreZero;
  // Only if need be: setting the mode takes ten times as long as reading it.
  [[gnu::always_inline]] static void set(unsigned from, unsigned to) {
    if (from != to) _mm_setcsr(to);
  }
  unsigned before_;
#elif defined(__aarch64__)
  [[gnu::always_inline]] FlushDenormals() {
    asm volatile("mrs %0, fpcr" : "=r"(before_));
    asm volatile("msr fpcr, %0" ::"r"(before_ | kFlushToZero));
  }
  [[gnu::always_inline]] ~FlushDenormals() { asm volatile("msr fpcr, %0" ::"r"(before_)); }

 private:
  static constexpr std::uint64_t kFlushToZero = 1u << 24;
  std::uint64_t before_;
#endif
 public:
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;
};

}  // namespace unrolled
