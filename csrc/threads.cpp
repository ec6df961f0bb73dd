// SPDX-License-Identifier: Apache-2.0
#include "threads.h"

#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <mutex>
#include <new>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>

#include "denormals.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace unrolled {

namespace {

using Clock = std::chrono::steady_clock;
using Number = std::uint64_t;

// A member waits so long for work before it sleeps: the layers of a model call in quick succession, and a step of a
// call is much shorter.
constexpr auto kIdle = std::chrono::microseconds(100);
// Who has done its own item looks so often whether the others have done theirs before it looks for items that are left:
// looking there takes the lines that they claim by away from them.
constexpr int kCourtesy = 64;

std::atomic<Rehearsal> rehearsal{};
static_assert(std::atomic<Rehearsal>::is_always_lock_free);
Rehearsal rehearsed() { return rehearsal.load(std::memory_order_relaxed); }

bool forked = false;

constexpr std::uint64_t bits_below(int id) { return id >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << id) - 1; }

void pause() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Waits a little, longer the more often it was called.  A thread that only spins can hold the core that the awaited
// thread needs; one that yields gives it up if, and only if, somebody wants it.
class Patience {
 public:
  void wait() {
    if (++rounds_ < kSpins) return pause();
    sched_yield();
    for (int k = 0; k < 16; ++k) pause();
  }

 private:
  static constexpr int kSpins = 64;  // about a microsecond
  int rounds_ = 0;
};

// Whether a member has been without work for so long that it sleeps; the clock is asked now and then.
class Idleness {
 public:
  bool at_its_end() {
    if (++looks_ % 64 != 0) return false;
    if (looks_ == 64) began_ = Clock::now();
    return looks_ > 64 && Clock::now() - began_ > kIdle;
  }

 private:
  int looks_ = 0;
  Clock::time_point began_;
};

// OpenMP's threads, where the process has them (torch brings libgomp).  After a parallel region they spin for
// milliseconds on the processors that ours would need, so while they do, they are the members.  Found by name: nothing
// here depends on OpenMP.
struct OpenMp {
  void (*parallel)(void (*)(void*), void*, unsigned threads, unsigned flags);
  int (*id)();

  static const OpenMp* find() {
    static const OpenMp* const found = [] {
      static OpenMp symbols;
      void* library = dlopen("libgomp.so.1", RTLD_LAZY | RTLD_NOLOAD);
      if (!library) return static_cast<OpenMp*>(nullptr);
      symbols.parallel = reinterpret_cast<decltype(symbols.parallel)>(dlsym(library, "GOMP_parallel"));
      symbols.id = reinterpret_cast<decltype(symbols.id)>(dlsym(library, "omp_get_thread_num"));
      return symbols.parallel && symbols.id ? &symbols : nullptr;
    }();
    return found;
  }
};

// The clock of the first of the OpenMP threads that serve this thread, which counts the time that it runs; 0: not
// known.
thread_local clockid_t openmp_clock = 0;

std::int64_t nanoseconds(clockid_t clock) {
  timespec t{};
  return clock_gettime(clock, &t) == 0 ? t.tv_sec * std::int64_t{1'000'000'000} + t.tv_nsec : -1;
}

// Whether that thread is running at this moment.
bool openmp_runs() {
  if (openmp_clock == 0) return false;
  const std::int64_t used = nanoseconds(openmp_clock), began = nanoseconds(CLOCK_MONOTONIC);
  if (used < 0) return openmp_clock = 0, false;  // it has ended
  while (nanoseconds(CLOCK_MONOTONIC) - began < 1000) pause();
  return 2 * (nanoseconds(openmp_clock) - used) > nanoseconds(CLOCK_MONOTONIC) - began;
}

// How many threads this process has.
int threads_of_process() {
  std::error_code problem;
  int found = 0;
  for (std::filesystem::directory_iterator task("/proc/self/task", problem), end; !problem && task != end;
       task.increment(problem)) {
    ++found;
  }
  return found;
}

// Where the members of the crew may run: on any processor of the caller's but the one it is on.  A woken thread is else
// often put on its waker's processor, where the two take turns until the scheduler parts them; in a virtual machine,
// whose idle processors look busy to its kernel, nearly always (docs/decisions/0008-claimed-work.md).
class Places {
 public:
  // Whether the caller has moved, or may run elsewhere, since the last time; `look` asks the kernel where it may.
  bool changed([[maybe_unused]] bool look) {
#ifdef __linux__
    const int here = sched_getcpu();
    if (here < 0 || (here == here_ && !look)) return false;
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0) return false;
    here_ = here;
    if (CPU_COUNT(&set) > 1 && here < CPU_SETSIZE) CPU_CLR(here, &set);
    if (CPU_EQUAL(&set, &set_)) return false;
    set_ = set;
    return true;
#else
    return false;
#endif
  }
  void move(pid_t thread) const {
#ifdef __linux__
    sched_setaffinity(thread, sizeof set_, &set_);
#endif
  }

 private:
#ifdef __linux__
  int here_ = -1;
  cpu_set_t set_{};
#endif
};

