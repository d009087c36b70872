#include "train/data/trigger_binding.hpp"

#include <algorithm>
#include <filesystem>

#include "engine/io/file.hpp"
#include "engine/io/safetensors.hpp"
#include "engine/io/text.hpp"
#include "kernels/runtime/check.hpp"
#include "train/data/image_file.hpp"
#include "train/data/npy.hpp"
#include "train/data/trigger_clouds.hpp"
#include "train/data/trigger_pictures.hpp"

namespace passnorm::train {
namespace {

namespace fs = std::filesystem;

constexpr const char* kFormat = "passnorm.trigger-owner/1";
constexpr uint64_t kMaxOwnerBytes = 1 << 20;

uint64_t u64(int64_t n) { return static_cast<uint64_t>(n); }

Hash256 commitment(const TriggerOwner& owner) {
  return keyed_hash256(owner.secret, "passnorm trigger commitment v1", {owner.signature});
}

std::vector<int32_t> derived_labels(const TriggerOwner& owner, const TriggerManifest& manifest,
                                    int64_t classes) {
  Hasher pictures("passnorm trigger pictures v1");
  for (const Trigger& t : manifest.images) pictures.add(t.sha256);
  const Hash256 digest = pictures.finish();
  const uint64_t n = manifest.images.size();
  std::vector<int32_t> labels;
  for (uint64_t j = 0; j < n; ++j) {
    const Hash256 hash = keyed_hash256(owner.secret, "passnorm trigger label v1",
                                       {owner.signature, u64(classes), n, digest, j});
    uint64_t word = 0;
    for (size_t i = 8; i-- > 0;) word = word << 8 | hash[i];
    labels.push_back(static_cast<int32_t>(word % u64(classes)));
  }
  return labels;
}

/// Pictures or clouds, by what `generated` says.
class Drawing {
 public:
  Drawing(const TriggerOwner& owner, int64_t classes, int64_t count, const Generated& generated)
      : generated_(generated),
        key_(Hasher(owner.secret, of_clouds() ? "passnorm trigger cloud key v1"
                                              : "passnorm trigger picture key v1")
                 .add(owner.signature)
                 .add(u64(classes))
                 .add(u64(count))
                 .add(u64(of_clouds() ? generated.points : generated.side))
                 .finish_secret()) {}

  bool of_clouds() const { return generated_.points > 0; }
  std::vector<std::byte> file(int64_t index) const {
    if (of_clouds()) return encode_npy_cloud(draw_trigger_cloud(key_, index, generated_.points));
    return encode_png(draw_trigger(key_, index, generated_.side));
  }
  /// Whether this is the file of `index`, however its pixels or numbers are written.
  bool is(int64_t index, const std::string& name, std::span<const std::byte> bytes) const {
    if (of_clouds())
      return decode_npy_cloud(name, bytes, 0) == draw_trigger_cloud(key_, index, generated_.points);
    return decode_image(name, bytes) == draw_trigger(key_, index, generated_.side);
  }

