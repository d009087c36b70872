// A run that was stopped, killed and resumed ends like one that ran through, to the bit.
#include <cmath>
#include <map>

#include "tests/train/training.hpp"

namespace passnorm::train {
namespace {

/// All of a report but its times.
std::vector<double> numbers(const EpochReport& e) {
  const Progress& p = e.train;
  std::vector<double> v{double(p.epoch), double(p.step),         double(p.steps),
                        double(p.lr),    p.loss_public,          p.loss_passport,
                        p.sign_loss,     p.accuracy_public,      p.accuracy_passport,
                        p.bits,          double(e.skipped_steps)};
  v.insert(v.end(), e.bits.begin(), e.bits.end());
  for (const auto* evaluation : {&e.test, &e.triggers})
    if (*evaluation)
      for (const auto& x :
           {(*evaluation)->public_accuracy, (*evaluation)->passport_accuracy,
            (*evaluation)->public_loss, (*evaluation)->passport_loss,
            (*evaluation)->public_class_accuracy, (*evaluation)->passport_class_accuracy})
        v.push_back(x.value_or(-1));
  return v;
}

/// What a run leaves.
struct Result {
  std::vector<float> weights, buffers;
  std::vector<OwnedTensor> lane_state;
  std::map<int64_t, std::vector<double>> epochs;  ///< a later report of an epoch replaces the first
  std::vector<double> returned;

  void finish(Training& run, const EpochReport& last) {
    weights = run.weights();
    buffers = run.buffers();
    returned = numbers(last);
    if (!run.passport) return;
    models::take_lane_state(*run.model, *run.passport);
    lane_state = run.passport->lane_state;
  }
};

void expect_same(const Result& a, const Result& b) {
  EXPECT_TRUE(test::same_numbers(a.weights, b.weights));
  EXPECT_TRUE(test::same_numbers(a.buffers, b.buffers));
  EXPECT_EQ(a.epochs, b.epochs);
  EXPECT_EQ(a.returned, b.returned);
  ASSERT_EQ(a.lane_state.size(), b.lane_state.size());
  for (size_t i = 0; i < a.lane_state.size(); ++i) {
    EXPECT_EQ(a.lane_state[i].name, b.lane_state[i].name);
    EXPECT_TRUE(test::same_numbers(a.lane_state[i].values, b.lane_state[i].values));
  }
}

struct Case {
  const char* scheme;
  bool adam, triggers, best;
  DType precision = DType::kF32;
  bool clouds = false;
};
void PrintTo(const Case& c, std::ostream* out) {
  std::string scheme = c.scheme;
  std::ranges::replace(scheme, '-', '_');
  *out << scheme << (c.adam ? "_adam" : "_sgd") << (c.triggers ? "_triggers" : "")
       << (c.best ? "_best" : "") << "_" << name_of(c.precision) << (c.clouds ? "_clouds" : "");
}

class Resume : public testing::TestWithParam<Case> {
 protected:
  Resume()
      : data_(GetParam().clouds ? cloud_set(48) : train_set(48)),
        test_(data_),
        triggers_(GetParam().clouds ? cloud_set(7) : trigger_images(7, data_)) {
    options_ = quick(3, 8);  // 6 steps
    options_.flip = true;
    options_.precision = GetParam().precision;
    options_.keep_best = GetParam().best;
    if (GetParam().adam)
      options_.optimizer = {.kind = OptimizerOptions::Kind::kAdam, .lr = 1e-3f};
    else
      options_.schedule = Schedule::parse("warmup:1+step:1:0.5");
  }
  static Training training() {
    return GetParam().clouds ? Training::of_clouds(GetParam().scheme) : Training(GetParam().scheme);
  }
  FitData data() const { return {data_, &test_, GetParam().triggers ? &triggers_ : nullptr}; }

  Result uninterrupted() const {
    Training run = training();
    Result r;
    r.finish(run, run.fit(data(), options_));
    for (const EpochReport& e : run.epochs) r.epochs[e.train.epoch] = numbers(e);
    return r;
  }

