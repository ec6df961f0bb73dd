// SPDX-License-Identifier: Apache-2.0
#include "threads.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <thread>

#include "crew.h"

namespace unrolled {

namespace {

std::atomic<Rehearsal> rehearsal{};
static_assert(std::atomic<Rehearsal>::is_always_lock_free);

const int registered = pthread_atfork(nullptr, nullptr, Crew::after_fork_in_child);

}  // namespace

void share_items(std::int64_t items, Work work, void* context) { Crew::instance().share(items, work, context); }
std::uint64_t members_present() { return Crew::instance().present(); }
void run_team(int threads, Body body, void* context) {
  if (threads <= 1) return body(context, Team{});
  Crew::instance().run(threads, body, context);
}

int threads_from_environment() {
  static const int threads = [] {
    const char* wanted = std::getenv("UNROLLED_NUM_THREADS");
    if (!wanted || !*wanted) return 0;
    constexpr long most = 4095;
    char* end = nullptr;
    const long n = std::strtol(wanted, &end, 10);
    if (*end || n < 1 || n > most) {
      throw std::invalid_argument(std::string("UNROLLED_NUM_THREADS is '") + wanted +
                                  "', expected a whole number from 1 to " + std::to_string(most));
    }
    return static_cast<int>(n);
  }();
  return threads;
}

int default_threads() {
  const int threads = threads_from_environment();
  return threads > 0 ? threads : processors();
}

int allowed_threads(int asked) {
  const int wanted = threads_from_environment();
  return wanted > 0 ? wanted : asked > 0 ? asked : default_threads();
}

int processors() {
  if (const int assumed = rehearsed().processors) return assumed;
  static const int quota = processor_quota();
  int found = 0;
#ifdef __linux__
  cpu_set_t set;  // fails where there are more processors than the set can name
  if (sched_getaffinity(0, sizeof set, &set) == 0) found = CPU_COUNT(&set);
#endif
  // Only if need be: glibc reads a file for it, which takes longer than a small layer.
  if (found == 0) found = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  return std::min({found, quota > 0 ? quota : found, kMostMembers});
}

void rehearse(const Rehearsal& how) { rehearsal.store(how, std::memory_order_relaxed); }
Rehearsal rehearsed() { return rehearsal.load(std::memory_order_relaxed); }
std::uint64_t items_helped() { return Crew::instance().helped(); }

}  // namespace unrolled
