// SPDX-License-Identifier: Apache-2.0
// The threads of the process that share the work of calls (docs/decisions/0008-claimed-work.md).
#pragma once
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>

#include "denormals.h"
#include "openmp.h"
#include "places.h"
#include "threads.h"
#include "waiting.h"

namespace unrolled {

// The threads that help callers, one caller at a time.
//
// A phase is one sharing of items.  Its number and how many items it has are one word, which members watch.  An item is
// claimed by writing the phase's number over an older one in the item's own word: a member that comes too late, even
// one that was stopped between reading the phase and claiming, finds a number that is not older and gets nothing.
// Whoever has claimed an item may read what the phase publishes: the caller changes it only after all items are done.
class Crew {
  using Number = std::uint64_t;

 public:
  static Crew& instance() {
    static Crew* crew = new Crew;  // never destroyed: its threads may outlive static destruction
    return *crew;
  }

  void run(int threads, Body body, void* context) {
    const std::unique_lock<std::mutex> held(busy_, std::try_to_lock);
    if (threads <= 1 || !held.owns_lock()) return body(context, Team{});
    threads = std::min(threads, kMostMembers);
    const OpenMp* openmp = forked_ ? nullptr : OpenMp::find();
    if (openmp && prefers(*openmp, threads)) return run_on(*openmp, threads, body, context);
    threads = grow(threads);
    size_.store(threads, std::memory_order_relaxed);
    const Wanted members(wanted_, threads);
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
    const Block own = block_of(phase, 0);
    std::int64_t mine = claim(phase, own.begin, own.end, 0);
    for (int k = 0; k < kCourtesy && own.single && !alone_ && !others_have_done(mine); ++k) pause();
    if (!others_have_done(mine)) {
      const std::int64_t before = mine;
      mine += claim(phase, own.end, own.begin + items, 0);
      alone_ = mine > before;
    }
    for (Patience patience; !others_have_done(mine);) patience.wait();
  }

  std::uint64_t present() const { return present(whose_); }
  std::uint64_t helped() const {
    std::uint64_t all = 0;
    for (const Member& member : members_) all += member.done.load(std::memory_order_relaxed);
    return all;
  }

  // A fork copies the memory but not the threads; the child starts with an empty crew.  libgomp does not survive it.
  static void after_fork_in_child() {
    new (&instance()) Crew;
    instance().forked_ = true;
  }

 private:
  // phase_ is the number of the phase times kPhase, its items, and a bit for phases whose members are OpenMP's: a
  // thread of the crew that comes late, from a call before, must not take the place of one of those.
  static constexpr Number kPhase = 512, kOpenMp = 256;
  static_assert(kMostItems < kOpenMp);
  static std::int64_t items_of(Number phase) { return static_cast<std::int64_t>(phase % kOpenMp); }

  // A member that has done its own item checks this many times whether the others have done theirs before it looks for
  // items that are left: looking takes away from the others the cache lines that they claim by.
  static constexpr int kCourtesy = 64;

  static constexpr std::uint64_t bits_below(int id) { return (std::uint64_t{1} << id) - 1; }

  struct alignas(64) Member {
    std::atomic<std::uint32_t> bell{0};  // rung to wake it
    std::atomic<bool> asleep{false};
    std::atomic<pid_t> thread{0};
    std::atomic<std::uint64_t> done{0};  // items, ever
  };
  struct alignas(64) Item {
    std::atomic<Number> phase{0};  // of the last claim
  };

  std::uint64_t present(Number phase) const { return present_[(phase & kOpenMp) != 0].load(std::memory_order_relaxed); }

  // While a call has a place for them, members of the crew do not go to sleep.
  struct Wanted {
    std::atomic<int>& threads;
    Wanted(std::atomic<int>& wanted, int all) : threads(wanted) { threads.store(all); }
    ~Wanted() { threads.store(1, std::memory_order_relaxed); }
  };
  bool is_wanted(int id) const { return id < wanted_.load(); }

  bool prefers(const OpenMp& openmp, int threads) const {
    const Rehearsal how = rehearsed();
    if (how.openmp || how.awaited || how.processors > 0) return how.openmp;
    return present() == 1 && openmp.is_running(threads, size_of_crew_);
  }

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

