// One pass of both branches against two passes, on a residual block so small that every placement
// of passports can be tried: stem, first, second (+ residual), shortcut, an ordinary layer behind,
// mean, linear.
#include "engine/nn/layers.hpp"
#include "engine/ops/ops.hpp"
#include "engine/passport/passport_norm.hpp"
#include "tests/support/files.hpp"
#include "tests/support/fill.hpp"
#include "tests/support/tolerance.hpp"

namespace passnorm::test {
namespace {

using kernels::NormActivation;
using kernels::NormKind;

constexpr int64_t kN = 3, kSize = 4, kC = 8, kClasses = 5;
constexpr unsigned kFirst = 1, kSecond = 2, kShortcut = 4, kPlacements = 7;

/// Two such networks of equal arguments have equal weights.
class Network {
 public:
  Network(NormKind kind, const Scheme& scheme, unsigned placement, bool residual_relu)
      : kind_(kind), scheme_(scheme), residual_relu_(residual_relu) {
    stream_.memory()->poison(true);
    stem_ = layer("stem", 3, 3, false);
    first_ = layer("first", kC, 3, placement & kFirst);
    second_ = layer("second", kC, 3, placement & kSecond);
    shortcut_ = layer("shortcut", kC, 1, placement & kShortcut);
    last_ = layer("last", kC, 3, false);
    linear_.emplace(set, "linear", kC, kClasses);
    set.allocate(stream_, 11);
    uint32_t tag = 200;
    const auto unsettle = [&](const Tensor& t) {
      const std::vector<double> v = uniform(t.size(), tag++, 0.5, 1.5);
      t.copy_from<float>(stream_, std::vector<float>(v.begin(), v.end()));
    };
    for (const Parameter& p : set.parameters())
      if (p.spec.shape.rank() == 1 || p.spec.secret) unsettle(p.var.value);
    for (const passnorm::Buffer& b : set.buffers()) unsettle(b.value);
    const Passport passport = Passport::random(sites_, Secret32(std::array<uint8_t, 32>{4}),
                                               Signature::from_text("fork"));
    open_.emplace(stream_, passport, sites_);
  }

  /// Logits [lanes N, classes] and the sum of all losses; gradients are added, or nothing is
  /// differentiated.
  /// apply_shortcut: its norm has a result of its own, instead of being applied by the second's.
  std::pair<std::vector<float>, double> run(Lanes lanes, Mode mode, bool differentiate,
                                            bool apply_shortcut = false) {
    Tape tape(stream_, differentiate ? Tape::Mode::kRecord : Tape::Mode::kForwardOnly);
    Pass pass{.tape = tape, .mode = mode, .passport = &*open_, .raw = {}, .used = {}};
    const std::vector<double> pixels = uniform(kN * kSize * kSize * 3, 1);
    Var x{Tensor::from<float>(stream_, {kN, kSize, kSize, 3},
                              std::vector<float>(pixels.begin(), pixels.end())),
          lanes, nullptr};
    double loss = 0;
    const auto count = [&](const Tensor& losses) {
      for (const float v : losses.to_host(stream_)) loss += v;
    };
    if (lanes.has(Branch::kPassport)) read(pass);
    x = forward(pass, stem_, x, NormActivation::kRelu, {});
    const Var h = forward(pass, first_, x, NormActivation::kRelu, {});
    ops::Residual residual;
    if (residual_relu_ || apply_shortcut)
      residual = forward(pass, shortcut_, x,
                         residual_relu_ ? NormActivation::kRelu : NormActivation::kIdentity, {});
    else
      residual = shortcut_->norm.unapplied(pass, shortcut_->convolution.forward(tape, x));
    x = forward(pass, second_, h,
                residual_relu_ ? NormActivation::kReluThenAdd : NormActivation::kRelu, residual);
    x = forward(pass, last_, x, NormActivation::kRelu, {});
    const Var logits = linear_->forward(tape, ops::global_mean_pool(tape, x));
    count(ops::cross_entropy(tape, logits,
                             Tensor::from<int32_t>(stream_, {kN}, std::vector<int32_t>{4, 0, 2}),
                             0.1f)
              .loss);
    if (pass.raw.value)
      count(
          ops::sign_loss(tape, pass.raw, std::vector<int64_t>(sites_.size(), kC), open_->bits(), {})
              .loss);
    tape.backward();
    return {logits.value.to_host(stream_), loss};
  }
  std::vector<float> numbers(const Tensor& t) { return t.to_host(stream_); }
  void finish() { set.finish_gradients(stream_); }

