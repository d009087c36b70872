// The gradient of every operation of engine/ops/ops.hpp. A row per case; the header is read to see
// that no operation lacks one.
#include <algorithm>
#include <filesystem>
#include <numeric>
#include <regex>
#include <set>
#include <string>

#include "engine/io/file.hpp"
#include "engine/ops/ops.hpp"
#include "kernels/convolution.hpp"
#include "kernels/elementwise.hpp"
#include "tests/support/gradient_check.hpp"
#include "tests/support/streams.hpp"

namespace passnorm::test {
namespace {

using kernels::NormActivation;
using kernels::NormGeometry;
using kernels::NormKind;

constexpr auto kRelu = NormActivation::kRelu;
constexpr auto kReluThenAdd = NormActivation::kReluThenAdd;

/// One thread, and memory that is NaN until it is written.
CpuStream& poisoned() {
  static CpuStream& s = []() -> CpuStream& {
    streams()[0].memory()->poison(true);
    return streams()[0];
  }();
  return s;
}

Var input(const Shape& shape, uint32_t tag, Lanes lanes = {}) {
  return leaf(poisoned(), shape, tag, lanes);
}
Var constant(Var v) {
  v.gradient = nullptr;
  return v;
}
Tensor labels(std::vector<int32_t> v) {
  return Tensor::from<int32_t>(poisoned(), {static_cast<int64_t>(v.size())}, v);
}

/// All different, in steps of 1/8: far from the ties of maxima.
Var distinct(const Shape& shape, uint32_t tag) {
  std::vector<double> v = uniform(shape.size(), tag), out(v.size());
  std::vector<size_t> order(v.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::sort(order, {}, [&](size_t i) { return v[i]; });
  for (size_t i = 0; i < order.size(); ++i)
    out[order[i]] = (static_cast<double>(i) - static_cast<double>(v.size()) / 2) / 8;
  return leaf(poisoned(), shape, out);
}

struct Checked {
  std::vector<Leaf> leaves;
  std::function<void(Evaluation&)> f;
  double roundings = 1;
};

struct OpCase {
  const char* op;
  const char* name;
  Checked (*make)();
};
void PrintTo(const OpCase& c, std::ostream* out) { *out << c.op << "_" << c.name; }

Checked convolution(const Shape& xs, const Shape& ws, bool with_bias, int64_t stride, int64_t pad) {
  const Var x = input(xs, 1), w = input(ws, 2), bias = with_bias ? input({ws[0]}, 3) : Var{};
  Checked c{{{"x", x}, {"w", w}}, {}, static_cast<double>(xs.size() / xs[3])};
  if (with_bias) c.leaves.push_back({"bias", bias});
  c.f = [=](Evaluation& e) { e.sum(ops::convolution(e.tape, x, w, bias, stride, pad)); };
  return c;
}

/// A network may be frozen but for one of them.
Checked convolution_of_which_only(int which) {
  Checked c = convolution({2, 5, 4, 3}, {4, 3, 3, 3}, true, 1, 1);
  std::array<Var, 3> in{c.leaves[0].var, c.leaves[1].var, c.leaves[2].var};
  c.leaves = {c.leaves[static_cast<size_t>(which)]};
  for (int i = 0; i < 3; ++i)
    if (i != which) in[static_cast<size_t>(i)] = constant(in[static_cast<size_t>(i)]);
  c.f = [=](Evaluation& e) { e.sum(ops::convolution(e.tape, in[0], in[1], in[2], 1, 1)); };
  return c;
}

Checked convolution_relu() {
  const Var x = input({2, 5, 4, 3}, 1), w = input({4, 3, 3, 3}, 2), bias = input({4}, 3);
  return {{{"x", x}, {"w", w}, {"bias", bias}},
          [=](Evaluation& e) {
            const Var y = ops::convolution(e.tape, x, w, bias, 1, 1, /*relu=*/true);
            e.sum(y);
            e.kinks_at_zero(y.value.span());
          },
          40};
}

/// To its own type: roundings to another have no derivative (Cast, below).
Checked cast() {
  const Var x = input({3, 5}, 1);
  Checked c{{{"x", x}}, {}, 1};
  c.f = [=](Evaluation& e) { e.sum(ops::cast(e.tape, x, DType::kF32)); };
  return c;
}

Checked linear(bool with_bias) {
  const Var x = input({6, 5}, 1), w = input({4, 5}, 2), bias = with_bias ? input({4}, 3) : Var{};
  Checked c{{{"x", x}, {"w", w}}, {}, 6};
  if (with_bias) c.leaves.push_back({"bias", bias});
  c.f = [=](Evaluation& e) { e.sum(ops::linear(e.tape, x, w, bias)); };
  return c;
}

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

Checked add(Lanes a_lanes, Lanes b_lanes, bool relu) {
  const auto shape = [](Lanes l) { return Shape{2 * l.parts(), 2, 3}; };
  const Var a = input(shape(a_lanes), 1, a_lanes), b = input(shape(b_lanes), 2, b_lanes);
  return {{{"a", a}, {"b", b}}, [=](Evaluation& e) {
            const Var y = ops::add(e.tape, a, b, relu);
            EXPECT_EQ(y.lanes, a_lanes.is_split() ? a_lanes : b_lanes);
            e.sum(y);
            if (relu) e.kinks_at_zero(y.value.span());
          }};
}

Checked max_pool(int64_t size, int64_t stride, int64_t pad) {
  const Var x = distinct({2, 5, 6, 3}, 1);
  return {{{"x", x}},
          [=](Evaluation& e) {
            e.sum(ops::max_pool(e.tape, x, {size, stride, pad}));
          },
          9};
}

Checked cross_entropy(Lanes lanes, float smoothing) {
  const Var logits = input({3 * lanes.parts(), 5}, 1, lanes);
  const Tensor target = labels({4, 0, 2});
  return {{{"logits", logits}},
          [=](Evaluation& e) {
            // logits of shared lanes stand for two equal losses
            e.loss(ops::cross_entropy(e.tape, logits, target, smoothing).loss,
                   lanes.is_shared() ? 2 : 1);
          },
          3 * 5 + 8};
}

/// Rows of x and of t: two per lane.
Checked batched_matmul(Lanes x_lanes, Lanes t_lanes) {
  const Var x = input({2 * x_lanes.parts(), 1, 5, 3}, 1, x_lanes),
            t = input({2 * t_lanes.parts(), 3 * 4}, 2, t_lanes);
  return {{{"x", x}, {"t", t}},
          [=](Evaluation& e) {
            const Var y = ops::batched_matmul(e.tape, x, t);
            EXPECT_EQ(y.lanes, x_lanes.is_split() ? x_lanes : t_lanes);
            EXPECT_EQ(y.shape(), (Shape{2 * y.lanes.parts(), 1, 5, 4}));
            e.sum(y);
          },
          10};
}

Checked batched_matmul_of_which_only(int which) {
  const Var x = input({2, 2, 3, 2}, 1), t = input({2, 2, 2}, 2);
  Checked c{{which == 0 ? Leaf{"x", x} : Leaf{"t", t}}, {}, 6};
  c.f = [=](Evaluation& e) {
    e.sum(ops::batched_matmul(e.tape, which == 0 ? x : constant(x), which == 1 ? t : constant(t)));
  };
  return c;
}

/// The gradient passes as it is, also where x has other uses.
Checked add_identity() {
  const Var x = input({2, 9}, 1);
  return {{{"x", x}},
          [=](Evaluation& e) {
            e.sum(ops::add_identity(e.tape, x));
            e.sum(x);
          },
          2};
}

Checked dropout(Lanes lanes) {
  const Var x = input({3 * lanes.parts(), 7}, 1, lanes);
  return {{{"x", x}}, [=](Evaluation& e) {
            const Var y =
                ops::dropout(e.tape, x, {.probability = 0.4f, .seed = 7, .step = 2u, .layer = 1});
            EXPECT_EQ(y.lanes, lanes);
            e.sum(y);
          }};
}

Checked orthogonality_loss(Lanes lanes, kernels::OrthogonalityForm form) {
  const Var t = input({2 * lanes.parts(), 9}, 1, lanes);
  return {{{"t", t}},
          [=](Evaluation& e) {
            // transforms of shared lanes stand for two equal losses
            e.loss(ops::orthogonality_loss(e.tape, t, {.form = form, .alpha = 1}),
                   lanes.is_shared() ? 2 : 1);
          },
          3 * 3 + 9};
}

Checked passport_digest(const kernels::ConvGeometry& g) {
  const Var keys = input({2, g.h, g.w, g.c}, 1);
  return {{{"keys", keys}},
          [=](Evaluation& e) { e.sum(ops::passport_digest(e.tape, keys, g)); },
          static_cast<double>(g.h * g.w)};
}

Checked passport_read() {
  const Var w0 = input({5, 3, 3, 2}, 1), m0 = input({2, 18}, 2), w1 = input({4, 7}, 3),
            b1 = input({4}, 4), m1 = input({2, 7}, 5);
  return {{{"w0", w0}, {"m0", m0}, {"w1", w1}, {"b1", b1}, {"m1", m1}},
          [=](Evaluation& e) {
            e.sum(ops::passport_read(e.tape, {{w0, {}, m0}, {w1, b1, m1}}));
          },
          18};
}

/// Two layers read one key: its gradient is the sum.
Checked passport_read_of_one_digest() {
  const Var w0 = input({5, 3, 3, 2}, 1), w1 = input({4, 18}, 3), m = input({2, 18}, 2);
  return {{{"w0", w0}, {"w1", w1}, {"m", m}},
          [=](Evaluation& e) {
            e.sum(ops::passport_read(e.tape, {{w0, {}, m}, {w1, {}, m}}));
          },
          18};
}

Checked gate() {
  const std::vector<ops::GateSite> sites{{8, input({2, 8}, 1), input({8, 2}, 2)},
                                         {4, input({1, 4}, 3), input({4, 1}, 4)}};
  const Var raw = input({24}, 5);
  return {{{"raw", raw},
           {"a1[0]", sites[0].a1},
           {"a2[0]", sites[0].a2},
           {"a1[1]", sites[1].a1},
           {"a2[1]", sites[1].a2}},
          [=](Evaluation& e) {
            e.sum(ops::gate(e.tape, raw, sites));
            size_t at = 0;
            for (const ops::GateSite& site : sites) {  // kinks: the leaky ReLU of A1 raw
              const std::span<float> a1 = site.a1.value.span(), r = raw.value.span();
              const auto c = static_cast<size_t>(site.channels);
              for (size_t side = 0; side < 2; ++side, at += c)
                for (size_t row = 0; row < a1.size() / c; ++row)
                  e.sides.push_back(
                      std::inner_product(a1.begin() + static_cast<ptrdiff_t>(row * c),
                                         a1.begin() + static_cast<ptrdiff_t>(row * c + c),
                                         r.begin() + static_cast<ptrdiff_t>(at), 0.0) > 0);
            }
          },
          8 + 2};
}

Checked slice() {
  const Var x = input({4, 6}, 1), other = input({5}, 2);
  return {{{"x", x}, {"other", other}},
          [=](Evaluation& e) {
            e.sum(ops::slice(e.tape, x, 3, {2, 4}));  // [3, 11)
            e.sum(ops::slice(e.tape, x, 8, {5}));     // overlaps
            e.sum(ops::add(e.tape, ops::slice(e.tape, x, 13, {5}), other, false));
            e.sum(ops::add(e.tape, x, x, false));  // the whole is used too
          },
          6};
}

Checked sign_loss() {
  const std::vector<double> scale{.5, -.2, .05, -.05, 0, .4, -.3};  // far from the hinge at 0.1
  std::vector<double> values = uniform(14, 1);
  std::copy_n(scale.begin(), 5, values.begin());
  std::copy_n(scale.begin() + 5, 2, values.begin() + 10);
  const Var raw = leaf(poisoned(), {14}, values);
  const Tensor bits =
      Tensor::from<int8_t>(poisoned(), {7}, std::vector<int8_t>{1, 1, 1, -1, -1, 1, 1});
  return {{{"raw", raw}},
          [=](Evaluation& e) {
            e.loss(ops::sign_loss(e.tape, raw, {5, 2}, bits,
                                  {.alpha = 0.7f, .margin = 0.1f, .decay = 0.3f})
                       .loss);
            e.sum(raw);  // the shifts have no sign loss
          },
          7};
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

/// An input that is both operands: its gradient gets two contributions from one closure.
Checked add_itself() {
  const Var x = input({2, 3}, 1);
  return {{{"x", x}}, [=](Evaluation& e) { e.sum(ops::add(e.tape, x, x, false)); }};
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

constexpr ops::PoolWindow kOverlapping{.size = 2, .stride = 1, .pad = 1};
const Lanes kShared = Lanes::shared(), kSplit = Lanes::split(), kOne = Lanes::only(Branch::kPublic);

const std::vector<OpCase>& op_cases() {
  static const std::vector<OpCase> all{
      {"convolution", "pad",
       [] {
         return convolution({2, 5, 4, 3}, {4, 3, 3, 3}, false, 1, 1);
       }},
      {"convolution", "stride_pad_bias",
       [] {
         return convolution({2, 5, 6, 3}, {4, 3, 3, 3}, true, 2, 1);
       }},
      {"convolution", "one_by_one_stride",
       [] {
         return convolution({2, 5, 4, 3}, {4, 1, 1, 3}, true, 2, 0);
       }},
      {"convolution", "wide_kernel",
       [] {
         return convolution({1, 4, 5, 2}, {3, 2, 3, 2}, false, 1, 0);
       }},
      {"convolution", "relu", convolution_relu},
      {"convolution", "only_x", [] { return convolution_of_which_only(0); }},
      {"convolution", "only_weight", [] { return convolution_of_which_only(1); }},
      {"convolution", "only_bias", [] { return convolution_of_which_only(2); }},
      {"linear", "plain", [] { return linear(false); }},
      {"linear", "bias", [] { return linear(true); }},
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
      {"add", "plain", [] { return add(kOne, kOne, false); }},
      {"add", "relu", [] { return add(kShared, kShared, true); }},
      {"add", "shared_to_split", [] { return add(kShared, kSplit, false); }},
      {"add", "split_and_shared_relu", [] { return add(kSplit, kShared, true); }},
      {"add", "itself", [] { return add_itself(); }},
      {"max_pool", "two", [] { return max_pool(2, 2, 0); }},
      {"max_pool", "three_overlapping", [] { return max_pool(3, 2, 1); }},
      {"global_mean_pool", "all",
       [] {
         const Var x = input({2, 3, 5, 4}, 1);
         return Checked{
             {{"x", x}}, [=](Evaluation& e) { e.sum(ops::global_mean_pool(e.tape, x)); }, 15};
       }},
      {"global_max_pool", "all",
       [] {
         const Var x = distinct({2, 3, 5, 4}, 1);
         return Checked{{{"x", x}}, [=](Evaluation& e) { e.sum(ops::global_max_pool(e.tape, x)); }};
       }},
      {"batched_matmul", "one_lane", [] { return batched_matmul(kOne, kOne); }},
      {"batched_matmul", "shared", [] { return batched_matmul(kShared, kShared); }},
      {"batched_matmul", "split", [] { return batched_matmul(kSplit, kSplit); }},
      {"batched_matmul", "shared_by_split", [] { return batched_matmul(kShared, kSplit); }},
      {"batched_matmul", "split_by_shared", [] { return batched_matmul(kSplit, kShared); }},
      {"batched_matmul", "only_x", [] { return batched_matmul_of_which_only(0); }},
      {"batched_matmul", "only_t", [] { return batched_matmul_of_which_only(1); }},
      {"add_identity", "and_other_uses", [] { return add_identity(); }},
      {"dropout", "one_lane", [] { return dropout(kOne); }},
      {"dropout", "split", [] { return dropout(kSplit); }},
      {"orthogonality_loss", "gram",
       [] { return orthogonality_loss(kOne, kernels::OrthogonalityForm::kGram); }},
      {"orthogonality_loss", "times_gram_split",
       [] { return orthogonality_loss(kSplit, kernels::OrthogonalityForm::kTimesGram); }},
      {"orthogonality_loss", "gram_shared",
       [] { return orthogonality_loss(kShared, kernels::OrthogonalityForm::kGram); }},
      {"cross_entropy", "one_lane", [] { return cross_entropy(kOne, 0); }},
      {"cross_entropy", "smoothing", [] { return cross_entropy(kOne, 0.1f); }},
      {"cross_entropy", "split", [] { return cross_entropy(kSplit, 0.2f); }},
      {"cross_entropy", "shared", [] { return cross_entropy(kShared, 0); }},
      {"cast", "same_type", [] { return cast(); }},
      {"passport_digest", "pad",
       [] {
         return passport_digest(
             {.n = 1, .h = 4, .w = 5, .c = 3, .o = 2, .kh = 3, .kw = 3, .stride = 1, .pad = 1});
       }},
      {"passport_digest", "stride",
       [] {
         return passport_digest(
             {.n = 1, .h = 5, .w = 4, .c = 2, .o = 2, .kh = 1, .kw = 1, .stride = 2, .pad = 0});
       }},
      {"passport_read", "two_sites", [] { return passport_read(); }},
      {"passport_read", "one_digest", [] { return passport_read_of_one_digest(); }},
      {"gate", "two_sites", [] { return gate(); }},
      {"slice", "overlapping", [] { return slice(); }},
      {"sign_loss", "two_sites", [] { return sign_loss(); }},
  };
  return all;
}

class OpGradient : public testing::TestWithParam<OpCase> {};

TEST_P(OpGradient, IsTheDifferenceQuotient) {
  const Checked c = GetParam().make();
  check_gradients(poisoned(), c.leaves, c.f, {.roundings = c.roundings});
}

/// The same operation twice on the same inputs, which have memory for their gradients as parameters
/// have: the first contribution overwrites, the second adds.
TEST_P(OpGradient, AccumulatesOverUses) {
  const Checked c = GetParam().make();
  for (const Leaf& l : c.leaves) l.var.gradient->value = Tensor::empty(poisoned(), l.var.shape());
  const auto twice = [&](Evaluation& e) { c.f(e), c.f(e); };
  check_gradients(poisoned(), c.leaves, twice, {.roundings = c.roundings + 1});
}

TEST_P(OpGradient, IsNotRecordedInForwardOnlyMode) {
  const Checked c = GetParam().make();
  check_records_nothing(poisoned(), c.leaves, c.f);
}

INSTANTIATE_TEST_SUITE_P(Ops, OpGradient, testing::ValuesIn(op_cases()),
                         testing::PrintToStringParamName());

/// Values are rounded on the way there, gradients on the way back; a second use adds.
TEST(Cast, RoundsValuesAndGradients) {
  const Var x = input({4, 8}, 1);
  const auto rounded = [](float v) { return static_cast<float>(bfloat16(v)); };
  std::vector<float> expected = x.value.to_host(poisoned());
  for (float& v : expected) v = rounded(v);
  for (const int uses : {1, 2}) {
    x.gradient->written = false;
    Tape tape(poisoned());
    for (int use = 0; use < uses; ++use) {
      const Var y = ops::cast(tape, x, DType::kBF16);
      EXPECT_EQ(y.value.dtype(), DType::kBF16);
      const Var z = ops::cast(tape, y, DType::kF32);
      EXPECT_EQ(z.value.to_host(poisoned()), expected);
      tape.record_loss([z] {  // 0.001 (i + 1): few are bf16 numbers
        const GradientSink to = z.sink(poisoned());
        for (size_t i = 0; i < 32; ++i) to.value.span()[i] = 0.001f * static_cast<float>(i + 1);
      });
    }
    tape.backward();
    const auto gradient = x.gradient->value.to_host(poisoned());
    for (size_t i = 0; i < 32; ++i)
      EXPECT_EQ(gradient[i],
                static_cast<float>(uses) * rounded(0.001f * static_cast<float>(i + 1)));
  }
}

/// Values and gradients to the bit, with one result of full size less in memory.
TEST(NormPool, IsNormThenMaxPool) {
  const Shape xs{4, 8, 8, kC};
  const int64_t result_bytes = 2 * xs.size() * 4;
  const NormGeometry geometry = NormGeometry::of(NormKind::kGroup, 4, 64, kC, 1, 4);
  const ops::NormOptions options{.geometry = geometry, .activation = kRelu, .fork = true};
  const Tensor mean = input({4, 2}, 1).value, rstd = input({4, 2}, 2).value;
  const Var x = input(xs, 3, kShared), scale0 = input({kC}, 4), scale1 = input({kC}, 5),
            shift0 = input({kC}, 6), shift1 = input({kC}, 7);
  const std::vector<ops::NormLane> lanes{{mean, rstd, scale0, shift0},
                                         {mean, rstd, scale1, shift1}};
  const std::array<const Var*, 5> leaves{&x, &scale0, &scale1, &shift0, &shift1};
  std::array<std::vector<std::vector<float>>, 2> results;
  std::array<size_t, 2> used{};
  for (const size_t fused : {0, 1}) {
    for (const Var* leaf : leaves) *leaf->gradient = {};
    Tape tape(poisoned());
    const size_t before = poisoned().memory()->used_bytes();
    const Var y = fused ? ops::norm_pool(tape, x, lanes, options, {})
                        : ops::max_pool(tape, ops::norm(tape, x, {}, lanes, options), {});
    used[fused] = poisoned().memory()->used_bytes() - before;
    EXPECT_EQ(y.shape(), (Shape{8, 4, 4, kC}));
    Evaluation(tape).sum(y);
    tape.backward();
    results[fused].push_back(y.value.to_host(poisoned()));
    for (const Var* leaf : leaves)
      results[fused].push_back(leaf->gradient->value.to_host(poisoned()));
  }
  EXPECT_EQ(results[0], results[1]);
  EXPECT_EQ(used[0] - used[1], static_cast<size_t>(result_bytes));
}

/// Both lanes have one mask, and each of them alone the same: two passes see what one pass saw.
TEST(Dropout, OfEitherLaneAloneHasTheSameMask) {
  const Shape half{3, 7};
  const Tensor ones = Tensor::empty(poisoned(), {6, 7});
  kernels::fill(poisoned(), {.y = ones.view(), .value = 1});
  Tape tape(poisoned(), Tape::Mode::kForwardOnly);
  const auto run = [&](const Tensor& x, Lanes lanes, uint32_t step) {
    return ops::dropout(tape, {x, lanes, nullptr}, {.probability = 0.5f, .step = step})
        .value.to_host(poisoned());
  };
  const std::vector<float> split = run(ones, kSplit, 3);
  const std::vector<float> first(split.begin(), split.begin() + half.size()),
      second(split.begin() + half.size(), split.end());
  EXPECT_EQ(first, second);
  for (const Lanes lanes : {kOne, Lanes::only(Branch::kPassport), kShared})
    EXPECT_EQ(run(ones.slice(0, half), lanes, 3), first);
  EXPECT_NE(run(ones.slice(0, half), kOne, 4), first);
}

TEST(Dropout, OfProbabilityZeroIsTheInput) {
  const Var x = input({3, 7}, 1);
  Tape tape(poisoned());
  const Var y = ops::dropout(tape, x, {.probability = 0});
  EXPECT_EQ(y.value.view().data, x.value.view().data);
  EXPECT_EQ(y.gradient, x.gradient);
}

/// The device's kernels refuse f16: it is stored so and convolved in f32, forward and backward.
TEST(Convolution, OfATypeThatTheDeviceCannotConvolve) {
  ASSERT_FALSE(kernels::convolves(poisoned(), DType::kF16));
  const Shape xs{2, 5, 4, 3}, ws{4, 3, 3, 3};
  const Var x32 = input(xs, 1), w = input(ws, 2), bias = input({4}, 3);
  Tape cast_tape(poisoned());
  const Var x16{
      ops::cast(cast_tape, constant(x32), DType::kF16).value, {}, std::make_shared<Gradient>()};
  const Var x_rounded{
      ops::cast(cast_tape, constant(x16), DType::kF32).value, {}, std::make_shared<Gradient>()};
  const auto run = [&](const Var& x) {
    for (const Var* v : {&w, &bias, &x}) v->gradient->written = false;
    Tape tape(poisoned());
    const Var y = ops::convolution(tape, x, w, bias, 1, 1);
    EXPECT_EQ(y.value.dtype(), x.value.dtype());
    const Var y32 = ops::cast(tape, y, DType::kF32);
    tape.record_loss([y32] {  // 1: the same in both types
      kernels::fill(poisoned(), {.y = y32.sink(poisoned()).value.view(), .value = 1});
    });
    tape.backward();
    std::vector<std::vector<float>> out{y32.value.to_host(poisoned())};
    for (const Var* v : {&w, &bias}) out.push_back(v->gradient->value.to_host(poisoned()));
    Tape read(poisoned());
    const Var dx{x.gradient->value, {}, nullptr};
    out.push_back(ops::cast(read, dx, DType::kF32).value.to_host(poisoned()));
    return out;
  };
  const auto expected = run(x_rounded), got = run(x16);
  for (size_t k = 0; k < 4; ++k) {
    ASSERT_EQ(got[k].size(), expected[k].size());
    const bool stored = k == 0 || k == 3;  // y and dx
    for (size_t i = 0; i < got[k].size(); ++i)
      ASSERT_EQ(got[k][i], stored ? static_cast<float>(float16(expected[k][i])) : expected[k][i])
          << k << " " << i;
  }
}

/// The weight of backward is a factor of every loss's gradient (4 is exact in floating point).
TEST(OpGradients, OfLossesHaveTheWeightOfBackward) {
  for (const OpCase& c : op_cases()) {
    const std::string op = c.op;
    if (op != "cross_entropy" && op != "sign_loss" && op != "orthogonality_loss") continue;
    const auto gradient = [&](float weight) {
      const Checked made = c.make();
      Tape tape(poisoned());
      if (op == "cross_entropy")
        ops::cross_entropy(tape, made.leaves[0].var, labels(std::vector<int32_t>(3, 1)));
      else if (op == "orthogonality_loss")
        ops::orthogonality_loss(tape, made.leaves[0].var, {});
      else
        ops::sign_loss(tape, made.leaves[0].var, {7},
                       Tensor::from<int8_t>(poisoned(), {7}, std::vector<int8_t>(7, 1)), {});
      tape.backward(weight);
      return made.leaves[0].var.gradient->value.to_host(poisoned());
    };
    std::vector<float> expected = gradient(1);
    for (float& v : expected) v *= 4;
    EXPECT_EQ(gradient(4), expected) << op << " " << c.name;
  }
}

/// Rows of one branch never meet rows of another.
TEST(Ops, RefuseOperandsOfOtherLanes) {
  const Shape shape{2, 1, 1, kC};
  const Tensor table = Tensor::zeros(poisoned(), {1, kC});
  Tape tape(poisoned());
  for (const auto& [a, b] :
       {std::pair{kOne, kShared}, {kOne, Lanes::only(Branch::kPassport)}, {kSplit, kOne}}) {
    const Var x = input(shape, 1, a), y = input(shape, 2, b);
    EXPECT_THROW(ops::add(tape, x, y, true), Error);
    EXPECT_THROW(ops::add(tape, y, x, true), Error);
    EXPECT_THROW(ops::norm(tape, x, y, {{table, table, {}, {}}},
                           {.geometry = NormGeometry::of(NormKind::kBatch, 2, 1, kC, 1)}),
                 Error);
    const Var t = input({2, kC * kC}, 3, b);
    EXPECT_THROW(ops::batched_matmul(tape, x, t), Error);
  }
}

TEST(OpGradients, EveryOperationOfTheHeaderIsChecked) {
  const auto header = std::filesystem::path(__FILE__).parent_path() / "../../engine/ops/ops.hpp";
  const std::vector<std::byte> bytes = read_file(header.string(), 1 << 20);
  const std::string text(text_of(bytes));
  const std::regex declaration(R"((\w+)\(Tape& tape)");
  std::set<std::string> declared, checked;
  for (std::sregex_iterator it(text.begin(), text.end(), declaration), end; it != end; ++it)
    declared.insert((*it)[1]);
  for (const OpCase& c : op_cases()) checked.insert(c.op);
  EXPECT_EQ(declared, checked);
  EXPECT_GE(declared.size(), 12u);
}

}  // namespace
}  // namespace passnorm::test
