// Waiting for what asks a Ceph cluster: aside, and kRbdAnswerNs at most.
#pragma once

#include <type_traits>
#include <utility>

#include "device/rbd_cloud_volume.h"
#include "device/rbd_cluster.h"
#include "device/start_aside.h"

namespace latte {

/// Runs `call`, which blocks and owns what it touches, aside; what it returned, or
/// rbd_no_answer() after `limit_ns`. `address` lives as long as the caller waits. The reactor's
/// thread.
template <typename Call>
auto rbd_answer(UringReactor& reactor, const RbdAddress& address, Call call,
                TimeNs limit_ns = kRbdAnswerNs) -> Task<std::invoke_result_t<Call&>> {
  auto begun = start_aside(std::move(call));
  auto answered = co_await await_aside(reactor, std::move(begun), limit_ns);
  if (!answered) co_return rbd_no_answer(address);
  co_return std::move(*answered);
}

}  // namespace latte
