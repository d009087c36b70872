// What attacks share that rewrite a network without changing what it computes.
#pragma once

#include <functional>
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

/// A passport of the forger's own for the owner's sites, a function of the attack's seed; its bits
/// stand for `signature`.
Passport forged_passport(const AttackInput& input, const std::string& signature);

/// The untouched network, then a point for every share but 0: rewrite(suspect, share) on a copy of
/// what the thief starts from. A point has the claim of `forged`, where it is not null, and, where
/// there are test images, "change of logits": the largest of the first 64 images, over the spread
/// of all their logits before.
AttackResult rewrite_shares(const AttackInput& input, std::string axis,
                            const std::vector<double>& shares, const Passport* forged,
                            const std::function<void(Model& suspect, double share)>& rewrite);

}  // namespace passnorm::verify
