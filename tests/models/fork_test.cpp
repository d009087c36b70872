// One forward of both branches against two passes: losses, logits, gradients and running statistics
// are the same.
#include <algorithm>

#include "tests/support/networks.hpp"
#include "tests/support/tolerance.hpp"
#include "train/step.hpp"

namespace passnorm::test {
namespace {

struct ForkCase {
  std::string model, scheme, norm, sites;
  bool residual_relu = false;
  int64_t batch = 2;
};
void PrintTo(const ForkCase& c, std::ostream* out) {
  std::string text = concat(c.model, "_", c.scheme, "_", c.norm, "_", c.sites,
                            c.residual_relu ? "_residual_relu" : "");
  std::ranges::replace_if(
      text, [](char k) { return !std::isalnum(static_cast<unsigned char>(k)); }, '_');
  *out << text;
}

std::vector<std::string> schemes_of_both_branches() {
  std::vector<std::string> names;
  for (const Scheme& s : schemes())
    if (s.passport && s.public_lane) names.emplace_back(s.name);
  return names;
}
const std::vector<std::string> kNorms{"batch", "group", "instance", "layer"};

std::vector<ForkCase> tiny_cases() {
  std::vector<ForkCase> all;
  for (const std::string& scheme : schemes_of_both_branches())
    for (const std::string& norm : kNorms)
      for (const char* sites : {"all", "last", "conv4"})
        all.push_back({"tiny", scheme, norm, sites, false, 4});
  return all;
}
std::vector<ForkCase> registered_cases() {
  std::vector<ForkCase> all;
  for (const Architecture& a : models::architectures())
    for (const char* sites : {"last", "all"})
      if (!a.of_points()) all.push_back({std::string(a.name), "pan", "batch", sites});
  return all;
}
/// Where PointNet may fork: in its first transform net (batch norm under PAN), at a site or at a
/// linear one, and behind the last norm.
std::vector<ForkCase> point_cases(const std::vector<std::string>& of_schemes,
                                  const std::vector<std::string>& norms) {
  std::vector<ForkCase> all;
  for (const std::string& scheme : of_schemes)
    for (const std::string& norm : norms)
      for (const char* sites : {"all", "convp3", "p1,p2", "p3"})
        all.push_back({"pointnet", scheme, norm, sites, false, 8});
  return all;
}
/// Where a block may fork: at its first norm and its shortcut, at the second norm only, at the
/// shortcut only.
std::vector<ForkCase> block_cases(const std::string& model,
                                  const std::vector<std::string>& of_schemes,
                                  const std::vector<std::string>& norms) {
  std::vector<ForkCase> all;
  for (const std::string& scheme : of_schemes)
    for (const std::string& norm : norms)
      for (const char* sites :
           {"last", "layer4.0.convbnrelu_1", "layer4.0.convbn_2", "layer4.0.shortcut"})
        for (const bool residual_relu : {false, true})
          all.push_back({model, scheme, norm, sites, residual_relu});
  return all;
}

double norm_of(const std::vector<float>& v) {
  double sum = 0;
  for (const float x : v) sum += double{x} * x;
  return std::sqrt(sum);
}
/// |a - b| / |b| of Frobenius norms.
double distance(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) return std::numeric_limits<double>::infinity();
  std::vector<float> difference(a.size());
  for (size_t i = 0; i < a.size(); ++i) difference[i] = a[i] - b[i];
  return norm_of(difference) / std::max(norm_of(b), 1e-30);
}

void rescale(const Tensor& t, float factor, Stream& stream) {
  std::vector<float> v = t.to_host(stream);
  for (float& x : v) x *= factor;
  t.copy_from<float>(stream, v);
}

class Fork : public testing::TestWithParam<ForkCase> {
 protected:
  std::unique_ptr<Model> make() const {
    const ForkCase& c = GetParam();
    auto model = models::make(c.model,
                              {.norm = norm_kind(c.norm),
                               .plan = PassportPlan::of(c.scheme, c.sites),
                               .residual_relu = c.residual_relu,
                               .points = 16},
                              network_stream());
    unsettle(*model);
    // A fresh gate gives scales near 0: the passport branch would hardly matter.
    const float factor = model->architecture().of_points() ? 8 : 4;
    for (const Parameter& p : model->parameters().parameters())
      if (p.spec.secret) rescale(p.var.value, factor, model->stream());
    return model;
  }
  static std::vector<std::vector<float>> gradients(const Model& model) {
    std::vector<std::vector<float>> all;
    for (const Parameter& p : model.parameters().parameters())
      all.push_back(p.var.gradient->value.to_host(model.stream()));
    return all;
  }
  static std::vector<float> rows(const Var& logits, int64_t first, int64_t count, Stream& stream) {
    const int64_t classes = logits.shape()[1];
    return logits.value.slice(first * classes, {count, classes}).to_host(stream);
  }
  /// Forward: every layer adds roundings of its window's products (they compare in one norm, so the
  /// statistical bound holds). Backward: the same again, and a ReLU or a maximum whose operands are
  /// within rounding of their kink may go to the other side, which changes one element of that
  /// layer's gradient: of E elements of about equal size a share of 1 / sqrt(E). One in the layer
  /// with the fewest elements is allowed. (Seen on all cases: at most 8e-6, without any.)
  struct Limits {
    double forward = 0, backward = 0;
  };
  static Limits limits(const Model& model, int64_t batch) {
    double products = 0, fewest = 1e30;
    for (const Layer& layer : model.layers()) {
      const kernels::ConvGeometry& g = layer.convolution.geometry();
      products += static_cast<double>(g.window());
      if (!layer.norm->spec().normalise) continue;  // nor has it an activation
      fewest = std::min(fewest, static_cast<double>(batch * g.y_size()));
    }
    const double forward = gamma(products, unit_roundoff(DType::kF32));
    return {forward, 2 * forward + std::sqrt(1 / fewest)};
  }
};

TEST_P(Fork, EqualsTwoPasses) {
  const int64_t n = GetParam().batch;
  const auto one = make(), two = make();
  Stream& stream = one->stream();
  const OpenPassport passport =
      one->open(Passport::random(one->sites(), secret(1), Signature::from_text("fork")));
  const Tensor x = pictures(*one, n);
  std::vector<int32_t> targets;
  for (int64_t i = 0; i < n; ++i) targets.push_back(static_cast<int32_t>(3 * i % 10));
  const Tensor labels = Tensor::from<int32_t>(stream, {n}, targets);
  const Limits limit = limits(*one, n);
  const train::LossOptions options{.label_smoothing = 0.1f};

  ASSERT_TRUE(one->training_lanes().is_shared());
  const auto both = train::forward_backward(*one, &passport, x, labels, Lanes::shared(), options);
  const auto only_public =
      train::forward_backward(*two, &passport, x, labels, Lanes::only(Branch::kPublic), options);
  const auto public_gradients = gradients(*two);
  const auto only_passport = train::forward_backward(
      *two, &passport, x, labels, Lanes::only(Branch::kPassport), options, {.accumulate = true});

  ASSERT_TRUE(both.logits.lanes.is_split());
  EXPECT_LE(distance(rows(both.logits, 0, n, stream), rows(only_public.logits, 0, n, stream)),
            limit.forward);
  EXPECT_LE(distance(rows(both.logits, n, n, stream), rows(only_passport.logits, 0, n, stream)),
            limit.forward);
  std::vector<float> losses = only_public.losses.loss.to_host(stream);
  losses.push_back(only_passport.losses.loss.to_host(stream)[0]);
  EXPECT_LE(distance(both.losses.loss.to_host(stream), losses), limit.forward);
  EXPECT_FALSE(only_public.signs.loss);
  EXPECT_EQ(both.signs.loss.to_host(stream), only_passport.signs.loss.to_host(stream));
  EXPECT_EQ(both.signs.matched.to_host<int32_t>(stream),
            only_passport.signs.matched.to_host<int32_t>(stream));

  const auto forked = gradients(*one), accumulated = gradients(*two);
  const auto& parameters = one->parameters().parameters();
  double weight = 0;  // norm of the gradient of the layer's
  for (size_t i = 0; i < parameters.size(); ++i) {
    const std::string& name = parameters[i].spec.name;
    EXPECT_GT(norm_of(accumulated[i]), 0) << name;
    if (parameters[i].spec.shape.rank() > 1) weight = norm_of(accumulated[i]);
    // A shift that a batch norm takes out again (of PointNet's biases, and of a maximum over
    // points): its gradient is rounding.
    if (norm_of(accumulated[i]) < 1e-4 * weight)
      EXPECT_LT(norm_of(forked[i]), 1e-4 * weight) << name;
    else
      EXPECT_LE(distance(forked[i], accumulated[i]), limit.backward) << name;
  }
  EXPECT_GT(distance(public_gradients[0], accumulated[0]), 4 * limit.backward)
      << "blind: the passport pass adds too little";

  const auto &a = one->parameters().buffers(), &b = two->parameters().buffers();
  EXPECT_EQ(a.empty(), GetParam().norm != "batch");
  for (size_t i = 0; i < a.size(); ++i)
    EXPECT_LE(distance(a[i].value.to_host(stream), b[i].value.to_host(stream)), limit.forward)
        << a[i].spec.name;

  // Evaluation: running statistics per lane.
  const auto evaluate = [&](Model& model, Lanes lanes) {
    return train::forward_only(model, &passport, x, labels, lanes, Mode::kEvaluate).logits;
  };
  const Var evaluated = evaluate(*one, Lanes::shared());
  for (const Branch branch : {Branch::kPublic, Branch::kPassport})
    EXPECT_LE(distance(rows(evaluated, branch == Branch::kPublic ? 0 : n, n, stream),
                       rows(evaluate(*one, Lanes::only(branch)), 0, n, stream)),
              limit.forward);
}

#if PASSNORM_TEST_CUDA  // the emulator takes its time: every scheme in short, the others in Full
std::vector<ForkCase> cuda_cases() {
  std::vector<ForkCase> all = tiny_cases();
  std::erase_if(all, [](const ForkCase& c) { return c.norm != "batch" || c.sites != "last"; });
  return all;
}
INSTANTIATE_TEST_SUITE_P(Cuda, Fork, testing::ValuesIn(cuda_cases()),
                         testing::PrintToStringParamName());
INSTANTIATE_TEST_SUITE_P(TinyFull, Fork, testing::ValuesIn(tiny_cases()),
                         testing::PrintToStringParamName());
INSTANTIATE_TEST_SUITE_P(RegisteredFull, Fork, testing::ValuesIn(registered_cases()),
                         testing::PrintToStringParamName());
#else
INSTANTIATE_TEST_SUITE_P(Tiny, Fork, testing::ValuesIn(tiny_cases()),
                         testing::PrintToStringParamName());
INSTANTIATE_TEST_SUITE_P(Registered, Fork, testing::ValuesIn(registered_cases()),
                         testing::PrintToStringParamName());
INSTANTIATE_TEST_SUITE_P(Points, Fork,
                         testing::ValuesIn(point_cases({"deepipr-v2", "pan"}, {"batch", "group"})),
                         testing::PrintToStringParamName());
INSTANTIATE_TEST_SUITE_P(Blocks, Fork,
                         testing::ValuesIn(block_cases("resnet9", {"deepipr-v2", "pan"},
                                                       {"batch", "group"})),
                         testing::PrintToStringParamName());
#endif
INSTANTIATE_TEST_SUITE_P(PointsFull, Fork,
                         testing::ValuesIn(point_cases(schemes_of_both_branches(),
                                                       {"batch", "group", "layer"})),
                         testing::PrintToStringParamName());
INSTANTIATE_TEST_SUITE_P(BlocksFull, Fork,
                         testing::ValuesIn(block_cases("resnet18", schemes_of_both_branches(),
                                                       kNorms)),
                         testing::PrintToStringParamName());

}  // namespace
}  // namespace passnorm::test
