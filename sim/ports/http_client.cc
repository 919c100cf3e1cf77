#include "sim/ports/http_client.h"

#include <array>

namespace hansa::sim {

io::Task<Result<io::HttpAnswer>> ScriptedHttpClient::send(io::HttpExchange request) {
  SeenRequest seen{request.method, request.url, std::move(request.headers), ""};
  while (request.body) {
    std::array<std::byte, 4 * KiB> buffer{};
    HANSA_CO_TRY(const std::size_t count, co_await request.body->read(buffer));
    if (count == 0) break;
    seen.body += as_text(ConstBytes(buffer).first(count));
  }
  requests_.push_back(std::move(seen));
  const auto found = script_.find({request.method, request.url});
  if (found == script_.end()) {
    co_return make_error(ErrorCode::unavailable, request.method + " " + request.url + ": not in the script");
  }
  auto& answers = found->second;
  Result<ScriptedAnswer> next = answers.front();
  if (answers.size() > 1) answers.pop_front();
  HANSA_CO_TRY(ScriptedAnswer answer, std::move(next));
  io::HttpAnswer out{.status = answer.status, .headers = std::move(answer.headers), .body = nullptr};
  out.body = std::make_shared<StringSource>(std::move(answer.body));
  co_return out;
}

}  // namespace hansa::sim
