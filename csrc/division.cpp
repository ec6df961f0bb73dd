// SPDX-License-Identifier: Apache-2.0
#include "division.h"

#include <algorithm>
#include <numeric>

namespace unrolled {

namespace {

// Measured on two-core virtual machines with AVX-512 (docs/performance.md); only their ratios matter here.
constexpr double kMultiplyAdds = 6;  // a nanosecond, for each lane of a vector
constexpr double kNearBytes = 100;   // read a nanosecond, of weights that fit a core's own cache
constexpr double kFarBytes = 40;     // of weights that do not
constexpr double kNear = 1 << 20;    // bytes of such a cache
constexpr double kMeeting = 600;     // two members meet, ns
constexpr double kMeetingEach = 60;  // for each further member
constexpr double kBegin = 4000;      // to wake a member and give it the first item
constexpr Index kTileRows = 6;       // rows of a tile: fewer use the weights that it reads less often
constexpr double kWorthIt = 0.9;     // of the time with fewer members: a smaller gain is within the model's error

constexpr Index cut(Index n, Index parts) { return (n + parts - 1) / parts; }

}  // namespace

Blocking blocking(Division division, Index members, Index recurrences, Index B, Index panels) {
  const Index each = recurrences >= 4 * members ? 1 : members / std::gcd(members, recurrences);
  if (division == Division::rows || B <= 0) return {std::clamp<Index>(each, 1, std::max<Index>(1, B)), 1};
  Blocking best{1, std::min(each, panels)};
  const auto tiles = [&](Blocking b) { return cut(cut(B, b.rows), kTileRows) * cut(panels, b.panels); };
  for (Index rows = 2; rows <= std::min(each, B); ++rows) {
    const Blocking b{rows, std::min(each / rows, panels)};
    if (tiles(b) < tiles(best)) best = b;
  }
  return best;
}

double predict(const Workload& work, Division division, Index members) {
  const Blocking blocks = blocking(division, members, work.recurrences, work.B, work.panels);
  const Index turns = cut(work.recurrences * blocks.rows * blocks.panels, members);
  const auto rows = static_cast<double>(cut(work.B, blocks.rows));
  const double share = static_cast<double>(cut(work.panels, blocks.panels)) / static_cast<double>(work.panels);
  const double bytes = work.bytes * share;
  const double reading = static_cast<double>(cut(cut(work.B, blocks.rows), kTileRows)) * bytes /
                         (bytes * static_cast<double>(turns) > kNear ? kFarBytes : kNearBytes);
  const double rate = kMultiplyAdds * work.lanes;
  const double step = std::max(rows * work.recurrent * share / rate, reading);
  const double rest = rows * work.rest * share / rate;
  const double meeting =
      division == Division::steps && members > 1 ? kMeeting + kMeetingEach * static_cast<double>(members - 2) : 0;
  const double begin = members > 1 ? kBegin : 0;
  return begin + static_cast<double>(work.T) * (static_cast<double>(turns) * (step + rest) + meeting);
}

Crewing choose_team(const Workload& work, int allowed) {
  Crewing best{1, Division::rows, predict(work, Division::rows, 1)};
  for (int members = 2; members <= allowed; ++members) {
    for (const Division division : {Division::rows, Division::steps}) {
      const double found = predict(work, division, members);
      if (found < kWorthIt * best.nanoseconds) best = {members, division, found};
    }
  }
  return best;
}

}  // namespace unrolled
