// ModelTrust: is a dispatcher's model to be followed? Where model and simple rule disagree, a share
// of the I/Os goes by the word of the one that is not followed, drawn at random, and what they cost
// is compared with as many that go by the other's. A model is trusted until it is condemned; its
// successors are on trial first.
//
// Thread rule: the dispatcher's reactor.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

namespace latte {

class ModelTrust {
 public:
  bool trusted() const { return standing_ == Standing::trusted; }
  /// Is it known well enough that another model may take its place?
  bool tried() const { return standing_ == Standing::condemned || checks() >= kLeastChecks; }
  /// One in so many disputed I/Os goes by the word of the one that is not followed - the model's
  /// while it is not trusted, else the rule's - and one is judged that does not. At least 2.
  uint64_t check_every() const;

  /// A disputed I/O that went by the model's word, or the rule's, cost so much, in us.
  void judge(bool by_model, float cost_us);
  /// There is another model. One that is still being tried is not tried anew.
  void replace_model();

 private:
  static constexpr uint32_t kLeastChecks = 32;
  enum class Standing : uint8_t {
    trusted,
    on_trial,  // the one before it was condemned
    condemned
  };
  // What I/Os cost; moving averages, in us.
  struct Fared {
    float mean = 0;
    float squares = 0;
    uint32_t count = 0;
    void add(float cost_us);
    float error_squared() const;  // of the mean
  };
  uint32_t checks() const { return std::min(of_[0].count, of_[1].count); }

  std::array<Fared, 2> of_{};  // by the rule's word, by the model's
  Standing standing_ = Standing::trusted;
  uint32_t condemned_lately_ = 0;  // models
  uint32_t proven_ = 0;            // checks since models are trusted again
};

}  // namespace latte