// The threads that help callers, one caller at a time.
//
// A phase is one sharing of items.  Its number and how many items it has are one word, which members watch.  An item is
// claimed by writing the phase's number over an older one in the item's own word: a member that comes too late, even
// one that was stopped between reading the phase and claiming, finds a number that is not older and gets nothing.  Who
// has claimed an item may read what the phase publishes: the caller changes it only after all items are done.
class Crew {
 public:
  static Crew& instance() {
    static Crew* crew = new Crew;  // never destroyed: its threads may outlive static destruction
    return *crew;
  }

  void run(int threads, Body body, void* context) {
    const std::unique_lock<std::mutex> held(busy_, std::try_to_lock);
    if (threads <= 1 || !held.owns_lock()) return body(context, Team{});
    threads = std::min(threads, kMostMembers);
    const OpenMp* openmp = forked || rehearsed().awaited || rehearsed().processors > 0 ? nullptr : OpenMp::find();
    if (openmp && present() == 1) {
      meet(*openmp, threads);
      if (openmp_runs()) return run_on(*openmp, threads, body, context);
    }
    threads = grow(threads);
    size_.store(threads, std::memory_order_relaxed);
    do {
      wake(threads);
    } while (rehearsed().awaited && Team{threads}.members() < threads);
    body(context, Team{threads});
  }

  void share(std::int64_t items, Work work, void* context) {
    work_.store(work, std::memory_order_relaxed);
    context_.store(context, std::memory_order_relaxed);
    done_.store(0, std::memory_order_relaxed);
    const Number phase =
        (phase_.load(std::memory_order_relaxed) / kPhase + 1) * kPhase + whose_ + static_cast<Number>(items);
    phase_.store(phase, std::memory_order_release);
    const auto others_have_done = [&](std::int64_t mine) {
      return done_.load(std::memory_order_acquire) == items - mine;
    };
    const Block own = block_of(items, 0);
    std::int64_t mine = claim(phase, own.begin, own.end, 0);
    for (int k = 0; k < kCourtesy && own.single && !alone_ && !others_have_done(mine); ++k) pause();
    if (!others_have_done(mine)) {
      const std::int64_t before = mine;
      mine += claim(phase, own.end, own.begin + items, 0);
      alone_ = mine > before;
    }
    for (Patience patience; !others_have_done(mine);) patience.wait();
  }

  std::uint64_t present() const { return present_.load(std::memory_order_relaxed); }
  std::uint64_t helped() const {
    std::uint64_t all = 0;
    for (const Member& member : members_) all += member.done.load(std::memory_order_relaxed);
    return all;
  }

  // A fork copies the memory but not the threads; the child starts with an empty crew.  libgomp does not survive it.
  static void after_fork_in_child() {
    forked = true;
    new (&instance()) Crew;
  }

 private:
  // phase_ is the number of the phase times kPhase, its items, and a bit for phases whose members are OpenMP's: a
  // thread of the crew that comes late, from a call before, must not take the place of one of those.
  static constexpr Number kPhase = 512, kOpenMp = 256;
  static_assert(kMostItems < kOpenMp);
  static std::int64_t items_of(Number phase) { return static_cast<std::int64_t>(phase % kOpenMp); }

