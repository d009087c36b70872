#include "bench/step.hpp"

#include <algorithm>
#include <optional>

#include "bench/ceilings.hpp"
#include "bench/random_images.hpp"
#include "train/optimizer.hpp"
#include "train/step.hpp"

namespace passnorm::bench {
namespace {

/// Of the convolutions of one step, by a forward pass that says how many rows each has.
double convolution_flops(Model& model, const OpenPassport* passport, const RandomImages& images) {
  double flops = 0;
  bool first = true;  // needs no gradient of its input
  model.on_layer_input = [&](const std::string& name, const Var& x) {
    const auto layer = std::ranges::find(model.layers(), name, &ConvNorm::name);
    kernels::ConvGeometry g = layer->convolution.geometry();
    g.n = x.shape()[0];
    flops += (first ? 2 : 3) * g.flops();
    first = false;
  };
  train::forward_only(model, passport, images.x, images.labels, model.training_lanes(),
                      Mode::kTrain);
  model.on_layer_input = nullptr;
  return flops;
}

}  // namespace

StepTimes time_steps(Model& model, const StepBench& o) {
  Stream& stream = model.stream();
  const RandomImages images = random_images(model, o.batch, o.precision);
  std::optional<OpenPassport> open;
  if (!model.sites().empty()) open = model.open(bench_passport(model));
  const OpenPassport* passport = open ? &*open : nullptr;
  const Lanes lanes = model.training_lanes();
  train::Optimizer optimizer(stream, model.parameters(), {.lr = 1e-3f});

  StepTimes times;
  std::vector<double> forward, both, update;
  times.seconds = repeat(o.repetition, [&] {
    both.push_back(seconds_of(
        [&] { train::forward_backward(model, passport, images.x, images.labels, lanes, {}); }));
    update.push_back(seconds_of([&] { optimizer.step(1); }));
  });
  times.median = median(times.seconds);
  times.images_per_second = static_cast<double>(o.batch) / times.median;
  times.peak_bytes = stream.memory()->peak_bytes();
  const auto timed = static_cast<ptrdiff_t>(times.seconds.size());
  times.optimizer = median({update.end() - timed, update.end()});
  times.flops = convolution_flops(model, passport, images);
  dispatch(stream, [&](CpuStream& s) {
    const double ceiling = Ceilings(s).multiply_add(o.precision);
    if (ceiling > 0) times.share = times.flops / times.median / ceiling;
  });
  if (o.stages) {
    Repetition again = o.repetition;
    again.seconds /= 3;
    times.forward = median(repeat(again, [&] {
      train::forward_only(model, passport, images.x, images.labels, lanes, Mode::kTrain);
    }));
    times.backward = median({both.end() - timed, both.end()}) - times.forward;
  }
  return times;
}

}  // namespace passnorm::bench
