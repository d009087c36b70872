#include "cli/published.hpp"

#include <array>

#include "kernels/runtime/check.hpp"

namespace passnorm::cli {
namespace {

using enum Published;

constexpr std::string_view kDeepIprPaper = "Fan, Ng, Chan, NeurIPS 2019, arXiv 1909.07830",
                           kDeepIprAbstract = "Fan, Ng, Chan, arXiv 1905.04368, abstract",
                           kDeepIprSlides = "Fan, Ng, Chan, NeurIPS 2019, the authors' slides",
                           kDeepIprPoster =
                               "Fan, Ng, Chan, NeurIPS 2019, the authors' poster; CIFAR-100, "
                               "network not stated",
                           kPanPaper = "Zhang et al., NeurIPS 2020, arXiv 2010.15824",
                           kPanScript =
                               "Zhang et al., NeurIPS 2020, plotting script in the "
                               "authors' repository; network and data not stated",
                           kChen =
                               "Chen, Tian, Chen, Zhou, CVPR 2023, arXiv 2303.11595; networks "
                               "trained by them",
                           kCui =
                               "Cui, Meng, Xu, Chang, CVPR 2024, arXiv 2404.02889, as an index of "
                               "papers lists it; network not stated";

/// A network of Chen et al.
constexpr PublishedFigure trained(std::string_view id, std::string_view network,
                                  std::string_view data, int64_t layers, std::string_view value) {
  return {.id = id,
          .what = "accuracy of a network with passports",
          .network = network,
          .data = data,
          .layers = layers,
          .value = value,
          .source = kChen,
          .ours = Ours::kAccuracy};
}

/// What they did to it.
struct Theft {
  std::string_view what, attack;
  Ours ours = Ours::kBestStolen;
};
constexpr Theft
    kPlain = {"scale and shift trained again from 1 and 0, a tenth of the data: accuracy",
              "fake2 init=ones share=0.1"},
    kCerb = {"CERB, a tenth of the data: accuracy", "erb block=cerb share=0.1"},
    kIerb = {"IERB, a tenth of the data: accuracy", "erb block=ierb share=0.1"},
    kCerbBits = {"CERB, a tenth of the data: accuracy, bits that differ from the owner's",
                 "erb block=cerb share=0.1", Ours::kBestStolenBits},
    kIerbBits = {"IERB, a tenth of the data: accuracy, bits that differ from the owner's",
                 "erb block=ierb share=0.1", Ours::kBestStolenBits},
    kPlain2 = {"scale and shift trained again from 1 and 0, 2% of the data: accuracy",
               "fake2 init=ones share=0.02"},
    kCerb2 = {"CERB, 2% of the data: accuracy", "erb block=cerb share=0.02"},
    kIerb2 = {"IERB, 2% of the data: accuracy", "erb block=ierb share=0.02"},
    kCerbNew =
        {"CERB with 10000 images that the owner did not train on: accuracy, bits that "
         "differ from the owner's",
         "", Ours::kNothing},
    kCerbFew = {
        "CERB with 2000 images that the owner did not train on: accuracy, bits that "
        "differ from the owner's",
        "", Ours::kNothing};

constexpr PublishedFigure attacked(std::string_view id, const Theft& theft,
                                   std::string_view network, std::string_view data, int64_t layers,
                                   std::string_view value) {
  return {.id = id,
          .what = theft.what,
          .network = network,
          .data = data,
          .layers = layers,
          .value = value,
          .source = kChen,
          .ours = theft.ours,
          .attack = theft.attack};
}

constexpr PublishedFigure kFigures[] = {
    {.id = "deepipr-tables",
     .what = "accuracy, forged passports, fine-tuning and pruning: the paper's tables",
     .mark = kNotFound,
     .source = kDeepIprPaper},
    {.id = "pan-tables",
     .what = "accuracy, forged passports, fine-tuning and pruning: the paper's tables",
     .mark = kNotFound,
     .source = kPanPaper},
    {.id = "pan-3d-tables",
     .what = "the same on point clouds",
     .network = "pointnet",
     .mark = kNotFound,
     .source = kPanPaper},

    {.id = "deepipr-ordinary",
     .what = "accuracy of an ordinary network",
     .network = "resnet18",
     .data = "cifar10",
     .value = "about 95%",
     .mark = kApproximate,
     .source = kDeepIprSlides,
     .ours = Ours::kOrdinaryAccuracy},
    {.id = "deepipr-valid",
     .what = "accuracy with the valid passport",
     .scheme = "deepipr",
     .network = "resnet18",
     .data = "cifar10",
     .value = "about 95%",
     .mark = kApproximate,
     .source = kDeepIprSlides,
     .ours = Ours::kPassportAccuracy},
    {.id = "deepipr-poster-valid",
     .what = "accuracy with the valid passport",
     .scheme = "deepipr",
     .data = "cifar100",
     .value = "68.7%",
     .mark = kApproximate,
     .source = kDeepIprPoster,
     .ours = Ours::kPassportAccuracy},
    {.id = "pan-valid",
     .what = "accuracy with the valid passport, PAN",
     .value = "63.95%",
     .source = kPanScript},
    {.id = "pan-baseline-valid",
     .what = "accuracy with the valid passport, DeepIPR",
     .value = "59.80%",
     .source = kPanScript},
    {.id = "steganographic",
     .what = "accuracy of the released network, Steganographic Passport",
     .data = "cifar10",
     .value = "94.89%",
     .source = kCui},

    trained("alexnet-1", "alexnet", "cifar10", 1, "90.20%"),
    trained("alexnet-2", "alexnet", "cifar10", 2, "88.73%"),
    trained("alexnet-3", "alexnet", "cifar10", 3, "90.08%"),
    trained("alexnet-4", "alexnet", "cifar10", 4, "88.25%"),
    trained("alexnet-5", "alexnet", "cifar10", 5, "88.88%"),
    trained("resnet18-1", "resnet18", "cifar10", 1, "94.89%"),
    trained("resnet18-3", "resnet18", "cifar10", 3, "94.80%"),
    trained("resnet18-4", "resnet18", "cifar10", 4, "94.67%"),
    trained("resnet18-5", "resnet18", "cifar10", 5, "94.39%"),
    trained("resnet18-6", "resnet18", "cifar10", 6, "94.45%"),
    trained("resnet18-8", "resnet18", "cifar10", 8, "94.41%"),
    trained("resnet18-10", "resnet18", "cifar10", 10, "94.30%"),
    trained("resnet18-12", "resnet18", "cifar10", 12, "94.96%"),
    trained("resnet18-14", "resnet18", "cifar10", 14, "94.68%"),
    trained("resnet18-18", "resnet18", "cifar10", 18, "94.81%"),
    trained("resnet18-10-cifar100", "resnet18", "cifar100", 10, "75.05%"),
    trained("resnet18-3-caltech101", "resnet18", "caltech101", 3, "72.54%"),
    trained("resnet18-5-caltech101", "resnet18", "caltech101", 5, "68.30%"),
    trained("resnet18-8-caltech101", "resnet18", "caltech101", 8, "72.49%"),
    trained("resnet18-10-caltech101", "resnet18", "caltech101", 10, "70.90%"),
    trained("resnet18-5-caltech256", "resnet18", "caltech256", 5, "54.34%"),
    trained("resnet18-7-caltech256", "resnet18", "caltech256", 7, "53.95%"),
    trained("resnet18-10-caltech256", "resnet18", "caltech256", 10, "55.43%"),

    {.id = "unauthorised",
     .what = "what use without the passport costs",
     .scheme = "deepipr",
     .data = "cifar10",
     .value = "33 to 82 points",
     .source = kDeepIprAbstract,
     .ours = Ours::kStrangersDrop},
    {.id = "fake1-most",
     .what = "random passports (fake1): the best",
     .scheme = "deepipr",
     .network = "resnet18",
     .data = "cifar10",
     .value = "at most 35%",
     .source = kDeepIprSlides,
     .ours = Ours::kBestStranger},
    {.id = "fake1-histogram",
     .what = "random passports (fake1): how they spread",
     .network = "resnet18",
     .data = "cifar10",
     .value = "10% of them at 8 to 10%, 55% at 10 to 12%, the tail up to 36%",
     .mark = kApproximate,
     .source = kDeepIprSlides},
    {.id = "fake2-most",
     .what = "scale and shift trained again from signs (fake2): the best",
     .scheme = "deepipr",
     .network = "resnet18",
     .data = "cifar10",
     .value = "at most 70%",
     .source = kDeepIprSlides,
     .ours = Ours::kBestStolen,
     .attack = "fake2 init=signs flips=0.5 share=1"},
    {.id = "fake2-histogram",
     .what = "scale and shift trained again from signs (fake2): how runs spread",
     .network = "resnet18",
     .data = "cifar10",
     .value = "80% of them at 66 to 68%, 20% at 68 to 70%",
     .mark = kApproximate,
     .source = kDeepIprSlides},

    // A table of accuracies has 90.20% for this network, with 1 layer; the text says 5.
    attacked("plain-alexnet", kPlain, "alexnet", "cifar10", 0, "83.62% of 90.20%"),
    attacked("cerb-alexnet", kCerb, "alexnet", "cifar10", 0, "88.16% of 90.20%"),
    attacked("ierb-alexnet", kIerb, "alexnet", "cifar10", 0, "87.30% of 90.20%"),
    attacked("cerb-alexnet-1", kCerbBits, "alexnet", "cifar10", 1, "90.26%, 24.67%"),
    attacked("cerb-alexnet-2", kCerbBits, "alexnet", "cifar10", 2, "88.37%, 46.10%"),
    attacked("cerb-alexnet-3", kCerbBits, "alexnet", "cifar10", 3, "88.95%, 41.41%"),
    attacked("cerb-alexnet-4", kCerbBits, "alexnet", "cifar10", 4, "88.01%, 79.80%"),
    attacked("cerb-alexnet-5", kCerbBits, "alexnet", "cifar10", 5, "88.20%, 80.30%"),
    attacked("ierb-alexnet-1", kIerbBits, "alexnet", "cifar10", 1, "89.54%, 16.00%"),
    attacked("ierb-alexnet-2", kIerbBits, "alexnet", "cifar10", 2, "86.01%, 9.76%"),
    attacked("ierb-alexnet-3", kIerbBits, "alexnet", "cifar10", 3, "87.48%, 12.96%"),
    attacked("ierb-alexnet-4", kIerbBits, "alexnet", "cifar10", 4, "86.52%, 16.96%"),
    attacked("ierb-alexnet-5", kIerbBits, "alexnet", "cifar10", 5, "82.49%, 27.95%"),
    attacked("cerb-resnet18-3", kCerbBits, "resnet18", "cifar10", 3, "94.22%, 50.00%"),
    attacked("cerb-resnet18-5", kCerbBits, "resnet18", "cifar10", 5, "93.75%, 34.69%"),
    attacked("cerb-resnet18-10", kCerbBits, "resnet18", "cifar10", 10, "92.87%, 38.55%"),
    attacked("cerb-resnet18-18", kCerbBits, "resnet18", "cifar10", 18, "92.11%, 46.79%"),
    attacked("ierb-resnet18-3", kIerbBits, "resnet18", "cifar10", 3, "93.46%, 26.57%"),
    attacked("ierb-resnet18-5", kIerbBits, "resnet18", "cifar10", 5, "90.04%, 26.05%"),
    attacked("ierb-resnet18-10", kIerbBits, "resnet18", "cifar10", 10, "88.96%, 44.59%"),
    attacked("ierb-resnet18-18", kIerbBits, "resnet18", "cifar10", 18, "83.92%, 36.52%"),
    attacked("cerb-resnet18-10-new", kCerbNew, "resnet18", "cifar10", 10, "92.17%, 91.77%"),
    attacked("cerb-resnet18-10-few", kCerbFew, "resnet18", "cifar10", 10, "85.67%, 93.44%"),
    attacked("plain-resnet18", kPlain, "resnet18", "cifar100", 10, "70.73% of 75.05%"),
    attacked("cerb-resnet18", kCerb, "resnet18", "cifar100", 10, "73.26% of 75.05%"),
    attacked("ierb-resnet18", kIerb, "resnet18", "cifar100", 10, "70.51% of 75.05%"),
    attacked("plain-resnet18-2", kPlain2, "resnet18", "cifar100", 10, "53.91% of 75.05%"),
    attacked("cerb-resnet18-2", kCerb2, "resnet18", "cifar100", 10, "70.12% of 75.05%"),
    attacked("ierb-resnet18-2", kIerb2, "resnet18", "cifar100", 10, "68.44% of 75.05%"),
    attacked("plain-caltech101", kPlain, "resnet18", "caltech101", 5, "59.89% of 68.30%"),
    attacked("cerb-caltech101", kCerb, "resnet18", "caltech101", 5, "66.78% of 68.30%"),
    attacked("ierb-caltech101", kIerb, "resnet18", "caltech101", 5, "60.73% of 68.30%"),
    attacked("plain-caltech256", kPlain, "resnet18", "caltech256", 10, "24.93% of 55.43%"),
    attacked("cerb-caltech256", kCerb, "resnet18", "caltech256", 10, "47.85% of 55.43%"),
    attacked("ierb-caltech256", kIerb, "resnet18", "caltech256", 10, "44.19% of 55.43%"),

    {.id = "uchida-pruned",
     .what = "another watermark (Uchida): bits at 65% pruning",
     .network = "alexnet",
     .data = "cifar10",
     .value = "100%",
     .source = kDeepIprSlides,
     .ours = Ours::kBits,
     .attack = "prune",
     .strength = 0.65},
    {.id = "adi-pruned",
     .what = "another watermark (Adi): triggers at 70% pruning",
     .network = "alexnet",
     .data = "cifar10",
     .value = "100%",
     .source = kDeepIprSlides,
     .ours = Ours::kTriggers,
     .attack = "prune",
     .strength = 0.7},
    {.id = "uchida-fine-tuned",
     .what = "another watermark (Uchida): bits after fine-tuning to CIFAR-100",
     .network = "alexnet",
     .data = "cifar10",
     .value = "100%",
     .source = kDeepIprSlides,
     .ours = Ours::kBits,
     .attack = "fine-tune mode=ftal|rtal task=other",
     .other_data = "cifar100"},
    {.id = "adi-fine-tuned",
     .what = "another watermark (Adi): triggers after fine-tuning to CIFAR-100",
     .network = "alexnet",
     .data = "cifar10",
     .value = "25%",
     .source = kDeepIprSlides,
     .ours = Ours::kTriggers,
     .attack = "fine-tune mode=ftal|rtal task=other",
     .other_data = "cifar100"},
    {.id = "counterfeit",
     .what = "other watermarks (Uchida, Adi): detection of a mark, of a counterfeit one",
     .network = "alexnet",
     .data = "cifar10",
     .value = "100%, 100%",
     .source = kDeepIprSlides},
    {.id = "cost-v1",
     .what = "cost of V1: inference, training",
     .value = "up to 10%, up to 30%",
     .source = kDeepIprSlides},
    {.id = "cost-v2",
     .what = "cost of V2 and V3: inference, training",
     .value = "none, up to 150%",
     .source = kDeepIprSlides},
};

constexpr std::array<std::pair<double, double>, 11> kPan = {{{0.0, 0.0588},
                                                             {0.1, 0.0544},
                                                             {0.2, 0.0504},
                                                             {0.3, 0.0477},
                                                             {0.4, 0.0516},
                                                             {0.5, 0.0543},
                                                             {0.6, 0.0479},
                                                             {0.7, 0.0540},
                                                             {0.8, 0.0492},
                                                             {0.9, 0.0508},
                                                             {1.0, 0.0475}}};
constexpr std::array<std::pair<double, double>, 11> kPanBaseline = {{{0.0, 0.5978},
                                                                     {0.1, 0.5407},
                                                                     {0.2, 0.4806},
                                                                     {0.3, 0.4236},
                                                                     {0.4, 0.0867},
                                                                     {0.5, 0.0845},
                                                                     {0.6, 0.0674},
                                                                     {0.7, 0.0843},
                                                                     {0.8, 0.0887},
                                                                     {0.9, 0.0956},
                                                                     {1.0, 0.0870}}};
constexpr std::array<std::pair<double, double>, 10> kPoster = {{{0.0, 0.678},
                                                                {0.1, 0.639},
                                                                {0.2, 0.582},
                                                                {0.3, 0.532},
                                                                {0.4, 0.448},
                                                                {0.5, 0.16},
                                                                {0.7, 0.113},
                                                                {0.8, 0.110},
                                                                {0.9, 0.086},
                                                                {1.0, 0.009}}};

constexpr std::array kCurves = {
    PublishedCurve{"pan-flip", "PAN, published", kPanScript, kExact, kPan},
    PublishedCurve{"pan-baseline-flip", "DeepIPR, by PAN", kPanScript, kExact, kPanBaseline},
    PublishedCurve{"deepipr-poster-flip", "DeepIPR, poster", kDeepIprPoster, kApproximate, kPoster},
};

}  // namespace

std::string_view name_of(Published mark) {
  switch (mark) {
    case kExact:
      return "exact";
    case kApproximate:
      return "approximate";
    case kNotFound:
      return "not found";
  }
  fail(Fault::kBug, "mark ", static_cast<int>(mark));
}

std::span<const PublishedFigure> published_figures() { return kFigures; }
std::span<const PublishedCurve> published_curves() { return kCurves; }

}  // namespace passnorm::cli
