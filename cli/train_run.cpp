// A training run and its directory.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "cli/progress.hpp"
#include "cli/run_directory.hpp"
#include "cli/stop_signal.hpp"
#include "cli/train_options.hpp"
#include "engine/io/text.hpp"
#include "train/batch.hpp"
#include "train/data/trigger_set.hpp"
#include "train/key_images.hpp"

namespace passnorm::cli {
namespace {

/// The options as a file and as what determines the results.
std::string settings_text(TrainOptions o, bool of_results) {
  CLI::App command;
  OptionTable options(command);
  add_train_options(options, o);
  return of_results ? options.toml_of_results() : options.toml();
}

Passport make_passport(const TrainOptions& o, const Model& model, const train::Dataset& test) {
  const Signature signature = o.signature_ascii.empty() ? Signature::from_text(o.signature)
                                                        : Signature::from_ascii(o.signature_ascii);
  const Secret32 secret = o.secret == "seed"
                              ? Secret32(hash256("passnorm passport of a seed v1", {*o.seed}))
                              : Secret32::random();
  if (o.passport == "random") return Passport::random(model.sites(), secret, signature);
  // Its memory, in which the keys were computed, goes with it.
  const std::shared_ptr<Stream> stream = o.machine.stream();
  auto pretrained = models::load_released(model_file(o.pretrained), nullptr, stream);
  train::Dataset images = test;
  train::normalise_as(images, pretrained.normalisation);
  return models::propagate_keys(
      *pretrained.model, model.sites(),
      train::key_images(*stream, images, o.passport == "image" ? 1 : 20, secret),
      {.secret = secret,
       .signature = signature,
       .source = o.passport == "image" ? Passport::Source::kImage : Passport::Source::kShuffle,
       .batch_statistics = o.key_batch_statistics});
}

/// A word for a shell.
std::string shell_word(const std::string& text) {
  const bool plain = std::ranges::all_of(text, [](unsigned char c) {
    return std::isalnum(c) ||
           std::string_view("_-./+:,=@%").find(static_cast<char>(c)) != std::string_view::npos;
  });
  if (plain) return text;
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

void check_passport_options(const TrainOptions& o) {
  const bool passport = scheme(o.scheme).passport;
  if (!passport && !(o.signature.empty() && o.signature_ascii.empty()))
    fail(Fault::kUsage, "--scheme none has no passport to put a signature in");
  if (!o.signature.empty() && !o.signature_ascii.empty())
    fail(Fault::kUsage, "--signature and --signature-ascii exclude each other");
  if (o.secret == "seed" && !o.seed)
    fail(Fault::kUsage, "--secret seed needs --seed: a seed that is drawn stands in config.toml");
  if (!passport && o.seal) fail(Fault::kUsage, "--scheme none has no passport to seal");
  if (o.seal && !o.resume && o.seed && o.secret != "random")
    fail(Fault::kUsage,
         "--seal with --seed: the passport follows from the seed, which stands in config.toml; add "
         "--secret random, which draws it, or leave out --seal");
  if (passport && !o.resume && o.passport != "random" && o.pretrained.empty())
    fail(
        Fault::kUsage, "--passport ", o.passport,
        " needs --pretrained: an ordinary network of the same kind (train one with --scheme none)");
}

/// Of a run that is continued: what is asked for again must be as it is.
void check_continued(const TrainOptions& o, const Passport& passport, bool sealed) {
  if (o.seal && !sealed)
    fail(Fault::kUsage,
         "--seal: the passport of the run that is continued is not sealed, and is kept as it is; "
         "leave out --seal");
  const bool ascii = !o.signature_ascii.empty();
  const std::string& text = ascii ? o.signature_ascii : o.signature;
  const Signature& signature = passport.signature();
  const Signature::Kind kind = ascii ? Signature::Kind::kAscii : Signature::Kind::kText;
  if (!text.empty() && (signature.kind != kind || signature.text != text))
    fail(Fault::kUsage, ascii ? "--signature-ascii " : "--signature ", quote(text),
         ": the run that is continued has a passport of another signature, and keeps it; leave "
         "the option out, or start a new run");
}

}  // namespace

TrainingSetup set_up(TrainOptions& o) {
  check_passport_options(o);
  if (o.secret.empty()) o.secret = o.seed ? "seed" : "random";
  if (!o.seed) {
    uint64_t drawn = 0;
    random_bytes({reinterpret_cast<uint8_t*>(&drawn), sizeof drawn});
    o.seed = drawn >> 1;  // TOML has signed integers
  }
  o.fit.seed = *o.seed;
  o.fit.optimizer.kind = train::optimizer_kind(o.optimizer);
  o.fit.schedule = train::Schedule::parse(o.schedule);
  o.fit.precision = o.precision == "bf16"  ? DType::kBF16
                    : o.precision == "f16" ? DType::kF16
                                           : DType::kF32;
  o.fit.keep_best = o.keep == "best";

  const train::DataSpec spec = train::parse_data_spec(o.data);
  TrainingSetup s;
  s.data = train::load(spec, train::Split::kTrain, o.limit_train);
  s.test = train::load(spec, train::Split::kTest, o.limit_test);
  if (const bool clouds = models::architecture(o.model).of_points(); clouds != s.data.is_cloud())
    fail(Fault::kUsage, "--model ", o.model, " takes ", clouds ? "point clouds" : "images",
         ", --data ", quote(o.data), " has ", s.data.form(),
         clouds ? "" : "; --model pointnet takes clouds");
  const bool times_gram = o.orthogonality == "times-gram";
  if (times_gram && !s.data.is_cloud())
    fail(Fault::kUsage, "--orthogonality times-gram: --model ", o.model, " has no transforms");
  if (s.data.classes < 2)
    fail(Fault::kUsage, "--data ", quote(o.data), " has one class: there is nothing to tell apart");
  for (train::Dataset* set : {&s.data, &s.test}) train::choose_normalisation(*set, o.normalise);
  if (!o.triggers.empty()) s.triggers = train::trigger_set(o.triggers, s.data);
  // What fit would find too late: the run's folder and passport are written before it begins.
  if (o.fit.batch > s.data.n)
    fail(Fault::kUsage, "--batch ", o.fit.batch, " is larger than the ", s.data.n, " training ",
         s.data.noun());
  if (s.triggers && o.fit.triggers_per_batch > s.triggers->n)
    fail(Fault::kUsage, "--triggers-per-batch ", o.fit.triggers_per_batch,
         " is larger than the set of ", s.triggers->n, " triggers");
  ModelOptions options{.classes = s.data.classes,
                       .norm = norm_kind(o.norm),
                       .plan = PassportPlan::of(o.scheme, o.sites),
                       .residual_relu = o.residual_relu,
                       .orthogonality = times_gram ? kernels::OrthogonalityForm::kTimesGram
                                                   : kernels::OrthogonalityForm::kGram,
                       .seed = *o.seed};
  if (s.data.is_cloud()) options.points = s.data.w;
  s.model = models::make(o.model, options, o.machine.stream());
  return s;
}

std::string why_undecidable(const Model& model) {
  int64_t bits = 0;
  for (const int64_t channels : model.site_channels()) bits += channels;
  const double log2_tests = verify::log2_of_tests(1, std::ssize(model.possible_sites()));
  if (verify::is_decidable(bits, log2_tests)) return {};
  return fmt::format(
      "{} bits are too few: even all of them leave log2 p = {}, with {:.0f} bits for choices of "
      "sites {:.0f}, above the limit {:.0f}: no claim can be supported; name more --sites",
      bits, -bits, log2_tests, log2_tests - static_cast<double>(bits), verify::kLog2Threshold);
}

TrainedRun run_training(TrainOptions o) {
  const bool seed_given = o.seed.has_value();
  TrainingSetup setup = set_up(o);
  Model& model = *setup.model;
  const RunDirectory directory(o.out);
  const bool has_passport = scheme(o.scheme).passport;
  const std::string passport_file = directory.file("owner.passport");
  std::optional<SecretText> passphrase;  // asked for before the work, not after it
  if (o.seal && !o.resume) passphrase = o.passphrase.choose(passport_file);
  TrainedRun run;
  if (has_passport && o.resume) {
    run.passport = Passport::load(passport_file, [&](const std::string& path) {
      passphrase = o.passphrase.asker()(path);
      return *passphrase;
    });
    check_continued(o, *run.passport, passphrase.has_value());
  } else if (has_passport)
    run.passport = make_passport(o, model, setup.test);
  const auto save_passport = [&] {
    if (!run.passport) return;
    models::take_lane_state(model, *run.passport);
    run.passport->save(passport_file, passphrase ? &*passphrase : nullptr);
  };

  ProgressLine line({o.fit.epochs, model.has_branch(Branch::kPublic),
                     model.has_branch(Branch::kPassport), setup.data.noun()});
  if (!o.resume) directory.start(o.overwrite);
  if (!o.resume && has_passport && o.secret == "seed" && seed_given)
    line.note(fmt::format(
        "the passport follows from --seed {}: repeatable, and guessable; --secret random draws it "
        "afresh",
        *o.seed));
  if (scheme(o.scheme).triggers && !setup.triggers)
    line.note(o.scheme + " without --triggers trains as deepipr-v2 does");
  if (const std::string why = why_undecidable(model); has_passport && !why.empty()) line.note(why);
  if (run.passport && run.passport->signature().kind == Signature::Kind::kText &&
      run.passport->signature().text.empty())
    line.note("without --signature the bits stand for nobody: claims are inconclusive at best");
  if (!o.resume) {
    save_passport();  // the keys are safe, however the training ends
    const bool is_secret = has_passport && o.secret == "seed";
    directory.write(
        "config.toml",
        concat("# All settings of this run but the signature, which is in the passport.\n# The "
               "same again: passnorm train --config THIS --out DIR\n",
               is_secret ? "# Keep it as the passport itself, which follows from the seed.\n" : "",
               settings_text(o, false)),
        is_secret ? 0600 : 0644);
  }
  o.fit.checkpoint.folder = directory.file("checkpoints");
  o.fit.checkpoint.fingerprint =
      to_hex(hash256("passnorm settings of a run v1", {settings_text(o, true)}));
  o.fit.checkpoint.resume = o.resume && directory.has_checkpoints();
  if (o.resume && !o.fit.checkpoint.resume)
    line.note("no checkpoint was saved yet: the run starts again");

  const StopSignal stop;
  bool told = false, device_told = false;
  try {
    run.last = train::fit(
        model, run.passport ? &*run.passport : nullptr,
        {setup.data, &setup.test, setup.triggers ? &*setup.triggers : nullptr}, o.fit,
        {.progress =
             [&](const train::Progress& p) {
               if (!std::exchange(device_told, true))
                 line.note("device: " + o.machine.describe(model.stream()));
               line.show(p);
             },
         .epoch =
             [&](const train::EpochReport& e) {
               line.show(e);
               directory.log(e, model);
               run.seconds += e.seconds;
             },
         .stop =
             [&] {
               if (stop.asked() && !told)
                 line.note("stopping; a checkpoint is being saved (a second signal does not wait)");
               told = stop.asked();
               return told;
             },
         .note = [&](const std::string& text) { line.note(text); }});
  } catch (const Error& e) {
    if (e.fault() != Fault::kStopped) throw;
    line.clear();
    fail(Fault::kStopped, e.what(), "; continue with: passnorm train --resume --out ",
         shell_word(o.out));
  }

  models::save_released(model, directory.file("model.safetensors"),
                        train::normalisation_of(setup.data));
  save_passport();
  run.model = std::move(setup.model);
  run.test = std::move(setup.test);
  return run;
}

}  // namespace passnorm::cli
