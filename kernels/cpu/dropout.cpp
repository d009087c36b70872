#include "kernels/dropout_common.hpp"
#include "kernels/runtime/parallel.hpp"

namespace passnorm::kernels {
namespace {

template <class T>
void dropout_typed(CpuStream& stream, const Dropout& a) {
  const DropoutMask mask(a);
  const int64_t n = a.x.size / a.parts;
  const T* x = a.x.as<T>();
  T* y = a.y.as<T>();
  parallel_for(stream, (n + 3) / 4, 1024, [&](int64_t begin, int64_t end) {
    for (int64_t four = begin; four < end; ++four) {
      float factor[4];
      mask.factors(four, factor);
      for (int64_t part = 0; part < a.parts; ++part)
        for (int64_t k = 0; k < std::min<int64_t>(4, n - 4 * four); ++k) {
          const int64_t i = part * n + 4 * four + k;
          const float v = static_cast<float>(x[i]) * factor[k];
          y[i] = T(a.accumulate ? static_cast<float>(y[i]) + v : v);
        }
    }
  });
}

}  // namespace

void dropout(CpuStream& stream, const Dropout& a) {
  check(a);
  visit_storage(a.x.dtype, [&](auto zero) { dropout_typed<decltype(zero)>(stream, a); });
}

}  // namespace passnorm::kernels
