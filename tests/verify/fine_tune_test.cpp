// Fine-tuning of the network that was stolen.
#include "tests/support/files.hpp"
#include "tests/verify/owner.hpp"
#include "verify/attacks/rewrite.hpp"

namespace passnorm::verify {
namespace {

TEST(FineTune, KeepsTheBits) {
  const AttackInput input = input_of(owner());
  std::vector<std::string> progress;
  AttackInput listening = input;
  listening.progress = [&](const std::string& line) { progress.push_back(line); };
  const AttackResult r = run("fine-tune", listening, {{"epochs", "2"}});
  EXPECT_EQ(r.axis, "epochs");
  ASSERT_EQ(r.points.size(), 3u);
  const Claim& before = r.points[0].owner;
  for (int i = 0; i < 3; ++i) {
    const AttackPoint& point = r.points[static_cast<size_t>(i)];
    EXPECT_EQ(point.x, i);
    EXPECT_EQ(point.owner.verdict, Verdict::kSupported);
    EXPECT_GT(point.owner.matched, 240);
    EXPECT_FALSE(point.forger);
    EXPECT_GT(public_accuracy(point.owner), public_accuracy(before) - 0.1);
  }
  // The owner's scale, shift and last layer on the thief's features: not far from where they were.
  EXPECT_NEAR(metric(r.points[2], "written back: public accuracy"), public_accuracy(before), 0.15);
  EXPECT_NEAR(metric(r.points[2], "written back: passport accuracy"), passport_accuracy(before),
              0.15);
  const auto released = stolen_copy(input);
  EXPECT_EQ(changed(*released, *r.stolen).size(), released->parameters().parameters().size());
  EXPECT_FALSE(progress.empty());
  EXPECT_CONTAINS(progress.back(), "epoch 2/2");
}

TEST(FineTune, OfTheLastLayerLeavesTheRest) {
  const AttackInput input = input_of(owner());
  const auto released = stolen_copy(input);
  const std::vector<std::string> last{"linear.weight", "linear.bias"};
  for (const char* mode : {"ftll", "rtll"}) {
    const AttackResult r =
        run("fine-tune", input, {{"epochs", "1"}, {"mode", mode}, {"write-back", "no"}});
    EXPECT_EQ(changed(*released, *r.stolen), last) << mode;
    EXPECT_EQ(r.points[1].owner.matched, r.points[0].owner.matched);
    EXPECT_TRUE(r.points[1].metrics.empty());
  }
}

/// A rate of zero shows what is new before training.
TEST(FineTune, ANewLastLayerAndFreshStatistics) {
  const AttackInput input = input_of(owner());
  const auto released = stolen_copy(input);
  const Settings still{{"epochs", "1"}, {"lr", "0"}};
  const auto with = [&](Settings more) {
    more.insert(still.begin(), still.end());
    return run("fine-tune", input, more);
  };
  const AttackResult kept = with({}), anew = with({{"mode", "rtal"}}),
                     fresh = with({{"fresh-statistics", "yes"}});
  EXPECT_TRUE(changed(*released, *kept.stolen).empty());
  EXPECT_EQ(changed(*released, *anew.stolen),
            (std::vector<std::string>{"linear.weight", "linear.bias"}));
  EXPECT_LT(public_accuracy(anew.points[1].owner), 0.3);
  EXPECT_TRUE(changed(*released, *fresh.stolen).empty());
  const auto statistics = [](const AttackResult& r) {
    return r.stolen->parameters().buffer_arena().to_host(r.stolen->stream());
  };
  EXPECT_NE(statistics(fresh), statistics(kept));
  // At the passport's sites alone; the other layers saw the same images.
  for (const Buffer& b : fresh.stolen->parameters().buffers()) {
    const Buffer* same = kept.stolen->parameters().find_buffer(b.spec.name);
    ASSERT_NE(same, nullptr) << b.spec.name;
    const bool site = b.spec.name.starts_with("conv3.") || b.spec.name.starts_with("conv4.");
    EXPECT_EQ(b.value.to_host(input.model.stream()) != same->value.to_host(input.model.stream()),
              site)
        << b.spec.name;
  }
}

/// deepipr-v1 releases the passport's scale. Its program reads the bits from what became of it.
TEST(FineTune, TellsTheBitsInTheThiefsScale) {
  const std::string name = "bits in the thief's scale";
  AttackInput input = input_of(owner("deepipr-v1"));
  const Settings still{{"epochs", "1"}, {"lr", "0"}};
  const AttackResult same = run("fine-tune", input, still);
  const Claim& claim = same.points[0].owner;
  EXPECT_EQ(metric(same.points[1], name), static_cast<double>(claim.matched) / 256);

  const auto turned = stolen_copy(input);  // conv3's scale the other way around
  change(*turned, "conv3.bn.weight", [](std::vector<float>& v) {
    for (float& scale : v) scale = -scale;
  });
  input.stolen = turned.get();
  const AttackPoint point = run("fine-tune", input, still).points[1];
  EXPECT_EQ(metric(point, name),
            static_cast<double>(128 - claim.sites[0].matched + claim.sites[1].matched) / 256);
  EXPECT_EQ(point.owner.matched, claim.matched);  // the weights read as they did

  const AttackPoint of_pan = run("fine-tune", input_of(owner()), still).points[1];
  for (const auto& [known, value] : of_pan.metrics)
    EXPECT_NE(known, name);  // pan releases a scale of its own
}

TEST(FineTune, FollowsASchedule) {
  const Owner nobody = untrained();
  const AttackInput input = input_of(nobody);
  const auto weights = [&](const char* schedule) {
    const AttackResult r =
        run("fine-tune", input,
            {{"epochs", "2"}, {"lr", "0.01"}, {"write-back", "no"}, {"schedule", schedule}});
    return r.stolen->parameters().weights().to_host(r.stolen->stream());
  };
  const std::vector<float> constant = weights("constant");
  EXPECT_EQ(weights("step:2:0.5"), constant);  // a drop that does not come
  EXPECT_NE(weights("step:1:0.5"), constant);
}

TEST(FineTune, OnAnotherTask) {
  AttackInput input = input_of(owner());
  const auto seven = [](const train::Dataset& set) {
    train::Dataset other = set;
    other.classes = 7;
    other.class_names.resize(7);
    for (int32_t& label : other.labels) label %= 7;
    return other;
  };
  const train::Dataset train = seven(*input.train), test = seven(*input.test);
  EXPECT_CONTAINS(test::refusal(Fault::kUsage,
                                [&] {
                                  run("fine-tune", input, {{"task", "other"}});
                                }),
                  "another task");
  input.other_train = &train;
  input.other_test = &test;
  const AttackResult r =
      run("fine-tune", input, {{"task", "other"}, {"epochs", "2"}, {"lr", "0.01"}});
  EXPECT_EQ(r.stolen->options().classes, 7);
  ASSERT_EQ(r.points.size(), 3u);
  // The untouched network has no accuracy on it.
  EXPECT_CONTAINS(r.axis, "the other task");
  EXPECT_EQ(r.points[0].owner.matched, 256);
  EXPECT_FALSE(r.points[0].owner.evaluation);
  EXPECT_TRUE(r.points[0].metrics.empty());
  EXPECT_EQ(r.points[2].owner.verdict, Verdict::kSupported);
  EXPECT_EQ(r.points[2].owner.total, 256);
  EXPECT_EQ(r.points[2].owner.evaluation.value().images, test.n);
  EXPECT_GT(metric(r.points[2], "written back: public accuracy"), 0.2);
}

}  // namespace
}  // namespace passnorm::verify
