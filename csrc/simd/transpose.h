// SPDX-License-Identifier: Apache-2.0
// Rows of numbers read as columns of vectors, in registers.

// A vector in pieces of 16 bytes: shuffles within a piece are cheap.
constexpr Index kPieces = kVectorBytes / 16;
template <class Real>
constexpr Index kPieceLanes = 16 / sizeof(Real);

// Groups of lanes of two vectors in turn, from the lower or the upper half of each piece.
template <class Real, Index group, bool upper>
[[gnu::always_inline]] inline Vec<Real> interleaved(Vec<Real> a, Vec<Real> b) {
  constexpr Index width = kWidth<Real>, piece = kPieceLanes<Real>;
  Bits<Real> from{};
#pragma GCC unroll 16
  for (Index l = 0; l < width; ++l) {
    const Index in_piece = l % piece, source = in_piece / group % 2 * width;
    from[l] = source + (l - in_piece) + in_piece / (2 * group) * group + in_piece % group + (upper ? piece / 2 : 0);
  }
  return shuffled<Real>(a, b, from);
}

// In every piece row r, lane l becomes row l, lane r.
template <class Real>
[[gnu::always_inline]] inline void transpose_pieces(Vec<Real> (&rows)[kPieceLanes<Real>]) {
  if constexpr (kPieceLanes<Real> == 2) {
    const Vec<Real> a = rows[0], b = rows[1];
    rows[0] = interleaved<Real, 1, false>(a, b), rows[1] = interleaved<Real, 1, true>(a, b);
  } else {
    const Vec<Real> a = interleaved<Real, 1, false>(rows[0], rows[1]), b = interleaved<Real, 1, true>(rows[0], rows[1]);
    const Vec<Real> c = interleaved<Real, 1, false>(rows[2], rows[3]), d = interleaved<Real, 1, true>(rows[2], rows[3]);
    rows[0] = interleaved<Real, 2, false>(a, c), rows[1] = interleaved<Real, 2, true>(a, c);
    rows[2] = interleaved<Real, 2, false>(b, d), rows[3] = interleaved<Real, 2, true>(b, d);
  }
}

// The even, or odd, pieces of two vectors of four.
template <class Real, bool odd>
[[gnu::always_inline]] inline Vec<Real> every_other_piece(Vec<Real> a, Vec<Real> b) {
  constexpr Index piece = kPieceLanes<Real>;
  Bits<Real> from{};
#pragma GCC unroll 16
  for (Index l = 0; l < kWidth<Real>; ++l) from[l] = (l / piece * 2 + odd) * piece + l % piece;
  return shuffled<Real>(a, b, from);
}

// The columns that `load_columns` makes at a time.
template <class Real>
constexpr Index kColumns = kPieces == 4 ? 2 * kPieceLanes<Real> : kPieceLanes<Real>;

// columns[c][l] = lane c of what row(l) points to, for as many rows as a vector has lanes: numbers that may be smaller
// than a lane, and lie where no lane could.  What the loads themselves put together need not be shuffled.  Every loop
// unrolls, and so must those that read the columns: only then do they stay in registers.
template <class Real, class Row>
[[gnu::always_inline]] inline void load_columns(Row row, Vec<Real> (&columns)[kColumns<Real>]) {
  constexpr Index piece = kPieceLanes<Real>;
  if constexpr (kPieces == 4) {
    Vec<Real> left[piece], right[piece];
#pragma GCC unroll 4
    for (Index i = 0; i < piece; ++i) {
      const Vec<Real> upper = load_halves<Real>(row(i), row(i + piece));
      const Vec<Real> lower = load_halves<Real>(row(i + 2 * piece), row(i + 3 * piece));
      left[i] = every_other_piece<Real, false>(upper, lower), right[i] = every_other_piece<Real, true>(upper, lower);
    }
    transpose_pieces<Real>(left), transpose_pieces<Real>(right);
#pragma GCC unroll 4
    for (Index i = 0; i < piece; ++i) columns[i] = left[i], columns[piece + i] = right[i];
  } else {
#pragma GCC unroll 4
    for (Index i = 0; i < piece; ++i) {
      if constexpr (kPieces == 2) columns[i] = load_halves<Real>(row(i), row(i + piece));
      if constexpr (kPieces == 1) __builtin_memcpy(&columns[i], row(i), sizeof columns[i]);
    }
    transpose_pieces<Real>(columns);
  }
}
