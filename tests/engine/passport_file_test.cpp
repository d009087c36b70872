// The passport's file: what is saved is loaded, and nothing malformed is.
#include <sys/stat.h>

#include <cmath>
#include <map>

#include "engine/io/json.hpp"
#include "engine/passport/passport.hpp"
#include "tests/support/files.hpp"

namespace passnorm::test {
namespace {

const Secret32 kSeed(std::array<uint8_t, 32>{7, 1});

std::vector<Site> two_sites() {
  return {
      {"conv1", {.n = 1, .h = 4, .w = 3, .c = 2, .o = 8, .kh = 3, .kw = 3, .stride = 1, .pad = 1}},
      {"layer4.0.shortcut",
       {.n = 1, .h = 2, .w = 2, .c = 3, .o = 16, .kh = 1, .kw = 1, .stride = 2, .pad = 0}}};
}

std::vector<Site> sites_of_points() {
  return {{"convp1", {.n = 1, .h = 1, .w = 5, .c = 3, .o = 8}},
          {"p1", {.c = 6, .o = 16}, Site::Kind::kLinear}};
}

Passport passport() {
  Passport p = Passport::random(two_sites(), kSeed, Signature::from_text("(c) Alice 2026"));
  p.scheme = &scheme("pan");
  p.lane_state = {{"conv1.bn1.running_mean", {8}, {1, 2, 3, 4, 5, 6, 7, 8}},
                  {"conv1.fc.0.weight", {2, 2}, {1, -1, .5f, 0}}};
  return p;
}

TEST(PassportFile, HoldsEverything) {
  const TemporaryFolder folder;
  std::vector<SitePassport> keys = passport().sites();
  const Passport free =
      passport().with_bits({std::vector<int8_t>(8, 1), std::vector<int8_t>(16, -1)});
  for (const Passport& p :
       {passport(), free, Passport::random(two_sites(), kSeed, Signature::from_ascii("A")),
        Passport::random(two_sites(), kSeed, Signature::random()),
        Passport::random(sites_of_points(), kSeed, Signature::from_text("points")),
        Passport::from_keys(keys, Passport::Source::kImage, Signature::from_text("x")),
        Passport::from_keys(keys, Passport::Source::kShuffle, {Signature::Kind::kFree, ""})}) {
    p.save(folder.path("p"));
    const Passport q = Passport::load(folder.path("p"));
    ASSERT_EQ(q.sites().size(), p.sites().size());
    for (size_t i = 0; i < p.sites().size(); ++i) {
      EXPECT_EQ(q.sites()[i].site, p.sites()[i].site);
      EXPECT_EQ(q.sites()[i].scale_key, p.sites()[i].scale_key);
      EXPECT_EQ(q.sites()[i].shift_key, p.sites()[i].shift_key);
      EXPECT_EQ(q.sites()[i].bits, p.sites()[i].bits);
    }
    EXPECT_EQ(q.source(), p.source());
    EXPECT_EQ(q.signature().kind, p.signature().kind);
    EXPECT_EQ(q.signature().text, p.signature().text);
    EXPECT_EQ(q.seed(), p.seed());
    EXPECT_EQ(q.scheme, p.scheme);
    EXPECT_EQ(q.bits_bound(), p.bits_bound());
    ASSERT_EQ(q.lane_state.size(), p.lane_state.size());
    for (size_t i = 0; i < p.lane_state.size(); ++i) {
      EXPECT_EQ(q.lane_state[i].name, p.lane_state[i].name);
      EXPECT_EQ(q.lane_state[i].shape, p.lane_state[i].shape);
      EXPECT_EQ(q.lane_state[i].values, p.lane_state[i].values);
    }
  }
}

TEST(PassportFile, OfPointsHasTheShapesOfItsLayers) {
  const Passport p = Passport::random(sites_of_points(), kSeed, Signature::from_text("points"));
  const SafeTensors file = SafeTensors::parse("p", p.bytes());
  const auto shape = [&](const char* name) { return file.find(name)->shape; };
  EXPECT_EQ(shape("convp1.skey"), (std::vector<int64_t>{1, 3, 1, 5}));
  EXPECT_EQ(shape("p1.skey"), (std::vector<int64_t>{1, 6}));
  EXPECT_EQ(shape("p1.key"), (std::vector<int64_t>{1, 6}));
  EXPECT_EQ(shape("p1.b"), (std::vector<int64_t>{16}));
  EXPECT_EQ(parse_json("sites", file.metadata().at("sites"))[1],
            parse_json("p1", R"({"name": "p1", "kind": "linear", "c": 6, "o": 16})"));
  EXPECT_TRUE(Passport::parse("p", p.bytes()).bits_bound());
}

/// The format of files that exist: convolutions have no "kind".
TEST(PassportFile, OfConvolutionsIsAsItWas) {
  const SafeTensors file = SafeTensors::parse("p", passport().bytes());
  EXPECT_EQ(file.metadata().at("sites"),
            R"([{"name":"conv1","h":4,"w":3,"c":2,"o":8,"kh":3,"kw":3,"stride":1,"pad":1},)"
            R"({"name":"layer4.0.shortcut","h":2,"w":2,"c":3,"o":16,"kh":1,"kw":1,"stride":2,)"
            R"("pad":0}])");
}

TEST(PassportFile, IsForItsOwnerOnly) {
  const TemporaryFolder folder;
  const std::string path = folder.write("p", "an old file that everybody reads");
  passport().save(path);
  struct stat status {};
  ASSERT_EQ(::stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0600u);
  for (const mode_t mode : {0640, 0604, 0644, 0620, 0602, 0610}) {
    ASSERT_EQ(::chmod(path.c_str(), mode), 0);
    EXPECT_CONTAINS(refusal(Fault::kSecret, [&] { Passport::load(path); }), "chmod 600");
  }
  ASSERT_EQ(::chmod(path.c_str(), 0400), 0);
  EXPECT_EQ(Passport::load(path).bit_count(), 24);
}

SecretText passphrase(std::string_view text = "correct horse") { return SecretText(text); }

TEST(PassportFile, IsSealedWithAPassphrase) {
  const TemporaryFolder folder;
  const std::string path = folder.path("p");
  const SecretText right = passphrase();
  passport().save(path, &right, kLeastSealCost);
  struct stat status {};
  ASSERT_EQ(::stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0600u);
  const std::vector<std::byte> sealed = read_file(path, 1 << 20);
  EXPECT_TRUE(is_sealed(sealed));
  for (const char* word : {"conv1", "passport", "Alice"})
    EXPECT_EQ(text_of(sealed).find(word), std::string_view::npos) << word;

  std::vector<std::string> asked;
  const auto ask = [&](const std::string& of) {
    asked.push_back(of);
    return passphrase();
  };
  const Passport opened = Passport::load(path, ask);
  EXPECT_EQ(asked, std::vector<std::string>{path});
  EXPECT_EQ(opened.bytes(), passport().bytes());
  // Others may have it: a backup, a mail.
  ASSERT_EQ(::chmod(path.c_str(), 0644), 0);
  EXPECT_EQ(Passport::load(path, ask).bit_count(), 24);

  EXPECT_CONTAINS(refusal(Fault::kSecret, [&] { Passport::load(path); }), "sealed");
  EXPECT_CONTAINS(
      refusal(Fault::kSecret,
              [&] { Passport::load(path, [](auto&) { return passphrase("correct horsf"); }); }),
      "wrong passphrase");
  // A plain file asks for nothing.
  asked.clear();
  passport().save(path);
  EXPECT_EQ(Passport::load(path, ask).bytes(), passport().bytes());
  EXPECT_TRUE(asked.empty());
  // What was sealed may still be no passport.
  write_file_atomic(path, seal(safetensors_bytes({}, {{"format", "x"}}), right, kLeastSealCost));
  EXPECT_CONTAINS(refusal(Fault::kInput, [&] { Passport::load(path, ask); }), "\"x\" file");
}

TEST(PassportFile, IsAFunctionOfItsBytes) {
  const SecretBytes bytes = passport().bytes();
  EXPECT_EQ(Passport::parse("name", bytes).bytes(), bytes);
  const std::string message = refusal(Fault::kInput, [&] {
    Passport::parse("name", {bytes.begin(), bytes.end() - 1});
  });
  EXPECT_TRUE(message.starts_with("name: ")) << message;
}

/// Somebody else's link in the owner's folder does not lead the secret out of it.
TEST(PassportFile, ReplacesALinkAndDoesNotFollowIt) {
  const TemporaryFolder folder;
  const std::string elsewhere = folder.write("elsewhere", "untouched");
  std::filesystem::create_symlink("elsewhere", folder.path("p"));
  passport().save(folder.path("p"));
  EXPECT_FALSE(std::filesystem::is_symlink(folder.path("p")));
  EXPECT_EQ(text_of(read_file(elsewhere, 100)), "untouched");
  std::filesystem::create_symlink("p", folder.path("link"));
  EXPECT_EQ(Passport::load(folder.path("link")).bit_count(), 24) << "reading follows links";
}

TEST(PassportFile, OfAnotherKindIsNamedBeforeItsMode) {
  const TemporaryFolder folder;
  write_file_atomic(folder.path("m"), safetensors_bytes({}, {{"format", "passnorm.model/1"}}));
  EXPECT_CONTAINS(refusal(Fault::kInput, [&] { Passport::load(folder.path("m")); }),
                  "passnorm.model/1");
}

/// A passport file in parts that can be spoilt.
struct Parts {
  struct Entry {
    std::vector<int64_t> shape;
    DType dtype;
    std::vector<std::byte> bytes;
  };
  std::map<std::string, Entry> tensors;
  Metadata metadata;
  Json sites;

