// HttpServer: /metrics, /status, /healthz and a small page at /, read only.
//
// Thread rule: start() and stop() on one thread; requests run on threads of its own. Limits:
// kHttpThreads requests at a time, kHttpWaitS for a client to send or take something,
// kHttpBodyBytes of body. No keep-alive: the library polls such connections 100 times a second, and
// an idle server is to stay idle.
#pragma once

#include <memory>
#include <string>
#include <thread>

#include "base/result.h"
#include "control/server.h"
#include "frontend/listen_address.h"

namespace latte {

inline constexpr size_t kHttpThreads = 4;
inline constexpr int kHttpWaitS = 5;
inline constexpr size_t kHttpBodyBytes = 4096;

class HttpServer {
 public:
  /// `server` outlives it. `address` is TCP. Errors: busy (somebody listens there).
  static Result<std::unique_ptr<HttpServer>> start(Server& server, const ListenAddress& address);
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  void stop();

 private:
  struct Library;  // keeps the library's header, 8,000 lines, out of here
  explicit HttpServer(std::unique_ptr<Library> library);

  std::unique_ptr<Library> library_;
  std::thread thread_;
};

}  // namespace latte