  ParameterSet set;

 private:
  struct ConvolutionNorm {
    Convolution convolution;
    PassportNorm norm;
    bool site;
  };
  using Layer = std::shared_ptr<ConvolutionNorm>;

  Layer layer(const std::string& name, int64_t inputs, int64_t kernel, bool site) {
    const kernels::ConvGeometry g{.n = 1,
                                  .h = kSize,
                                  .w = kSize,
                                  .c = inputs,
                                  .o = kC,
                                  .kh = kernel,
                                  .kw = kernel,
                                  .stride = 1,
                                  .pad = kernel / 2};
    const NormSpec spec{.kind = kind_, .channels = kC, .group_channels = 4};
    Convolution convolution(set, name + ".conv", g);
    if (!site)
      return std::make_shared<ConvolutionNorm>(
          ConvolutionNorm{convolution, PassportNorm::ordinary(set, name, spec, true), false});
    sites_.push_back({name, g});
    return std::make_shared<ConvolutionNorm>(
        ConvolutionNorm{convolution,
                        PassportNorm::at_site(set, name, spec, scheme_,
                                              static_cast<int64_t>(2 * kC * (sites_.size() - 1))),
                        true});
  }
  void read(Pass& pass) {
    std::vector<ops::ReadSite> reads;
    std::vector<ops::GateSite> gates;
    for (const Layer& l : {first_, second_, shortcut_}) {
      if (!l->site) continue;
      reads.push_back({l->convolution.weight(), {}, open_->digest(reads.size())});
      const Parameter *in = l->norm.gate_in(), *out = l->norm.gate_out();
      gates.push_back({kC, in ? in->var : Var{}, out ? out->var : Var{}});
    }
    pass.raw = ops::passport_read(pass.tape, reads);
    pass.used = ops::gate(pass.tape, pass.raw, gates);
  }
  Var forward(Pass& pass, const Layer& l, const Var& x, NormActivation activation,
              const ops::Residual& residual) {
    return l->norm.forward(pass, l->convolution.forward(pass.tape, x),
                           {.activation = activation, .residual = residual});
  }

