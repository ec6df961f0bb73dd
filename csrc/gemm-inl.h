// SPDX-License-Identifier: Apache-2.0
// The one matrix product: out[r][v] = sum_k a[r][k] * panel[k][v], R rows by V vectors held in registers.
//
// Every output element is one chain of fused multiply-adds over k in ascending order, from zero.  It does not depend on
// R, on the other rows or on who computes it: that is the promise "same bits in any batch, with any thread count".
// A panel is V vectors wide and packed [k][V * width], so the loop reads it as one stream.

constexpr int kPanelVectors = 4;  // the widest panel

// As many rows as the registers hold: R * V sums, the weights (V, or one at a time where registers are few), one
// broadcast.
constexpr int max_rows(int V) {
  const int rows = (kRegisters - 1 - (kRegisters > 16 ? V : 1)) / V;
  return rows > 8 ? 8 : rows;
}

// a[r][at[s] + k]: element k of segment s of row r.  The panel runs on over the segments.
// Transposed, for sums over rows (dW): a[k][at[s] + r].  Those rows lie far apart, where no prefetcher finds them: they
// are asked for kAhead rows early, so a holds that many rows more than there are.
constexpr Index kAhead = 12;
template <class Real, int R, int V, bool Transposed>
void tile(Real* out, const Real* const* a, const Index* at, int segments, Index K, const Real* panel) {
  Vec<Real> sum[R][V] = {};
  for (int s = 0; s < segments; ++s) {
    const Real* row[R];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) row[r] = Transposed ? nullptr : a[r] + at[s];
    for (Index k = 0; k < K; ++k) {
      const Real* column = Transposed ? a[k] + at[s] : nullptr;
      if (Transposed) __builtin_prefetch(a[k + kAhead] + at[s] + R - 1);
      Vec<Real> w[V];
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) w[v] = load(panel + v * kWidth<Real>);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        const Vec<Real> x = broadcast(Transposed ? column[r] : row[r][k]);
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) sum[r][v] = fma(x, w[v], sum[r][v]);
      }
      panel += V * kWidth<Real>;
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) store(out + (r * V + v) * kWidth<Real>, sum[r][v]);
  }
}

template <class Real>
using TileFunction = void (*)(Real*, const Real* const*, const Index*, int, Index, const Real*);

template <class Real, int V, bool Transposed>
inline TileFunction<Real> tile_of_rows(int R) {
  constexpr int most = max_rows(V);
  static_assert(most >= 1 && most <= 8);
  switch (R) {
    case 1: return tile<Real, 1, V, Transposed>;
    case 2: return tile<Real, (most >= 2 ? 2 : 1), V, Transposed>;
    case 3: return tile<Real, (most >= 3 ? 3 : 1), V, Transposed>;
    case 4: return tile<Real, (most >= 4 ? 4 : 1), V, Transposed>;
    case 5: return tile<Real, (most >= 5 ? 5 : 1), V, Transposed>;
    case 6: return tile<Real, (most >= 6 ? 6 : 1), V, Transposed>;
    case 7: return tile<Real, (most >= 7 ? 7 : 1), V, Transposed>;
    default: return tile<Real, most, V, Transposed>;
  }
}

template <class Real, bool Transposed>
inline TileFunction<Real> tile_for(int R, int V) {
  switch (V) {
    case 1: return tile_of_rows<Real, 1, Transposed>(R);
    case 2: return tile_of_rows<Real, 2, Transposed>(R);
    case 3: return tile_of_rows<Real, 3, Transposed>(R);
    default: return tile_of_rows<Real, 4, Transposed>(R);
  }
}

// Where rows of one segment start.
constexpr Index kStart = 0;

// The sums of one tile between the product and what is done with them.
template <class Real>
struct TileSums {
  alignas(64) Real data[8 * kPanelVectors * kVectorBytes / sizeof(Real)];
};

