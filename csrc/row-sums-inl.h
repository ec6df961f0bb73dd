// SPDX-License-Identifier: Apache-2.0
// Sums over the rows of a chunk: dW, an outer product, and db.  Each element is summed block by block in the order of
// the rows (docs/decisions/0002-order-of-sums.md).

// Sums over rows run block by block: the blocks end before these rows.
struct Blocks {
  const Index* ends;
  Index count;
  Index rows() const { return count > 0 ? ends[count - 1] : 0; }
};

// Where the registers hold few sums, a tile of dW has six rows and two vectors, and reads less than half a line of each
// row of its left side; the line would be read again for the tiles beside it.  So that side is packed in strips first.
template <class Storage>
constexpr bool kInStrips = kRegisters <= 16 && kDepth<Storage> == 1;

// The left side of sums over the rows of a chunk, as their tiles read it: the rows themselves, or lanes of rows, or
// strips.  A row has `slots` parts of `units` elements, slot_width apart; `width` is from one lane of rows to the next.
template <class Storage>
struct LeftSide {
  Index slots, units, slot_width, width;
  Index most;                       // lanes in a chunk, at most
  Lane<Storage>* packed = nullptr;  // lanes of rows (most, width), or strips (slots, strips, most, kStripRows)

  RowTiles tiles() const { return {units, kInStrips<Storage> ? kStripRows : max_rows(kPanelVectors)}; }
  // One cache line more than needed: strips are filled side by side, and would otherwise compete for a few cache sets.
  Index strip_size() const { return most * kStripRows + 64 / Index{sizeof(Storage)}; }
  Lane<Storage>* strip(Index slot, Index tile) const { return packed + (slot * tiles().count + tile) * strip_size(); }
  Index size() const {
    if (kInStrips<Storage>) return slots * tiles().count * strip_size();
    return kDepth<Storage> > 1 ? most * width : 0;
  }

  // Points at the lanes of rows of all blocks; lanes[k][j] is element j of as many rows of a block as a lane holds.
  [[gnu::noinline]] void point(const Storage* const* rows, const Blocks& blocks, Lane<Storage>** lanes) const {
    Index n = 0;
    for (Index block = 0, from = 0; block < blocks.count; from = blocks.ends[block++]) {
      for (const Index end = n + lanes_of<Storage>(blocks.ends[block] - from); n < end; ++n) {
        if constexpr (kDepth<Storage> == 1) {
          lanes[n] = const_cast<Storage*>(rows[n]);
        } else {
          lanes[n] = packed + n * width;
        }
      }
    }
    for (Index k = 0; n > 0 && k < kAhead; ++k) lanes[n + k] = lanes[n - 1];
  }

  // Fills a part of the lanes or strips, before any sums; nothing where the tiles read the rows themselves.
  static constexpr bool fills = kInStrips<Storage> || (kDepth<Storage> > 1);
  void fill(const Storage* const* rows, const Blocks& blocks, Part part, Lane<Storage>* const* lanes) const {
    if constexpr (kInStrips<Storage>) fill_strips(lanes, blocks.rows(), part);
    if constexpr (kDepth<Storage> > 1) pair_rows(rows, blocks, part, lanes);
  }

 private:
  [[gnu::noinline]] void pair_rows(const Storage* const* rows, const Blocks& blocks, Part part,
                                   Lane<Storage>* const* lanes) const {
    static_assert(kDepth<Storage> <= 2);
    for (Index block = 0, k = 0, at = 0; block < blocks.count; ++block) {
      for (const Index end = blocks.ends[block]; k < end; k = min_of(k + 2, end), ++at) {
        if (at % part.parts != part.part) continue;
        const Storage* next = k + 1 < end ? rows[k + 1] : nullptr;
        for (Index j = 0; j < slots * slot_width; j += kWidth<Lane<Storage>>) {
          store(lanes[at] + j, lanes_across(rows[k] + j, next ? next + j : nullptr, kWidth<Lane<Storage>>));
        }
      }
    }
  }

  // Some strips side by side, so that whole lines of a row are read; not more than a cache has ways.
  static constexpr Index kTogether = 8;

  [[gnu::noinline]] void fill_strips(const Storage* const* rows, Index n, Part part) const {
    const RowTiles tiles = this->tiles();
    const Index groups = (tiles.count + kTogether - 1) / kTogether, size = strip_size();
    const Range mine = part.of(slots * groups);
    for (Index item = mine.begin; item < mine.end; ++item) {
      const Index slot = item / groups, first = item % groups * kTogether,
                  count = min_of(kTogether, tiles.count - first);
      Index from[kTogether];
      for (Index i = 0; i < count; ++i) from[i] = slot * slot_width + tiles.begin(first + i);
      const Index end = slot * slot_width + units;
      if (count == kTogether && from[count - 1] + kStripRows <= end) {
        fill_group(strip(slot, first), size, rows, n, from);
        continue;
      }
      for (Index i = 0; i < count; ++i) {
        Storage* to = strip(slot, first + i);
        for (Index k = 0; k < n; ++k, to += kStripRows) {
          for (Index r = 0; r < min_of(kStripRows, end - from[i]); ++r) to[r] = rows[k][from[i] + r];
        }
      }
    }
  }

