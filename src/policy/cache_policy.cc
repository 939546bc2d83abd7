#include "policy/cache_policy.h"

#include "base/check.h"
#include "policy/adaptive_policy.h"
#include "policy/arc_policy.h"
#include "policy/belady_policy.h"
#include "policy/queue_policies.h"
#include "policy/s3fifo_policy.h"

namespace latte::policy {

std::unique_ptr<CachePolicy> make_cache_policy(std::string_view name, const CacheOptions& options) {
  LATTE_CHECK(options.capacity_blocks > 0 && options.block_count > 0);
  if (name == "fifo") return std::make_unique<QueuePolicy>(options, QueuePolicy::Order::fifo);
  if (name == "lru") return std::make_unique<QueuePolicy>(options, QueuePolicy::Order::lru);
  if (name == "arc") return std::make_unique<ArcPolicy>(options);
  if (name == "s3fifo") return std::make_unique<S3FifoPolicy>(options);
  if (name == "second-miss") return std::make_unique<SecondMissPolicy>(options);
  if (name == "belady") return std::make_unique<BeladyPolicy>(options);
  if (name == "ours") return std::make_unique<AdaptivePolicy>(options);
  return nullptr;
}

}  // namespace latte::policy
