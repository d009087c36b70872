// A training run and its directory.
#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <sstream>

#include <toml++/toml.h>

#include "cli/progress.hpp"
#include "cli/train_options.hpp"
#include "engine/io/file.hpp"
#include "train/batch.hpp"
#include "train/key_images.hpp"

namespace passnorm::cli {
namespace {

namespace fs = std::filesystem;

/// Files of a run. Nothing of an earlier run is lost without being asked.
struct RunDirectory {
  explicit RunDirectory(const TrainOptions& o) : path(o.out) {
    std::error_code error;
    for (const char* name : {"model.safetensors", "owner.passport"})
      if (!o.overwrite && fs::exists(path / name, error))
        fail(Fault::kUsage, "--out ", o.out, " already holds ", name,
             "; choose another folder or add --overwrite");
    fs::create_directories(path, error);
    if (error) fail(Fault::kInput, "--out ", o.out, ": cannot make the folder: ", error.message());
    // With --overwrite: a new passport never stands beside an old model.
    for (const char* name : {"model.safetensors", "owner.passport", "metrics.jsonl", "metrics.csv"})
      fs::remove(path / name, error);
  }

  std::string file(const char* name) const { return (path / name).string(); }

  void append(const char* name, const std::string& line) const {
    std::FILE* f = std::fopen(file(name).c_str(), "a");
    const bool written = f && std::fputs(line.c_str(), f) >= 0;
    if ((f && std::fclose(f) != 0) || !written)
      fail(errno == ENOSPC ? Fault::kMemory : Fault::kInput, file(name),
           ": cannot be written: ", std::strerror(errno));
  }

  fs::path path;
};

/// The shortest decimal that is this float: 0.1, not 0.10000000149.
double shortest(float value) { return std::stod(fmt::format("{}", value)); }

void write_config(const RunDirectory& run, const TrainOptions& o, uint64_t seed) {
  const train::FitOptions& f = o.fit;
  toml::table t{{"model", o.model},
                {"data", o.data},
                {"normalise", o.normalise},
                {"scheme", o.scheme},
                {"norm", o.norm},
                {"sites", o.sites},
                {"residual-relu", o.residual_relu},
                {"passport", o.passport},
                {"pretrained", o.pretrained},
                {"key-batch-statistics", o.key_batch_statistics},
                {"keep", o.keep},
                {"sign-loss", shortest(f.loss.sign.alpha)},
                {"epochs", f.epochs},
                {"batch", f.batch},
                {"optimizer", o.optimizer},
                {"lr", shortest(f.optimizer.lr)},
                {"momentum", shortest(f.optimizer.momentum)},
                {"nesterov", f.optimizer.nesterov},
                {"weight-decay", shortest(f.optimizer.weight_decay)},
                {"label-smoothing", shortest(f.loss.label_smoothing)},
                {"clip-norm", shortest(f.clip_norm)},
                {"schedule", f.schedule.text()},
                {"crop-pad", f.crop_pad},
                {"flip", f.flip},
                {"limit-train", o.limit_train},
                {"limit-test", o.limit_test},
                {"seed", static_cast<int64_t>(seed)},
                {"threads", o.machine.threads},
                {"device", o.machine.device}};
  std::ostringstream text;
  text << "# All settings of this run. The signature is in the owner's passport only.\n"
       << t << "\n";
  write_file_atomic(run.file("config.toml"), std::as_bytes(std::span(text.view())));
}

void log_epoch(const RunDirectory& run, const train::EpochReport& e, const Model& model) {
  Json sites = Json::object();
  for (size_t i = 0; i < e.bits.size(); ++i) sites[model.sites()[i].name] = e.bits[i];
  const train::Progress& p = e.train;
  const auto branch = [&](Branch b, double value) {
    return model.has_branch(b) ? Json(value) : Json(nullptr);
  };
  const Json line = {{"epoch", p.epoch + 1},
                     {"lr", p.lr},
                     {"loss",
                      {{"public", branch(Branch::kPublic, p.loss_public)},
                       {"passport", branch(Branch::kPassport, p.loss_passport)}}},
                     {"sign_loss", branch(Branch::kPassport, p.sign_loss)},
                     {"train_accuracy",
                      {{"public", branch(Branch::kPublic, p.accuracy_public)},
                       {"passport", branch(Branch::kPassport, p.accuracy_passport)}}},
                     {"test_accuracy", accuracy_json(e.test)},
                     {"bits", branch(Branch::kPassport, p.bits)},
                     {"sites", sites},
                     {"skipped_steps", e.skipped_steps},
                     {"images_per_second", p.images_per_second},
                     {"seconds", e.seconds}};
  run.append("metrics.jsonl", dump_json("metrics", line) + "\n");
  if (p.epoch == 0)
    run.append(
        "metrics.csv",
        "epoch,lr,loss_public,loss_passport,sign_loss,train_public,train_passport,test_public,"
        "test_passport,bits,images_per_second,seconds\n");
  const auto cell = [](const std::optional<double>& v) {
    return v ? fmt::format("{:.6g}", *v) : std::string();
  };
  const auto on = [&](Branch b, double v) {
    return model.has_branch(b) ? std::optional(v) : std::nullopt;
  };
  run.append("metrics.csv",
             fmt::format("{},{:.6g},{},{},{},{},{},{},{},{},{:.1f},{:.3f}\n", p.epoch + 1, p.lr,
                         cell(on(Branch::kPublic, p.loss_public)),
                         cell(on(Branch::kPassport, p.loss_passport)),
                         cell(on(Branch::kPassport, p.sign_loss)),
                         cell(on(Branch::kPublic, p.accuracy_public)),
                         cell(on(Branch::kPassport, p.accuracy_passport)),
                         cell(e.test ? e.test->public_accuracy : std::nullopt),
                         cell(e.test ? e.test->passport_accuracy : std::nullopt),
                         cell(on(Branch::kPassport, p.bits)), p.images_per_second, e.seconds));
}

Passport make_passport(const TrainOptions& o, const Model& model, const train::ImageSet& test,
                       std::shared_ptr<Stream> stream) {
  const Signature signature = o.signature_ascii.empty() ? Signature::from_text(o.signature)
                                                        : Signature::from_ascii(o.signature_ascii);
  // With a seed the whole run can be repeated to the byte, the passport too.
  const Secret32 secret =
      o.seed ? Secret32(hash256("passnorm passport of a seed v1", {*o.seed})) : Secret32::random();
  if (o.passport == "random") return Passport::random(model.sites(), secret, signature);
  if (o.pretrained.empty())
    fail(Fault::kUsage, "--passport ", o.passport,
         " needs --pretrained FILE: an ordinary network of the same kind (train one with --scheme "
         "none)");
  auto pretrained = models::load_released(model_file(o.pretrained), nullptr, stream);
  train::ImageSet images = test;
  train::normalise_as(images, pretrained.normalisation);
  return models::propagate_keys(
      *pretrained.model, model.sites(),
      train::key_images(*stream, images, o.passport == "image" ? 1 : 20, secret),
      {.secret = secret,
       .signature = signature,
       .source = o.passport == "image" ? Passport::Source::kImage : Passport::Source::kShuffle,
       .batch_statistics = o.key_batch_statistics});
}

/// The references' choice of epoch: the best mean test accuracy of the branches, the first of
/// equals.
class BestEpoch {
 public:
  void offer(const train::EpochReport& e, const Model& model) {
    if (!e.test) return;
    const auto& [branch, other] = std::pair(e.test->public_accuracy, e.test->passport_accuracy);
    const double score =
        branch && other ? (*branch + *other) / 2 : branch.value_or(other.value_or(0));
    if (score <= score_) return;
    score_ = score;
    report = e;
    weights_ = model.parameters().weights().to_host(model.stream());
    buffers_ = model.parameters().buffer_arena().to_host(model.stream());
  }
  void restore(const Model& model) const {
    model.parameters().weights().copy_from<float>(model.stream(), weights_);
    if (!buffers_.empty())
      model.parameters().buffer_arena().copy_from<float>(model.stream(), buffers_);
  }

