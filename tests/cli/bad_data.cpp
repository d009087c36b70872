// Trigger sets and data sets.
#include "engine/io/crypto.hpp"
#include "tests/cli/bad_files.hpp"

namespace passnorm::test {

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
  plain("no label", "", "0 labels for the 1 ");
  plain("a label too many", "1\n2\n", "2 labels for the 1 ");
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
  const std::string picture = png_file(pattern({40, 33}));
  put("pictures/a/1.png", picture);
  put("pictures/a/2.png", picture.substr(0, picture.size() / 2));
  cases.push_back({"half a picture", eval_with("pictures:" + path("pictures")), 3, "damaged PNG"});
  cases.push_back(
      {"no folder of pictures", eval_with("pictures:" + path("nowhere")), 3, "cannot list"});
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

}  // namespace passnorm::test
