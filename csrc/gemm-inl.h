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

// The longest chain in lanes, a whole number of vectors: the error of a sum grows with the length of its chains
// (docs/decisions/0002-order-of-sums.md).
constexpr Index kChain = 512;

// As many rows as the registers hold: R * V sums, the weights (V, or one at a time where registers are few), one
// broadcast.
constexpr int max_rows(int V) { return static_cast<int>(min_of(8, (kRegisters - 1 - (kRegisters > 16 ? V : 1)) / V)); }

// a[r][at[s] + k]: element k of segment s of row r, each of K numbers.  The panel runs on over the segments.
// Transposed, for sums over rows (dW): a[k][at[s] + r].  Those rows lie too far apart for the hardware prefetcher, so
// they are prefetched kAhead rows early, and a holds that many rows more than there are.
constexpr Index kAhead = 12;
template <bool Transposed, int R, int V, class Sum, class A>
void tile(Sum* out, const A* const* a, const Index* at, int segments, Index K, const Lane<A>* panel) {
  Vec<Sum> sum[R][V] = {};
  const auto add = [&](auto lane_of) [[gnu::always_inline]] {
    Vec<Lane<A>> w[V];
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) w[v] = load(panel + v * kWidth<Sum>);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const Vec<Lane<A>> x = broadcast(lane_of(r));
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) sum[r][v] = multiply_add(x, w[v], sum[r][v]);
    }
    panel += V * kWidth<Sum>;
  };
  for (int s = 0; s < segments; ++s) {
    if constexpr (Transposed) {
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
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) store(out + (r * V + v) * kWidth<Sum>, sum[r][v]);
  }
}

// The tile of so many rows and vectors.
template <bool Transposed, int V = 1, int R = 1, class Sum, class A>
[[gnu::always_inline]] inline void sized_tile(Index rows, int vectors, Sum* out, const A* const* a, const Index* at,
                                              int segments, Index K, const Lane<A>* panel) {
  if constexpr (V < kPanelVectors && R == 1) {
    if (vectors > V) return sized_tile<Transposed, V + 1>(rows, vectors, out, a, at, segments, K, panel);
  }
  if constexpr (R < max_rows(V)) {
    if (rows > R) return sized_tile<Transposed, V, R + 1>(rows, vectors, out, a, at, segments, K, panel);
  }
  tile<Transposed, R, V>(out, a, at, segments, K, panel);
}

// `at` of rows in one segment.
constexpr Index kStart = 0;

// The sums of one tile, between the product and their use.
template <class Sum>
struct TileSums {
  alignas(64) Sum data[8 * kPanelVectors * kWidth<Sum>];
};

// The sums of the tile of so many rows and vectors, in chains of kChain lanes.
template <bool Transposed, class Sum, class A>
[[gnu::noinline]] void run_long_tile(Index rows, int vectors, Sum* out, const A* const* a, const Index* at,
                                     int segments, Index K, const Lane<A>* panel) {
  TileSums<Sum> chain;
  for (int s = 0; s < segments; ++s) {
    for (Index k = 0; k < K; k += kChain * kDepth<A>) {
      const Index n = min_of(K - k, kChain * kDepth<A>), from = Transposed ? at[s] : at[s] + k;
      const bool first = s == 0 && k == 0;
      sized_tile<Transposed>(rows, vectors, first ? out : chain.data, Transposed ? a + k : a, &from, 1, n, panel);
      panel += lanes_of<A>(n) * vectors * kWidth<Sum>;
      for (Index v = 0; !first && v < rows * vectors; ++v) {
        Sum* to = out + v * kWidth<Sum>;
        store(to, load(to) + load(chain.data + v * kWidth<Sum>));
      }
    }
  }
}

// Segments of up to kChain lanes are one chain together, longer ones are cut.
template <bool Transposed, class Sum, class A>
[[gnu::always_inline]] inline void run_tile(Index rows, int vectors, Sum* out, const A* const* a, const Index* at,
                                            int segments, Index K, const Lane<A>* panel) {
  if (K > kChain * kDepth<A>) return run_long_tile<Transposed>(rows, vectors, out, a, at, segments, K, panel);
  sized_tile<Transposed>(rows, vectors, out, a, at, segments, K, panel);
}

