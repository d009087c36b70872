// Norms whose gradients are checked: of every kind and lane, with a residual, and fused with
// pooling.
#include "tests/engine/ops_cases.hpp"

namespace passnorm::test {
namespace {

using kernels::NormActivation;
using kernels::NormGeometry;
using kernels::NormKind;

constexpr auto kRelu = NormActivation::kRelu;
constexpr auto kReluThenAdd = NormActivation::kReluThenAdd;

constexpr ops::PoolWindow kOverlapping{.size = 2, .stride = 1, .pad = 1};

/// x of n samples; lanes of x, affines and whether they part here; lanes of the residual, or none.
struct NormCase {
  NormKind kind = NormKind::kBatch;
  Lanes x_lanes = {};
  size_t affines = 1;
  bool fork = false;
  std::optional<Lanes> residual = std::nullopt;
  NormActivation activation = NormActivation::kIdentity;
  bool fixed = false;
  bool unit = false;
  std::optional<ops::PoolWindow> pool = std::nullopt;
};

constexpr int64_t kN = 4, kH = 3, kW = 2, kC = 8;

/// Which element every maximum is.
void maxima(Evaluation& e, const Var& x, const ops::PoolWindow& window) {
  const kernels::PoolGeometry g = window.over(x.shape());
  const Shape ys{g.n, g.oh(), g.ow(), g.c};
  const Tensor y = Tensor::empty(poisoned(), ys),
               argmax = Tensor::empty(poisoned(), ys, DType::kU8);
  kernels::max_pool_forward(
      poisoned(),
      {.geometry = g, .x = x.value.view(), .y = y.view(), .argmax = argmax.span<uint8_t>()});
  for (const uint8_t position : argmax.span<uint8_t>())
    for (int bit = 0; bit < 8; ++bit) e.sides.push_back((position >> bit & 1) != 0);
}

Checked norm(const NormCase& n) {
  const NormGeometry geometry = NormGeometry::of(n.kind, kN, kH * kW, kC, n.x_lanes.parts(), 4);
  const Shape xs{kN, kH, kW, kC};
  const Lanes y_lanes = n.fork ? Lanes::split() : n.x_lanes;
  const Var x = input(xs, 63, n.x_lanes);
  Var residual;
  if (n.residual) {
    const int64_t rows = kN * n.residual->parts() / n.x_lanes.parts();
    residual = input(xs.with_rows(rows), 2, *n.residual);
  }
  Checked c{{{"x", x}}, {}, static_cast<double>(geometry.group_size())};
  if (n.residual) c.leaves.push_back({"residual", residual});
  std::vector<ops::NormLane> lanes(n.affines);
  for (size_t l = 0; l < n.affines; ++l) {
    const auto tag = static_cast<uint32_t>(10 * l);
    if (!n.unit) {
      lanes[l].scale = input({kC}, 11 + tag);
      lanes[l].shift = input({kC}, 12 + tag);
      c.leaves.push_back({concat("scale", l), lanes[l].scale});
      c.leaves.push_back({concat("shift", l), lanes[l].shift});
    }
    if (!n.fixed) continue;
    const Shape table{geometry.blocks, geometry.groups};
    lanes[l].mean = input(table, 13 + tag).value;
    lanes[l].rstd = leaf(poisoned(), table, uniform(table.size(), 14 + tag, 0.5, 2)).value;
  }
  c.f = [=](Evaluation& e) {
    std::vector<ops::NormLane> now = lanes;
    if (!n.fixed) {
      const Shape table{geometry.blocks, geometry.groups};
      const Tensor mean = Tensor::empty(poisoned(), table), rstd = Tensor::empty(poisoned(), table);
      kernels::norm_statistics(
          poisoned(),
          {.geometry = geometry, .x = x.value.view(), .mean = mean.span(), .rstd = rstd.span()});
      for (ops::NormLane& lane : now) lane.mean = mean, lane.rstd = rstd;
    }
    const ops::NormOptions options{.geometry = geometry,
                                   .activation = n.activation,
                                   .fork = n.fork,
                                   .fixed_statistics = n.fixed};
    if (n.pool) {
      const Var y = ops::norm_pool(e.tape, x, now, options, *n.pool);
      EXPECT_EQ(y.lanes, y_lanes);
      e.sum(y);
      Tape apart(poisoned(), Tape::Mode::kForwardOnly);
      const Var before = ops::norm(apart, x, {}, now, options);
      maxima(e, before, *n.pool);
      if (n.activation == kRelu) e.kinks_at_zero(before.value.span());
      return;
    }
    const Var y = ops::norm(e.tape, x, residual, now, options);
    EXPECT_EQ(y.lanes, n.residual && n.residual->is_split() ? Lanes::split() : y_lanes);
    e.sum(y);
    if (n.activation == NormActivation::kIdentity) return;
    // relu(u) + residual equals the residual exactly where relu(u) is 0
    const std::span<float> v = y.value.span();
    const std::span<float> r = n.residual && n.activation == NormActivation::kReluThenAdd
                                   ? residual.value.span()
                                   : std::span<float>();
    for (size_t i = 0; i < v.size(); ++i)
      e.sides.push_back(r.empty() ? v[i] > 0 : v[i] != r[i % r.size()]);
  };
  return c;
}

/// A norm that adds the norm of another input, applied as it is read. Lanes of x and of the
/// residual, and whether each parts here.
struct NormOfBothCase {
  NormKind kind;
  Lanes x_lanes;
  bool x_fork;
  Lanes residual_lanes;
  bool residual_fork;
  NormActivation activation = NormActivation::kRelu;
};
Checked norm_of_both(const NormOfBothCase& n) {
  struct Operand {
    NormGeometry geometry;
    Var x;
    std::vector<ops::NormLane> lanes;
    bool fork;

    std::vector<ops::NormLane> measured() const {
      const Shape table{geometry.blocks, geometry.groups};
      const Tensor mean = Tensor::empty(poisoned(), table), rstd = Tensor::empty(poisoned(), table);
      kernels::norm_statistics(
          poisoned(),
          {.geometry = geometry, .x = x.value.view(), .mean = mean.span(), .rstd = rstd.span()});
      std::vector<ops::NormLane> now = lanes;
      for (ops::NormLane& lane : now) lane.mean = mean, lane.rstd = rstd;
      return now;
    }
  };
  Checked c;
  const auto operand = [&](const char* name, Lanes lanes, bool fork, uint32_t tag) {
    const int64_t rows = 2 * lanes.parts();
    Operand o{NormGeometry::of(n.kind, rows, kH * kW, kC, lanes.parts(), 4),
              input({rows, kH, kW, kC}, tag, lanes),
              std::vector<ops::NormLane>(fork || lanes.is_split() ? 2 : 1), fork};
    c.leaves.push_back({name, o.x});
    for (ops::NormLane& lane : o.lanes) {
      lane.scale = input({kC}, ++tag);
      lane.shift = input({kC}, ++tag);
      c.leaves.push_back({concat("scale of ", name, tag), lane.scale});
      c.leaves.push_back({concat("shift of ", name, tag), lane.shift});
    }
    c.roundings += static_cast<double>(o.geometry.group_size());
    return o;
  };
  const Operand x = operand("x", n.x_lanes, n.x_fork, 20),
                r = operand("residual", n.residual_lanes, n.residual_fork, 40);
  c.f = [=](Evaluation& e) {
    const Var y = ops::norm(
        e.tape, x.x, {r.x, r.measured(), {.geometry = r.geometry, .fork = r.fork}}, x.measured(),
        {.geometry = x.geometry, .activation = n.activation, .fork = x.fork});
    e.sum(y);
    if (n.activation == NormActivation::kIdentity) return;
    for (const float v : y.value.span()) e.sides.push_back(v > 0);
  };
  return c;
}

Checked norm_and_itself(NormActivation activation, bool fork) {
  const NormGeometry geometry = NormGeometry::of(NormKind::kGroup, 2, 6, kC, 1, 4);
  const Var x = input({2, 3, 2, kC}, 1, fork ? Lanes::shared() : Lanes());
  return {
      {{"x", x}},
      [=](Evaluation& e) {
        const Tensor mean = Tensor::empty(poisoned(), {2, 2}),
                     rstd = Tensor::empty(poisoned(), {2, 2});
        kernels::norm_statistics(
            poisoned(),
            {.geometry = geometry, .x = x.value.view(), .mean = mean.span(), .rstd = rstd.span()});
        const Var y =
            ops::norm(e.tape, x, x, std::vector<ops::NormLane>(fork ? 2 : 1, {mean, rstd, {}, {}}),
                      {.geometry = geometry, .activation = activation, .fork = fork});
        e.sum(y);
        const std::span<float> v = y.value.span(), r = x.value.span();
        for (size_t i = 0; i < v.size(); ++i)
          e.sides.push_back(activation == NormActivation::kRelu ? v[i] > 0
                                                                : v[i] != r[i % r.size()]);
      },
      24};
}

}  // namespace

std::vector<OpCase> norm_cases() {
  return {
      {"norm", "batch", [] { return norm({}); }},
      {"norm", "group_unit", [] { return norm({.kind = NormKind::kGroup, .unit = true}); }},
      {"norm", "instance_relu",
       [] { return norm({.kind = NormKind::kInstance, .activation = kRelu}); }},
      {"norm", "layer_relu_residual",
       [] { return norm({.kind = NormKind::kLayer, .residual = kOne, .activation = kRelu}); }},
      {"norm", "residual_after_relu",
       [] { return norm({.residual = kOne, .activation = kReluThenAdd}); }},
      {"norm", "fork", [] { return norm({.x_lanes = kShared, .affines = 2, .fork = true}); }},
      {"norm", "fork_shared_residual",
       [] {
         return norm({.x_lanes = kShared,
                      .affines = 2,
                      .fork = true,
                      .residual = kShared,
                      .activation = kRelu});
       }},
      {"norm", "fork_split_residual",
       [] {
         return norm({.kind = NormKind::kGroup,
                      .x_lanes = kShared,
                      .affines = 2,
                      .fork = true,
                      .residual = kSplit,
                      .activation = kRelu});
       }},
      {"norm", "fork_relu_then_add_shared",
       [] {
         return norm({.x_lanes = kShared,
                      .affines = 2,
                      .fork = true,
                      .residual = kShared,
                      .activation = kReluThenAdd});
       }},
      {"norm", "fork_fixed_statistics_per_lane",
       [] {
         return norm(
             {.x_lanes = kShared, .affines = 2, .fork = true, .activation = kRelu, .fixed = true});
       }},
      {"norm", "of_both",
       [] {
         return norm_of_both({NormKind::kBatch, kOne, false, kOne, false});
       }},
      {"norm", "of_both_identity",
       [] {
         return norm_of_both(
             {NormKind::kLayer, kOne, false, kOne, false, NormActivation::kIdentity});
       }},
      {"norm", "of_both_fork",
       [] {
         return norm_of_both({NormKind::kBatch, kShared, true, kShared, true});
       }},
      {"norm", "of_both_fork_split",
       [] {
         return norm_of_both({NormKind::kGroup, kShared, true, kSplit, false});
       }},
      {"norm", "of_both_split_fork",
       [] {
         return norm_of_both({NormKind::kGroup, kSplit, false, kShared, true});
       }},
      {"norm", "of_both_split_shared",
       [] {
         return norm_of_both({NormKind::kBatch, kSplit, false, kShared, false});
       }},
      {"norm", "of_both_shared_fork",
       [] {
         return norm_of_both({NormKind::kInstance, kShared, false, kShared, true});
       }},
      {"norm", "split_shared_residual",
       [] {
         return norm({.x_lanes = kSplit, .affines = 2, .residual = kShared, .activation = kRelu});
       }},
      {"norm", "split_one_affine",
       [] { return norm({.x_lanes = kSplit, .residual = kSplit, .activation = kReluThenAdd}); }},
      {"norm", "shared_split_residual",
       [] { return norm({.x_lanes = kShared, .residual = kSplit}); }},
      {"norm", "shared_split_residual_relu",
       [] { return norm({.x_lanes = kShared, .residual = kSplit, .activation = kRelu}); }},
      {"norm", "shared_split_residual_relu_then_add",
       [] { return norm({.x_lanes = kShared, .residual = kSplit, .activation = kReluThenAdd}); }},
      {"norm", "fixed_statistics",
       [] { return norm({.residual = kOne, .activation = kRelu, .fixed = true}); }},
      {"norm", "and_itself_relu", [] { return norm_and_itself(kRelu, false); }},
      {"norm", "and_itself_relu_then_add", [] { return norm_and_itself(kReluThenAdd, false); }},
      {"norm", "and_itself_fork", [] { return norm_and_itself(kRelu, true); }},
      {"norm_pool", "batch_relu", [] { return norm({.activation = kRelu, .pool = kOverlapping}); }},
      {"norm_pool", "fork",
       [] {
         return norm({.x_lanes = kShared,
                      .affines = 2,
                      .fork = true,
                      .activation = kRelu,
                      .pool = ops::PoolWindow{}});
       }},
      {"norm_pool", "group_fork",
       [] {
         return norm({.kind = NormKind::kGroup,
                      .x_lanes = kShared,
                      .affines = 2,
                      .fork = true,
                      .pool = kOverlapping});
       }},
      {"norm_pool", "split",
       [] {
         return norm({.x_lanes = kSplit, .affines = 2, .activation = kRelu, .pool = kOverlapping});
       }},
      {"norm_pool", "fork_fixed_statistics_per_lane",
       [] {
         return norm({.x_lanes = kShared,
                      .affines = 2,
                      .fork = true,
                      .activation = kRelu,
                      .fixed = true,
                      .pool = kOverlapping});
       }},
  };
}

}  // namespace passnorm::test
