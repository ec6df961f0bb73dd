// SPDX-License-Identifier: Apache-2.0
// The threads of a call and how they share its work.  No STL: the kernel units include this file.
#pragma once
#include <cstdint>

namespace unrolled {

// Work is cut into items, and members claim them: no item is reserved for anyone.  The caller is member 0, begins at
// once and claims whatever nobody else has; at the end it waits for items that are claimed and not yet done, never for
// a member that has not come (threads.cpp).
using Work = void (*)(void* context, std::int64_t item, int member);
void share_items(std::int64_t items, Work work, void* context);

// A bit for each member that waits for work or is doing it; the caller's is always set.
std::uint64_t members_present();

constexpr int kMostMembers = 64;
constexpr std::int64_t kMostItems = 128;

struct Team {
  int size = 1;  // members at most; the scratch of a call is laid out for this many

  // How many would take part in work that is shared now.
  [[gnu::always_inline]] int members() const { return size == 1 ? 1 : members(members_present()); }
  int members(std::uint64_t present) const {
    const std::uint64_t mine = size == kMostMembers ? ~std::uint64_t{0} : (std::uint64_t{1} << size) - 1;
    return __builtin_popcountll(present & mine);
  }

  // body(item, member) for each of `items` items, in any order, by any members; all are done when this returns.
  template <class Body>
  [[gnu::always_inline]] void share(std::int64_t items, Body body) const {
    if (size == 1 || items == 1) {
      for (std::int64_t item = 0; item < items; ++item) body(item, 0);
      return;
    }
    struct Shared {
      Body& body;
      std::int64_t items, claims;
    } shared{body, items, items < kMostItems ? items : kMostItems};
    share_items(
        shared.claims,
        [](void* context, std::int64_t claim, int member) {
          const Shared& of = *static_cast<const Shared*>(context);
          const std::int64_t end = of.items * (claim + 1) / of.claims;
          for (std::int64_t item = of.items * claim / of.claims; item < end; ++item) of.body(item, member);
        },
        &shared);
  }
};

}  // namespace unrolled
