// SPDX-License-Identifier: Apache-2.0
// The one matrix product: out[r][v] = sum_k a[r][k] * panel[k][v], R rows by V vectors held in registers.
//
// Every output element is one chain of fused multiply-adds over k in ascending order, from zero; a long sum is cut into
// chains of kChain terms, which are added up in their order.  It does not depend on R, on the other rows or on the
// thread that computes it: hence the same bits in any batch, on any number of threads.  A panel is V vectors wide and
// packed [k][V * width], so the loop reads it as one stream.

constexpr Index min_of(Index a, Index b) { return a < b ? a : b; }
constexpr Index max_of(Index a, Index b) { return a > b ? a : b; }

constexpr int kPanelVectors = 4;  // the widest panel

// The longest chain, a whole number of vectors: the error of a sum grows with the length of its chains
// (docs/decisions/0002-order-of-sums.md).
constexpr Index kChain = 512;

// As many rows as the registers hold: R * V sums, the weights (V, or one at a time where registers are few), one
// broadcast.
constexpr int max_rows(int V) { return static_cast<int>(min_of(8, (kRegisters - 1 - (kRegisters > 16 ? V : 1)) / V)); }

// a[r][at[s] + k]: element k of segment s of row r.  The panel runs on over the segments.
// Transposed, for sums over rows (dW): a[k][at[s] + r].  Those rows lie too far apart for the hardware prefetcher, so
// they are prefetched kAhead rows early, and a holds that many rows more than there are.
constexpr Index kAhead = 12;
template <class Sum, class A, class W, int R, int V, bool Transposed>
void tile(Sum* out, const A* const* a, const Index* at, int segments, Index K, const W* panel) {
  Vec<Sum> sum[R][V] = {};
  for (int s = 0; s < segments; ++s) {
    const A* row[R];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) row[r] = Transposed ? nullptr : a[r] + at[s];
    for (Index k = 0; k < K; ++k) {
      const A* column = Transposed ? a[k] + at[s] : nullptr;
      if (Transposed) __builtin_prefetch(a[k + kAhead] + at[s] + R - 1);
      Vec<Sum> w[V];
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) w[v] = read<Sum>(panel + v * kWidth<Sum>);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        const Vec<Sum> x = broadcast(static_cast<Sum>(Transposed ? column[r] : row[r][k]));
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) sum[r][v] = fma(x, w[v], sum[r][v]);
      }
      panel += V * kWidth<Sum>;
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) store(out + (r * V + v) * kWidth<Sum>, sum[r][v]);
  }
}

// The tile of so many rows and vectors.
template <bool Transposed, class Sum, class A, class W, int V = 1, int R = 1>
[[gnu::always_inline]] inline void sized_tile(Index rows, int vectors, Sum* out, const A* const* a, const Index* at,
                                              int segments, Index K, const W* panel) {
  if constexpr (V < kPanelVectors && R == 1) {
    if (vectors > V) return sized_tile<Transposed, Sum, A, W, V + 1>(rows, vectors, out, a, at, segments, K, panel);
  }
  if constexpr (R < max_rows(V)) {
    if (rows > R) return sized_tile<Transposed, Sum, A, W, V, R + 1>(rows, vectors, out, a, at, segments, K, panel);
  }
  tile<Sum, A, W, R, V, Transposed>(out, a, at, segments, K, panel);
}

// `at` of rows in one segment.
constexpr Index kStart = 0;

// The sums of one tile, between the product and their use.
template <class Sum>
struct TileSums {
  alignas(64) Sum data[8 * kPanelVectors * kWidth<Sum>];
};

// The sums of the tile of so many rows and vectors, in chains of kChain terms.
template <bool Transposed, class Sum, class A, class W>
[[gnu::noinline]] void run_long_tile(Index rows, int vectors, Sum* out, const A* const* a, const Index* at,
                                     int segments, Index K, const W* panel) {
  TileSums<Sum> chain;
  for (int s = 0; s < segments; ++s) {
    for (Index k = 0; k < K; k += kChain) {
      const Index n = min_of(K - k, kChain), from = Transposed ? at[s] : at[s] + k;
      const bool first = s == 0 && k == 0;
      sized_tile<Transposed>(rows, vectors, first ? out : chain.data, Transposed ? a + k : a, &from, 1, n, panel);
      panel += n * vectors * kWidth<Sum>;
      for (Index v = 0; !first && v < rows * vectors; ++v) {
        Sum* to = out + v * kWidth<Sum>;
        store(to, load(to) + load(chain.data + v * kWidth<Sum>));
      }
    }
  }
}

