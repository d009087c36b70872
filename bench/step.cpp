#include "bench/step.hpp"

#include <algorithm>
#include <optional>

#include "bench/ceilings.hpp"
#include "bench/random_images.hpp"
#include "bench/recorded.hpp"
#include "train/optimizer.hpp"
#include "train/step.hpp"

namespace passnorm::bench {
namespace {

/// Of the convolutions of one step, by a forward pass that says how many rows each has.
double convolution_flops(Model& model, const OpenPassport* passport, const RandomImages& images) {
  double flops = 0;
  bool first = true;  // needs no gradient of its input
  model.on_layer_input = [&](const std::string& name, const Var& x) {
    const auto layer = std::ranges::find(model.layers(), name, &Layer::name);
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
  train::Optimizer optimizer(stream, model.parameters(), {});
  // As the trainer keeps it: a GPU's convolutions read weights of their own type.
  const bool copied = stream.device().kind == Device::Kind::kCuda && o.precision != DType::kF32;
  if (copied) model.parameters().keep_copy(stream, o.precision);

  const auto gradients = [&] {
    return train::forward_backward(model, passport, images.x, images.labels, lanes, {});
  };
  const auto update = [&](std::span<const float> losses) {
    optimizer.update({.lr = 1e-3f, .losses = {losses}});
  };
  Recorded step(stream, [&] { update(gradients().losses.loss.span()); });

  StepTimes times;
  times.seconds = repeat(stream, o.repetition, [&] { step(); });
  times.median = median(times.seconds);
  times.images_per_second = static_cast<double>(o.batch) / times.median;
  times.launches = step.launches();
  times.peak_bytes = stream.memory()->peak_bytes();
  times.flops = convolution_flops(model, passport, images);
  Ceilings ceilings(stream);
  times.ceiling = ceilings.arithmetic_name(o.precision);
  if (const double ceiling = ceilings.arithmetic(o.precision); ceiling > 0)
    times.share = times.flops / times.median / ceiling;
  if (o.stages) {
    Repetition again = o.repetition;
    again.seconds /= 3;
    const auto time = [&](const std::function<void()>& work) {
      Recorded recorded(stream, work);
      return median(repeat(stream, again, [&] { recorded(); }));
    };
    times.forward = time([&] {
      train::forward_only(model, passport, images.x, images.labels, lanes, Mode::kTrain);
    });
    times.backward = time([&] { gradients(); }) - times.forward;
    times.optimizer = time([&] { update({}); });
  }
  if (copied) model.parameters().drop_copy();
  return times;
}

}  // namespace passnorm::bench