// Cuts n rows into tiles of nearly equal height, at most `most`: 32 rows of 6 are 6 6 5 5 5 5, not 6 6 6 6 6 2.
struct RowTiles {
  Index rows, count;
  RowTiles(Index n, int most) : rows(n), count((n + most - 1) / most) {}
  Index begin(Index tile) const { return rows * tile / count; }
};

// `part` of `parts` of n.
struct Range {
  Index begin, end;
  Range(Index n, int part, int parts) : begin(n * part / parts), end(n * (part + 1) / parts) {}
};

// Rows b of `from` (width wide, null: zeros) into rows padded_width wide, zeros behind them.
template <class Real>
inline void pad_rows(Real* to, const Real* from, Index width, Index padded_width, Range b) {
  for (Index k = b.begin; k < b.end; ++k) {
    for (Index j = 0; j < padded_width; ++j)
      to[k * padded_width + j] = from && j < width ? from[k * width + j] : Real{0};
  }
}

// How the columns of a product are cut into panels of up to kPanelVectors vectors.  With several gates a panel covers
// one vector of units, and its vector v belongs to gate v.
template <class Real, int gates = 1>
struct Panels {
  static constexpr int most = gates > 1 ? gates : kPanelVectors;           // vectors of a whole panel
  static constexpr Index covered = (gates > 1 ? 1 : most) * kWidth<Real>;  // columns of a whole panel

  Index columns;  // of the product, one gate's worth
  Index K;        // the length of the sums
  Index count;
  Real* data = nullptr;            // packed [panel][k][vectors * width]
  const Real* unpacked = nullptr;  // or, where nothing is packed, W (gates * columns, K) itself

  Panels() = default;
  Panels(Index columns, Index K) : columns(columns), K(K), count((columns + covered - 1) / covered) {}
  Index first(Index panel) const { return panel * covered; }  // column
  int vectors(Index panel) const {
    if (gates > 1) return gates;
    const Index left = (columns - first(panel) + kWidth<Real> - 1) / kWidth<Real>;
    return static_cast<int>(left < most ? left : most);
  }
  // How many of the vector from this column on are columns of the product.
  Index lanes(Index column) const { return columns - column < kWidth<Real> ? columns - column : kWidth<Real>; }
  Real* panel(Index p) const { return data + p * K * most * kWidth<Real>; }
  Index size() const { return count * K * most * kWidth<Real>; }
  Range whole() const { return {count, 0, 1}; }
};

// each(row, column, sums) for the rows of a tile and every vector of columns; with several gates, sums holds one vector
// for each.
template <class Real, int gates, class Each>
[[gnu::always_inline]] inline void for_each_vector(const Panels<Real, gates>& panels, Index p, Index R,
                                                   const Real* sums, Each each) {
  const int V = panels.vectors(p);
  for (Index r = 0; r < R; ++r) {
    for (int v = 0; v < V; v += gates) {
      each(r, panels.first(p) + v / gates * kWidth<Real>, sums + (r * V + v) * kWidth<Real>);
    }
  }
}

// The loop nest of all products of rows: panel > tile of rows > row > vector.  product(sums, p, r0, R) forms the sums
// of R rows from r0 on and panel p; each(row, column, sums) gets them as for_each_vector hands them out.
template <class Real, int gates, class Product, class Each>
[[gnu::always_inline]] inline void for_each_tile(const Panels<Real, gates>& panels, Range range, Index rows,
                                                 Product product, Each each) {
  TileSums<Real> sums;
  for (Index p = range.begin; p < range.end; ++p) {
    const RowTiles tiles(rows, max_rows(panels.vectors(p)));
    for (Index i = 0; i < tiles.count; ++i) {
      const Index r0 = tiles.begin(i), R = tiles.begin(i + 1) - r0;
      product(sums.data, p, r0, R);
      for_each_vector(panels, p, R, sums.data,
                      [&](Index r, Index column, const Real* of) { each(r0 + r, column, of); });
    }
  }
}

// Where vector v of a panel comes from in W (gates * columns, K): `lanes` rows from `rows` on.
template <class Real>
struct Source {
  const Real* rows;
  Index lanes, K;