  struct alignas(64) Member {
    std::atomic<std::uint32_t> bell{0};  // rung to wake it
    std::atomic<bool> asleep{false};
    std::atomic<pid_t> thread{0};
    std::atomic<std::uint64_t> done{0};  // items, ever
  };
  struct alignas(64) Item {
    std::atomic<Number> phase{0};  // of the last claim
  };

  // Starts members up to `threads`, the caller among them; returns how many there are.
  int grow(int threads) {
    for (; size_of_crew_ < threads; ++size_of_crew_) {
      try {
        std::thread([this, id = size_of_crew_] { serve(id); }).detach();
      } catch (const std::system_error&) {
        break;
      }
    }
    return std::min(threads, size_of_crew_);
  }

  // Wakes the members that sleep: those that nobody else will.  All of them go where they do not stand in the caller's
  // way, those too that are awake.
  void wake(int threads) {
    bool sleepers = false;
    for (int id = 1; id < threads; ++id) sleepers = sleepers || asleep(id);
    if (places_.changed(sleepers)) placed_ = 0;
    for (int id = 1; id < threads; ++id) {
      const pid_t thread = members_[id].thread.load(std::memory_order_relaxed);
      if (!(placed_ >> id & 1) && thread != 0) {
        places_.move(thread);
        placed_ |= std::uint64_t{1} << id;
      }
      if (asleep(id) && (id == 1 || !asleep(id / 2))) ring(id);
    }
  }

  bool asleep(int id) const { return members_[id].asleep.load(std::memory_order_acquire); }

  void ring(int id) {
    members_[id].bell.fetch_add(1, std::memory_order_release);
    members_[id].bell.notify_one();
  }

  // A woken member wakes two more: to wake takes microseconds, and the caller has work to do.
  void wake_next(int id) {
    for (int next = 2 * id; next < 2 * id + 2 && next < size_.load(std::memory_order_relaxed); ++next) {
      if (asleep(next)) ring(next);
    }
  }

  void serve(int id) {
    const FlushDenormals flush;
    Member& self = members_[id];
    self.thread.store(gettid(), std::memory_order_relaxed);
    for (;;) {
      Idleness idleness;
      attend(id, 0, [&](bool helped) {
        if (helped) idleness = {};
        return idleness.at_its_end();
      });
      const std::uint32_t rung = self.bell.load(std::memory_order_acquire);
      self.asleep.store(true, std::memory_order_release);
      self.bell.wait(rung, std::memory_order_acquire);
      self.asleep.store(false, std::memory_order_relaxed);
      wake_next(id);
    }
  }

  // Learns which OpenMP thread serves the caller, if the process has threads that are not the crew's.
  void meet(const OpenMp& openmp, int threads) {
    thread_local unsigned calls = 0;
    if (openmp_clock != 0 || calls++ % 64 != 0 || threads_of_process() <= size_of_crew_) return;
    clockid_t clock = 0;
    struct Region {
      const OpenMp& openmp;
      clockid_t& clock;
    } region{openmp, clock};
    openmp.parallel(
        [](void* data) {
          const Region& of = *static_cast<const Region*>(data);
          if (of.openmp.id() == 1) pthread_getcpuclockid(pthread_self(), &of.clock);
        },
        &region, static_cast<unsigned>(threads), 0);
    openmp_clock = clock;
  }

  // Runs a call with OpenMP's threads as its members.
  void run_on(const OpenMp& openmp, int threads, Body body, void* context) {
    size_.store(threads, std::memory_order_relaxed);
    whose_ = kOpenMp;
    struct Region {
      Crew& crew;
      const OpenMp& openmp;
      Body body;
      void* context;
      int threads;
      alignas(64) std::atomic<bool> over{false};  // a line of its own: members look at it all the time
    } region{*this, openmp, body, context, threads};
    openmp.parallel(
        [](void* data) {
          Region& of = *static_cast<Region*>(data);
          if (const int id = of.openmp.id()) {
            const FlushDenormals flush;
            of.crew.attend(id, kOpenMp, [&](bool) { return of.over.load(std::memory_order_acquire); });
          } else {
            of.body(of.context, Team{of.threads});
            of.over.store(true, std::memory_order_release);
          }
        },
        &region, static_cast<unsigned>(threads), 0);
    whose_ = 0;
  }

