// ReuseModel: what it is worth to keep a block, learned from how blocks like it were used.
//
// Blocks are put into classes by what happened to them (kReuseClasses; see BlockHistory). For each
// class the model counts after which age - accesses since the block's last one - blocks were read
// again, or written, which ends a copy's use. From that it computes, for every class and age, the
// Gittins index of "keep it": the largest rate of hits over the time it takes to get them, over all
// ages at which one could give up:
//     max over t of  hits between age and t  /  block-accesses spent until t.
// So what is read again soon is worth more the fresher it is (recency), what comes back after a
// fixed time gains worth as that time comes nearer (loops: the older copy stays, the newer goes),
// and what never comes back is worth nothing (scans).
//
// Ages are counted in buckets, four a power of two; counts fade, half of them gone after about
// eleven times the cache's size. Memory: about 210 KiB, whatever the cache's size. Costs: a handful
// of ns an access for counting; the indices anew once an eighth of the cache's size (about 10 us
// for each class that ever had blocks). Thread rule: an object belongs to one thread.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace latte::policy {

inline constexpr size_t kReuseClasses = 150;

class ReuseModel {
 public:
  explicit ReuseModel(uint64_t capacity_blocks);

  /// A block came into `reuse_class`: its age there is 0 now.
  void began(uint8_t reuse_class) {
    classes_[reuse_class].entries += 1;
    classes_[reuse_class].used = true;
  }
  /// A block of that class was read or written at this age; it is in another class from now on.
  void ended(uint8_t reuse_class, uint64_t age, bool by_read) {
    Class& counted = classes_[reuse_class];
    (by_read ? counted.reads : counted.writes)[bucket_of(age)] += 1;
  }
  /// One access went by.
  void tick() {
    if (--until_fade_ == 0) fade();
    if (--until_compute_ == 0) compute();
  }
  /// Hits per block-access to be had from a block of that class and age; 0 and more.
  float value(uint8_t reuse_class, uint64_t age) const {
    return classes_[reuse_class].values[bucket_of(age)];
  }

 private:
  static constexpr size_t kBuckets = 120;  // 4 an octave: ages up to 2^31
  static constexpr float kUnknown = 1e-9f;

  struct Class {
    bool used = false;  // it has, or had, blocks
    float entries = 0;
    std::array<float, kBuckets> reads{};
    std::array<float, kBuckets> writes{};
    std::array<float, kBuckets> values{};
  };
  static size_t bucket_of(uint64_t age) {
    if (age < 4) return age;
    const auto octave = static_cast<unsigned>(std::bit_width(age)) - 1;
    const size_t bucket = 4 * (octave - 1) + ((age >> (octave - 2)) & 3);
    return bucket < kBuckets ? bucket : kBuckets - 1;
  }
  static double lower_edge(size_t bucket);
  static void compute(Class& counted);
  void compute();
  void fade();

  uint64_t fade_every_;
  uint64_t compute_every_;
  uint64_t until_fade_;
  uint64_t until_compute_;
  std::array<Class, kReuseClasses> classes_;
};

}  // namespace latte::policy
