#include "meta/sqlite/view_file.h"

namespace hansa::meta::sqlite {

struct ViewFile::Opened {
  Opened(io::Disk& disk, io::Clock& clock, const DatabaseOptions& options) : vfs(disk, clock), readers(vfs, options) {}
  Vfs vfs;
  ReaderPool readers;
};

// Keeps the file from being put aside, and notes damage that it meets.
class ViewFile::Transaction final : public ReadTransaction {
 public:
  Transaction(ViewFile& file, std::shared_ptr<Opened> opened, std::unique_ptr<ReadTransaction> inner)
      : file_(file), opened_(std::move(opened)), inner_(std::move(inner)) {}
  Revision revision() const override { return inner_->revision(); }
  Connection& connection() override { return inner_->connection(); }
  Result<std::unique_ptr<KeyValue>> get(std::string_view key) override { return watched(inner_->get(key)); }
  Result<std::vector<KeyValue>> range(std::string_view prefix, std::string_view after, std::size_t limit) override {
    return watched(inner_->range(prefix, after, limit));
  }

 private:
  template <class T>
  Result<T> watched(Result<T> result) {
    if (!result && result.error().code == ErrorCode::corrupt) file_.note_damage();
    return result;
  }

  ViewFile& file_;
  std::shared_ptr<Opened> opened_;  // outlives the transaction on it
  std::unique_ptr<ReadTransaction> inner_;
};

ViewFile::ViewFile(io::Disk& disk, io::Clock& clock, Logger& log, DatabaseOptions options)
    : disk_(disk),
      clock_(clock),
      log_(log),
      options_(std::move(options)),
      opened_(std::make_shared<Opened>(disk_, clock_, options_)) {}

std::shared_ptr<ViewFile::Opened> ViewFile::opened() {
  const std::lock_guard guard(mutex_);
  return opened_;
}

Result<bool> ViewFile::open() {
  return opened()->vfs.settle(options_.path);
}

Result<std::unique_ptr<RealConnection>> ViewFile::connect(RealConnection::Role role) {
  return RealConnection::open(opened()->vfs, options_, role);
}

Result<std::unique_ptr<ReadTransaction>> ViewFile::read() {
  if (!whole_) {
    return make_error(ErrorCode::unavailable, "this node's view was damaged and is loaded anew; try again soon");
  }
  auto held = opened();
  auto inner = held->readers.begin();
  if (!inner) {
    if (inner.error().code == ErrorCode::corrupt) note_damage();
    return std::move(inner).error();
  }
  return std::unique_ptr<ReadTransaction>(std::make_unique<Transaction>(*this, std::move(held), *std::move(inner)));
}

Result<void> ViewFile::copy_to(const std::string& path) {
  const auto there = disk_.info(path);
  if (there) return make_error(ErrorCode::exists, path + " exists; the view is copied into a new file");
  const auto held = opened();
  DatabaseOptions target = options_;
  target.path = path;
  HANSA_TRY(const auto from, RealConnection::open(held->vfs, options_, RealConnection::Role::reader));
  HANSA_TRY(const auto to, RealConnection::open(held->vfs, target, RealConnection::Role::writer));
  auto copied = from->copy_to(*to);
  if (!copied && copied.error().code == ErrorCode::corrupt) note_damage();
  return copied;
}

Result<void> ViewFile::put_aside() {
  const std::lock_guard guard(mutex_);
  if (opened_.use_count() > 1) {
    return make_error(ErrorCode::unavailable, "the view " + options_.path + " is damaged and still read; try again");
  }
  whole_ = false;
  const std::string aside = options_.path + ".damaged";
  log_.error("the view is damaged; it is put aside and loaded anew", {{"path", options_.path}, {"aside", aside}});
  opened_ = std::make_shared<Opened>(disk_, clock_, options_);  // closes the old one's readers first
  auto renamed = disk_.rename(options_.path, aside);
  if (!renamed && renamed.error().code != ErrorCode::not_found) return renamed;
  auto removed = disk_.remove(options_.path + "-wal");
  if (!removed && removed.error().code != ErrorCode::not_found) return removed;
  damaged_ = false;
  return {};
}

}  // namespace hansa::meta::sqlite
