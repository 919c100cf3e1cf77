// Authenticator: who sends a request. Thread-safe; passwords are checked on the auth pool, in constant time.
#pragma once

#include <optional>
#include <string>

#include "auth/access.h"
#include "base/result.h"
#include "io/task.h"

namespace hansa::auth {

// One request's proof of who sends it.
struct Credentials {
  std::optional<std::string> authorization = {};  // the Authorization field; absent: none was sent
  bool several = false;                           // more than one Authorization field: refused
  std::string certificate_name = {};              // common name of the client's verified certificate; empty: none
  std::string user_agent = {};
  std::string client = {};  // where the request comes from (http::client_network); empty: not known
  bool ping = false;        // the request asks for /v2/ itself (see docker_client() in basic_authenticator.h)
};

class Authenticator {
 public:
  virtual ~Authenticator() = default;
  // The caller with the policy now in force. Without credentials: the anonymous caller where some policy or the absence
  // of every method allows one, else unauthenticated. Wrong credentials are unauthenticated, never anonymous.
  virtual io::Task<Result<Access>> authenticate(Credentials credentials) = 0;
  // True when some method of authentication is configured.
  virtual bool enabled() const = 0;
  // The value of WWW-Authenticate on a 401: Basic realm="...".
  virtual std::string challenge() const = 0;
  // Who may read the metrics (zot's accessControl.metrics).
  virtual bool may_read_metrics(const Identity& who) const = 0;
};

}  // namespace hansa::auth
