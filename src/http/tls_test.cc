#include "http/tls.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <fstream>

#include "http/test_client.h"
#include "http/test_identity.h"

namespace hansa::http::test {
namespace {

struct TlsClientOptions {
  int version = 0;  // 0: any
  std::string ciphers;
  std::string protocols;  // ALPN, in wire form
  const Identity* identity = nullptr;
};

class TlsClient final : public Client {
 public:
  explicit TlsClient(std::uint16_t port, const TlsClientOptions& options = {})
      : Client(port), context_(SSL_CTX_new(TLS_client_method())) {
    if (options.version != 0) {
      SSL_CTX_set_min_proto_version(context_.get(), options.version);
      SSL_CTX_set_max_proto_version(context_.get(), options.version);
    }
    SSL_CTX_set_security_level(context_.get(), 0);  // the client would take anything: the server must refuse
    if (!options.ciphers.empty()) SSL_CTX_set_cipher_list(context_.get(), options.ciphers.c_str());
    if (options.identity != nullptr) {
      SSL_CTX_use_certificate(context_.get(), options.identity->certificate.get());
      SSL_CTX_use_PrivateKey(context_.get(), options.identity->key.get());
    }
    session_.reset(SSL_new(context_.get()));
    if (!options.protocols.empty()) {
      SSL_set_alpn_protos(session_.get(), reinterpret_cast<const unsigned char*>(options.protocols.data()),
                          static_cast<unsigned>(options.protocols.size()));
    }
    SSL_set_fd(session_.get(), descriptor());
    secured_ = SSL_connect(session_.get()) == 1;
    ERR_clear_error();
  }
  bool secured() const { return secured_; }
  std::string cipher() const { return SSL_get_cipher_name(session_.get()); }
  std::string server_name() const {
    const X509* certificate = SSL_get0_peer_certificate(session_.get());
    if (certificate == nullptr) return {};
    char text[256];
    X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName, text, sizeof text);
    return text;
  }
  std::string protocol() const {
    const unsigned char* text = nullptr;
    unsigned length = 0;
    SSL_get0_alpn_selected(session_.get(), &text, &length);
    return {reinterpret_cast<const char*>(text), length};
  }

 private:
  ssize_t write_some(std::string_view text) override {
    return SSL_write(session_.get(), text.data(), static_cast<int>(text.size()));
  }
  ssize_t read_some(char* out, std::size_t size) override {
    return SSL_read(session_.get(), out, static_cast<int>(size));
  }

  std::unique_ptr<SSL_CTX, Free> context_;
  std::unique_ptr<SSL, Free> session_;
  bool secured_ = false;
};

io::Task<Response> who(Request& request) {
  Response response;
  response.body = std::string(request.connection.tls ? "tls:" : "plain:") + request.connection.certificate_name;
  co_return response;
}

TEST(Tls, ServesVersions12And13AndNothingOlder) {
  const TlsFolder setup;
  Running running(echo, {}, setup.files);
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    TlsClient client(running.port(), {.version = version, .ciphers = {}, .protocols = {}});
    ASSERT_TRUE(client.secured());
    EXPECT_EQ(client.get("/a").body, "GET /a 0:");
    EXPECT_EQ(client.ask("PUT /b HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello").body, "PUT /b 5:hello");
  }
  EXPECT_FALSE(TlsClient(running.port(), {.version = TLS1_1_VERSION, .ciphers = {}, .protocols = {}}).secured());
}

TEST(Tls, OnlyForwardSecretAeadCiphers) {
  const TlsFolder setup;
  Running running(echo, {}, setup.files);
  for (const char* weak : {"ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES128-SHA256", "AES128-GCM-SHA256"}) {
    EXPECT_FALSE(TlsClient(running.port(), {.version = TLS1_2_VERSION, .ciphers = weak, .protocols = {}}).secured())
        << weak;
  }
  EXPECT_TRUE(TlsClient(running.port(),
                        {.version = TLS1_2_VERSION, .ciphers = "ECDHE-ECDSA-AES128-GCM-SHA256", .protocols = {}})
                  .secured());
}

TEST(Tls, NegotiatesHttp11AndRefusesWhatItDoesNotSpeak) {
  const TlsFolder setup;
  Running running(echo, {}, setup.files);
  TlsClient both(running.port(), {.ciphers = {}, .protocols = "\x02h2\x08http/1.1"});
  ASSERT_TRUE(both.secured());
  EXPECT_EQ(both.protocol(), "http/1.1");
  EXPECT_FALSE(TlsClient(running.port(), {.ciphers = {}, .protocols = "\x02h2"}).secured());
}

