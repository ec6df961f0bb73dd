// SPDX-License-Identifier: Apache-2.0
// Compiled for the machine that builds it (-march=native), unlike the core: a limit is one machine's.
#include "limits.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <vector>
#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#include "../csrc/kernels.h"

namespace unrolled {
namespace {

#if defined(__AVX512F__)
constexpr int kRegisters = 32, kVectorBytes = 64;
#define UNROLLED_SIMD "../csrc/simd/avx512.h"
#elif defined(__AVX2__)
constexpr int kRegisters = 16, kVectorBytes = 32;
#define UNROLLED_SIMD "../csrc/simd/avx2.h"
#elif defined(__aarch64__)
constexpr int kRegisters = 32, kVectorBytes = 16;
#define UNROLLED_SIMD "../csrc/simd/neon.h"
#else
constexpr int kRegisters = 16, kVectorBytes = 16;
#define UNROLLED_SIMD "../csrc/simd/baseline.h"
#endif
#if defined(__AVX512BF16__)
#define UNROLLED_BFLOAT16 "../csrc/simd/avx512_bf16.h"
#elif defined(__ARM_FEATURE_BF16_VECTOR_ARITHMETIC)
#define UNROLLED_BFLOAT16 "../csrc/simd/neon_bf16.h"
#else
#define UNROLLED_BFLOAT16 "../csrc/simd/bfloat16.h"
#endif
#include "../csrc/simd/vector.h"

#include UNROLLED_SIMD
#include UNROLLED_BFLOAT16

#include "../csrc/simd/lanes.h"
#include "../csrc/simd/storage.h"
#include "../csrc/simd/transpose.h"
#include "../csrc/gemm-inl.h"
#include "../csrc/panels-inl.h"

double seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// Makes the compiler believe that something reads the value.
template <class Value>
void keep(Value& value) {
  asm volatile("" : : "r"(&value) : "memory");
}

// Floats that begin on a cache line, as the core's own buffers do: a vector that crosses two lines is read at half
// speed.
class Floats {
 public:
  Floats(Index n, float value) : data_(static_cast<float*>(std::aligned_alloc(64, (n * 4 + 63) / 64 * 64)), std::free) {
    std::fill_n(data_.get(), n, value);
  }
  const float* data() const { return data_.get(); }

 private:
  std::unique_ptr<float, decltype(&std::free)> data_;
};

// What one thread does in one timing; every thread has its own.
struct Work {
  virtual ~Work() = default;
  virtual void run(int thread) = 0;
  double amount;  // operations or bytes of all threads
};

// Per second, the best of many timings: a limit is what is possible, not what is usual.
double best_rate(Work& work, int threads) {
  double best = 1e30;
  for (int k = 0; k < 15; ++k) {
    std::atomic<int> waiting{threads};
    std::vector<double> began(static_cast<std::size_t>(threads));
    std::vector<std::thread> others;
    const auto run = [&](int thread) {
      for (--waiting; waiting > 0;) std::this_thread::yield();
      began[static_cast<std::size_t>(thread)] = seconds();
      work.run(thread);
    };
    for (int thread = 1; thread < threads; ++thread) others.emplace_back(run, thread);
    run(0);
    for (std::thread& other : others) other.join();
    best = std::min(best, seconds() - *std::min_element(began.begin(), began.end()));
  }
  return work.amount / best;
}

// Chains of multiply-adds in registers, enough of them to hide the latency.
struct MultiplyAdds : Work {
  static constexpr int kChains = kRegisters - 4;
  static constexpr Index kSteps = 200000;
  explicit MultiplyAdds(int threads) { amount = 2.0 * threads * kSteps * kChains * kWidth<float>; }

  void run(int) override {
    Vec<float> factor = broadcast(0.5f), addend = broadcast(1.0f), sum[kChains] = {};
    keep(factor), keep(addend);
    for (Index k = 0; k < kSteps; ++k) {
#pragma GCC unroll 32
      for (int c = 0; c < kChains; ++c) sum[c] = fma(sum[c], factor, addend);
    }
    for (int c = 0; c < kChains; ++c) keep(sum[c]);
  }
};

// The core's tile at its full height, over all panels of a weight matrix (4 H, H), as one step of an LSTM reads it.
struct Tiles : Work {
  static constexpr int R = max_rows(kPanelVectors);
  Index H, panels, passes;
  std::vector<Floats> weights, rows;