  train::EpochReport report;

 private:
  double score_ = -1;
  std::vector<float> weights_, buffers_;
};

}  // namespace

TrainedRun run_training(const TrainOptions& o) {
  const Scheme& scheme = passnorm::scheme(o.scheme);
  if (!scheme.passport && !(o.signature.empty() && o.signature_ascii.empty()))
    fail(Fault::kUsage, "--scheme none has no passport to put a signature in");
  uint64_t seed = 0;
  if (o.seed) {
    seed = *o.seed;
  } else {
    random_bytes({reinterpret_cast<uint8_t*>(&seed), sizeof seed});
    seed >>= 1;  // config.toml has signed integers
  }

  const train::DataSpec spec = train::parse_data_spec(o.data);
  train::ImageSet data = train::load(spec, train::Split::kTrain, o.limit_train);
  TrainedRun run;
  run.test = train::load(spec, train::Split::kTest, o.limit_test);
  for (train::ImageSet* set : {&data, &run.test}) train::choose_normalisation(*set, o.normalise);
  const std::shared_ptr<Stream> stream = o.machine.stream();
  run.model = models::make(o.model,
                           {.classes = data.classes,
                            .norm = norm_kind(o.norm),
                            .plan = PassportPlan::of(o.scheme, o.sites),
                            .residual_relu = o.residual_relu,
                            .seed = seed},
                           stream);
  if (scheme.passport) {
    run.passport = make_passport(o, *run.model, run.test, stream);
    if (o.seed)
      fmt::print(stderr,
                 "note: the passport follows from --seed {}: repeatable, and guessable; leave "
                 "--seed out for a secret one\n",
                 *o.seed);
  }

  if (scheme.triggers)
    fmt::print(stderr, "note: {} without a trigger set trains as deepipr-v2 does\n", scheme.name);
  const RunDirectory directory(o);
  write_config(directory, o, seed);
  const auto save_passport = [&] {
    if (!run.passport) return;
    models::take_lane_state(*run.model, *run.passport);
    run.passport->save(directory.file("owner.passport"));
  };
  save_passport();  // the keys are safe, however the training ends
  ProgressLine line(o.fit.epochs, run.model->has_branch(Branch::kPublic),
                    run.model->has_branch(Branch::kPassport));
  BestEpoch best;
  train::FitOptions fit = o.fit;
  fit.seed = seed;
  train::fit(*run.model, run.passport ? &*run.passport : nullptr, {data, &run.test}, fit,
             {.progress = [&](const train::Progress& p) { line.show(p); },
              .epoch =
                  [&](const train::EpochReport& e) {
                    line.show(e);
                    log_epoch(directory, e, *run.model);
                    run.seconds += e.seconds;
                    run.last = e;
                    if (o.keep == "best") best.offer(e, *run.model);
                  }});
  if (o.keep == "best") {
    best.restore(*run.model);
    run.last = best.report;
  }

  models::save_released(*run.model, directory.file("model.safetensors"),
                        train::normalisation_of(data));
  save_passport();
  return run;
}

}  // namespace passnorm::cli