  explicit Parts(const SafeTensors& file)
      : metadata(file.metadata()), sites(parse_json("sites", metadata.at("sites"))) {
    for (const TensorInfo& t : file.tensors())
      tensors[t.name] = {t.shape, t.dtype, {t.data.begin(), t.data.end()}};
  }
  std::vector<std::byte> bytes() {
    if (!sites.is_null()) metadata["sites"] = sites.dump();
    std::vector<TensorEntry> entries;
    for (const auto& [name, e] : tensors)
      entries.push_back({name, e.shape,
                         ConstView(e.bytes.data(), e.dtype,
                                   static_cast<int64_t>(e.bytes.size() / size_of(e.dtype)))});
    return safetensors_bytes(entries, metadata);
  }
  template <class T>
  void put(const std::string& name, size_t i, T value) {
    std::memcpy(tensors.at(name).bytes.data() + i * sizeof(T), &value, sizeof(T));
  }
};

struct Spoilt {
  const char* name;
  const char* says;
  void (*spoil)(Parts&);
};
void PrintTo(const Spoilt& s, std::ostream* out) { *out << s.name; }

const Spoilt kSpoilt[] = {
    {"no_format", "has no \"format\"", [](Parts& p) { p.metadata.erase("format"); }},
    {"later_format", "passnorm.passport/2",
     [](Parts& p) { p.metadata["format"] = "passnorm.passport/2"; }},
    {"format_with_escape", "x1b", [](Parts& p) { p.metadata["format"] = "\x1b[2J\n"; }},
    {"no_source", "\"source\"", [](Parts& p) { p.metadata.erase("source"); }},
    {"unknown_source", "dreamt", [](Parts& p) { p.metadata["source"] = "dreamt\t"; }},
    {"no_kind", "\"signature_kind\"", [](Parts& p) { p.metadata.erase("signature_kind"); }},
    {"unknown_kind", "signature kind", [](Parts& p) { p.metadata["signature_kind"] = "\nbound"; }},
    {"no_signature", "\"signature\"", [](Parts& p) { p.metadata.erase("signature"); }},
    {"no_scheme", "\"scheme\"", [](Parts& p) { p.metadata.erase("scheme"); }},
    {"unknown_scheme", "unknown scheme", [](Parts& p) { p.metadata["scheme"] = "pan\x7f"; }},
    {"no_seed", "no tensor \"seed\"", [](Parts& p) { p.tensors.erase("seed"); }},
    {"short_seed", "tensor seed has another type or shape",
     [](Parts& p) {
       p.tensors["seed"].shape = {31};
       p.tensors["seed"].bytes.pop_back();
     }},
    {"seed_of_other_type", "tensor seed has another type",
     [](Parts& p) { p.tensors["seed"].dtype = DType::kI8; }},
    {"seed_of_given_keys", "tensor seed has another type",
     [](Parts& p) { p.metadata["source"] = "given"; }},
    {"no_sites", "\"sites\"", [](Parts& p) { p.metadata.erase("sites"), p.sites = nullptr; }},
    {"sites_not_json", "not valid JSON",
     [](Parts& p) { p.metadata["sites"] = "[{", p.sites = nullptr; }},
    {"sites_no_list", "names no sites", [](Parts& p) { p.sites = Json::object(); }},
    {"sites_empty", "names no sites", [](Parts& p) { p.sites = Json::array(); }},
    {"site_no_object", "has no name", [](Parts& p) { p.sites[1] = "conv1"; }},
    {"site_without_name", "has no name", [](Parts& p) { p.sites[1].erase("name"); }},
    {"site_name_a_number", "has no name", [](Parts& p) { p.sites[1]["name"] = 4; }},
    {"site_name_with_escape", "x1b", [](Parts& p) { p.sites[1]["name"] = "\x1b[31mconv"; }},
    {"site_name_empty", "is no name", [](Parts& p) { p.sites[1]["name"] = ""; }},
    {"site_twice", "twice", [](Parts& p) { p.sites.push_back(p.sites[0]); }},
    {"site_without_height", "\"h\"", [](Parts& p) { p.sites[0].erase("h"); }},
    {"site_width_text", "\"w\"", [](Parts& p) { p.sites[0]["w"] = "3"; }},
    {"site_without_channels", "\"c\"", [](Parts& p) { p.sites[0]["c"] = 0; }},
    {"site_negative_outputs", "\"o\"", [](Parts& p) { p.sites[0]["o"] = -8; }},
    {"site_kernel_a_fraction", "\"kh\"", [](Parts& p) { p.sites[0]["kh"] = 3.0; }},
    {"site_kernel_huge", "\"kw\"", [](Parts& p) { p.sites[0]["kw"] = uint64_t{1} << 63; }},
    {"site_stride_zero", "\"stride\"", [](Parts& p) { p.sites[0]["stride"] = 0; }},
    {"site_negative_pad", "\"pad\"", [](Parts& p) { p.sites[0]["pad"] = -1; }},
    {"site_of_unknown_kind", "\"kind\"", [](Parts& p) { p.sites[0]["kind"] = "recurrent"; }},
    {"site_kind_a_number", "\"kind\"", [](Parts& p) { p.sites[0]["kind"] = 1; }},
    {"site_linear_after_all", "conv1.skey has another type or shape",
     [](Parts& p) { p.sites[0]["kind"] = "linear"; }},
    {"site_kernel_larger_than_input", "larger", [](Parts& p) { p.sites[0]["kh"] = 7; }},
    {"no_scale_key", "conv1.skey", [](Parts& p) { p.tensors.erase("conv1.skey"); }},
    {"no_shift_key", "conv1.key", [](Parts& p) { p.tensors.erase("conv1.key"); }},
    {"no_bits", "conv1.b", [](Parts& p) { p.tensors.erase("conv1.b"); }},
    {"key_of_other_type", "another type",
     [](Parts& p) { p.tensors["conv1.key"].dtype = DType::kI32; }},
    {"key_of_other_shape", "another type or shape",
     [](Parts& p) {
       p.tensors["conv1.key"].shape = {1, 2, 3, 4};
     }},
    {"bits_of_other_length", "another type or shape",
     [](Parts& p) { p.tensors["conv1.b"] = p.tensors["layer4.0.shortcut.b"]; }},
    {"bits_of_other_type", "another type",
     [](Parts& p) { p.tensors["conv1.b"].dtype = DType::kU8; }},
    {"bit_zero", "holds 0", [](Parts& p) { p.put<int8_t>("conv1.b", 7, 0); }},
    {"bit_two", "holds 2", [](Parts& p) { p.put<int8_t>("layer4.0.shortcut.b", 15, 2); }},
    {"key_with_nan", "NaN", [](Parts& p) { p.put("conv1.skey", 3, std::nanf("")); }},
    {"key_with_infinity", "infinite", [](Parts& p) { p.put("conv1.key", 0, INFINITY); }},
    {"state_with_nan", "NaN", [](Parts& p) { p.put("conv1.fc.0.weight", 3, std::nanf("")); }},
    {"state_of_integers", "type",
     [](Parts& p) { p.tensors["conv1.fc.0.weight"].dtype = DType::kI32; }},
    {"state_named_with_escape", "x1b",
     [](Parts& p) { (p.tensors["\x1b"] = p.tensors["conv1.fc.0.weight"]).dtype = DType::kI32; }},
};

class SpoiltPassport : public testing::TestWithParam<Spoilt> {};

TEST_P(SpoiltPassport, IsRefused) {
  const TemporaryFolder folder;
  passport().save(folder.path("p"));
  Parts parts(SafeTensors::open(folder.path("p")));
  write_file_atomic(folder.path("p"), parts.bytes(), {.mode = 0600});
  EXPECT_EQ(Passport::load(folder.path("p")).sites().size(), 2u) << "refused before it was spoilt";
  GetParam().spoil(parts);
  write_file_atomic(folder.path("p"), parts.bytes(), {.mode = 0600});
  const std::string message = refusal(Fault::kInput, [&] { Passport::load(folder.path("p")); });
  EXPECT_CONTAINS(message, GetParam().says);
  EXPECT_TRUE(message.starts_with(folder.path("p"))) << message;
}

INSTANTIATE_TEST_SUITE_P(All, SpoiltPassport, testing::ValuesIn(kSpoilt),
                         testing::PrintToStringParamName());

TEST(PassportFile, ThatIsCutAnywhereIsRefused) {
  const TemporaryFolder folder;
  passport().save(folder.path("whole"));
  const std::vector<std::byte> bytes = read_file(folder.path("whole"), 1 << 20);
  for (size_t n = 0; n < bytes.size(); n += 1 + bytes.size() / 40) {
    write_file_atomic(folder.path("cut"), std::span(bytes).first(n), {.mode = 0600});
    refusal(Fault::kInput, [&] { Passport::load(folder.path("cut")); });
  }
  refusal(Fault::kInput, [&] { Passport::load(folder.path("missing")); });
  refusal(Fault::kInput, [&] { Passport::load(folder.path()); });
}

}  // namespace
}  // namespace passnorm::test
