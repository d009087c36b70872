#include "train/nonfinite.hpp"

#include <algorithm>

#include "kernels/elementwise.hpp"
#include "kernels/reduce.hpp"

namespace passnorm::train {
namespace {

int64_t count(Stream& stream, const Tensor& t) {
  Tensor x = t;
  if (t.dtype() != DType::kF32) x = Tensor::empty(stream, t.shape());
  return dispatch(stream, [&](auto& s) {
    if (t.dtype() != DType::kF32) kernels::cast(s, {.x = t.view(), .y = x.view()});
    return kernels::count_nonfinite(s, x.span());
  });
}

/// The name of the first layer whose input is not finite, empty when all are.
std::string first_bad_input(Model& model, const OpenPassport* passport, const Batch& batch,
                            Lanes lanes) {
  std::string first;
  struct Hook {  // takes itself off, however the pass ends
    Model& model;
    std::function<void(const std::string&, const Var&)> before = model.on_layer_input;
    ~Hook() { model.on_layer_input = before; }
  } hook{model};
  model.on_layer_input = [&](const std::string& name, const Var& x) {
    if (first.empty() && count(model.stream(), x.value) > 0) first = name;
  };
  forward_only(model, passport, batch.x, batch.labels, lanes, Mode::kTrain);
  return first;
}

}  // namespace

std::string describe_nonfinite(Model& model, const OpenPassport* passport, const Batch& batch,
                               Lanes lanes) {
  Stream& stream = model.stream();
  std::string text;
  const auto say = [&](const auto&... parts) {
    text += concat(text.empty() ? "" : ", ", parts...);
  };
  const auto& parameters = model.parameters().parameters();
  const auto bad_value = [&](const Parameter& p) { return count(stream, p.var.value) > 0; };
  const auto bad_gradient = [&](const Parameter& p) {
    return p.var.gradient && count(stream, p.var.gradient->value) > 0;
  };
  if (const auto p = std::ranges::find_if(parameters, bad_value); p != parameters.end())
    say("weight ", p->spec.name);
  if (passport && lanes.has(Branch::kPassport)) {
    Tape tape(stream, Tape::Mode::kForwardOnly);
    const Tensor raw = model.read(tape, *passport).value;
    int64_t offset = 0;
    for (const Site& site : model.sites()) {
      if (count(stream, raw.slice(offset, {site.channels()})) > 0) say("raw scale of ", site.name);
      offset += 2 * site.channels();
    }
  }
  if (const std::string layer = first_bad_input(model, passport, batch, lanes); !layer.empty())
    say("input of ", layer);
  // Backward runs from the last parameter to the first: the last one that is bad came first.
  const auto first = std::ranges::find_if(parameters, bad_gradient);
  if (first != parameters.end()) {
    const auto last = std::ranges::find_if(parameters.rbegin(), parameters.rend(), bad_gradient);
    say("gradients from ", last->spec.name, " back to ", first->spec.name);
  }
  return text.empty() ? "only the loss" : text;
}

void require_finite(Model& model, const std::string& when) {
  Stream& stream = model.stream();
  const ParameterSet& set = model.parameters();
  const int64_t bad = count(stream, set.weights()) + count(stream, set.buffer_arena());
  if (bad == 0) return;
  std::string first;
  const auto look = [&](const TensorSpec& spec, const Tensor& value) {
    if (first.empty() && count(stream, value) > 0) first = spec.name;
  };
  for (const Parameter& p : set.parameters()) look(p.spec, p.var.value);
  for (const Buffer& b : set.buffers()) look(b.spec, b.value);
  fail(Fault::kNumerics, bad, " weights or running statistics are NaN or infinite ", when,
       ", the first in ", first, "; lower --lr or set --clip-norm");
}

}  // namespace passnorm::train
