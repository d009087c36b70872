// Files that are not what they should be.
#include <cstring>
#include <functional>

#include "tests/cli/bad_input.hpp"

namespace passnorm::test {
namespace {

using Cases = std::vector<BadCase>;
using Arguments = std::vector<std::string>;

const char* const kData = "synthetic:N=80";

/// A safetensors file in its two parts.
struct Parts {
  Json header;
  std::string data;
};

Parts parts_of(const std::string& file) {
  uint64_t header = 0;
  std::memcpy(&header, file.data(), sizeof header);
  return {parse_json("file", std::string_view(file).substr(sizeof header, header)),
          file.substr(sizeof header + header)};
}

std::string file_of(const std::string& header, const std::string& data) {
  std::string file(sizeof(uint64_t), '\0');
  const uint64_t bytes = header.size();
  std::memcpy(file.data(), &bytes, sizeof bytes);
  return file + header + data;
}

std::string with_length(std::string file, uint64_t length) {
  std::memcpy(file.data(), &length, sizeof length);
  return file;
}

std::string edited(const std::string& file, const std::function<void(Parts&)>& edit) {
  Parts parts = parts_of(file);
  edit(parts);
  return file_of(parts.header.dump(), parts.data);
}

std::string edited_metadata(const std::string& file, const char* key, const char* value) {
  return edited(file, [&](Parts& p) { p.header["__metadata__"][key] = value; });
}

std::string without_metadata(const std::string& file, const char* key) {
  return edited(file, [&](Parts& p) { p.header["__metadata__"].erase(key); });
}

/// What goes wrong with a safetensors file of any kind. `tensor` is one of f32.
struct Damage {
  const char* what;
  std::string file;
  const char* reason;
};

std::vector<Damage> damages(const std::string& good, const std::string& tensor) {
  const auto entry = [&](const std::function<void(Json&)>& edit) {
    return edited(good, [&](Parts& p) { edit(p.header[tensor]); });
  };
  const Parts parts = parts_of(good);
  const std::string header = parts.header.dump();
  const auto offsets = parts.header[tensor]["data_offsets"];
  const int64_t begin = offsets[0], end = offsets[1], all = std::ssize(parts.data);
  std::string again = header;
  again.insert(1, "\"" + tensor + "\":" + parts.header[tensor].dump() + ",");
  return {
      {"empty", "", "not a safetensors file: 0 bytes"},
      {"one byte", "x", "not a safetensors file: 1 bytes"},
      {"half of the length", good.substr(0, 4), "not a safetensors file: 4 bytes"},
      {"nothing behind the length", good.substr(0, 8), "cut off, or not a safetensors file"},
      {"cut off in the header", good.substr(0, 100), "cut off, or not a safetensors file"},
      {"cut off by a byte", good.substr(0, good.size() - 1), "is beyond the"},
      {"cut off by half", good.substr(0, good.size() / 2), "is beyond the"},
      {"longer than declared", good + "x", "1 bytes after the last tensor belong to none"},
      {"twice", good + good, "bytes after the last tensor belong to none"},
      {"length 0", with_length(good, 0), "a header of 0 bytes"},
      {"length 2^64 - 1", with_length(good, ~uint64_t{0}), "a header of 18446744073709551615"},
      {"length beyond the file", with_length(good, good.size()), "cut off, or not"},
      {"length one short", with_length(good, header.size() - 1), "not valid JSON"},
      {"no object", file_of("[1, 2]", parts.data), "the header does not begin with {"},
      {"no JSON", file_of("{\"a\": }", parts.data), "not valid JSON"},
      {"a zero byte", file_of("{\"a\": 1\0}" + std::string(3, '\0'), parts.data), "not valid JSON"},
      {"no UTF-8", file_of("{\"\xff\": 1}", parts.data), "not valid JSON"},
      {"nested deeply", file_of("{\"a\":" + std::string(99, '[') + std::string(99, ']') + "}", ""),
       "nested deeper than"},
      {"a tensor twice", file_of(again, parts.data), "stands twice"},
      {"metadata is a list", edited(good, [](Parts& p) { p.header["__metadata__"] = {1}; }),
       "__metadata__"},
      {"metadata holds a number", edited(good, [](Parts& p) { p.header["__metadata__"]["x"] = 1; }),
       "__metadata__"},
      {"a tensor is a number", edited(good, [&](Parts& p) { p.header[tensor] = 1; }),
       "expected an object"},
      {"no dtype", entry([](Json& e) { e.erase("dtype"); }), "dtype is missing"},
      {"no shape", entry([](Json& e) { e.erase("shape"); }), "shape is missing"},
      {"no offsets", entry([](Json& e) { e.erase("data_offsets"); }), "data_offsets is missing"},
      {"another field", entry([](Json& e) { e["x"] = 1; }), "unknown field"},
      {"an unknown dtype", entry([](Json& e) { e["dtype"] = "F8"; }), "unknown dtype"},
      {"dtype is a number", entry([](Json& e) { e["dtype"] = 32; }), "dtype: expected a string"},
      {"too wide a dtype", entry([](Json& e) { e["dtype"] = "F64"; }), "shape and dtype need"},
      {"too narrow a dtype", entry([](Json& e) { e["dtype"] = "F16"; }), "shape and dtype need"},
      {"another shape", entry([](Json& e) { e["shape"].push_back(2); }), "shape and dtype need"},
      {"a negative size", entry([](Json& e) {
         e["shape"] = {-1, -4};
       }),
       "expected integers from 0"},
      {"half an element", entry([](Json& e) { e["shape"] = {0.5}; }), "expected integers from 0"},
      {"an overflowing shape", entry([](Json& e) {
         e["shape"] = {int64_t{1} << 32, int64_t{1} << 31, 4};
       }),
       "2^63 bytes"},
      {"a size beyond 2^63", entry([](Json& e) { e["shape"] = {uint64_t{1} << 63}; }),
       "expected integers from 0"},
      {"offsets the wrong way round", entry([&](Json& e) {
         e["data_offsets"] = {end, begin};
       }),
       "is after end"},
      {"overlapping offsets",
       edited(good,
              [](Parts& p) {
                for (auto& [name, e] : p.header.items())
                  if (e.contains("data_offsets") && e["data_offsets"][0] > 4)
                    for (Json& at : e["data_offsets"]) at = at.get<int64_t>() - 1;
              }),
       "inside the tensor before it"},
      {"offsets beyond the end", entry([&](Json& e) {
         e["data_offsets"] = {all, all + end - begin};
       }),
       "is beyond the"},
      {"one offset", entry([&](Json& e) { e["data_offsets"] = {begin}; }), "expected [begin, end]"},
      {"an offset of 1e30", entry([&](Json& e) {
         e["data_offsets"] = {begin, 1e30};
       }),
       "expected integers from 0"},
  };
}

/// The name of the first f32 tensor with more than one element whose name ends so.
std::string tensor_of(const std::string& file, std::string_view ending) {
  const Parts parts = parts_of(file);
  for (const auto& [name, entry] : parts.header.items())
    if (name.ends_with(ending) && entry.contains("dtype") && entry["dtype"] == "F32") return name;
  ADD_FAILURE() << "no tensor ends in " << ending;
  return {};
}

/// The same file with another first value of a tensor.
template <class T>
std::string with_value(const std::string& file, const std::string& tensor, T value) {
  return edited(file, [&](Parts& p) {
    const int64_t at = p.header[tensor]["data_offsets"][0];
    std::memcpy(p.data.data() + at, &value, sizeof value);
  });
}

std::string renamed(const std::string& file, const std::string& from, const std::string& to) {
  return edited(file, [&](Parts& p) {
    Json header = Json::object();
    for (const auto& [key, value] : p.header.items()) header[key == from ? to : key] = value;
    p.header = header;
  });
}

class BadFiles : public BadInput {
 protected:
  static Cases models(const std::vector<Damage>& all) {
    Cases cases;
    for (const Damage& d : all)
      cases.push_back({d.what,
                       {"eval", put(concat("model", cases.size()), d.file), "--data", kData},
                       3,
                       d.reason});
    return cases;
  }
  static Cases passports(const std::vector<Damage>& all) {
    Cases cases;
    for (const Damage& d : all)
      cases.push_back({d.what,
                       {"verify", path("model.safetensors"), "--passport",
                        put(concat("passport", cases.size()), d.file)},
                       3,
                       d.reason});
    return cases;
  }
  /// A call that reads data sets: cifar10:FOLDER.
  static Arguments eval_with(const std::string& data) {
    return {"eval", path("model.safetensors"), "--data", data};
  }
  static Arguments train_with_triggers(const std::string& folder) {
    return {"train",      "--model",    "tiny",  "--data",    kData,      "--scheme", "deepipr-v3",
            "--triggers", path(folder), "--out", path("out"), "--epochs", "1"};
  }

