#include "cli/published.hpp"

#include <array>

#include "kernels/runtime/check.hpp"

namespace passnorm::cli {
namespace {

using enum Published;

constexpr std::string_view kDeepIprPaper = "Fan, Ng, Chan, NeurIPS 2019, arXiv 1909.07830",
                           kDeepIprAbstract = "Fan, Ng, Chan, arXiv 1905.04368, abstract",
                           kDeepIprSlides = "Fan, Ng, Chan, NeurIPS 2019, the authors' slides",
                           kDeepIprPoster = "Fan, Ng, Chan, NeurIPS 2019, the authors' poster",
                           kPanPaper = "Zhang et al., NeurIPS 2020, arXiv 2010.15824",
                           kPanScript =
                               "Zhang et al., NeurIPS 2020, plotting script in the "
                               "authors' repository; network and data not stated",
                           kChen =
                               "Chen, Tian, Chen, Zhou, CVPR 2023, arXiv 2303.11595; networks "
                               "trained by them";

constexpr std::array kFigures = {
    PublishedFigure{"deepipr-tables",
                    "accuracy, forged passports, fine-tuning and pruning: the paper's tables", "",
                    "", "", kNotFound, kDeepIprPaper},
    PublishedFigure{"pan-tables",
                    "accuracy, forged passports, fine-tuning, pruning, 3-D: the paper's tables", "",
                    "", "", kNotFound, kPanPaper},
    PublishedFigure{"alexnet-1", "accuracy, passport in 1 layer", "alexnet", "cifar10", "90.20%",
                    kExact, kChen, Ours::kPublicAccuracy},
    PublishedFigure{"alexnet-3", "accuracy, passports in 3 layers", "alexnet", "cifar10", "90.08%",
                    kExact, kChen, Ours::kPublicAccuracy},
    PublishedFigure{"alexnet-5", "accuracy, passports in 5 layers", "alexnet", "cifar10", "88.88%",
                    kExact, kChen, Ours::kPublicAccuracy},
    PublishedFigure{"resnet18-5", "accuracy, passports in 5 layers", "resnet18", "cifar10",
                    "94.39%", kExact, kChen, Ours::kPublicAccuracy},
    PublishedFigure{"resnet18-18", "accuracy, passports in 18 layers", "resnet18", "cifar10",
                    "94.81%", kExact, kChen, Ours::kPublicAccuracy},
    PublishedFigure{"resnet18-10-cifar100", "accuracy, passports in 10 layers", "resnet18",
                    "cifar100", "75.05%", kExact, kChen, Ours::kPublicAccuracy},
    PublishedFigure{"deepipr-valid", "accuracy with the valid passport", "resnet18", "cifar10",
                    "about 95%", kApproximate, kDeepIprSlides, Ours::kPublicAccuracy},
    PublishedFigure{"unauthorised", "what use without the passport costs", "", "cifar10",
                    "33 to 82 points", kExact, kDeepIprAbstract, Ours::kStrangersDrop},
    PublishedFigure{"fake1-most", "random passports (fake1): the best", "resnet18", "cifar10",
                    "at most 35%", kExact, kDeepIprSlides, Ours::kBestFake1},
    PublishedFigure{"fake1-histogram", "random passports (fake1): how they spread", "resnet18",
                    "cifar10", "10% of them at 8 to 10%, 55% at 10 to 12%, the tail up to 36%",
                    kApproximate, kDeepIprSlides},
    PublishedFigure{"fake2-most", "scale and shift trained again (fake2): the best", "resnet18",
                    "cifar10", "at most 70%", kExact, kDeepIprSlides, Ours::kBestFake2},
    PublishedFigure{"fake2-histogram", "fake2: how runs spread", "resnet18", "cifar10",
                    "80% of them at 66 to 68%, 20% at 68 to 70%", kApproximate, kDeepIprSlides},
    PublishedFigure{"plain-alexnet", "scale and shift trained again on a tenth of the data",
                    "alexnet", "cifar10", "83.62% of 90.20%", kExact, kChen, Ours::kBestOnATenth},
    PublishedFigure{"plain-resnet18", "scale and shift trained again on a tenth of the data",
                    "resnet18", "cifar100", "70.73% of 75.05%", kExact, kChen, Ours::kBestOnATenth},
    PublishedFigure{"cerb-alexnet-3",
                    "the same through a small network (CERB), 3 layers: "
                    "accuracy, bits that differ from the owner's",
                    "alexnet", "cifar10", "88.95%, 41.41%", kExact, kChen, Ours::kBestCerb},
    PublishedFigure{"cerb-alexnet-5", "CERB, 5 layers: accuracy, bits that differ", "alexnet",
                    "cifar10", "88.20%, 80.30%", kExact, kChen, Ours::kBestCerb},
    PublishedFigure{"uchida-pruned", "another watermark (Uchida): bits at 65% pruning", "alexnet",
                    "cifar10", "100%", kExact, kDeepIprSlides, Ours::kBitsPruned},
    PublishedFigure{"adi-pruned", "another watermark (Adi): triggers at 70% pruning", "alexnet",
                    "cifar10", "100%", kExact, kDeepIprSlides, Ours::kBitsPruned},
    PublishedFigure{"uchida-fine-tuned",
                    "another watermark (Uchida): bits after fine-tuning to CIFAR-100", "alexnet",
                    "cifar10", "100%", kExact, kDeepIprSlides, Ours::kBitsFineTuned},
    PublishedFigure{"adi-fine-tuned", "another watermark (Adi): triggers after fine-tuning",
                    "alexnet", "cifar10", "25%", kExact, kDeepIprSlides, Ours::kBitsFineTuned},
    PublishedFigure{"cost-v1", "cost of V1: inference, training", "", "", "up to 10%, up to 30%",
                    kExact, kDeepIprSlides},
    PublishedFigure{"cost-v2", "cost of V2 and V3: inference, training", "", "", "none, up to 150%",
                    kExact, kDeepIprSlides},
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
