// SPDX-License-Identifier: Apache-2.0
// The one matrix product: out[r][v] = sum_k a[r][k] * panel[k][v], R rows by V vectors held in registers.
//
// Every output element is one chain of multiply_adds over k in ascending order, from zero; a long sum is cut into
// chains of kChain lanes, which are added up in their order.  It does not depend on R, on the other rows or on the
// thread that computes it: hence the same bits in any batch, on any number of threads.  A panel is V vectors of lanes
// (simd/lanes.h) wide and packed [k / kDepth][V * width], so the loop reads it as one stream.

constexpr Index min_of(Index a, Index b) { return a < b ? a : b; }
constexpr Index max_of(Index a, Index b) { return a > b ? a : b; }

constexpr int kPanelVectors = 4;  // the widest panel
constexpr Index kAnyRows = Index{1} << 40;

// The longest chain in lanes, a whole number of vectors: the error of a sum grows with the length of its chains
// (docs/decisions/0002-order-of-sums.md).
constexpr Index kChain = 512;

// As many rows as the registers hold: R * V sums, the weights (V, or one at a time where registers are few), one
// broadcast.
constexpr int max_rows(int V) { return static_cast<int>(min_of(8, (kRegisters - 1 - (kRegisters > 16 ? V : 1)) / V)); }

// Where the registers hold few sums, a panel is soon done, and its first tile would wait for a far cache.  Panels of
// a matrix that the second cache does not hold are brought there by the tiles before, if two of them fit.
constexpr bool kFetchesPanels = kRegisters <= 16;
constexpr Index kNearBytes = 256 << 10;

// How a tile reads its left side.
enum class Left {
  rows,     // a[r][at[s] + k]: element k of segment s of row r, each of K numbers.  The panel runs on over the segments
  columns,  // a[k][at[s] + r], for sums over rows (dW).  Those rows lie too far apart for the hardware prefetcher, so
            // they are prefetched kAhead rows early, and a holds that many rows more than there are
  strip,    // a[0][k * kStripRows + r]: the same, packed in strips of the rows of a tile
};
// The sums of columns and strips are added to what is there, in rows that lie `apart`.
constexpr Index kAhead = 12;
constexpr int kStripRows = 6;
// Of N panels that are packed as one stream, the sums of each follow those of the one before.
// V may be some of the vectors of a wider panel: then the rows are few and do not give the multipliers enough to do
// while the panel comes, so it is prefetched kPanelAhead lanes early.
constexpr Index kPanelAhead = 16;

// The panel that is multiplied next, or the part of it that one tile prefetches: `step` bytes with each lane.
struct NextPanel {
  const char* data = nullptr;
  Index step = 0;
};

template <Left left, int R, int V, int N = 1, int wide = V, bool fetches = false, class Sum, class A>
void tile(Sum* out, const A* const* a, const Index* at, int segments, Index K, const Lane<A>* panel, Index apart = 0,
          NextPanel next = {}) {
  Vec<Sum> sum[N][R][V] = {};
  const auto add = [&](auto lane_of) [[gnu::always_inline]] {
    if (fetches) {
      __builtin_prefetch(next.data, 0, 2);
      next.data += next.step;
    }
    Vec<Lane<A>> w[N][V];
#pragma GCC unroll 2
    for (int n = 0; n < N; ++n) {
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) {
        w[n][v] = load(panel + (n * V + v) * kWidth<Sum>);
        if (wide > V && left == Left::rows) __builtin_prefetch(panel + (kPanelAhead * wide + v) * kWidth<Sum>);
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const Vec<Lane<A>> x = broadcast(lane_of(r));
#pragma GCC unroll 2
      for (int n = 0; n < N; ++n) {
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) sum[n][r][v] = multiply_add(x, w[n][v], sum[n][r][v]);
      }
    }
    panel += N * wide * kWidth<Sum>;
  };
  for (int s = 0; s < segments; ++s) {
    if constexpr (left == Left::strip) {
      const A* column = a[0];
      for (Index k = 0; k < K; ++k, column += kStripRows) add([column](int r) { return column[r]; });
    } else if constexpr (left == Left::columns) {
      for (Index k = 0; k < K; ++k) {
        const A* column = a[k] + at[s];
        __builtin_prefetch(a[k + kAhead] + at[s] + R - 1);
        add([column](int r) { return column[r]; });
      }
    } else {
      const A* row[R];
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) row[r] = a[r] + at[s];
      for (Index k = 0; k < K / kDepth<A>; ++k) add([&row, k](int r) { return lane(row[r] + k * kDepth<A>); });
      if (K % kDepth<A>) add([&row, K](int r) { return last_lane(row[r] + K / kDepth<A> * kDepth<A>); });
    }
  }
