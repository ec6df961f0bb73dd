// SPDX-License-Identifier: Apache-2.0
// Products of rows and a matrix: how the matrix is cut into panels and packed, or read in place where few rows need it,
// and the loop over panels and tiles of rows.

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
  bool paired;                    // panels 0 and 1, 2 and 3, ... are packed as one stream
  Lane<Storage>* data = nullptr;  // packed [panel][segment][k / kDepth][vectors * width]; of a pair [2 vectors * width]
  const Storage* unpacked = nullptr;  // or, where nothing is packed, W (gates * columns, K) itself

  Panels() = default;
  // For this many rows at a time, or any number.
  Panels(Index columns, Index K, int segments = 1, Index rows = kAnyRows)
      : columns(columns), K(K), segments(segments), count((columns + covered - 1) / covered),
        paired(rows <= paired_rows(most) && K <= kChain * kDepth<Storage>) {}
  Index first(Index panel) const { return panel * covered; }  // column
  int vectors(Index panel) const {
    if (gates > 1) return gates;
    return static_cast<int>(min_of(most, (columns - first(panel) + kWidth<Sum> - 1) / kWidth<Sum>));
  }
  // The columns of some panels, up to padded_columns for the last.
  Range units(Range panels, Index padded_columns) const {
    return {first(panels.begin), panels.end == count ? padded_columns : first(panels.end)};
  }
  // How many lanes of the vector from this column on are columns of the product.
  Index lanes(Index column) const { return min_of(columns - column, kWidth<Sum>); }
  // Where a panel begins, or the pair that it is the first of.
  Lane<Storage>* panel(Index p) const { return data + p * panel_size(); }
  // A last panel without a partner, or a narrower one, is packed alone.  Rows of int8 are multiplied panel by panel.
  bool in_pair(Index p) const {
    return !__is_same(Storage, std::int8_t) && paired && (p | 1) < count && vectors(p | 1) == most;
  }
  // Where the lanes of a panel are packed, and the distance from those of one k to those of the next.
  struct Packing {
    Lane<Storage>* to;
    Index stride;
  };
  Packing packing(Index p) const {
    if (!in_pair(p)) return {panel(p), vectors(p) * kWidth<Sum>};
    return {panel(p & ~Index{1}) + (p & 1) * most * kWidth<Sum>, 2 * most * kWidth<Sum>};
  }
  Index panel_size() const { return segments * lanes_of<Storage>(K) * most * kWidth<Sum>; }
  Index size() const { return count * panel_size(); }
  // What tile i of this many prefetches of the panel after p, while it multiplies p.
  NextPanel next_of(Index p, bool back, Index i, Index tiles) const {
    const Index next = back ? p - 1 : p + 1, bytes = panel_size() * Index{sizeof(Lane<Storage>)};
    if (!kFetchesPanels || !data || paired || tiles < 2 || next < 0 || next >= count) return {};
    if (2 * bytes > kNearBytes || count * bytes <= kNearBytes) return {};
    const Index lanes = segments * lanes_of<Storage>(K);
    return {reinterpret_cast<const char*>(panel(next)) + bytes * i / tiles, bytes / (tiles * lanes) + 1};
  }
  Range whole() const { return {0, count}; }
  // The panels of a part: whole pairs.
  Range of(Part part) const {
    if (!paired) return part.of(count);
    const Range pairs = part.of((count + 1) / 2);
    return {2 * pairs.begin, min_of(2 * pairs.end, count)};
  }
};

// each(row, column, sums) for the rows of a tile and every vector of columns; with several gates, sums holds one vector
// for each.
template <class P, class Each>
[[gnu::always_inline]] inline void for_each_vector(const P& panels, Index p, Index R, typename P::Sum* sums,
                                                   Each each) {
  constexpr Index width = kWidth<typename P::Sum>;
  const int V = panels.vectors(p);
  for (Index r = 0; r < R; ++r) {
    for (int v = 0; v < V; v += P::gates) {
      each(r, panels.first(p) + v / P::gates * width, sums + (r * V + v) * width);
    }
  }
}