  CpuStream stream_{1};
  NormKind kind_;
  const Scheme& scheme_;
  bool residual_relu_;
  std::vector<Site> sites_;
  Layer stem_, first_, second_, shortcut_, last_;
  std::optional<Linear> linear_;
  std::optional<OpenPassport> open_;
};

struct Case {
  NormKind kind;
  const Scheme* scheme;
};
void PrintTo(const Case& c, std::ostream* out) {
  constexpr std::array names{"batch", "group", "instance", "layer"};
  std::string scheme(c.scheme->name);
  std::ranges::replace(scheme, '-', '_');
  *out << names[static_cast<size_t>(c.kind)] << "_" << scheme;
}
std::vector<Case> all_cases() {
  std::vector<Case> all;
  for (const NormKind kind :
       {NormKind::kBatch, NormKind::kGroup, NormKind::kInstance, NormKind::kLayer})
    for (const Scheme& s : schemes())
      if (s.passport && s.public_lane) all.push_back({kind, &s});
  return all;
}

double norm_of(const std::vector<float>& v) {
  double sum = 0;
  for (const float x : v) sum += double{x} * x;
  return std::sqrt(sum);
}
double distance(std::vector<float> a, const std::vector<float>& b) {
  if (a.size() != b.size()) return std::numeric_limits<double>::infinity();
  for (size_t i = 0; i < a.size(); ++i) a[i] -= b[i];
  return norm_of(a);
}

class BlockFork : public testing::TestWithParam<Case> {};

TEST_P(BlockFork, EqualsTwoPasses) {
  // Relative Frobenius error of the five layers' products and sums of a set, forward and backward,
  // three of each a layer. No ReLU stands so near to its kink that rounding decides: the data is
  // fixed, and it would show as an error of 1e-2.
  const double limit = gamma(5 * 3 * 2 * (9 * kC + kN * kSize * kSize), unit_roundoff(DType::kF32));
  for (unsigned placement = 1; placement <= kPlacements; ++placement)
    for (const bool residual_relu : {false, true}) {
      SCOPED_TRACE(concat("placement ", placement, residual_relu ? ", residual ReLU" : ""));
      Network one(GetParam().kind, *GetParam().scheme, placement, residual_relu),
          two(GetParam().kind, *GetParam().scheme, placement, residual_relu);
      one.set.begin_gradients(), two.set.begin_gradients();
      const auto [both, both_loss] = one.run(Lanes::shared(), Mode::kTrain, true);
      auto [logits, loss] = two.run(Lanes::only(Branch::kPublic), Mode::kTrain, true);
      const auto [passport_logits, passport_loss] =
          two.run(Lanes::only(Branch::kPassport), Mode::kTrain, true);
      one.finish(), two.finish();
      logits.insert(logits.end(), passport_logits.begin(), passport_logits.end());
      EXPECT_LE(distance(both, logits), limit * norm_of(logits));
      EXPECT_NEAR(both_loss, loss + passport_loss, limit * both_loss);
      for (size_t i = 0; i < one.set.parameters().size(); ++i) {
        const Parameter &p = one.set.parameters()[i], &q = two.set.parameters()[i];
        const std::vector<float> sum = two.numbers(q.var.gradient->value);
        EXPECT_LE(distance(one.numbers(p.var.gradient->value), sum), limit * norm_of(sum))
            << p.spec.name;
        EXPECT_GT(norm_of(sum), 0) << p.spec.name;
      }
      for (size_t i = 0; i < one.set.buffers().size(); ++i) {
        const std::vector<float> running = two.numbers(two.set.buffers()[i].value);
        EXPECT_LE(distance(one.numbers(one.set.buffers()[i].value), running),
                  limit * norm_of(running))
            << one.set.buffers()[i].spec.name;
      }
      const auto evaluated = one.run(Lanes::shared(), Mode::kEvaluate, false).first;
      auto of_branches = one.run(Lanes::only(Branch::kPublic), Mode::kEvaluate, false).first;
      const auto second = one.run(Lanes::only(Branch::kPassport), Mode::kEvaluate, false).first;
      of_branches.insert(of_branches.end(), second.begin(), second.end());
      EXPECT_LE(distance(evaluated, of_branches), limit * norm_of(of_branches));
    }
}

/// A shortcut's norm that is applied as it is read gives the bits of one with a result of its own.
TEST_P(BlockFork, AppliesTheShortcutsNormAsItIsRead) {
  for (unsigned placement = 1; placement <= kPlacements; ++placement) {
    Network read(GetParam().kind, *GetParam().scheme, placement, false),
        stored(GetParam().kind, *GetParam().scheme, placement, false);
    for (const Lanes lanes :
         {Lanes::only(Branch::kPublic), Lanes::only(Branch::kPassport), Lanes::shared()}) {
      SCOPED_TRACE(concat("placement ", placement, ", parts ", lanes.parts(), ", shared ",
                          lanes.is_shared()));
      read.set.begin_gradients(), stored.set.begin_gradients();
      EXPECT_EQ(read.run(lanes, Mode::kTrain, true), stored.run(lanes, Mode::kTrain, true, true));
      read.finish(), stored.finish();
      for (size_t i = 0; i < read.set.parameters().size(); ++i) {
        const Parameter &p = read.set.parameters()[i], &q = stored.set.parameters()[i];
        EXPECT_EQ(read.numbers(p.var.gradient->value), stored.numbers(q.var.gradient->value))
            << p.spec.name;
      }
      for (size_t i = 0; i < read.set.buffers().size(); ++i)
        EXPECT_EQ(read.numbers(read.set.buffers()[i].value),
                  stored.numbers(stored.set.buffers()[i].value))
            << read.set.buffers()[i].spec.name;
      EXPECT_EQ(read.run(lanes, Mode::kEvaluate, false),
                stored.run(lanes, Mode::kEvaluate, false, true));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Schemes, BlockFork, testing::ValuesIn(all_cases()),
                         testing::PrintToStringParamName());

}  // namespace
}  // namespace passnorm::test
