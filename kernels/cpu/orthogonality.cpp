#include <cmath>

#include "kernels/orthogonality_common.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/orthogonality.cpp"
#include "hwy/foreach_target.h"

#include "kernels/cpu/product-inl.hpp"
#include "kernels/runtime/parallel.hpp"
#include "kernels/runtime/scratch.hpp"

HWY_BEFORE_NAMESPACE();
namespace passnorm::kernels::HWY_NAMESPACE {
namespace {

/// m = the form of t [J, J]; returns its norm.
double form_of(const OrthogonalityLoss& a, const float* t, float* transposed, float* m) {
  const int64_t j = a.size;
  for (int64_t row = 0; row < j; ++row)
    for (int64_t column = 0; column < j; ++column)
      transposed[column * j + row] = t[row * j + column];
  multiply({t, j, 1}, transposed, j, j, j, m, false);
  double squares = 0;
  for (int64_t i = 0; i < j * j; ++i) {
    const float identity = i % (j + 1) == 0 ? 1.0f : 0.0f;
    m[i] -= a.form == OrthogonalityForm::kGram ? identity : t[i];
    squares += static_cast<double>(m[i]) * static_cast<double>(m[i]);
  }
  return std::sqrt(squares);
}

/// With G = d norm / dm = m / norm: dt = (G + G') t, and -G more where m is t t' - t. symmetric:
/// room for G + G'.
void add_gradient(const OrthogonalityLoss& a, const float* t, const float* m, float factor,
                  float* symmetric, float* dt) {
  const int64_t j = a.size;
  for (int64_t row = 0; row < j; ++row)
    for (int64_t column = 0; column < j; ++column)
      symmetric[row * j + column] = factor * (m[row * j + column] + m[column * j + row]);
  multiply({symmetric, j, 1}, t, j, j, j, dt, a.accumulate);
  if (a.form == OrthogonalityForm::kTimesGram)
    for (int64_t i = 0; i < j * j; ++i) dt[i] -= factor * m[i];
}

void run(CpuStream& stream, const OrthogonalityLoss& a) {
  const int64_t size = a.size * a.size, count = a.lanes * a.rows;
  const double mean = 1 / static_cast<double>(a.rows), alpha = static_cast<double>(a.alpha);
  const double scale = alpha * mean * static_cast<double>(a.weight * a.loss_scale.get());
  const Scratch<double> norms(stream, count);
  const int64_t grain = std::max<int64_t>(1, (int64_t{1} << 18) / (size * a.size));
  parallel_for(stream, count, grain, [&](int64_t begin, int64_t end) {
    const Scratch<float> m(stream, size), other(stream, size);
    for (int64_t n = begin; n < end; ++n) {
      const float* t = a.t.data() + n * size;
      const double norm = norms.data()[n] = form_of(a, t, other.data(), m.data());
      if (!a.dt.empty())
        add_gradient(a, t, m.data(), static_cast<float>(norm == 0 ? 0 : scale / norm), other.data(),
                     a.dt.data() + n * size);
    }
  });
  for (int64_t lane = 0; lane < a.lanes; ++lane) {
    double sum = 0;
    for (int64_t n = lane * a.rows; n < (lane + 1) * a.rows; ++n) sum += norms.data()[n];
    a.loss[static_cast<size_t>(lane)] = static_cast<float>(alpha * mean * sum);
  }
}

}  // namespace
}  // namespace passnorm::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace passnorm::kernels {
namespace {

HWY_EXPORT(run);
}  // namespace

void orthogonality_loss(CpuStream& stream, const OrthogonalityLoss& a) {
  check(a);
  HWY_DYNAMIC_DISPATCH(run)(stream, a);
}

}  // namespace passnorm::kernels
#endif  // HWY_ONCE