  static Cases model_format() {
    const std::string good = text("model.safetensors");
    return models(damages(good, tensor_of(good, ".weight")));
  }
  static Cases passport_format() {
    const std::string good = text("owner.passport");
    return passports(damages(good, tensor_of(good, ".skey")));
  }
  static Cases model_content();
  static Cases passport_content();
  static Cases sealed();
  static Cases trigger_sets();
  static Cases data_sets();
  static Cases wrong_kinds();
};

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

Cases BadFiles::trigger_sets() {
  const std::string picture = png_file(pattern({32, 32}));
  const auto hash = [](const std::string& file) { return to_hex(sha256(bytes_of(file))); };
  const auto list = [](const std::string& file, const std::string& label, const std::string& h) {
    return R"({"format": "passnorm.triggers/1", "images": [{"file": ")" + file + R"(", "label": )" +
           label + R"(, "sha256": ")" + h + "\"}]}";
  };
  const std::string right = hash(picture);
  Cases cases;
  int next = 0;
  const auto folder = [&] { return concat("triggers", next++); };
  const auto manifest = [&](const char* what, const std::string& text, const char* reason) {
    const std::string in = folder();
    put(in + "/a.png", picture);
    put(in + "/manifest.json", text);
    cases.push_back({what, train_with_triggers(in), 3, reason});
    return in;
  };
  manifest("empty", "", "not valid JSON");
  manifest("cut off", list("a.png", "1", right).substr(0, 60), "not valid JSON");
  manifest("another format", R"({"format": "x", "images": []})", "is a \"x\" file");
  manifest("no pictures", R"({"format": "passnorm.triggers/1", "images": []})", "a list of 1 to");
  manifest("a path up", list("../triggers0/a.png", "1", right), "has the part");
  manifest("a path up, later", list("x/../../a.png", "1", right), "has the part");
  manifest("an absolute path", list("/etc/passwd", "1", right), "it is absolute");
  manifest("a zero byte in a path", list("a.png\\u0000", "1", right), "control characters");
  manifest("a label of 10", list("a.png", "10", right), "a whole number from 0 to 9");
  manifest("a label of -1", list("a.png", "-1", right), "a whole number from 0 to 9");
  manifest("a label in words", list("a.png", "\"cat\"", right), "a whole number from 0 to 9");
  manifest("another picture", list("a.png", "1", hash("x")), "its sha256 is");
  manifest("half a hash", list("a.png", "1", "abcd"), "64 hexadecimal digits");
  manifest("a picture that is missing", list("b.png", "1", right), "b.png: cannot read");
  const std::string linked = manifest("a link to the outside", list("l.png", "1", right),
                                      "is a link to a file outside the folder");
  std::filesystem::remove(path(linked + "/l.png"));
  std::filesystem::create_symlink("../triggers0/a.png", path(linked + "/l.png"));

