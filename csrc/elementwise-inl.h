// SPDX-License-Identifier: Apache-2.0
// The elementwise work of training: each number is read once, and sums are of whole vectors in one fixed order.

// Vectors that are summed apart.
constexpr int kSquares = 4;

template <class Real>
double sum_of_squares(const Real* x, Index n) {
  const FlushDenormals flush;
  constexpr Index width = kWidth<Real>;
  Vec<Real> sums[kSquares]{};
  for (Index k = 0; k < n; k += width) {
    const Vec<Real> v = n - k < width ? load_n(x + k, n - k) : load(x + k);
    Vec<Real>& sum = sums[k / width % kSquares];
    sum = fma(v, v, sum);
  }
  double total = 0;
  for (const Vec<Real>& sum : sums) {
    for (Index lane = 0; lane < width; ++lane) total += sum[lane];
  }
  return total;
}

template <class Real>
void adam(const AdamStep<Real>& step, Index begin, Index end) {
  const FlushDenormals flush;
  constexpr Index width = kWidth<Real>;
  const auto all = [](Real value) { return broadcast(value); };
  const Vec<Real> rest1 = all(1 - step.beta1), rest2 = all(1 - step.beta2), per_root = all(1 / step.root);
  for (Index k = begin; k < end; k += width) {
    const Index n = min_of(end - k, width);
    const auto read = [&](const Real* from) { return n < width ? load_n(from + k, n) : load(from + k); };
    const auto write = [&](Real* to, Vec<Real> v) { n < width ? store_n(to + k, v, n) : store(to + k, v); };
    const Vec<Real> g = read(step.gradients) * step.scale;
    const Vec<Real> m = fma(rest1, g, read(step.exp_avg) * step.beta1);
    const Vec<Real> v = fma(rest2, g * g, read(step.exp_avg_sq) * step.beta2);
    const Vec<Real> change = m / fma(square_root(v), per_root, all(step.eps));
    write(step.values, fma(all(-step.rate), change, read(step.values) * step.keep));
    write(step.exp_avg, m);
    write(step.exp_avg_sq, v);
    write(step.gradients, Vec<Real>{});
  }
}

inline std::uint32_t unsigned_of(float) { return 0; }
inline std::uint64_t unsigned_of(double) { return 0; }

// A number below 2^32 for each place from the first on, all equally likely (the finisher of MurmurHash3).
template <class Word>
[[gnu::always_inline]] inline Word drawn(Index seed, Index first) {
  const auto low = [](Word w) { return w & 0xffffffff; };
  Word place{};
  for (std::size_t l = 0; l < sizeof place / sizeof place[0]; ++l) place[l] = l;
  const auto at = static_cast<std::uint64_t>(first), key = static_cast<std::uint64_t>(seed);
  const auto high = static_cast<std::uint32_t>((at >> 32) * 0x9e3779b9);
  Word h = low((place + static_cast<std::uint32_t>(at)) * 0x9e3779b1 + static_cast<std::uint32_t>(key));
  h = low((h ^ h >> 16) * 0x85ebca6b) ^ (static_cast<std::uint32_t>(key >> 32) ^ high);
  h = low((h ^ h >> 13) * 0xc2b2ae35);
  return h ^ h >> 16;
}

template <class From, class To>
void drop(const Drop<From, To>& pass, Index begin, Index end) {
  const FlushDenormals flush;
  using Compute = Computed<From>;
  using Unsigned = decltype(unsigned_of(Compute{}));
  typedef Unsigned Word __attribute__((vector_size(kVectorBytes)));
  constexpr Index width = kWidth<Compute>;
  for (Index r = begin; r < end; ++r) {
    const From* x = pass.x + r * pass.H;
    To* y = pass.y + r * pass.H;
    const Index start = pass.starts ? pass.starts[r] : r * pass.H;
    for (Index j = 0; j < pass.H; j += width) {
      const Index n = min_of(pass.H - j, width);
      Vec<Compute> v = read_n<Compute>(x + j, n);
      if (pass.least > 0) {
        const Word stays = (Word)(drawn<Word>(pass.seed, start + j) >= static_cast<Unsigned>(pass.least));
        v = (Vec<Compute>)((Word)(v * pass.scale) & stays);
      }
      write_n<Compute>(y + j, pass.add ? read_n<Compute>(y + j, n) + v : v, n);
    }
  }
}
