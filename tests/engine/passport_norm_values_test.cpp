// PassportNorm on numbers small enough to be worked out by hand.
#include "engine/passport/passport_norm.hpp"
#include "tests/support/gradient_check.hpp"

namespace passnorm::test {
namespace {

using kernels::NormActivation;
using kernels::NormKind;

const Lanes kPublic = Lanes::only(Branch::kPublic), kPassport = Lanes::only(Branch::kPassport);

/// Scale and shift alone: each lane its own, of a shared input or of its half of a split one.
TEST(PassportNorm, WithoutNormalisationIsTheAffine) {
  CpuStream s(1);
  s.memory()->poison(true);
  ParameterSet set;
  const PassportNorm norm =
      PassportNorm::at_site(set, "p", {.normalise = false, .channels = 2}, scheme("deepipr-v2"), 0);
  set.allocate(s, 1);
  EXPECT_TRUE(set.buffers().empty());
  const auto put = [&](const char* name, const std::vector<float>& v) {
    set.find(name)->var.value.copy_from<float>(s, v);
  };
  put("p.scale", {2, -1});
  put("p.bias", {0.5f, 0});
  for (const Mode mode : {Mode::kTrain, Mode::kEvaluate})
    for (const Lanes lanes : {kPublic, kPassport, Lanes::shared(), Lanes::split()}) {
      Tape tape(s);
      Pass pass{.tape = tape, .mode = mode};
      pass.used = {Tensor::from<float>(s, {4}, std::vector<float>{3, 4, 10, 20}), kPassport, {}};
      const Var x = leaf(s, {2, 1, 1, 2}, {1, 2, -3, 5}, lanes);
      const std::vector<float> y =
          norm.forward(pass, x, {.activation = NormActivation::kIdentity}).value.to_host(s);
      const std::vector<float> of_public{2.5f, -2, -5.5f, -5}, of_passport{13, 28, 1, 40};
      std::vector<float> expected = lanes == kPassport ? of_passport : of_public;
      if (lanes.is_shared())
        expected.insert(expected.end(), of_passport.begin(), of_passport.end());
      if (lanes.is_split()) expected = {2.5f, -2, 1, 40};
      EXPECT_EQ(y, expected) << lanes.parts() << lanes.is_shared();
    }
}

/// A layer of a transform net: the branches share the statistics of a batch that is theirs both,
/// and nothing else.
TEST(PassportNorm, PerLaneHasItsOwnOfEverything) {
  CpuStream s(1);
  ParameterSet set;
  const PassportNorm norm = PassportNorm::per_lane(set, "stn.fc1", {.channels = 1});
  set.allocate(s, 1);
  std::string names;
  for (const Parameter& p : set.parameters())
    names += p.spec.name + (p.spec.secret ? "! " : " ") + p.spec.released_name + " ";
  for (const Buffer& b : set.buffers()) names += b.spec.name + (b.spec.secret ? "! " : " ");
  EXPECT_EQ(names,
            "stn.fc1.bn0.weight stn.fc1.bn.weight stn.fc1.bn0.bias stn.fc1.bn.bias "
            "stn.fc1.bn1.weight! stn.fc1.bn1.weight stn.fc1.bn1.bias! stn.fc1.bn1.bias "
            "stn.fc1.bn0.running_mean stn.fc1.bn0.running_var "
            "stn.fc1.bn1.running_mean! stn.fc1.bn1.running_var! ");
  set.find("stn.fc1.bn0.weight")->var.value.span()[0] = 2;
  set.find("stn.fc1.bn0.bias")->var.value.span()[0] = -0.5;
  set.find("stn.fc1.bn1.bias")->var.value.span()[0] = 10;
  Tape tape(s);
  Pass pass{.tape = tape};
  const Var y = norm.forward(pass, leaf(s, {4, 1, 1, 1}, {1, 2, 3, 6}, Lanes::shared()), {});
  ASSERT_TRUE(y.lanes.is_split());
  const std::vector<float> values = y.value.to_host(s);
  EXPECT_EQ(values[0], 0);
  EXPECT_NEAR(values[3], 2.7071303213, 3e-6);
  EXPECT_NEAR(values[7], 11.6035651607, 1e-5);
  for (const char* lane : {"stn.fc1.bn0.running_", "stn.fc1.bn1.running_"}) {
    EXPECT_NEAR(set.find_buffer(lane + std::string("mean"))->value.span()[0], 0.3, 1e-6);
    EXPECT_NEAR(set.find_buffer(lane + std::string("var"))->value.span()[0], 1.3666667, 1e-6);
  }
}

/// Worked values of the specification: channel [1, 2, 3, 6], scale 2, shift -0.5, ReLU; statistics
/// from 0 and 1, momentum 0.1.
TEST(PassportNorm, WorkedValuesOfBatchNorm) {
  CpuStream s(1);
  ParameterSet set;
  const PassportNorm norm =
      PassportNorm::ordinary(set, "n", {.kind = NormKind::kBatch, .channels = 1}, true);
  set.allocate(s, 1);
  set.find("n.bn.weight")->var.value.span()[0] = 2;
  set.find("n.bn.bias")->var.value.span()[0] = -0.5;
  const Var x = leaf(s, {1, 2, 2, 1}, {1, 2, 3, 6});
  for (const auto& [mean, var] : {std::pair{0.3, 1.3666667}, {0.57, 1.6966667}}) {
    Tape tape(s);
    Pass pass{.tape = tape};
    const std::vector<float> y = norm.forward(pass, x, {}).value.to_host(s);
    for (size_t i = 0; i < 3; ++i) EXPECT_EQ(y[i], 0);
    EXPECT_NEAR(y[3], 2.7071303213, 3e-6);  // eps moves the sixth digit
    EXPECT_NEAR(set.find_buffer("n.bn.running_mean")->value.span()[0], mean, 1e-6);
    EXPECT_NEAR(set.find_buffer("n.bn.running_var")->value.span()[0], var, 1e-6);
  }
}

}  // namespace
}  // namespace passnorm::test
