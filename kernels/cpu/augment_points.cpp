#include "kernels/augment_points_common.hpp"
#include "kernels/runtime/parallel.hpp"

namespace passnorm::kernels {
namespace {

template <class T>
void augment_points_typed(CpuStream& stream, const AugmentPoints& a) {
  const PointChange change(a);
  const int64_t cloud = 3 * a.points;
  T* const y = a.y.as<T>();
  parallel_for(stream, a.n, std::max<int64_t>(1, 4096 / a.points), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t index = a.index[static_cast<size_t>(i)];
      const float* const from = a.clouds.data() + index * cloud;
      const PointChange::Draw drawn = change.draw(index);
      T* to = y + i * cloud;
      PhiloxWords words{};
      for (int64_t p = 0; p < a.points; ++p) {
        if (p % 4 == 0) words = change.words_of_points(index, p / 4);
        const float* const point =
            PointChange::dropped(words.w[p % 4], drawn) ? from : from + 3 * p;
        for (int axis = 0; axis < 3; ++axis)
          *to++ = T(fmaf(point[axis], drawn.scale, drawn.shift[axis]));
      }
    }
  });
}

}  // namespace

void augment_points(CpuStream& stream, const AugmentPoints& a) {
  check(a);
  const int64_t count = static_cast<int64_t>(a.clouds.size()) / (3 * a.points);
  for (const int64_t index : a.index)
    PASSNORM_CHECK(index >= 0 && index < count, "cloud ", index, " of ", count);
  visit_storage(a.y.dtype, [&](auto zero) { augment_points_typed<decltype(zero)>(stream, a); });
  for (size_t i = 0; i < a.picked_labels.size(); ++i)
    a.picked_labels[i] = a.labels[static_cast<size_t>(a.index[i])];
}

}  // namespace passnorm::kernels
