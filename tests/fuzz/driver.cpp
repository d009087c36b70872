// Feeds inputs to a target. With clang libFuzzer does so; elsewhere the corpus is replayed, and
// then a number of random changes of its files, the same in every run.
#include "tests/fuzz/fuzz.hpp"

#ifdef PASSNORM_LIBFUZZER

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  passnorm::fuzz::run({reinterpret_cast<const std::byte*>(data), size});
  return 0;
}

#else

#include <filesystem>
#include <string>

#include "engine/io/file.hpp"
#include "kernels/runtime/random.hpp"

namespace passnorm::fuzz {
namespace {

using Input = std::vector<std::byte>;

std::vector<Input> corpus_of(const std::string& folder) {
  std::vector<std::string> paths;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    paths.push_back(entry.path());
  std::ranges::sort(paths);
  std::vector<Input> corpus;
  for (const std::string& path : paths) corpus.push_back(read_file(path, 1 << 20));
  return corpus;
}

/// Random numbers one after another.
class Dice {
 public:
  explicit Dice(uint32_t stream) : random_(1, Purpose::kTest, stream) {}
  size_t below(size_t n) { return random_.below(next_++, static_cast<uint32_t>(n)); }

 private:
  Random random_;
  uint64_t next_ = 0;
};

/// One to four changes: a bit, a byte, a few bytes less, again, or of another input.
Input changed(const std::vector<Input>& corpus, Dice dice) {
  Input x = corpus[dice.below(corpus.size())];
  for (size_t changes = 1 + dice.below(4); changes-- > 0;) {
    if (x.empty()) x.push_back(std::byte{0});
    const auto at = static_cast<int64_t>(dice.below(x.size()));
    const auto n =
        static_cast<int64_t>(1 + dice.below(std::min<size_t>(16, x.size() - size_t(at))));
    const auto from = x.begin() + at;
    switch (dice.below(5)) {
      case 0:
        *from ^= std::byte{1} << dice.below(8);
        break;
      case 1:
        *from = static_cast<std::byte>(dice.below(256));
        break;
      case 2:
        x.erase(from, from + n);
        break;
      case 3: {
        const Input copy(from, from + n);
        x.insert(x.begin() + static_cast<int64_t>(dice.below(x.size())), copy.begin(), copy.end());
        break;
      }
      default: {
        const Input& other = corpus[dice.below(corpus.size())];
        if (other.empty()) break;
        const auto part = other.begin() + static_cast<int64_t>(dice.below(other.size()));
        x.resize(static_cast<size_t>(at));
        x.insert(x.end(), part, other.end());
      }
    }
  }
  return x;
}

}  // namespace
}  // namespace passnorm::fuzz

/// FOLDER of the corpus, COUNT of changed inputs.
int main(int argc, char** argv) {
  using namespace passnorm::fuzz;
  if (argc != 3) return 2;
  const std::vector<Input> corpus = corpus_of(argv[1]);
  for (const Input& input : corpus) run(input);
  const auto accepted_files = accepted;
  const auto count = static_cast<uint32_t>(std::stoul(argv[2]));
  for (uint32_t i = 0; i < count; ++i) run(changed(corpus, Dice(i)));
  std::printf("%zu files, %lld accepted; %u changed inputs, %lld accepted\n", corpus.size(),
              static_cast<long long>(accepted_files), count,
              static_cast<long long>(accepted - accepted_files));
  require(accepted_files > 0, "some file of the corpus is accepted");
  return 0;
}

#endif
