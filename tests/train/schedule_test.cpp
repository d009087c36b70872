#include "train/schedule.hpp"

#include <cmath>

#include "tests/support/files.hpp"

namespace passnorm::train {
namespace {

TEST(Schedule, Constant) {
  const Schedule s = Schedule::parse("constant");
  EXPECT_EQ(s.text(), "constant");
  for (const int64_t epoch : {0, 1, 99}) EXPECT_EQ(s.factor(epoch, 3, 100, 7), 1);
  EXPECT_EQ(Schedule().factor(5, 0, 10, 10), 1);
}

TEST(Schedule, MultiStepFallsAtTheMilestones) {
  const Schedule s = Schedule::parse("multistep:100,150");
  EXPECT_EQ(s.text(), "multistep:100,150");
  const struct {
    int64_t epoch;
    double factor;
  } rows[] = {{0, 1}, {99, 1}, {100, 0.1}, {149, 0.1}, {150, 0.01}, {199, 0.01}, {1000, 0.01}};
  for (const auto& row : rows)
    for (const int64_t step : {0, 390})
      EXPECT_NEAR(s.factor(row.epoch, step, 200, 391), row.factor, 1e-7 * row.factor) << row.epoch;
  EXPECT_NEAR(Schedule::parse("multistep:0").factor(0, 0, 1, 1), 0.1, 1e-8);
}

TEST(Schedule, OneCycleRisesAndFalls) {
  const Schedule s = Schedule::parse("onecycle");
  // 10 epochs of 10 steps, each taken at its middle: rises over the first 20, falls over 80.
  const auto factor = [&](int64_t k) {
    return static_cast<double>(s.factor(k / 10, k % 10, 10, 10));
  };
  EXPECT_NEAR(factor(0), 0.04 + 0.96 * 0.5 / 20, 1e-6);
  EXPECT_NEAR(factor(10), 0.04 + 0.96 * 10.5 / 20, 1e-6);
  EXPECT_NEAR(factor(19), 0.04 + 0.96 * 19.5 / 20, 1e-6);
  EXPECT_NEAR(factor(20), (1 + std::cos(M_PI * 0.5 / 80)) / 2, 1e-6);
  EXPECT_NEAR(factor(59), (1 + std::cos(M_PI * 39.5 / 80)) / 2, 1e-6);
  EXPECT_NEAR(factor(99), (1 + std::cos(M_PI * 79.5 / 80)) / 2, 1e-6);
  for (int64_t k = 1; k < 20; ++k) EXPECT_GT(factor(k), factor(k - 1)) << k;
  for (int64_t k = 21; k < 100; ++k) EXPECT_LT(factor(k), factor(k - 1)) << k;
  for (int64_t k = 0; k < 100; ++k) {
    EXPECT_GT(factor(k), 0);
    EXPECT_LE(factor(k), 1);
  }
  // The shape does not depend on how the steps fall into epochs.
  EXPECT_EQ(s.factor(3, 7, 10, 10), s.factor(0, 37, 1, 100));
  EXPECT_GT(s.factor(0, 0, 1, 1), 0);
}

TEST(Schedule, StepFallsEveryNEpochs) {
  const Schedule s = Schedule::parse("step:20:0.7");
  const struct {
    int64_t epoch;
    double factor;
  } rows[] = {{0, 1}, {19, 1}, {20, 0.7}, {39, 0.7}, {40, 0.49}, {199, 0.040353607}};
  for (const auto& row : rows)
    for (const int64_t step : {0, 30})
      EXPECT_NEAR(s.factor(row.epoch, step, 200, 31), row.factor, 1e-7 * row.factor) << row.epoch;
  EXPECT_EQ(Schedule::parse("step:1:1").factor(9, 0, 10, 1), 1);
  EXPECT_NEAR(Schedule::parse("step:1:5e-1").factor(3, 0, 10, 1), 0.125, 1e-8);
}

/// PAN's code for PointNet steps its scheduler before the epoch.
TEST(Schedule, StepOneEpochSooner) {
  const Schedule s = Schedule::parse("step:20:0.7:1");
  EXPECT_EQ(s.text(), "step:20:0.7:1");
  const struct {
    int64_t epoch;
    double rate;
  } rows[] = {{0, 1e-3}, {18, 1e-3}, {19, 7e-4}, {38, 7e-4}, {39, 4.9e-4}, {199, 2.82475249e-5}};
  for (const auto& row : rows)
    EXPECT_NEAR(1e-3 * static_cast<double>(s.factor(row.epoch, 3, 200, 31)), row.rate,
                1e-7 * row.rate)
        << row.epoch;
}

TEST(Schedule, CosineFallsFromOneToZero) {
  const Schedule s = Schedule::parse("cosine");
  for (const int64_t k : {0, 1, 37, 98, 99})
    EXPECT_NEAR(s.factor(k / 20, k % 20, 5, 20), (1 + std::cos(M_PI * (double(k) + 0.5) / 100)) / 2,
                1e-7);
  EXPECT_NEAR(s.factor(0, 0, 1000, 1000), 1, 1e-6);
  EXPECT_NEAR(s.factor(2, 10, 5, 20) + s.factor(2, 9, 5, 20), 1, 1e-6);  // around the middle
}

TEST(Schedule, WarmupIsAFactorOfAnyOther) {
  for (const char* behind : {"constant", "multistep:1,3", "step:2:0.5", "cosine", "onecycle"}) {
    const std::string text = concat("warmup:2+", behind);
    const Schedule s = Schedule::parse(text), plain = Schedule::parse(behind);
    EXPECT_EQ(s.text(), text);
    for (int64_t k = 0; k < 50; ++k) {
      const double rise = std::min(1.0, (double(k) + 0.5) / 20);
      EXPECT_NEAR(s.factor(k / 10, k % 10, 5, 10), rise * plain.factor(k / 10, k % 10, 5, 10), 1e-7)
          << text << " " << k;
    }
  }
  // Longer than the run: it never ends.
  EXPECT_NEAR(Schedule::parse("warmup:10+constant").factor(4, 9, 5, 10), 0.495, 1e-7);
}

/// Found by fuzzing: epochs times steps overflowed.
TEST(Schedule, AWarmupLongerThanAnyRun) {
  EXPECT_NEAR(Schedule::parse("warmup:7592063002597712782+constant").factor(1, 2, 10, 3), 0, 1e-9);
}

TEST(Schedule, RefusesOthers) {
  for (const char* text : {"step:",
                           "step:5",
                           "step:5:",
                           "step::0.5",
                           "step:0:0.5",
                           "step:-5:0.5",
                           "step:5:0",
                           "step:5:1.1",
                           "step:5:-0.5",
                           "step:5:nan",
                           "step:5:0.5:",
                           "step:5:0.5:-1",
                           "step:5:0.5:5",
                           "step:5:0.5:1:1",
                           "step:5.5:0.5",
                           "cosine:",
                           "cosine:3",
                           "constant:",
                           "warmup:3",
                           "warmup:3+",
                           "warmup:0+cosine",
                           "warmup:-1+cosine",
                           "warmup:x+cosine",
                           "warmup:+cosine",
                           "warmup+cosine",
                           "warmup:1+warmup:1+cosine",
                           "warmup:1+2+cosine",
                           "cosine+",
                           "cosine+warmup:5",
                           "+cosine",
                           " cosine",
                           "onecycle\n",
                           "",
                           "Constant",
                           "step",
                           "onecycle:3",
                           "multistep",
                           "multistep:",
                           "multistep:,",
                           "multistep:5,",
                           "multistep:,5",
                           "multistep:5,5",
                           "multistep:9,5",
                           "multistep:-1",
                           "multistep:1.5",
                           "multistep:5 ",
                           "multistep:99999999999999999999"})
    for (const char* form :
         {"constant", "multistep:E,E", "step:N:F", "cosine", "onecycle", "warmup:N+"})
      EXPECT_CONTAINS(test::refusal(Fault::kUsage, [&] { Schedule::parse(text); }), form);
}

}  // namespace
}  // namespace passnorm::train
