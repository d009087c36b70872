#include "cli/run_directory.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "cli/app.hpp"
#include "engine/io/file.hpp"
#include "engine/io/text.hpp"

namespace passnorm::cli {

namespace fs = std::filesystem;

bool RunDirectory::holds(const char* name) const {
  std::error_code error;  // what cannot be looked at is refused when it is used
  return fs::exists(path_ / name, error);
}

bool RunDirectory::has_checkpoints() const {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(path_ / "checkpoints", error))
    if (entry.path().extension() == ".safetensors") return true;
  return false;
}

void RunDirectory::start(bool overwrite) const {
  const std::string out = "--out " + printable(path_.string(), 4096);
  if (!overwrite) {
    for (const char* name : {"model.safetensors", "owner.passport"})
      if (holds(name))
        fail(Fault::kUsage, out, " already holds ", name,
             "; choose another folder, continue that run with --resume, or replace it with "
             "--overwrite");
    if (has_checkpoints())
      fail(Fault::kUsage, out,
           " already holds checkpoints; choose another folder, continue that run with --resume, or "
           "replace it with --overwrite");
  }
  std::error_code error;
  fs::create_directories(path_, error);
  if (error) fail(Fault::kInput, out, ": cannot make the folder: ", error.message());
  // The settings first: a folder without them is no run that could be continued.
  for (const char* name :
       {"config.toml", "model.safetensors", "owner.passport", "metrics.jsonl", "metrics.csv"})
    fs::remove(path_ / name, error);
  train::remove_checkpoints(file("checkpoints"));
}

void RunDirectory::write(const char* name, const std::string& text, mode_t mode) const {
  write_file_atomic(file(name), bytes_of(text), {.mode = mode});
}

void RunDirectory::append(const char* name, const std::string& header, int64_t lines_before,
                          const std::string& line) const {
  const std::string path = file(name);
  std::string text = header;
  if (holds(name)) text = text_of(read_file(path, uint64_t{1} << 30));
  size_t end = 0;
  for (int64_t i = 0; i < lines_before + (header.empty() ? 0 : 1); ++i) {
    const size_t newline = text.find('\n', end);
    if (newline == std::string::npos) break;
    end = newline + 1;
  }
  if (end != text.size() || !holds(name)) write(name, text.substr(0, end));
  std::FILE* f = std::fopen(path.c_str(), "a");
  const bool written = f && std::fputs(line.c_str(), f) >= 0;
  if ((f && std::fclose(f) != 0) || !written)
    fail(errno == ENOSPC ? Fault::kMemory : Fault::kInput, printable(path, 4096),
         ": cannot be written: ", std::strerror(errno));
}

void RunDirectory::log(const train::EpochReport& e, const Model& model) const {
  const train::Progress& p = e.train;
  const auto on = [&](Branch b, double value) {
    return model.has_branch(b) ? std::optional(value) : std::nullopt;
  };
  const auto json = [](const std::optional<double>& v) { return v ? Json(*v) : Json(nullptr); };
  const auto branches = [&](double in_public, double in_passport) {
    return Json{{"public", json(on(Branch::kPublic, in_public))},
                {"passport", json(on(Branch::kPassport, in_passport))}};
  };
  Json sites = Json::object();
  for (size_t i = 0; i < e.bits.size(); ++i) sites[model.sites()[i].name] = e.bits[i];
  const Json line = {{"epoch", p.epoch + 1},
                     {"lr", p.lr},
                     {"loss", branches(p.loss_public, p.loss_passport)},
                     {"sign_loss", json(on(Branch::kPassport, p.sign_loss))},
                     {"train_accuracy", branches(p.accuracy_public, p.accuracy_passport)},
                     {"test_accuracy", accuracy_json(e.test)},
                     {"trigger_accuracy", accuracy_json(e.triggers)},
                     {"bits", json(on(Branch::kPassport, p.bits))},
                     {"sites", sites},
                     {"skipped_steps", e.skipped_steps},
                     {"images_per_second", p.images_per_second},
                     {"seconds", e.seconds}};
  append("metrics.jsonl", "", p.epoch, dump_json("metrics", line) + "\n");

  std::string header =
      "epoch,lr,loss_public,loss_passport,sign_loss,train_public,train_passport,test_public,"
      "test_passport,trigger_public,trigger_passport,bits,";
  for (const Site& site : model.sites()) header += "bits:" + site.name + ",";
  header += "skipped_steps,images_per_second,seconds\n";
  std::string row = fmt::format("{},{:.6g},", p.epoch + 1, p.lr);
  const auto cell = [&](const std::optional<double>& v) {
    row += v ? fmt::format("{:.6g},", *v) : std::string(",");
  };
  const auto cells = [&](const std::optional<train::Evaluation>& v) {
    cell(v ? v->public_accuracy : std::nullopt);
    cell(v ? v->passport_accuracy : std::nullopt);
  };
  cell(on(Branch::kPublic, p.loss_public));
  cell(on(Branch::kPassport, p.loss_passport));
  cell(on(Branch::kPassport, p.sign_loss));
  cell(on(Branch::kPublic, p.accuracy_public));
  cell(on(Branch::kPassport, p.accuracy_passport));
  cells(e.test);
  cells(e.triggers);
  cell(on(Branch::kPassport, p.bits));
  for (size_t i = 0; i < model.sites().size(); ++i)
    cell(i < e.bits.size() ? std::optional(e.bits[i]) : std::nullopt);
  row += fmt::format("{},{:.1f},{:.3f}\n", e.skipped_steps, p.images_per_second, e.seconds);
  append("metrics.csv", header, p.epoch, row);
}

}  // namespace passnorm::cli
