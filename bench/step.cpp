#include "bench/step.hpp"

#include <algorithm>
#include <chrono>
#include <optional>

#include "kernels/runtime/random.hpp"
#include "train/optimizer.hpp"
#include "train/step.hpp"

namespace passnorm::bench {

StepTimes time_steps(Model& model, const StepBench& o) {
  Stream& stream = model.stream();
  const Shape& in = model.architecture().input;
  const Random random(1, Purpose::kTest);
  std::vector<float> pixels(static_cast<size_t>(o.batch * in.size()));
  for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = 2 * random.uniform(i) - 1;
  std::vector<int32_t> classes(static_cast<size_t>(o.batch));
  for (size_t i = 0; i < classes.size(); ++i)
    classes[i] = static_cast<int32_t>(
        random.below(pixels.size() + i, static_cast<uint32_t>(model.options().classes)));
  const Tensor x = Tensor::from<float>(stream, {o.batch, in[0], in[1], in[2]}, pixels);
  const Tensor labels = Tensor::from<int32_t>(stream, {o.batch}, classes);

  std::optional<OpenPassport> passport;
  if (!model.sites().empty())
    passport = model.open(Passport::random(model.sites(), Secret32(hash256("passnorm bench", {})),
                                           Signature::random()));
  train::Optimizer optimizer(stream, model.parameters(), {.lr = 1e-3f});

  StepTimes times;
  double total = 0;
  for (int64_t i = 0;
       i < o.warmup + o.steps || (o.steps == 0 && (total < o.seconds || times.seconds.size() < 5));
       ++i) {
    const auto start = std::chrono::steady_clock::now();
    train::forward_backward(model, passport ? &*passport : nullptr, x, labels,
                            model.training_lanes(), {});
    optimizer.step(1);
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (i < o.warmup) continue;
    times.seconds.push_back(seconds);
    total += seconds;
  }
  std::vector<double> sorted = times.seconds;
  std::ranges::sort(sorted);
  const size_t half = sorted.size() / 2;
  times.median = sorted.size() % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
  times.images_per_second = static_cast<double>(o.batch) / times.median;
  times.peak_bytes = stream.memory()->peak_bytes();
  return times;
}

}  // namespace passnorm::bench