// Segments of up to kChain terms are one chain together, longer ones are cut.
template <bool Transposed, class Sum, class A, class W>
[[gnu::always_inline]] inline void run_tile(Index rows, int vectors, Sum* out, const A* const* a, const Index* at,
                                            int segments, Index K, const W* panel) {
  if (K > kChain) return run_long_tile<Transposed>(rows, vectors, out, a, at, segments, K, panel);
  sized_tile<Transposed>(rows, vectors, out, a, at, segments, K, panel);
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
template <class Packed_, class Sum_, int gates_ = 1>
struct Panels {
  using Packed = Packed_;
  using Sum = Sum_;
  static constexpr int gates = gates_;
  static constexpr int most = gates > 1 ? gates : kPanelVectors;          // vectors of a whole panel
  static constexpr Index covered = (gates > 1 ? 1 : most) * kWidth<Sum>;  // columns of a whole panel

  Index columns;  // of the product, one gate's worth
  Index K;        // the length of the sums
  Index count;
  Packed* data = nullptr;            // packed [panel][k][vectors * width]
  const Packed* unpacked = nullptr;  // or, where nothing is packed, W (gates * columns, K) itself

  Panels() = default;
  Panels(Index columns, Index K) : columns(columns), K(K), count((columns + covered - 1) / covered) {}
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
  Packed* panel(Index p) const { return data + p * K * most * kWidth<Sum>; }
  Index size() const { return count * K * most * kWidth<Sum>; }
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

// Where vector v of a panel comes from in W (gates * columns, K): `lanes` rows from `rows` on.
template <class P>
struct Source {
  using Sum = typename P::Sum;
  const typename P::Packed* rows;
  Index lanes, K;

  Source(const P& panels, Index p, int v, const typename P::Packed* W) : K(panels.K) {
    const Index unit = panels.first(p) + (P::gates > 1 ? 0 : v * kWidth<Sum>);
    rows = W + ((P::gates > 1 ? v : 0) * panels.columns + unit) * K;
    lanes = panels.lanes(unit);
  }

  // block[c][lane] = row(lane)[k + c] for `left` columns c from k on, zeros in the lanes beyond.
  [[gnu::always_inline]] void transposed(Index k, Index left, Vec<Sum> (&block)[kWidth<Sum>]) const {
#pragma GCC unroll 16
    for (Index lane = 0; lane < kWidth<Sum>; ++lane) {
      block[lane] = lane < lanes ? read_n<Sum>(rows + lane * K + k, left) : Vec<Sum>{};
    }
    transpose<Sum>(block);
  }
};

// Fills panel p with W transposed: panel[k][v][lane] = W[gate * columns + unit][k] for W (gates * columns, K).
template <class P>
void pack_transposed(const P& to, Index p, const typename P::Packed* W) {
  using Sum = typename P::Sum;
  constexpr Index width = kWidth<Sum>;
  const int V = to.vectors(p);
  for (int v = 0; v < V; ++v) {
    const Source<P> source(to, p, v, W);
    for (Index k = 0; k < to.K; k += width) {
      const Index left = min_of(to.K - k, width);
      Vec<Sum> block[width];
      source.transposed(k, left, block);
      auto* out = to.panel(p) + (k * V + v) * width;
#pragma GCC unroll 16
      for (Index c = 0; c < width; ++c) {
        if (c < left) write<Sum>(out + c * V * width, block[c]);
      }
    }
  }
}

// A part of the panels of W transposed.
template <class P>
void pack_transposed(const P& to, const typename P::Packed* W, Part part) {
  const Range panels = part.of(to.count);
  for (Index p = panels.begin; p < panels.end; ++p) pack_transposed(to, p, W);
}

// A call of at most so many rows does not pack W: it is transposed in registers and added to the sums.
constexpr int kUnpackedRows = 4;

// The same sums as `tile` for panel p, from W itself: the same chains of fused multiply-adds.
template <int R, class P, class A>
void tile_unpacked(typename P::Sum* out, const A* const* a, const P& panels, Index p) {
  using Sum = typename P::Sum;
  constexpr Index width = kWidth<Sum>;
  const int V = panels.vectors(p);
  for (int v = 0; v < V; ++v) {
    const Source<P> source(panels, p, v, panels.unpacked);
    Vec<Sum> total[R], sum[R];
    const auto add = [&](Index k, Index left) [[gnu::always_inline]] {
      Vec<Sum> block[width];
      source.transposed(k, left, block);
#pragma GCC unroll 16
      for (Index c = 0; c < width; ++c) {
        if (c >= left) break;
#pragma GCC unroll 4
        for (int r = 0; r < R; ++r) sum[r] = fma(broadcast(static_cast<Sum>(a[r][k + c])), block[c], sum[r]);
      }
    };
    Index k = 0;
    do {
      for (int r = 0; r < R; ++r) sum[r] = Vec<Sum>{};
      const Index first = k, end = min_of(panels.K, first + kChain);
      for (; k + width <= end; k += width) add(k, width);
      if (k < end) add(k, end - k), k = end;
      for (int r = 0; r < R; ++r) total[r] = first == 0 ? sum[r] : total[r] + sum[r];
    } while (k < panels.K);
    for (int r = 0; r < R; ++r) store(out + (r * V + v) * width, total[r]);
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

// Rows of a, each in segments as for `tile`, times a matrix in panels.  A matrix that is not packed takes whole rows.
template <class P, class A, class Each>
[[gnu::always_inline]] inline void multiply_rows(const P& panels, Range range, const A* const* a, Index rows, Each each,
                                                 const Index* at = &kStart, int segments = 1) {
  const auto product = [&](typename P::Sum* sums, Index p, Index r0, Index R) {
    if (panels.unpacked) return run_tile_unpacked(R, sums, a + r0, panels, p);
    run_tile<false>(R, panels.vectors(p), sums, a + r0, at, segments, panels.K / segments, panels.panel(p));
  };
  for_each_tile(panels, range, rows, product, each);
}

// Fills panel p from `out` on with rows as they stand: out[k][c] = row(k)[first(p) + c].
template <class P, class RowOf>
void pack_plain(const P& panels, Index p, RowOf row_of, typename P::Packed* out) {
  using Sum = typename P::Sum;
  const int V = panels.vectors(p);
  for (Index k = 0; k < panels.K; ++k) {
    const auto* row = row_of(k);
    for (int v = 0; v < V; ++v, out += kWidth<Sum>) {
      const Index column = panels.first(p) + v * kWidth<Sum>, n = panels.lanes(column);
      write<Sum>(out, n == kWidth<Sum> ? read<Sum>(row + column) : read_n<Sum>(row + column, n));
    }
  }
}

// A part of the panels of W (K, columns) as it stands.
template <class P>
void pack_plain(const P& to, const typename P::Packed* W, Part part) {
  const Range panels = part.of(to.count);
  for (Index p = panels.begin; p < panels.end; ++p) {
    pack_plain(to, p, [&](Index k) { return W + k * to.columns; }, to.panel(p));
  }
}

// Sums over rows run block by block: the blocks end before these rows.
struct Blocks {
  const Index* ends;
  Index count;
  Index rows() const { return count > 0 ? ends[count - 1] : 0; }
};

// to (gates * units, columns) += left^T right over the rows of all blocks: left[k][at[gate] + unit], right[k][column].
template <class Left, class Right, class To>
struct OuterProduct {
  const Left* const* left;  // kAhead rows more than there are
  const Index* at;
  int gates;
  Index units;
  const Right* const* right;
  Index columns;
  To* to;
};

// The part of an outer product that has some panels of columns and some tiles of units.  `packed` has room for
// (rows, kPanelVectors vectors).
template <class Sum, class Left, class Right, class To, class Packed>
inline void add_outer_product(const OuterProduct<Left, Right, To>& of, const Blocks& blocks, Part columns, Part units,
                              Packed* packed) {
  TileSums<Sum> sums;
  const RowTiles tiles(of.units, max_rows(kPanelVectors));
  const Range items = units.of(of.gates * tiles.count);
  const Panels<Packed, Sum> panels(of.columns, blocks.rows());
  const Range mine = columns.of(panels.count);
  for (Index p = mine.begin; p < mine.end && items.begin < items.end; ++p) {
    const int V = panels.vectors(p);
    pack_plain(panels, p, [&](Index k) { return of.right[k]; }, packed);
    for (Index item = items.begin; item < items.end; ++item) {
      const Index gate = item / tiles.count, i = item % tiles.count;
      const Index u0 = tiles.begin(i), R = tiles.begin(i + 1) - u0, first = of.at[gate] + u0;
      for (Index block = 0, from = 0; block < blocks.count; from = blocks.ends[block++]) {
        const Index rows = blocks.ends[block] - from;
        run_tile<true>(R, V, sums.data, of.left + from, &first, 1, rows, packed + from * V * kWidth<Sum>);
        for_each_vector(panels, p, R, sums.data, [&](Index r, Index column, const Sum* sum) {
          To* place = of.to + (gate * of.units + u0 + r) * of.columns + column;
          const Index n = panels.lanes(column);
          write_n<Sum>(place, read_n<Sum>(place, n) + load(sum), n);
        });
      }
    }
  }
}

// A part of to (width) += the rows of all blocks; width is a whole number of vectors.
template <class A, class Sum>
inline void add_rows(const A* const* rows, Index width, const Blocks& blocks, Part part, Sum* to) {
  constexpr int together = 4;
  const Range mine = part.of(width / kWidth<Sum>);
  for (Index v = mine.begin; v < mine.end; v += together) {
    const Index V = min_of(mine.end - v, together);
    Index k = 0;
    for (Index block = 0; block < blocks.count; ++block) {
      while (k < blocks.ends[block]) {
        Vec<Sum> sum[together] = {};
        for (const Index end = min_of(blocks.ends[block], k + kChain); k < end; ++k) {
          for (Index u = 0; u < V; ++u) sum[u] += read<Sum>(rows[k] + (v + u) * kWidth<Sum>);
        }
        for (Index u = 0; u < V; ++u) {
          Sum* place = to + (v + u) * kWidth<Sum>;
          store(place, load(place) + sum[u]);
        }
      }
    }
  }
}