  struct Killed {};

  /// Each stretch ends after a few steps: by request, or as if the process was killed; then some
  /// newest files are damaged.
  Result interrupted(uint64_t seed) const {
    const Random random(seed, Purpose::kTest);
    uint64_t k = 0;
    const test::TemporaryFolder folder;
    FitOptions o = options_;
    o.checkpoint = {.folder = folder.path("checkpoints")};
    Result r;
    for (int stretch = 0; stretch < 40; ++stretch) {
      Training run = training();
      o.checkpoint.resume = stretch > 0 && !folder_empty(o.checkpoint.folder);
      if (o.checkpoint.resume) {  // nothing but the checkpoint may decide
        const ParameterSet& set = run.model->parameters();
        for (const Tensor* t : {&set.weights(), &set.buffer_arena()})
          t->copy_from<float>(run.model->stream(),
                              std::vector<float>(static_cast<size_t>(t->size()), NAN));
      }
      const bool kill = random.below(k++, 3) == 0;
      int64_t left = 1 + random.below(k++, 6);
      if (stretch >= 30) left = 1000;
      run.stop = [&] {
        if (--left > 0) return false;
        if (kill) throw Killed();
        return true;
      };
      bool finished = false;
      try {
        r.finish(run, run.fit(data(), o));
        finished = true;
      } catch (const Killed&) {
      } catch (const Error& e) {
        EXPECT_EQ(e.fault(), Fault::kStopped) << e.what();
        if (e.fault() != Fault::kStopped) return r;
      }
      for (const EpochReport& e : run.epochs) r.epochs[e.train.epoch] = numbers(e);
      if (finished) return r;
      const uint32_t how = random.below(k++, 4), where = random.word(k++);
      damage(o.checkpoint.folder, how, where);
    }
    ADD_FAILURE() << "the run never ends";
    return r;
  }

  static std::vector<std::string> files(const std::string& folder) {
    std::vector<std::string> found;
    std::error_code missing;
    for (const auto& entry : std::filesystem::directory_iterator(folder, missing))
      found.push_back(entry.path());
    std::ranges::sort(found);  // epoch-0001.s sorts behind epoch-0001-s
    return found;
  }
  static bool folder_empty(const std::string& folder) { return files(folder).empty(); }

  /// how 0: truncates the newest file, 1: flips a bit of it.
  static void damage(const std::string& folder, uint32_t how, uint32_t where) {
    std::vector<std::string> all = files(folder);
    if (all.size() < 2 || how > 1) return;
    const auto age = [](const std::string& f) { return std::filesystem::last_write_time(f); };
    const std::string newest = *std::ranges::max_element(all, {}, age);
    auto bytes = read_file(newest, 1 << 30);
    if (how == 0)
      bytes.resize(where % bytes.size());
    else
      bytes[where % bytes.size()] ^= std::byte{16};
    write_file_atomic(newest, bytes);
  }

