#include "runtime/work_share.h"

#include <algorithm>

#include "base/check.h"

namespace latte {
namespace {

/// How often idle tenants are looked for.
constexpr TimeNs kLookNs = 10 * kMillisecond;

}  // namespace

WorkShare::Tenant::~Tenant() {
  if (!linked()) return;
  unlink();
  share_.set_active(share_.active_ - 1);
}

void WorkShare::Tenant::note_request(TimeNs now_ns) {
  last_ns_ = now_ns;
  if (!linked()) {
    share_.tenants_.push_back(*this);
    share_.set_active(share_.active_ + 1);
  }
  if (now_ns - share_.looked_ns_ >= kLookNs) share_.forget_idle(now_ns);
}

void WorkShare::forget_idle(TimeNs now_ns) {
  looked_ns_ = now_ns;
  uint64_t count = 0;
  tenants_.for_each([&](Tenant& tenant) {
    if (now_ns - tenant.last_ns_ > kActiveNs)
      tenant.unlink();
    else
      ++count;
  });
  set_active(count);
}

void WorkShare::set_active(uint64_t count) {
  LATTE_CHECK(count <= active_ + 1);
  active_ = count;
  limit_bytes_ = count <= 1 ? kUnlimited : std::max(kLeastBytes, kSharedBytes / count);
}

}  // namespace latte
