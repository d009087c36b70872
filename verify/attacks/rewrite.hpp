// What attacks share that rewrite a network without changing what it computes.
#pragma once

#include <string>
#include <vector>

#include "verify/attacks/attack.hpp"

namespace passnorm::verify {

/// The values of the parameter or buffer of this name, changed by f(std::vector<float>&) on the
/// host, in the order of memory; nothing where the model has none.
template <class Change>
void change(Model& model, const std::string& name, Change&& f) {
  const Parameter* p = model.parameters().find(name);
  const Buffer* b = p ? nullptr : model.parameters().find_buffer(name);
  if (!p && !b) return;
  const Tensor& tensor = p ? p->var.value : b->value;
  std::vector<float> v = tensor.to_host(model.stream());
  f(v);
  tensor.copy_from<float>(model.stream(), v);
}

/// Raw scales [C] that the passport reads at each of its sites.
std::vector<std::vector<float>> raw_scales(const Model& model, const Passport& passport);

/// Largest change of a logit of the first test images (64 at most), over the spread of all of them
/// before.
double change_of_logits(const AttackInput& input, Model& before, Model& after);

}  // namespace passnorm::verify
