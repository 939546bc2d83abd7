#include "control/http_server.h"

#include <fmt/format.h>
#include <httplib.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <chrono>
#include <utility>

#include <nlohmann/json.hpp>

#include "base/check.h"
#include "base/logging.h"
#include "control/metrics.h"
#include "control/page.h"

namespace latte {

struct HttpServer::Library {
  httplib::Server http;
};

namespace {

constexpr int kNotFound = 404;
constexpr int kUnavailable = 503;

void add_routes(httplib::Server& http, Server& server) {
  http.Get("/metrics", [&server](const httplib::Request&, httplib::Response& response) {
    response.set_content(metrics_text(server.snapshot()),
                         "text/plain; version=0.0.4; charset=utf-8");
  });
  http.Get("/status", [&server](const httplib::Request&, httplib::Response& response) {
    using Json = nlohmann::ordered_json;
    response.set_content(
        status_json(server.snapshot()).dump(-1, ' ', false, Json::error_handler_t::replace) + "\n",
        "application/json");
  });
  http.Get("/healthz", [&server](const httplib::Request&, httplib::Response& response) {
    const std::string trouble = describe_trouble(server.snapshot());
    if (!trouble.empty()) response.status = kUnavailable;
    response.set_content(trouble.empty() ? "ok\n" : trouble, "text/plain; charset=utf-8");
  });
  http.Get("/", [&server](const httplib::Request&, httplib::Response& response) {
    response.set_content(status_page(server.snapshot()), "text/html; charset=utf-8");
  });
  http.set_error_handler([](const httplib::Request&, httplib::Response& response) {
    if (response.status == kNotFound)
      response.set_content("there are /, /metrics, /status and /healthz\n", "text/plain");
  });
}

void set_limits(httplib::Server& http) {
  http.new_task_queue = [] { return new httplib::ThreadPool(kHttpThreads); };
  http.set_keep_alive_max_count(1);
  http.set_read_timeout(kHttpWaitS);
  http.set_write_timeout(kHttpWaitS);
  http.set_payload_max_length(kHttpBodyBytes);
  // Not the library's SO_REUSEPORT: with it two servers could share the port without knowing.
  http.set_socket_options([](socket_t fd) {
    const int on = 1;
    ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  });
}

}  // namespace

Result<std::unique_ptr<HttpServer>> HttpServer::start(Server& server,
                                                      const ListenAddress& address) {
  LATTE_CHECK(address.kind == ListenAddress::Kind::tcp);
  auto library = std::make_unique<Library>();
  httplib::Server& http = library->http;
  set_limits(http);
  add_routes(http, server);
  int port = address.port;
  const bool bound = port == 0 ? (port = http.bind_to_any_port(address.host.c_str())) > 0
                               : http.bind_to_port(address.host.c_str(), port);
  if (!bound)
    return Error{Errc::busy,
                 fmt::format("control.http: cannot listen on {}:{}; another process does, or "
                             "it is no address of this host",
                             address.host, address.port)};
  log_info("metrics and status at http://{}:{}/", address.host, port);
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(library)));
}

HttpServer::HttpServer(std::unique_ptr<Library> library)
    : library_(std::move(library)), thread_([this] { library_->http.listen_after_bind(); }) {
  // A stop() before the library's loop began would be forgotten.
  while (!library_->http.is_running()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

HttpServer::~HttpServer() { stop(); }

void HttpServer::stop() {
  if (!thread_.joinable()) return;
  library_->http.stop();
  thread_.join();
}

}  // namespace latte