  // Helps in every phase of its kind until `ends(helped)`, which is asked after each look for one.
  template <class Ends>
  void attend(int id, Number kind, Ends ends) {
    const std::uint64_t bit = std::uint64_t{1} << id;
    present_.fetch_or(bit, std::memory_order_relaxed);
    Patience patience;
    Number seen = 0;
    for (bool helped = false; !ends(helped);) {
      const Number phase = phase_.load(std::memory_order_acquire);
      const int delay = rehearsed().delay;
      helped = phase != seen && (phase & kOpenMp) == kind && delay >= 0 && id < size_.load(std::memory_order_relaxed);
      if (!helped) {
        patience.wait();
        continue;
      }
      seen = phase;
      if (delay > 0) std::this_thread::sleep_for(std::chrono::microseconds(delay));
      help(phase, id);
      patience = {};
    }
    present_.fetch_and(~bit, std::memory_order_relaxed);
  }

  // The items of a member's own place among the members: in the next phase they will be the same, and their part of the
  // weights still in its own cache.
  struct Block {
    std::int64_t begin, end;
    bool single;  // each member has one item
  };
  Block block_of(std::int64_t items, int member) const {
    const int size = size_.load(std::memory_order_relaxed);
    const int members = Team{size}.members();  // who comes from a call before may have a place beyond them
    const int rank = __builtin_popcountll(present() & bits_below(member)) % members;
    return {items * rank / members, items * (rank + 1) / members, items <= members};
  }

  void help(Number phase, int member) {
    const auto items = items_of(phase);
    const Block own = block_of(items, member);
    finish(claim(phase, own.begin, own.end, member), member);
    for (int k = 0; k < kCourtesy && own.single; ++k) {
      if (phase_.load(std::memory_order_relaxed) != phase) return;
      pause();
    }
    finish(claim(phase, own.end, own.begin + items, member), member);
  }

  void finish(std::int64_t done, int member) {
    if (done == 0) return;
    done_.fetch_add(done, std::memory_order_release);
    members_[member].done.fetch_add(static_cast<std::uint64_t>(done), std::memory_order_relaxed);
  }

  // Claims what it can of the items from begin to end, which count on from the first after the last, and does them.
  std::int64_t claim(Number phase, std::int64_t begin, std::int64_t end, int member) {
    const auto items = items_of(phase);
    std::int64_t done = 0;
    for (std::int64_t k = begin; k < end; ++k) {
      const std::int64_t item = k < items ? k : k - items;
      std::atomic<Number>& last = items_[item].phase;
      Number before = last.load(std::memory_order_relaxed);
      if (before >= phase || !last.compare_exchange_strong(before, phase, std::memory_order_acq_rel)) continue;
      work_.load(std::memory_order_relaxed)(context_.load(std::memory_order_relaxed), item, member);
      ++done;
    }
    return done;
  }

  std::mutex busy_;
  int size_of_crew_ = 1;
  Number whose_ = 0;    // of the call: the crew's own members, or kOpenMp
  bool alone_ = false;  // in the last phase the caller did what others might have done
  Places places_;
  std::uint64_t placed_ = 0;  // members that are where places_ says
  alignas(64) std::atomic<Number> phase_{0};
  std::atomic<Work> work_{nullptr};
  std::atomic<void*> context_{nullptr};
  std::atomic<int> size_{1};
  alignas(64) std::atomic<std::int64_t> done_{0};
  alignas(64) std::atomic<std::uint64_t> present_{1};  // a bit for each member that is awake, and the caller's
  Member members_[kMostMembers];
  Item items_[kMostItems];
};

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

int processors() {
  if (const int assumed = rehearsed().processors) return assumed;
  static const int quota = processor_quota();
  int found = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
#ifdef __linux__
  cpu_set_t set;  // fails where there are more processors than the set can name
  if (sched_getaffinity(0, sizeof set, &set) == 0) found = CPU_COUNT(&set);
#endif
  return std::min({found, quota > 0 ? quota : found, kMostMembers});
}

void rehearse(const Rehearsal& how) { rehearsal.store(how); }
std::uint64_t items_helped() { return Crew::instance().helped(); }

}  // namespace unrolled
