// Files that are not what they should be.
#include "tests/cli/bad_files.hpp"

namespace passnorm::test {

Cases BadFiles::wrong_kinds() {
  const std::string model = path("model.safetensors"), passport = path("owner.passport"),
                    nowhere = path("nowhere");
  const std::string folder = path("folder");
  std::filesystem::create_directories(folder);
  put("shared.passport", text("owner.passport"));
  std::filesystem::permissions(path("shared.passport"), std::filesystem::perms(0644));
  put("picture.png", png_file(pattern({4, 4})));
  return {
      {"no model", {"eval", nowhere, "--data", kData}, 3, "no such file"},
      {"a passport as model", {"eval", passport, "--data", kData}, 3, "passnorm.model/1"},
      {"a sealed passport as model",
       {"eval", path("sealed.passport"), "--data", kData},
       3,
       "not a safetensors file"},
      {"a text as model", {"eval", path("phrase"), "--data", kData}, 3, "safetensors"},
      {"a picture as model", {"eval", path("picture.png"), "--data", kData}, 3, "safetensors"},
      {"an empty run", {"eval", folder, "--data", kData}, 3, "model.safetensors"},
      {"a device as model", {"eval", "/dev/null", "--data", kData}, 3, "safetensors"},
      {"no passport", {"verify", model, "--passport", nowhere}, 3, "no such file"},
      {"a folder as passport", {"verify", model, "--passport", folder}, 3, "folder"},
      {"a passport that all may read",
       {"verify", model, "--passport", path("shared.passport")},
       7,
       "chmod 600"},
      {"export of no model", {"export", nowhere, "--fold", "--out", path("o")}, 3, "no such file"},
      {"export of a passport",
       {"export", passport, "--fold", "--out", path("o")},
       3,
       "passnorm.model"},
      {"export over a file", {"export", model, "--fold", "--out", passport}, 2, "exists"},
      {"export into no folder",
       {"export", model, "--fold", "--out", path("nowhere/o")},
       3,
       "no such file or folder"},
      {"export of what torchvision has not",
       {"export", model, "--names", "torchvision", "--out", path("o")},
       2,
       "tiny"},
      {"inspect of nothing", {"inspect", nowhere}, 3, "nowhere"},
      {"a pretrained network that is missing",
       {"train", "--model", "tiny", "--data", kData, "--passport", "image", "--pretrained", nowhere,
        "--out", path("out")},
       3,
       "no such file"},
      {"a file as run directory",
       {"train", "--model", "tiny", "--data", kData, "--out", path("phrase/run")},
       3,
       "phrase"},
      {"settings that are missing",
       {"train", "--config", nowhere, "--out", path("out")},
       3,
       "no such file"},
      {"a folder as settings", {"train", "--config", folder, "--out", path("out")}, 3, "folder"},
      {"a run that is missing", {"train", "--resume", "--out", nowhere}, 2, "there is no run"},
  };
}

namespace {

TEST_F(BadFiles, Models) { expect_refused(model_format()); }
TEST_F(BadFiles, ContentOfModels) { expect_refused(model_content()); }
TEST_F(BadFiles, Passports) { expect_refused(passport_format()); }
TEST_F(BadFiles, ContentOfPassports) { expect_refused(passport_content()); }
TEST_F(BadFiles, SealedPassports) { expect_refused(sealed()); }
TEST_F(BadFiles, TriggerSets) { expect_refused(trigger_sets()); }
TEST_F(BadFiles, DataSets) { expect_refused(data_sets()); }
TEST_F(BadFiles, OfAnotherKind) { expect_refused(wrong_kinds()); }

TEST_F(BadFiles, AreMany) {
  const Cases all[] = {model_format(), model_content(), passport_format(), passport_content(),
                       sealed(),       trigger_sets(),  data_sets(),       wrong_kinds()};
  size_t count = 0;
  for (const Cases& cases : all) count += cases.size();
  EXPECT_GE(count, 200u);
  std::printf("%zu cases\n", count);
}

}  // namespace
}  // namespace passnorm::test
