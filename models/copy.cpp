#include "models/copy.hpp"

#include "kernels/elementwise.hpp"
#include "models/model_file.hpp"

namespace passnorm::models {
namespace {

/// How images were normalised is nothing that a network in memory knows: any numbers that fit.
ReleasedForm form_of(const Model& model) {
  const auto channels = static_cast<size_t>(model.architecture().input[-1]);
  return released_form(model, {std::vector<float>(channels, 0), std::vector<float>(channels, 1)});
}

void copy(Stream& stream, const Tensor& from, const Tensor& to) {
  if (from.size() == 0) return;
  dispatch(stream, [&](auto& s) { kernels::cast(s, {.x = from.view(), .y = to.view()}); });
}

}  // namespace

std::unique_ptr<Model> copy_of(const Model& model) {
  ModelOptions options = model.options();
  options.initialise = false;
  const Architecture& row = model.architecture();
  auto out = row.make(row, model.shared_stream(), options);
  const ParameterSet &from = model.parameters(), &to = out->parameters();
  copy(model.stream(), from.weights(), to.weights());
  copy(model.stream(), from.buffer_arena(), to.buffer_arena());
  return out;
}

std::unique_ptr<Model> released_copy(const Model& model, const Passport* passport) {
  ReleasedForm form = form_of(model);
  if (!model.has_branch(Branch::kPublic) && passport) {
    for (NamedTensor& t : passport_affine(model, *passport)) form.tensors.push_back(std::move(t));
    form.metadata.erase("affine");
  }
  return load_released(SafeTensors::parse("the network", form.bytes()), nullptr,
                       model.shared_stream())
      .model;
}

std::unique_ptr<Model> with_passport(const Model& suspect, const Passport& passport) {
  return load_suspect(SafeTensors::parse("the suspect", form_of(suspect).bytes()), passport,
                      suspect.shared_stream())
      .model;
}

}  // namespace passnorm::models
