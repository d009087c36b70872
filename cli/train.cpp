#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <limits>

#include "cli/train_options.hpp"
#include "engine/io/text.hpp"

namespace passnorm::cli {
namespace {

int run(const TrainOptions& o) {
  const TrainedRun r = run_training(o);
  const auto& test = r.last.test;
  if (o.json) {
    print_json({{"out", o.out},
                {"accuracy", accuracy_json(test)},
                {"trigger_accuracy", accuracy_json(r.last.triggers)},
                {"bits", r.passport ? Json(r.last.train.bits) : Json(nullptr)},
                {"epochs", o.fit.epochs},
                {"epoch", r.last.train.epoch + 1},
                {"seconds", r.seconds},
                {"images_per_second", r.last.train.images_per_second}});
    return kYes;
  }
  fmt::print("model     {}/model.safetensors   to release: the public branch, nothing secret\n",
             o.out);
  if (r.passport)
    fmt::print("passport  {}/owner.passport      to keep: the owner's secret\n", o.out);
  if (o.keep == "best")
    fmt::print("epoch     {}, the best of {}\n", r.last.train.epoch + 1, o.fit.epochs);
  if (test && test->public_accuracy)
    fmt::print("public    {} of {} test {}\n", percent(test->public_accuracy), test->images,
               r.test.noun());
  if (test && test->passport_accuracy)
    fmt::print("passport  {}, {} of {} bits\n", percent(test->passport_accuracy),
               percent(r.last.train.bits), r.passport->bit_count());
  if (const auto& t = r.last.triggers)
    fmt::print("triggers  public {}, passport {} of {} triggers\n", percent(t->public_accuracy),
               percent(t->passport_accuracy), t->images);
  if (r.seconds > 0)
    fmt::print("time      {:.0f} s, {:.0f} {}/s\n", r.seconds, r.last.train.images_per_second,
               r.test.noun());
  return kYes;
}

}  // namespace

void add_train_options(OptionTable& options, TrainOptions& o) {
  using Reach = Setting::Reach;
  options.group("Network and data");
  options.text("model", o.model,
               (names_of(models::architectures()) + "; pointnet is of clouds").c_str(), "NAME",
               [](const std::string& name) { models::architecture(name); });
  // PASSNORM_DATA is the tests' folder of data sets, no option's variable.
  options
      .text("data", o.data, (std::string(kDataForms) + " (required)").c_str(), "SPEC",
            [](const std::string& spec) { train::parse_data_spec(spec); })
      .only(Reach::kFile)
      .changes_nothing();  // where it lies; what it holds is checked
  options.choice("normalise", o.normalise, {"data", "imagenet"},
                 "constants of images, the data set's (PAN) or ImageNet's (DeepIPR)");
  options.integer("limit-train", o.limit_train, "only the first N for training; 0 = all", 0, kMany);
  options.integer("limit-test", o.limit_test, "only the first N for tests; 0 = all", 0, kMany);
  options.text("norm", o.norm, "batch | group | instance | layer", "NAME",
               [](const std::string& name) { norm_kind(name); });
  options.flag("residual-relu", o.residual_relu,
               "ResNets as in the papers' code: ReLU before the residual sum too");
  options.choice("orthogonality", o.orthogonality, {"gram", "times-gram"},
                 "training keeps |T T' - I| of pointnet's feature transform small, or "
                 "|T (T' - I)|, as in PAN's code");

  options.group("Passport");
  options.text("scheme", o.scheme, names_of(schemes()).c_str(), "NAME",
               [](const std::string& name) { scheme(name); });
  options.text("sites", o.sites, "layers with a passport: last, all, or names with *", "LIST");
  options
      .text("signature", o.signature,
            "text that the bits are derived from, with the key: bound; without it they stand for "
            "nobody",
            "TEXT")
      .only(Reach::kCall);
  options
      .text("signature-ascii", o.signature_ascii,
            "text that the bits spell, as in the papers' code: not bound", "TEXT")
      .only(Reach::kCall);
  options.number("sign-loss", o.fit.loss.sign.alpha, "weight of the sign loss", 0, 1'000'000);
  options.choice("passport", o.passport, {"random", "image", "shuffle"},
                 "keys drawn at random, or features that an ordinary network finds in one image, "
                 "or in twenty images shuffled");
  options.text("pretrained", o.pretrained, "that ordinary network: its run, or its model file",
               "DIR|FILE");
  options.flag(
      "key-batch-statistics", o.key_batch_statistics,
      "that network normalises key images by their own statistics, as in the papers' code");
  options.choice("secret", o.secret, {"seed", "random"},
                 "the passport is drawn from --seed (repeatable, and guessable) or by the "
                 "operating system [seed where --seed is given]");
  options.call_flag("seal", o.seal,
                    "seal owner.passport with a passphrase: it is asked for, or read from "
                    "--passphrase-file");
  options
      .text("triggers", o.triggers,
            "folder of triggers, images or .npy clouds, with manifest.json or labels-cifar.txt "
            "(deepipr-v3); or SPEC#COUNT: of another data set, with labels of this one",
            "DIR|SPEC#N")
      .changes_nothing();
  options.integer("triggers-per-batch", o.fit.triggers_per_batch, "triggers in every step", 1,
                  65536);

  options.group("Training");
  options.integer("epochs", o.fit.epochs, "passes over the data", 1, kMany);
  options.integer("batch", o.fit.batch, "images or clouds in a step", 1, kMany);
  options.choice("optimizer", o.optimizer, {"sgd", "adam"}, "");
  options.number("lr", o.fit.optimizer.lr, "learning rate", 0, 1'000'000);
  options.text("schedule", o.schedule,
               "of the rate: constant | multistep:E,E,.. (a tenth from each epoch E) | step:N:F "
               "(times F every N epochs; step:N:F:S, S of them sooner) | cosine | onecycle; "
               "warmup:N+ before any of them: N "
               "epochs from 0",
               "NAME", [](const std::string& text) { train::Schedule::parse(text); });
  options.number("momentum", o.fit.optimizer.momentum, "of SGD", 0, 1);
  options.flag("nesterov", o.fit.optimizer.nesterov, "Nesterov momentum");
  options.number("weight-decay", o.fit.optimizer.weight_decay,
                 "added to the gradient, times the weight", 0, 1'000'000);
  options.number("label-smoothing", o.fit.loss.label_smoothing,
                 "share of the target spread over all classes", 0, 1);
  options.number("clip-norm", o.fit.clip_norm, "largest norm of the gradient; 0 = no limit", 0,
                 1'000'000'000);
  options.choice("precision", o.precision, {"f32", "bf16", "f16"},
                 "of activations and their gradients; weights and sums stay f32");
  options.choice("keep", o.keep, {"last", "best"},
                 "the last epoch counts, or the best on the test set, as in the papers' code");
  options.integer("crop-pad", o.fit.crop_pad, "augmentation: random crop of the image padded by N",
                  0, 4096);
  options.flag("flip", o.fit.flip, "augmentation: horizontal flip [on]");
  options.flag("augment-points", o.fit.augment_points,
               "augmentation of clouds: points dropped, scaled, shifted [on]");
  options.integer("seed", o.seed,
                  "repeats a run to the byte; without it everything is drawn afresh", 0,
                  std::numeric_limits<int64_t>::max());

  options.group("The run");
  options
      .text("out", o.out, "folder for model, passport, metrics, settings, checkpoints (required)",
            "DIR")
      .not_recorded();
  options.text("config", o.config, "TOML file of settings, as a run's config.toml", "FILE")
      .only(Reach::kCall);
  options.call_flag("resume", o.resume, "continue the run in --out, with its settings");
  options
      .integer("checkpoint-keep", o.fit.checkpoint.keep,
               "checkpoints that stay while it runs; one is saved after every epoch", 1, 1'000'000)
      .changes_nothing();
  options.call_flag("overwrite", o.overwrite, "replace the run in --out");
  options.call_flag("dry-run", o.dry_run,
                    "print settings and where they come from, sites, steps and memory; write "
                    "nothing");
  options.call_flag("json", o.json, "one JSON document on stdout");
  o.machine.add_to(options);
  o.machine.add_training_to(options);
}

TrainOptions train_options_of(std::string_view name, std::string_view text) {
  TrainOptions o;
  CLI::App command;
  OptionTable options(command);
  add_train_options(options, o);
  options.complete_from_file(parse_config(name, text));
  return o;
}

void add_train(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("train", "Train a network with its owner's passport");
  auto o = std::make_shared<TrainOptions>();
  auto table = std::make_shared<OptionTable>(*command);
  add_train_options(*table, *o);
  o->passphrase.add_to(*command);
  const std::array phrases = {command->get_option("--passphrase-file"),
                              command->get_option("--passphrase-fd")};
  for (CLI::Option* option : phrases) option->group("Passport");
  command->footer(
      "An option that the command line leaves open is taken from the environment\n"
      "(PASSNORM_LR for --lr; not --data), then from --config, then from [the default].\n"
      "The signature is taken from the command line only.\n"
      "\n"
      "Examples:\n"
      "  passnorm train --model tiny --data synthetic --signature '(c) Alice 2026' --epochs 5 "
      "--schedule onecycle --lr 0.1 --out runs/a\n"
      "  # As PAN's code trains PointNet:\n"
      "  passnorm train --model pointnet --data modelnet:DIR --epochs 200 --batch 16 --optimizer "
      "adam --lr 0.001 --weight-decay 0.0001 --schedule step:20:0.7:1 --orthogonality times-gram "
      "--out runs/p\n"
      "  passnorm train --config runs/a/config.toml --seed 2 --out runs/b\n"
      "  passnorm train --resume --out runs/a\n"
      "  passnorm train --config runs/a/config.toml --dry-run --out runs/c");
  command->callback([o, table, phrases, &action] {
    action = [o, table, phrases] {
      if (!o->seal && !o->resume)
        for (const CLI::Option* option : phrases)
          if (option->count() > 0)
            fail(Fault::kUsage, option->get_name(),
                 " is for --seal, or for --resume of a sealed run");
      if (o->resume && !o->config.empty())
        fail(Fault::kUsage, "--resume takes its settings from --out; leave out --config");
      check_environment(*table, environ);
      if (o->resume) {
        table->require("out");
        const std::string file = o->out + "/config.toml";
        if (std::error_code error; !std::filesystem::exists(file, error))
          fail(Fault::kUsage, "--resume: there is no run in ", printable(o->out), ": ",
               printable(file), " is missing");
        table->complete_continued(read_config(file));
      } else {
        table->complete(o->config.empty() ? std::vector<Assignment>() : read_config(o->config));
        table->require("data");
        if (!o->dry_run) table->require("out");
      }
      if (o->dry_run) {
        describe_training(*o, *table);
        return kYes;
      }
      return run(*o);
    };
  });
}

}  // namespace passnorm::cli
