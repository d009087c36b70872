// Models and passports that are well-formed files, and sealed passports that were changed.
#include <cmath>

#include "tests/cli/bad_files.hpp"

namespace passnorm::test {

Cases BadFiles::model_content() {
  const std::string good = text("model.safetensors");
  const std::string weight = tensor_of(good, ".weight"), variance = tensor_of(good, "running_var");
  return models({
      {"no format", without_metadata(good, "format"), "its metadata has no \"format\""},
      {"another format", edited_metadata(good, "format", "\x1b[31mpassnorm.model/9"),
       "is a \"\\x1b[31mpassnorm.model/9\" file"},
      {"no metadata", edited(good, [](Parts& p) { p.header.erase("__metadata__"); }),
       "not a model of this program"},
      {"no architecture", without_metadata(good, "architecture"), "has no \"architecture\""},
      {"an unknown architecture", edited_metadata(good, "architecture", "tinny"), "tinny"},
      {"another architecture", edited_metadata(good, "architecture", "resnet18"), "is missing"},
      {"no classes", without_metadata(good, "classes"), "has no \"classes\""},
      {"1 class", edited_metadata(good, "classes", "1"), "an integer from 2 to 1048576"},
      {"-5 classes", edited_metadata(good, "classes", "-5"), "an integer from 2 to 1048576"},
      {"10x classes", edited_metadata(good, "classes", "10x"), "an integer from 2 to 1048576"},
      {"too many classes", edited_metadata(good, "classes", "99999999999999999999"),
       "an integer from 2 to 1048576"},
      {"other classes", edited_metadata(good, "classes", "1048576"), "has no classifier"},
      {"an unknown norm", edited_metadata(good, "norm", "bach"), "bach"},
      {"another norm", edited_metadata(good, "norm", "group"), "tensor"},
      {"residual_relu 2", edited_metadata(good, "residual_relu", "2"), "an integer from 0 to 1"},
      {"two means", edited_metadata(good, "mean", "0.5,0.5"), "3 numbers with commas"},
      {"four means", edited_metadata(good, "mean", "0.5,0.5,0.5,0.5"), "3 numbers with commas"},
      {"a mean in words", edited_metadata(good, "mean", "a,b,c"), "3 numbers with commas"},
      {"a mean of NaN", edited_metadata(good, "mean", "nan,0,0"), "3 numbers with commas"},
      {"a deviation of 0", edited_metadata(good, "std", "0,1,1"), "3 numbers with commas"},
      {"a negative deviation", edited_metadata(good, "std", "1,-1,1"), "3 numbers with commas"},
      {"an infinite deviation", edited_metadata(good, "std", "1,inf,1"), "3 numbers with commas"},
      {"no mean", without_metadata(good, "mean"), "has no \"mean\""},
      {"NaN in a weight", with_value(good, weight, std::nanf("")), "NaN or infinite"},
      {"infinity in a weight", with_value(good, weight, -HUGE_VALF), "NaN or infinite"},
      {"a negative variance", with_value(good, variance, -1.0f), "a negative variance"},
      {"a renamed tensor", renamed(good, weight, "conv9\n.weight"), "is missing"},
      {"a tensor more",
       edited(good,
              [](Parts& p) {
                p.header["\x07more"] = {{"dtype", "F32"},
                                        {"shape", {0}},
                                        {"data_offsets", {p.data.size(), p.data.size()}}};
              }),
       "\\x07more"},
      {"another dtype of the same size",
       edited(good, [&](Parts& p) { p.header[weight]["dtype"] = "I32"; }), "another type or shape"},
      {"another shape of the same size",
       edited(good,
              [&](Parts& p) {
                const int64_t bytes = p.header[weight]["data_offsets"][1].get<int64_t>() -
                                      p.header[weight]["data_offsets"][0].get<int64_t>();
                p.header[weight]["shape"] = {bytes / 4};
              }),
       "another type or shape"},
  });
}

Cases BadFiles::passport_content() {
  const std::string good = text("owner.passport");
  const std::string key = tensor_of(good, ".skey");
  const std::string bits = key.substr(0, key.size() - 4) + "b";
  const auto sites = [&](const std::function<void(Json&)>& edit) {
    return edited(good, [&](Parts& p) {
      std::string& text = p.header["__metadata__"]["sites"].get_ref<std::string&>();
      Json json = parse_json("sites", text);
      edit(json);
      text = json.dump();
    });
  };
  return passports({
      {"a model", text("model.safetensors"), "a \"passnorm.passport/"},
      {"no format", without_metadata(good, "format"), "its metadata has no \"format\""},
      {"another format", edited_metadata(good, "format", "passnorm.passport/0"),
       "is a \"passnorm.passport/0\" file"},
      {"no scheme", without_metadata(good, "scheme"), "has no \"scheme\""},
      {"an unknown scheme", edited_metadata(good, "scheme", "pann"), "pann"},
      {"an unknown source", edited_metadata(good, "source", "dice"), "unknown passport source"},
      {"an unknown signature", edited_metadata(good, "signature_kind", "seal"),
       "unknown signature kind"},
      {"no signature", without_metadata(good, "signature"), "has no \"signature\""},
      {"no sites", edited_metadata(good, "sites", "[]"), "names no sites"},
      {"sites that are no JSON", edited_metadata(good, "sites", "[{"), "not valid JSON"},
      {"sites that are a number", edited_metadata(good, "sites", "3"), "names no sites"},
      {"a site without a name", sites([](Json& s) { s[0].erase("name"); }), "has no name"},
      {"a site with control characters", sites([](Json& s) { s[0]["name"] = "a\nb"; }),
       "is no name"},
      {"a site twice", sites([](Json& s) { s.push_back(s[0]); }), "stands twice"},
      {"a site of another network", sites([](Json& s) { s[0]["name"] = "layer4.0.convbnrelu_1"; }),
       "the passport has no tensor"},
      {"a site without channels", sites([](Json& s) { s[0]["o"] = 0; }),
       "\"o\" must be an integer"},
      {"a site with a negative padding", sites([](Json& s) { s[0]["pad"] = -1; }),
       "\"pad\" must be an integer"},
      {"a site with half a stride", sites([](Json& s) { s[0]["stride"] = 0.5; }),
       "\"stride\" must be an integer"},
      {"a site with a huge key", sites([](Json& s) { s[0]["h"] = 1 << 30; }),
       "\"h\" must be an integer"},
      {"a site with another key", sites([](Json& s) { s[0]["h"] = s[0]["h"].get<int>() + 1; }),
       "another type or shape"},
      {"a kernel beyond its input", sites([](Json& s) { s[0]["kh"] = 99; }), "larger than its"},
      {"another stride", sites([](Json& s) { s[0]["stride"] = 2; }), ""},
      {"a bit of 0", with_value(good, bits, int8_t{0}), "bits are -1 or 1"},
      {"a bit of 3", with_value(good, bits, int8_t{3}), "holds 3"},
      {"NaN in a key", with_value(good, key, std::nanf("")), "NaN or infinite"},
      {"a key that is missing", renamed(good, key, "x.skey"), "has no tensor"},
      {"bits that are missing", renamed(good, bits, "x.b"), "has no tensor"},
      {"bits of another type", edited(good, [&](Parts& p) { p.header[bits]["dtype"] = "U8"; }),
       "another type or shape"},
      {"no seed", renamed(good, "seed", "sead"), "has no tensor \"seed\""},
      {"a seed of another type", edited(good, [](Parts& p) { p.header["seed"]["dtype"] = "I8"; }),
       "another type or shape"},
  });
}

Cases BadFiles::sealed() {
  const std::string good = text("sealed.passport");
  Cases cases;
  const auto add = [&](const char* what, std::string file, int code, const char* reason) {
    cases.push_back({what,
                     {"verify", path("model.safetensors"), "--passphrase-file", path("phrase"),
                      "--passport", put(concat("sealed", cases.size()), file)},
                     code,
                     reason});
  };
  const auto flipped = [&](size_t at) {
    std::string file = good;
    file[at] = static_cast<char>(file[at] ^ 1);
    return file;
  };
  const auto cost = [&](size_t at, uint64_t value) {
    std::string file = good;
    std::memcpy(file.data() + at, &value, sizeof value);
    return file;
  };
  const char* wrong = "wrong passphrase, or the file was changed";
  add("the name of the format", flipped(0), 3, "not a safetensors file");
  add("only the name", good.substr(0, 18), 3, "cut off");
  add("a part of the header", good.substr(0, 73), 3, "cut off");
  add("no chunk", good.substr(0, 74), 3, "cut off");
  add("0 passes", cost(18, 0), 3, "passes over");
  add("17 passes", cost(18, 17), 3, "passes over");
  add("2^64 - 1 passes", cost(18, ~uint64_t{0}), 3, "passes over");
  add("too little memory", cost(26, 8191), 3, "passes over");
  add("too much memory", cost(26, (uint64_t{1} << 30) + 1), 3, "passes over");
  add("2^63 bytes of memory", cost(26, uint64_t{1} << 63), 3, "passes over");
  add("other passes", cost(18, 2), 7, wrong);
  add("other memory", cost(26, 16384), 7, wrong);
  add("the salt", flipped(34), 7, wrong);
  add("the stream's header", flipped(50), 7, wrong);
  add("the first byte of a chunk", flipped(74), 7, wrong);
  add("a byte in the middle", flipped(good.size() / 2), 7, wrong);
  add("the last byte", flipped(good.size() - 1), 7, wrong);
  add("cut off by a byte", good.substr(0, good.size() - 1), 7, wrong);
  add("cut off behind a chunk", good.substr(0, 74 + 65536 + 17), 7, wrong);
  add("cut off in the tag of a chunk", good.substr(0, 74 + 65536 + 17 + 5), 7, wrong);
  add("a byte more", good + "x", 7, wrong);
  add("a chunk twice", good + good.substr(74), 7, wrong);

  const auto with_phrase = [&](const char* what, Arguments more, int code, const char* reason) {
    Arguments arguments = {"verify", path("model.safetensors"), "--passport",
                           path("sealed.passport")};
    arguments.insert(arguments.end(), more.begin(), more.end());
    cases.push_back({what, arguments, code, reason});
  };
  with_phrase("another passphrase", {"--passphrase-file", put("other", "open barley\n")}, 7, wrong);
  with_phrase("a passphrase with a space more",
              {"--passphrase-file", put("more", "open sesame \n")}, 7, wrong);
  with_phrase("no passphrase in the file", {"--passphrase-file", put("none", "")}, 7, "none");
  with_phrase("a file that is missing", {"--passphrase-file", path("nowhere")}, 3, "no such file");
  with_phrase("a folder as passphrase", {"--passphrase-file", path("")}, 3, "folder");
  with_phrase("a descriptor that is closed", {"--passphrase-fd", "99"}, 7, "99");
  return cases;
}

}  // namespace passnorm::test