  // Wakes the sleeping members that nobody else will wake.  All members, those awake too, go where they are not in the
  // caller's way.
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

  bool asleep(int id) const { return members_[id].asleep.load(); }

  void ring(int id) {
    members_[id].bell.fetch_add(1, std::memory_order_release);
    members_[id].bell.notify_one();
  }

  // A woken member wakes two more: waking takes microseconds, and the caller has work to do.
  void wake_next(int id) {
    for (int next = 2 * id; next < 2 * id + 2 && next < size_.load(std::memory_order_relaxed); ++next) {
      if (asleep(next)) ring(next);
    }
  }

  void serve(int id) {
    const FlushDenormals flush;
    Member& self = members_[id];
    self.thread.store(thread_id(), std::memory_order_relaxed);
    for (;;) {
      Idleness idleness;
      attend(id, 0, [&](bool helped) {
        if (helped || is_wanted(id)) idleness = {};  // a call rings once: one asleep later would miss the rest
        return idleness.at_its_end();
      });
      const std::uint32_t rung = self.bell.load(std::memory_order_acquire);
      self.asleep.store(true);
      // Either it sees a call that begins now, or the call sees it asleep.
      if (!is_wanted(id)) self.bell.wait(rung, std::memory_order_acquire);
      self.asleep.store(false, std::memory_order_relaxed);
      wake_next(id);
    }
  }

  // Runs a call with OpenMP's threads as its members.
  void run_on(const OpenMp& openmp, int threads, Body body, void* context) {
    size_.store(threads, std::memory_order_relaxed);
    whose_ = kOpenMp;
    struct alignas(64) {  // a line of its own: members look at it all the time
      std::atomic<bool> over{false};
    } call;
    openmp.run(threads, [&](int id) {
      if (id == 0) {
        body(context, Team{threads});
        call.over.store(true, std::memory_order_release);
      } else {
        const FlushDenormals flush;
        attend(id, kOpenMp, [&](bool) { return call.over.load(std::memory_order_acquire); });
      }
    });
    whose_ = 0;
  }

  // Helps in every phase of its kind until `ends(helped)` is true, which is asked after each look for a phase.
  template <class Ends>
  void attend(int id, Number kind, Ends ends) {
    const std::uint64_t bit = std::uint64_t{1} << id;
    std::atomic<std::uint64_t>& present = present_[kind == kOpenMp];
    present.fetch_or(bit, std::memory_order_relaxed);
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
    present.fetch_and(~bit, std::memory_order_relaxed);
  }

  // The items of a member's own place: they are the same in the next phase, so their part of the weights is still in
  // the member's cache.
  struct Block {
    std::int64_t begin, end;
    bool single;  // each member has one item
  };
  Block block_of(Number phase, int member) const {
    const std::int64_t items = items_of(phase);
    const std::uint64_t there = present(phase);
    const int members = Team{size_.load(std::memory_order_relaxed)}.members(there);
    const int rank = __builtin_popcountll(there & bits_below(member)) % members;  // it may come from a call before
    return {items * rank / members, items * (rank + 1) / members, items <= members};
  }

  void help(Number phase, int member) {
    const auto items = items_of(phase);
    const Block own = block_of(phase, member);
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

  // Claims and does what it can of the items from begin to end, which wrap around from the last to the first.
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
  bool forked_ = false;
  Number whose_ = 0;    // of the call: the crew's own members, or kOpenMp
  bool alone_ = false;  // in the last phase the caller did what others might have done
  Places places_;
  std::uint64_t placed_ = 0;  // members that are where places_ says
  alignas(64) std::atomic<Number> phase_{0};
  std::atomic<Work> work_{nullptr};
  std::atomic<void*> context_{nullptr};
  std::atomic<int> size_{1};
  std::atomic<int> wanted_{1};  // of the crew and the caller, by the call that runs
  alignas(64) std::atomic<std::int64_t> done_{0};
  // A bit for each member that is awake, and the caller's: of the crew, and of OpenMP.
  alignas(64) std::atomic<std::uint64_t> present_[2]{1, 1};
  Member members_[kMostMembers];
  Item items_[kMostItems];
};

}  // namespace unrolled
