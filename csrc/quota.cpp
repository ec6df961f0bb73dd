// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <fstream>
#include <limits>
#include <sstream>
#include <string>

#include "threads.h"

namespace unrolled {

namespace {

constexpr double kNone = std::numeric_limits<double>::infinity();

// Control groups, version 2: "QUOTA PERIOD" or "max PERIOD" in cpu.max.
double quota_2(const std::string& folder) {
  std::ifstream file(folder + "/cpu.max");
  double quota = 0, period = 0;
  return file >> quota >> period && quota > 0 && period > 0 ? quota / period : kNone;  // "max" is no number
}

// Version 1: two files, a quota of -1 for none.
double quota_1(const std::string& folder) {
  std::ifstream quota_file(folder + "/cpu.cfs_quota_us"), period_file(folder + "/cpu.cfs_period_us");
  double quota = 0, period = 0;
  return quota_file >> quota && period_file >> period && quota > 0 && period > 0 ? quota / period : kNone;
}

// The smallest quota of a group and of the groups around it.
template <class Quota>
double smallest(const std::string& root, std::string group, Quota quota) {
  double found = quota(root);
  while (group.size() > 1) {
    found = std::min(found, quota(root + group));
    group.erase(group.find_last_of('/'));
  }
  return found;
}

bool has_controller(const std::string& list, const std::string& name) {
  std::istringstream names(list);
  for (std::string found; std::getline(names, found, ',');) {
    if (found == name) return true;
  }
  return false;
}

}  // namespace

int processor_quota(const std::string& root, const std::string& groups) {
  double quota = kNone;
  std::ifstream file(groups);
  for (std::string line; std::getline(file, line);) {  // NUMBER:CONTROLLERS:/GROUP, without controllers in version 2
    const auto first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1), group = line.substr(second + 1);
    if (controllers.empty()) {
      quota = std::min(quota, smallest(root, group, quota_2));
    } else if (has_controller(controllers, "cpu")) {
      quota = std::min(
          {quota, smallest(root + "/cpu", group, quota_1), smallest(root + "/" + controllers, group, quota_1)});
    }
  }
  return quota < kMostMembers ? std::max(1, static_cast<int>(quota)) : 0;
}

}  // namespace unrolled
