#include "kernels/optimizer.hpp"

#include <cmath>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/optimizer.cpp"
#include "hwy/foreach_target.h"

#include "kernels/cpu/simd-inl.hpp"
#include "kernels/runtime/parallel.hpp"

HWY_BEFORE_NAMESPACE();
namespace passnorm::kernels::HWY_NAMESPACE {
namespace {

constexpr int64_t kGrain = 16384;

void sgd(CpuStream& stream, const SgdStep& a) {
  parallel_for(stream, static_cast<int64_t>(a.w.size()), kGrain, [&](int64_t begin, int64_t end) {
    for_vectors(begin, end, [&](auto d, int64_t i) HWY_ATTR {
      const auto w = load(d, a.w.data() + i), g = load(d, a.g.data() + i);
      const auto momentum = hn::Set(d, a.momentum);
      auto step = hn::MulAdd(hn::Set(d, a.weight_decay), w, hn::Mul(hn::Set(d, a.g_scale), g));
      if (!a.momentum_buffer.empty()) {
        float* buffer = a.momentum_buffer.data() + i;
        const auto sum = a.first_step ? step : hn::MulAdd(momentum, load(d, buffer), step);
        store(d, sum, buffer);
        step = a.nesterov ? hn::MulAdd(momentum, sum, step) : sum;
      }
      store(d, hn::NegMulAdd(hn::Set(d, a.lr), step, w), a.w.data() + i);
    });
  });
}

void adam(CpuStream& stream, const AdamStep& a) {
  const auto step = static_cast<double>(a.step);
  const auto unbias1 = static_cast<float>(1 / (1 - std::pow(static_cast<double>(a.beta1), step)));
  const auto unbias2 = static_cast<float>(1 / (1 - std::pow(static_cast<double>(a.beta2), step)));
  parallel_for(stream, static_cast<int64_t>(a.w.size()), kGrain, [&](int64_t begin, int64_t end) {
    for_vectors(begin, end, [&](auto d, int64_t i) HWY_ATTR {
      const auto w = load(d, a.w.data() + i), g = load(d, a.g.data() + i);
      const auto gradient =
          hn::MulAdd(hn::Set(d, a.weight_decay), w, hn::Mul(hn::Set(d, a.g_scale), g));
      const auto m = hn::MulAdd(hn::Set(d, a.beta1), load(d, a.m.data() + i),
                                hn::Mul(hn::Set(d, 1 - a.beta1), gradient));
      const auto v = hn::MulAdd(hn::Set(d, a.beta2), load(d, a.v.data() + i),
                                hn::Mul(hn::Set(d, 1 - a.beta2), hn::Mul(gradient, gradient)));
      store(d, m, a.m.data() + i);
      store(d, v, a.v.data() + i);
      const auto deviation = hn::Add(hn::Sqrt(hn::Mul(v, hn::Set(d, unbias2))), hn::Set(d, a.eps));
      const auto direction = hn::Div(hn::Mul(m, hn::Set(d, unbias1)), deviation);
      store(d, hn::NegMulAdd(hn::Set(d, a.lr), direction, w), a.w.data() + i);
    });
  });
}

}  // namespace
}  // namespace passnorm::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace passnorm::kernels {
namespace {
HWY_EXPORT(sgd);
HWY_EXPORT(adam);
}  // namespace

void sgd_step(CpuStream& stream, const SgdStep& a) {
  PASSNORM_CHECK(a.g.size() == a.w.size(), a.g.size(), " gradients of ", a.w.size(), " weights");
  PASSNORM_CHECK(
      a.momentum_buffer.size() == a.w.size() || (a.momentum_buffer.empty() && a.momentum == 0),
      "momentum ", a.momentum, " with a buffer of ", a.momentum_buffer.size(), " for ", a.w.size(),
      " weights");
  HWY_DYNAMIC_DISPATCH(sgd)(stream, a);
}

void adam_step(CpuStream& stream, const AdamStep& a) {
  PASSNORM_CHECK(a.g.size() == a.w.size() && a.m.size() == a.w.size() && a.v.size() == a.w.size(),
                 a.w.size(), " weights, ", a.g.size(), " gradients, ", a.m.size(), " and ",
                 a.v.size(), " moments");
  PASSNORM_CHECK(a.step >= 1, "step ", a.step);
  HWY_DYNAMIC_DISPATCH(adam)(stream, a);
}

}  // namespace passnorm::kernels
#endif  // HWY_ONCE