TEST(Tls, LargeBodiesAndFilesArriveIntact) {
  const TlsFolder setup;
  std::string content(10'000'000, '\0');
  for (std::size_t i = 0; i < content.size(); ++i) content[i] = static_cast<char>((i * 2654435761U) >> 24);
  const std::string path = setup.folder / "content";
  std::ofstream(path, std::ios::binary) << content;
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  Running running(
      [&](Request& request) -> io::Task<Response> {
        if (request.method == Method::put) {
          auto reply = echo(request);
          co_return co_await std::move(reply);
        }
        Response response;
        FileBody body;
        body.descriptor = file;
        body.offset = 1;
        body.length = content.size() - 1;
        response.body = std::move(body);
        co_return response;
      },
      {}, setup.files);
  TlsClient client(running.port());
  EXPECT_TRUE(client.get("/").body == content.substr(1));
  client.send("PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n\r\n" + content);
  EXPECT_TRUE(client.answer().body == "PUT / 10000000:" + content);
  ::close(file);
}

TEST(Tls, PlainTextIsToldSo) {
  const TlsFolder setup;
  Running running(echo, {}, setup.files);
  Client client(running.port());
  const Answer answer = client.get("/");
  EXPECT_EQ(answer.status, 400);
  EXPECT_NE(answer.body.find("https://"), std::string::npos);
  EXPECT_TRUE(client.closed());
}

TEST(Tls, AClientThatNeverShakesHandsIsClosed) {
  const TlsFolder setup;
  Limits limits;
  limits.header_timeout = std::chrono::milliseconds(50);
  Running running(echo, limits, setup.files);
  EXPECT_EQ(Client(running.port()).rest(), "");
  Client halfway(running.port());
  halfway.send("\x16\x03\x01");
  EXPECT_EQ(halfway.rest(), "");
}

TEST(Tls, AClientCertificateIsVerifiedWhenGiven) {
  TlsFolder setup;
  const Identity alice("alice");
  const Identity mallory("mallory");
  alice.write(setup.folder / "alice.pem", setup.folder / "alice.key");
  setup.files.client_ca = setup.folder / "alice.pem";
  Running running(who, {}, setup.files);
  EXPECT_EQ(TlsClient(running.port()).get("/").body, "tls:");
  EXPECT_EQ(TlsClient(running.port(), {.ciphers = {}, .protocols = {}, .identity = &alice}).get("/").body, "tls:alice");
  TlsClient stranger(running.port(), {.ciphers = {}, .protocols = {}, .identity = &mallory});
  EXPECT_EQ(stranger.get("/").status, 0);
}

TEST(TlsReload, NewConnectionsGetTheNewCertificateAndOldOnesGoOn) {
  const TlsFolder setup;
  Running running(echo, {}, setup.files);
  TlsClient before(running.port());
  EXPECT_EQ(before.server_name(), "first.example");
  Identity("second.example").write(setup.files.certificate, setup.files.key);
  const auto reloaded = running.server().reload_tls();
  ASSERT_TRUE(reloaded) << describe(reloaded.error());
  EXPECT_EQ(TlsClient(running.port()).server_name(), "second.example");
  EXPECT_EQ(before.get("/").status, 200);
}

TEST(TlsReload, AFailureNamesTheFileAndKeepsTheOldCertificate) {
  const TlsFolder setup;
  Running running(echo, {}, setup.files);
  const auto expect_failure = [&](const std::string& words) {
    const auto reloaded = running.server().reload_tls();
    ASSERT_FALSE(reloaded) << words;
    EXPECT_NE(reloaded.error().message.find(words), std::string::npos) << reloaded.error().message;
    TlsClient client(running.port());
    EXPECT_EQ(client.server_name(), "first.example");
    EXPECT_EQ(client.get("/").status, 200);
  };
  Identity("other.example").write(setup.files.certificate, setup.folder / "other.key");
  expect_failure("key.pem: does not belong to the certificate");
  std::ofstream(setup.files.certificate) << "not a certificate";
  expect_failure("cert.pem: holds no PEM certificate");
  ::unlink(setup.files.certificate.c_str());
  expect_failure("cert.pem: cannot be read: No such file");
  setup.identity.write(setup.files.certificate, setup.files.key);
  std::ofstream(setup.files.key) << "not a key";
  expect_failure("key.pem: holds no unencrypted PEM private key");
}

TEST(TlsReload, APlainListenerHasNothingToReload) {
  Running running(echo);
  EXPECT_FALSE(running.server().reload_tls());
}

}  // namespace
}  // namespace hansa::http::test