#pragma GCC unroll 2
  for (int n = 0; n < N; ++n) {
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) {
        if constexpr (left != Left::rows) {
          Sum* place = out + r * apart + v * kWidth<Sum>;
          store(place, load(place) + sum[n][r][v]);
        } else {
          store(out + ((n * R + r) * wide + v) * kWidth<Sum>, sum[n][r][v]);
        }
      }
    }
  }
}

// A few more rows, where there are no others, are multiplied by one half of a panel and then by the other: so each
// weight is read once; two tiles of fewer rows would read it twice.
constexpr int most_rows(int V) { return V == kPanelVectors && kRegisters > 16 ? 8 : max_rows(V); }

template <int R, int V, class Sum, class A>
[[gnu::noinline]] void tall_tile(Sum* out, const A* const* a, const Index* at, int segments, Index K,
                                 const Lane<A>* panel) {
  for (Index from = 0; from < V * kWidth<Sum>; from += V / 2 * kWidth<Sum>) {
    tile<Left::rows, R, V / 2, 1, V>(out + from, a, at, segments, K, panel + from);
  }
}

// The tile of this many rows and vectors.
template <Left left, int V = 1, int R = 1, class Sum, class A>
[[gnu::always_inline]] inline void sized_tile(Index rows, int vectors, Sum* out, const A* const* a, const Index* at,
                                              int segments, Index K, const Lane<A>* panel, Index apart = 0,
                                              NextPanel next = {}) {
  if constexpr (V < kPanelVectors && R == 1) {
    if (vectors > V) return sized_tile<left, V + 1>(rows, vectors, out, a, at, segments, K, panel, apart, next);
  }
  if constexpr (R < (left == Left::columns ? max_rows(V) : most_rows(V))) {
    if (rows > R) return sized_tile<left, V, R + 1>(rows, vectors, out, a, at, segments, K, panel, apart, next);
  }
  if constexpr (R > max_rows(V)) {
    tall_tile<R, V>(out, a, at, segments, K, panel);
  } else {
    if constexpr (kFetchesPanels && left == Left::rows && V > 2 && R > 1) {
      if (next.data) return tile<left, R, V, 1, V, true>(out, a, at, segments, K, panel, apart, next);
    }
    tile<left, R, V>(out, a, at, segments, K, panel, apart);
  }
}

// `at` of rows in one segment.
constexpr Index kStart = 0;

// The sums of one tile, between the product and their use.
template <class Sum>
struct TileSums {
  alignas(64) Sum data[8 * kPanelVectors * kWidth<Sum>];
};

// The sums of the tile of this many rows and vectors, in chains of kChain lanes.
template <class Sum, class A>
[[gnu::noinline]] void run_long_tile(Index rows, int vectors, Sum* out, const A* const* a, const Index* at,
                                     int segments, Index K, const Lane<A>* panel, NextPanel next) {
  TileSums<Sum> chain;
  for (int s = 0; s < segments; ++s) {
    for (Index k = 0; k < K; k += kChain * kDepth<A>) {
      const Index n = min_of(K - k, kChain * kDepth<A>), from = at[s] + k;
      const bool first = s == 0 && k == 0;
      sized_tile<Left::rows>(rows, vectors, first ? out : chain.data, a, &from, 1, n, panel, 0, next);
      if (next.data) next.data += lanes_of<A>(n) * next.step;
      panel += lanes_of<A>(n) * vectors * kWidth<Sum>;
      for (Index v = 0; !first && v < rows * vectors; ++v) {
        Sum* to = out + v * kWidth<Sum>;
        store(to, load(to) + load(chain.data + v * kWidth<Sum>));
      }
    }
  }
}

