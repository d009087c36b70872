#include "engine/io/file.hpp"
#include "tests/fuzz/fuzz.hpp"
#include "train/data/trigger_manifest.hpp"

void passnorm::fuzz::run(std::span<const std::byte> input) {
  for (const int64_t classes : {10, 0}) {  // 0: those that labels are bound to
    train::TriggerManifest manifest;
    if (!accepts({Fault::kInput, Fault::kUsage},
                 [&] { manifest = train::parse_trigger_manifest("f", text_of(input), classes); }))
      continue;
    require(classes > 0 || manifest.bound, "the number of classes is known");
    const int64_t most = classes > 0 ? classes : manifest.bound->classes;
    for (const train::Trigger& t : manifest.images) {
      require(t.label >= 0 && t.label < most, "labels are in their range");
      require(!t.file.starts_with('/') && ('/' + t.file + '/').find("/../") == std::string::npos,
              "files lie below the folder");
    }
    require(train::parse_trigger_manifest("f", train::manifest_text(manifest), classes) == manifest,
            "a manifest is read as it was written");
  }
}
