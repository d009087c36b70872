// All of passnorm: build a model with passports, train it, attack it, and examine a claim of
// ownership, on the network or on its answers alone.
//
// Threads. A stream and all that is made on it (models, tensors, opened passports, a run of fit,
// evaluate or examine) is used by one thread at a time; threads with streams of their own need no
// locks and give the bits that each would give alone. What lives in the host's memory (Passport,
// Dataset) may be read by many threads at once. Functions of neither may be called from any thread.
// fit calls its callbacks on the thread that called it.
//
// The process. There is nothing to start and no global setting. Until the process ends stay:
// libsodium, started at its first use; oneDNN's own cache of generated code; on a GPU cuDNN and
// cuBLASLt, opened at their first use (a stream of a GPU is therefore no static object). The
// engines of cuDNN that were chosen lie on disk (StreamOptions::engines). Of the environment are
// read PASSNORM_CUDNN and PASSNORM_CUBLAS, the places of those libraries, XDG_CACHE_HOME and HOME,
// and what OpenMP reads (OMP_WAIT_POLICY=PASSIVE where other work wants the cores). Nothing is
// printed, no signal is handled; every failure is thrown as an Error.
//
// The host's memory and CUDA stream in place of ours: StreamOptions. A scheme of the host's own:
// a row of its own (Scheme, Passport::load).
#pragma once

#include "models/export.hpp"
#include "models/model.hpp"
#include "models/model_file.hpp"
#include "passnorm/version.hpp"
#include "train/batch.hpp"
#include "train/data/trigger_set.hpp"
#include "train/key_images.hpp"
#include "train/trainer.hpp"
#include "verify/attacks/attack.hpp"
#include "verify/black_box.hpp"
#include "verify/examine.hpp"