  static void fill_group(Storage* to, Index strip_size, const Storage* const* rows, Index n, const Index* from) {
    for (Index k = 0; k < n; ++k, to += kStripRows) {
      const Storage* const ahead = rows[k + kAhead] + from[0];
      for (Index j = 0; j < kTogether * kStripRows; j += 64 / Index{sizeof(Storage)}) __builtin_prefetch(ahead + j);
#pragma GCC unroll 8
      for (Index i = 0; i < kTogether; ++i) {
        __builtin_memcpy(to + i * strip_size, rows[k] + from[i], kStripRows * sizeof(Storage));
      }
    }
  }
};

// to (gates * units, columns) += left^T right over the rows of all blocks: left[k][at[gate] + unit], right[k][column].
template <class Storage, class To>
struct OuterProduct {
  const LeftSide<Storage>& left;
  const Lane<Storage>* const* lanes;  // of the left side, kAhead more than there are
  const Index* at;
  int gates;
  const Storage* const* right;
  Index columns;
  To* to;
};
template <class Storage, class Lanes, class To>  // which not every compiler finds by itself
OuterProduct(const LeftSide<Storage>&, Lanes, const Index*, int, const Storage* const*, Index, To*)
    -> OuterProduct<Storage, To>;

// The part of an outer product that has some panels of columns and some tiles of units.  `packed` has room for the
// lanes of all rows, kPanelVectors vectors each.
template <class Storage, class To>
inline void add_outer_product(const OuterProduct<Storage, To>& of, const Blocks& blocks, Part columns, Part units,
                              Lane<Storage>* packed) {
  using Sum = To;
  constexpr bool in_strips = kInStrips<Storage>;
  TileSums<Sum> sums;
  const LeftSide<Storage>& left = of.left;
  const RowTiles tiles = left.tiles();
  const Range items = units.of(of.gates * tiles.count);
  Panels<Storage, Sum> panels(of.columns, 0);
  const Range mine = columns.of(panels.count);
  for (Index p = mine.begin; p < mine.end && items.begin < items.end; ++p) {
    const int V = panels.vectors(p);
    const Index stride = (in_strips ? kPanelVectors : V) * kWidth<Sum>;  // of the packed panel
    const bool whole = panels.first(p) + V * kWidth<Sum> <= of.columns;  // vectors of columns
    for (Index block = 0, from = 0, at = 0; block < blocks.count; from = blocks.ends[block++]) {
      panels.K = blocks.ends[block] - from;
      pack_plain(panels, p, [&](Index k) { return of.right[from + k]; }, packed + at * stride, stride);
      at += lanes_of<Storage>(panels.K);
    }
    for (Index item = items.begin; item < items.end; ++item) {
      const Index gate = item / tiles.count, i = item % tiles.count;
      const Index u0 = tiles.begin(i), R = tiles.begin(i + 1) - u0, first = of.at[gate] + u0;
      const Lane<Storage>* strip = in_strips ? left.strip(of.at[gate] / left.slot_width, i) : nullptr;
      Sum* const to = of.to + (gate * left.units + u0) * of.columns + panels.first(p);
      for (Index r = 0; r < R; ++r) {  // the sums that are added to are read and written next, and are far away
        for (int v = 0; v < V; ++v) __builtin_prefetch(to + r * of.columns + v * kWidth<Sum>, 1);
      }
      const auto add = [&](Sum* place, Index apart, Index lane, Index K) {
        const Lane<Storage>* right = packed + lane * stride;
        if constexpr (in_strips) {
          add_strip(R, V, place, apart, strip + lane * kStripRows, K, right);
        } else {
          add_transposed_tile(R, V, place, apart, of.lanes + lane, first, K, right);
        }
      };
      for (Index block = 0, from = 0, at = 0; block < blocks.count; from = blocks.ends[block++]) {
        const Index n = lanes_of<Storage>(blocks.ends[block] - from);
        for (Index k = 0; k < n; k += kChain) {
          const Index K = min_of(n - k, kChain);
          if (whole) {
            add(to, of.columns, at + k, K);
            continue;
          }
          for (Index v = 0; v < R * V; ++v) store(sums.data + v * kWidth<Sum>, Vec<Sum>{});
          add(sums.data, V * kWidth<Sum>, at + k, K);
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
