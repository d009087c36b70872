// Confidence intervals, against tables and against what defines them.
#include "cli/interval.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace passnorm::cli {
namespace {

TEST(Interval, OfAMeanIsStudents) {
  // 97.5% quantiles as every table of the t distribution has them.
  const struct {
    size_t n;
    double t;
  } rows[] = {{2, 12.7062047364},
              {3, 4.3026527297},
              {5, 2.7764451052},
              {11, 2.2281388520},
              {101, 1.9839715185}};
  for (const auto& row : rows) {
    std::vector<double> values(row.n, 3.0);
    values[0] = 5;  // mean 3 + 2 / n, variance of n - 1: 4 / n
    const double n = static_cast<double>(row.n), half = row.t * 2 / n;
    const Interval i = t_interval(values);
    EXPECT_NEAR(i.low, 3 + 2 / n - half, 1e-8 * half) << row.n;
    EXPECT_NEAR(i.high, 3 + 2 / n + half, 1e-8 * half) << row.n;
  }
  const std::vector<double> equal = {0.5, 0.5, 0.5};
  EXPECT_EQ(t_interval(equal).low, 0.5);
  EXPECT_EQ(t_interval(equal).high, 0.5);
}

TEST(Interval, OfAShareIsWilsons) {
  for (const auto& [share, n] :
       {std::pair<double, int64_t>{0.8, 1000}, {0.5, 1}, {0.999, 50}, {0.03, 10'000}}) {
    const Interval i = wilson_interval(share, n);
    EXPECT_LT(i.low, share);
    EXPECT_GT(i.high, share);
    for (const double p : {i.low, i.high})
      EXPECT_NEAR(std::abs(share - p),
                  1.959963984540054 * std::sqrt(p * (1 - p) / static_cast<double>(n)), 1e-12);
  }
  EXPECT_NEAR(wilson_interval(0, 10).low, 0, 1e-15);
  EXPECT_NEAR(wilson_interval(1, 10).high, 1, 1e-15);
  EXPECT_NEAR(wilson_interval(1, 10).low, 0.7224672, 1e-6);
}

/// P[X >= k], term by term.
double tail(int64_t k, int64_t n, double p) {
  double sum = 0;
  for (int64_t i = k; i <= n; ++i) {
    const auto x = static_cast<double>(i), m = static_cast<double>(n);
    sum += std::exp(std::lgamma(m + 1) - std::lgamma(x + 1) - std::lgamma(m - x + 1) +
                    x * std::log(p) + (m - x) * std::log1p(-p));
  }
  return sum;
}

TEST(Interval, OfACountIsExact) {
  for (const auto& [k, n] : {std::pair<int64_t, int64_t>{1, 2},
                             {5, 10},
                             {255, 256},
                             {130, 256},
                             {1, 3000},
                             {2688, 2690},
                             {700, 1400}}) {
    const Interval i = clopper_pearson_interval(k, n);
    EXPECT_NEAR(tail(k, n, i.low), 0.025, 1e-9) << k << " of " << n;
    EXPECT_NEAR(1 - tail(k + 1, n, i.high), 0.025, 1e-9) << k << " of " << n;
  }
  EXPECT_EQ(clopper_pearson_interval(256, 256).high, 1);
  EXPECT_NEAR(clopper_pearson_interval(256, 256).low, std::pow(0.025, 1.0 / 256), 1e-12);
  EXPECT_EQ(clopper_pearson_interval(0, 30'000).low, 0);
  EXPECT_NEAR(clopper_pearson_interval(0, 30'000).high, 1 - std::pow(0.025, 1.0 / 30'000), 1e-12);
  // Many: as the normal distribution has it.
  const Interval many = clopper_pearson_interval(500'000'000, 1'000'000'000);
  EXPECT_NEAR(many.high - many.low, 2 * 1.959964 * 0.5 / std::sqrt(1e9), 1e-8);
}

}  // namespace
}  // namespace passnorm::cli