  Dataset data_, test_, triggers_;
  FitOptions options_;
};

TEST_P(Resume, EndsLikeOneThatRanThrough) {
  const Result expected = uninterrupted();
  ASSERT_EQ(expected.epochs.size(), 3u);
  for (const uint64_t seed : {1, 2}) expect_same(interrupted(seed), expected);
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const char* scheme : {"none", "deepipr-v2", "pan"})
    for (const bool adam : {false, true})
      for (const bool triggers : {false, true})
        all.push_back({scheme, adam, triggers, adam != triggers});
  all.push_back({"pan", false, true, true, DType::kBF16});
  all.push_back({"pan", true, false, false, DType::kF16});
  return all;
}
INSTANTIATE_TEST_SUITE_P(Runs, Resume, testing::ValuesIn(cases()),
                         testing::PrintToStringParamName());

/// 20 of 20, each stopped or killed many times.
class ResumeFull : public Resume {};
INSTANTIATE_TEST_SUITE_P(Clouds, ResumeFull,
                         testing::Values(Case{"pan", true, true, true, DType::kF32, true}),
                         testing::PrintToStringParamName());
TEST_P(ResumeFull, TwentyOfTwenty) {
  const Result expected = uninterrupted();
  for (uint64_t seed = 100; seed < 120; ++seed) expect_same(interrupted(seed), expected);
}
INSTANTIATE_TEST_SUITE_P(Runs, ResumeFull, testing::ValuesIn(cases()),
                         testing::PrintToStringParamName());

FitOptions with_folder(const test::TemporaryFolder& folder, int64_t epochs = 2) {
  FitOptions o = quick(epochs, 8);
  o.checkpoint.folder = folder.path("checkpoints");
  return o;
}

TEST(Checkpoints, AreWrittenAfterEveryEpochAndOnRequest) {
  const test::TemporaryFolder folder;
  FitOptions o = with_folder(folder);
  const Dataset data = train_set(32);  // 4 steps
  Training run("pan");
  int64_t steps = 0;
  run.stop = [&] { return ++steps == 7; };
  const std::string text = test::refusal(Fault::kStopped, [&] { run.fit({data}, o); });
  EXPECT_CONTAINS(text, "step 3 of epoch 2");
  EXPECT_CONTAINS(text, "epoch-0001-step-000003.safetensors");
  EXPECT_EQ(steps, 7);
  const auto names = [&] {
    std::vector<std::string> found;
    for (const auto& entry : std::filesystem::directory_iterator(o.checkpoint.folder))
      found.push_back(entry.path().filename());
    std::ranges::sort(found);
    return found;
  };
  EXPECT_EQ(names(), (std::vector<std::string>{"epoch-0001-step-000003.safetensors",
                                               "epoch-0001.safetensors"}));
  // Not resumed, the run would destroy the other.
  EXPECT_CONTAINS(test::refusal(Fault::kUsage, [&] { Training("pan").fit({data}, o); }),
                  "already holds checkpoints");

  o.checkpoint.resume = true;
  Training second("pan");
  const EpochReport last = second.fit({data}, o);
  ASSERT_EQ(second.notes.size(), 1u);
  EXPECT_CONTAINS(second.notes[0], "resumed from");
  ASSERT_EQ(second.epochs.size(), 1u);
  EXPECT_EQ(second.epochs[0].train.epoch, 1);
  EXPECT_EQ(second.progress.size(), 1u);
  EXPECT_EQ(names(), (std::vector<std::string>{"epoch-0001-step-000003.safetensors",
                                               "epoch-0002.safetensors"}));
  // A finished run resumes, too: nothing is trained, and the report is there again.
  Training third("pan");
  EXPECT_EQ(numbers(third.fit({data}, o)), numbers(last));
  EXPECT_TRUE(third.epochs.empty());
  EXPECT_EQ(third.weights(), second.weights());
}

/// Bad steps are counted across the stop.
TEST(Checkpoints, GivesUpAsIfItHadNotStopped) {
  const test::TemporaryFolder folder;
  FitOptions o = with_folder(folder);
  o.max_skipped = 4;
  const Dataset data = train_set(64);
  const auto spoil = [](Training& run) {
    const Tensor& bias = run.model->parameters().find("linear.bias")->var.value;
    bias.copy_from<float>(run.model->stream(), std::vector<float>(10, NAN));
  };
  Training run("none");
  int64_t steps = 0;
  run.stop = [&] {
    if (++steps == 2) spoil(run);
    return steps == 5;  // two good steps, three bad ones
  };
  test::refusal(Fault::kStopped, [&] { run.fit({data}, o); });
  o.checkpoint.resume = true;
  Training second("none");
  EXPECT_CONTAINS(test::refusal(Fault::kNumerics, [&] { second.fit({data}, o); }),
                  "4 steps in a row, up to step 6 of epoch 1");
}

TEST(Checkpoints, StopWithoutAFolder) {
  Training run("none");
  run.stop = [] { return true; };
  const std::string text =
      test::refusal(Fault::kStopped, [&] { run.fit({train_set(32)}, quick(1, 8)); });
  EXPECT_CONTAINS(text, "step 1 of epoch 1");
  FitOptions o = quick(1, 8);
  o.checkpoint.resume = true;
  EXPECT_CONTAINS(test::refusal(Fault::kUsage, [&] { run.fit({train_set(32)}, o); }),
                  "checkpoint folder");
}

TEST(Checkpoints, OfOtherSettingsAreRefused) {
  const test::TemporaryFolder folder;
  const FitOptions o = with_folder(folder, 1);
  const Dataset data = train_set(16);
  Training("pan").fit({data}, o);
  const auto refusal_of = [&](const char* scheme, const FitData& sets, auto change) {
    FitOptions other = o;
    other.checkpoint.resume = true;
    change(other);
    return test::refusal(Fault::kUsage, [&] { Training(scheme).fit(sets, other); });
  };
  const auto nothing = [](FitOptions&) {};
  EXPECT_CONTAINS(refusal_of("deepipr-v2", {data}, nothing), "model was");
  EXPECT_CONTAINS(refusal_of("none", {data}, nothing), "model was");
  Dataset changed = data;
  changed.images[5] ^= 1;
  EXPECT_CONTAINS(refusal_of("pan", {changed}, nothing), "training data was");
  changed = data;
  changed.labels[3] = (changed.labels[3] + 1) % 10;
  EXPECT_CONTAINS(refusal_of("pan", {changed}, nothing), "training data was");
  EXPECT_CONTAINS(refusal_of("pan", {data, &data}, nothing), "test data was none");
  EXPECT_CONTAINS(refusal_of("pan", {data, nullptr, &data}, nothing), "trigger");
  const auto of_option = [&](auto change) { return refusal_of("pan", {data}, change); };
  EXPECT_CONTAINS(of_option([](FitOptions& f) { f.epochs = 2; }), "epochs was 1, now 2");
  EXPECT_CONTAINS(of_option([](FitOptions& f) { f.batch = 4; }), "batch was 8, now 4");
  EXPECT_CONTAINS(of_option([](FitOptions& f) { f.precision = DType::kBF16; }),
                  "precision was f32, now bf16");
  EXPECT_CONTAINS(of_option([](FitOptions& f) { f.optimizer.lr = 0.100001f; }),
                  "lr was 0.1, now 0.100001");
  EXPECT_CONTAINS(
      of_option([](FitOptions& f) { f.optimizer.kind = OptimizerOptions::Kind::kAdam; }), "adam");
  EXPECT_CONTAINS(of_option([](FitOptions& f) { f.schedule = Schedule::parse("cosine"); }),
                  "schedule was onecycle, now cosine");
  EXPECT_CONTAINS(of_option([](FitOptions& f) { f.loss.sign.alpha = 1; }), "sign-loss");
  EXPECT_CONTAINS(of_option([](FitOptions& f) { f.clip_norm = 0; }), "clip-norm was 2, now 0");
  EXPECT_CONTAINS(of_option([](FitOptions& f) { f.crop_pad = 0; }), "crop-pad");
  EXPECT_CONTAINS(of_option([](FitOptions& f) { f.flip = true; }), "flip was no, now yes");
  EXPECT_CONTAINS(of_option([](FitOptions& f) { f.seed = 2; }), "seed was 1, now 2");
  EXPECT_CONTAINS(of_option([](FitOptions& f) { f.checkpoint.fingerprint = "x"; }),
                  "settings was none, now x");
  Training stranger("pan");
  stranger.passport =
      Passport::random(stranger.model->sites(), test::secret(2), Signature::from_text("owner"));
  FitOptions resumed = o;
  resumed.checkpoint.resume = true;
  EXPECT_CONTAINS(test::refusal(Fault::kUsage, [&] { stranger.fit({data}, resumed); }),
                  "passport was");
  Training("pan").fit({data}, resumed);
}

}  // namespace
}  // namespace passnorm::train
