// PassportNorm against the naive definition: every kind of norm, scheme, lanes, activation and
// residual.
#include "engine/passport/passport_norm.hpp"

#include <map>
#include "engine/nn/layers.hpp"
#include "engine/ops/ops.hpp"

#include "tests/reference/norm.hpp"
#include "tests/reference/passport.hpp"
#include "tests/support/files.hpp"
#include "tests/support/gradient_check.hpp"

namespace passnorm::test {
namespace {

using kernels::NormActivation;
using kernels::NormKind;
using reference::Values;

constexpr int64_t kN = 4, kH = 3, kW = 2, kC = 8, kGroupChannels = 4;
constexpr float kMomentum = 0.25f, kEps = 1e-5f;
const Lanes kPublic = Lanes::only(Branch::kPublic), kPassport = Lanes::only(Branch::kPassport);
const std::vector<Lanes> kLanes{kPublic, kPassport, Lanes::shared(), Lanes::split()};

/// One layer of a network: a convolution whose weight the passport reads, and the norm behind it.
class Layer {
 public:
  Layer(NormKind kind, const Scheme& scheme)
      : scheme_(scheme), convolution_(set_, "site.conv", site_.geometry), norm_(make(kind)) {
    stream_.memory()->poison(true);
    set_.allocate(stream_, 3);
    uint32_t tag = 70;
    for (Parameter& p : set_.parameters())  // no affine is 1 and 0, no gate nearly 0
      fill(p.var.value, p.spec.shape.rank() == 1 ? uniform(kC, tag++, 0.5, 1.5)
                                                 : uniform(p.spec.shape.size(), tag++));
    for (Buffer& b : set_.buffers()) fill(b.value, uniform(kC, tag++, 0.5, 2));
    if (!scheme.passport) return;
    const auto key = [&] {  // of one sign: raw scales and shifts of size 1
      const Values v = uniform(kH * kW * 2, tag++, 0.5, 2);
      return SecretVector<float>(v.begin(), v.end());
    };
    open_.emplace(stream_,
                  Passport::from_keys({{site_, key(), key(), {}}}, Passport::Source::kGiven,
                                      Signature::random()),
                  std::span(&site_, 1));
  }

  ParameterSet& set() { return set_; }
  CpuStream& stream() { return stream_; }
  bool forks() const { return scheme_.passport; }
  bool has(Branch b) const { return !forks() || b == Branch::kPassport || scheme_.public_lane; }
  bool runs(Lanes lanes) const {
    return (!lanes.has(Branch::kPublic) || has(Branch::kPublic)) &&
           (!lanes.has(Branch::kPassport) || has(Branch::kPassport));
  }
  Lanes out(Lanes in) const { return in.is_shared() && forks() ? Lanes::split() : in; }

  Var forward(Tape& tape, const Var& x, const Var& residual, NormActivation activation, Mode mode) {
    Pass pass{
        .tape = tape, .mode = mode, .passport = open_ ? &*open_ : nullptr, .raw = {}, .used = {}};
    if (forks() && x.lanes.has(Branch::kPassport)) {
      pass.raw = ops::passport_read(tape, {{convolution_.weight(), {}, open_->digest(0)}});
      const Parameter *in = norm_.gate_in(), *out = norm_.gate_out();
      pass.used = ops::gate(tape, pass.raw, {{kC, in ? in->var : Var{}, out ? out->var : Var{}}});
    }
    return norm_.forward(pass, x, {.activation = activation, .residual = residual});
  }

  Values values(const std::string& name) {
    if (const Parameter* p = set_.find(name)) return numbers(p->var.value);
    if (const Buffer* b = set_.find_buffer(name)) return numbers(b->value);
    ADD_FAILURE() << "no tensor " << name;
    return {};
  }
  Values numbers(const Tensor& t) {
    const std::vector<float> v = t.to_host(stream_);
    return {v.begin(), v.end()};
  }
  /// What the running statistics of a branch are called.
  std::string running(Branch b) const {
    if (!scheme_.lane_statistics) return "site.bn.running_";
    return b == Branch::kPublic ? "site.bn0.running_" : "site.bn1.running_";
  }
  /// A branch's scale and shift from the formulas.
  std::pair<Values, Values> affine(Branch b) {
    if (!forks()) return {values("site.bn.weight"), values("site.bn.bias")};
    if (b == Branch::kPublic) return {values("site.scale"), values("site.bias")};
    const int64_t k = site_.geometry.window();
    Values used = reference::passport_read(kC, k, values("site.conv.weight"), {},
                                           numbers(open_->digest(0).value))
                      .value;
    if (scheme_.gate)
      used =
          reference::gate(kC, kC / 4, values("site.fc.0.weight"), values("site.fc.2.weight"), used)
              .used.value;
    return {Values(used.begin(), used.begin() + kC), Values(used.begin() + kC, used.end())};
  }
  /// On which side of the gate's kinks the weights stand.
  std::vector<double> gate_sides() {
    if (!scheme_.gate) return {};
    const int64_t k = site_.geometry.window();
    const Values raw = reference::passport_read(kC, k, values("site.conv.weight"), {},
                                                numbers(open_->digest(0).value))
                           .value;
    return reference::gate(kC, kC / 4, values("site.fc.0.weight"), values("site.fc.2.weight"), raw)
        .hidden.value;
  }

