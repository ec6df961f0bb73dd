// SPDX-License-Identifier: Apache-2.0
// Sums over the rows of a chunk: dW, an outer product, and db.  Each element is summed block by block in the order of
// the rows (docs/decisions/0002-order-of-sums.md).

// Sums over rows run block by block: the blocks end before these rows.
struct Blocks {
  const Index* ends;
  Index count;
  Index rows() const { return count > 0 ? ends[count - 1] : 0; }
};

// Sums over rows read their left side by lanes of rows: lanes[k][j] holds element j of as many rows of a block as a
// lane has numbers.  Where that is one they are the rows themselves, else pair_rows fills `all`.
template <class Storage>
inline void point_to_lanes(const Storage* const* rows, const Blocks& blocks, Lane<Storage>* all, Index width,
                           Lane<Storage>** lanes) {
  Index n = 0;
  for (Index block = 0, from = 0; block < blocks.count; from = blocks.ends[block++]) {
    for (const Index end = n + lanes_of<Storage>(blocks.ends[block] - from); n < end; ++n) {
      if constexpr (kDepth<Storage> == 1) {
        lanes[n] = const_cast<Storage*>(rows[n]);
      } else {
        lanes[n] = all + n * width;
      }
    }
  }
  for (Index k = 0; n > 0 && k < kAhead; ++k) lanes[n + k] = lanes[n - 1];
}

template <class Storage>
inline void pair_rows(const Storage* const* rows, Index width, const Blocks& blocks, Part part,
                      Lane<Storage>* const* lanes) {
  static_assert(kDepth<Storage> == 2);
  for (Index block = 0, k = 0, at = 0; block < blocks.count; ++block) {
    for (const Index end = blocks.ends[block]; k < end; k = min_of(k + 2, end), ++at) {
      if (at % part.parts != part.part) continue;
      const Storage* next = k + 1 < end ? rows[k + 1] : nullptr;
      for (Index j = 0; j < width; j += kWidth<Lane<Storage>>) {
        store(lanes[at] + j, lanes_across(rows[k] + j, next ? next + j : nullptr, kWidth<Lane<Storage>>));
      }
    }
  }
}

// to (gates * units, columns) += left^T right over the rows of all blocks: left[k][at[gate] + unit], right[k][column].
template <class Storage, class To>
struct OuterProduct {
  const Lane<Storage>* const* left;  // lanes of rows, kAhead more than there are
  const Index* at;
  int gates;
  Index units;
  const Storage* const* right;
  Index columns;
  To* to;
};
template <class Left, class Storage, class To>  // which not every compiler finds by itself
OuterProduct(Left, const Index*, int, Index, const Storage* const*, Index, To*) -> OuterProduct<Storage, To>;

// The part of an outer product that has some panels of columns and some tiles of units.  `packed` has room for the
// lanes of all rows, kPanelVectors vectors each.
template <class Storage, class To>
inline void add_outer_product(const OuterProduct<Storage, To>& of, const Blocks& blocks, Part columns, Part units,
                              Lane<Storage>* packed) {
  using Sum = To;
  TileSums<Sum> sums;
  const RowTiles tiles(of.units, max_rows(kPanelVectors));
  const Range items = units.of(of.gates * tiles.count);
  Panels<Storage, Sum> panels(of.columns, 0);
  const Range mine = columns.of(panels.count);
  for (Index p = mine.begin; p < mine.end && items.begin < items.end; ++p) {
    const int V = panels.vectors(p);
    const bool whole = panels.first(p) + V * kWidth<Sum> <= of.columns;  // vectors of columns
    for (Index block = 0, from = 0, at = 0; block < blocks.count; from = blocks.ends[block++]) {
      panels.K = blocks.ends[block] - from;
      pack_plain(
          panels, p, [&](Index k) { return of.right[from + k]; }, packed + at * V * kWidth<Sum>, V * kWidth<Sum>);
      at += lanes_of<Storage>(panels.K);
    }
    for (Index item = items.begin; item < items.end; ++item) {
      const Index gate = item / tiles.count, i = item % tiles.count;
      const Index u0 = tiles.begin(i), R = tiles.begin(i + 1) - u0, first = of.at[gate] + u0;
      Sum* const to = of.to + (gate * of.units + u0) * of.columns + panels.first(p);
      for (Index r = 0; r < R; ++r) {  // what is added to is next to be read and written, and far away
        for (int v = 0; v < V; ++v) __builtin_prefetch(to + r * of.columns + v * kWidth<Sum>, 1);
      }
      for (Index block = 0, from = 0, at = 0; block < blocks.count; from = blocks.ends[block++]) {
        const Index n = lanes_of<Storage>(blocks.ends[block] - from);
        for (Index k = 0; k < n; k += kChain) {
          const Index K = min_of(n - k, kChain);
          const Lane<Storage>* const* left = of.left + at + k;
          const Lane<Storage>* right = packed + (at + k) * V * kWidth<Sum>;
          if (whole) {
            add_transposed_tile(R, V, to, of.columns, left, first, K, right);
            continue;
          }
          for (Index v = 0; v < R * V; ++v) store(sums.data + v * kWidth<Sum>, Vec<Sum>{});
          add_transposed_tile(R, V, sums.data, V * kWidth<Sum>, left, first, K, right);
          for_each_vector(panels, p, R, sums.data, [&](Index r, Index column, const Sum* sum) {
            Sum* place = to + r * of.columns + column - panels.first(p);
            const Index count = panels.lanes(column);
            store_n(place, load_n(place, count) + load(sum), count);
          });
        }
        at += n;
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