// The same, compiled once for all products of one type.
template <bool Transposed, class Sum, class A>
[[gnu::noinline]] void run_shared_tile(Index rows, int vectors, Sum* out, const A* const* a, const Index* at,
                                       int segments, Index K, const Lane<A>* panel) {
  run_tile<Transposed>(rows, vectors, out, a, at, segments, K, panel);
}

// Cuts n rows into tiles of nearly equal height, at most `most`: 32 rows of 6 are 6 6 5 5 5 5, not 6 6 6 6 6 2.  Here
// and in Part one is a case of its own: a division takes as long as a whole tile of a small layer.
struct RowTiles {
  Index rows, count;
  RowTiles(Index n, int most) : rows(n), count(n <= most ? n > 0 : (n + most - 1) / most) {}
  Index begin(Index tile) const { return count <= 1 ? rows * tile : rows * tile / count; }
};

struct Range {
  Index begin, end;
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

// How the columns of a product are cut into panels of up to kPanelVectors vectors.  With several gates a panel covers
// one vector of units, and its vector v belongs to gate v.
template <class Storage_, class Sum_, int gates_ = 1>
struct Panels {
  using Storage = Storage_;
  using Sum = Sum_;
  static constexpr int gates = gates_;
  static constexpr int most = gates > 1 ? gates : kPanelVectors;          // vectors of a whole panel
  static constexpr Index covered = (gates > 1 ? 1 : most) * kWidth<Sum>;  // columns of a whole panel

  Index columns;  // of the product, one gate's worth
  Index K;        // the length of one segment of the sums
  int segments;   // of each sum
  Index count;
  Lane<Storage>* data = nullptr;      // packed [panel][segment][k / kDepth][vectors * width]
  const Storage* unpacked = nullptr;  // or, where nothing is packed, W (gates * columns, K) itself

  Panels() = default;
  Panels(Index columns, Index K, int segments = 1)
      : columns(columns), K(K), segments(segments), count((columns + covered - 1) / covered) {}
  Index first(Index panel) const { return panel * covered; }  // column
  int vectors(Index panel) const {
    if (gates > 1) return gates;
    return static_cast<int>(min_of(most, (columns - first(panel) + kWidth<Sum> - 1) / kWidth<Sum>));
  }
  // The columns of some panels, up to padded_columns for the last.
  Range units(Range panels, Index padded_columns) const {
    return {first(panels.begin), panels.end == count ? padded_columns : first(panels.end)};
  }
  // How many of the vector from this column on are columns of the product.
  Index lanes(Index column) const { return min_of(columns - column, kWidth<Sum>); }
  Lane<Storage>* panel(Index p) const { return data + p * panel_size(); }
  Index panel_size() const { return segments * lanes_of<Storage>(K) * most * kWidth<Sum>; }
  Index size() const { return count * panel_size(); }
  Range whole() const { return {0, count}; }
};

// each(row, column, sums) for the rows of a tile and every vector of columns; with several gates, sums holds one vector
// for each.
template <class P, class Each>
[[gnu::always_inline]] inline void for_each_vector(const P& panels, Index p, Index R, const typename P::Sum* sums,
                                                   Each each) {
  constexpr Index width = kWidth<typename P::Sum>;
  const int V = panels.vectors(p);
  for (Index r = 0; r < R; ++r) {
    for (int v = 0; v < V; v += P::gates) {
      each(r, panels.first(p) + v / P::gates * width, sums + (r * V + v) * width);
    }
  }
}

// The loop nest of all products of rows: panel > tile of rows > row > vector.  product(sums, p, r0, R) forms the sums
// of R rows from r0 on and panel p; each(row, column, sums) is called as in for_each_vector.
template <class P, class Product, class Each>
[[gnu::always_inline]] inline void for_each_tile(const P& panels, Range range, Index rows, Product product, Each each) {
  TileSums<typename P::Sum> sums;
  for (Index p = range.begin; p < range.end; ++p) {
    const RowTiles tiles(rows, max_rows(panels.vectors(p)));
    for (Index i = 0; i < tiles.count; ++i) {
      const Index r0 = tiles.begin(i), R = tiles.begin(i + 1) - r0;
      product(sums.data, p, r0, R);
      for_each_vector(panels, p, R, sums.data,
                      [&](Index r, Index column, const typename P::Sum* of) { each(r0 + r, column, of); });
    }
  }
}

// Where vector v of a panel comes from in W (gates * columns, K): a row for each lane.
template <class Storage, class Sum>
struct Source {
  static constexpr Index width = kWidth<Sum>, depth = kDepth<Storage>;
  static constexpr Index block = kColumns<Lane<Storage>> * depth;  // numbers of k that are transposed together
  using Factors = Vec<Lane<Storage>>[kColumns<Lane<Storage>>];
  const Storage* row[width];  // those past the columns of the product are the last one again
  Index K;