 private:
  PassportNorm make(NormKind kind) {
    const NormSpec spec{.kind = kind,
                        .channels = kC,
                        .group_channels = kGroupChannels,
                        .eps = kEps,
                        .momentum = kMomentum};
    return forks() ? PassportNorm::at_site(set_, "site", spec, scheme_, 0)
                   : PassportNorm::ordinary(set_, "site", spec, true);
  }
  void fill(const Tensor& t, const Values& v) {
    t.copy_from<float>(stream_, std::vector<float>(v.begin(), v.end()));
  }

  CpuStream stream_{1};
  Site site_{"site",
             {.n = 1, .h = kH, .w = kW, .c = 2, .o = kC, .kh = 3, .kw = 3, .stride = 1, .pad = 1}};
  const Scheme& scheme_;
  ParameterSet set_;
  Convolution convolution_;
  PassportNorm norm_;
  std::optional<OpenPassport> open_;
};

struct NormCase {
  NormKind kind;
  const Scheme* scheme;
};
void PrintTo(const NormCase& c, std::ostream* out) {
  constexpr std::array names{"batch", "group", "instance", "layer"};
  std::string scheme(c.scheme->name);
  std::ranges::replace(scheme, '-', '_');
  *out << names[static_cast<size_t>(c.kind)] << "_" << scheme;
}
std::vector<NormCase> all_cases() {
  std::vector<NormCase> all;
  for (const NormKind kind :
       {NormKind::kBatch, NormKind::kGroup, NormKind::kInstance, NormKind::kLayer})
    for (const Scheme& s : schemes()) all.push_back({kind, &s});
  return all;
}

class NormOfScheme : public testing::TestWithParam<NormCase> {
 protected:
  NormKind kind() const { return GetParam().kind; }
  const Scheme& scheme() const { return *GetParam().scheme; }

  /// f(x, residual, activation, mode, what) for everything that this layer runs on.
  template <class F>
  void for_each_call(Layer& layer, F&& f) const {
    uint32_t tag = 1;
    for (const Lanes lanes : kLanes) {
      if (!layer.runs(lanes)) continue;
      const Lanes out = layer.out(lanes);
      std::vector<std::optional<Lanes>> residuals{std::nullopt, out};
      if (out.is_split()) residuals.push_back(Lanes::shared());
      if (out.is_shared()) residuals.push_back(Lanes::split());
      for (const auto& residual_lanes : residuals)
        for (const auto activation :
             {NormActivation::kIdentity, NormActivation::kRelu, NormActivation::kReluThenAdd})
          for (const Mode mode : {Mode::kTrain, Mode::kEvaluate}) {
            if (mode == Mode::kEvaluate && kind() != NormKind::kBatch) continue;
            const Shape shape{kN, kH, kW, kC};
            const Var x = leaf(layer.stream(), shape, ++tag, lanes);
            const int64_t rows = lanes.is_split() ? kN / 2 : kN;  // of one lane
            const Var residual =
                residual_lanes
                    ? leaf(layer.stream(), shape.with_rows(rows * residual_lanes->parts()), ++tag,
                           *residual_lanes)
                    : Var{};
            SCOPED_TRACE(concat("lanes ", text(lanes), ", residual ",
                                residual_lanes ? text(*residual_lanes) : "none", ", activation ",
                                static_cast<int>(activation),
                                mode == Mode::kTrain ? ", training" : ", evaluation"));
            f(x, residual, activation, mode);
          }
    }
  }
  static std::string text(Lanes l) {
    return l.is_shared()                   ? "shared"
           : l.is_split()                  ? "split"
           : l.branch() == Branch::kPublic ? "public"
                                           : "passport";
  }