  template <int gates>
  Source(const Panels<Real, gates>& panels, Index p, int v, const Real* W) : K(panels.K) {
    const Index unit = panels.first(p) + (gates > 1 ? 0 : v * kWidth<Real>);
    rows = W + ((gates > 1 ? v : 0) * panels.columns + unit) * K;
    lanes = panels.lanes(unit);
  }

  // block[c][lane] = row(lane)[k + c] for `left` columns c from k on, zeros in the lanes beyond.
  [[gnu::always_inline]] void transposed(Index k, Index left, Vec<Real> (&block)[kWidth<Real>]) const {
#pragma GCC unroll 16
    for (Index lane = 0; lane < kWidth<Real>; ++lane) {
      block[lane] = lane < lanes ? load_n(rows + lane * K + k, left) : Vec<Real>{};
    }
    transpose<Real>(block);
  }
};

// Fills panel p with W transposed: panel[k][v][lane] = W[gate * columns + unit][k] for W (gates * columns, K).
template <class Real, int gates>
void pack_transposed(const Panels<Real, gates>& to, Index p, const Real* W) {
  constexpr Index width = kWidth<Real>;
  const int V = to.vectors(p);
  for (int v = 0; v < V; ++v) {
    const Source<Real> source(to, p, v, W);
    for (Index k = 0; k < to.K; k += width) {
      const Index left = to.K - k < width ? to.K - k : width;
      Vec<Real> block[width];
      source.transposed(k, left, block);
      Real* out = to.panel(p) + (k * V + v) * width;
#pragma GCC unroll 16
      for (Index c = 0; c < width; ++c) {
        if (c < left) store(out + c * V * width, block[c]);
      }
    }
  }
}

// The rows of a call that is not worth packing for: panels are transposed in registers on their way into the sums.
constexpr int kUnpackedRows = 4;

// What `tile` does for panel p, from W itself: the same chains of fused multiply-adds.
template <int R, class Real, int gates>
void tile_unpacked(Real* out, const Real* const* a, const Panels<Real, gates>& panels, Index p) {
  constexpr Index width = kWidth<Real>;
  const int V = panels.vectors(p);
  for (int v = 0; v < V; ++v) {
    const Source<Real> source(panels, p, v, panels.unpacked);
    Vec<Real> sum[R] = {};
    const auto add = [&](Index k, Index left) [[gnu::always_inline]] {
      Vec<Real> block[width];
      source.transposed(k, left, block);
#pragma GCC unroll 16
      for (Index c = 0; c < width; ++c) {
        if (c >= left) break;
#pragma GCC unroll 4
        for (int r = 0; r < R; ++r) sum[r] = fma(broadcast(a[r][k + c]), block[c], sum[r]);
      }
    };
    const Index whole = panels.K / width * width;
    for (Index k = 0; k < whole; k += width) add(k, width);
    if (whole < panels.K) add(whole, panels.K - whole);
    for (int r = 0; r < R; ++r) store(out + (r * V + v) * width, sum[r]);
  }
}

// Rows of a times a matrix in panels or, where nothing was packed, as it stands.
template <class Real, int gates, class Each>
[[gnu::always_inline]] inline void multiply_rows(const Panels<Real, gates>& panels, Range range, const Real* const* a,
                                                 Index rows, Each each) {
  const auto product = [&](Real* sums, Index p, Index r0, Index R) {
    if (!panels.unpacked) {
      return tile_for<Real, false>(R, panels.vectors(p))(sums, a + r0, &kStart, 1, panels.K, panels.panel(p));
    }
    switch (R) {
      case 1: return tile_unpacked<1>(sums, a + r0, panels, p);
      case 2: return tile_unpacked<2>(sums, a + r0, panels, p);
      case 3: return tile_unpacked<3>(sums, a + r0, panels, p);
      default: return tile_unpacked<kUnpackedRows>(sums, a + r0, panels, p);
    }
  };
  for_each_tile(panels, range, rows, product, each);
}