// The loop nest of all products of rows: panel > tile of rows > row > vector.  product(sums, p, n, r0, R, next) forms
// the sums of R rows from r0 on and n panels from p on, and brings the next panel near; each(row, column, sums) is
// called as in for_each_vector, and when all rows of a tile are done, then(row, column, sums).
struct Nothing {};
template <class P, class Product, class Each, class Then = Nothing>
[[gnu::always_inline]] inline void for_each_tile(const P& panels, Range range, Index rows, Product product, Each each,
                                                 Then then = {}) {
  using Sum = typename P::Sum;
  TileSums<Sum> sums;
  for (Index done = 0, N; done < range.end - range.begin; done += N) {
    const Index next = range.back ? range.end - 1 - done : range.begin + done;
    N = panels.in_pair(next) ? 2 : 1;
    const Index p = range.back ? next + 1 - N : next;
    const int V = panels.vectors(p);
    const RowTiles tiles(rows, rows <= most_rows(V) ? most_rows(V) : max_rows(V));
    for (Index i = 0; i < tiles.count; ++i) {
      const Index r0 = tiles.begin(i), R = tiles.begin(i + 1) - r0;
      product(sums.data, p, N, r0, R, panels.next_of(p, range.back, i, tiles.count));
      for (Index q = 0; q < N; ++q) {
        Sum* const first = sums.data + q * R * V * kWidth<Sum>;
        for_each_vector(panels, p + q, R, first, [&](Index r, Index column, Sum* of) { each(r0 + r, column, of); });
        if constexpr (!__is_same(Then, Nothing)) {
          for_each_vector(panels, p + q, R, first, [&](Index r, Index column, Sum* of) { then(r0 + r, column, of); });
        }
      }
    }
  }
}

// The sums of R rows and N panels from p on, where those are packed.
template <bool inlined, class P, class A>
[[gnu::always_inline]] inline void multiply_panels(const P& panels, Index p, Index N, Index R, typename P::Sum* sums,
                                                   const A* const* a, const Index* at, NextPanel next) {
  const int V = panels.vectors(p), segments = panels.segments;
  if constexpr (!__is_same(A, std::int8_t)) {
    if (N == 2) return run_paired_tile<P::most>(R, sums, a, at, segments, panels.K, panels.panel(p));
  }
  if constexpr (inlined) return run_tile(R, V, sums, a, at, segments, panels.K, panels.panel(p), next);
  run_shared_tile(R, V, sums, a, at, segments, panels.K, panels.panel(p), next);
}

// Where vector v of a panel comes from in W (gates * columns, K): a row for each lane.
template <class Storage, class Sum>
struct Source {
  static constexpr Index width = kWidth<Sum>, depth = kDepth<Storage>;
  static constexpr Index block = kColumns<Lane<Storage>> * depth;  // numbers of k that are transposed together
  using Factors = Vec<Lane<Storage>>[kColumns<Lane<Storage>>];
  const Storage* row[width];  // past the columns of the product, the last one again
  Index K;

  template <class P>
  Source(const P& panels, Index p, int v, const Storage* W) : K(panels.K) {
    const Index unit = panels.first(p) + (P::gates > 1 ? 0 : v * width), last = panels.lanes(unit) - 1;
    const Storage* rows = W + ((P::gates > 1 ? v : 0) * panels.columns + unit) * K;
    for (Index l = 0; l < width; ++l) row[l] = rows + min_of(l, last) * K;
  }

  // to[c][l] = the lane of row l, column c of those from k on: a block of them,
  [[gnu::always_inline]] void transposed(Index k, Factors& to) const {
    load_columns<Lane<Storage>>([&](Index l) { return row[l] + k; }, to);
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
    auto [out, stride] = to.packing(p);
    out += v * From::width;
    typename From::Factors columns;
    Index k = 0;
    for (; k + From::block <= to.K; k += From::block) {
      source.transposed(k, columns);
#pragma GCC unroll 8
      for (const auto& column : columns) store(out, column), out += stride;
    }
    if (k == to.K) continue;
    typename From::Factors rest;
    source.transposed(k, to.K - k, rest);
    for (Index c = 0; c < lanes_of<typename P::Storage>(to.K - k); ++c) store(out, rest[c]), out += stride;
  }
}

