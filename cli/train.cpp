#include <fmt/format.h>

#include <cmath>
#include <cstdlib>

#include "cli/train_options.hpp"

namespace passnorm::cli {
namespace {

int run(const TrainOptions& o) {
  const TrainedRun r = run_training(o);
  const auto& test = r.last.test;
  if (o.json) {
    print_json({{"out", o.out},
                {"accuracy", accuracy_json(test)},
                {"bits", r.passport ? Json(r.last.train.bits) : Json(nullptr)},
                {"epochs", o.fit.epochs},
                {"seconds", r.seconds},
                {"images_per_second", r.last.train.images_per_second}});
    return kYes;
  }
  fmt::print("model     {}/model.safetensors   to release: the public branch, nothing secret\n",
             o.out);
  if (r.passport)
    fmt::print("passport  {}/owner.passport      to keep: the owner's secret\n", o.out);
  if (test && test->public_accuracy)
    fmt::print("public    {} of {} test images\n", percent(test->public_accuracy), test->images);
  if (test && test->passport_accuracy)
    fmt::print("passport  {}, {} of {} bits\n", percent(test->passport_accuracy),
               percent(r.last.train.bits), r.passport->bit_count());
  fmt::print("time      {:.0f} s, {:.0f} images/s\n", r.seconds, r.last.train.images_per_second);
  return kYes;
}

}  // namespace

void add_train(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("train", "Train a network with its owner's passport");
  auto o = std::make_shared<TrainOptions>();
  const auto text = [&](const char* name, std::string& to, const char* help, const char* type) {
    return command->add_option(name, to, help)->type_name(type);
  };
  const auto count = [&](const char* name, int64_t& to, const char* help, int64_t least) {
    return command->add_option(name, to, help)
        ->check(CLI::Range(least, int64_t{1} << 31))
        ->type_name("N");
  };
  const auto number = [&](const char* name, float& to, const char* help, double least,
                          double most) {
    return command->add_option(name, to, help)
        ->check(CLI::Range(least, most))
        ->check([](const std::string& given) {
          return std::isnan(std::strtod(given.c_str(), nullptr)) ? "is not a number" : "";
        })
        ->capture_default_str()
        ->type_name("X");
  };
  text("--model", o->model, "alexnet | resnet9 | resnet18 | tiny", "NAME")->capture_default_str();
  text("--data", o->data, "cifar10:DIR, cifar100:DIR, synthetic", "SPEC")->required();
  text("--normalise", o->normalise,
       "constants of the input: the data set's (PAN), or imagenet (DeepIPR)", "NAME")
      ->check(CLI::IsMember({"data", "imagenet"}))
      ->capture_default_str();
  text("--out", o->out, "folder for model, passport, metrics and settings", "DIR")->required();
  text("--scheme", o->scheme,
       "none | deepipr-v1 | deepipr-v2 | deepipr-v3 | pan | pan-nose-bn | pan-sbn | pan-sbn-se",
       "NAME")
      ->capture_default_str();
  text("--norm", o->norm, "batch | group | instance | layer", "NAME")->capture_default_str();
  text("--sites", o->sites, "layers with a passport: last, all, or names with *", "LIST")
      ->capture_default_str();
  text("--passport", o->passport, "random | image | shuffle", "NAME")
      ->check(CLI::IsMember({"random", "image", "shuffle"}))
      ->capture_default_str();
  text("--pretrained", o->pretrained,
       "ordinary network whose features of test images are the keys (image, shuffle)", "FILE");
  command->add_flag("--key-batch-statistics", o->key_batch_statistics,
                    "the pretrained network normalises key images by their own statistics, as in "
                    "the papers' code");
  CLI::Option* signature = text("--signature", o->signature,
                                "text that the bits are derived from, with the key: bound", "TEXT");
  text("--signature-ascii", o->signature_ascii,
       "text that the bits spell, as in the papers' code: not bound", "TEXT")
      ->excludes(signature);
  number("--sign-loss", o->fit.loss.sign.alpha, "weight of the sign loss", 0, 1e6);
  command->add_flag("--residual-relu", o->residual_relu,
                    "ResNets as in the papers' code: ReLU before the residual sum too");
  count("--epochs", o->fit.epochs, "passes over the data", 1)->capture_default_str();
  count("--batch", o->fit.batch, "images a step", 1)->capture_default_str();
  text("--optimizer", o->optimizer, "sgd | adam", "NAME")->capture_default_str();
  number("--lr", o->fit.optimizer.lr, "learning rate", 0, 1e6);
  number("--momentum", o->fit.optimizer.momentum, "of SGD", 0, 1);
  command->add_flag("--nesterov", o->fit.optimizer.nesterov, "Nesterov momentum");
  number("--weight-decay", o->fit.optimizer.weight_decay, "added to the gradient, times the weight",
         0, 1e6);
  number("--label-smoothing", o->fit.loss.label_smoothing,
         "share of the target spread over all classes", 0, 1);
  number("--clip-norm", o->fit.clip_norm, "largest norm of the gradient; 0 = no limit", 0, 1e9);
  text("--schedule", o->schedule, "multistep:E,E.. | onecycle | constant", "NAME")
      ->capture_default_str();
  text("--keep", o->keep, "which epoch: last, or best on the test set, as in the papers' code",
       "NAME")
      ->check(CLI::IsMember({"last", "best"}))
      ->capture_default_str();
  count("--crop-pad", o->fit.crop_pad, "augmentation: random crop of the image padded by N", 0)
      ->capture_default_str();
  command->add_flag("--flip,!--no-flip", o->fit.flip, "augmentation: horizontal flip (on)");
  count("--limit-train", o->limit_train, "only the first N training images", 0);
  count("--limit-test", o->limit_test, "only the first N test images", 0);
  command
      ->add_option("--seed", o->seed,
                   "repeats a run to the byte; without it everything is drawn afresh")
      ->check(CLI::Range(uint64_t{0}, ~uint64_t{0} >> 1))
      ->type_name("N");
  o->machine.add_to(*command);
  command->add_flag("--overwrite", o->overwrite, "replace the run in --out");
  command->add_flag("--json", o->json, "one JSON document on stdout");
  command->footer(
      "Example: passnorm train --model tiny --data cifar10:data --scheme pan --signature '(c) "
      "Alice 2026' \\\n"
      "           --epochs 5 --batch 128 --lr 0.1 --nesterov --schedule onecycle --clip-norm 2 "
      "--out runs/a");
  command->callback([o, &action] {
    action = [o] {
      o->fit.optimizer.kind = train::optimizer_kind(o->optimizer);
      o->fit.schedule = train::Schedule::parse(o->schedule);
      return run(*o);
    };
  });
}

}  // namespace passnorm::cli
