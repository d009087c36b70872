#include "verify/statistics.hpp"

#include <cmath>
#include <limits>
#include <vector>

#include "tests/support/files.hpp"

namespace passnorm::verify {
namespace {

using Wide = unsigned __int128;

/// log2 of an integer below 2^65 over 2^n.
double log2_of(Wide count, int64_t n) {
  return static_cast<double>(std::log2(static_cast<long double>(count)) -
                             static_cast<long double>(n));
}

TEST(BinomialTail, EqualsTheExactSums) {
  for (int64_t n = 0; n <= 64; ++n) {
    std::vector<Wide> choose(static_cast<size_t>(n) + 1, 1);
    for (int64_t i = 1; i <= n; ++i)
      choose[static_cast<size_t>(i)] =
          choose[static_cast<size_t>(i) - 1] * static_cast<Wide>(n - i + 1) / static_cast<Wide>(i);
    Wide at_least = 0;
    for (int64_t k = n; k >= 0; --k) {
      at_least += choose[static_cast<size_t>(k)];
      const Wide below = (Wide{1} << n) - at_least;
      // Near 1 the logarithm is that of the complement.
      const double expected =
          at_least > below
              ? static_cast<double>(std::log1p(-static_cast<long double>(below) / (Wide{1} << n)) /
                                    std::log(2.0L))
              : log2_of(at_least, n);
      EXPECT_NEAR(log2_binomial_tail(k, n), expected, 1e-13 * std::abs(expected))
          << k << " of " << n;
    }
  }
}

// Exact sums of binomial coefficients in integers, their logarithm with 1500
// digits; 0 where a double has no other number.
TEST(BinomialTail, LargeNumbersOfBits) {
  const struct {
    int64_t matched, total;
    double log2_p;
  } rows[] = {
      {1, 256, -1.245935754671596e-77},
      {64, 256, -1.1597764399491142e-16},
      {127, 256, -0.80001684787920683},
      {128, 256, -0.92985923561341766},
      {129, 256, -1.0737259031747451},
      {140, 256, -3.7327923062202048},
      {153, 256, -9.8724329068951963},
      {192, 256, -51.858921376249809},
      {246, 256, -197.98849587345322},
      {255, 256, -247.99437545080612},
      {256, 256, -256.0},
      {1, 896, -2.7308536353530441e-270},
      {224, 896, -2.7589146507324715e-53},
      {447, 896, -0.88920201076281177},
      {448, 896, -0.96205835834671981},
      {449, 896, -1.0389664875013774},
      {492, 896, -9.1050855802418251},
      {537, 896, -29.316826376275035},
      {672, 896, -173.53550778466904},
      {886, 896, -819.77388775864978},
      {895, 896, -886.19103582508074},
      {896, 896, -896.0},
      {1, 1152, 0},
      {288, 1152, -6.9700831581955847e-68},
      {575, 1152, -0.90181368356382342},
      {576, 1152, -0.96648495320448051},
      {577, 1152, -1.0343121850709461},
      {633, 1152, -11.178226507431956},
      {691, 1152, -37.166527095782393},
      {864, 1152, -222.02876332042922},
      {1142, 1152, -1072.1356556914507},
      {1151, 1152, -1141.8288232023482},
      {1152, 1152, -1152.0},
      {1, 2560, 0},
      {640, 2560, -4.8010722508072086e-148},
      {1279, 2560, -0.9333534816264738},
      {1280, 2560, -0.97742901535463688},
      {1281, 2560, -1.0229297280030288},
      {1408, 2560, -22.064008476613994},
      {1536, 2560, -78.749927372025593},
      {1920, 2560, -488.32355804967799},
      {2550, 2560, -2468.5915071843867},
      {2559, 2560, -2548.6775084624025},
      {2560, 2560, -2560.0},
      {1, 4800, 0},
      {1200, 4800, -1.9445585486850439e-275},
      {2399, 4800, -0.95101332961118513},
      {2400, 4800, -0.98348104238024592},
      {2401, 4800, -1.0167102937491306},
      {2640, 4800, -38.681915385993904},
      {2880, 4800, -144.26890582775118},
      {3600, 4800, -911.51338704265992},
      {4790, 4800, -4699.5133946317921},
      {4799, 4800, -4787.7708807793414},
      {4800, 4800, -4800.0},
  };
  for (const auto& row : rows)
    EXPECT_NEAR(log2_binomial_tail(row.matched, row.total), row.log2_p,
                1e-12 * std::abs(row.log2_p))
        << row.matched << " of " << row.total;
}

TEST(BinomialTail, Edges) {
  EXPECT_EQ(log2_binomial_tail(0, 0), 0);
  EXPECT_EQ(log2_binomial_tail(0, 896), 0);
  EXPECT_EQ(log2_binomial_tail(-3, 896), 0);
  for (const int64_t n : {1, 64, 896, 2560, 25088})
    EXPECT_EQ(log2_binomial_tail(n, n), -static_cast<double>(n));
  EXPECT_DOUBLE_EQ(log2_binomial_tail(1, 2), std::log2(0.75));
  EXPECT_EQ(log2_binomial_tail(2, 3), -1);
  test::refusal(Fault::kBug, [] { log2_binomial_tail(5, 4); });
  test::refusal(Fault::kBug, [] { log2_binomial_tail(0, -1); });
}

TEST(BinomialTail, FallsWithEveryMatch) {
  for (const int64_t n : {7, 256, 1152, 2560}) {
    for (int64_t k = 1; k <= n; ++k) {
      const double less = log2_binomial_tail(k - 1, n), more = log2_binomial_tail(k, n);
      // Below about n/4 both are 0 to the last digit.
      EXPECT_LE(more, less) << k << " of " << n;
      EXPECT_TRUE(more < less || 3 * k <= n) << k << " of " << n;
      EXPECT_LE(more, 0);
    }
    // The same share of more bits is rarer.
    EXPECT_LT(log2_binomial_tail(3 * n, 4 * n), log2_binomial_tail(3 * n / 2, 2 * n));
  }
}

/// log2 P[X >= k] over every outcome.
double enumerated(int64_t k, const std::vector<double>& p) {
  long double sum = 0;
  for (uint32_t outcome = 0; outcome < 1u << p.size(); ++outcome) {
    long double probability = 1;
    for (size_t j = 0; j < p.size(); ++j)
      probability *=
          outcome >> j & 1 ? static_cast<long double>(p[j]) : 1 - static_cast<long double>(p[j]);
    if (__builtin_popcount(outcome) >= k) sum += probability;
  }
  return static_cast<double>(std::log2(sum));
}

TEST(PoissonBinomialTail, EqualsTheSumOverAllOutcomes) {
  const std::vector<double> sets[] = {
      {0.5},
      {0.1, 0.9},
      {0.3, 1e-6, 0.7, 0.999, 0.25, 0.5},
      {0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1},
      {0.05, 0.6, 1, 0.2, 0.35, 0.9, 0.01, 0.5, 0.45, 0.15, 0.8},
  };
  for (const auto& p : sets)
    for (int64_t k = 1; k <= std::ssize(p); ++k) {
      const double expected = enumerated(k, p);
      EXPECT_NEAR(log2_poisson_binomial_tail(k, p), expected, 1e-11 * std::abs(expected) + 1e-15)
          << k << " of " << p.size();
    }
}

TEST(PoissonBinomialTail, IsTheBinomialForEqualProbabilities) {
  for (const int64_t n : {1, 2, 10, 100, 256, 1152, 4800}) {
    const std::vector<double> half(static_cast<size_t>(n), 0.5);
    for (const int64_t k : {int64_t{1}, n / 4, n / 2, n / 2 + 1, 3 * n / 5, 3 * n / 4, n - 1, n}) {
      const double expected = log2_binomial_tail(k, n);
      EXPECT_NEAR(log2_poisson_binomial_tail(k, half), expected,
                  1e-10 * std::abs(expected) + 1e-200)
          << k << " of " << n;
    }
  }
  const std::vector<double> tenth(100, 0.1);
  EXPECT_NEAR(log2_poisson_binomial_tail(100, tenth), -100 * std::log2(10.0), 1e-10);
}

// p[j] = (j mod 7 + 1) / 20: exact sums in integers, their logarithm with 60 digits.
TEST(PoissonBinomialTail, ManyDifferentProbabilities) {
  const struct {
    int64_t matched, total;
    double log2_p;
  } rows[] = {
      {1, 20, -0.017439196099297585},     {3, 20, -0.3607469136848005},
      {4, 20, -0.8360025588562906},       {5, 20, -1.575629967029011},
      {10, 20, -9.589670240528566},       {15, 20, -25.245136366946436},
      {19, 20, -45.28528296711721},       {20, 20, -52.34829276464301},
      {1, 100, -1.8063765157992346e-10},  {9, 100, -0.001112857036385348},
      {19, 100, -0.6911487538661054},     {20, 100, -0.9522957381401184},
      {29, 100, -6.153949644835839},      {50, 100, -39.18074542927272},
      {75, 100, -116.61695754494052},     {99, 100, -249.644147670992},
      {100, 100, -259.00389723131434},    {1, 1000, -7.862859083692811e-101},
      {99, 1000, -3.195624093361355e-19}, {199, 1000, -0.8859939448626999},
      {200, 1000, -0.9754630227581694},   {299, 1000, -46.97702249857768},
      {500, 1000, -356.59263659000317},   {750, 1000, -1122.6961758209366},
      {999, 1000, -2553.3017588084767},   {1000, 1000, -2565.948703180039},
      {1, 3000, -1.879575646226982e-301}, {299, 3000, -4.854708642922598e-53},
      {599, 3000, -0.9408229840901543},   {600, 3000, -0.9938646368464251},
      {899, 3000, -135.35960120057536},   {1500, 3000, -1060.4636556699038},
      {2250, 3000, -3358.450545455692},   {2999, 3000, -7682.90665479994},
      {3000, 3000, -7697.13829029161},
  };
  for (const auto& row : rows) {
    std::vector<double> p;
    for (int64_t j = 0; j < row.total; ++j) p.push_back(static_cast<double>(j % 7 + 1) / 20);
    EXPECT_NEAR(log2_poisson_binomial_tail(row.matched, p), row.log2_p,
                1e-10 * std::abs(row.log2_p) + 1e-200)
        << row.matched << " of " << row.total;
  }
}

TEST(PoissonBinomialTail, Edges) {
  EXPECT_EQ(log2_poisson_binomial_tail(0, {}), 0);
  EXPECT_EQ(log2_poisson_binomial_tail(-1, std::vector<double>{0.5}), 0);
  // Trials that are decided.
  EXPECT_EQ(log2_poisson_binomial_tail(2, std::vector<double>{1, 1, 0}), 0);
  EXPECT_EQ(log2_poisson_binomial_tail(3, std::vector<double>{1, 1, 0}),
            -std::numeric_limits<double>::infinity());
  EXPECT_NEAR(log2_poisson_binomial_tail(2, std::vector<double>{1, 0.25, 0}), -2, 1e-12);
  EXPECT_NEAR(log2_poisson_binomial_tail(2, std::vector<double>{1e-300, 1e-300}),
              -2 * 300 * std::log2(10.0), 1e-9);
  // The largest set there is.
  const std::vector<double> many(100'000, 0.01);
  EXPECT_NEAR(log2_poisson_binomial_tail(100'000, many), -1e5 * std::log2(100.0), 1e-4);
  EXPECT_GT(log2_poisson_binomial_tail(1000, many), -1.05);
  test::refusal(Fault::kBug, [] { log2_poisson_binomial_tail(2, std::vector<double>{0.5}); });
  test::refusal(Fault::kBug, [] { log2_poisson_binomial_tail(1, std::vector<double>{1.5}); });
  test::refusal(Fault::kBug, [] { log2_poisson_binomial_tail(1, std::vector<double>{NAN}); });
}

}  // namespace
}  // namespace passnorm::verify
