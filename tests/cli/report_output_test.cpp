// passnorm report: which files it writes over.
#include <sys/stat.h>

#include "tests/cli/report.hpp"

namespace passnorm::test {
namespace {

constexpr const char* kOptions[] = {"--out", "--json", "--markdown"};

class ReportOutput : public Report {
 protected:
  void SetUp() override { write("d/attack-prune.json", prune()); }

  /// With `file` for one option and names that are free for the others.
  Finished into(const std::string& option, const std::string& file) {
    std::vector<std::string> arguments = {"report", path("d")};
    for (const char* o : kOptions)
      arguments.insert(arguments.end(), {o, path(o == option ? file : concat("free", o))});
    return passnorm(arguments);
  }
  std::string content(const std::string& file) const {
    return std::string(text_of(read_file(path(file), 1 << 26)));
  }
  size_t files() const {
    return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(path("")), {}));
  }
};

TEST_F(ReportOutput, NothingButAnEarlierReportIsReplaced) {
  report({"d"});  // page.html, page.json, page.md
  const std::string page = content("page.html"), json = content("page.json"),
                    tables = content("page.md");
  const struct {
    const char* name;
    std::string text;
    const char* replaced_by;
  } rows[] = {{"model.safetensors", std::string(8, '\0') + "{}", ""},
              {"owner.passport", "PASSPORT" + std::string(2000, '\xff'), ""},
              {"verify.json", verification().dump(), ""},
              {"attack.json", prune().dump(1), ""},
              {"notes.md", "# Mine\n\n" + tables, ""},
              {"mine.html", "<!DOCTYPE html>\n<html><title>Mine</title></html>\n" + page, ""},
              {"page.txt", page, "--out"},
              {"json.txt", json, "--json"},
              {"tables.txt", tables, "--markdown"}};
  for (const auto& row : rows) {
    folder_.write(row.name, row.text);
    for (const char* option : kOptions) {
      if (option == std::string(row.replaced_by)) continue;
      const size_t before = files();
      const Finished f = into(option, row.name);
      EXPECT_TRUE(fails_with(2, f)) << option << " " << row.name;
      EXPECT_CONTAINS(f.err, concat(option, " ", path(row.name), ": exists and is not "));
      EXPECT_EQ(std::ranges::count(f.err, '\n'), 1);
      EXPECT_EQ(content(row.name), row.text);
      EXPECT_EQ(files(), before) << "nothing else is written";
    }
  }
  for (const auto& row : rows) {
    if (row.replaced_by == std::string()) continue;
    folder_.write(row.name, row.text + " ");
    EXPECT_EQ(into(row.replaced_by, row.name).code, 0) << row.name;
    EXPECT_EQ(content(row.name), row.text);
  }
}

TEST_F(ReportOutput, AnEmptyFileIsReplacedAndWhatIsNoFileIsNot) {
  folder_.write("empty", "");
  EXPECT_EQ(into("--out", "empty").code, 0);
  EXPECT_TRUE(content("empty").starts_with("<!DOCTYPE html>"));
  ASSERT_EQ(::mkfifo(path("pipe").c_str(), 0600), 0);
  for (const char* name : {"pipe", "d"})
    for (const char* option : kOptions) EXPECT_TRUE(fails_with(2, into(option, name))) << name;
  EXPECT_TRUE(std::filesystem::is_fifo(path("pipe")));
}

TEST_F(ReportOutput, EachFileIsOneOfItsOwn) {
  const Finished f = passnorm({"report", path("d"), "--out", path("a"), "--json", path("d/../a")});
  EXPECT_TRUE(fails_with(2, f));
  EXPECT_CONTAINS(f.err, "--out and --json: two files are needed");
  EXPECT_FALSE(std::filesystem::exists(path("a")));
}

}  // namespace
}  // namespace passnorm::test