  /// The result by the definition, in the order of rows of the result.
  Values expected(Layer& layer, const Var& x, const Var& residual, NormActivation activation,
                  Mode mode) const {
    const bool to_split = residual.value && residual.lanes.is_split();
    const bool fork = x.lanes.is_shared() && (layer.forks() || to_split);
    const bool two = fork || x.lanes.is_split();
    const reference::Norm g{.kind = static_cast<reference::Kind>(kind()),
                            .n = kN,
                            .s = kH * kW,
                            .c = kC,
                            .parts = x.lanes.parts(),
                            .groups = kC / kGroupChannels,
                            .lanes = two ? 2 : 1,
                            .fork = fork};
    const Values values = layer.numbers(x.value);
    const reference::Statistics s = reference::norm_statistics(g, values);
    reference::Affines affines;
    for (size_t l = 0; l < (two ? 2u : 1u); ++l) {
      const Branch b = two                 ? static_cast<Branch>(l)
                       : x.lanes.is_both() ? Branch::kPublic
                                           : x.lanes.branch();
      std::tie(affines[l].scale, affines[l].shift) = layer.affine(b);
      affines[l].mean = s.mean;
      Values var = s.var;
      if (mode == Mode::kEvaluate && kind() == NormKind::kBatch)
        for (size_t i = 0; i < var.size(); ++i) {
          affines[l].mean[i] = layer.values(layer.running(b) + "mean")[i % kC];
          var[i] = layer.values(layer.running(b) + "var")[i % kC];
        }
      for (const double v : var) affines[l].rstd.push_back(1 / std::sqrt(v + double{kEps}));
    }
    return reference::norm_apply(g, static_cast<reference::Activation>(activation), values,
                                 residual.value ? layer.numbers(residual.value) : Values{}, affines)
        .value;
  }
};

/// Roundings behind one element: its set's sums, the products of the passport's reading and of the
/// gate.
constexpr double kRoundings = kN * kH * kW * kC + 18 + kC + kC / 4 + 8;

TEST_P(NormOfScheme, IsTheDefinition) {
  Layer layer(kind(), scheme());
  for_each_call(
      layer, [&](const Var& x, const Var& residual, NormActivation activation, Mode mode) {
        const Values e = expected(layer, x, residual, activation, mode);
        Tape tape(layer.stream(), Tape::Mode::kForwardOnly);
        const Var y = layer.forward(tape, x, residual, activation, mode);
        EXPECT_EQ(y.lanes, residual.value && residual.lanes.is_split() ? Lanes::split()
                                                                       : layer.out(x.lanes));
        const Values v = layer.numbers(y.value);
        ASSERT_EQ(v.size(), e.size());
        double largest = 0, worst = 0;
        for (size_t i = 0; i < v.size(); ++i) {
          largest = std::max(largest, std::abs(e[i]));
          worst = std::isnan(v[i]) ? INFINITY : std::max(worst, std::abs(v[i] - e[i]));
        }
        EXPECT_LE(worst, gamma(kRoundings, unit_roundoff(DType::kF32)) * largest);
      });
}

TEST_P(NormOfScheme, GradientIsTheDifferenceQuotient) {
  Layer layer(kind(), scheme());
  uint32_t first = 0;
  std::map<std::string, Sharpness> sharpness;
  for_each_call(layer, [&](const Var& x, const Var& residual, NormActivation activation,
                           Mode mode) {
    std::vector<Leaf> leaves{{"x", x}};
    if (residual.value) leaves.push_back({"residual", residual});
    for (const Parameter& p : layer.set().parameters()) {
      const bool is_public = p.spec.name == "site.scale" || p.spec.name == "site.bias";
      const bool ordinary = p.spec.name.starts_with("site.bn.");
      if (ordinary || x.lanes.has(is_public ? Branch::kPublic : Branch::kPassport))
        if (layer.forks() || ordinary) leaves.push_back({p.spec.name, p.var});
    }
    const auto f = [&](Evaluation& e) {
      const Var y = layer.forward(e.tape, x, residual, activation, mode);
      e.sum(y);
      e.kinks_at_zero(layer.gate_sides());
      if (activation == NormActivation::kIdentity) return;
      const std::span<float> v = y.value.span();
      const bool after = activation == NormActivation::kReluThenAdd && residual.value;
      for (size_t i = 0; i < v.size(); ++i)
        e.sides.push_back(
            after ? v[i] != residual.value.span()[i % static_cast<size_t>(residual.value.size())]
                  : v[i] > 0);
    };
    check_gradients(
        layer.stream(), leaves, f,
        {.roundings = kH * kW * kN, .coordinates = 12, .first = first++, .sharpness = &sharpness});
    if (testing::Test::HasFailure()) return;
    check_records_nothing(layer.stream(), {{"x", x}}, f);
  });
  for (const auto& [name, s] : sharpness) EXPECT_TRUE(s.good()) << name << ": " << s;
}

INSTANTIATE_TEST_SUITE_P(Schemes, NormOfScheme, testing::ValuesIn(all_cases()),
                         testing::PrintToStringParamName());

class RunningStatistics : public testing::TestWithParam<NormCase> {};

/// Shared statistics on shared rows: once with 1 - (1 - m)^2, which is twice with m. On split rows:
/// twice, public first. Statistics of a lane: once each. One branch: its own once.
TEST_P(RunningStatistics, FollowTheBranchesThatRan) {
  for (const Lanes lanes : kLanes) {
    Layer layer(NormKind::kBatch, *GetParam().scheme);
    if (!layer.runs(lanes)) continue;
    SCOPED_TRACE(concat("parts ", lanes.parts(), ", shared ", lanes.is_shared()));
    const Var x = leaf(layer.stream(), {kN, kH, kW, kC}, 5, lanes);
    const reference::Norm g{
        .kind = reference::Kind::kBatch, .n = kN, .s = kH * kW, .c = kC, .parts = lanes.parts()};
    const reference::Statistics s = reference::norm_statistics(g, layer.numbers(x.value));
    std::map<std::string, Values> expected;
    for (const Buffer& b : layer.set().buffers()) expected[b.spec.name] = layer.numbers(b.value);
    for (const Branch b : {Branch::kPublic, Branch::kPassport}) {
      if (!lanes.has(b)) continue;
      const auto block =
          static_cast<ptrdiff_t>(lanes.is_split() && b == Branch::kPassport ? kC : 0);
      const Values mean(s.mean.begin() + block, s.mean.begin() + block + kC);
      Values var(s.var.begin() + block, s.var.begin() + block + kC);
      for (double& v : var) v *= s.count[0] / (s.count[0] - 1);
      Values &m = expected[layer.running(b) + "mean"], &r = expected[layer.running(b) + "var"];
      m = reference::running_average(m, mean, kMomentum).value;
      r = reference::running_average(r, var, kMomentum).value;
    }
    for (const Mode mode : {Mode::kTrain, Mode::kEvaluate}) {  // evaluation changes nothing
      Tape tape(layer.stream());
      layer.forward(tape, x, {}, NormActivation::kIdentity, mode);
      ASSERT_EQ(layer.set().buffers().size(), GetParam().scheme->lane_statistics ? 4u : 2u);
      for (const auto& [name, e] : expected)
        for (size_t c = 0; c < static_cast<size_t>(kC); ++c)
          EXPECT_NEAR(layer.values(name)[c], e[c],
                      gamma(kN * kH * kW + 8, unit_roundoff(DType::kF32)) * (1 + std::abs(e[c])))
              << name << c;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Schemes, RunningStatistics, testing::ValuesIn([] {
                           std::vector<NormCase> all = all_cases();
                           std::erase_if(
                               all, [](const NormCase& c) { return c.kind != NormKind::kBatch; });
                           return all;
                         }()),
                         testing::PrintToStringParamName());

TEST(PassportNorm, WithoutAPublicBranchRefusesToRunIt) {
  Layer layer(NormKind::kBatch, passnorm::scheme("deepipr-v1"));
  for (const Lanes lanes : {kPublic, Lanes::shared(), Lanes::split()}) {
    Tape tape(layer.stream());
    EXPECT_CONTAINS(refusal(Fault::kSecret,
                            [&] {
                              layer.forward(tape, leaf(layer.stream(), {2, kH, kW, kC}, 1, lanes),
                                            {}, NormActivation::kRelu, Mode::kTrain);
                            }),
                    "no public branch");
  }
}

TEST(PassportNorm, NamesWhatTheReferencesName) {
  const auto names = [](const char* scheme_name) {
    Layer layer(NormKind::kBatch, passnorm::scheme(scheme_name));
    std::string text;
    for (const Parameter& p : layer.set().parameters())
      text += p.spec.name + (p.spec.secret ? "! " : " ");
    for (const Buffer& b : layer.set().buffers())
      text += b.spec.name + (b.spec.secret ? "! " : " ");
    return text;
  };
  EXPECT_EQ(
      names("none"),
      "site.conv.weight site.bn.weight site.bn.bias site.bn.running_mean site.bn.running_var ");
  EXPECT_EQ(names("deepipr-v1"), "site.conv.weight site.bn.running_mean site.bn.running_var ");
  EXPECT_EQ(names("deepipr-v2"),
            "site.conv.weight site.scale site.bias site.bn.running_mean site.bn.running_var ");
  EXPECT_EQ(names("pan"),
            "site.conv.weight site.scale site.bias site.fc.0.weight! site.fc.2.weight! "
            "site.bn0.running_mean site.bn0.running_var "
            "site.bn1.running_mean! site.bn1.running_var! ");
}

}  // namespace
}  // namespace passnorm::test
