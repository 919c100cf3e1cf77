// FileWatch: tells when one of some files may have changed: written, replaced by a rename, or moved under a symbolic
// link as Kubernetes does. Watches their folders, so that a file that is gone and comes back is seen too, those that
// links lead to, and the files themselves, which may be mounted where they are.
#pragma once

#include <filesystem>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"

namespace hansa::server {

class FileWatch {
 public:
  // Folders that do not exist are left out.
  static Result<std::unique_ptr<FileWatch>> open();
  ~FileWatch();
  FileWatch(const FileWatch&) = delete;
  FileWatch& operator=(const FileWatch&) = delete;

  // Also watches these. Names that were added stay.
  void add(const std::vector<std::string>& files);
  // Readable when something happened in the folders; for poll().
  int descriptor() const { return descriptor_; }
  // Takes what has happened; true: one of the files may be another now.
  bool take();

 private:
  void add_folder(const std::filesystem::path& file);
  explicit FileWatch(int descriptor) : descriptor_(descriptor) {}
  const int descriptor_;
  std::set<std::string> names_;    // without their folders
  std::set<std::string> folders_;  // watched
};

}  // namespace hansa::server
