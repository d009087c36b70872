// Central differences with the error they have.
#pragma once

#include <cmath>
#include <functional>
#include <vector>

namespace passnorm::test {

struct Derivative {
  double value, error;
};

/// df/dx[i] by (f(x + h) - f(x - h)) / 2h. The truncation error is h^2 f''' / 6, of which the
/// difference between steps 2h and h is three times as much; rounding adds u |f|-sized errors,
/// `rounding` each (u times the sum of absolute terms).
inline Derivative central_difference(const std::function<double(const std::vector<double>&)>& f,
                                     std::vector<double> x, size_t i, double h, double rounding) {
  const double at = x[i];
  const auto slope = [&](double step) {
    x[i] = at + step;
    const double up = f(x);
    x[i] = at - step;
    return (up - f(x)) / (2 * step);
  };
  const double fine = slope(h), coarse = slope(2 * h);
  return {fine, std::abs(coarse - fine) + rounding / h};
}

}  // namespace passnorm::test
