#include <fmt/format.h>

#include <filesystem>

#include "cli/app.hpp"
#include "cli/options.hpp"
#include "engine/io/text.hpp"
#include "kernels/runtime/random.hpp"
#include "models/export.hpp"
#include "models/logits.hpp"

namespace passnorm::cli {
namespace {

namespace fs = std::filesystem;

struct Options {
  ModelArgument model;
  Machine machine;
  bool fold = false;
  std::string names, out;
  bool overwrite = false;
  bool json = false;
};

constexpr uint32_t kPictureStream = 0x0100'0000;  // of Purpose::kSynthetic: no data set's

/// Logits of the branch that is exported, on random pictures.
std::vector<float> logits(Model& model, const Passport* passport, int64_t pictures) {
  const Shape in = model.input();
  const Random random(1, Purpose::kSynthetic, kPictureStream);
  std::vector<float> pixels(static_cast<size_t>(pictures * in.size()));
  for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = random.normal(i);
  const Tensor x = Tensor::from<float>(model.stream(), {pictures, in[0], in[1], in[2]}, pixels);
  std::optional<OpenPassport> open;
  if (passport) open = model.open(*passport);
  Tape tape(model.stream(), Tape::Mode::kForwardOnly);
  Pass pass{.tape = tape, .mode = Mode::kEvaluate, .passport = open ? &*open : nullptr};
  const Lanes lanes = Lanes::only(passport ? Branch::kPassport : Branch::kPublic);
  return model.forward(pass, {x, lanes, nullptr}).value.to_host(model.stream());
}

int run(const Options& o) {
  if (o.fold == !o.names.empty())
    fail(Fault::kUsage, "export writes one form: give --fold or --names torchvision");
  std::error_code ignored;
  if (!o.overwrite && fs::exists(o.out, ignored))
    fail(Fault::kUsage, printable(o.out), ": exists; --overwrite replaces it");
  const auto opened = o.model.open(o.machine.stream());
  Model& model = *opened.loaded.model;
  const models::InputNormalisation& normalisation = opened.loaded.normalisation;
  const Passport* passport = opened.passport ? &*opened.passport : nullptr;
  if (passport && model.has_branch(Branch::kPublic))
    fail(Fault::kUsage,
         "the public branch is exported, which needs no passport; --passport is for deepipr-v1, "
         "whose scale and shift are the passport's");

  constexpr int64_t kPictures = 16;
  std::optional<models::LogitChange> rounding;  // by folding
  if (o.fold) {
    const auto folded = models::fold(model, passport);
    rounding = models::logit_change(logits(model, passport, kPictures),
                                    logits(*folded, nullptr, kPictures));
    models::save_released(*folded, o.out, normalisation);
  } else {
    models::save_torchvision(model, passport, o.out, normalisation);
  }

  const std::string_view name = model.architecture().name;
  const int64_t classes = model.options().classes;
  if (o.json) {
    Json json = {{"out", o.out},
                 {"form", o.fold ? "folded" : o.names},
                 {"model", name},
                 {"classes", classes},
                 {"bytes", fs::file_size(o.out)}};
    if (rounding)
      json["logits"] = {{"pictures", kPictures},
                        {"largest_difference", rounding->largest},
                        {"spread", rounding->spread}};
    print_json(json);
    return kYes;
  }
  fmt::print("wrote     {}   {}, {} classes, {:.1f} MB\n", printable(o.out), name, classes,
             static_cast<double>(fs::file_size(o.out)) / 1e6);
  if (rounding)
    fmt::print(
        "form      batch norm folded into {} convolutions; for eval, verify and inference\n"
        "rounding  logits of {} random pictures differ by at most {:.1e}, they spread over "
        "{:.3g}\n",
        model.layers().size(), kPictures, rounding->largest, rounding->spread);
  else
    fmt::print(
        "form      the state_dict of torchvision's {}, with this stem for small pictures:\n"
        "            net = torchvision.models.{}\n"
        "            net.conv1 = torch.nn.Conv2d(3, 64, 3, 1, 1, bias=False)\n"
        "            net.maxpool = torch.nn.Identity()\n"
        "            net.load_state_dict(safetensors.torch.load_file({}))\n",
        name == "resnet18" ? "resnet18" : "ResNet",
        name == "resnet18"
            ? fmt::format("resnet18(num_classes={})", classes)
            : fmt::format("ResNet(torchvision.models.resnet.BasicBlock, [1, 1, 1, 1], "
                          "num_classes={})",
                          classes),
        quote(o.out));
  return kYes;
}

}  // namespace

void add_export(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("export", "The public network for other programs");
  auto o = std::make_shared<Options>();
  o->model.add_to(*command, false);
  OptionTable options(*command);
  options.call_flag("fold", o->fold, "batch norm folded into the convolutions");
  options.choice("names", o->names, {"torchvision"}, "tensors as its ResNets name them");
  options.text("out", o->out, "file to write", "FILE").required();
  options.call_flag("overwrite", o->overwrite, "replace FILE");
  options.call_flag("json", o->json, "one JSON document on stdout");
  o->machine.add_to(*command);
  command->footer(
      "Examples:\n"
      "  passnorm export runs/a --fold --out folded.safetensors\n"
      "  passnorm export runs/a --names torchvision --out resnet18.safetensors");
  command->callback([o, &action] { action = [o] { return run(*o); }; });
}

}  // namespace passnorm::cli
