#include "bench/random_images.hpp"

#include "kernels/elementwise.hpp"
#include "kernels/runtime/random.hpp"

namespace passnorm::bench {

RandomImages random_images(const Model& model, int64_t batch, DType dtype) {
  Stream& stream = model.stream();
  const Shape in = model.input();
  const Random random(1, Purpose::kTest);
  std::vector<float> pixels(static_cast<size_t>(batch * in.size()));
  for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = 2 * random.uniform(i) - 1;
  std::vector<int32_t> classes(static_cast<size_t>(batch));
  for (size_t i = 0; i < classes.size(); ++i)
    classes[i] = static_cast<int32_t>(
        random.below(pixels.size() + i, static_cast<uint32_t>(model.options().classes)));
  const Shape shape{batch, in[0], in[1], in[2]};
  RandomImages images{Tensor::from<float>(stream, shape, pixels),
                      Tensor::from<int32_t>(stream, {batch}, classes)};
  if (dtype != DType::kF32) {
    const Tensor x = Tensor::empty(stream, shape, dtype);
    dispatch(stream, [&](auto& s) { kernels::cast(s, {.x = images.x.view(), .y = x.view()}); });
    images.x = x;
  }
  return images;
}

Passport bench_passport(const Model& model) {
  return Passport::random(model.sites(), Secret32(hash256("passnorm bench", {})),
                          Signature::random());
}

}  // namespace passnorm::bench