  const auto broken = [&](const char* what, const std::string& file, const char* reason) {
    const std::string in = folder();
    put(in + "/a.png", file);
    put(in + "/manifest.json", list("a.png", "1", hash(file)));
    cases.push_back({what, train_with_triggers(in), 3, reason});
  };
  const std::string jpeg = jpeg_file(pattern({40, 40}));
  const std::vector<uint8_t> four(4 * 8 * 8, 90);
  broken("an empty picture", "", "the file is empty");
  broken("a text as picture", "picture\n", "neither JPEG nor PNG");
  broken("half a PNG", picture.substr(0, picture.size() / 2),
         "damaged PNG: the file ends too early");
  broken("a PNG with more behind it", picture + "x", "bytes after its end");
  broken("a PNG of 2^31 pixels", png_file(png_header({1 << 15, 1 << 16}, 8, 2), ""),
         "65536 x 32768");
  broken("half a JPEG", jpeg.substr(0, jpeg.size() / 2), "damaged JPEG");
  broken("a JPEG in four colours", jpeg_file({8, 8}, four.data(), TJPF_CMYK), "four-colour");

  const auto plain = [&](const char* what, const std::string& labels, const char* reason) {
    const std::string in = folder();
    put(in + "/pics/1.png", picture);
    put(in + "/labels-cifar.txt", labels);
    cases.push_back({what, train_with_triggers(in), 3, reason});
  };
  plain("no label", "", "0 labels for the 1 pictures");
  plain("a label too many", "1\n2\n", "2 labels for the 1 pictures");
  plain("label 10 of the plain form", "10\n", "labels-cifar.txt:1: label \"10\"");
  plain("a label that is no number", "cat\n", "labels-cifar.txt:1: label \"cat\"");
  cases.push_back({"no set", train_with_triggers("nowhere"), 3, "no trigger set"});
  return cases;
}

Cases BadFiles::data_sets() {
  const auto record = [](size_t labels) { return std::string(labels + 3072, '\1'); };
  const auto bad_label = [&](size_t labels, size_t at, uint8_t label) {
    std::string bytes = record(labels);
    bytes[at] = static_cast<char>(label);
    return bytes;
  };
  Cases cases;
  const auto ten = [&](const char* what, const std::string& file, const char* reason) {
    const std::string in = concat("ten", cases.size());
    put(in + "/test_batch.bin", file);
    cases.push_back({what, eval_with("cifar10:" + path(in)), 3, reason});
  };
  ten("empty", "", "the file is empty");
  ten("a byte", "x", "record 0 has only 1 of 3073 bytes");
  ten("cut off", record(1).substr(1), "record 0 has only 3072 of 3073 bytes");
  ten("longer than its records", record(1) + "x", "record 1 has only 1 of 3073 bytes");
  ten("label 10", bad_label(1, 0, 10), "record 0: label 10, expected 0 to 9");
  ten("of a hundred classes", record(2), "record 1 has only 1 of 3073 bytes");
  cases.push_back({"no folder", eval_with("cifar10:" + path("nowhere")), 3, "no cifar10 data"});
  cases.push_back({"a file as folder", eval_with("cifar10:" + path("phrase")), 3, "no cifar10"});
  cases.push_back(
      {"no folder of a hundred", eval_with("cifar100:" + path("nowhere")), 3, "no cifar100 data"});
  // Of the hundred classes by `train`: it reads both splits.
  const auto hundred = [&](const char* what, const std::string& train, const std::string& test,
                           const char* reason) {
    const std::string in = concat("hundred", cases.size());
    put(in + "/train.bin", train);
    put(in + "/test.bin", test);
    cases.push_back({what,
                     {"train", "--model", "tiny", "--data", "cifar100:" + path(in), "--out",
                      path("out"), "--batch", "1"},
                     3,
                     reason});
  };
  const std::string good = record(2);
  hundred("an empty training set", "", good, "train.bin: the file is empty");
  hundred("an empty test set", good, "", "test.bin: the file is empty");
  hundred("a training set cut off", good + good.substr(7), good, "record 1 has only 3067 of 3074");
  hundred("a test set cut off", good, good.substr(0, 3), "test.bin: record 0 has only 3 of 3074");
  hundred("a longer training set", good + "xy", good, "train.bin: record 1 has only 2 of 3074");
  hundred("label 100", bad_label(2, 1, 100), good, "train.bin: record 0: label 100, expected 0 to");
  hundred("coarse label 20", bad_label(2, 0, 20), good,
          "train.bin: record 0: label 20, expected 0");
  hundred("of ten classes", record(1), good, "train.bin: record 0 has only 3073 of 3074");
  return cases;
}

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