  template <class P>
  Source(const P& panels, Index p, int v, const Storage* W) : K(panels.K) {
    const Index unit = panels.first(p) + (P::gates > 1 ? 0 : v * width), last = panels.lanes(unit) - 1;
    const Storage* rows = W + ((P::gates > 1 ? v : 0) * panels.columns + unit) * K;
    for (Index l = 0; l < width; ++l) row[l] = rows + min_of(l, last) * K;
  }

  // to[c][l] = the lane of row l, column c of those from k on: a block of them,
  [[gnu::always_inline]] void transposed(Index k, Factors& to) const {
    using Number = Lane<Storage>;
    load_columns<Number>([&](Index l) { return reinterpret_cast<const Number*>(row[l] + k); }, to);
  }
  // or the `left` numbers of k that are less than a block; the other lanes hold anything.
  [[gnu::noinline]] void transposed(Index k, Index left, Factors& to) const {
    for (Index c = 0; c * depth < left; ++c) {
      alignas(64) Lane<Storage> column[width];
      for (Index l = 0; l < width; ++l) column[l] = lane_n(row[l] + k + c * depth, left - c * depth);
      to[c] = load(column);
    }
  }
};

// Fills panel p with W transposed: panel[k][v][l] = W[gate * columns + unit][k] for W (gates * columns, K).
template <class P>
void pack_transposed(const P& to, Index p, const typename P::Storage* W) {
  using From = Source<typename P::Storage, typename P::Sum>;
  const int V = to.vectors(p);
  for (int v = 0; v < V; ++v) {
    const From source(to, p, v, W);
    auto* out = to.panel(p) + v * From::width;
    typename From::Factors columns;
    Index k = 0;
    for (; k + From::block <= to.K; k += From::block) {
      source.transposed(k, columns);
#pragma GCC unroll 8
      for (const auto& column : columns) store(out, column), out += V * From::width;
    }
    if (k == to.K) continue;
    typename From::Factors rest;
    source.transposed(k, to.K - k, rest);
    for (Index c = 0; c < lanes_of<typename P::Storage>(to.K - k); ++c) store(out, rest[c]), out += V * From::width;
  }
}

// A part of the panels of W transposed.
template <class P>
void pack_transposed(const P& to, const typename P::Storage* W, Part part) {
  const Range panels = part.of(to.count);
  for (Index p = panels.begin; p < panels.end; ++p) pack_transposed(to, p, W);
}

// A call of at most so many rows does not pack W: it is transposed in registers and added to the sums.
constexpr int kUnpackedRows = 4;

// The same sums as `tile` for S vectors of a panel, from W itself: the same chains of multiply_adds.  One chain alone
// waits for its own sums, and more than two read more places in memory than the processor fetches ahead.
template <int R, int S, class Sum, class A>
[[gnu::noinline]] void vectors_unpacked(Sum* out, Index apart, const A* const* a, const Source<A, Sum>* sources) {
  using From = Source<A, Sum>;
  constexpr Index depth = kDepth<A>;
  Vec<Sum> total[R][S], sum[R][S];
  const auto add = [&](int s, Index k, const typename From::Factors& columns, Index count) [[gnu::always_inline]] {
#pragma GCC unroll 8
    for (Index c = 0; c < kColumns<Lane<A>>; ++c) {
      if (c >= lanes_of<A>(count)) break;
      const bool whole = count == From::block || c * depth + depth <= count;
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) {
        const A* number = a[r] + k + c * depth;
        sum[r][s] = multiply_add(broadcast(whole ? lane(number) : last_lane(number)), columns[c], sum[r][s]);
      }
    }
  };
  const Index K = sources->K;
  Index k = 0;
  do {
    for (auto& row : sum) {
      for (Vec<Sum>& of : row) of = Vec<Sum>{};
    }
    const Index first = k, end = min_of(K, first + kChain * depth);
    for (; k + From::block <= end; k += From::block) {
#pragma GCC unroll 2
      for (int s = 0; s < S; ++s) {
        typename From::Factors columns;
        sources[s].transposed(k, columns);
        add(s, k, columns, From::block);
      }
    }
    for (int s = 0; k < end && s < S; ++s) {
      typename From::Factors rest;
      sources[s].transposed(k, end - k, rest);
      add(s, k, rest, end - k);
    }
    k = end;
    for (int r = 0; r < R; ++r) {
      for (int s = 0; s < S; ++s) total[r][s] = first == 0 ? sum[r][s] : total[r][s] + sum[r][s];
    }
  } while (k < K);
  for (int r = 0; r < R; ++r) {
    for (int s = 0; s < S; ++s) store(out + r * apart + s * From::width, total[r][s]);
  }
}