// Segments of up to kChain lanes are one chain together, longer ones are cut.
template <class Sum, class A>
[[gnu::always_inline]] inline void run_tile(Index rows, int vectors, Sum* out, const A* const* a, const Index* at,
                                            int segments, Index K, const Lane<A>* panel, NextPanel next) {
  if (K > kChain * kDepth<A>) return run_long_tile(rows, vectors, out, a, at, segments, K, panel, next);
  sized_tile<Left::rows>(rows, vectors, out, a, at, segments, K, panel, 0, next);
}

// The same, compiled once for all products of one type.
template <class Sum, class A>
[[gnu::noinline]] void run_shared_tile(Index rows, int vectors, Sum* out, const A* const* a, const Index* at,
                                       int segments, Index K, const Lane<A>* panel, NextPanel next) {
  run_tile(rows, vectors, out, a, at, segments, K, panel, next);
}

// Adds one chain of the sums over lanes of rows, for the columns from `at` on.
template <class Sum, class A>
[[gnu::noinline]] void add_transposed_tile(Index rows, int vectors, Sum* to, Index apart, const A* const* a, Index at,
                                           Index K, const Lane<A>* panel) {
  sized_tile<Left::columns>(rows, vectors, to, a, &at, 1, K, panel, apart);
}

// The same for one strip, two vectors of a panel of kPanelVectors at a time.
template <int R = 1, class Sum, class A>
[[gnu::always_inline]] inline void sized_strip(Index rows, int vectors, Sum* to, Index apart, const A* strip, Index K,
                                               const Lane<A>* panel) {
  if constexpr (R < kStripRows) {
    if (rows > R) return sized_strip<R + 1>(rows, vectors, to, apart, strip, K, panel);
  }
  for (; vectors >= 2; vectors -= 2, to += 2 * kWidth<Sum>, panel += 2 * kWidth<Sum>) {
    tile<Left::strip, R, 2, 1, kPanelVectors>(to, &strip, &kStart, 1, K, panel, apart);
  }
  if (vectors > 0) tile<Left::strip, R, 1, 1, kPanelVectors>(to, &strip, &kStart, 1, K, panel, apart);
}
template <class Sum, class A>
[[gnu::noinline]] void add_strip(Index rows, int vectors, Sum* to, Index apart, const A* strip, Index K,
                                 const Lane<A>* panel) {
  sized_strip(rows, vectors, to, apart, strip, K, panel);
}

// One or two rows have fewer chains in a panel than the multipliers take at a time, and are multiplied by two panels:
// the most rows for which this holds, given the vectors of a panel.
constexpr Index paired_rows(int V) { return min_of(2, max_rows(2 * V)); }

// The sums of this many rows, at most paired_rows(V), and two panels of V vectors that are packed as one stream.
template <int V, class Sum, class A>
[[gnu::noinline]] void run_paired_tile(Index rows, Sum* out, const A* const* a, const Index* at, int segments, Index K,
                                       const Lane<A>* panels) {
  if constexpr (paired_rows(V) > 1) {
    if (rows > 1) return tile<Left::rows, 2, V, 2>(out, a, at, segments, K, panels);
  }
  tile<Left::rows, 1, V, 2>(out, a, at, segments, K, panels);
}

// Cuts n rows into tiles of nearly equal height, at most `most`: 32 rows of 6 are 6 6 5 5 5 5, not 6 6 6 6 6 2.  Here
// and in Part, 1 is a special case: a division takes as long as a whole tile of a small layer.
struct RowTiles {
  Index rows, count;
  RowTiles(Index n, int most) : rows(n), count(n <= most ? n > 0 : (n + most - 1) / most) {}
  Index begin(Index tile) const { return count <= 1 ? rows * tile : rows * tile / count; }
};

struct Range {
  Index begin, end;
  bool back = false;  // from the last to the first
};

// One of `parts` parts of whatever there is.
struct Part {
  Index part, parts;

  Range of(Index n) const { return parts == 1 ? Range{0, n} : Range{n * part / parts, n * (part + 1) / parts}; }
};
constexpr Part kWhole{0, 1};

// Rows b of `from` (width wide, null: zeros) into rows padded_width wide, zeros behind them.
template <class To, class From>
inline void pad_rows(To* to, const From* from, Index width, Index padded_width, Range b) {
  for (Index k = b.begin; k < b.end; ++k) {
    for (Index j = 0; j < padded_width; ++j)
      to[k * padded_width + j] = from && j < width ? static_cast<To>(from[k * width + j]) : To{0};
  }
}