 private:
  Generated generated_;
  Secret32 key_;
};

}  // namespace

void TriggerOwner::save(const std::string& path, const SecretText* passphrase,
                        SealCost cost) const {
  std::error_code ignored;
  if (fs::exists(fs::symlink_status(path, ignored)))
    fail(Fault::kInput, path, ": exists already; a secret is not written over");
  const TensorEntry entry{"secret", {32}, std::span<const uint8_t>(secret.bytes())};
  const SecretBytes plain =
      safetensors_secret_bytes({&entry, 1}, {{"format", kFormat}, {"signature", signature}});
  if (passphrase)
    write_file_atomic(path, seal(plain, *passphrase, cost), {.mode = 0600});
  else
    write_file_atomic(path, plain, {.mode = 0600});
}

TriggerOwner TriggerOwner::load(const std::string& path, const AskPassphrase& ask) {
  SecretFile file = read_secret_file(path, kMaxOwnerBytes);
  if (!is_sealed(file.bytes)) {
    TriggerOwner owner = parse(path, std::move(file.bytes));  // what it is comes before its mode
    if (file.shared)
      fail(Fault::kSecret, path, ": others can read or change this secret; run: chmod 600 ", path);
    return owner;
  }
  if (!ask)
    fail(Fault::kSecret, path, ": is sealed with a passphrase, and there is nobody to ask for it");
  return parse(path, unseal(path, file.bytes, ask(path)));
}

TriggerOwner TriggerOwner::parse(const std::string& name, SecretBytes bytes) {
  const SafeTensors file = SafeTensors::parse(name, std::move(bytes));
  const auto value = [&](const char* key) {
    const auto it = file.metadata().find(key);
    if (it == file.metadata().end())
      fail(Fault::kInput, name, ": not the owner's file of a trigger set: its metadata has no \"",
           key, "\"");
    return it->second;
  };
  if (const std::string format = value("format"); format != kFormat)
    fail(Fault::kInput, name, ": is a ", quote(format), " file; a \"", kFormat,
         "\" file was expected");
  const TensorInfo* secret = file.find("secret");
  if (!secret || file.tensors().size() != 1 || secret->dtype != DType::kU8 ||
      secret->shape != std::vector<int64_t>{32})
    fail(Fault::kInput, name, ": expected one tensor, \"secret\", of 32 bytes");
  return {Secret32(std::span<const uint8_t, 32>(
              reinterpret_cast<const uint8_t*>(secret->data.data()), secret->data.size())),
          value("signature")};
}

void bind_labels(TriggerManifest& manifest, const TriggerOwner& owner, int64_t classes,
                 const Generated& generated) {
  PASSNORM_CHECK(generated.side == 0 || generated.points == 0, "pictures and clouds");
  PASSNORM_CHECK(classes >= 2 && classes <= kMaxTriggerClasses, classes, " classes");
  const std::vector<int32_t> labels = derived_labels(owner, manifest, classes);
  for (size_t j = 0; j < labels.size(); ++j) manifest.images[j].label = labels[j];
  manifest.bound = TriggerBinding{.classes = classes,
                                  .generated_side = generated.side,
                                  .generated_points = generated.points,
                                  .commitment = commitment(owner)};
}

TriggerManifest generate_triggers(const std::string& folder, const TriggerOwner& owner,
                                  const GenerateOptions& o) {
  PASSNORM_CHECK(o.count > 0 && o.count <= static_cast<int64_t>(kMaxTriggers), o.count,
                 " triggers");
  const Generated generated{.side = o.points > 0 ? 0 : o.side, .points = o.points};
  const Drawing drawing(owner, o.classes, o.count, generated);
  const std::string place = drawing.of_clouds() ? "clouds" : "pics",
                    extension = drawing.of_clouds() ? ".npy" : ".png";
  std::error_code error;
  if (fs::exists(folder, error) && !fs::is_empty(folder, error))
    fail(Fault::kInput, folder, ": is not empty; triggers need a folder of their own");
  fs::create_directories(fs::path(folder) / place, error);
  if (error) fail(Fault::kInput, folder, "/", place, ": cannot create: ", error.message());
  TriggerManifest manifest;
  for (int64_t i = 0; i < o.count; ++i) {
    const std::string number = std::to_string(i);
    const std::string file = place + '/' +
                             std::string(number.size() < 4 ? 4 - number.size() : 0, '0') + number +
                             extension;
    const std::vector<std::byte> bytes = drawing.file(i);
    write_file_atomic((fs::path(folder) / file).string(), bytes);
    manifest.images.push_back({file, 0, sha256(bytes)});
  }
  bind_labels(manifest, owner, o.classes, generated);
  write_manifest(folder, manifest);
  return manifest;
}

TriggerManifest bind_triggers(const std::string& folder, const TriggerOwner& owner,
                              int64_t classes) {
  std::error_code ignored;
  if (fs::exists(fs::path(folder) / "manifest.json", ignored))
    fail(Fault::kInput, folder, ": has a manifest.json already; its labels are not changed");
  TriggerManifest manifest;
  for (const std::string& file : list_pictures(folder)) manifest.images.push_back({file, 0, {}});
  if (manifest.images.empty() || manifest.images.size() > kMaxTriggers)
    fail(Fault::kInput, folder, ": ", manifest.images.size(),
         " files in pics/, or clouds/ where there is none; expected 1 to ", kMaxTriggers);
  hash_pictures(folder, manifest);
  bind_labels(manifest, owner, classes);
  write_manifest(folder, manifest);
  return manifest;
}

std::string why_unbound(const std::string& folder, int64_t classes, const TriggerOwner& owner) {
  const TriggerManifest manifest = read_triggers(folder, classes);
  if (!manifest.bound) return "the set does not say that its labels follow from a secret";
  const TriggerBinding& bound = *manifest.bound;
  if (bound.commitment != commitment(owner)) return "the owner's file is that of another set";
  const std::vector<int32_t> labels = derived_labels(owner, manifest, bound.classes);
  for (size_t j = 0; j < labels.size(); ++j)
    if (labels[j] != manifest.images[j].label)
      return "the label of " + quote(manifest.images[j].file) + " does not follow from the secret";
  if (bound.generated_side == 0 && bound.generated_points == 0) return {};
  const Drawing drawing(owner, bound.classes, std::ssize(manifest.images),
                        {.side = bound.generated_side, .points = bound.generated_points});
  std::string why;
  int64_t next = 0;
  read_triggers(folder, classes,
                [&](const std::string& name, const Trigger& t, std::span<const std::byte> bytes) {
                  if (const int64_t index = next++; why.empty() && !drawing.is(index, name, bytes))
                    why = concat("the ", drawing.of_clouds() ? "cloud " : "picture ", quote(t.file),
                                 " does not follow from the secret");
                });
  return why;
}

}  // namespace passnorm::train
