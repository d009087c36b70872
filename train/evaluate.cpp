#include "train/evaluate.hpp"

#include <algorithm>
#include <array>
#include <numeric>

#include "kernels/elementwise.hpp"
#include "kernels/runtime/trace.hpp"
#include "train/step.hpp"

namespace passnorm::train {
namespace {

/// How many examples of a class there are, and were right.
struct ClassHits {
  int64_t all = 0, right = 0;
};

double mean_accuracy(std::span<const ClassHits> classes) {
  double sum = 0;
  int64_t seen = 0;
  for (const ClassHits& c : classes) {
    if (c.all == 0) continue;
    sum += static_cast<double>(c.right) / static_cast<double>(c.all);
    ++seen;
  }
  return seen > 0 ? sum / static_cast<double>(seen) : 0;
}

}  // namespace

Evaluation evaluate(Model& model, const OpenPassport* passport, const Dataset& data,
                    const EvaluateOptions& o) {
  if (data.n < 1) fail(Fault::kUsage, "there is nothing to evaluate on");
  check_fits(data, model);
  return evaluate(model, passport, DeviceDataset(model.stream(), data), o);
}

Evaluation evaluate(Model& model, const OpenPassport* passport, const DeviceDataset& images,
                    const EvaluateOptions& o) {
  Lanes lanes = o.lanes.value_or(model.training_lanes());
  if (!o.lanes && !passport) {
    if (!model.has_branch(Branch::kPublic))
      fail(Fault::kSecret, "this network has no public branch: give its passport");
    lanes = Lanes::only(Branch::kPublic);
  }
  const int64_t count = o.limit > 0 ? std::min(o.limit, images.size()) : images.size();
  const trace::Range range("evaluation");
  Stream& stream = model.stream();
  std::vector<int64_t> numbers(static_cast<size_t>(count));
  std::iota(numbers.begin(), numbers.end(), int64_t{0});
  const Tensor index = Tensor::from<int64_t>(stream, {count}, numbers);
  // The host waits for the device once, for the results of all batches.
  const int64_t entries = loss_count(model, lanes), batches = (count + o.batch - 1) / o.batch;
  const int64_t classes = model.options().classes;
  const Tensor losses = Tensor::empty(stream, {batches * entries}),
               hit_counts = Tensor::empty(stream, {batches * entries}, DType::kI32),
               logits = Tensor::empty(stream, {count * entries, classes});  // [entries, n] a batch
  const auto size_of_batch = [&](int64_t b) { return std::min(o.batch, count - b * o.batch); };
  for (int64_t b = 0; b < batches; ++b) {
    const int64_t n = size_of_batch(b);
    const Batch batch = images.empty_batch(n, o.precision);
    images.fill(batch, 0, index.slice(b * o.batch, {n}), {});
    const StepResult to{
        .losses = {losses.slice(b * entries, {entries}), hit_counts.slice(b * entries, {entries})}};
    const Tensor y =
        forward_only(model, passport, batch.x, batch.labels, lanes, Mode::kEvaluate, {}, to)
            .logits.value;
    const Tensor place = logits.slice(b * o.batch * entries * classes, y.shape());
    dispatch(stream, [&](auto& s) { kernels::cast(s, {.x = y.view(), .y = place.view()}); });
  }
  std::array<double, 2> hits{}, loss{};
  const auto host_losses = losses.to_host(stream);
  const auto host_hits = hit_counts.to_host<int32_t>(stream);
  for (size_t i = 0; i < host_hits.size(); ++i) {
    const size_t l = i % static_cast<size_t>(entries);
    const int64_t n = size_of_batch(static_cast<int64_t>(i) / entries);
    hits[l] += host_hits[i];
    loss[l] += static_cast<double>(host_losses[i]) * static_cast<double>(n);
  }
  std::array<std::vector<ClassHits>, 2> of_class;
  for (auto& c : of_class) c.resize(static_cast<size_t>(classes));
  const auto host_logits = logits.to_host(stream);
  const auto labels = images.labels().to_host<int32_t>(stream);
  auto row = host_logits.begin();
  for (int64_t b = 0; b < batches; ++b)
    for (size_t l = 0; l < static_cast<size_t>(entries); ++l)
      for (int64_t i = 0; i < size_of_batch(b); ++i, row += classes) {
        const auto label = static_cast<size_t>(labels[static_cast<size_t>(b * o.batch + i)]);
        ++of_class[l][label].all;
        of_class[l][label].right +=
            std::max_element(row, row + classes) - row == static_cast<std::ptrdiff_t>(label);
      }
  // Shared logits have one entry for both branches.
  const auto n = static_cast<double>(count);
  Evaluation e{.images = count};
  if (lanes.has(Branch::kPublic)) {
    e.public_accuracy = hits[0] / n;
    e.public_loss = loss[0] / n;
    e.public_class_accuracy = mean_accuracy(of_class[0]);
  }
  if (lanes.has(Branch::kPassport)) {
    const auto l = static_cast<size_t>(entries - 1);
    e.passport_accuracy = hits[l] / n;
    e.passport_loss = loss[l] / n;
    e.passport_class_accuracy = mean_accuracy(of_class[l]);
  }
  return e;
}

}  // namespace passnorm::train
