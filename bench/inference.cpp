#include "bench/inference.hpp"

#include <optional>

#include "bench/random_images.hpp"
#include "bench/recorded.hpp"
#include "bench/timing.hpp"
#include "kernels/runtime/pinned.hpp"
#include "models/export.hpp"

namespace passnorm::bench {
namespace {

constexpr int64_t kWarmup = 5, kLeastRounds = 5;

/// Of one run; on a GPU the device's time.
double seconds_on(Stream& stream, Recorded& work) {
  if (stream.device().kind == Device::Kind::kCpu) return seconds_of(work);
  Event from(stream), to(stream);
  from.record();
  work();
  to.record();
  to.wait();
  return 1e-3 * Event::milliseconds(from, to);
}

}  // namespace

std::vector<InferenceTimes> time_inference(const InferenceBench& o,
                                           std::shared_ptr<Stream> stream) {
  const ModelOptions options{.norm = o.norm, .plan = PassportPlan::of(o.scheme, o.sites)};
  const auto plain = models::make(o.model, {.norm = o.norm}, stream);
  const auto owned = models::make(o.model, options, stream);
  std::optional<Passport> passport;
  std::optional<OpenPassport> open;
  if (owned->has_branch(Branch::kPassport)) {
    passport = bench_passport(*owned);
    open = owned->open(*passport);
  }
  const bool has_public = owned->has_branch(Branch::kPublic);

  const Tensor x = random_images(*plain, o.batch, o.precision).x;
  const bool copied = stream->device().kind == Device::Kind::kCuda && o.precision != DType::kF32;
  std::vector<InferenceTimes> times;
  std::vector<std::unique_ptr<Recorded>> work;
  const auto add = [&](const char* name, Model& model, Branch branch) {
    if (copied && !model.parameters().copy()) model.parameters().keep_copy(*stream, o.precision);
    times.push_back({.name = name});
    work.push_back(std::make_unique<Recorded>(*stream, [&, branch] {
      Tape tape(*stream, Tape::Mode::kForwardOnly);
      Pass pass{.tape = tape, .mode = Mode::kEvaluate, .passport = open ? &*open : nullptr};
      model.forward(pass, {x, Lanes::only(branch), nullptr});
    }));
  };
  add("plain", *plain, Branch::kPublic);
  if (open && has_public) add("public", *owned, Branch::kPublic);
  std::unique_ptr<Model> folded;
  if (o.norm == kernels::NormKind::kBatch && !plain->architecture().of_points()) {
    folded = models::fold(*owned, has_public ? nullptr : &*passport);
    add("folded", *folded, Branch::kPublic);
  }
  if (open) add("passport", *owned, Branch::kPassport);

  double total = 0;
  for (int64_t round = -kWarmup;
       o.rounds > 0 ? round < o.rounds : round < kLeastRounds || total < o.seconds; ++round)
    for (size_t k = 0; k < work.size(); ++k) {
      // Nobody always runs behind the same one.
      const size_t i = (k + static_cast<size_t>(round + kWarmup)) % work.size();
      const double seconds = seconds_on(*stream, *work[i]);
      if (round < 0) continue;
      times[i].seconds.push_back(seconds);
      total += seconds;
    }
  for (InferenceTimes& t : times) {
    t.median = median(t.seconds);
    t.images_per_second = static_cast<double>(o.batch) / t.median;
    std::vector<double> ratios;
    for (size_t i = 0; i < t.seconds.size(); ++i)
      ratios.push_back(times[0].seconds[i] / t.seconds[i]);
    t.ratio = median(ratios);
  }
  return times;
}

}  // namespace passnorm::bench
