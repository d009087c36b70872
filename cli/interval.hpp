// 95% confidence intervals of what a report shows.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

namespace passnorm::cli {

struct Interval {
  double low = 0, high = 0;
};

/// A number, and what it may be instead where that is known.
struct Measured {
  double value = 0;
  std::optional<Interval> interval = {};

  Measured() = default;
  Measured(double v, std::optional<Interval> i = {}) : value(v), interval(i) {}
};

/// Of the mean m of n >= 2 values with the standard deviation s (of n - 1): m +- t s / sqrt(n), t
/// the 97.5% quantile of Student's distribution with n - 1 degrees of freedom.
Interval t_interval(std::span<const double> values);

/// Of the probability of something that happened in a share of n > 0 trials: the p from which the
/// share is no further than 1.96 sqrt(p (1 - p) / n) (Wilson 1927).
Interval wilson_interval(double share, int64_t n);

/// The same, from k of n > 0, exact: it holds the probability at least 95 times of 100, whatever
/// that is (Clopper and Pearson 1934). n up to 1e9.
Interval clopper_pearson_interval(int64_t k, int64_t n);

}  // namespace passnorm::cli
