// The cases of operations whose gradients are checked (ops_gradient_test.cpp): a row for each.
#pragma once

#include <algorithm>
#include <numeric>
#include <string>

#include "engine/ops/ops.hpp"
#include "tests/support/gradient_check.hpp"
#include "tests/support/streams.hpp"

namespace passnorm::test {

inline const Lanes kShared = Lanes::shared(), kSplit = Lanes::split(),
                   kOne = Lanes::only(Branch::kPublic);

/// One thread, and memory that is NaN until it is written.
inline CpuStream& poisoned() {
  static CpuStream& s = []() -> CpuStream& {
    streams()[0].memory()->poison(true);
    return streams()[0];
  }();
  return s;
}

inline Var input(const Shape& shape, uint32_t tag, Lanes lanes = {}) {
  return leaf(poisoned(), shape, tag, lanes);
}
inline Var constant(Var v) {
  v.gradient = nullptr;
  return v;
}
inline Tensor labels(std::vector<int32_t> v) {
  return Tensor::from<int32_t>(poisoned(), {static_cast<int64_t>(v.size())}, v);
}

/// All different, in steps of 1/8: far from the ties of maxima.
inline Var distinct(const Shape& shape, uint32_t tag) {
  std::vector<double> v = uniform(shape.size(), tag), out(v.size());
  std::vector<size_t> order(v.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::sort(order, {}, [&](size_t i) { return v[i]; });
  for (size_t i = 0; i < order.size(); ++i)
    out[order[i]] = (static_cast<double>(i) - static_cast<double>(v.size()) / 2) / 8;
  return leaf(poisoned(), shape, out);
}

struct Checked {
  std::vector<Leaf> leaves;
  std::function<void(Evaluation&)> f;
  double roundings = 1;
};

struct OpCase {
  const char* op;
  const char* name;
  Checked (*make)();
};
inline void PrintTo(const OpCase& c, std::ostream* out) { *out << c.op << "_" << c.name; }

std::vector<OpCase> norm_cases();  ///< of ops::norm and ops::norm_pool
std::vector<OpCase> other_cases();

inline const std::vector<OpCase>& op_cases() {
  static const std::vector<OpCase> all = [] {
    std::vector<OpCase> cases = other_cases();
    std::ranges::copy(norm_cases(), std::back_inserter(cases));
    return cases;
  }();
  return all;
}

}  // namespace passnorm::test
