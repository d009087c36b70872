// passnorm inspect: every kind of file is told by its content, and no secret is shown.
#include "models/export.hpp"
#include "tests/cli/program.hpp"
#include "tests/support/networks.hpp"
#include "train/checkpoint.hpp"
#include "train/data/trigger_manifest.hpp"

namespace passnorm::test {
namespace {

const models::InputNormalisation kNormalisation{{0.4914f, 0.5f, 0.25f}, {0.25f, 0.2f, 0.1f}};

std::unique_ptr<Model> network(const char* scheme, const char* architecture = "tiny") {
  auto model = models::make(architecture, {.classes = 7, .plan = PassportPlan::of(scheme)},
                            network_stream());
  unsettle(*model);
  return model;
}

Passport passport_of(const Model& model) {
  Passport p = Passport::random(model.sites(), secret(4), Signature::from_text("(c) Alice 2026"));
  models::take_lane_state(model, p);
  return p;
}

Json described(const std::string& path) {
  const Finished f = passnorm({"inspect", path, "--json"});
  EXPECT_EQ(f.code, 0) << f.err;
  if (f.code != 0) return Json();
  const Json json = f.json();
  EXPECT_TRUE(json.is_array());
  EXPECT_EQ(json.size(), 1u);
  EXPECT_EQ(json[0].at("path"), path);
  if (json[0].contains("bytes")) {
    EXPECT_EQ(json[0]["bytes"], std::filesystem::file_size(path));
  }
  return json[0];
}

std::string in_words(const std::string& path) {
  const Finished f = passnorm({"inspect", path});
  EXPECT_EQ(f.code, 0) << f.err;
  EXPECT_EQ(f.err, "");
  EXPECT_TRUE(f.out.starts_with(path + "\n")) << f.out;
  EXPECT_TRUE(std::ranges::all_of(f.out, [](char c) { return c == '\n' || (c >= 32 && c < 127); }));
  return f.out;
}

TEST(Inspect, Model) {
  const TemporaryFolder folder;
  const std::string path = folder.path("m");
  const auto model = network("pan");
  models::save_released(*model, path, kNormalisation);
  const Json json = described(path);
  EXPECT_EQ(json.at("kind"), "model");
  EXPECT_EQ(json.at("architecture"), "tiny");
  EXPECT_EQ(json.at("classes"), 7);
  EXPECT_EQ(json.at("norm"), "batch");
  EXPECT_EQ(json.at("loads"), true);
  EXPECT_EQ(json.at("mean"), Json({0.4914, 0.5, 0.25}));
  EXPECT_EQ(json.at("std"), Json({0.25, 0.2, 0.1}));
  // Of the released network: the gates are the owner's.
  EXPECT_EQ(json.at("parameters"), network("none")->parameters().count());
  const std::vector<std::byte> bytes = read_file(path, 1 << 24);
  EXPECT_EQ(json.at("sha256"), to_hex(sha256(bytes)));
  EXPECT_EQ(json.at("blake2b_256"), to_hex(blake2b256(bytes)));

  const auto tensors = models::released_tensors(*model);
  ASSERT_EQ(json.at("tensors").size(), tensors.size());
  for (size_t i = 0; i < tensors.size(); ++i) {
    const Json& t = json["tensors"][i];
    const std::vector<float>& v = tensors[i].values;
    EXPECT_EQ(t.at("name"), tensors[i].name);
    EXPECT_EQ(t.at("dtype"), "f32");
    EXPECT_EQ(t.at("shape"), Json(tensors[i].shape));
    EXPECT_EQ(t.at("min").get<double>(), double{*std::ranges::min_element(v)});
    EXPECT_EQ(t.at("max").get<double>(), double{*std::ranges::max_element(v)});
    double sum = 0;
    for (const float e : v) sum += e;
    EXPECT_NEAR(t.at("mean").get<double>(), sum / static_cast<double>(v.size()), 1e-12);
    EXPECT_EQ(t.at("not_finite"), 0);
  }
  const std::string words = in_words(path);
  for (const char* part : {"tiny, 7 classes, batch norm", "loads       yes", "conv4.bn.running_var",
                           "128x64x3x3", "mean 0.4914 0.5 0.25"})
    EXPECT_CONTAINS(words, part);
}

TEST(Inspect, OtherFormsOfTheNetwork) {
  const TemporaryFolder folder;
  const std::string path = folder.path("m");
  models::save_folded(*network("none"), nullptr, path, kNormalisation);
  EXPECT_EQ(described(path).at("norm"), "folded");
  EXPECT_EQ(described(path).at("loads"), true);
  EXPECT_CONTAINS(in_words(path), "folded into the convolutions");

  models::save_released(*network("deepipr-v1"), path, kNormalisation);
  EXPECT_EQ(described(path).at("affine"), "passport");
  EXPECT_EQ(described(path).at("loads"), "with its passport");

  models::save_torchvision(*network("none", "resnet9"), nullptr, path, kNormalisation);
  const Json json = described(path);
  EXPECT_EQ(json.at("kind"), "torchvision");
  EXPECT_EQ(json.at("architecture"), "resnet9");
  EXPECT_EQ(json.at("classes"), 7);
  EXPECT_FALSE(json.contains("loads"));
  EXPECT_CONTAINS(in_words(path), "bn1.num_batches_tracked");
}

TEST(Inspect, AModelThatCannotBeUsedSaysWhy) {
  const TemporaryFolder folder;
  const std::string path = folder.path("m");
  const auto model = network("none");
  models::save_released(*model, path, kNormalisation);
  const SafeTensors sound = SafeTensors::open(path);
  std::vector<TensorEntry> entries;
  std::vector<float> broken(32, 2.f);
  broken[3] = std::numeric_limits<float>::quiet_NaN();
  broken[4] = -std::numeric_limits<float>::infinity();
  for (const TensorInfo& t : sound.tensors())
    entries.push_back({t.name, t.shape, {t.data.data(), t.dtype, t.size()}});
  std::ranges::find(entries, "conv1.bn.bias", &TensorEntry::name)->data = std::span(broken);
  write_safetensors(path, entries, sound.metadata());
  const Json json = described(path);
  EXPECT_EQ(json.at("loads"), false);
  EXPECT_CONTAINS(json.at("reason").get<std::string>(), "conv1.bn.bias");
  for (const Json& t : json.at("tensors"))
    if (t.at("name") == "conv1.bn.bias") {
      EXPECT_EQ(t.at("not_finite"), 2);
      EXPECT_EQ(t.at("min"), 2);
      EXPECT_EQ(t.at("mean"), 2);
    } else {
      EXPECT_EQ(t.at("not_finite"), 0);
    }
  EXPECT_CONTAINS(in_words(path), "2 NaN or infinite");
  EXPECT_CONTAINS(in_words(path), "loads       no: ");
}

TEST(Inspect, ForeignTensors) {
  const TemporaryFolder folder;
  const std::string path = folder.path("foreign.bin");
  const std::vector<float16> halves{float16(1.5f), float16(-2.f)};
  const std::vector<bfloat16> brains{bfloat16(4.f)};
  const std::vector<double> doubles{1, 2, 6};
  const std::vector<int64_t> longs{-5};
  const std::vector<int32_t> ints{7, 9};
  const std::vector<int8_t> chars{-128, 127};
  const std::vector<uint8_t> bytes{255};
  const TensorEntry entries[] = {{"f16", {2}, std::span(halves)},
                                 {"bf16", {1}, std::span(brains)},
                                 {"f64", {3, 1}, std::span(doubles)},
                                 {"i64", {}, std::span(longs)},
                                 {"i32", {2}, std::span(ints)},
                                 {"i8", {2}, std::span(chars)},
                                 {"u8", {1}, std::span(bytes)},
                                 {"none", {0, 4}, ConstView(doubles.data(), DType::kF64, 0)},
                                 {"a\n\x1b[31m", {1}, std::span(bytes)}};
  write_safetensors(path, entries, {{"made by", "else\nwhere"}});
  const Json json = described(path);
  EXPECT_EQ(json.at("kind"), "tensors");
  EXPECT_EQ(json.at("metadata").at("made by"), "else\nwhere");
  const struct {
    const char* dtype;
    double least, most, mean;
  } expected[] = {{"f16", -2, 1.5, -0.25}, {"bf16", 4, 4, 4}, {"f64", 1, 6, 3},
                  {"i64", -5, -5, -5},     {"i32", 7, 9, 8},  {"i8", -128, 127, -0.5},
                  {"u8", 255, 255, 255}};
  for (size_t i = 0; i < std::size(expected); ++i) {
    const Json& t = json.at("tensors")[i];
    EXPECT_EQ(t.at("dtype"), expected[i].dtype);
    EXPECT_EQ(t.at("min"), expected[i].least) << t.dump();
    EXPECT_EQ(t.at("max"), expected[i].most) << t.dump();
    EXPECT_EQ(t.at("mean"), expected[i].mean) << t.dump();
  }
  EXPECT_TRUE(json["tensors"][7].at("min").is_null());
  EXPECT_TRUE(json["tensors"][7].at("mean").is_null());
  EXPECT_CONTAINS(in_words(path), "a\\x0a\\x1b[31m");
}

/// No run of digits or hex in `text` is the seed, a key or the bits.
void expect_no_secret(const std::string& text, const Passport& passport) {
  const std::string seed = to_hex(passport.seed().bytes());
  for (size_t at = 0; at + 8 <= seed.size(); at += 8)
    EXPECT_EQ(text.find(seed.substr(at, 8)), std::string::npos);
  for (const SitePassport& s : passport.sites())
    for (const auto* key : {&s.scale_key, &s.shift_key})
      for (const size_t i : {size_t{0}, size_t{1}, key->size() - 1})
        EXPECT_EQ(text.find(Json((*key)[i]).dump().substr(0, 8)), std::string::npos);
  for (const char* word : {"seed", "skey", ".key", ".b\""})
    EXPECT_EQ(text.find(word), std::string::npos) << word;
}

TEST(Inspect, Passport) {
  const TemporaryFolder folder;
  const std::string path = folder.path("p");
  const auto model = network("pan");
  const Passport passport = passport_of(*model);
  passport.save(path);
  const Json json = described(path);
  EXPECT_EQ(keys(json),
            (std::vector<std::string>{"path", "kind", "bytes", "sealed", "scheme", "source",
                                      "signature", "bits", "bits_bound", "sites", "lane_state"}));
  EXPECT_EQ(json.at("kind"), "passport");
  EXPECT_EQ(json.at("sealed"), false);
  EXPECT_EQ(json.at("scheme"), "pan");
  EXPECT_EQ(json.at("source"), "random");
  EXPECT_EQ(json.at("signature"), Json({{"kind", "text"}, {"text", "(c) Alice 2026"}}));
  EXPECT_EQ(json.at("bits"), 256);
  EXPECT_EQ(json.at("bits_bound"), true);
  EXPECT_EQ(json.at("sites"),
            Json({{{"name", "conv3"}, {"key", {64, 8, 8}}, {"window", 576}, {"bits", 128}},
                  {{"name", "conv4"}, {"key", {128, 4, 4}}, {"window", 1152}, {"bits", 128}}}));
  EXPECT_EQ(json.at("lane_state").size(), 8u);
  const std::string words = in_words(path);
  for (const char* part : {"pan, 2 sites, 256 bits", "\"(c) Alice 2026\"", "bits bound", "K 1152"})
    EXPECT_CONTAINS(words, part);
  expect_no_secret(json.dump(), passport);
  expect_no_secret(words, passport);

  std::vector<std::vector<int8_t>> bits(2, std::vector<int8_t>(128, 1));
  passport.with_bits(bits).save(path);
  EXPECT_EQ(described(path).at("bits_bound"), false);
  EXPECT_EQ(described(path).at("signature").at("kind"), "free");

  // Metadata far behind does not pass a passport off as tensors.
  const SafeTensors file = SafeTensors::open(path);
  Metadata metadata = file.metadata();
  metadata["a"] = std::string(8000, ' ');
  std::vector<TensorEntry> entries;
  for (const TensorInfo& t : file.tensors())
    entries.push_back({t.name, t.shape, {t.data.data(), t.dtype, t.size()}});
  write_file_atomic(path, safetensors_bytes(entries, metadata), {.mode = 0600});
  EXPECT_EQ(described(path).at("kind"), "passport");

  std::filesystem::permissions(path, std::filesystem::perms::others_read,
                               std::filesystem::perm_options::add);
  EXPECT_TRUE(fails_with(7, passnorm({"inspect", path})));
}

TEST(Inspect, ASealedPassportSaysNothingElse) {
  const TemporaryFolder folder;
  const std::string path = folder.path("p");
  const SecretText passphrase("correct horse");
  passport_of(*network("pan")).save(path, &passphrase, {.ops = 2, .mem = 3 << 20});
  const Json json = described(path);
  EXPECT_EQ(keys(json), (std::vector<std::string>{"path", "kind", "bytes", "sealed", "argon2id"}));
  EXPECT_EQ(json.at("kind"), "sealed");
  EXPECT_EQ(json.at("argon2id"), Json({{"passes", 2}, {"memory_bytes", 3 << 20}}));
  EXPECT_CONTAINS(in_words(path), "t = 2, 3 MiB");
  const std::vector<std::byte> bytes = read_file(path, 1 << 24);
  write_file_atomic(path, std::span(bytes).first(30));
  EXPECT_TRUE(fails_with(3, passnorm({"inspect", path})));
}

TEST(Inspect, Checkpoint) {
  const TemporaryFolder folder;
  const std::string path = folder.path("c");
  const train::Checkpoint checkpoint{
      .position = {3, 120},
      .run = {{"optimizer", "adam"}, {"lr", "0.01"}, {"seed", "8675309"}, {"passport", "f00d"}},
      .arenas = {{"weights", {1.25f, 2}}, {"gates", {0.4375f}}},
      .numbers = {1}};
  std::vector<std::byte> bytes = train::checkpoint_bytes(checkpoint);
  write_file_atomic(path, bytes, {.mode = 0600});
  const Json json = described(path);
  EXPECT_EQ(json.at("kind"), "checkpoint");
  EXPECT_EQ(json.at("epoch"), 3);
  EXPECT_EQ(json.at("step"), 120);
  EXPECT_EQ(json.at("checksum"), "ok");
  EXPECT_EQ(json.at("run"), Json({{"optimizer", "adam"}, {"lr", "0.01"}}));
  EXPECT_EQ(json.at("arenas"),
            Json({{{"name", "gates"}, {"size", 1}}, {{"name", "weights"}, {"size", 2}}}));
  const std::string words = in_words(path);
  EXPECT_CONTAINS(words, "epoch 3, step 120, adam, checksum ok");
  for (const std::string& text : {words, json.dump()})
    for (const char* secret : {"8675309", "0.4375"})
      EXPECT_EQ(text.find(secret), std::string::npos) << text;
  bytes[bytes.size() - 40] ^= std::byte{1};
  write_file_atomic(path, bytes);
  const Finished f = passnorm({"inspect", path});
  EXPECT_TRUE(fails_with(3, f));
  EXPECT_CONTAINS(f.err, "checksum");
}

TEST(Inspect, SettingsWithoutTheSeed) {
  const TemporaryFolder folder;
  const std::string path = folder.write(
      "config.toml", "model = \"tiny\"\ndata = \"synthetic\"\nlr = 0.1\nseed = 8675309\n");
  const Json json = described(path);
  EXPECT_EQ(json.at("kind"), "settings");
  EXPECT_EQ(json.at("values"), Json({{"model", "tiny"}, {"data", "synthetic"}, {"lr", "0.1"}}));
  EXPECT_CONTAINS(in_words(path), "tiny on synthetic");
  EXPECT_EQ(in_words(path).find("8675309"), std::string::npos);
  folder.write("config.toml", "model = \n");
  EXPECT_TRUE(fails_with(3, passnorm({"inspect", path})));
}

TEST(Inspect, Metrics) {
  const TemporaryFolder folder;
  const std::string lines = folder.write(
      "metrics.jsonl",
      "{\"epoch\":1,\"test_accuracy\":{\"public\":0.5,\"passport\":null}}\n"
      "{\"epoch\":2,\"test_accuracy\":{\"public\":0.625,\"passport\":0.25},\"bits\":null}\n");
  EXPECT_EQ(described(lines).at("kind"), "metrics");
  EXPECT_EQ(described(lines).at("epochs"), 2);
  EXPECT_EQ(described(lines).at("last").at("epoch"), 2);
  EXPECT_CONTAINS(in_words(lines), "2 epochs, public 62.50%, passport 25.00% on the test set");
  const std::string csv =
      folder.write("metrics.csv", "epoch,lr,test_public,test_passport\n1,0.1,0.5,\n2,0.1,0.625,\n");
  EXPECT_EQ(described(csv).at("epochs"), 2);
  EXPECT_EQ(described(csv).at("last"), Json({{"epoch", 2}, {"lr", 0.1}, {"test_public", 0.625}}));
  EXPECT_CONTAINS(in_words(csv), "2 epochs, public 62.50% on the test set");
  EXPECT_EQ(described(folder.write("metrics.csv", "epoch,lr,\n")).at("epochs"), 0);
  for (const char* damaged : {"{\"epoch\":1}\n{\"epo", "{\"other\":1}\n", "{}", "{\n}\n"})
    EXPECT_TRUE(fails_with(3, passnorm({"inspect", folder.write("metrics.jsonl", damaged)})))
        << damaged;
  EXPECT_TRUE(
      fails_with(3, passnorm({"inspect", folder.write("metrics.csv", "epoch,lr,x\n1,2\n")})));
}

TEST(Inspect, Documents) {
  const TemporaryFolder folder;
  const std::string run = folder.path("run"), passport = folder.path("run/owner.passport"),
                    attacks = folder.path("run/attacks"), report = folder.path("report.json");
  std::filesystem::create_directory(run);
  const auto model = models::make("tiny", {.plan = PassportPlan::of("pan")}, network_stream());
  unsettle(*model);
  models::save_released(*model, run + "/model.safetensors", kNormalisation);
  passport_of(*model).save(passport);
  const std::string data = "synthetic:N=40";

  const Finished verified =
      passnorm({"verify", run, "--passport", passport, "--null", "0", "--json"});
  const Json claim = described(folder.write("run/verify.json", verified.out));
  EXPECT_EQ(claim.at("kind"), "claim");
  EXPECT_EQ(claim.at("of"), "passport");
  EXPECT_EQ(claim.at("verdict"), verified.json().at("verdict"));
  EXPECT_EQ(claim.at("matched"), verified.json().at("bits").at("matched"));
  EXPECT_EQ(claim.at("total"), 256);
  EXPECT_CONTAINS(in_words(run + "/verify.json"), " of 256 bits match, log2 p = ");
  EXPECT_CONTAINS(in_words(run), "  verify.json        claim: ");

  ASSERT_EQ(passnorm({"attack", "prune", run, "--passport", passport, "--data", data, "--set",
                      "rates=0.5", "--out", attacks})
                .code,
            0);
  const Json attack = described(attacks + "/attack-prune.json");
  EXPECT_EQ(attack.at("kind"), "attack");
  EXPECT_EQ(attack.at("attack"), "prune");
  EXPECT_EQ(attack.at("scheme"), "pan");
  EXPECT_EQ(attack.at("points"), 2);
  EXPECT_EQ(attack.at("last").at("x"), 0.5);
  EXPECT_EQ(attack.at("last").at("total"), 256);
  EXPECT_CONTAINS(in_words(attacks + "/attack-prune.json"),
                  "prune on tiny, scheme pan, 2 points; at the last ");

  ASSERT_EQ(passnorm({"report", run, "--out", folder.path("report.html"), "--json", report}).code,
            0);
  EXPECT_EQ(described(report).at("kind"), "report");
  EXPECT_EQ(described(report).at("networks").size(), 1u);
  EXPECT_CONTAINS(in_words(report), "report: 1 network, 1 result of attacks");

  const std::string triggers = folder.path("t"), list = triggers + "/manifest.json";
  ASSERT_EQ(passnorm({"data", "triggers", "--out", triggers, "--count", "3"}).code, 0);
  EXPECT_EQ(described(list).at("kind"), "triggers");
  EXPECT_EQ(described(list).at("count"), 3);
  EXPECT_EQ(described(list).at("classes"), 10);
  EXPECT_CONTAINS(in_words(list), "list of 3 triggers, labels bound among 10 classes");
  const std::string cut = std::string(text_of(read_file(list, 1 << 20))).substr(0, 200);
  EXPECT_TRUE(fails_with(3, passnorm({"inspect", folder.write("cut", cut)})));
  train::TriggerManifest free;
  free.images = {{.file = "pics/1.png", .label = 3}};
  EXPECT_CONTAINS(in_words(folder.write("free", train::manifest_text(free))),
                  "list of 1 trigger, labels free");

  const std::string black_box = folder.write(
      "black-box.json",
      R"({"verdict": "supported", "triggers": {"matched": 67, "total": 100, "classes": 10},
          "log2_p": -139.6, "log2_tests": 1, "signature": "Alice"})");
  EXPECT_EQ(described(black_box).at("of"), "triggers");
  EXPECT_CONTAINS(in_words(black_box),
                  "67 of 100 triggers match, log2 p = -139.6, corrected -138.6, supported");
  for (const char* other :
       {R"({"format": "passnorm.other/1"})", "{\n  \"a\": 1\n}", R"({"verdict": "supported"})",
        R"({"format": 5})", R"({"format": "passnorm.attack/1"})"})
    EXPECT_TRUE(fails_with(3, passnorm({"inspect", folder.write("other", other)}))) << other;
}

TEST(Inspect, RunDirectory) {
  const TemporaryFolder folder;
  const auto model = network("pan");
  models::save_released(*model, folder.path("model.safetensors"), kNormalisation);
  passport_of(*model).save(folder.path("owner.passport"));
  folder.write("config.toml", "model = \"tiny\"\ndata = \"synthetic\"\nscheme = \"pan\"\n");
  folder.write("notes.txt", "mine");
  std::filesystem::create_directory(folder.path("checkpoints"));
  for (const char* name :
       {"checkpoints/epoch-0002.safetensors", "checkpoints/epoch-0001.safetensors"})
    write_file_atomic(folder.path(name), train::checkpoint_bytes({.position = {2, 0}}),
                      {.mode = 0600});
  Json json = described(folder.path());
  EXPECT_EQ(json.at("kind"), "run");
  std::vector<std::string> kinds;
  for (const Json& file : json.at("files")) {
    kinds.push_back(file.at("kind"));
    EXPECT_FALSE(file.contains("tensors"));
  }
  EXPECT_EQ(kinds, (std::vector<std::string>{"model", "passport", "settings", "checkpoint",
                                             "checkpoint"}));
  const std::string words = in_words(folder.path());
  EXPECT_CONTAINS(words, "\n  model.safetensors                   model: tiny, 7 classes");
  EXPECT_LT(words.find("epoch-0001"), words.find("epoch-0002"));
  EXPECT_EQ(words.find("notes"), std::string::npos);

  // One damaged file does not hide the others.
  folder.write("model.safetensors", "nothing");
  json = described(folder.path());
  EXPECT_CONTAINS(json.at("files")[0].at("error").get<std::string>(), "model.safetensors");
  EXPECT_EQ(json["files"][1].at("kind"), "passport");
  EXPECT_CONTAINS(in_words(folder.path()), "cannot be told");
}

TEST(Inspect, SeveralAtOnce) {
  const TemporaryFolder folder;
  const std::string path = folder.write("config.toml", "model = \"tiny\"\n");
  const Finished f = passnorm({"inspect", path, path, "--json"});
  EXPECT_EQ(f.code, 0);
  EXPECT_EQ(f.json().size(), 2u);
  EXPECT_TRUE(fails_with(3, passnorm({"inspect", path, folder.path("none"), "--json"})));
  EXPECT_TRUE(fails_with(2, passnorm({"inspect"})));
}

TEST(Inspect, WhatNobodyKnowsIsRefused) {
  const TemporaryFolder folder;
  std::filesystem::create_directory(folder.path("empty folder"));
  for (const std::string& path :
       {folder.path("none"), folder.write("text", "hello"), folder.write("empty", ""),
        folder.path("empty folder"), std::string("/dev/null"),
        folder.write("cut", std::string("\x20\0\0\0\0\0\0\0{", 9)),
        folder.write("a\nb", "two lines")})
    EXPECT_TRUE(fails_with(3, passnorm({"inspect", path}))) << path;
}

}  // namespace
}  // namespace passnorm::test