// A part of the panels of W transposed.
template <class P>
void pack_transposed(const P& to, const typename P::Storage* W, Part part) {
  const Range panels = part.of(to.count);
  for (Index p = panels.begin; p < panels.end; ++p) pack_transposed(to, p, W);
}

// A call of at most this many rows does not pack W: it is transposed in registers and added to the sums.
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
  constexpr int together = R <= 2 ? 2 : 1;  // three or four rows have enough chains
  const int V = panels.vectors(p);
  for (int v = 0; v < V; v += together) {
    if (v + together > V || together == 1) {
      const From source(panels, p, v, panels.unpacked);
      vectors_unpacked<R, 1>(out + v * From::width, V * From::width, a, &source);
    } else {
      const From sources[] = {{panels, p, v, panels.unpacked}, {panels, p, v + 1, panels.unpacked}};
      vectors_unpacked<R, together>(out + v * From::width, V * From::width, a, sources);
    }
  }
}

// The tile of this many rows, at most kUnpackedRows.
template <int R = 1, class P, class A>
[[gnu::always_inline]] inline void run_tile_unpacked(Index rows, typename P::Sum* out, const A* const* a,
                                                     const P& panels, Index p) {
  if constexpr (R < kUnpackedRows) {
    if (rows > R) return run_tile_unpacked<R + 1>(rows, out, a, panels, p);
  }
  tile_unpacked<R>(out, a, panels, p);
}

// Rows of a, each in segments as for `tile`, times a matrix in panels.  A matrix that is not packed takes whole rows. A
// product of single steps of a recurrence has the tiles inlined: there the cost of a call would matter.
template <bool inlined = false, class P, class A, class Each, class Then = Nothing>
[[gnu::always_inline]] inline void multiply_rows(const P& panels, Range range, const A* const* a, Index rows, Each each,
                                                 const Index* at = &kStart, Then then = {}) {
  const auto product = [&](typename P::Sum* sums, Index p, Index N, Index r0, Index R, NextPanel next) {
    if constexpr (!__is_same(A, std::int8_t)) {
      if (panels.unpacked) return run_tile_unpacked(R, sums, a + r0, panels, p);
    }
    multiply_panels<inlined>(panels, p, N, R, sums, a + r0, at, next);
  };
  for_each_tile(panels, range, rows, product, each, then);
}

// Fills panel p from `out` on with rows as they stand: out[k][c] = row(k)[first(p) + c].  Rows may lie anywhere, and
// are prefetched this many rows early.
constexpr Index kPackAhead = 8;
template <class P, class RowOf>
void pack_plain(const P& panels, Index p, RowOf row_of, Lane<typename P::Storage>* out, Index stride) {
  using Sum = typename P::Sum;
  constexpr Index depth = kDepth<typename P::Storage>;
  const int V = panels.vectors(p);
  for (int s = 0; s < panels.segments; ++s) {
    for (Index k = s * panels.K, end = k + panels.K; k < end; k += depth) {
      const auto *row = row_of(k), *next = k + 1 < end && depth > 1 ? row_of(k + 1) : nullptr;
      for (Index ahead = k + kPackAhead; ahead < min_of(k + kPackAhead + depth, end); ++ahead) {
        const auto* from = row_of(ahead) + panels.first(p);
        for (int v = 0; v < V; ++v) __builtin_prefetch(from + v * kWidth<Sum>);
      }
      for (int v = 0; v < V; ++v) {
        const Index column = panels.first(p) + v * kWidth<Sum>;
        store(out + v * kWidth<Sum>, lanes_across(row + column, next ? next + column : nullptr, panels.lanes(column)));
      }
      out += stride;
    }
  }
}

// A part of the panels of W (segments * K, columns) as it stands.
template <class P>
void pack_plain(const P& to, const typename P::Storage* W, Part part) {
  const Range panels = part.of(to.count);
  for (Index p = panels.begin; p < panels.end; ++p) {
    const auto [out, stride] = to.packing(p);
    pack_plain(to, p, [&](Index k) { return W + k * to.columns; }, out, stride);
  }
}
