// SPDX-License-Identifier: Apache-2.0
// A step that is run again and again: what it needs lies at the start of its own memory, so that its caller need not
// know its type.

struct StepHead {
  void (*run)(const void* of);
  const void* of;
};

template <class Step, class Real>
StepBytes bytes_of(const Call<Real>& call) {
  Arena own(nullptr), weights(nullptr);
  own.take<StepHead>(1);
  own.take<Step>(1);
  const Step step(call, own, weights);
  return {weights.used(), own.used()};
}

template <class Step, class Real>
void prepare(const Call<Real>& call, void* packed, void* memory, bool pack) {
  const FlushDenormals flush;
  Arena own(memory), weights(packed);
  StepHead* head = own.take<StepHead>(1);
  void* place = own.take<Step>(1);
  Step step(call, own, weights);
  step.arrange();
  if (pack) step.pack();
  __builtin_memcpy(place, &step, sizeof step);
  *head = {[](const void* of) { static_cast<const Step*>(of)->run(); }, place};
}

inline void step(const void* own) {
  const FlushDenormals flush;
  const StepHead& head = *static_cast<const StepHead*>(own);
  head.run(head.of);
}
