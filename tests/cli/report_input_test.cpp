// passnorm report: nothing that is in the files gets out of its place, and what cannot be read is
// refused in one line.
#include "tests/cli/report.hpp"

namespace passnorm::test {
namespace {

TEST_F(Report, TextStaysText) {
  const std::string bad = "<script>alert(1)</script>";
  Json a =
      attack("prune", Json::array({point(0, claim(256, accuracy(0.8, 0.8), "supported", bad)),
                                   point(0.5, claim(256, accuracy(0.8, 0.8), "supported", bad),
                                         claim(100, accuracy(0.1, 0.1), "not supported", bad))}));
  for (const char* key : {"attack", "description", "source", "axis", "data"})
    a[key] = "\"><img src=x onerror='alert(1)'>&amp;\x1b[31m";
  a["settings"] = {{bad, bad}};
  a["chain"] = Json::array({bad});
  a["model"]["architecture"] = a["model"]["scheme"] = a["model"]["norm"] = bad;
  a["model"]["sha256"] = bad;
  a["model"]["sites"][0]["name"] = bad;
  a["points"][1]["metrics"] = {{bad, 1.5}};
  write("<b>folder/attack-x.json", a);
  const Made m = report({"<b>folder"});
  expect_sound(m.page);
  EXPECT_CONTAINS(m.page, "&lt;script&gt;alert(1)&lt;/script&gt;");
  EXPECT_CONTAINS(m.page, "&lt;b&gt;folder");
  EXPECT_CONTAINS(m.page, "&amp;amp;");
  EXPECT_EQ(m.page.find('\x1b'), std::string::npos);
  EXPECT_EQ(m.json.at("runs")[0].at("attacks")[0].at("document"), a);
  EXPECT_EQ(m.tables.find(bad), std::string::npos);
  EXPECT_EQ(m.tables.find('\x1b'), std::string::npos);
  EXPECT_CONTAINS(m.tables, "\\<script\\>alert(1)\\</script\\>");
}

TEST_F(Report, ASeedThatIsASecretIsNotShown) {
  write_run("run");
  const Made hidden = report({"run"});
  EXPECT_EQ(hidden.page.find("8675309"), std::string::npos);
  EXPECT_EQ(hidden.json.dump().find("8675309"), std::string::npos);
  EXPECT_CONTAINS(hidden.page, "the passport follows from it");
  EXPECT_CONTAINS(report({"run"}, {"--with-seeds"}).page, "8675309");
  write_run("run", "pan", "random");  // the passport does not follow from this one
  EXPECT_CONTAINS(report({"run"}).page, "8675309");
  write_run("run", "none");
  EXPECT_CONTAINS(report({"run"}).page, "8675309");
}

TEST_F(Report, RefusesWhatItCannotRead) {
  const auto with = [](const char* place, Json value) {
    Json a = prune();
    a[Json::json_pointer(place)] = std::move(value);
    return a.dump();
  };
  const auto without = [](const char* parent, const char* key) {
    Json a = prune();
    a[Json::json_pointer(parent)].erase(key);
    return a.dump();
  };
  const auto chained = [](Json first) {
    Json a = prune();
    a["chain"] = Json::array({"prune"});
    a["links"] = {std::move(first), {{"attack", "prune"}, {"settings", Json::object()}}};
    return a.dump();
  };
  const struct {
    std::string text;
    const char* said;
  } rows[] = {
      {"", "JSON"},
      {"{\"format\": \"passnorm.attack/1\"", "JSON"},
      {"[]", "an object was expected, not array"},
      {with("/format", "passnorm.attack/2"), "format: passnorm.attack/1 was expected"},
      {without("", "points"), "the key \"points\" is missing"},
      {with("/points", Json::array()), "points: there are none"},
      {with("/points", 5), "points: an array was expected, not number"},
      {with("/points/1/x", "0.5"), "points[1].x: a number was expected, not string"},
      {with("/points/1/x", 1e200), "points[1].x: a number from"},
      {without("/points/2/owner", "log2_p"), "points[2].owner: the key \"log2_p\" is missing"},
      {with("/points/2/owner/log2_p", 3), "points[2].owner.log2_p: a number from"},
      {with("/points/2/owner/bits/matched", 257), "points[2].owner.bits.matched: a whole number"},
      {with("/points/2/owner/bits/total", -1), "points[2].owner.bits.total: a whole number"},
      {with("/points/2/owner/bits/matched", 1.5), "matched: a whole number"},
      {with("/points/2/owner/bits/matched", uint64_t{1} << 63), "matched: a whole number"},
      {with("/points/2/owner/verdict", "proven"), "unknown verdict \"proven\""},
      {with("/points/2/owner/bits_bound", 1), "bits_bound: true or false was expected"},
      {with("/points/2/owner/accuracy/public", 1.01), "accuracy.public: a number from 0 to 1"},
      {with("/points/2/forger", "Mallory"), "points[2].forger: an object was expected"},
      {with("/points/2/metrics", Json::object({{"a\nb", "c"}})),
       "points[2].metrics.a\\x0ab: a number"},
      {with("/settings/rates", 1), "settings.rates: a text was expected, not number"},
      {with("/seed", -1), "seed: a whole number"},
      {with("/test_images", -1), "test_images: a whole number"},
      {with("/model", nullptr), "model: an object was expected, not null"},
      {with("/chain", "prune"), "chain: an array was expected"},
      {with("/batch", 0), "batch: a whole number"},
      {with("/other_data", 1), "other_data: a text was expected"},
      {with("/links", Json::array()), "links: 1 were expected"},
      {chained({{"attack", "quantise"}, {"settings", Json::object()}}),
       "links[0].attack: is not that of the chain"},
      {chained({{"attack", "prune"}}), "links[0]: the key \"settings\" is missing"},
  };
  for (const auto& row : rows) {
    const std::string file = folder_.write("d/attack-a.json", row.text);
    const Finished f = passnorm({"report", path("d"), "--out", path("page.html")});
    EXPECT_TRUE(fails_with(3, f)) << row.text.substr(0, 80);
    EXPECT_CONTAINS(f.err, file);
    EXPECT_CONTAINS(f.err, row.said);
    EXPECT_FALSE(std::filesystem::exists(path("page.html")));
  }

  const struct {
    const char *file, *text, *said;
  } parts[] = {
      {"metrics.jsonl", "{\"epoch\": 1}\n{\"epoch\": \"2\"}\n", "metrics.jsonl:2: epoch: a whole"},
      {"metrics.jsonl", "{\"epoch\": 1, \"bits\": 2}\n", "bits: a number from 0 to 1"},
      {"metrics.jsonl", "{\"epoch\": 1, \"sites\": {\"conv3\": 2}}\n", "sites.conv3: a number"},
      {"metrics.jsonl", "{\"epoch\": 1}\n\n", "metrics.jsonl:2"},
      {"config.toml", "model = \n", "config.toml:1"},
      {"model.safetensors", "no model", "model.safetensors"},
      {"verify.json", "{\"verdict\": \"supported\"}", "the key \"bits_bound\" is missing"},
  };
  for (const auto& part : parts) {
    const TemporaryFolder run;
    run.write(part.file, part.text);
    const Finished f = passnorm({"report", run.path(), "--out", path("page.html")});
    EXPECT_TRUE(fails_with(3, f)) << part.file << ": " << part.text;
    EXPECT_CONTAINS(f.err, part.said);
  }
  std::filesystem::create_directory(path("empty"));
  for (const char* folder : {"empty", "none", "d/attack-a.json"})
    EXPECT_TRUE(fails_with(3, passnorm({"report", path(folder), "--out", path("page.html")})));
}

TEST_F(Report, RefusesWhatItIsNotMadeFor) {
  write("a/attack-prune.json", prune());
  EXPECT_TRUE(fails_with(2, passnorm({"report", path("a")})));
  EXPECT_TRUE(fails_with(2, passnorm({"report", "--out", path("page.html")})));
  EXPECT_TRUE(
      fails_with(2, passnorm({"report", path("a"), path("a/."), "--out", path("page.html")})));
  std::vector<std::string> many = {"report", "--out", path("page.html")};
  for (const char* name : {"0", "1", "2", "3", "4", "5", "6", "7"}) {
    Json a = prune(name);
    a["model"]["architecture"] = name;
    write(concat("many", name, "/attack-prune.json"), a);
    many.push_back(path(concat("many", name)));
  }
  const Finished f = passnorm(many);
  EXPECT_TRUE(fails_with(2, f));
  EXPECT_CONTAINS(f.err, "at most 7");
  EXPECT_TRUE(fails_with(3, passnorm({"report", path("a"), "--out", path("none/page.html")})));
}

}  // namespace
}  // namespace passnorm::test