// The same where the rows of a lie in segments, as for `tile`, and the panels are packed.
template <class Real, int gates, class Each>
[[gnu::always_inline]] inline void multiply_segments(const Panels<Real, gates>& panels, Range range,
                                                     const Real* const* a, const Index* at, int segments, Index rows,
                                                     Each each) {
  const auto product = [&](Real* sums, Index p, Index r0, Index R) {
    tile_for<Real, false>(R, panels.vectors(p))(sums, a + r0, at, segments, panels.K / segments, panels.panel(p));
  };
  for_each_tile(panels, range, rows, product, each);
}

// Fills panel p from `out` on with rows as they stand: out[k][c] = row(k)[first(p) + c].
template <class Real, class RowOf>
void pack_plain(const Panels<Real>& panels, Index p, RowOf row_of, Real* out) {
  const int V = panels.vectors(p);
  for (Index k = 0; k < panels.K; ++k) {
    const Real* row = row_of(k);
    for (int v = 0; v < V; ++v, out += kWidth<Real>) {
      const Index column = panels.first(p) + v * kWidth<Real>, n = panels.lanes(column);
      store(out, n == kWidth<Real> ? load(row + column) : load_n(row + column, n));
    }
  }
}

// Sums over rows run block by block: the blocks end before these rows.
struct Blocks {
  const Index* ends;
  Index count;
  Index rows() const { return count > 0 ? ends[count - 1] : 0; }
};

// to (gates * units, columns) += left^T right over the rows of all blocks: left[k][at[gate] + unit], right[k][column].
// The team shares the tiles of units out.  `panel` has room for (rows, kPanelVectors vectors); left holds kAhead rows
// more than there are.
template <class Real>
inline void add_outer_products(const Real* const* left, const Index* at, int gates, Index units,
                               const Real* const* right, Index columns, const Blocks& blocks, Real* panel,
                               const Team& team, Real* to) {
  TileSums<Real> sums;
  const RowTiles tiles(units, max_rows(kPanelVectors));
  const Range items(gates * tiles.count, team.id, team.size);
  const Panels<Real> panels(columns, blocks.rows());
  for (Index p = 0; p < panels.count && items.begin < items.end; ++p) {
    const int V = panels.vectors(p);
    pack_plain(panels, p, [&](Index k) { return right[k]; }, panel);
    for (Index item = items.begin; item < items.end; ++item) {
      const Index gate = item / tiles.count, i = item % tiles.count;
      const Index u0 = tiles.begin(i), R = tiles.begin(i + 1) - u0, first = at[gate] + u0;
      for (Index block = 0, from = 0; block < blocks.count; from = blocks.ends[block++]) {
        const Index rows = blocks.ends[block] - from;
        tile_for<Real, true>(R, V)(sums.data, left + from, &first, 1, rows, panel + from * V * kWidth<Real>);
        for_each_vector(panels, p, R, sums.data, [&](Index r, Index column, const Real* sum) {
          Real* place = to + (gate * units + u0 + r) * columns + column;
          const Index n = panels.lanes(column);
          store_n(place, load_n(place, n) + load(sum), n);
        });
      }
    }
  }
}

// to (width) += the rows of all blocks; width is a whole number of vectors, which the team shares out.
template <class Real>
inline void add_rows(const Real* const* rows, Index width, const Blocks& blocks, const Team& team, Real* to) {
  constexpr int together = 4;
  const Index vectors = width / kWidth<Real>;
  const Range mine(vectors, team.id, team.size);
  for (Index v = mine.begin; v < mine.end; v += together) {
    const Index V = mine.end - v < together ? mine.end - v : together;
    Index k = 0;
    for (Index block = 0; block < blocks.count; ++block) {
      Vec<Real> sum[together] = {};
      for (; k < blocks.ends[block]; ++k) {
        for (Index u = 0; u < V; ++u) sum[u] += load(rows[k] + (v + u) * kWidth<Real>);
      }
      for (Index u = 0; u < V; ++u) {
        Real* place = to + (v + u) * kWidth<Real>;
        store(place, load(place) + sum[u]);
      }
    }
  }
}
