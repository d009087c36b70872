#include "kernels/optimizer.hpp"

#include <algorithm>
#include <cmath>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/optimizer.cpp"
#include "hwy/foreach_target.h"

#include "kernels/cpu/simd-inl.hpp"
#include "kernels/optimizer_common.hpp"
#include "kernels/reduce.hpp"
#include "kernels/runtime/parallel.hpp"

HWY_BEFORE_NAMESPACE();
namespace passnorm::kernels::HWY_NAMESPACE {
namespace {

constexpr int64_t kGrain = 16384;

/// The 16-bit copy of weights [begin, end).
void copy_weights(View to, const float* w, int64_t begin, int64_t end) {
  if (!to) return;
  visit_storage(to.dtype, [&](auto zero) {
    using T = decltype(zero);
    for (int64_t i = begin; i < end; ++i) to.as<T>()[i] = T(w[i]);
  });
}

void sgd(CpuStream& stream, const SgdStep& a) {
  const float g_scale = a.g_scale.get(), lr = a.lr.get();
  parallel_for(stream, static_cast<int64_t>(a.w.size()), kGrain, [&](int64_t begin, int64_t end) {
    for_vectors(begin, end, [&](auto d, int64_t i) HWY_ATTR {
      const auto w = load(d, a.w.data() + i), g = load(d, a.g.data() + i);
      const auto momentum = hn::Set(d, a.momentum);
      auto step = hn::MulAdd(hn::Set(d, a.weight_decay), w, hn::Mul(hn::Set(d, g_scale), g));
      if (!a.momentum_buffer.empty()) {
        float* buffer = a.momentum_buffer.data() + i;
        const auto sum = hn::MulAdd(momentum, load(d, buffer), step);
        store(d, sum, buffer);
        step = a.nesterov ? hn::MulAdd(momentum, sum, step) : sum;
      }
      store(d, hn::NegMulAdd(hn::Set(d, lr), step, w), a.w.data() + i);
    });
    copy_weights(a.w_copy, a.w.data(), begin, end);
  });
}

void adam(CpuStream& stream, const AdamStep& a) {
  const float g_scale = a.g_scale.get(), lr = a.lr.get();
  const auto step = static_cast<double>(a.step.get());
  const auto unbias1 = static_cast<float>(1 / (1 - std::pow(static_cast<double>(a.beta1), step)));
  const auto unbias2 = static_cast<float>(1 / (1 - std::pow(static_cast<double>(a.beta2), step)));
  parallel_for(stream, static_cast<int64_t>(a.w.size()), kGrain, [&](int64_t begin, int64_t end) {
    for_vectors(begin, end, [&](auto d, int64_t i) HWY_ATTR {
      const auto w = load(d, a.w.data() + i), g = load(d, a.g.data() + i);
      const auto gradient =
          hn::MulAdd(hn::Set(d, a.weight_decay), w, hn::Mul(hn::Set(d, g_scale), g));
      const auto m = hn::MulAdd(hn::Set(d, a.beta1), load(d, a.m.data() + i),
                                hn::Mul(hn::Set(d, 1 - a.beta1), gradient));
      const auto v = hn::MulAdd(hn::Set(d, a.beta2), load(d, a.v.data() + i),
                                hn::Mul(hn::Set(d, 1 - a.beta2), hn::Mul(gradient, gradient)));
      store(d, m, a.m.data() + i);
      store(d, v, a.v.data() + i);
      const auto deviation = hn::Add(hn::Sqrt(hn::Mul(v, hn::Set(d, unbias2))), hn::Set(d, a.eps));
      const auto direction = hn::Div(hn::Mul(m, hn::Set(d, unbias1)), deviation);
      store(d, hn::NegMulAdd(hn::Set(d, lr), direction, w), a.w.data() + i);
    });
    copy_weights(a.w_copy, a.w.data(), begin, end);
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
  check(a);
  if (a.apply.get() != 0) HWY_DYNAMIC_DISPATCH(sgd)(stream, a);
}

void adam_step(CpuStream& stream, const AdamStep& a) {
  check(a);
  if (a.apply.get() != 0) HWY_DYNAMIC_DISPATCH(adam)(stream, a);
}

void update_check(CpuStream& stream, const UpdateCheck& a) {
  bool finite = true;
  for (const auto& losses : a.losses)
    for (const float loss : losses) finite = finite && is_finite(loss);
  // The norm is also the check for NaN and infinity: it is finite only if every element is.
  const double norm =
      std::sqrt(sum_squares(stream, a.g)) / static_cast<double>(a.state->loss_scale);
  decide_update(*a.state, static_cast<float>(norm), finite, a.clip_norm, a.growth_interval);
}

void restore(CpuStream&, const Restore& a) {
  check(a);
  if (a.apply.get() == 0) std::ranges::copy(a.kept, a.y.begin());
}

}  // namespace passnorm::kernels
#endif  // HWY_ONCE
