// SPDX-License-Identifier: Apache-2.0
// The head, y = W x + b, in the tile of gemm-inl.h: the same bits for a row alone and in any batch.

template <class Real>
struct LinearPlan {
  Panels<Real> panels;
  const Real** x_rows;  // (B)

  LinearPlan(const Linear<Real>& head, Arena& arena) : panels(head.V, head.H, 1) {
    panels.data = arena.take<Real>(panels.size());
    x_rows = arena.take<const Real*>(head.B);
  }
};

template <class Real>
std::size_t linear_bytes(const Linear<Real>& head) {
  Arena arena(nullptr);
  const LinearPlan<Real> plan(head, arena);
  return arena.used();
}

template <class Real>
void linear(const Linear<Real>& head, void* scratch, bool packed) {
  const FlushDenormals flush;
  Arena arena(scratch);
  LinearPlan<Real> plan(head, arena);
  TileSums<Real> sums;
  const Index start = 0;
  for (Index b = 0; b < head.B; ++b) plan.x_rows[b] = head.x + b * head.H;
  for (Index p = 0; p < plan.panels.count; ++p) {
    if (!packed) pack_transposed(plan.panels, p, head.W);
    const int V = plan.panels.vectors(p);
    const RowTiles tiles(head.B, max_rows(V));
    for (Index i = 0; i < tiles.tiles; ++i) {
      const Index r0 = tiles.begin(i), R = tiles.begin(i + 1) - r0;
      tile_for<Real, false>(R, V)(sums.data, plan.x_rows + r0, &start, 1, head.H, plan.panels.panel(p));
      for (Index r = 0; r < R; ++r) {
        for (int v = 0; v < V; ++v) {
          const Index j = plan.panels.first(p) + v * kWidth<Real>;
          const Index n = head.V - j < kWidth<Real> ? head.V - j : kWidth<Real>;
          const Vec<Real> y = load(sums.data + (r * V + v) * kWidth<Real>) + load_n(head.b + j, n);
          store_n(head.y + (r0 + r) * head.V + j, y, n);
        }
      }
    }
  }
}
