// SPDX-License-Identifier: Apache-2.0
// Where the processes of one machine wait for each other, in memory that they share.
#pragma once
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "kernels.h"
#include "waiting.h"

namespace unrolled {

// A barrier: each process brings a few numbers, and goes on once all have arrived.
class Barrier {
 public:
  static constexpr Index kMostNumbers = 15;
  // Bytes of memory, zero at first, that this many processes need.
  static constexpr Index bytes(Index size) { return size * static_cast<Index>(sizeof(Place)); }

  Barrier(void* memory, Index rank, Index size) : places_(static_cast<Place*>(memory)), rank_(rank), size_(size) {}

  void come(std::span<const double> numbers) {
    if (static_cast<Index>(numbers.size()) > kMostNumbers) {
      throw std::invalid_argument(std::to_string(numbers.size()) + " numbers, expected at most " +
                                  std::to_string(kMostNumbers));
    }
    count_ = static_cast<Index>(numbers.size());
    std::copy(numbers.begin(), numbers.end(), places_[rank_].told[++round_ % 2]);
    places_[rank_].round.store(round_, std::memory_order_release);
  }

  // Whether all have arrived; waits no longer than this.
  bool wait(double seconds) const {
    const auto began = Clock::now();
    Patience patience;
    for (Index k = 0; k < size_; ++k) {
      while (places_[k].round.load(std::memory_order_acquire) < round_) {
        const std::chrono::duration<double> waited = Clock::now() - began;
        if (waited.count() > seconds) return false;
        if (waited < kAwake)
          patience.wait();
        else
          std::this_thread::sleep_for(std::min<std::chrono::duration<double>>(waited / kShare, kLongest));
      }
    }
    return true;
  }

  // The sum of what all have brought, added in the order of their ranks.
  std::vector<double> sums() const {
    std::vector<double> sums(count_);
    for (Index k = 0; k < size_; ++k) {
      for (Index i = 0; i < count_; ++i) sums[i] += places_[k].told[round_ % 2][i];
    }
    return sums;
  }

 private:
  // For each process: the round that it has reached, and its numbers of that round and of the one before, which others
  // may still read.  Each has cache lines of its own.
  struct alignas(128) Place {
    std::atomic<std::uint64_t> round;
    double told[2][kMostNumbers];
  };
  static_assert(std::atomic<std::uint64_t>::is_always_lock_free);

  using Clock = std::chrono::steady_clock;
  // Processes that share a batch arrive within this time.  One that waits longer sleeps, for a sixteenth of the time it
  // has waited: others can compute, and it wakes hardly late.
  static constexpr auto kAwake = std::chrono::milliseconds(2), kLongest = std::chrono::milliseconds(10);
  static constexpr int kShare = 16;

  Place* places_;
  Index rank_, size_, count_ = 0;
  std::uint64_t round_ = 0;
};

}  // namespace unrolled