  Tiles(Index H, int threads) : H(H), panels(4 * H / (kPanelVectors * kWidth<float>)) {
    const Index floats = panels * H * kPanelVectors * kWidth<float>;
    passes = std::max<Index>(1, 40'000'000 / (floats * R));
    amount = 2.0 * threads * passes * floats * R;
    for (int p = 0; p < threads; ++p) weights.emplace_back(floats, 0.01f), rows.emplace_back(R * H, 0.5f);
  }

  void run(int thread) override {
    const float* row[R];
    for (int r = 0; r < R; ++r) row[r] = rows[thread].data() + r * H;
    const Index at = 0, panel = H * kPanelVectors * kWidth<float>;
    TileSums<float> sums;
    for (Index pass = 0; pass < passes; ++pass) {
      for (Index p = 0; p < panels; ++p) {
        tile<Left::rows, R, kPanelVectors>(sums.data, row, &at, 1, H, weights[thread].data() + p * panel);
        keep(sums);
      }
    }
  }
};

// Vectors read in order; each thread has a buffer of its own.
struct Reads : Work {
  static constexpr int kStreams = 8;
  Index vectors, passes;
  std::vector<Floats> buffers;

  Reads(Index bytes, int threads) : vectors(bytes / kVectorBytes / kStreams * kStreams) {
    passes = std::max<Index>(1, (256 << 20) / bytes);
    amount = static_cast<double>(threads) * passes * vectors * kVectorBytes;
    for (int p = 0; p < threads; ++p) buffers.emplace_back(vectors * kWidth<float>, 1.0f);
  }

  void run(int thread) override {
    const float* from = buffers[thread].data();
    for (Index pass = 0; pass < passes; ++pass) {
      Vec<float> sum[kStreams] = {};
      for (Index v = 0; v < vectors; v += kStreams) {
#pragma GCC unroll 8
        for (int s = 0; s < kStreams; ++s) sum[s] += load(from + (v + s) * kWidth<float>);
      }
      Vec<float> total = sum[0];  // a copy: what `keep` sees lies in memory
      for (int s = 1; s < kStreams; ++s) total += sum[s];
      keep(total);
    }
  }
};

// "name": {"1": rate, "2": rate}, the buffers made before the clock starts.
template <class Kind, class... Size>
std::string rates(const std::string& name, int threads, double unit, Size... size) {
  std::string text = "\"" + name + "\": {";
  for (const int n : threads > 1 ? std::vector<int>{1, threads} : std::vector<int>{1}) {
    Kind work(size..., n);
    char number[64];
    std::snprintf(number, sizeof number, "%s\"%d\": %.1f", n > 1 ? ", " : "", n, best_rate(work, n) / unit);
    text += number;
  }
  return text + "}";
}

Index cache_bytes(int name, Index otherwise) {
  const long bytes = sysconf(name);
  return bytes > 0 ? bytes : otherwise;
}

}  // namespace

void print_limits(int threads) {
  const Index L1 = cache_bytes(_SC_LEVEL1_DCACHE_SIZE, 32 << 10), L2 = cache_bytes(_SC_LEVEL2_CACHE_SIZE, 1 << 20);
  std::printf("{%s,\n \"tile_gflops\": {", rates<MultiplyAdds>("multiply_add_gflops", threads, 1e9).c_str());
  for (const Index H : {64, 128, 256, 512, 1024}) {
    std::string name = "H";
    name += std::to_string(H);
    std::printf("%s%s", H > 64 ? ", " : "", rates<Tiles>(name, threads, 1e9, H).c_str());
  }
  // Well inside each level, for every thread: half of a core's own cache; four times its L2; more than any L3 share.
  std::printf("},\n \"read_gb_s\": {%s, ", rates<Reads>("L1", threads, 1e9, L1 / 2).c_str());
  std::printf("%s, ", rates<Reads>("L2", threads, 1e9, L2 / 2).c_str());
  std::printf("%s, ", rates<Reads>("L3", threads, 1e9, 4 * L2).c_str());
  std::printf("%s}}\n", rates<Reads>("memory", threads, 1e9, Index{256} << 20).c_str());
}

}  // namespace unrolled
