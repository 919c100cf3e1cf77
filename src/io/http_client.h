// HttpClient: requests to servers outside the cluster (upstream registries, S3, OIDC providers, webhooks).
// Declared now so that rooms can depend on it; the real one is libcurl's multi interface, the simulator answers from
// a script. Thread rule: call from an executor's thread. Deadlines and cancellation come from the task's context.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "io/byte_source.h"
#include "io/task.h"

namespace hansa::io {

struct HttpExchange {
  std::string method = "GET";
  std::string url;
  std::vector<std::pair<std::string, std::string>> headers;
  std::shared_ptr<ByteSource> body;  // null: none
  std::uint64_t body_size = 0;
};

struct HttpAnswer {
  int status = 0;
  std::vector<std::pair<std::string, std::string>> headers;
  std::shared_ptr<ByteSource> body;  // read to the end or dropped (closes the connection)
};

class HttpClient {
 public:
  virtual ~HttpClient() = default;
  // An answer of any status, once its headers are complete; errors are of the transport only.
  virtual Task<Result<HttpAnswer>> send(HttpExchange request) = 0;
};

}  // namespace hansa::io