// Panel p of a matrix that is not packed.
template <int R, class P, class A>
void tile_unpacked(typename P::Sum* out, const A* const* a, const P& panels, Index p) {
  using From = Source<A, typename P::Sum>;
  const int V = panels.vectors(p);
  for (int v = 0; v < V; v += 2) {
    if (v + 1 == V) {
      const From source(panels, p, v, panels.unpacked);
      vectors_unpacked<R, 1>(out + v * From::width, V * From::width, a, &source);
    } else {
      const From sources[] = {{panels, p, v, panels.unpacked}, {panels, p, v + 1, panels.unpacked}};
      vectors_unpacked<R, 2>(out + v * From::width, V * From::width, a, sources);
    }
  }
}

// The tile of so many rows, at most kUnpackedRows.
template <int R = 1, class P, class A>
[[gnu::always_inline]] inline void run_tile_unpacked(Index rows, typename P::Sum* out, const A* const* a,
                                                     const P& panels, Index p) {
  if constexpr (R < kUnpackedRows) {
    if (rows > R) return run_tile_unpacked<R + 1>(rows, out, a, panels, p);
  }
  tile_unpacked<R>(out, a, panels, p);
}

// Rows of a, each in segments as for `tile`, times a matrix in panels.  A matrix that is not packed takes whole rows. A
// product of single steps of a recurrence has the tiles inside it: there a call would count.
template <bool inlined = false, class P, class A, class Each>
[[gnu::always_inline]] inline void multiply_rows(const P& panels, Range range, const A* const* a, Index rows, Each each,
                                                 const Index* at = &kStart) {
  const auto product = [&](typename P::Sum* sums, Index p, Index r0, Index R) {
    if constexpr (!__is_same(A, std::int8_t)) {
      if (panels.unpacked) return run_tile_unpacked(R, sums, a + r0, panels, p);
    }
    const int V = panels.vectors(p);
    if constexpr (inlined) return run_tile<false>(R, V, sums, a + r0, at, panels.segments, panels.K, panels.panel(p));
    run_shared_tile<false>(R, V, sums, a + r0, at, panels.segments, panels.K, panels.panel(p));
  };
  for_each_tile(panels, range, rows, product, each);
}

// Fills panel p from `out` on with rows as they stand: out[k][c] = row(k)[first(p) + c].
template <class P, class RowOf>
void pack_plain(const P& panels, Index p, RowOf row_of, Lane<typename P::Storage>* out) {
  using Sum = typename P::Sum;
  constexpr Index depth = kDepth<typename P::Storage>;
  const int V = panels.vectors(p);
  for (int s = 0; s < panels.segments; ++s) {
    for (Index k = s * panels.K, end = k + panels.K; k < end; k += depth) {
      const auto *row = row_of(k), *next = k + 1 < end && depth > 1 ? row_of(k + 1) : nullptr;
      for (int v = 0; v < V; ++v, out += kWidth<Sum>) {
        const Index column = panels.first(p) + v * kWidth<Sum>;
        store(out, lanes_across(row + column, next ? next + column : nullptr, panels.lanes(column)));
      }
    }
  }
}

// A part of the panels of W (segments * K, columns) as it stands.
template <class P>
void pack_plain(const P& to, const typename P::Storage* W, Part part) {
  const Range panels = part.of(to.count);
  for (Index p = panels.begin; p < panels.end; ++p) {
    pack_plain(to, p, [&](Index k) { return W + k * to.columns; }, to.panel(p));
  }
}
