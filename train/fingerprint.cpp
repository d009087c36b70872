#include "train/fingerprint.hpp"

#include <charconv>

#include "engine/io/crypto.hpp"

namespace passnorm::train {
namespace {

/// The shortest decimal that is this float.
std::string text(float v) {
  char out[32];
  return {out, std::to_chars(out, out + sizeof out, v).ptr};
}

std::string hash_text(const Dataset* set) {
  if (!set) return "none";
  const auto bytes = [](const auto& v) { return std::as_bytes(std::span(v)); };
  const Hash256 h = hash256(set->is_cloud() ? "passnorm clouds v1" : "passnorm images v1",
                            {static_cast<uint64_t>(set->n), static_cast<uint64_t>(set->channels),
                             static_cast<uint64_t>(set->h), static_cast<uint64_t>(set->w),
                             static_cast<uint64_t>(set->classes),
                             set->is_cloud() ? bytes(set->points) : bytes(set->images),
                             bytes(set->labels), bytes(set->mean), bytes(set->stddev)});
  return to_hex(h).substr(0, 16);
}

std::string hash_text(const Passport* passport) {
  if (!passport) return "none";
  Hasher h("passnorm run passport v1");
  for (const SitePassport& s : passport->sites()) {
    h.add(s.site.name);
    for (const auto* key : {&s.scale_key, &s.shift_key}) h.add(std::as_bytes(std::span(*key)));
    h.add(std::as_bytes(std::span(s.bits)));
  }
  return to_hex(h.finish()).substr(0, 16);
}

std::string describe(const Model& model) {
  const ModelOptions& o = model.options();
  Hasher h("passnorm run model v1");
  for (const Parameter& p : model.parameters().parameters())
    h.add(p.spec.name).add(concat(p.spec.shape));
  for (const Buffer& b : model.parameters().buffers()) h.add(b.spec.name).add(concat(b.spec.shape));
  return concat(model.architecture().name, " ", name_of(o.norm), " ", o.plan.scheme->name,
                o.residual_relu ? " residual-relu " : " ",
                model.architecture().of_points()
                    ? concat("dropout ", text(o.dropout), " orthogonality ",
                             static_cast<int>(o.orthogonality), " ")
                    : "",
                to_hex(h.finish()).substr(0, 16));
}

}  // namespace

Metadata fingerprint(const Model& model, const Passport* passport, const FitData& data,
                     const FitOptions& o) {
  const OptimizerOptions& p = o.optimizer;
  const bool adam = p.kind == OptimizerOptions::Kind::kAdam;
  return {{"model", describe(model)},
          {"passport", hash_text(passport)},
          {"training data", hash_text(&data.train)},
          {"test data", hash_text(data.test)},
          {"triggers", hash_text(data.triggers)},
          {"triggers-per-batch", data.triggers ? concat(o.triggers_per_batch) : "0"},
          {"epochs", concat(o.epochs)},
          {"batch", concat(o.batch)},
          {"precision", passnorm::name_of(o.precision)},
          {"optimizer", adam ? "adam" : "sgd"},
          {"lr", text(p.lr)},
          {"momentum", text(p.momentum)},
          {"nesterov", p.nesterov ? "yes" : "no"},
          {"weight-decay", text(p.weight_decay)},
          {"betas and eps", concat(text(p.beta1), " ", text(p.beta2), " ", text(p.eps))},
          {"schedule", o.schedule.text()},
          {"label-smoothing", text(o.loss.label_smoothing)},
          {"sign-loss", concat(text(o.loss.sign.alpha), " ", text(o.loss.sign.margin), " ",
                               text(o.loss.sign.decay))},
          {"clip-norm", text(o.clip_norm)},
          {"crop-pad", concat(o.crop_pad)},
          {"flip", o.flip ? "yes" : "no"},
          {"augment-points", o.augment_points ? "yes" : "no"},
          {"seed", concat(o.seed)},
          {"keep", o.keep_best ? "best" : "last"},
          {"settings", o.checkpoint.fingerprint}};
}

}  // namespace passnorm::train
