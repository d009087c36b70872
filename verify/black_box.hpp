// Black-box verification: does a network that can only be asked know the owner's triggers?
//
// k of n triggers get their label. How rare is that for a network that knows nothing of them? Two
// nulls answer:
//
// Labels (bound triggers: train/data/trigger_binding.hpp). The labels were drawn uniformly among K
// classes, independently of everything but a secret that no other network has seen. Whatever a
// network answers, however alike the triggers are to it, it matches each label with probability 1/K
// on its own: k ~ Binomial(n, 1/K), exactly. Nothing has to be assumed or measured, and it holds of
// pictures and of clouds of points alike.
//
// Prior (any triggers). With labels that somebody chose, 1/K says nothing: a network that answers
// every abstract picture with "bird" matches all triggers of a list that says "bird". Here the null
// is a network that answers trigger j with its label y_j with the probability q[y_j] with which the
// suspect gives that class on things of this kind: k is Poisson-binomial. q is measured, each time
// with Laplace's correction (count + 1) / (answers + classes), and is the larger of its shares
//   among the suspect's answers on decoys, things of the triggers' kind that are no triggers, and
//   among its answers on the other triggers (leave one out).
// What the kind is, is the triggers' and not the task's: on its own test set a network answers
// well, each class as often as it is there, and that tells nothing of what it answers on a chair
// when it knows only lamps. So decoys of abstract pictures are abstract pictures, of drawn clouds
// drawn clouds, of clouds from a second data set more of that set's foreign classes, and of clouds
// whose origin nobody can check solid shapes (train/data/decoys.hpp). Where that choice fits badly
// the other triggers still bound q: decoys can only raise it, and with it p. This p-value takes
// answers for independent. Answers on like pictures are not, and no prior shows that; and whoever
// chose the labels may have looked at the network first. Therefore triggers that are not bound are
// never more than inconclusive.
//
// A p-value is the probability, under its null, of at least as many matches. It is not the
// probability that a claim is false. What a claim does not say: who was first, and with a table of
// answers that they are the suspect's.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "verify/examine.hpp"

namespace passnorm::verify {

/// The answer of a network whose outputs are not numbers: no class.
inline constexpr int32_t kNoClass = -1;

struct BlackBoxInput {
  std::span<const int32_t> answers;  ///< [n] of the suspect, in [0, classes) or kNoClass
  std::span<const int32_t> labels;   ///< [n]
  int64_t classes = 0;               ///< of the suspect
  int64_t bound_classes = 0;         ///< K, where labels were seen to be bound; 0: they are free
  std::span<const int32_t> decoys = {};  ///< answers on things that are no triggers
  int64_t tests = 1;                     ///< claims tried, this one included
};

struct BlackBoxClaim {
  Verdict verdict = Verdict::kNotSupported;
  int64_t matched = 0;
  int64_t total = 0;
  int64_t classes = 0;
  int64_t bound_classes = 0;
  std::optional<double> log2_p_labels;  ///< bound triggers only: what the verdict rests on
  double log2_p_prior = 0;
  int64_t tests = 1;
  double log2_tests = 0;  ///< that the verdict is corrected for
  /// With these labels a claim can reach the threshold: false for sets that are too small.
  bool decidable = false;
  std::vector<double> prior;     ///< [classes] q from the decoys and all answers on triggers
  std::vector<int64_t> answers;  ///< [classes] how many triggers the suspect gave each class
  std::vector<int64_t> decoys;   ///< [classes] the same of decoys

  /// Of the null that the verdict rests on.
  double log2_p() const { return log2_p_labels.value_or(log2_p_prior); }
};

/// supported when the labels' log2 p + log2 tests is at most kLog2Threshold; inconclusive when that
/// holds of the prior's for labels that are free; else not supported.
BlackBoxClaim examine_black_box(const BlackBoxInput& input);

/// The class with the largest output (the first of them) for every image or cloud of a set, in
/// evaluation mode, by the public branch or, of a network without one, by its passport's.
std::vector<int32_t> predict(Model& model, const OpenPassport* passport, const train::Dataset& data,
                             int64_t batch = 64);

}  // namespace passnorm::verify
