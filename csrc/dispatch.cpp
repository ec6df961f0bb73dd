// SPDX-License-Identifier: Apache-2.0
#include "dispatch.h"

#include <atomic>
#include <cstdlib>
#include <stdexcept>

namespace unrolled {

const std::vector<const InstructionSet*>& compiled_instruction_sets() {
  static const std::vector<const InstructionSet*> sets = [] {
    std::vector<const InstructionSet*> found;
    for (auto set = unrolled_instruction_sets(); *set; ++set) found.push_back(*set);
    return found;
  }();
  return sets;
}

const std::vector<const InstructionSet*>& supported_instruction_sets() {
  static const std::vector<const InstructionSet*> sets = [] {
    auto found = compiled_instruction_sets();
    std::erase_if(found, [](const InstructionSet* set) { return !set->supported(); });
    return found;
  }();
  return sets;
}

namespace {

const InstructionSet* by_name(const std::string& name, const char* from) {
  std::string legal;
  for (const InstructionSet* set : supported_instruction_sets()) {
    if (name == set->name) return set;
    legal += (legal.empty() ? "" : ", ") + std::string(set->name);
  }
  throw std::invalid_argument(std::string(from) + ": no instruction set '" + name +
                              "' on this machine; the legal names are " + legal);
}

const InstructionSet* choose() {
  const char* name = std::getenv("UNROLLED_ISA");
  return name && *name ? by_name(name, "UNROLLED_ISA") : supported_instruction_sets().front();
}

std::atomic<const InstructionSet*> active{nullptr};

}  // namespace

const InstructionSet& active_instruction_set() {
  const InstructionSet* set = active.load(std::memory_order_acquire);
  if (!set) {
    set = choose();
    active.store(set, std::memory_order_release);
  }
  return *set;
}

void force_instruction_set(const std::string& name) {
  active.store(by_name(name, "force_instruction_set"), std::memory_order_release);
}

}  // namespace unrolled
