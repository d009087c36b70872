// Operations but norms whose gradients are checked.
#include "tests/engine/ops_cases.hpp"

namespace passnorm::test {
namespace {

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

/// An input that is both operands: its gradient gets two contributions from one closure.
Checked add_itself() {
  const Var x = input({2, 3}, 1);
  return {{{"x", x}}, [=](Evaluation& e) { e.sum(ops::add(e.tape, x, x, false)); }};
}
}  // namespace

std::vector<OpCase> other_cases() {
  return {
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
}

}  // namespace passnorm::test
